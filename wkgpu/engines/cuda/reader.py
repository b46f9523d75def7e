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

from wkgpu.engines.cuda.batches import BatchSizes, ReadBatch, read_batches, segments_between
from wkgpu.engines.cuda.codecs import BatchDecoding, codec_of, is_placed_as_fetched, say_left_to_host
from wkgpu.engines.cuda.device import Device, Memory
from wkgpu.engines.cuda.fetching import Fetcher
from wkgpu.engines.cuda.host_decoding import HostDecoder, chunks_to_read
from wkgpu.engines.cuda.placing import Placement, chosen_placement
from wkgpu.engines.cuda.slots import BatchTable, Slot, SlotPair
from wkgpu.engines.failures import read_error
from wkgpu.engines.threads import ThreadTeam
from wkgpu.engines.voxel_layout import are_channels_apart
from wkgpu.kernels.failures import MALFORMED
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.read import ReadPlan, Segments
from wkgpu.storage.plans.sources import Sources, Window


class CudaReader:
    """Executes one read plan.

    Parameters
    ----------
    plan : ReadPlan
        What to read.
    sources : Sources
        Its files, open.
    out : array (channel, x, y, z, box)
        Of the device, of the plan's dtype, with any strides.
    sizes : BatchSizes
        What its batches may have.
    stack : ExitStack
        Closes what is opened on the device, when nothing uses the slots any more.
    """

    def __init__(
        self, device: Device, team: ThreadTeam, slots: SlotPair, plan: ReadPlan, sources: Sources, out: Any,
        sizes: BatchSizes, stack: ExitStack,
    ) -> None:  # fmt: skip
        self._slots = slots
        self._plan = plan
        self._sources = sources
        self._team = team
        self._sizes = sizes
        self._stack = stack
        self._placement: Placement = chosen_placement(device, plan, out)
        self._device = device
        self._decoders = [_Decoder(codecs, plan, device) for codecs in plan.pipelines]

    def run(self) -> None:
        """Fill the output."""
        plan = self._plan
        self._check_lengths()
        slots = cycle(self._slots)
        if len(plan.missing):
            slot = next(slots)
            self._placement.fill(plan.missing, slot)
            slot.end()
        for window in self._sources.windows(plan):
            self.open(window)
            for batch in read_batches(plan, self._sizes, window.first, window.last):
                slot = next(slots)
                slot.finish()
                slot.end(self._queue(batch, slot))
            for slot in self._slots:  # before the files of the window are closed
                slot.finish()
        for slot in self._slots:
            slot.finish()

    def open(self, window: Window) -> None:
        """Fetch from the files of a window; no request to those of another one is pending."""
        self._stack.close()
        self._fetcher = Fetcher(self._device, self._team, window.descriptors, self._stack)
        self._host = HostDecoder(self._team, chunks_to_read(self._plan), window.descriptors)

    def _check_lengths(self) -> None:
        """Raise the error of a chunk that is too long for any decoder of the device."""
        plan = self._plan
        for number, decoder in enumerate(self._decoders):
            if decoder.codec is not None:
                (rows,) = np.nonzero(plan.chunks.codec == number)
                row = decoder.codec.decoding.first_refused(plan.chunks.nbytes[rows], plan.pieces.nbytes)
                if row is not None:
                    raise read_error(plan, MALFORMED, int(rows[row]), 0)

    def _queue(self, batch: ReadBatch, slot: Slot) -> Callable[[], None] | None:
        """Fetch a batch, and queue all else; what is returned checks it, when it is done."""
        plan = self._plan
        count, heads = batch.last - batch.first, len(batch.heads)
        rows = slice(batch.first, batch.last)
        decoder = self._decoders[batch.codec]
        if not decoder.is_raw and decoder.codec is None:
            self._queue_decoded(batch, slot)
            return None
        arrive = self.fetch(batch, slot)
        # The tables are made while the bytes are on their way.
        staging = slot.memory("staging", batch.nbytes_staged)
        of_decoding = 0 if decoder.codec is None else decoder.codec.decoding.items(heads, plan.pieces.nbytes)
        table = BatchTable(slot, self._placement.items(count) + of_decoding)
        if decoder.is_raw:
            at = self._placement.describe(table, plan.chunks.staging_offset[rows] - batch.begin, rows)
            table.upload()
            arrive()
            self._placement.place(table, at, count, staging, slot)
            return None
        chunks = slot.memory("decoded", heads * plan.pieces.nbytes)
        at = self._placement.describe(table, batch.decoded * plan.pieces.nbytes, rows)
        complete = self.decode(batch, slot, table, staging, chunks, arrive)
        self._placement.place(table, at, count, chunks, slot)
        return complete

    def _queue_decoded(self, batch: ReadBatch, slot: Slot) -> None:
        """Decode a batch on the host, and queue placing it."""
        size, heads = self._plan.pieces.nbytes, batch.heads
        count = batch.last - batch.first
        voxels = slot.host("voxels", len(heads) * size)
        self._host.decode(heads, _wanted_bytes(self._plan, batch), voxels)
        chunks = slot.memory("decoded", len(heads) * size)
        table = BatchTable(slot, self._placement.items(count))
        at = self._placement.describe(table, batch.decoded * size, slice(batch.first, batch.last))
        table.upload()
        slot.stream.upload(voxels, chunks)
        self._placement.place(table, at, count, chunks, slot)

    def _replace(self, batch: ReadBatch, slot: Slot, left: Ints) -> None:
        """Decode some chunks of a batch on the host, and place them; the slot is idle, and so again afterwards."""
        plan, size = self._plan, self._plan.pieces.nbytes
        say_left_to_host(plan.pipelines[batch.codec])
        voxels = slot.host("voxels", len(left) * size)
        self._host.decode(batch.heads[left], _wanted_bytes(plan, batch)[left], voxels)
        chunks = slot.memory("decoded", len(left) * size)
        rows = np.isin(batch.decoded, left).nonzero()[0]
        table = BatchTable(slot, self._placement.items(len(rows)))
        starts = np.searchsorted(left, batch.decoded[rows]) * size
        at = self._placement.describe(table, starts, rows + batch.first)
        table.upload()
        slot.stream.upload(voxels, chunks)
        self._placement.place(table, at, len(rows), chunks, slot)
        slot.stream.record().wait()

    def fetch(self, batch: ReadBatch, slot: Slot) -> Callable[[], None]:
        """Begin to fetch a batch into the staging memory of an idle slot; the result makes sure that it comes."""
        plan = self._plan
        segments = segments_between(plan.segments, batch.begin, batch.end)

        def on_failure(code: int, segment: int, offset: int) -> Exception:
            return read_error(plan, code, _row_at(plan, batch, segments, segment, offset), offset)

        staging = slot.memory("staging", batch.nbytes_staged)
        return self._fetcher.fetch(segments, staging, batch.nbytes_staged, slot, on_failure)

    def decode(
        self,
        batch: ReadBatch,
        slot: Slot,
        table: BatchTable,
        staging: Memory,
        chunks: Memory,
        arrive: Callable[[], None],
    ) -> Callable[[], None]:
        """Queue decoding a batch; what is returned makes sure that every chunk has been."""
        decoding = self.decoding(batch, slot, table, staging, chunks)
        table.upload()
        arrive()
        decoding.queue()
        decoding.download()

        def complete() -> None:
            failed = decoding.first_failed()
            if failed is not None:
                chunk, code, decoded = failed
                raise read_error(self._plan, code, int(batch.heads[chunk]), decoded)
            left = decoding.left_to_host()
            if len(left):
                self._replace(batch, slot, left)

        return complete

    def decoding(
        self, batch: ReadBatch, slot: Slot, table: BatchTable, staging: Memory, chunks: Memory
    ) -> BatchDecoding:
        """Describe how a batch is decoded."""
        plan, size, heads = self._plan, self._plan.pieces.nbytes, batch.heads
        sources = plan.chunks.staging_offset[heads] - batch.begin + staging.address
        targets = np.arange(len(heads)) * size + chunks.address
        wanted = _wanted_bytes(plan, batch)
        codecs = plan.pipelines[batch.codec]
        codec = self._decoders[batch.codec].codec
        assert codec is not None
        return codec.decoding(
            self._device, slot, table, codecs, sources, plan.chunks.nbytes[heads], targets, size, wanted
        )


