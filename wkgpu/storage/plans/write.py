"""A write to one shard as data: which of its chunks change, and where the bytes of all others come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces, ShardRows
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.shard_index import Extents
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stores.files import WritableFile

_FILLED_BYTES = 4 << 20  # equal chunks that are written at once


class ChunkSource(IntEnum):
    """Where the bytes of a chunk come from."""

    ENCODE = 0
    """New voxels, which may be laid over its old ones."""
    COPY = 1
    """The old shard."""
    FILL = 2
    """The encoded chunk of the fill value."""
    OMIT = 3
    """It is not stored."""


class Touched(NamedTuple):
    """Chunks (of shards that are changed in place: pieces) that a write changes, ascending. All int64."""

    ordinal: Ints
    """(n,) Position in the shard's index."""
    offset: Ints
    """(n,) Where the chunk is in the shard as it was; of one that is changed in place also where it will be."""
    nbytes: Ints
    """(n,) Its encoded bytes there; 0 where they are not needed: covered by the new voxels, or never stored."""
    origin: Ints
    """(n, 3) Its first voxel in the box of new voxels; negative where it begins before it."""


class Stored(NamedTuple):
    """All chunks of a shard that is written from the first byte to the last, by ordinal; empty if changed in place.

    They are stored in the order of their ordinals, one right after the other.
    """

    source: NDArray[np.int8]
    """(chunks,) A `ChunkSource`."""
    old_offset: Ints
    """(chunks,) Of chunks that are copied: where they lie in the old shard."""
    nbytes: Ints
    """(chunks,) Encoded bytes, 0 where none are stored. Of chunks that are encoded and filled, the engine sets them."""


