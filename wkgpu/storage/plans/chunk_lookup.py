"""Which chunks of which shards a set of boxes touches, computed for all chunks at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.spec import ArraySpec

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
    slab: Ints | None
    """(n,) which slab of its chunk, in file order; None where chunks are whole."""


@lru_cache(maxsize=256)
def pieces_of(spec: ArraySpec, limit: int) -> Pieces:
    """Cut raw chunks of more than ``limit`` bytes along z, then y; leave all others whole.

    Examples
    --------
    >>> spec = ArraySpec(np.dtype("uint8"), 1, (1024, 1024, 1024), (1, 1, 1), ())
    >>> pieces_of(spec, 1 << 20).shape
    (1024, 1024, 1)
    """
    x, y, z = spec.chunk_shape
    if not spec.codecs and spec.are_channels_neighbours:
        z = _divisor(z, limit // (x * y * spec.voxel_bytes))
        if z == 1:
            y = _divisor(y, limit // (x * spec.voxel_bytes))
    per_chunk = (1, spec.chunk_shape[1] // y, spec.chunk_shape[2] // z)
    return Pieces((x, y, z), per_chunk, x * y * z * spec.voxel_bytes)


def _divisor(length: int, limit: int) -> int:
    """Return the largest divisor of a length that is at most so much, and at least 1."""
    return next(part for part in range(max(min(length, limit), 1), 0, -1) if length % part == 0)


def recut(rows: ShardRows, found: Pieces, wanted: Pieces, shape: Triple) -> ShardRows:
    """Return the rows of a shard whose codec is not its mag's, and whose chunks are therefore cut in other pieces.

    Parameters
    ----------
    found, wanted : Pieces
        How the chunks of the rows are cut, and how they should be. One of them leaves them whole.
    shape : tuple of int
        Voxels ``(x, y, z)`` of each box.
    """
    if found == wanted:
        return rows
    if rows.slab is not None:
        _, rows_of_chunks = np.unique(np.column_stack([rows.box, rows.chunk[:, ::-1]]), axis=0, return_index=True)
        box, origin, chunk = (column[rows_of_chunks] for column in rows[1:4])
        return ShardRows(rows.shard, box, origin - _first_voxels(rows.slab[rows_of_chunks], found), chunk, None)
    count = wanted.per_chunk[1] * wanted.per_chunk[2]
    slab = np.tile(np.arange(count), len(rows.box))
    box, origin, chunk = (column.repeat(count, axis=0) for column in rows[1:4])
    origin = origin + _first_voxels(slab, wanted)
    touched = np.flatnonzero(((origin < shape) & (origin + wanted.shape > 0)).all(axis=1))
    order = touched[np.lexsort((*origin[touched].T, box[touched]))]
    return ShardRows(rows.shard, box[order], origin[order], chunk[order], slab[order])


def _first_voxels(slab: Ints, pieces: Pieces) -> Ints:
    """First voxels of slabs in their chunks, (n, 3)."""
    z, y = np.divmod(slab, pieces.per_chunk[1])
    return np.column_stack([np.zeros(len(slab), np.int64), y * pieces.shape[1], z * pieces.shape[2]])


def chunks_by_shard(spec: ArraySpec, pieces: Pieces, topleft: Triple, shape: Triple) -> Iterator[ShardRows]:
    """Do as `chunks_in_boxes` for one box, but make the tables of few shards at a time; each shard comes once."""
    per_shard = spec.chunks_in_shard * prod(pieces.per_chunk)
    corner = np.array([topleft], np.int64)
    yield from _rows_of_parts(spec, pieces, corner, shape, spec.shard_shape, max(_MAX_ROWS // per_shard, 1))


def _rows_of_parts(
    spec: ArraySpec, pieces: Pieces, topleft: Ints, shape: Triple, unit: Triple, max_rows: int
) -> Iterator[ShardRows]:
    """Yield the rows of one box, cut at multiples of a unit into parts that touch at most so many units."""
    corner = topleft[0].tolist()
    spans = [_units(*span) for span in zip(corner, shape, unit, strict=True)]
    x, y, z = (last - first for first, last in spans)
    if x * y * z <= max_rows:
        yield from chunks_in_boxes(spec, pieces, topleft, shape)
        return
    steps = min(x, max_rows), min(y, max(max_rows // x, 1)), max(max_rows // (x * y), 1)

    def cuts(axis: int) -> Iterator[tuple[int, int]]:
        (first, last), step, length = spans[axis], steps[axis], unit[axis]
        begin, end = corner[axis], corner[axis] + shape[axis]
        for at in range(first, last, step):
            yield max(at * length, begin), min((at + step) * length, end)

    for front, back in cuts(2):
        for top, bottom in cuts(1):
            for left, right in cuts(0):
                part = np.array([[left, top, front]], np.int64)
                for rows in chunks_in_boxes(spec, pieces, part, (right - left, bottom - top, back - front)):
                    yield rows._replace(origin=rows.origin + (part - topleft))


def _units(begin: int, length: int, unit: int) -> tuple[int, int]:
    """Return the first unit that a span touches, and the one behind the last."""
    return begin // unit, -(-(begin + length) // unit)


def chunks_in_boxes(spec: ArraySpec, pieces: Pieces, toplefts: Ints, shape: Triple) -> Iterator[ShardRows]:
    """Yield, shard by shard, the pieces that boxes of one shape touch.

    Parameters
    ----------
    toplefts : int64 (n, 3)
        First voxels ``(x, y, z)`` of the boxes, not negative.
    shape : tuple of int
        Voxels ``(x, y, z)`` of each box, at least 1.
    """
    if len(toplefts) == 0:
        return
    if len(toplefts) == 1:  # a patch mostly lies in one shard: then nothing needs to be sorted
        rows = _rows_in_one_shard(spec, pieces, toplefts[0].tolist(), shape)
        if rows is not None:
            yield rows
            return
    piece = np.array(pieces.shape, np.int64)
    per_shard = np.array(spec.chunks_per_shard, np.int64) * pieces.per_chunk
    first = toplefts // piece
    last = (toplefts + (np.array(shape) - 1)) // piece
    touched, box = cells_in_boxes(first, last)
    origin = touched * piece - toplefts[box]
    shards = touched // per_shard
    touched = touched - shards * per_shard
    order = np.lexsort((shards[:, 0], shards[:, 1], shards[:, 2]))
    changes = np.flatnonzero((np.diff(shards[order], axis=0) != 0).any(axis=1)) + 1
    for rows_of_shard in np.split(order, changes):
        x, y, z = shards[rows_of_shard[0]].tolist()
        yield _rows((x, y, z), box[rows_of_shard], origin[rows_of_shard], touched[rows_of_shard], pieces)


def _rows_in_one_shard(spec: ArraySpec, pieces: Pieces, topleft: list[int], shape: Triple) -> ShardRows | None:
    """Return the rows of one box if it lies in one shard, with as few NumPy calls as that can be done."""
    shard, first, counts, origin = [], [], [], []
    for corner, length, piece, per_chunk, chunks in zip(
        topleft, shape, pieces.shape, pieces.per_chunk, spec.chunks_per_shard, strict=True
    ):
        per_shard = per_chunk * chunks
        begin, end = corner // piece, (corner + length - 1) // piece
        if begin // per_shard != end // per_shard:
            return None
        shard.append(begin // per_shard)
        first.append(begin % per_shard)
        counts.append(end - begin + 1)
        origin.append(begin * piece - corner)
    grid, voxels, box = _grid(counts[0], counts[1], counts[2], pieces.shape)
    return _rows((shard[0], shard[1], shard[2]), box, voxels + origin, grid + first, pieces)


def cells_in_boxes(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """List the cells of a grid that boxes hold, box by box.

    Parameters
    ----------
    first, last : int64 (n, 3)
        First and last cell ``(x, y, z)`` of each box. Boxes should be of about one size.

    Returns
    -------
    cells : int64 (m, 3)
        A cell in several boxes comes as often.
    box : int64 (m,)
        Which box each cell is in.

    Examples
    --------
    >>> cells, box = cells_in_boxes(np.array([[0, 0, 0], [4, 4, 4]]), np.array([[1, 0, 0], [4, 4, 4]]))
    >>> cells.tolist(), box.tolist()
    ([[0, 0, 0], [1, 0, 0], [4, 4, 4]], [0, 0, 1])
    """
    if len(first) == 0:
        return first, np.zeros(0, np.int64)
    x, y, z = ((last - first).max(axis=0) + 1).tolist()
    grid, _, _ = _grid(x, y, z, (1, 1, 1))
    cells = (first[:, np.newaxis] + grid).reshape(-1, 3)
    box = np.repeat(np.arange(len(first)), len(grid))
    inside = (cells <= last[box]).all(axis=1)  # unaligned boxes of one shape can touch one cell more or less
    return cells[inside], box[inside]


def _grid(x: int, y: int, z: int, piece: Triple) -> tuple[Ints, Ints, Ints]:
    """Return `_new_grid`, from a cache where it is as small as those of patches are."""
    return (_cached_grid if x * y * z <= _MAX_CACHED_GRID else _new_grid)(x, y, z, piece)


def _new_grid(x: int, y: int, z: int, piece: Triple) -> tuple[Ints, Ints, Ints]:
    """All coordinates of a grid (x y z, 3), z slowest; the same in voxels; and a zero for each."""
    axes = np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij")
    grid = np.stack([axes[2].ravel(), axes[1].ravel(), axes[0].ravel()], axis=1)
    arrays = grid, grid * np.array(piece, np.int64), np.zeros(len(grid), np.int64)
    for array in arrays:
        array.flags.writeable = False
    return arrays


_MAX_ROWS = 1 << 18
_MAX_CACHED_GRID = 4096
_cached_grid = lru_cache(maxsize=64)(_new_grid)


def _rows(shard: Triple, box: Ints, origin: Ints, piece: Ints, pieces: Pieces) -> ShardRows:
    if pieces.per_chunk == (1, 1, 1):
        return ShardRows(shard, box, origin, piece, None)
    chunk = piece // pieces.per_chunk
    inside = piece - chunk * pieces.per_chunk
    return ShardRows(shard, box, origin, chunk, inside[:, 2] * pieces.per_chunk[1] + inside[:, 1])
