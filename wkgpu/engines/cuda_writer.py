"""The CUDA engine's writes: gathered, encoded and packed on the device, a batch ahead of the one that is stored.

A batch is a stretch of a shard's touched chunks. Those that the new voxels cover only in part are decoded first, and
overlaid. Where a batch goes in a compressed shard is known when the one before it is encoded; the chunks between them,
which nobody changes, are copied as they are when all their places are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.assembly import Source, stretches
from wkgpu.engines.device import BatchCodec, Device, DeviceFile, Memory
from wkgpu.engines.encoded_zeros import encoded_zeros
from wkgpu.engines.failures import write_error
from wkgpu.engines.fetching import LONG_BYTES, Fetcher, OnFailure, settle_writes
from wkgpu.engines.placing import described, exchange, items_described
from wkgpu.engines.slots import Pair, Slot, Table
from wkgpu.engines.threads import ThreadTeam
from wkgpu.engines.voxel_layout import voxel_layout
from wkgpu.engines.words import common_bits, layout_in_words
from wkgpu.kernels import cuda as kernels
from wkgpu.kernels.failures import ENCODE_FAILED, MALFORMED, WRONG_LENGTH
from wkgpu.settings import config
from wkgpu.storage.chunk_grid import Ints
from wkgpu.storage.read_plan import Segments
from wkgpu.storage.write_plan import WritePlan


class _Run(NamedTuple):
    """Bytes of a device's memory, and the file offset that they go to."""

    begin: int
    nbytes: int
    offset: int


class _Batch(NamedTuple):
    """Chunks that are being gathered, and encoded, in a slot."""

    first: int
    """First of its rows in the plan's table of touched chunks."""
    last: int
    slot: Slot
    chunks: Memory
    """Gathered chunks, one behind the other; of a compressed shard: encoded ones."""
    partly: Ints
    """Of the rows: those whose old chunk is decoded first."""
    decoded: Ints
    """Of each of them: how many bytes it was decoded to. As all that follows: when the slot is finished."""
    decoder_statuses: NDArray[np.int32]
    lengths: Ints
    """Encoded bytes of each chunk."""
    encoder_statuses: NDArray[np.int32]


_NO_NUMBERS = np.zeros(0, np.int64)
_NO_STATUSES = np.zeros(0, np.int32)


