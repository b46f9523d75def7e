"""How a compressed shard is put together: stretches of chunks that are encoded, copied or filled, in file order."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from itertools import pairwise, repeat
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.write import WritePlan

_JOINED_BYTES = 1 << 20
_COPIED_BYTES = 8 << 20


class Source(Enum):
    """Where the bytes of a stretch come from."""

    ENCODE = "new voxels, and between them encoded chunks of the old shard"
    COPY = "the old shard"
    FILL = "the encoded chunk of zeros"


class Stretch(NamedTuple):
    """Chunks that follow each other in the shard, and are written by one task."""

    source: Source
    first: int
    """Ordinal of its first chunk."""
    last: int
    """Ordinal past its last chunk."""
    rows: tuple[int, int] = (0, 0)
    """Of encoded chunks: the rows of the plan's table."""


def stretches(plan: WritePlan, rows_per_task: int) -> list[Stretch]:
    """Cut a shard into stretches that together hold every chunk once, ascending.

    Touched chunks that are near each other share a stretch; what lies far between them is a stretch of its own, so
    that several threads can copy it.
    """
    ordinals = plan.touched.ordinal
    count = len(plan.sizes)
    untouched = np.maximum(plan.sizes, 1)  # -1 stands for chunks to fill
    begins = np.concatenate([[0], np.cumsum(untouched)])
    between = begins[ordinals[1:]] - begins[ordinals[:-1] + 1]
    heads = [0, *(np.flatnonzero(between > _JOINED_BYTES) + 1).tolist(), len(ordinals)]
    result: list[Stretch] = []
    done = 0
    for head, next_head in pairwise(heads):
        for row in range(head, next_head, rows_per_task):
            after = min(row + rows_per_task, next_head)
            first, last = int(ordinals[row]), int(ordinals[after - 1]) + 1
            result += _untouched(plan, begins, done, first)
            result.append(Stretch(Source.ENCODE, first, last, (row, after)))
            done = last
    return result + _untouched(plan, begins, done, count)


def _untouched(plan: WritePlan, begins: Ints, first: int, last: int) -> list[Stretch]:
    source = Source.FILL if plan.old is None else Source.COPY
    result = []
    while first < last:
        cut = last
        if source is Source.COPY:
            cut = int(np.searchsorted(begins, begins[first] + _COPIED_BYTES))
            cut = min(max(cut, first + 1), last)
        result.append(Stretch(source, first, cut))
        first = cut
    return result


class OffsetAllocator:
    """Gives each stretch its place in the file as soon as all before it are encoded, not written.

    Stretches must be begun in ascending order, which is what a thread team does.

    Parameters
    ----------
    begin : int
        Where the first stretch begins.
    stretches : int
        How many there are.

    Attributes
    ----------
    fail : callable
        Ends all waiting for a stretch that will never be encoded. It cannot be interrupted; see `ThreadTeam.run`.
    """

    def __init__(self, begin: int, stretches: int) -> None:
        # One queue for each stretch, which gets its offset, or None, from the one before it. No lock is held where an
        # interrupt could come.
        self._offsets: list[SimpleQueue[int | None]] = [SimpleQueue() for _ in range(stretches + 1)]
        self._offsets[0].put(begin)
        self.fail: Callable[[], object] = partial(list, map(SimpleQueue.put, self._offsets, repeat(None)))

    def place(self, position: int, nbytes: int) -> int | None:
        """Wait for all stretches before ``position`` and return where this one begins; None after a failure."""
        offset = self._offsets[position].get()
        if offset is not None:
            self._offsets[position + 1].put(offset + nbytes)
        return offset
