"""Makes read plans: compiled code looks up the chunks of all boxes and lays out what is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import ModuleType

import numpy as np

from wkgpu.errors import ShardIndexError, StorageAccessError
from wkgpu.forking import loading
from wkgpu.geometry.voxel_box import Triple
from wkgpu.kernels import planning as layout
from wkgpu.settings import config
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces, pieces_of
from wkgpu.storage.plans.parts import MAX_ROWS, BoxPart, parts_of_boxes
from wkgpu.storage.plans.read import Chunks, MissingChunks, ReadPlan, Segments
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local.open_files import EXHAUSTED
from wkgpu.storage.stores.store import Store

_MAX_KEPT = 64
_MIN_OPEN = 4  # of a plan, however many files other threads have open
_ABSENT = (layout.ABSENT, 0, 0, 0, 0, 0)
_SKIPPED = (layout.SKIPPED, 0, 0, 0, 0, 0)

OpenShard = Callable[[Triple, bool], ShardFile | None]
"""Opens the shard ``(x, y, z)``, its index checked; None where it does not exist.

The second argument says whether to wait, where too many files are open.
"""

CheckOpened = Callable[[Sequence[ShardFile | None]], None]


def _nothing(_: Sequence[ShardFile | None]) -> None: ...


class ReadPlanner:
    """Plans the reads of one mag, in one layout.

    Parameters
    ----------
    spec : ArraySpec
        What its shards have in common, in its own axes.
    ordinal_strides : tuple of int
        By which the ordinal of a chunk grows along each axis of its shard; zeros for Morton order.
    first_ordinal : int
        That of the first chunk.
    """

    def __init__(self, spec: ArraySpec, ordinal_strides: Triple, first_ordinal: int = 0) -> None:
        self._spec = spec
        self._ordinal_strides = ordinal_strides
        self._first_ordinal = first_ordinal
        self._pieces: dict[tuple[Pipeline, int], Pieces] = {}
        self._kept: dict[tuple[Pieces, Triple, int], Ints] = {}

    def pieces_of(self, codecs: Pipeline) -> Pieces:
        """How the chunks of files with these codecs are cut."""
        limit = config.staging_bytes
        pieces = self._pieces.get((codecs, limit))
        if pieces is None:
            pieces = self._pieces[codecs, limit] = pieces_of(self._spec.encoded_as(codecs), limit)
        return pieces

    def plans(
        self,
        corners: Ints,
        shape: Triple,
        store: Store,
        open_shard: OpenShard,
        check_opened: CheckOpened = _nothing,
    ) -> Iterator[tuple[ReadPlan, Sources]]:
        """Yield plans, and the files of each, which the caller closes; together they cover all boxes, each voxel once.

        There are several for boxes of very many chunks or files, and where a mag has files of codecs whose chunks are
        cut differently. Close the files of a plan before the next one: a process may have only so many open.

        Parameters
        ----------
        corners : int64 (boxes, 3)
            First voxels of the boxes, not negative.
        shape : tuple of int
            Voxels of each box, at least 1.
        store : Store
            Holds the files, and says how large a gap between wanted ranges is read along.
        check_opened : callable
            Raises an error where files that have been opened, or are missing, cannot be planned.
        """
        pieces, kernels, max_gap = self.pieces_of(self._spec.codecs), _kernels(), store.coalesce_bytes
        for part in parts_of_boxes(corners, shape, pieces.shape, MAX_ROWS):
            shards, touching = kernels.find_shards(part.corners, self._numbers(pieces, part, max_gap))
            for files, rows, boxes in _opened_in_turn(open_shard, store, shards, touching):
                try:
                    check_opened(files)
                    planned = []
                    for cut, pipelines in self._by_cut(files, pieces):
                        indexes = np.array(
                            [self._described(file, pipelines, cut == pieces) for file in files], np.int64
                        )
                        numbers = self._numbers(cut, part, max_gap)
                        tables = kernels.read_tables(part.corners, numbers, rows, boxes, indexes)
                        planned.append(self._plan(cut, pipelines, files, tables, shape, len(corners)))
                except BaseException:
                    _close(files)
                    raise
                try:
                    while planned:
                        yield planned.pop(0)
                finally:
                    for _, sources in planned:  # which the caller has not asked for
                        sources.close()

    def _by_cut(self, files: _Files, pieces: Pieces) -> Sequence[tuple[Pieces, tuple[Pipeline, ...]]]:
        """Return the pipelines of files by how these cut chunks, which absent files do as new ones: into `pieces`."""
        found = [file.index.codecs for file in files if file is not None]
        if found.count(self._spec.codecs) == len(found):
            return [(pieces, (self._spec.codecs,) if found else ())]
        pipelines = tuple(dict.fromkeys(found))
        cuts = [self.pieces_of(codecs) for codecs in pipelines]
        different = {*cuts, pieces} if None in files else set(cuts)
        return [
            (cut, tuple(codecs for codecs, its in zip(pipelines, cuts, strict=True) if its == cut))
            for cut in sorted(different)
        ]

    def _numbers(self, pieces: Pieces, part: BoxPart, max_gap: int) -> Ints:
        """Return what is the same for all boxes, as planning kernels take it."""
        numbers = self._kept.get((pieces, part.shape, max_gap))
        if numbers is None:
            chunks = self._spec.chunks_per_shard
            numbers = np.array(
                [*part.shape, *pieces.shape, *pieces.per_chunk, *chunks, *self._ordinal_strides, 0, 0, 0, 0, max_gap,
                 pieces.nbytes, self._first_ordinal], np.int64,
            )  # fmt: skip
            assert len(numbers) == layout.NUMBERS
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[pieces, part.shape, max_gap] = numbers
        if not part.is_all:
            numbers = numbers.copy()
            numbers[layout.FIRST_BOX] = part.first
            numbers[layout.SHIFT : layout.SHIFT + 3] = part.shift
        return numbers

    def _described(self, file: ShardFile | None, pipelines: tuple[Pipeline, ...], has_absent: bool) -> tuple[int, ...]:
        """Return the row of an index, as planning kernels take it; `has_absent`: whether absent shards are planned."""
        if file is None:
            return _ABSENT if has_absent else _SKIPPED
        codecs = file.index.codecs
        if codecs not in pipelines:
            return _SKIPPED
        kind, begin, end, entries = file.index.description
        return kind, pipelines.index(codecs), begin, end, entries, 0 if codecs else self._spec.chunk_bytes

    def _plan(
        self, pieces: Pieces, pipelines: tuple[Pipeline, ...], files: _Files, tables: _Tables, shape: Triple, boxes: int
    ) -> tuple[ReadPlan, Sources]:
        """Make the plan of those shards whose chunks are encoded by these pipelines."""
        opened = [file for file in files if file is not None and file.index.codecs in pipelines]
        segments, chunks, missing, (staged, largest) = tables
        if staged < 0:  # the other number is the file's
            raise ShardIndexError(
                f"{opened[largest].path}: its index has too few chunks, or raw ones of a wrong length."
            )
        plan = ReadPlan(
            self._spec, pieces, shape, boxes, tuple([file.key for file in opened]), pipelines,
            Segments(segments), Chunks(chunks), MissingChunks(missing), staged, largest,
        )  # fmt: skip
        return plan, Sources(opened)


_Files = list[ShardFile | None]
_Tables = tuple[Ints, Ints, Ints, tuple[int, int]]


def _opened_in_turn(
    open_shard: OpenShard, store: Store, shards: Ints, touching: Ints
) -> Iterator[tuple[_Files, Ints, Ints]]:
    """Open shards, as many at a time as may be open, and yield them with their part of what kernels have found.

    Parameters
    ----------
    shards, touching
        As `find_shards` returns them, and as `read_tables` takes their parts.
    """
    names = shards[:, :3].tolist()
    first = begin = 0
    while first < len(names):
        files = _opened(open_shard, store, names, first)
        last = first + len(files)
        if last - first == len(names):  # mostly
            yield files, shards, touching
            return
        end = int(shards[last - 1, 3])
        yield files, shards[first:last] - (0, 0, 0, begin), touching[begin:end]
        first, begin = last, end


def _opened(open_shard: OpenShard, store: Store, names: list[list[int]], first: int) -> _Files:
    """Open shards from a first one on, until so many files are open that the others have to wait for their turn."""
    files: _Files = []
    try:
        for number in range(first, len(names)):
            x, y, z = names[number]
            try:
                files.append(open_shard((x, y, z), not files))
            except StorageAccessError as error:
                if error.errno not in EXHAUSTED or not files:
                    raise
                break
            if len(files) >= _MIN_OPEN and store.is_scarce():
                break
    except BaseException:
        _close(files)
        raise
    return files


def _close(files: _Files) -> None:
    for file in files:
        if file is not None:
            file.close()


@cache
def _kernels() -> ModuleType:
    with loading:
        from wkgpu.kernels.cpu import planning  # at the first plan: Numba takes long to import

    module: ModuleType = planning
    return module
