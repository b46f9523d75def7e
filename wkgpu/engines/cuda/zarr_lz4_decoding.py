"""LZ4 as Zarr has it, behind its size or inside of Blosc, decoded by kernels of wkgpu that check every access."""

from __future__ import annotations

from typing import Any

import numpy as np

from wkgpu.engines.cuda.checked_decoding import CheckedDecoding, has_crc32c
from wkgpu.engines.cuda.decoding import Decoding
from wkgpu.engines.cuda.device import Device
from wkgpu.engines.cuda.slots import BatchTable, Slot
from wkgpu.storage.codecs import LZ4, Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints

_SIZE_BYTES = 4  # before an LZ4 block
_CRC_BYTES = 4
_MAX_PARTS = 32  # warps that share a chunk


class SizedLz4Decoding(CheckedDecoding):
    """LZ4 blocks of numcodecs, behind their size in 4 bytes; `wkgpu.config.cuda_lz4` says what decodes them."""

    def __init__(
        self, device: Device, slot: Slot, table: BatchTable, codecs: Pipeline, sources: Ints, lengths: Ints,
        targets: Ints, size: int, wanted: Ints | int,
    ) -> None:  # fmt: skip
        super().__init__(device, slot, table, codecs, sources, lengths, targets, size, wanted)
        blocks = np.maximum(lengths - _SIZE_BYTES - (_CRC_BYTES if has_crc32c(codecs) else 0), 0)
        # A block that is longer than any encoder makes it has no chance, and decoders are not given it.
        blocks = np.where(blocks <= LZ4.bound(size), blocks, 0)
        self._blocks = Decoding(device, slot, table, (LZ4,), sources + _SIZE_BYTES, blocks, targets, size, wanted)

    @classmethod
    def items(cls, count: int, size: int) -> int:
        """Return how many numbers it adds to a table, at most."""
        return super().items(count, size) + Decoding.items(count, size)

    @classmethod
    def working_bytes(cls, device: Device, codecs: Pipeline, lengths: Ints, size: int) -> dict[str, int]:
        """Return the bytes of each memory of a slot that it takes, by name, besides the table."""
        own = super().working_bytes(device, codecs, lengths, size)
        return own | Decoding.working_bytes(device, (LZ4,), lengths, size)

    def _decode(self) -> None:
        columns, count = self.columns, self.count
        self._blocks.queue()
        same = columns.capacities  # how many bytes are decoded depends on how many are wanted
        self._by_threads("decoder_join", self._blocks.statuses, same, same, count, self.verdicts)
        self._by_threads("sized_lz4_join", columns.sources, columns.capacities, count, self.verdicts)


class BloscDecoding(CheckedDecoding):
    """Chunks of Blosc with LZ4. Its streams are found by the device, so that no nvCOMP can decode them."""

    def _describe(self, lengths: Ints, size: int) -> None:
        self._shuffled = 0
        if "shuffled" in self.memory:
            places = np.arange(self.count) * size + self.memory["shuffled"].address
            self._shuffled = self._table.address(self._table.add(places))

    @classmethod
    def items(cls, count: int, size: int) -> int:
        """Return how many numbers it adds to a table, at most."""
        return super().items(count, size) + count

    @classmethod
    def working_bytes(cls, device: Device, codecs: Pipeline, lengths: Ints, size: int) -> dict[str, int]:
        """Return the bytes of each memory of a slot that it takes, by name, besides the table."""
        own = super().working_bytes(device, codecs, lengths, size)
        shuffled = _parameter(codecs, "shuffle") != "noshuffle"
        return own | ({"shuffled": len(lengths) * size} if shuffled else {})

    def _decode(self) -> None:
        columns, count, device, kernels = self.columns, self.count, self._device, self.kernels
        parts = min(max(2 * device.blocks // count, 1), _MAX_PARTS)
        numbers = (
            columns.sources, columns.lengths, columns.targets, self._shuffled, columns.capacities, count, parts,
            self.verdicts,
        )  # fmt: skip
        warps = kernels.warps_of_blosc
        kernels.launch(self._slot.stream, "blosc_decode", -(-count * parts // warps), warps, *numbers)
        if self._shuffled:
            blocks = min(-(-count * parts // warps), device.blocks)
            kernels.launch(self._slot.stream, "blosc_unshuffle", blocks, warps, *numbers)


def is_lz4_of_blosc(codecs: Pipeline) -> bool:
    """Whether chunks of Blosc are of LZ4."""
    return _parameter(codecs, "cname") in ("lz4", "lz4hc")


def _parameter(codecs: Pipeline, name: str) -> Any:
    return dict(codecs[0].parameters)[name]
