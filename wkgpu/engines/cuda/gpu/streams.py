"""Streams and events of a GPU."""

from __future__ import annotations

import threading
from typing import Any

import cupy
from cupy.cuda import runtime
from numba import cuda as numba_cuda

from wkgpu.engines.cuda.device import Bytes, Memory

LAUNCHING = threading.Lock()
"""Held while Numba launches: two threads that load a kernel of the same types at once make it raise."""

LEAST_BLOCKS = 128  # Numba warns of smaller grids; blocks along x that find no chunk end at once


class CudaEvent:
    """See `wkgpu.engines.cuda.device.Event`."""

    def __init__(self, stream: Any) -> None:
        self.event = cupy.cuda.Event(disable_timing=True)
        self.event.record(stream)

    def wait(self) -> None:
        """Wait on the host."""
        self.event.synchronize()


class CudaStream:
    """See `wkgpu.engines.cuda.device.Stream`; a stream that does not wait for the default one."""

    def __init__(self) -> None:
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._launched = numba_cuda.external_stream(self._stream.ptr)

    @property
    def handle(self) -> int:
        """The ``cudaStream_t``."""
        handle: int = self._stream.ptr
        return handle

    def after(self, event: CudaEvent) -> None:
        """Wait on the device for an event."""
        self._stream.wait_event(event.event)

    def record(self) -> CudaEvent:
        """Return the event of all operations so far."""
        return CudaEvent(self._stream)

    def upload(self, source: Bytes, target: Memory, begin: int = 0) -> None:
        """Queue a copy from pinned memory."""
        address = source.__array_interface__["data"][0]
        runtime.memcpyAsync(
            target.address + begin, address, source.nbytes, runtime.memcpyHostToDevice, self._stream.ptr
        )

    def download(self, source: Memory, begin: int, target: Bytes) -> None:
        """Queue a copy to pinned memory."""
        address = target.__array_interface__["data"][0]
        runtime.memcpyAsync(
            address, source.address + begin, target.nbytes, runtime.memcpyDeviceToHost, self._stream.ptr
        )

    def clear(self, memory: Memory, nbytes: int) -> None:
        """Queue zeroing."""
        runtime.memsetAsync(memory.address, 0, nbytes, self._stream.ptr)

    def launch(self, kernel: Any, grid: tuple[int, int], threads: int, *arguments: Any) -> None:
        """Queue a kernel; one that this process has not launched yet is loaded, or compiled, first."""
        across, down = grid
        across = max(across, -(-LEAST_BLOCKS // down))
        with LAUNCHING:
            kernel[(across, down), threads, self._launched](*arguments)
