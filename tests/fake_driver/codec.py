"""nvCOMP's two calls that launch something, played by the CPU's libraries, and as badly for damaged chunks."""

from __future__ import annotations

import ctypes
from typing import Any

from simulated_codec import DECODERS, ENCODERS

from fake_driver import driver

GARBAGE = 0x5A
CANNOT_DECOMPRESS = 12

damage = "neighbour"
"""What a damaged chunk does, each of which nvCOMP 6.0 was seen to do on an H100: ``"neighbour"``, it is decoded with
success, and the bytes behind its target are overwritten; ``"lost"``, an illegal address loses the device. ``"status"``
is what the header promises."""


def decode(
    self: Any, sources: int, source_bytes: int, capacities: int, decoded_bytes: int, count: int,
    temp: int, temp_bytes: int, targets: int, statuses: int, stream: int,
) -> None:  # fmt: skip
    """See `wkgpu.engines.cuda.nvcomp.Batched.decode`."""

    def task() -> int | None:
        columns = [driver.at(column, "i8", count) for column in (sources, source_bytes, capacities, targets)]
        found, status = driver.at(decoded_bytes, "i8", count), driver.at(statuses, "i4", count)
        for number, (source, length, capacity, target) in enumerate(zip(*columns, strict=True)):
            room = driver.at(int(target), "u1", int(capacity))
            data = DECODERS[self.codec.lower()](bytes(driver.at(int(source), "u1", int(length))), int(capacity))
            if data is None or len(data) > capacity:
                if damage == "lost":
                    return driver.ILLEGAL_ADDRESS
                room[...] = GARBAGE
                found[number], status[number] = 0, CANNOT_DECOMPRESS
                if damage == "neighbour":
                    _overwrite_behind(int(target) + int(capacity))
                    found[number], status[number] = capacity, 0
                continue
            ctypes.memmove(int(target), data, len(data))
            found[number], status[number] = len(data), 0
        return None

    driver.queue(stream, task)


def _overwrite_behind(end: int, nbytes: int = 64) -> None:
    room = ctypes.c_size_t()
    if driver.library().fake_device_of(end, ctypes.byref(room)) >= 0:
        ctypes.memset(end, GARBAGE, min(nbytes, room.value))


def encode(
    self: Any, sources: int, source_bytes: int, chunk_bytes: int, count: int, temp: int, temp_bytes: int,
    targets: int, encoded_bytes: int, statuses: int, stream: int,
) -> None:  # fmt: skip
    """See `wkgpu.engines.cuda.nvcomp.Batched.encode`."""
    bound = self.bound(chunk_bytes)

    def task() -> None:
        driver.at(temp, "u1", temp_bytes)[...] = GARBAGE
        columns = [driver.at(column, "i8", count) for column in (sources, source_bytes, targets)]
        lengths, status = driver.at(encoded_bytes, "i8", count), driver.at(statuses, "i4", count)
        for number, (source, length, target) in enumerate(zip(*columns, strict=True)):
            data = ENCODERS[self.codec.lower()](bytes(driver.at(int(source), "u1", int(length))))
            driver.at(int(target), "u1", bound)[...] = GARBAGE
            ctypes.memmove(int(target), data, len(data))
            lengths[number], status[number] = len(data), 0

    driver.queue(stream, task)


def encode_temp_bytes(self: Any, count: int, chunk_bytes: int, total_bytes: int) -> int:
    """See `wkgpu.engines.cuda.nvcomp.Batched.encode_temp_bytes`: zstd's asks a real device how much that is."""
    return 1000 * count