class _Decoder:
    """What is done to the chunks of one of a plan's pipelines.

    Attributes
    ----------
    is_raw : bool
        Whether they are placed as they are fetched.
    codec : CudaCodec or None
        What else decodes them on the device; None where the host does.
    """

    def __init__(self, codecs: Pipeline, plan: ReadPlan, device: Device) -> None:
        dtype = plan.spec.dtype
        self.is_raw = is_placed_as_fetched(codecs, dtype)
        self.codec = None if self.is_raw else codec_of(codecs, dtype, device, plan.pieces.nbytes)


def _wanted_bytes(plan: ReadPlan, batch: ReadBatch) -> Ints:
    """Return how many bytes of each chunk are needed: those up to the last plane that any of its boxes wants."""
    if are_channels_apart(plan.spec):
        return np.full(len(batch.heads), plan.pieces.nbytes, np.int64)
    planes = plan.pieces.shape[2]
    last = np.minimum(plan.shape[2] - plan.chunks.origin[batch.first : batch.last, 2], planes)
    wanted: Ints = np.maximum.reduceat(last, batch.heads - batch.first) * (plan.pieces.nbytes // planes)
    return wanted


def _row_at(plan: ReadPlan, batch: ReadBatch, segments: Segments, segment: int, offset: int) -> int:
    """Return the row of the chunk whose bytes could not be fetched from a file offset."""
    staging_offset = batch.begin + int(segments.staging_offset[segment]) + offset - int(segments.offset[segment])
    return max(int(np.searchsorted(plan.chunks.staging_offset, staging_offset, side="right")) - 1, batch.first)