@dataclass(frozen=True)
class WritePlan:
    """Tables that an engine executes: *gather* voxels into chunks, *encode* them, *store* them.

    A shard whose chunks have a place of their own is changed in place. Any other one is written from the first byte to
    the last: touched chunks are encoded, others copied as they are, filled, or omitted.

    All shapes, and origins, are in storage axis order: x is the fastest axis of a chunk, whatever it is called.

    Attributes
    ----------
    spec : ArraySpec
        With the codecs of this shard.
    shape : tuple of int
        ``(x, y, z)`` voxels of the box of new voxels.
    path : str
        The shard, as messages name it.
    file : WritableFile
        The file to write, which has a descriptor: the shard itself where it is changed in place, else a new one that
        replaces it.
    old : ShardFile or None
        The shard as it was.
    data_offset : int
        Where chunk 0 begins in the file to write.
    drops_filled : bool
        Whether chunks that hold nothing but the fill value may be left out; an engine need not do so.
    """

    path: str
    spec: ArraySpec
    pieces: Pieces
    shape: Triple
    file: WritableFile
    old: ShardFile | None
    data_offset: int
    touched: Touched
    stored: Stored
    drops_filled: bool = False

    @property
    def descriptor(self) -> int:
        """Of the file to write. Open ``/proc/self/fd/{descriptor}`` where a path is needed."""
        assert self.file.descriptor is not None
        return self.file.descriptor

    @property
    def is_in_place(self) -> bool:
        """Whether the shard is changed where it is."""
        return len(self.stored.source) == 0

    @property
    def has_fill(self) -> bool:
        """Whether chunks are filled."""
        return bool((self.stored.source == ChunkSource.FILL).any())

    def set_fill(self, nbytes: int) -> None:
        """Say how many bytes the encoded chunk of the fill value has."""
        self.stored.nbytes[self.stored.source == ChunkSource.FILL] = nbytes

    @property
    def extents(self) -> Extents:
        """Where the chunks lie in the file to write, when all are encoded."""
        ends = self.data_offset + np.cumsum(self.stored.nbytes)
        return Extents(ends - self.stored.nbytes, self.stored.nbytes)

    def nbytes_between(self, first: int, last: int) -> int:
        """Return the stored bytes of the chunks with the ordinals ``first`` to ``last``."""
        return int(self.stored.nbytes[first:last].sum())

    def store(self, data: bytes | memoryview, offset: int) -> None:
        """Write encoded chunks at a file offset."""
        self.file.write(data, offset)

    def store_untouched(self, first: int, last: int, offset: int, fill: bytes) -> int:
        """Store the chunks with the ordinals ``first`` to ``last``, which no new voxel touches, from a file offset on.

        Parameters
        ----------
        fill : bytes
            The encoded chunk of the fill value.

        Returns
        -------
        int
            The bytes that they take.
        """
        source, old_offset, nbytes = (column[first:last] for column in self.stored)
        (rows,) = nbytes.nonzero()
        if not len(rows):
            return 0
        source, begins, nbytes = source[rows], old_offset[rows], nbytes[rows]
        # What is copied together lies together in the old shard; the encoded chunk of the fill value is repeated.
        is_next = (source[1:] == ChunkSource.FILL) | (begins[1:] == (begins + nbytes)[:-1])
        continues = (source[1:] == source[:-1]) & is_next
        goals = offset + np.concatenate([[0], np.cumsum(nbytes)])
        heads = [0, *((~continues).nonzero()[0] + 1).tolist(), len(rows)]
        for head, after in pairwise(heads):
            goal = int(goals[head])
            if source[head] == ChunkSource.FILL:
                self._fill(fill, after - head, goal)
            else:
                assert self.old is not None
                length = int(goals[after]) - goal
                self.file.copy_range(self.old.source, int(begins[head]), goal, length)
        return int(goals[-1]) - offset

    def _fill(self, chunk: bytes, count: int, offset: int) -> None:
        """Write one encoded chunk ``count`` times, from a file offset on."""
        at_once = max(1, _FILLED_BYTES // len(chunk))
        for first in range(0, count, at_once):
            self.store(chunk * min(at_once, count - first), offset + first * len(chunk))

    def __str__(self) -> str:
        partly = int((self.touched.nbytes > 0).sum())
        return f"{self.path}: {len(self.touched.ordinal)} chunks change, {partly} of them in part"


NOTHING_STORED = Stored(np.zeros(0, np.int8), np.zeros(0, np.int64), np.zeros(0, np.int64))


def stored_chunks(spec: ArraySpec, touched: Touched, old: ShardFile | None, absent: AbsentChunks) -> Stored:
    """Make the table of a shard that is not changed in place.

    Parameters
    ----------
    absent : AbsentChunks
        What the new file has of chunks that the old one does not have.
    """
    count = spec.chunks_in_shard
    source = np.full(count, ChunkSource.OMIT if absent is AbsentChunks.OMITTED else ChunkSource.FILL, np.int8)
    offset, nbytes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    if old is not None:
        offset, found = old.index.extents(np.arange(count))
        source[found > 0] = ChunkSource.COPY
        nbytes[...] = found
    source[touched.ordinal] = ChunkSource.ENCODE
    nbytes[touched.ordinal] = 0
    return Stored(source, offset, nbytes)


def whole_chunks(spec: ArraySpec) -> Pieces:
    """Return how chunks are cut that are encoded: not at all."""
    return Pieces(spec.chunk_shape, (1, 1, 1), spec.chunk_bytes)


def touched_chunks(
    rows: ShardRows, pieces: Pieces, shape: Triple, old: ShardFile | None, ordinals: Callable[[Ints], Ints],
    uniform_offset: Callable[[Ints], Ints] | None,
) -> Touched:  # fmt: skip
    """Make the table of one shard.

    Parameters
    ----------
    uniform_offset
        Of a shard that is changed in place: file offsets of chunks, by their ordinals, whether it exists or not.
    """
    ordinal = ordinals(rows.chunk)
    if old is not None:
        offset, nbytes = old.index.extents(ordinal)
    else:
        offset = np.zeros(len(ordinal), np.int64) if uniform_offset is None else uniform_offset(ordinal)
        nbytes = np.zeros(len(ordinal), np.int64)
    order = ordinal.argsort(kind="stable")
    if rows.slab is not None:
        offset = offset + rows.slab * pieces.nbytes
        nbytes = np.where(nbytes > 0, pieces.nbytes, 0)
        order = np.lexsort((rows.slab, ordinal))
    nbytes = np.where(covered(rows, pieces, shape), 0, nbytes)
    return Touched(ordinal[order], offset[order], nbytes[order], rows.origin[order])


def covered(rows: ShardRows, pieces: Pieces, shape: Triple) -> NDArray[np.bool_]:
    """Which chunks lie in the box of new voxels whole, (n,)."""
    begins = (rows.origin >= 0).all(axis=1)
    ends = (rows.origin + pieces.shape <= shape).all(axis=1)
    return np.asarray(begins & ends)
