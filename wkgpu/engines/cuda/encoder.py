"""New voxels into chunks on a device: gathered, laid over old ones, encoded and packed, a batch at a time."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.cuda.codecs import BatchDecoding, codec_of, is_placed_as_fetched, say_left_to_host
from wkgpu.engines.cuda.device import BatchCodec, Bytes, Device, Memory
from wkgpu.engines.cuda.fetching import Fetcher, OnFailure
from wkgpu.engines.cuda.host_decoding import HostDecoder, old_chunks
from wkgpu.engines.cuda.machine_words import common_bits, layout_in_words
from wkgpu.engines.cuda.placing import copy_strided, described, fill, items_described
from wkgpu.engines.cuda.slots import BatchTable, Slot, SlotPair
from wkgpu.engines.encoded_fill import fill_pattern
from wkgpu.engines.failures import write_error
from wkgpu.engines.threads import ThreadTeam
from wkgpu.engines.voxel_layout import Quadruple, VoxelLayout, chunk_strides, voxel_layout
from wkgpu.kernels.cpu import placement as cpu_kernels
from wkgpu.kernels.cuda import packing as kernels
from wkgpu.kernels.failures import ENCODE_FAILED, MALFORMED
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.read import Segments
from wkgpu.storage.plans.write import WritePlan

_MIN_GATHERED_BYTES = 1 << 20  # that a thread takes at a time: more than waking another one costs


class EncodedBatch(NamedTuple):
    """Chunks that have been given to a slot; all of it holds when the slot is finished."""

    first: int
    """First of its rows in the plan's table of touched chunks."""
    last: int
    slot: Slot
    chunks: Memory
    """The chunks as they are to be stored, consecutively."""
    lengths: Ints
    """(n,) Bytes of each."""


