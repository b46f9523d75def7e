"""Which chunks of which shards a set of boxes touches, computed for all chunks at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.storage.layout import ArrayLayout, Triple

Ints = NDArray[np.int64]


class Pieces(NamedTuple):
    """How chunks are cut for reading and writing.

    Encoded chunks stay whole. A raw chunk is cut into slabs that are contiguous in the file, so that neither a huge
    chunk is fetched for a small box nor more memory is taken than a batch may have.
    """

    shape: tuple[int, int, int]
    """``(x, y, z)`` voxels of a piece."""
    per_chunk: tuple[int, int, int]
    """``(x, y, z)`` pieces in a chunk."""
    nbytes: int
    """Bytes of a decoded piece."""


class ShardRows(NamedTuple):
    """The pieces of one shard that boxes touch; one row each, by box, z, y, x."""

    shard: Triple
    """``(x, y, z)`` of the shard, in shards."""
    box: Ints
    """(n,) which box."""
    origin: Ints
    """(n, 3) the piece's first voxel in the box; negative where the piece begins before it."""
    chunk: Ints
    """(n, 3) the chunk in the shard, in chunks."""
    part: Ints | None
    """(n,) which piece of its chunk, in file order; None where chunks are whole."""


@lru_cache(maxsize=256)
def pieces_of(layout: ArrayLayout, limit: int) -> Pieces:
    """Cut raw chunks of more than ``limit`` bytes along z, then y; leave all others whole.

    Examples
    --------
    >>> layout = ArrayLayout(np.dtype("uint8"), 1, (1024, 1024, 1024), (1, 1, 1), "raw")
    >>> pieces_of(layout, 1 << 20).shape
    (1024, 1024, 1)
    """
    x, y, z = layout.chunk_shape
    if layout.codec == "raw":
        while x * y * z * layout.voxel_bytes > limit and z % 2 == 0:
            z //= 2
        while z == 1 and x * y * layout.voxel_bytes > limit and y % 2 == 0:
            y //= 2
    per_chunk = (1, layout.chunk_shape[1] // y, layout.chunk_shape[2] // z)
    return Pieces((x, y, z), per_chunk, x * y * z * layout.voxel_bytes)


def touched_rows(layout: ArrayLayout, pieces: Pieces, toplefts: Ints, shape: Triple) -> Iterator[ShardRows]:
    """Yield, shard by shard, the pieces that boxes of one shape touch.

    Parameters
    ----------
    toplefts : int64 (n, 3)
        First voxels ``(x, y, z)`` of the boxes, not negative.
    shape : tuple of int
        Voxels ``(x, y, z)`` of each box, at least 1.
    """
    piece = np.array(pieces.shape, np.int64)
    per_shard = np.array(layout.chunks_per_shard, np.int64) * np.array(pieces.per_chunk, np.int64)
    first = toplefts // piece
    last = (toplefts + (np.array(shape) - 1)) // piece
    pieces_touched, box = _all_in_boxes(first, last)
    origin = pieces_touched * piece - toplefts[box]
    first_shard, last_shard = first // per_shard, last // per_shard
    if len(first) == 1 and (first_shard == last_shard).all():  # a patch mostly lies in one shard: nothing to sort
        shard = first_shard[0]
        yield _rows(shard, box, origin, pieces_touched - shard * per_shard, pieces)
        return
    shards = pieces_touched // per_shard
    pieces_touched = pieces_touched - shards * per_shard
    order = np.lexsort((shards[:, 0], shards[:, 1], shards[:, 2]))
    changes = np.flatnonzero((np.diff(shards[order], axis=0) != 0).any(axis=1)) + 1
    for rows in np.split(order, changes):
        yield _rows(shards[rows[0]], box[rows], origin[rows], pieces_touched[rows], pieces)


def _all_in_boxes(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Return every piece from ``first`` to ``last`` of each box, (m, 3), and its box, (m,)."""
    counts = (last - first).max(axis=0) + 1
    grid = _grid(*counts.tolist())
    if len(first) == 1:
        return first + grid, np.zeros(len(grid), np.int64)
    touched = (first[:, np.newaxis] + grid).reshape(-1, 3)
    box = np.repeat(np.arange(len(first)), len(grid))
    inside = (touched <= last[box]).all(axis=1)  # unaligned boxes of one shape can touch one piece more or less
    return touched[inside], box[inside]


@lru_cache(maxsize=64)
def _grid(x: int, y: int, z: int) -> Ints:
    """All coordinates of a small grid, (x y z, 3), z slowest."""
    axes = np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij")
    grid = np.stack([axes[2].ravel(), axes[1].ravel(), axes[0].ravel()], axis=1)
    grid.flags.writeable = False
    return grid


def _rows(shard: Ints, box: Ints, origin: Ints, piece: Ints, pieces: Pieces) -> ShardRows:
    x, y, z = shard.tolist()
    if pieces.per_chunk == (1, 1, 1):
        return ShardRows((x, y, z), box, origin, piece, None)
    chunk = piece // pieces.per_chunk
    inside = piece - chunk * pieces.per_chunk
    return ShardRows((x, y, z), box, origin, chunk, inside[:, 2] * pieces.per_chunk[1] + inside[:, 1])
