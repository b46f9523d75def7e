"""A read as data: which bytes of which files to fetch, and where each decoded chunk goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import prod
from types import TracebackType
from typing import NamedTuple

import numpy as np

from wkgpu.errors import StorageAccessError
from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces, ShardRows, recut
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local.open_files import EXHAUSTED, is_scarce, patiently

FILES_PER_PLAN = 64
"""A plan holds so many files open, or fewer where they are scarce; a box of many small shards makes several plans."""
_FILES_AT_A_TIME = 4
ROWS_PER_PLAN = 1 << 18
"""A plan's tables take some 100 bytes for each chunk; a box of very many chunks makes several plans."""


class Segments(NamedTuple):
    """Byte ranges to fetch, one request each, ascending in the staging space. All int64 (n,)."""

    file: Ints
    """Position in the plan's files."""
    offset: Ints
    """Where the range begins in the file."""
    nbytes: Ints
    place: Ints
    """Where its first byte goes in the staging space."""


class Chunks(NamedTuple):
    """Encoded chunks (of raw ones: pieces) in the staging space, ascending. All int64."""

    place: Ints
    """(n,) Where the chunk begins in the staging space."""
    nbytes: Ints
    """(n,) Its encoded bytes."""
    box: Ints
    """(n,) Which of the plan's boxes it is for."""
    origin: Ints
    """(n, 3) Its first voxel in that box; negative where the chunk begins before the box."""
    placement_order: Ints
    """(n,) The rows of this table by shard, box, z, y, x: x-neighbours of a shard follow each other."""


class Gaps(NamedTuple):
    """Chunks that are stored nowhere and read as zeros, sorted by box, z, y, x. All int64."""

    box: Ints
    """(n,) Which box."""
    origin: Ints
    """(n, 3) First voxel in that box."""


@dataclass(frozen=True)
class ReadPlan:
    """Tables that an engine executes, in any cut: *fetch* segments, *decode* chunks, *place* them in the boxes.

    The *staging space* is an address space, not memory: the wanted bytes of all the files, one behind the other. An
    engine takes chunks in order, as many as it likes at a time, and fetches what the segments say of their addresses.

    A plan holds its files open until `close`, or the end of a ``with`` block.
    """

    spec: ArraySpec
    pieces: Pieces
    shape: Triple
    """``(x, y, z)`` voxels of each box."""
    boxes: int
    files: tuple[ShardFile, ...]
    segments: Segments
    chunks: Chunks
    gaps: Gaps

    @property
    def nbytes_staged(self) -> int:
        """Bytes that are fetched in all."""
        return int(self.segments.nbytes.sum())

    @property
    def nbytes_decoded(self) -> int:
        """Bytes that the chunks decode to in all."""
        return len(self.chunks.place) * self.pieces.nbytes

    @property
    def max_chunk_nbytes(self) -> int:
        """Bytes of the largest encoded chunk: no staging buffer can be smaller."""
        return int(self.chunks.nbytes.max(initial=0))

    def locate(self, row: int) -> tuple[str, int]:
        """Return the path of the file that the chunk in a row comes from, and its offset there."""
        segment = int(np.searchsorted(self.segments.place, self.chunks.place[row], side="right")) - 1
        offset = int(self.chunks.place[row] - self.segments.place[segment] + self.segments.offset[segment])
        return self.files[int(self.segments.file[segment])].path, offset

    def describe(self, row: int) -> str:
        """Name the file of the chunk in a row, and where the chunk lies there and in its box, for messages."""
        path, offset = self.locate(row)
        voxel = tuple(self.chunks.origin[row].tolist())
        box = f"box {self.chunks.box[row]}" if self.boxes > 1 else "the box"
        return f"{path}: the chunk at voxel {voxel} of {box}, at file offset {offset},"

    def __str__(self) -> str:
        return (
            f"{self.boxes} x {self.shape} voxels from {len(self.files)} files: {len(self.chunks.place)} chunks in "
            f"{len(self.segments.place)} segments of {self.nbytes_staged} bytes, {len(self.gaps.box)} absent"
        )

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()

    def __enter__(self) -> ReadPlan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_NONE = np.zeros(0, np.int64)


