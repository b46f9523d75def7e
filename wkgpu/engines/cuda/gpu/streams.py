"""Streams and events of a GPU."""

from __future__ import annotations

import threading
from typing import Any

import cupy
from cupy.cuda import runtime
from numba import cuda as numba_cuda

from wkgpu.engines.cuda.cuda_errors import reported
from wkgpu.engines.cuda.device import Bytes, Memory

LAUNCHING = threading.Lock()
"""Held while Numba launches: two threads that load a kernel of the same types at once make it raise."""

MIN_BLOCKS = 128  # Numba warns of smaller grids; blocks along x that find no chunk end at once


class CudaEvent:
    """See `wkgpu.engines.cuda.device.Event`."""

    @reported("Recording what the GPU has been given")
    def __init__(self, stream: Any) -> None:
        self.event = cupy.cuda.Event(disable_timing=True)
        self.event.record(stream)

    @reported("Work on the GPU")
    def wait(self) -> None:
        """Wait on the host."""
        self.event.synchronize()


class _Handle:
    """A ``cudaStream_t`` as CuPy takes it, whatever library, and which version of it, the stream is of."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle


def as_stream(handle: int) -> Any:
    """Return another library's stream as one of CuPy, which must not outlive it."""
    return cupy.cuda.Stream.from_external(_Handle(handle))


def follow(stream: Any, other: Any) -> None:
    """Let a stream of CuPy wait for what another one has been given."""
    stream.wait_event(CudaEvent(other).event)


class CudaStream:
    """See `wkgpu.engines.cuda.device.Stream`; a stream that does not wait for the default one."""

    @reported("Making a stream")
    def __init__(self) -> None:
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._launched = numba_cuda.external_stream(self._stream.ptr)

    @property
    def handle(self) -> int:
        """The ``cudaStream_t``."""
        handle: int = self._stream.ptr
        return handle

    @reported("Waiting for another stream")
    def after(self, event: CudaEvent) -> None:
        """Wait on the device for an event."""
        self._stream.wait_event(event.event)

    def record(self) -> CudaEvent:
        """Return the event of all operations so far."""
        return CudaEvent(self._stream)

    @reported("A copy to the GPU")
    def upload(self, source: Bytes, target: Memory, begin: int = 0) -> None:
        """Queue a copy from pinned memory."""
        address = source.__array_interface__["data"][0]
        runtime.memcpyAsync(
            target.address + begin, address, source.nbytes, runtime.memcpyHostToDevice, self._stream.ptr
        )

    @reported("A copy from the GPU")
    def download(self, source: Memory, begin: int, target: Bytes) -> None:
        """Queue a copy to pinned memory."""
        address = target.__array_interface__["data"][0]
        runtime.memcpyAsync(
            address, source.address + begin, target.nbytes, runtime.memcpyDeviceToHost, self._stream.ptr
        )

    @reported("Zeroing memory of the GPU")
    def clear(self, memory: Memory, nbytes: int) -> None:
        """Queue zeroing."""
        runtime.memsetAsync(memory.address, 0, nbytes, self._stream.ptr)

    @reported("Launching a kernel")
    def launch(self, kernel: Any, grid: tuple[int, int], threads: int, *arguments: Any) -> None:
        """Queue a kernel; one that this process has not launched yet is loaded, or compiled, first."""
        across, down = grid
        across = max(across, -(-MIN_BLOCKS // down))
        with LAUNCHING:
            kernel[(across, down), threads, self._launched](*arguments)
