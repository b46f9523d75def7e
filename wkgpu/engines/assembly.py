"""How a shard is put together that is written whole: runs of chunks, in file order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise, repeat
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.write import WritePlan

_JOINED_BYTES = 1 << 20
_COPIED_BYTES = 8 << 20


class ShardRun(NamedTuple):
    """Chunks that follow each other in the shard, and are written by one task.

    Attributes
    ----------
    first, last : int
        Ordinal of its first chunk, and past its last one.
    rows : tuple of int
        First row, and past the last one, of the plan's table of touched chunks. Between these lie others, which are
        written with them. Without rows, no new voxel touches the run.
    """

    first: int
    last: int
    rows: tuple[int, int] = (0, 0)

    @property
    def is_touched(self) -> bool:
        """Whether chunks of it are encoded."""
        return self.rows[0] < self.rows[1]


def shard_runs(plan: WritePlan, rows_per_task: int) -> list[ShardRun]:
    """Cut a shard into runs that together hold every chunk once, ascending.

    Touched chunks that are near each other share a run; what lies far between them is a run of its own, so that several
    threads can copy it.
    """
    ordinals = plan.touched.ordinal
    begins = np.concatenate([[0], np.cumsum(np.maximum(plan.stored.nbytes, 1))])
    between = begins[ordinals[1:]] - begins[ordinals[:-1] + 1]
    heads = [0, *(np.flatnonzero(between > _JOINED_BYTES) + 1).tolist(), len(ordinals)]
    result: list[ShardRun] = []
    done = 0
    for head, next_head in pairwise(heads):
        for row in range(head, next_head, rows_per_task):
            after = min(row + rows_per_task, next_head)
            first, last = int(ordinals[row]), int(ordinals[after - 1]) + 1
            result += _untouched(begins, done, first)
            result.append(ShardRun(first, last, (row, after)))
            done = last
    return result + _untouched(begins, done, len(plan.stored.nbytes))


def _untouched(begins: Ints, first: int, last: int) -> list[ShardRun]:
    result = []
    while first < last:
        cut = int(np.searchsorted(begins, begins[first] + _COPIED_BYTES))
        cut = min(max(cut, first + 1), last)
        result.append(ShardRun(first, cut))
        first = cut
    return result


class OffsetAllocator:
    """Gives each run its place in the file as soon as all before it are encoded, not written.

    Runs must be begun in ascending order, which is what a thread team does.

    Parameters
    ----------
    begin : int
        Where the first run begins.
    runs : int
        How many there are.

    Attributes
    ----------
    fail : callable
        Ends all waiting for a run that will never be encoded. It cannot be interrupted; see `ThreadTeam.run`.
    """

    def __init__(self, begin: int, runs: int) -> None:
        # One queue for each run, which gets its offset, or None, from the one before it. No lock is held where an
        # interrupt could come.
        self._offsets: list[SimpleQueue[int | None]] = [SimpleQueue() for _ in range(runs + 1)]
        self._offsets[0].put(begin)
        self.fail: Callable[[], object] = partial(list, map(SimpleQueue.put, self._offsets, repeat(None)))

    def allocate(self, number: int, nbytes: int) -> int | None:
        """Wait for all runs before this one and return where it begins; None after a failure."""
        offset = self._offsets[number].get()
        if offset is not None:
            self._offsets[number + 1].put(offset + nbytes)
        return offset
