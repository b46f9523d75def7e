"""A read plan in batches of bounded memory, cut without a loop over chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.read import ReadPlan, Segments

_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class ReadBatch:
    """Rows of a plan's chunk table that are fetched, decoded and placed together."""

    first: int
    """First row."""
    last: int
    """Row past the last one."""
    begin: int
    """Where its bytes begin in the plan's staging space."""
    end: int
    """Where they end."""
    codec: int
    """Which of the plan's pipelines encodes all of them."""
    heads: Ints
    """(m,) The rows that are decoded: one for each chunk, also where several boxes want it."""
    decoded: Ints
    """(n,) Of each row: which of the decoded chunks is placed."""

    @property
    def nbytes_staged(self) -> int:
        """Bytes that are fetched."""
        return self.end - self.begin


class BatchSizes(NamedTuple):
    """What a batch may have; at least one chunk.

    Attributes
    ----------
    chunks : int
        Chunks.
    nbytes : int
        Bytes that are fetched, and bytes that are decoded.
    memory : int
        Bytes of the memory of its slot.
    costs : tuple of int
        How many of these a chunk of each of the plan's pipelines takes, besides the bytes that are fetched.
    row_cost : int
        How many each row of the plan takes.
    """

    chunks: int = _UNLIMITED
    nbytes: int = _UNLIMITED
    memory: int = _UNLIMITED
    costs: tuple[int, ...] = ()
    row_cost: int = 0


def read_batches(plan: ReadPlan, sizes: BatchSizes, first: int = 0, end: int | None = None) -> Iterator[ReadBatch]:
    """Cut a plan into batches of one codec that are as large as they may be.

    Together they hold every row from ``first`` to before ``end`` once, ascending.

    Examples
    --------
    >>> for batch in read_batches(plan, BatchSizes(nbytes=256 << 20)):  # doctest: +SKIP
    ...     print(batch.nbytes_staged, len(batch.heads))
    """
    offsets, lengths = plan.chunks.staging_offset, plan.chunks.nbytes
    count = len(offsets) if end is None else end
    if first >= count:
        return
    codecs = plan.chunks.codec
    changes = np.flatnonzero(codecs[1:] != codecs[:-1]) + 1 if len(plan.pipelines) > 1 else codecs[:0]
    is_head = np.ones(len(offsets), np.bool_)
    np.not_equal(offsets[1:], offsets[:-1], out=is_head[1:])
    numbers = is_head.cumsum() - 1  # of each row's chunk, among the different ones
    ends = np.maximum.accumulate(offsets + lengths)
    taken = _memory_taken(ends, is_head, codecs, sizes)
    most = max(min(sizes.nbytes // plan.pieces.nbytes, sizes.chunks), 1)
    while first < count:
        following = int(np.searchsorted(changes, first, side="right"))
        end_of_codec = int(changes[following]) if following < len(changes) else count
        begin = int(offsets[first])
        decoded = int(np.searchsorted(numbers, numbers[first] + most))
        staged = int(np.searchsorted(ends, begin + sizes.nbytes, side="right"))
        before = int(taken[first - 1]) - int(ends[first - 1]) + begin if first else begin
        fitting = int(np.searchsorted(taken, before + sizes.memory, side="right"))
        if fitting < len(numbers):  # all rows of a chunk, or none
            fitting = int(np.searchsorted(numbers, numbers[fitting]))
        whole = int(np.searchsorted(numbers, numbers[first], side="right"))  # all the boxes that want this chunk
        last = min(max(min(decoded, staged, fitting), whole), end_of_codec, count)
        heads = is_head[first:last].nonzero()[0] + first
        yield ReadBatch(
            first, last, begin, int(ends[last - 1]), int(codecs[first]), heads, numbers[first:last] - numbers[first]
        )
        first = last


def _memory_taken(ends: Ints, is_head: NDArray[np.bool_], codecs: Ints, sizes: BatchSizes) -> Ints:
    """Return how much memory of a slot all rows up to each one take together, if the slot had room for all."""
    if not sizes.costs:
        return ends
    costs = np.array(sizes.costs, np.int64)[codecs] if len(sizes.costs) > 1 else np.int64(sizes.costs[0])
    taken: Ints = ends + (is_head * costs + sizes.row_cost).cumsum()
    return taken


def segments_between(segments: Segments, begin: int, end: int) -> Segments:
    """Return the parts of segments that lie between two staging offsets, and count these from ``begin``."""
    first = max(int(np.searchsorted(segments.staging_offset, begin, side="right")) - 1, 0)
    last = int(np.searchsorted(segments.staging_offset, end, side="left"))
    file, offset, nbytes, place = segments.columns[:, first:last]
    low = np.maximum(place, begin)
    high = np.minimum(place + nbytes, end)
    wanted = high > low
    return Segments(np.stack([file, offset + low - place, high - low, low - begin])[:, wanted])
