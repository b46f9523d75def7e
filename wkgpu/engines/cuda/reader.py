"""The CUDA engine's reads: batches through two slots, one of which is fetched while the other is decoded and placed.

A batch's bytes go from the file into the staging memory of its slot. There they are decoded where they lie, all chunks
at once, into the slot's memory of decoded chunks, from which a kernel places them. Raw chunks are placed from the
staging memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from typing import Any

import numpy as np

from wkgpu.engines.cuda.batches import Batch, batch_limit, read_batches, segments_between
from wkgpu.engines.cuda.device import BatchCodec, Device, Memory
from wkgpu.engines.cuda.fetching import Fetcher
from wkgpu.engines.cuda.placing import Placement, chosen_placement
from wkgpu.engines.cuda.slots import Pair, Slot, Table
from wkgpu.engines.failures import check_read, read_error
from wkgpu.engines.threads import ThreadTeam
from wkgpu.kernels.failures import MALFORMED, WRONG_LENGTH
from wkgpu.storage.chunk_grid import Ints
from wkgpu.storage.read_plan import ReadPlan, Segments

_RESULT_BYTES = 12  # of a chunk: its decoded bytes (int64) and a status (int32)


class CudaReader:
    """Executes one read plan.

    Parameters
    ----------
    plan : ReadPlan
        Open.
    out : array (channel, x, y, z, box)
        Of the device, of the plan's dtype, with any strides.
    stack : ExitStack
        Closes what is opened on the device, when nothing uses the slots any more.
    """

    def __init__(
        self, device: Device, team: ThreadTeam, slots: Pair, plan: ReadPlan, out: Any, stack: ExitStack
    ) -> None:
        self._slots = slots
        self._plan = plan
        self._fetcher = Fetcher(device, team, [file.descriptor for file in plan.files], stack)
        self._placement: Placement = chosen_placement(device, plan, out)
        self._codec: BatchCodec | None = None
        if plan.layout.codec != "raw":
            self._codec = device.codec("lz4")

    def run(self) -> None:
        """Fill the output."""
        plan = self._plan
        slots = cycle(self._slots)
        if len(plan.gaps.box):
            slot = next(slots)
            self._placement.clear(plan.gaps, slot)
            slot.end()
        for batch in read_batches(plan, batch_limit(plan)):
            slot = next(slots)
            slot.finish()
            slot.end(self._queue(batch, slot))
        for slot in self._slots:
            slot.finish()

    def _queue(self, batch: Batch, slot: Slot) -> Callable[[], None] | None:
        """Fetch a batch, and queue all else; what is returned checks it, when it is done."""
        plan = self._plan
        count, heads = batch.last - batch.first, len(batch.heads)
        rows = slice(batch.first, batch.last)
        arrive = self.fetch(batch, slot)
        # The tables are made while the bytes are on their way.
        staging = slot.memory("staging", batch.nbytes_staged)
        table = Table(slot, self._placement.items(count) + 4 * heads)
        if self._codec is None:
            at = self._placement.describe(table, plan.chunks.place[rows] - batch.begin, rows)
            table.upload()
            arrive()
            self._placement.place(table, at, count, staging, slot)
            return None
        chunks = slot.memory("decoded", heads * plan.pieces.nbytes)
        at = self._placement.describe(table, batch.decoded * plan.pieces.nbytes, rows)
        settle = self.decode(batch, slot, table, staging, chunks, arrive, self._codec)
        self._placement.place(table, at, count, chunks, slot)
        return settle

    def fetch(self, batch: Batch, slot: Slot) -> Callable[[], None]:
        """Begin to fetch a batch into the staging memory of an idle slot; the result makes sure that it comes."""
        plan = self._plan
        segments = segments_between(plan.segments, batch.begin, batch.end)

        def on_failure(code: int, segment: int, offset: int) -> Exception:
            return read_error(plan, code, _row_at(plan, batch, segments, segment, offset), offset)

        staging = slot.memory("staging", batch.nbytes_staged)
        return self._fetcher.fetch(segments, staging, batch.nbytes_staged, slot, on_failure)

    def decode(
        self, batch: Batch, slot: Slot, table: Table, staging: Memory, chunks: Memory, arrive: Callable[[], None],
        codec: BatchCodec,
    ) -> Callable[[], None]:  # fmt: skip
        """Queue decoding a batch; what is returned makes sure that every chunk has been."""
        plan, size, count = self._plan, self._plan.pieces.nbytes, len(batch.heads)
        temp = slot.memory("temp", codec.decode_temp_bytes(count, size))
        results = slot.memory("results", count * _RESULT_BYTES)
        sources = table.add(plan.chunks.place[batch.heads] - batch.begin + staging.address)
        lengths = table.add(plan.chunks.nbytes[batch.heads])
        capacities = table.add(np.full(count, size, np.int64))
        targets = table.add(np.arange(count) * size + chunks.address)
        table.upload()
        arrive()
        statuses = results.address + 8 * count
        codec.decode(
            slot.stream, table.address(sources), table.address(lengths), table.address(capacities), results.address,
            count, temp, table.address(targets), statuses,
        )  # fmt: skip
        found = slot.host("results", count * _RESULT_BYTES)
        slot.stream.download(results, 0, found)

        def settle() -> None:
            decoded = found[: 8 * count].view(np.int64)
            check_decoded(plan, batch.heads, decoded, found[8 * count :].view(np.int32), size)

        return settle


def check_decoded(plan: ReadPlan, rows: Ints, decoded: Ints, statuses: Any, size: int) -> None:
    """Raise the error of the first chunk that was not decoded to ``size`` bytes.

    Parameters
    ----------
    rows : int64 (n,)
        Of each decoded chunk: its row in the plan's table.
    decoded, statuses : int64 (n,), int32 (n,)
        What the codec says of it.
    """
    bad = ((statuses != 0) | (decoded != size)).nonzero()[0]
    if len(bad):
        first = int(bad[0])
        code = MALFORMED if statuses[first] != 0 else WRONG_LENGTH
        check_read(plan, np.array([code, rows[first], decoded[first]], np.int64))


def _row_at(plan: ReadPlan, batch: Batch, segments: Segments, segment: int, offset: int) -> int:
    """Return the row of the chunk whose bytes could not be fetched from a file offset."""
    place = batch.begin + int(segments.place[segment]) + offset - int(segments.offset[segment])
    return max(int(np.searchsorted(plan.chunks.place, place, side="right")) - 1, batch.first)
