"""Frames of zstd, members of gzip and streams of zlib, decoded by nvCOMP between two looks at them."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import ClassVar

from wkgpu.engines.cuda.checked_decoding import CRC32_POLYNOMIAL, CheckedDecoding, needs_checksum
from wkgpu.engines.cuda.device import Device
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints

_ALIGNMENT = 16  # of deflate data; nvCOMP asks for 4
_BEHIND = 256  # bytes of memory behind the last one, which a decoder that reads words may touch


class ZstdDecoding(CheckedDecoding):
    """Frames of zstd. Those without a checksum are left to the host where nothing else vouches for them.

    nvCOMP takes 2 ms for 27 chunks of 32³, 2.3 for 2,048 and 4.9 for 8,192 (EM u8, an H100), and 100 KB of memory for
    each chunk of 32 KiB.
    """

    nvcomp: ClassVar[str | None] = "zstd"
    min_batch_chunks: ClassVar[int] = 8192

    def _describe(self, lengths: Ints, size: int) -> None:
        self._zeros = self._table.add_bytes(_zeros_of_zstd(size))

    @classmethod
    def items(cls, count: int, size: int) -> int:
        """Return how many numbers it adds to a table, at most."""
        return super().items(count, size) + _items_of_zeros(size)

    def _decode(self) -> None:
        columns = self.columns
        self._by_threads(
            "zstd_walk", columns.sources, columns.lengths, columns.capacities, self.count,
            int(needs_checksum(self.codecs)), *self._zeros, self.expected, self.verdicts,
        )  # fmt: skip
        self._decode_with_nvcomp()
        self._verify_xxh64()


class DeflateDecoding(CheckedDecoding):
    """Members of gzip, and streams of zlib. Both end with a checksum."""

    nvcomp: ClassVar[str | None] = "deflate"

    def _describe(self, lengths: Ints, size: int) -> None:
        self._zeros = self._table.add_bytes(_zeros_of_deflate(size))
        rooms = _rooms(lengths)
        places = rooms.cumsum() - rooms + self.memory["aligned"].address
        self._aligned = self._table.address(self._table.add(places))

    @classmethod
    def items(cls, count: int, size: int) -> int:
        """Return how many numbers it adds to a table, at most."""
        return super().items(count, size) + count + _items_of_zeros(size)

    @classmethod
    def working_bytes(cls, device: Device, codecs: Pipeline, lengths: Ints, size: int) -> dict[str, int]:
        """Return the bytes of each memory of a slot that it takes, by name, besides the table."""
        return super().working_bytes(device, codecs, lengths, size) | {"aligned": int(_rooms(lengths).sum()) + _BEHIND}

    def _decode(self) -> None:
        columns, count = self.columns, self.count
        is_zlib = self.codecs[0].name != "gzip"
        self._by_threads(
            "deflate_walk", columns.sources, columns.lengths, columns.capacities, count, int(is_zlib), *self._zeros,
            self.expected, self.verdicts,
        )  # fmt: skip
        numbers = (columns.sources, columns.lengths, self._aligned, count, self.verdicts)
        self.kernels.launch(self._slot.stream, "deflate_align", min(count, self._device.blocks), 1, *numbers)
        self._decode_with_nvcomp()
        if is_zlib:
            self._verify("adler32_verify")
        else:
            self._verify("crc32_verify", CRC32_POLYNOMIAL)


def _rooms(lengths: Ints) -> Ints:
    rooms: Ints = (lengths + (_ALIGNMENT - 1)) & -_ALIGNMENT
    return rooms


def _items_of_zeros(size: int) -> int:
    """Return how many numbers encoded zeros have at most: deflate shrinks them by 1030, zstd by more."""
    return size // 1000 // 8 + 32


@lru_cache(maxsize=8)
def _zeros_of_zstd(nbytes: int) -> bytes:
    """Encode what takes the place of chunks that nvCOMP does not get."""
    from numcodecs.zstd import compress  # its module loads all codecs, and comes with the mags that have zstd

    return bytes(compress(bytes(nbytes)))


@lru_cache(maxsize=8)
def _zeros_of_deflate(nbytes: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(bytes(nbytes)) + deflate.flush()
