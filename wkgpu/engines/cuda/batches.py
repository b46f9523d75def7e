"""A read plan in batches of bounded memory, cut without a loop over chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wkgpu.settings import config
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.read import ReadPlan, Segments

_BATCHES = 4
_MIN_BATCH_BYTES = 32 << 20


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


def batch_limit(plan: ReadPlan, min_bytes: int = 0) -> int:
    """Return how many bytes a batch of a plan may have.

    A read of few batches is cut into more of them, as long as each keeps a GPU busy: one is fetched while another one
    is decoded. ``min_bytes`` are what that takes, if it is more than usual.
    """
    wanted = max(plan.nbytes_decoded // _BATCHES, _MIN_BATCH_BYTES, min_bytes)
    return min(wanted, config.batch_bytes)


def read_batches(
    plan: ReadPlan, limit: int, first: int = 0, end: int | None = None, max_chunks: Sequence[int] = ()
) -> Iterator[ReadBatch]:
    """Cut a plan into batches of one codec that each fetch and decode at most ``limit`` bytes, or a single chunk.

    Together they hold every row from ``first`` to before ``end`` once, ascending. ``max_chunks`` has the most chunks of
    a batch for each of the plan's pipelines, where they are fewer.

    Examples
    --------
    >>> for batch in read_batches(plan, 256 << 20):  # doctest: +SKIP
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
    most = max(limit // plan.pieces.nbytes, 1)
    while first < count:
        following = int(np.searchsorted(changes, first, side="right"))
        end_of_codec = int(changes[following]) if following < len(changes) else count
        begin = int(offsets[first])
        chunks = max(min(most, max_chunks[int(codecs[first])]), 1) if max_chunks else most
        decoded = int(np.searchsorted(numbers, numbers[first] + chunks))
        staged = int(np.searchsorted(ends, begin + limit, side="right"))
        whole = int(np.searchsorted(numbers, numbers[first], side="right"))  # all the boxes that want this chunk
        last = min(max(min(decoded, staged), whole), end_of_codec, count)
        heads = is_head[first:last].nonzero()[0] + first
        yield ReadBatch(
            first, last, begin, int(ends[last - 1]), int(codecs[first]), heads, numbers[first:last] - numbers[first]
        )
        first = last


def segments_between(segments: Segments, begin: int, end: int) -> Segments:
    """Return the parts of segments that lie between two staging offsets, and count these from ``begin``."""
    first = max(int(np.searchsorted(segments.staging_offset, begin, side="right")) - 1, 0)
    last = int(np.searchsorted(segments.staging_offset, end, side="left"))
    file, offset, nbytes, place = segments.columns[:, first:last]
    low = np.maximum(place, begin)
    high = np.minimum(place + nbytes, end)
    wanted = high > low
    return Segments(np.stack([file, offset + low - place, high - low, low - begin])[:, wanted])
