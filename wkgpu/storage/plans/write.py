"""A write to one shard as data: which of its chunks change, and where the bytes of all others come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces, ShardRows
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local.file_bytes import copy_range, write_all

_FILLED_BYTES = 4 << 20  # equal chunks that are written at once


class Touched(NamedTuple):
    """Chunks (of raw ones: pieces) that a write changes, in the order of the shard. All int64."""

    ordinal: Ints
    """(n,) Position in the shard's index."""
    offset: Ints
    """(n,) Where the chunk is in the shard as it was; of a raw shard also where it will be."""
    nbytes: Ints
    """(n,) Its encoded bytes there; 0 where they are not needed: covered by the new voxels, or never stored."""
    origin: Ints
    """(n, 3) Its first voxel in the box of new voxels; negative where it begins before it."""


@dataclass(frozen=True)
class WritePlan:
    """Tables that an engine executes: *gather* voxels into chunks, *encode* them, *store* them.

    A compressed shard is written anew from the first byte to the last: touched chunks are encoded, all others copied
    as they are. A raw shard is changed in place.

    Attributes
    ----------
    descriptor : int
        The file to write: a new one beside a compressed shard, the shard itself where it is raw. Who needs a path opens
        ``/proc/self/fd/{descriptor}``.
    old : ShardFile or None
        The shard as it was.
    data_offset : int
        Where chunk 0 begins in the file to write.
    sizes : int64 (chunks in the shard,)
        Of a compressed shard: encoded bytes of every chunk. Those that `touched` names are set by the engine; -1
        stands for a chunk that has never been written, which the engine fills with zeros, encoded.
    """

    path: Path
    spec: ArraySpec
    pieces: Pieces
    shape: Triple
    """``(x, y, z)`` voxels of the box of new voxels."""
    descriptor: int
    old: ShardFile | None
    data_offset: int
    touched: Touched
    sizes: Ints

    @property
    def is_compressed(self) -> bool:
        """Whether the shard is written anew."""
        return bool(self.spec.codecs)

    def store(self, data: bytes | memoryview, offset: int) -> None:
        """Write encoded chunks at a file offset."""
        write_all(self.descriptor, data, offset)

    def fill(self, chunk: bytes, count: int, offset: int) -> None:
        """Write one encoded chunk ``count`` times, from a file offset on."""
        at_once = max(1, _FILLED_BYTES // len(chunk))
        for first in range(0, count, at_once):
            self.store(chunk * min(at_once, count - first), offset + first * len(chunk))

    def copy(self, first: int, last: int, offset: int) -> None:
        """Copy the chunks ``first`` to ``last`` of the old shard, where they lie one behind the other, to an offset."""
        assert self.old is not None
        begins, _ = self.old.index.extents(np.array([first]))
        copy_range(self.old.descriptor, int(begins[0]), self.descriptor, offset, int(self.sizes[first:last].sum()))

    def __str__(self) -> str:
        partly = int((self.touched.nbytes > 0).sum())
        return f"{self.path}: {len(self.touched.ordinal)} chunks change, {partly} of them in part"


def touched_chunks(
    rows: ShardRows, pieces: Pieces, shape: Triple, old: ShardFile | None, ordinals: Callable[[Ints], Ints],
    uniform_offset: Callable[[Ints], Ints] | None,
) -> Touched:  # fmt: skip
    """Make the table of one shard.

    Parameters
    ----------
    uniform_offset
        Of a raw shard: file offsets of chunks, by their ordinals, whether the shard exists or not.
    """
    ordinal = ordinals(rows.chunk)
    if old is not None:
        offset, nbytes = old.index.extents(ordinal)
    else:
        offset = np.zeros(len(ordinal), np.int64) if uniform_offset is None else uniform_offset(ordinal)
        nbytes = np.zeros(len(ordinal), np.int64)
    order = ordinal.argsort(kind="stable")
    if rows.part is not None:
        offset = offset + rows.part * pieces.nbytes
        nbytes = np.where(nbytes > 0, pieces.nbytes, 0)
        order = np.lexsort((rows.part, ordinal))
    nbytes = np.where(covered(rows, pieces, shape), 0, nbytes)
    return Touched(ordinal[order], offset[order], nbytes[order], rows.origin[order])


def covered(rows: ShardRows, pieces: Pieces, shape: Triple) -> NDArray[np.bool_]:
    """Which chunks lie in the box of new voxels whole, (n,)."""
    begins = (rows.origin >= 0).all(axis=1)
    ends = (rows.origin + pieces.shape <= shape).all(axis=1)
    return np.asarray(begins & ends)