class CudaEncoder:
    """Makes the chunks that a write changes.

    Parameters
    ----------
    plan : WritePlan
        Open.
    data : array (channel, x, y, z)
        Of the device or of the host, of the plan's dtype and shape, with any strides. Voxels on the host are gathered
        into the chunks of a batch there, so that no more of them than a batch is in the device's memory.
    codec : BatchCodec or None
        What encodes chunks; None for those that lie in the file as in arrays.
    rows : int
        How many rows of the plan's table a batch has, at most.
    stack : ExitStack
        Closes what is opened on the device, when nothing uses the slots any more.
    """

    def __init__(
        self, device: Device, team: ThreadTeam, slots: SlotPair, plan: WritePlan, data: Any, codec: BatchCodec | None,
        rows: int, stack: ExitStack,
    ) -> None:  # fmt: skip
        assert codec is not None or is_placed_as_fetched(plan.spec.codecs, plan.spec.dtype), (
            "what no codec encodes is stored as it is"
        )
        self.device = device
        self.plan = plan
        self.codec = codec
        self.size = size = plan.pieces.nbytes
        self.pattern = fill_pattern(plan.spec)
        self._slots = cycle(slots)
        self._team = team
        self._host_data = data if device.is_on_host(data) else None
        self._fetcher = None if plan.old is None else Fetcher(device, team, np.array([plan.old.descriptor]), stack)
        corner_bits = common_bits(plan.touched.origin[:, 0])
        self._layout = layout = voxel_layout(plan.pieces, plan.shape, data, plan.spec.channel_position)
        self._data: Memory | None = None
        self._origin = 0
        if self._host_data is None:
            self._data, self._origin = device.span(data)
            self._words = layout_in_words(layout, corner_bits, self._data.address, self._origin, size)
        else:
            self._words = layout_in_words(_as_chunks(plan, data), corner_bits, size)
        self.rows = rows
        """How many rows of the plan's table to give to `begin`, at most."""

    def begin(self, first: int, last: int) -> EncodedBatch:
        """Queue making the chunks of some rows, in the slot that has been idle for longer."""
        slot = next(self._slots)
        slot.finish()
        if self.codec is None:
            return self._begin_raw(first, last, slot)
        return _Encoding(self, self.codec, first, last, slot).run()

    def _begin_raw(self, first: int, last: int, slot: Slot) -> EncodedBatch:
        count = last - first
        chunks = slot.memory("decoded", count * self.size)
        table = BatchTable(slot, items_described(count))
        at = self.describe(table, first, last)
        table.upload()
        partly = self.partly(first, last)
        if len(partly):  # their old bytes come where the chunks are to be, in an image of the whole batch
            assert self._fetcher is not None
            image = self._image(first, last, slot)
            segments = self._old_segments(first, partly, partly * self.size)
            self._fetcher.fetch_to_host(segments, image, self._on_failure(first, partly))
            slot.stream.upload(image, chunks)
        elif not self.is_covered(first, last):
            fill(self.device, chunks, count * self.size, self.pattern, slot)
        self.gather(table, at, first, count, chunks, slot)
        slot.end()
        return EncodedBatch(first, last, slot, chunks, np.full(count, self.size, np.int64))

    def _image(self, first: int, last: int, slot: Slot) -> Bytes:
        """Return memory of the host for chunks, to which their old voxels come; others have the fill value."""
        image = slot.host("staging", (last - first) * self.size)
        if not self.is_covered(first, last):
            image[...] = np.resize(np.array([self.pattern]).view(np.uint8), len(image))
        return image

    def decode_old(self, first: int, last: int, slot: Slot) -> Bytes:
        """Decode the old chunks of rows on the host, and return all of them as they were."""
        assert self.plan.old is not None
        image, partly = self._image(first, last, slot), self.partly(first, last)
        decoder = HostDecoder(self._team, old_chunks(self.plan, first + partly), np.array([self.plan.old.descriptor]))
        voxels = np.empty((len(partly), self.size), np.uint8)
        whole = np.full(len(partly), self.size, np.int64)
        decoder.decode(np.arange(len(partly)), whole, voxels.reshape(-1))
        image.reshape(-1, self.size)[partly] = voxels
        return image

    # ---- What is known of the rows

    def partly(self, first: int, last: int) -> Ints:
        """Return which of the rows need their old chunk, counted from the first."""
        partly: Ints = (self.plan.touched.nbytes[first:last] > 0).nonzero()[0]
        return partly

    def is_covered(self, first: int, last: int) -> bool:
        """Whether new voxels or old chunks give every voxel of the chunks."""
        touched, pieces = self.plan.touched, self.plan.pieces
        corners = touched.origin[first:last]
        inside = ((corners >= 0) & (corners + pieces.shape <= self.plan.shape)).all(axis=1)
        return bool((inside | (touched.nbytes[first:last] > 0)).all())

    def describe(self, table: BatchTable, first: int, last: int) -> int:
        """Add what `gather` has to know, and return where it begins."""
        words = self._words
        starts = np.arange(last - first) * self.size
        corners = self.plan.touched.origin[first:last]
        if self._host_data is None:
            bases = np.full(last - first, self._origin, np.int64)
        else:  # each chunk has a box of its own, which lies as the chunk does
            bases = starts - corners @ np.array(_chunk_strides(self.plan)[1:], np.int64)
        return described(table, words.numbers, starts, bases, corners, words.scale, words.width)

    # ---- What is queued for them

    def gather(self, table: BatchTable, at: int, first: int, count: int, chunks: Memory, slot: Slot) -> None:
        """Queue copying the new voxels of rows from ``first`` on into chunks, over what is there."""
        data = self._uploaded(first, count, slot) if self._data is None else self._data
        copy_strided(self.device, self._words, table, at, count, data, chunks, slot, into_box=False)

    def _uploaded(self, first: int, count: int, slot: Slot) -> Memory:
        """Gather new voxels on the host, and queue their upload to where the encoder writes only later."""
        assert self._host_data is not None
        size, layout = self.size, self._layout
        image = slot.host("voxels", count * size)
        origins = np.ascontiguousarray(self.plan.touched.origin[first : first + count])
        source, target = (array.__array_interface__["data"][0] for array in (self._host_data, image))
        share = max(_MIN_GATHERED_BYTES // size, 1)

        def gather(task: int) -> None:
            begin = task * share
            cpu_kernels.gather_chunks(begin, min(begin + share, count), origins, layout, source, size, target)

        self._team.run(gather, -(-count // share))
        voxels = slot.memory("encoded", count * size)
        slot.stream.upload(image, voxels)
        return voxels

    def fetch_old(self, first: int, partly: Ints, staging: Memory, slot: Slot) -> None:
        """Fetch the old chunks of some rows, consecutively."""
        lengths = self.plan.touched.nbytes[first + partly]
        segments = self._old_segments(first, partly, lengths.cumsum() - lengths)
        assert self._fetcher is not None
        self._fetcher.fetch(segments, staging, int(lengths.sum()), slot, self._on_failure(first, partly))()

    def _old_segments(self, first: int, partly: Ints, places: Ints) -> Segments:
        touched = self.plan.touched
        rows = first + partly
        return Segments.of(np.zeros(len(rows), np.int64), touched.offset[rows], touched.nbytes[rows], places)

    def _on_failure(self, first: int, partly: Ints) -> OnFailure:
        return lambda code, segment, offset: write_error(self.plan, code, first + int(partly[segment]), offset)


def _chunk_strides(plan: WritePlan) -> Quadruple:
    """Return the strides (channel, x, y, z) of a chunk in bytes."""
    spec = plan.spec
    return chunk_strides(plan.pieces, spec.dtype.itemsize, spec.num_channels, spec.channel_position)


def _as_chunks(plan: WritePlan, data: Any) -> VoxelLayout:
    """Return the layout of the exchange between chunks and boxes that lie as chunks do."""
    array = np.lib.stride_tricks.as_strided(np.empty(0, data.dtype), data.shape, _chunk_strides(plan))  # only looked at
    return voxel_layout(plan.pieces, plan.shape, array, plan.spec.channel_position)


class _Encoding:
    """One batch of a compressed shard on its way through a slot.

    It decodes the old chunks to where the new ones are gathered, and encodes them. The encoder leaves a status (int32)
    for each chunk.
    """

    def __init__(self, encoder: CudaEncoder, codec: BatchCodec, first: int, last: int, slot: Slot) -> None:
        self._encoder = encoder
        self._codec = codec
        self._first, self._last = first, last
        self._slot = slot
        self._count = count = last - first
        self._partly = partly = encoder.partly(first, last)
        self._old_lengths = encoder.plan.touched.nbytes[first + partly]
        size = encoder.size
        described = codec_of(encoder.plan.spec.codecs, encoder.plan.spec.dtype, encoder.device, size)
        assert described is not None  # the engine has looked
        self._kind = described.decoding
        refused = self._kind.first_refused(self._old_lengths, size)
        if refused is not None:
            raise write_error(encoder.plan, MALFORMED, first + int(partly[refused]), 0)
        self._stride = codec.bound(size)
        self._staging = slot.memory("staging", int(self._old_lengths.sum()))
        self._chunks = slot.memory("decoded", count * size)
        self._encoded = slot.memory("encoded", count * self._stride)
        self._packed = slot.memory("packed", count * self._stride)
        self._temp = slot.memory("temp", codec.encode_temp_bytes(count, size))
        self._statuses = slot.memory("statuses", 4 * count)
        self._decoding: BatchDecoding | None = None

    def run(self, old_voxels: Bytes | None = None) -> EncodedBatch:
        """Queue all of it; ``old_voxels`` are the chunks as they were, where the host has decoded them."""
        encoder, slot, count = self._encoder, self._slot, self._count
        old = 0 if old_voxels is not None else len(self._partly)
        self._decoding = None
        table = BatchTable(slot, items_described(count) + self._kind.items(old, encoder.size) + 5 * count)
        at = encoder.describe(table, self._first, self._last)
        if old:
            self._decoding = self._describe_old(table)
        news = self._describe_new(table)
        table.upload()
        lengths = table.leave(2 * count)
        if old_voxels is not None:
            slot.stream.upload(old_voxels, self._chunks)
        elif not encoder.is_covered(self._first, self._last):
            fill(encoder.device, self._chunks, count * encoder.size, encoder.pattern, slot)
        if self._decoding is not None:
            encoder.fetch_old(self._first, self._partly, self._staging, slot)
            self._decoding.queue()
        encoder.gather(table, at, self._first, count, self._chunks, slot)
        self._encode(table, news, lengths)
        if encoder.plan.drops_filled and encoder.size % 8 == 0:
            self._drop_filled(table, lengths)
        self._pack(table, lengths, lengths + count)
        return self._download(table, lengths)

    def _describe_old(self, table: BatchTable) -> BatchDecoding:
        lengths, encoder = self._old_lengths, self._encoder
        sources = lengths.cumsum() - lengths + self._staging.address
        targets = self._partly * encoder.size + self._chunks.address
        codecs, size = encoder.plan.spec.codecs, encoder.size
        return self._kind(encoder.device, self._slot, table, codecs, sources, lengths, targets, size, size)

    def _describe_new(self, table: BatchTable) -> int:
        numbers, size = np.arange(self._count), self._encoder.size
        at = table.add(numbers * size + self._chunks.address)
        table.add(np.full(self._count, size, np.int64))
        table.add(numbers * self._stride + self._encoded.address)
        return at

    def _encode(self, table: BatchTable, at: int, encoded_at: int) -> None:
        count = self._count
        sources, lengths, targets = (table.address(at + column * count) for column in range(3))
        self._codec.encode(
            self._slot.stream, sources, lengths, self._encoder.size, count, self._temp, targets,
            table.address(encoded_at), self._statuses.address,
        )  # fmt: skip

    def _drop_filled(self, table: BatchTable, lengths: int) -> None:
        encoder, device, count = self._encoder, self._encoder.device, self._count
        self._slot.stream.launch(
            kernels.drop_filled, (min(-(-count // device.threads), device.blocks), 1), device.threads,
            table.memory.words(-8), lengths, count, encoder.size // 8, encoder.pattern, self._chunks.words(-8),
        )  # fmt: skip

    def _pack(self, table: BatchTable, lengths: int, ends: int) -> None:
        stream, device, count = self._slot.stream, self._encoder.device, self._count
        numbers = table.memory.words(-8)
        stream.launch(kernels.add_up_lengths, (1, 1), 1, numbers, lengths, ends, count, self._stride)
        stream.launch(
            kernels.pack_chunks, (min(count, device.blocks), 1), device.threads,
            numbers, lengths, ends, count, self._stride, self._encoded.words(1), self._packed.words(1),
        )  # fmt: skip

    def _download(self, table: BatchTable, lengths: int) -> EncodedBatch:
        """Queue fetching what the host has to know: lengths, and whether all went well."""
        slot, count = self._slot, self._count
        if self._decoding is not None:
            self._decoding.download()
        statuses = slot.host("statuses", 4 * count)
        slot.stream.download(self._statuses, 0, statuses)
        found = slot.host("lengths", 8 * count)
        slot.stream.download(table.memory, 8 * lengths, found)
        slot.end(lambda: self._check(statuses.view(np.int32)))
        return EncodedBatch(self._first, self._last, slot, self._packed, found.view(np.int64))

    def _check(self, statuses: NDArray[np.int32]) -> None:
        """Raise the error of the first chunk that could not be decoded or encoded."""
        plan = self._encoder.plan
        failed = self._decoding.first_failed() if self._decoding is not None else None
        if failed is not None:
            chunk, code, decoded = failed
            raise write_error(plan, code, self._first + int(self._partly[chunk]), decoded)
        if self._decoding is not None and len(self._decoding.left_to_host()):
            self._repeat()
            return
        bad = statuses.nonzero()[0]
        if len(bad):
            raise write_error(plan, ENCODE_FAILED, self._first + int(bad[0]), self._stride)

    def _repeat(self) -> None:
        """Do all of it once more, with old chunks that the host decodes; the slot is idle, and so again afterwards.

        What the batch says of the results is in the same memory.
        """
        say_left_to_host(self._encoder.plan.spec.codecs)
        self.run(self._encoder.decode_old(self._first, self._last, self._slot))
        self._slot.finish()
