"""Codecs on the simulated device: libraries of the CPU instead of nvCOMP, as unsafe as it is, and of our kernels.

LZ4 is liblz4's. The kernels of ``frames.cu`` and ``blosc.cu`` are their own, which a C++ compiler makes for the CPU.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from typing import Any

import lz4.block
import numpy as np
from cuda_shim import building

from wkgpu.kernels import failures

GARBAGE = 0xA5
MAX_ENCODED_CHUNK_BYTES = 1 << 24  # as nvCOMP's


def numbers(address: int, count: int, kind: Any = ctypes.c_int64) -> np.ndarray:
    return np.ctypeslib.as_array((kind * count).from_address(address))


def _decoded(encoded: bytes, capacity: int) -> tuple[int, bytes]:
    """Return a code of `failures` and the decoded bytes of a chunk, as liblz4 says."""
    try:
        data = lz4.block.decompress(encoded, uncompressed_size=capacity)
    except lz4.block.LZ4BlockError:
        return failures.MALFORMED, b""
    return failures.OK if len(data) == capacity else failures.WRONG_LENGTH, data


class SimulatedLz4:
    """liblz4 instead of the kernels of ``lz4.cu``."""

    def decode(self, stream, columns, statuses, decoded) -> None:
        def decode() -> None:
            for number, (source, length, target, capacity, wanted) in enumerate(_chunks(columns)):
                status, data = _decoded(ctypes.string_at(source, length), capacity)
                kept = min(len(data), wanted)
                ctypes.memset(target, GARBAGE, capacity)
                ctypes.memmove(target, data, kept)
                if len(data) >= wanted and wanted < capacity:
                    status = failures.OK
                numbers(statuses, columns.count, ctypes.c_int32)[number] = status
                numbers(decoded, columns.count)[number] = len(data)

        stream.queue(decode)

    def check(self, stream, columns, zeros, zeros_bytes, statuses, decoded) -> None:
        def check() -> None:
            for number, (source, length, _, capacity, _) in enumerate(_chunks(columns)):
                status, data = _decoded(ctypes.string_at(source, length), capacity)
                if status != failures.OK:
                    numbers(columns.sources, columns.count)[number] = zeros
                    numbers(columns.lengths, columns.count)[number] = zeros_bytes
                numbers(statuses, columns.count, ctypes.c_int32)[number] = status
                numbers(decoded, columns.count)[number] = len(data)

        stream.queue(check)

    def join(self, stream, columns, found_statuses, found_decoded, statuses, decoded) -> None:
        def join() -> None:
            found = numbers(found_statuses, columns.count, ctypes.c_int32), numbers(found_decoded, columns.count)
            bad = (found[0] != 0) | (found[1] != numbers(columns.capacities, columns.count))
            own = numbers(statuses, columns.count, ctypes.c_int32)
            own[(own == failures.OK) & bad] = failures.MALFORMED

        stream.queue(join)


def _chunks(columns):
    """Yield source, length, target, capacity and wanted bytes of each chunk, as they are now."""
    addresses = columns.sources, columns.lengths, columns.targets, columns.capacities, columns.wanted
    return zip(*(numbers(address, columns.count).tolist() for address in addresses), strict=True)


class SimulatedChunkKernels:
    """The kernels of ``frames.cu`` and ``blosc.cu``, compiled for the CPU."""

    warps_of_blosc = 2

    def __init__(self) -> None:
        self._library = building.load_chunk_kernels()
        self.launched: list[str] = []

    def launch(self, stream, name, blocks, warps, *arguments) -> None:
        values = np.array(arguments, np.int64)
        assert blocks > 0

        def run() -> None:
            self.launched.append(name)
            order = len(self.launched) % 2  # of the lanes
            address = values.__array_interface__["data"][0]
            assert self._library.run_chunk_kernel(name.encode(), blocks, warps, order, address), name

        stream.queue(run)


def _decoded_lz4(encoded: bytes, capacity: int) -> bytes | None:
    status, data = _decoded(encoded, capacity)
    return data if status == failures.OK else None


def _decoded_zstd(encoded: bytes, capacity: int) -> bytes | None:
    """Decode a frame as nvCOMP does, which compares no checksum; None for what libzstd refuses."""
    from numcodecs.zstd import decompress

    descriptor = encoded[4]
    frame = encoded[:4] + bytes([descriptor & ~4]) + encoded[5 : len(encoded) - (descriptor & 4)]
    try:
        return bytes(decompress(frame))
    except RuntimeError:
        return None


def _decoded_deflate(encoded: bytes, capacity: int) -> bytes | None:
    decoder = zlib.decompressobj(-15)
    try:
        return decoder.decompress(encoded, capacity + 1)
    except zlib.error:
        return None


def _encoded_lz4(content: bytes) -> bytes:
    return lz4.block.compress(content, store_size=False)


def _encoded_zstd(content: bytes) -> bytes:
    from numcodecs.zstd import Zstd

    return bytes(Zstd(level=3, checksum=False).encode(content))


class SimulatedCodec:
    """A library of the CPU behind nvCOMP's arguments, and no kinder to damaged chunks than nvCOMP.

    It takes them for good, and they are written over the targets of their neighbours. One of LZ4 that has no neighbours
    is written where the device has no memory, and the device is lost.
    """

    max_encoded_chunk_bytes = MAX_ENCODED_CHUNK_BYTES

    def __init__(
        self, device: Any, decoded: Callable[[bytes, int], bytes | None], encoded: Callable[[bytes], bytes] | None,
        temp_bytes: int = 0, alignments: tuple[int, int] = (1, 1), *, loses_device: bool = False,
    ) -> None:  # fmt: skip
        self._device = device
        self._decoded, self._encoded = decoded, encoded
        self._temp_bytes = temp_bytes
        self._alignments = alignments
        self._loses_device = loses_device
        self.decodes = 0
        """Chunks that it has been given to decode."""

    @property
    def encode_alignment(self) -> int:
        return self._alignments[1]

    def bound(self, chunk_bytes: int) -> int:
        return chunk_bytes + chunk_bytes // 255 + 16

    def decode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        return self._temp_bytes * count

    def encode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        return 64 * count

    def decode(self, stream, sources, lengths, capacities, decoded, count, temp, targets, statuses) -> None:
        assert count > 0
        assert temp.nbytes >= self.decode_temp_bytes(count, 0)

        def decode() -> None:
            self.decodes += count
            temp.array[: self.decode_temp_bytes(count, 0)] = GARBAGE
            columns = [numbers(address, count).tolist() for address in (sources, lengths, capacities, targets)]
            chunks = list(zip(*columns, strict=True))
            ctypes.memset(statuses, 0, 4 * count)
            numbers(decoded, count)[...] = columns[2]
            damaged = []
            for number, (source, length, capacity, target) in enumerate(chunks):
                assert source % self._alignments[0] == 0
                data = self._decoded(ctypes.string_at(source, length), capacity)
                if data is not None:
                    ctypes.memmove(target, data, min(len(data), capacity))
                if data is None or len(data) != capacity:
                    damaged.append(number)
            if damaged and count == 1 and self._loses_device:
                self._device.lose()
            for number in damaged:
                for neighbour in {max(number - 1, 0), number, min(number + 1, count - 1)}:
                    ctypes.memset(chunks[neighbour][3], GARBAGE, chunks[neighbour][2])

        stream.queue(decode)

    def encode(self, stream, sources, lengths, chunk_bytes, count, temp, targets, encoded, statuses) -> None:
        assert count > 0
        assert chunk_bytes <= MAX_ENCODED_CHUNK_BYTES
        assert temp.nbytes >= self.encode_temp_bytes(count, chunk_bytes)

        def encode() -> None:
            temp.array[...] = GARBAGE
            columns = [numbers(address, count) for address in (sources, lengths, targets)]
            for number, (source, length, target) in enumerate(zip(*columns, strict=True)):
                assert length <= chunk_bytes
                assert source % self._alignments[1] == 0
                data = self._encoded(ctypes.string_at(int(source), int(length)))
                ctypes.memmove(int(target), data, len(data))
                numbers(encoded, count)[number] = len(data)
                numbers(statuses, count, ctypes.c_int32)[number] = 0

        stream.queue(encode)


DECODERS = {"lz4": _decoded_lz4, "zstd": _decoded_zstd, "deflate": _decoded_deflate}
"""By the names of nvCOMP's codecs: what decodes a chunk to at most so many bytes, or somewhat more; None for damage."""
ENCODERS = {"lz4": _encoded_lz4, "zstd": _encoded_zstd}


def simulated_codecs(device: Any) -> dict[str, SimulatedCodec]:
    """What plays each of nvCOMP's codecs."""
    return {
        "lz4": SimulatedCodec(device, _decoded_lz4, _encoded_lz4, loses_device=True),
        "zstd": SimulatedCodec(device, _decoded_zstd, _encoded_zstd, 3000, (1, 4)),
        "deflate": SimulatedCodec(device, _decoded_deflate, None, 0, (4, 8)),
    }