class CudaWriter:
    """Executes one write plan.

    Parameters
    ----------
    plan : WritePlan
        Open.
    data : array (channel, x, y, z)
        Of the device, of the plan's dtype and shape, with any strides.
    codec : BatchCodec or None
        What encodes its chunks; None for raw ones.
    stack : ExitStack
        Closes what is opened on the device, when nothing uses the slots any more.
    """

    def __init__(
        self, device: Device, team: ThreadTeam, slots: Pair, plan: WritePlan, data: Any, codec: BatchCodec | None,
        stack: ExitStack,
    ) -> None:  # fmt: skip
        self._device = device
        self._team = team
        self._slots = cycle(slots)
        self._plan = plan
        self._codec = codec
        self._stack = stack
        self._file: DeviceFile | None = None
        self._data, self._origin = device.span(data)
        self._size = size = plan.pieces.nbytes
        corner_bits = common_bits(plan.touched.origin[:, 0])
        layout = voxel_layout(plan.pieces, plan.shape, data)
        self._words = layout_in_words(layout, corner_bits, self._data.address, self._origin, size)
        # A slot holds as many encoded chunks, packed ones, and what the encoder works with for each chunk.
        work = 0 if codec is None else codec.encode_temp_bytes(1, size)
        self._rows = max(config.batch_bytes // (2 * max(size, work)), 1)

    def run(self) -> None:
        """Write the plan's chunks."""
        if self._codec is None:
            self._write_raw()
        else:
            self._write_encoded(self._codec)

    # ---- Raw shards

    def _write_raw(self) -> None:
        count = len(self._plan.touched.ordinal)
        ahead: _Batch | None = None
        for first in range(0, count, self._rows):
            batch = self._gather_raw(first, min(first + self._rows, count))
            if ahead is not None:
                self._store_raw(ahead)
            ahead = batch
        if ahead is not None:
            self._store_raw(ahead)

    def _gather_raw(self, first: int, last: int) -> _Batch:
        slot = next(self._slots)
        slot.finish()
        chunks = slot.memory("decoded", (last - first) * self._size)
        table = Table(slot, items_described(last - first))
        at = self._describe(table, first, last)
        table.upload()
        partly = self._partly(first, last)
        if len(partly):
            image = slot.host("staging", (last - first) * self._size)
            segments = self._old_segments(first, partly, partly * self._size)
            self._fetcher().fetch_to_host(segments, image, self._on_failure(first, partly))
            slot.stream.upload(image, chunks)
        elif not self._is_covered(first, last):
            slot.stream.clear(chunks, (last - first) * self._size)
        exchange(self._device, self._words, table, at, last - first, self._data, chunks, slot, into_box=False)
        slot.end()
        return _Batch(
            first, last, slot, chunks, _NO_NUMBERS, _NO_NUMBERS, _NO_STATUSES, _NO_NUMBERS, _NO_STATUSES
        )  # fmt: skip

    def _store_raw(self, batch: _Batch) -> None:
        batch.slot.finish()
        size = self._size
        offsets = self._plan.touched.offset[batch.first : batch.last]
        heads = _heads(offsets[1:] - offsets[:-1] != size, len(offsets))
        self._store(
            [_Run(head * size, (after - head) * size, int(offsets[head])) for head, after in pairwise(heads)], batch
        )

    # ---- Compressed shards

    def _write_encoded(self, codec: BatchCodec) -> None:
        plan = self._plan
        if plan.old is None:
            plan.sizes[plan.sizes < 0] = len(encoded_zeros(self._size))
        offset = plan.data_offset
        untouched: list[tuple[int, int, int]] = []  # first chunk, last chunk, and the file offset they go to
        ahead: _Batch | None = None
        for stretch in stretches(plan, self._rows):
            batch = self._encode(*stretch.rows, codec) if stretch.source is Source.ENCODE else None
            if ahead is not None:
                offset = self._store_encoded(ahead, offset, untouched)
            ahead = batch
            if batch is None:
                untouched.append((stretch.first, stretch.last, offset))
                offset += self._stored_bytes(stretch.first, stretch.last)
        if ahead is not None:
            self._store_encoded(ahead, offset, untouched)
        self._team.run(lambda task: self._store_untouched(*untouched[task]), len(untouched))

    def _encode(self, first: int, last: int, codec: BatchCodec) -> _Batch:
        """Queue gathering, encoding and packing touched chunks."""
        slot = next(self._slots)
        slot.finish()
        count, size, stride = last - first, self._size, codec.bound(self._size)
        partly = self._partly(first, last)
        old = len(partly)
        chunks = slot.memory("decoded", count * size)
        encoded = slot.memory("encoded", count * stride)
        packed = slot.memory("packed", count * stride)
        temp = slot.memory(
            "temp", max(codec.encode_temp_bytes(count, size), codec.decode_temp_bytes(old, size) if old else 0)
        )
        results = slot.memory("results", 8 * old + 4 * (old + count))
        table = Table(slot, items_described(count) + 4 * old + 5 * count)
        at = self._describe(table, first, last)
        olds = self._describe_old(table, first, partly, slot, chunks)
        numbers = np.arange(count)
        sources = table.add(numbers * size + chunks.address)
        capacities = table.add(np.full(count, size, np.int64))
        targets = table.add(numbers * stride + encoded.address)
        table.upload()
        lengths, ends = table.leave(count), table.leave(count)
        if not self._is_covered(first, last):
            slot.stream.clear(chunks, count * size)
        statuses = results.address + 8 * old
        if old:
            self._fetch_old(first, partly, slot)
            codec.decode(
                slot.stream, table.address(olds), table.address(olds + old), table.address(olds + 2 * old),
                results.address, old, temp, table.address(olds + 3 * old), statuses,
            )  # fmt: skip
        exchange(self._device, self._words, table, at, count, self._data, chunks, slot, into_box=False)
        codec.encode(
            slot.stream, table.address(sources), table.address(capacities), size, count, temp, table.address(targets),
            table.address(lengths), statuses + 4 * old,
        )  # fmt: skip
        slot.stream.launch(kernels.add_up_lengths, (1, 1), 1, table.memory.words(-8), lengths, ends, count)
        slot.stream.launch(
            kernels.pack_chunks, (min(count, self._device.blocks), 1), self._device.threads,
            table.memory.words(-8), lengths, ends, count, stride, encoded.words(1), packed.words(1),
        )  # fmt: skip
        found = slot.host("results", 8 * old + 4 * (old + count))
        slot.stream.download(results, 0, found)
        found_lengths = slot.host("lengths", 8 * count)
        slot.stream.download(table.memory, 8 * lengths, found_lengths)
        slot.end()
        found_statuses = found[8 * old :].view(np.int32)
        return _Batch(
            first, last, slot, packed, partly, found[: 8 * old].view(np.int64), found_statuses[:old],
            found_lengths.view(np.int64), found_statuses[old:],
        )  # fmt: skip

    def _store_encoded(self, batch: _Batch, offset: int, untouched: list[tuple[int, int, int]]) -> int:
        """Store what has been encoded, from a file offset on; return the offset after it.

        Chunks between the touched ones are added to ``untouched``, with their places.
        """
        batch.slot.finish()
        self._check(batch)
        plan = self._plan
        ordinals = plan.touched.ordinal[batch.first : batch.last]
        plan.sizes[ordinals] = batch.lengths
        ends = [0, *np.cumsum(batch.lengths).tolist()]
        runs = []
        for head, after in pairwise(_heads(ordinals[1:] - ordinals[:-1] != 1, len(ordinals))):
            if head > 0:
                between = int(ordinals[head - 1]) + 1, int(ordinals[head])
                untouched.append((*between, offset))
                offset += self._stored_bytes(*between)
            runs.append(_Run(ends[head], ends[after] - ends[head], offset))
            offset += runs[-1].nbytes
        self._store(runs, batch)
        return offset

    def _store_untouched(self, first: int, last: int, offset: int) -> None:
        """Copy chunks of the old shard, or fill in zeros."""
        if self._plan.old is None:
            self._plan.fill(encoded_zeros(self._size), last - first, offset)
        else:
            self._plan.copy(first, last, offset)

    def _stored_bytes(self, first: int, last: int) -> int:
        return int(self._plan.sizes[first:last].sum())

    def _check(self, batch: _Batch) -> None:
        """Raise the error of the first chunk that could not be decoded or encoded."""
        bad = ((batch.decoder_statuses != 0) | (batch.decoded != self._size)).nonzero()[0]
        if len(bad):
            number = int(bad[0])
            code = MALFORMED if batch.decoder_statuses[number] != 0 else WRONG_LENGTH
            raise write_error(self._plan, code, batch.first + int(batch.partly[number]), int(batch.decoded[number]))
        bad = batch.encoder_statuses.nonzero()[0]
        if len(bad):
            raise write_error(self._plan, ENCODE_FAILED, batch.first + int(bad[0]), self._size)

    # ---- What both have in common

    def _describe(self, table: Table, first: int, last: int) -> int:
        words = self._words
        starts = np.arange(last - first) * self._size
        bases = np.full(last - first, self._origin, np.int64)
        corners = self._plan.touched.origin[first:last]
        return described(table, words.numbers, starts, bases, corners, words.scale, words.width)

    def _is_covered(self, first: int, last: int) -> bool:
        """Whether new voxels or old chunks give every voxel of the chunks."""
        touched, pieces = self._plan.touched, self._plan.pieces
        corners = touched.origin[first:last]
        inside = ((corners >= 0) & (corners + pieces.shape <= self._plan.shape)).all(axis=1)
        return bool((inside | (touched.nbytes[first:last] > 0)).all())

    def _partly(self, first: int, last: int) -> Ints:
        """Return which of the rows need their old chunk, counted from the first."""
        partly: Ints = (self._plan.touched.nbytes[first:last] > 0).nonzero()[0]
        return partly

    def _old_segments(self, first: int, partly: Ints, places: Ints) -> Segments:
        touched = self._plan.touched
        rows = first + partly
        return Segments(np.zeros(len(rows), np.int64), touched.offset[rows], touched.nbytes[rows], places)

    def _describe_old(self, table: Table, first: int, partly: Ints, slot: Slot, chunks: Memory) -> int:
        """Add what the decoder has to know of old chunks."""
        lengths = self._plan.touched.nbytes[first + partly]
        staging = slot.memory("staging", int(lengths.sum()))
        at = table.add(lengths.cumsum() - lengths + staging.address)
        table.add(lengths)
        table.add(np.full(len(partly), self._size, np.int64))
        table.add(partly * self._size + chunks.address)
        return at

    def _fetch_old(self, first: int, partly: Ints, slot: Slot) -> None:
        lengths = self._plan.touched.nbytes[first + partly]
        nbytes = int(lengths.sum())
        segments = self._old_segments(first, partly, lengths.cumsum() - lengths)
        staging = slot.memory("staging", nbytes)
        self._fetcher().fetch(segments, staging, nbytes, slot, self._on_failure(first, partly))()

    def _fetcher(self) -> Fetcher:
        assert self._plan.old is not None
        return Fetcher(self._device, self._team, [self._plan.old.descriptor], self._stack)

    def _on_failure(self, first: int, partly: Ints) -> OnFailure:
        return lambda code, segment, offset: write_error(self._plan, code, first + int(partly[segment]), offset)

    def _store(self, runs: Sequence[_Run], batch: _Batch) -> None:
        """Write bytes of the batch's memory to the file: long runs from the device, short ones through the host."""
        slot, plan = batch.slot, self._plan
        nbytes = sum(run.nbytes for run in runs)
        if nbytes >= LONG_BYTES * len(runs):
            if self._file is None:
                self._file = self._device.open(plan.descriptor, writable=True)
                self._stack.callback(self._file.close)
            for run in runs:
                slot.requests.append(self._file.write(batch.chunks, run.begin, run.nbytes, run.offset))
            settle_writes(slot, [run.nbytes for run in runs], str(plan.path))
            return
        image = slot.host("packed", nbytes)
        slot.stream.download(batch.chunks, 0, image)
        slot.stream.record().wait()
        for run in runs:
            plan.store(image[run.begin : run.begin + run.nbytes].data, run.offset)


def _heads(begins: NDArray[np.bool_], count: int) -> list[int]:
    """Return where runs begin, of which ``begins`` says so for all rows but the first, and in the end their count."""
    return [0, *(begins.nonzero()[0] + 1).tolist(), count]
