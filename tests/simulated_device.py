"""A device for the CUDA engine without a GPU: host memory, host files, liblz4 and Numba's simulator.

It is deliberately adversarial. Memory is never zero at first. What is queued on a stream runs only when
something waits for it, and what is read from a file comes only when the code asks whether it has come; until then there
is garbage in its place. So a missing wait, or a buffer that is used again too early, gives other voxels.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
from cuda_shim.building import CannotBuildError
from simulated_codec import GARBAGE, SimulatedChunkKernels, SimulatedCodec, SimulatedLz4, simulated_codecs

from wkgpu.engines.cuda.cuda_errors import reported
from wkgpu.errors import DeviceMemoryError, ShapeError
from wkgpu.kernels.bodies import packing, placement


class CUDARuntimeError(RuntimeError):
    """CuPy's error, by its name and its status."""

    status = 700


class HostArray(np.ndarray):
    """An array that does not lie in the memory of the device, where all others do."""


class SimulatedMemory:
    """Host memory that plays a device's."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # uint8 (n,)

    @property
    def address(self) -> int:
        return self.array.__array_interface__["data"][0]

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def words(self, width: int) -> np.ndarray:
        assert self.address % abs(width) == 0, f"words of {width} bytes at {self.address:#x}"
        whole = self.nbytes // abs(width) * abs(width)
        return self.array[:whole].view(np.int64 if width < 0 else f"u{width}")


class SimulatedEvent:
    def __init__(self, stream: SimulatedStream) -> None:
        self._stream = stream
        self._position = stream.queued

    def wait(self) -> None:
        self._stream.wait_for(self._position)


class SimulatedStream:
    """Runs each operation as late as it may: when an event after it is waited for."""

    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self._pending: list[Callable[[], None]] = []
        self.queued = 0
        self._done = 0
        self._lock = threading.RLock()

    def queue(self, operation: Callable[[], None]) -> None:
        self._device.check_present()
        with self._lock:
            self._pending.append(operation)
            self.queued += 1

    def wait_for(self, position: int) -> None:
        self._device.check_present()
        self.run_to(position)

    def run_to(self, position: int) -> None:
        with self._lock:
            while self._done < position:
                self._done += 1
                self._pending.pop(0)()
                self._device.check_present()

    def after(self, event: SimulatedEvent) -> None:
        self.queue(event.wait)

    def record(self) -> SimulatedEvent:
        return SimulatedEvent(self)

    def upload(self, source: np.ndarray, target: SimulatedMemory, begin: int = 0) -> None:
        self._device.check_pinned(source)

        def copy() -> None:
            target.array[begin : begin + source.nbytes] = source

        self.queue(copy)

    def download(self, source: SimulatedMemory, begin: int, target: np.ndarray) -> None:
        self._device.check_pinned(target)
        target[...] = GARBAGE

        def copy() -> None:
            target[...] = source.array[begin : begin + target.nbytes]

        self.queue(copy)

    def clear(self, memory: SimulatedMemory, nbytes: int) -> None:
        assert nbytes <= memory.nbytes

        def clear() -> None:
            memory.array[:nbytes] = 0

        self.queue(clear)

    def launch(self, kernel: Any, grid: tuple[int, int], threads: int, *arguments: Any) -> None:
        self.queue(lambda: simulate(kernel, grid, threads, *arguments))


_one_kernel = threading.Lock()  # the simulator runs one at a time


def simulate(kernel: Any, grid: tuple[int, int], threads: int, *arguments: Any) -> None:
    """Run a kernel in Numba's simulator, its primitives as slices of NumPy."""
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    def fake(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(fake, value))
        return FakeCUDAArray(value) if isinstance(value, np.ndarray) else value

    with _one_kernel, sliced_primitives():
        kernel[grid, threads](*map(fake, arguments))


@contextmanager
def sliced_primitives():
    """Let primitives move slices instead of words, which the simulator would take microseconds for each."""

    def checked(memory: Any, begin: int, units: int, lane: int, lanes: int) -> tuple[np.ndarray, slice]:
        array = memory._item._ary
        assert begin >= 0, begin
        assert begin + max(units, 0) <= len(array), (begin, units, len(array))
        return array, slice(begin + lane, begin + units, lanes)

    def copy_run(target, at, source, start, units, streaming, lane, lanes):
        if lane < units:
            array, part = checked(target, at, units, lane, lanes)
            of, share = checked(source, start, units, lane, lanes)
            array[part] = of[share]

    def fill_run(target, at, units, pattern, bits, lane, lanes):
        if lane < units:
            array, part = checked(target, at, units, lane, lanes)
            assert bits == 8 * array.itemsize
            words = np.array([pattern], np.int64).view(array.dtype)
            array[part] = words[np.arange(lane, units, lanes) % len(words)]

    def copy_item(target, at, source, start, units):
        copy_run(target, at, source, start, units, False, 0, 1)

    with (
        mock.patch.multiple(placement, copy_run=copy_run, fill_run=fill_run, copy_item=copy_item),
        mock.patch.object(packing, "copy_run", copy_run),
    ):
        yield


