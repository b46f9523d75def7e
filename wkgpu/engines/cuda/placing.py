"""Which kernel moves voxels between decoded chunks and boxes, and the tables that tell it where."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from wkgpu.engines.cuda.device import Device, Memory
from wkgpu.engines.cuda.machine_words import WordLayout, common_bits, layout_in_words, word_width
from wkgpu.engines.cuda.slots import BatchTable, Slot
from wkgpu.engines.encoded_fill import fill_pattern
from wkgpu.engines.voxel_layout import has_lines, voxel_layout
from wkgpu.kernels.cuda import placement as kernels
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.plans.read import MissingChunks, ReadPlan

_WARP = 32


class Placement(Protocol):
    """Fills the boxes of a plan."""

    def items(self, count: int) -> int:
        """Return how many numbers describe ``count`` chunks."""
        ...

    def describe(self, table: BatchTable, starts: Ints, rows: slice | Ints) -> int:
        """Add what the kernel has to know of the chunks in some rows of the plan, and return where it begins.

        Parameters
        ----------
        starts : int64 (n,)
            Where each decoded chunk begins in the memory of chunks, in bytes.
        """
        ...

    def place(self, table: BatchTable, at: int, count: int, chunks: Memory, slot: Slot) -> None:
        """Queue placing the chunks that were described."""
        ...

    def fill(self, missing: MissingChunks, slot: Slot) -> None:
        """Queue filling what absent chunks would have covered."""
        ...


def chosen_placement(device: Device, plan: ReadPlan, out: Any) -> Placement:
    """Return what fills the array ``out`` (channel, x, y, z, box) fastest."""
    return (
        LinePlacement(device, plan, out)
        if has_lines(out, plan.spec.channel_position)
        else StridedPlacement(device, plan, out)
    )


def grid_of(device: Device, count: int, rows: int, lanes: int) -> tuple[int, int]:
    """Return a grid that keeps the device busy: blocks for chunks, and where they are few, for parts of each."""
    across = max(min(count, device.blocks), 1)
    parts = -(-rows * lanes // device.threads)
    return across, max(min(device.blocks // across, parts), 1)


def lanes_of(device: Device, words: int) -> int:
    """Return how many threads share a run of ``words``: a power of two, at most a warp."""
    return int(min(1 << max(words - 1, 0).bit_length(), _WARP, device.threads))


def described(
    table: BatchTable, header: list[int], starts: Ints, bases: Ints, corners: Ints, scale: int, width: int
) -> int:
    """Add the header and the columns of chunks to a table; see `wkgpu.kernels.cuda.placement`.

    Parameters
    ----------
    starts, bases : int64 (n,)
        In bytes.
    corners : int64 (n, 3)
        First voxels; an x becomes ``x * scale // width``.
    """
    at = table.add(header + [0] * (kernels.HEADER - len(header)))
    for column in (starts // width, bases // width, corners[:, 0] * scale // width, corners[:, 1], corners[:, 2]):
        table.add(column)
    return at


def items_described(count: int) -> int:
    """Return how many numbers `described` adds for ``count`` chunks."""
    header: int = kernels.HEADER
    columns: int = kernels.COLUMNS
    return header + columns * count


class _PlanPlacement:
    """What both ways to place have in common: where boxes begin, and the bits that decide how wide words can be."""

    def __init__(self, device: Device, plan: ReadPlan, out: Any) -> None:
        self._device = device
        self._plan = plan
        self._target, self._origin = device.span(out)
        self._stride = int(out.strides[4]) if out.shape[4] > 1 else 0
        self._corner_bits = common_bits(plan.chunks.origin[:, 0]) | common_bits(plan.missing.origin[:, 0])
        self._multiples = [self._target.address, self._origin, self._stride, plan.pieces.nbytes]
        if () in plan.pipelines:  # placed from where they were fetched to
            self._multiples.append(common_bits(plan.chunks.staging_offset))
        self._header: list[int] = []
        self._scale = self._width = 1

    def items(self, count: int) -> int:
        return items_described(count)

    def describe(self, table: BatchTable, starts: Ints, rows: slice | Ints) -> int:
        chunks = self._plan.chunks
        return self._described(table, starts, chunks.box[rows], chunks.origin[rows])

    def _described(self, table: BatchTable, starts: Ints, boxes: Ints, corners: Ints) -> int:
        bases = boxes * self._stride + self._origin
        return described(table, self._header, starts, bases, corners, self._scale, self._width)

    def _described_missing(self, missing: MissingChunks, slot: Slot) -> tuple[BatchTable, int]:
        count = len(missing)
        table = BatchTable(slot, items_described(count))
        at = self._described(table, np.zeros(count, np.int64), missing.box, missing.origin)
        table.upload()
        return table, at


class LinePlacement(_PlanPlacement):
    """Copies whole lines along x, into outputs whose channels and x are neighbours."""

    def __init__(self, device: Device, plan: ReadPlan, out: Any) -> None:
        super().__init__(device, plan, out)
        (chunk_x, chunk_y, chunk_z), (box_x, box_y, box_z) = plan.pieces.shape, plan.shape
        voxel = plan.spec.voxel_bytes
        stride_y = int(out.strides[2]) if box_y > 1 else 0
        stride_z = int(out.strides[3]) if box_z > 1 else 0
        self._scale = voxel
        self._width = width = word_width(
            *self._multiples, stride_y, stride_z, chunk_x * voxel, box_x * voxel, self._corner_bits * voxel
        )
        words_x = chunk_x * voxel // width
        self._header = [
            words_x, chunk_y, chunk_z, box_x * voxel // width, box_y, box_z, 1, stride_y // width, stride_z // width
        ]  # fmt: skip
        self._header += [0] * (kernels.PATTERN - len(self._header)) + [fill_pattern(plan.spec), 8 * width]
        self._lines = chunk_y * chunk_z
        self._lanes = lanes_of(device, min(words_x, box_x * voxel // width))

    def place(self, table: BatchTable, at: int, count: int, chunks: Memory, slot: Slot) -> None:
        """See `Placement.place`."""
        device, lanes, width = self._device, self._lanes, self._width
        slot.stream.launch(
            kernels.place_chunks, grid_of(device, count, self._lines, lanes), device.threads,
            table.memory.words(-8), at, count, lanes, chunks.words(width), self._target.words(width),
        )  # fmt: skip

    def fill(self, missing: MissingChunks, slot: Slot) -> None:
        """See `Placement.fill`."""
        device, lanes, count = self._device, self._lanes, len(missing)
        table, at = self._described_missing(missing, slot)
        slot.stream.launch(
            kernels.fill_chunks, grid_of(device, count, self._plan.pieces.shape[1], lanes), device.threads,
            table.memory.words(-8), at, count, lanes, self._target.words(self._width),
        )  # fmt: skip


class StridedPlacement(_PlanPlacement):
    """Copies voxels into outputs of any memory layout."""

    def __init__(self, device: Device, plan: ReadPlan, out: Any) -> None:
        super().__init__(device, plan, out)
        layout = voxel_layout(plan.pieces, plan.shape, out[..., 0], plan.spec.channel_position)
        self._words = layout_in_words(layout, self._corner_bits, *self._multiples)
        self._header, self._scale, self._width = self._words.numbers, self._words.scale, self._words.width

    def place(self, table: BatchTable, at: int, count: int, chunks: Memory, slot: Slot) -> None:
        """See `Placement.place`."""
        copy_strided(self._device, self._words, table, at, count, self._target, chunks, slot, into_box=True)

    def fill(self, missing: MissingChunks, slot: Slot) -> None:
        """See `Placement.fill`."""
        size = self._plan.pieces.nbytes
        chunk = slot.memory("decoded", size)
        fill(self._device, chunk, size, fill_pattern(self._plan.spec), slot)
        table, at = self._described_missing(missing, slot)
        self.place(table, at, len(missing), chunk, slot)


def fill(device: Device, memory: Memory, nbytes: int, pattern: int, slot: Slot) -> None:
    """Queue filling the first bytes of a slot's memory, and up to 7 more, with a number of 8 bytes."""
    if pattern == 0:
        slot.stream.clear(memory, nbytes)
        return
    words = -(-nbytes // 8)
    blocks = min(-(-words // device.threads), device.blocks)
    slot.stream.launch(kernels.fill_words, (blocks, 1), device.threads, pattern, words, memory.words(-8))


def copy_strided(
    device: Device, words: WordLayout, table: BatchTable, at: int, count: int, box: Memory, chunks: Memory, slot: Slot,
    *, into_box: bool,
) -> None:  # fmt: skip
    """Queue copying the voxels that described chunks and a box share, in either direction."""
    lanes = lanes_of(device, words.along)
    slot.stream.launch(
        kernels.exchange_chunks, grid_of(device, count, words.rows, lanes), device.threads,
        table.memory.words(-8), at, count, lanes, box.words(words.width), chunks.words(words.width), int(into_box),
    )  # fmt: skip