class _Located(NamedTuple):
    """Rows of one file, sorted by their offset in it."""

    offset: Ints
    nbytes: Ints
    box: Ints
    origin: Ints
    placement_order: Ints


def read_plans(
    spec: ArraySpec,
    pieces: Pieces,
    boxes: int,
    shape: Triple,
    rows: Iterable[ShardRows],
    open_shard: Callable[[Triple], ShardFile | None],
    ordinals: Callable[[Ints], Ints],
    coalesce_bytes: int,
    pieces_of: Callable[[Pipeline], Pieces],
) -> Iterator[ReadPlan]:
    """Yield plans for the rows of `chunk_grid.chunks_in_boxes`; each must be closed by its user.

    The chunks of a plan are all raw or all compressed. Where a mag has shards of both kinds, a box makes two plans.

    Parameters
    ----------
    open_shard, ordinals
        What a format knows: the file of a shard, and the position in its index of chunks ``(n, 3)``.
    coalesce_bytes : int
        Gap between two wanted ranges up to which they are fetched as one.
    pieces_of
        How chunks are cut in shards of another codec than the mag's.
    """
    drafts = _Drafts(spec, pieces, boxes, shape, ordinals, coalesce_bytes, pieces_of)
    try:
        for shard_rows in rows:
            if drafts.is_full:
                yield from drafts.plans()
            try:
                file = open_shard(shard_rows.shard)
            except StorageAccessError as error:
                if error.errno not in EXHAUSTED:
                    raise
                yield from drafts.plans()  # whose files are closed then
                file = patiently(partial(open_shard, shard_rows.shard))
            drafts.add(shard_rows, file)
        yield from drafts.plans()
    except BaseException:
        drafts.close()
        raise


@dataclass
class _Draft:
    """What a plan is going to be made of."""

    spec: ArraySpec
    pieces: Pieces
    files: list[ShardFile] = field(default_factory=list)
    located: list[_Located] = field(default_factory=list)
    gaps: list[Gaps] = field(default_factory=list)


class _Drafts:
    """Rows of shards, until they make plans; see `read_plans`."""

    def __init__(
        self, spec: ArraySpec, pieces: Pieces, boxes: int, shape: Triple, ordinals: Callable[[Ints], Ints],
        coalesce_bytes: int, pieces_of: Callable[[Pipeline], Pieces],
    ) -> None:  # fmt: skip
        self._layout, self._pieces, self._boxes, self._shape = spec, pieces, boxes, shape
        self._ordinals, self._coalesce_bytes, self._pieces_of = ordinals, coalesce_bytes, pieces_of
        self._drafts = {spec.codecs == (): _Draft(spec, pieces)}
        self.files = self.count = 0
        """Files that are open, and rows."""

    @property
    def is_full(self) -> bool:
        """Whether plans should be made before anything is added; files are scarce or not for some at a time."""
        if self.files == FILES_PER_PLAN or self.count >= ROWS_PER_PLAN:
            return True
        return self.files > 0 and self.files % _FILES_AT_A_TIME == 0 and is_scarce()

    def add(self, rows: ShardRows, file: ShardFile | None) -> None:
        """Add the rows of a shard, which is closed with the plan; None if it does not exist."""
        if file is None:
            self._draft(self._layout.codecs).gaps.append(Gaps(rows.box, rows.origin))
        else:
            draft = self._draft(file.index.codecs)
            draft.files.append(file)
            self.files += 1
            if draft.pieces is not self._pieces:
                rows = recut(rows, self._pieces, draft.pieces, self._shape)
            draft.located.append(_locate(rows, file, draft.pieces, self._ordinals, draft.gaps))
        self.count += len(rows.box)

    def plans(self) -> Iterator[ReadPlan]:
        """Yield what has been added, and begin anew."""
        for is_raw in [is_raw for is_raw, draft in self._drafts.items() if draft.located or draft.gaps]:
            draft = self._drafts[is_raw]
            segments, chunks = _tables(draft.located, self._coalesce_bytes)
            files, gaps = tuple(draft.files), _joined(draft.gaps)
            plan = ReadPlan(draft.spec, draft.pieces, self._shape, self._boxes, files, segments, chunks, gaps)
            self._drafts[is_raw] = _Draft(draft.spec, draft.pieces)
            yield plan
        self.files = self.count = 0

    def close(self) -> None:
        """Close the files that no plan has."""
        for draft in self._drafts.values():
            for file in draft.files:
                file.close()

    def _draft(self, codecs: Pipeline) -> _Draft:
        is_raw = codecs == ()
        if is_raw not in self._drafts:
            self._drafts[is_raw] = _Draft(self._layout.encoded_as(codecs), self._pieces_of(codecs))
        return self._drafts[is_raw]