class SimulatedFile:
    def __init__(self, device: SimulatedDevice, descriptor: int, *, writable: bool) -> None:
        self._device = device
        flags = os.O_RDWR if writable else os.O_RDONLY
        self._descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)

    def read(self, memory: SimulatedMemory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
        memory.array[begin : begin + nbytes] = GARBAGE

        def run() -> int:
            self._device.check_present()
            data = os.pread(self._descriptor, nbytes, offset)
            if len(data) < nbytes:  # KvikIO does not return what there is
                raise OSError(errno.EIO, "POSIX error on pread: EOF")
            memory.array[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
            return len(data)

        return self._device.requested(run)

    def write(self, memory: SimulatedMemory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
        def run() -> int:
            return os.pwrite(self._descriptor, memory.array[begin : begin + nbytes].tobytes(), offset)

        return self._device.requested(run)

    def close(self) -> None:
        os.close(self._descriptor)


class SimulatedDevice:
    """See `wkgpu.engines.cuda.device.Device`; its arrays are NumPy's.

    Parameters
    ----------
    capacity : int
        Bytes of memory that it has; arrays do not count.
    """

    xp = np
    threads = 4
    blocks = 3

    def __init__(self, name: str = "cuda:0", capacity: int = 1 << 40) -> None:
        self.name = name
        self.capacity = capacity
        self.allocated: list[int] = []
        self.released = 0
        self._is_lost = False
        self.requests: dict[object, Callable[[], int]] = {}
        """What files have been asked for and have not done yet."""
        self._pinned: list[tuple[int, int]] = []
        self._codecs = simulated_codecs(self)
        self.lz4 = SimulatedLz4()

    def requested(self, run: Callable[[], int]) -> Callable[[], int]:
        """Remember a request to a file, which runs when it is waited for."""
        key = object()
        self.requests[key] = run

        def complete() -> int:
            self.requests.pop(key, None)
            return run()

        return complete

    def drain_files(self) -> None:
        while self.requests:
            with suppress(OSError):
                self.requests.popitem()[1]()

    def lose(self) -> None:
        """Do what an access of a kernel outside of the device's memory does: no call works any more."""
        self._is_lost = True

    @reported("Work on the GPU")
    def check_present(self) -> None:
        if self._is_lost:
            raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")

    def active(self):
        return nullcontext()

    def side_streams(self) -> dict[int, int]:
        return {}

    def record_event(self) -> SimulatedEvent:
        return SimulatedStream(self).record()

    def new_stream(self) -> SimulatedStream:
        return SimulatedStream(self)

    def memory(self, nbytes: int) -> SimulatedMemory:
        self.check_present()
        if nbytes > self.capacity:
            raise DeviceMemoryError(f"{nbytes} bytes are more than the {self.capacity} of {self.name}.")
        self.allocated.append(nbytes)
        self.record_event().wait()
        return SimulatedMemory(_aligned(nbytes))

    def host_memory(self, nbytes: int) -> np.ndarray:
        self.check_present()
        memory = _aligned(nbytes)
        address = memory.__array_interface__["data"][0]
        self._pinned.append((address, address + nbytes))
        return memory

    def check_pinned(self, array: np.ndarray) -> None:
        address = array.__array_interface__["data"][0]
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
        assert any(begin <= address and address + array.nbytes <= end for begin, end in self._pinned)

    def release(self) -> None:
        self.check_present()
        self.released += 1

    def free_bytes(self) -> int:
        self.check_present()
        return self.capacity

    def span(self, array: np.ndarray) -> tuple[SimulatedMemory, int]:
        reach = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
        low, high = sum(min(way, 0) for way in reach), sum(max(way, 0) for way in reach)
        address = array.__array_interface__["data"][0] + low
        block = np.ctypeslib.as_array((ctypes.c_uint8 * (high - low + array.itemsize)).from_address(address))
        return SimulatedMemory(block), -low

    def open(self, descriptor: int, *, writable: bool = False) -> SimulatedFile:
        return SimulatedFile(self, descriptor, writable=writable)

    def codec(self, name: str) -> SimulatedCodec | None:
        return self._codecs.get(name)

    @cached_property
    def chunk_kernels(self) -> SimulatedChunkKernels | None:
        """They need a C++ compiler; without one the device has none."""
        try:
            return SimulatedChunkKernels()
        except CannotBuildError:
            return None

    def launch(self, kernel: Any, blocks: int, *arguments: Any) -> None:
        self.check_present()
        simulate(kernel, (blocks, 1), self.threads, *arguments)

    def asarray(self, data: Any) -> np.ndarray:
        self.check_present()
        if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
            return np.from_dlpack(data)
        return np.asarray(data)

    def is_on_host(self, array: np.ndarray) -> bool:
        return isinstance(array, HostArray)

    def to_host(self, array: np.ndarray) -> np.ndarray:
        self.check_present()
        return np.array(array)

    def as_output(self, out: Any) -> np.ndarray:
        if isinstance(out, np.ndarray):
            array = out
        else:
            try:
                array = np.asarray(out) if hasattr(out, "__array_interface__") else np.from_dlpack(out)
            except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
                raise ShapeError(f"out is a {type(out).__name__} that {self.name} cannot fill: {error}") from error
        if not array.flags.writeable:
            raise ShapeError("out is read-only; pass an array that can be filled.")
        return array

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        self.check_present()
        array = np.empty(shape, dtype, order="F")
        array.reshape(-1, order="F").view(np.uint8)[...] = GARBAGE
        return array

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        self.check_present()
        return np.zeros(shape, dtype, order="F")


def _aligned(nbytes: int) -> np.ndarray:
    """Garbage that begins at a cache line."""
    block = np.full(nbytes + 64, GARBAGE, np.uint8)
    begin = -block.__array_interface__["data"][0] % 64
    return block[begin : begin + nbytes]
