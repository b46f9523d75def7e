"""LZ4 on the simulated device: liblz4 instead of the kernels of ``lz4.cu``, and of nvCOMP, as unsafe as it is."""

from __future__ import annotations

import ctypes
from typing import Any

import lz4.block
import numpy as np

from wkgpu.kernels import failures

GARBAGE = 0xA5
MAX_ENCODED_CHUNK_BYTES = 1 << 24  # as nvCOMP's


def numbers(address: int, count: int, kind: Any = ctypes.c_int64) -> np.ndarray:
    return np.ctypeslib.as_array((kind * count).from_address(address))


def _decoded(source: int, length: int, capacity: int) -> tuple[int, bytes]:
    """Return a code of `failures` and the decoded bytes of a chunk, as liblz4 says."""
    try:
        data = lz4.block.decompress(ctypes.string_at(source, length), uncompressed_size=capacity)
    except lz4.block.LZ4BlockError:
        return failures.MALFORMED, b""
    return failures.OK if len(data) == capacity else failures.WRONG_LENGTH, data


class SimulatedLz4:
    """liblz4 instead of the kernels of ``lz4.cu``."""

    def decode(self, stream, columns, statuses, decoded) -> None:
        def decode() -> None:
            for number, (source, length, target, capacity, wanted) in enumerate(_chunks(columns)):
                status, data = _decoded(source, length, capacity)
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
                status, data = _decoded(source, length, capacity)
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


class SimulatedCodec:
    """liblz4 behind nvCOMP's arguments, and no kinder to damaged chunks than nvCOMP.

    It takes them for good, and they are written over the targets of their neighbours. One that has no neighbours is
    written where the device has no memory, and the device is lost.
    """

    max_encoded_chunk_bytes = MAX_ENCODED_CHUNK_BYTES

    def __init__(self, device: Any) -> None:
        self._device = device

    def bound(self, chunk_bytes: int) -> int:
        return chunk_bytes + chunk_bytes // 255 + 16

    def decode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        return 0

    def encode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        return 64 * count

    def decode(self, stream, sources, lengths, capacities, decoded, count, temp, targets, statuses) -> None:
        assert count > 0

        def decode() -> None:
            columns = [numbers(address, count).tolist() for address in (sources, lengths, capacities, targets)]
            chunks = list(zip(*columns, strict=True))
            ctypes.memset(statuses, 0, 4 * count)
            numbers(decoded, count)[...] = columns[2]
            damaged = []
            for number, (source, length, capacity, target) in enumerate(chunks):
                status, data = _decoded(source, length, capacity)
                ctypes.memmove(target, data, len(data))
                if status != failures.OK:
                    damaged.append(number)
            if damaged and count == 1:
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
                data = lz4.block.compress(ctypes.string_at(int(source), int(length)), store_size=False)
                ctypes.memmove(int(target), data, len(data))
                numbers(encoded, count)[number] = len(data)
                numbers(statuses, count, ctypes.c_int32)[number] = 0

        stream.queue(encode)