def _locate(
    rows: ShardRows, file: ShardFile, pieces: Pieces, ordinals: Callable[[Ints], Ints], gaps: list[Gaps]
) -> _Located:
    offset, nbytes = file.index.extents(ordinals(rows.chunk))
    if rows.part is not None:
        offset = offset + rows.part * pieces.nbytes
        nbytes = np.full(len(offset), pieces.nbytes, np.int64)
    order = offset.argsort(kind="stable")
    nbytes = nbytes[order]
    if not nbytes.all():
        absent = order[nbytes == 0]
        gaps.append(Gaps(rows.box[absent], rows.origin[absent]))
        order = order[nbytes > 0]
        nbytes = nbytes[nbytes > 0]
    # The rows came by box, z, y, x: sorting the sorted ones back gives that order as rows of the table.
    return _Located(offset[order], nbytes, rows.box[order], rows.origin[order], order.argsort())


def _tables(located: list[_Located], coalesce_bytes: int) -> tuple[Segments, Chunks]:
    """Lay the wanted ranges of all files into the staging space, joining what is near enough in a file."""
    if not located:
        located = [_Located(_NONE, _NONE, _NONE, _NONE.reshape(0, 3), _NONE)]
    counts = [len(found.offset) for found in located]
    offset, nbytes, box, origin = (_concatenated([found[column] for found in located]) for column in range(4))
    placement_order = located[0].placement_order
    file = np.zeros(counts[0], np.int64)
    if len(located) > 1:
        file = np.arange(len(located)).repeat(counts)
        before = np.cumsum([0, *counts[:-1]])
        placement_order = np.concatenate(
            [found.placement_order + begin for found, begin in zip(located, before, strict=True)]
        )
    end = offset + nbytes
    begins = np.ones(len(offset), np.bool_)  # whether a new segment begins at this chunk
    np.greater(offset[1:] - end[:-1], coalesce_bytes, out=begins[1:])
    if len(located) > 1:
        begins[1:] |= file[1:] != file[:-1]
    (heads,) = begins.nonzero()
    offsets = offset[heads]
    lengths = (np.maximum.reduceat(end, heads) - offsets) if len(heads) else _NONE
    places = lengths.cumsum() - lengths
    place = offset + (places - offsets)[begins.cumsum() - 1]
    return Segments(file[heads], offsets, lengths, places), Chunks(place, nbytes, box, origin, placement_order)


def _joined(gaps: list[Gaps]) -> Gaps:
    """Join gaps and sort them, so that those along x follow each other."""
    if not gaps:
        return Gaps(_NONE, _NONE.reshape(0, 3))
    box = _concatenated([gap.box for gap in gaps])
    origin = _concatenated([gap.origin for gap in gaps])
    order = np.lexsort((origin[:, 0], origin[:, 1], origin[:, 2], box))
    return Gaps(box[order], origin[order])


def _concatenated(parts: list[Ints]) -> Ints:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def nbytes_box(spec: ArraySpec, shape: Triple) -> int:
    """Bytes of a decoded box of ``(x, y, z)`` voxels."""
    return prod(shape) * spec.voxel_bytes
