"""The files of a read plan: opened once when it is made, so that it is executed on what was planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.errors import StorageAccessError
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.stores.local.open_files import EXHAUSTED, is_scarce

if TYPE_CHECKING:
    from wkgpu.storage.plans.read import ReadPlan

_MIN_OPEN = 4
"""So many files of a plan are open at a time, however scarce they are."""
_STAGED_BYTES = 64 << 20
"""Of files without descriptors, those are staged together that have no more wanted bytes than this."""


class Window(NamedTuple):
    """Rows of a plan's table of chunks, whose files are open."""

    first: int
    last: int
    """The first row, and the one behind the last."""
    descriptors: NDArray[np.int64]
    """(files,) Descriptors of the plan's files; -1 for those that no row of the window needs."""


class Sources:
    """The files of a plan. They are closed at the end of a ``with`` block.

    An open file keeps the bytes that were planned, also when another one replaces it. Of files in a store without
    descriptors, what the plan reads of them is staged in memory that has one when their turn comes: a process may have
    only so many files open (``ulimit -n``).

    Parameters
    ----------
    files : sequence of ShardFile
        In the order of the plan's files, open.

    Attributes
    ----------
    are_open : bool
        Whether all files have descriptors at once.
    descriptors : int64 (files,)
        -1 for those that have none.
    """

    __slots__ = ("_files", "are_open", "descriptors")

    def __init__(self, files: Sequence[ShardFile]) -> None:
        self._files = files
        descriptors = [file.descriptor for file in files]
        self.descriptors: NDArray[np.int64] = np.array(descriptors, np.int64)
        self.are_open = -1 not in descriptors

    def windows(self, plan: ReadPlan) -> Iterator[Window]:
        """Yield the rows of a plan in parts whose files have descriptors together; mostly all rows.

        A part's files are closed when the next one is asked for: nothing may read from them any more.
        """
        if self.are_open:
            yield Window(0, len(plan.chunks), self.descriptors)
            return
        rows = _first_rows(plan, len(self._files))
        first = 0
        while first < len(self._files):
            last = self._stage_from(first, plan)
            window = np.full(len(self._files), -1, np.int64)
            window[first:last] = self.descriptors[first:last]
            if rows[first] < rows[last]:
                yield Window(int(rows[first]), int(rows[last]), window)
            self._close(first, last)
            first = last

    def _stage_from(self, first: int, plan: ReadPlan) -> int:
        """Stage files as long as descriptors are not scarce; returns the first one that is not staged."""
        nbytes_staged = 0
        for number in range(first, len(self._files)):
            if number - first >= _MIN_OPEN and is_scarce():
                return number
            ranges = _ranges_of(plan, number)
            nbytes_staged += sum(nbytes for _, nbytes in ranges)
            if number > first and nbytes_staged > _STAGED_BYTES:
                return number
            try:
                self._files[number].stage(ranges, wait=number == first)
            except StorageAccessError as error:
                if error.errno not in EXHAUSTED or number == first:
                    raise
                return number
            self.descriptors[number] = self._files[number].descriptor
        return len(self._files)

    def _close(self, first: int, last: int) -> None:
        for number in range(first, last):
            self._files[number].close()
        self.descriptors[first:last] = -1

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Sources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _ranges_of(plan: ReadPlan, file: int) -> list[tuple[int, int]]:
    """Return the offset and the length of what a plan reads of a file."""
    segments = plan.segments
    first, last = np.searchsorted(segments.file, [file, file + 1])
    return list(zip(segments.offset[first:last].tolist(), segments.nbytes[first:last].tolist(), strict=True))


def _first_rows(plan: ReadPlan, files: int) -> NDArray[np.int64]:
    """Return the first row of each file's chunks, and the number of all rows at the end."""
    segments = np.searchsorted(plan.segments.staging_offset, plan.chunks.staging_offset, side="right") - 1
    rows: NDArray[np.int64] = np.searchsorted(plan.segments.file[segments], np.arange(files + 1))
    return rows
