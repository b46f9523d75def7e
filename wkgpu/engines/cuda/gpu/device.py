"""A CUDA GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import cupy
import cupyx
import numpy as np
from cupy.cuda import runtime
from numba import cuda as numba_cuda
from numpy.typing import NDArray

from wkgpu.engines.cuda import nvcomp
from wkgpu.engines.cuda.caller_stream import DEFAULTS, Streams, calling_stream, joined, stream_of_call
from wkgpu.engines.cuda.cuda_errors import is_lost, reported
from wkgpu.engines.cuda.device import Bytes
from wkgpu.engines.cuda.gpu.arrays import imported, is_on_host
from wkgpu.engines.cuda.gpu.codec import NvcompCodec
from wkgpu.engines.cuda.gpu.cuda_c import CudaChunkKernels
from wkgpu.engines.cuda.gpu.files import KvikioFile, drain, set_defaults
from wkgpu.engines.cuda.gpu.lz4 import CudaLz4
from wkgpu.engines.cuda.gpu.memory import CudaMemory, for_numba
from wkgpu.engines.cuda.gpu.streams import LAUNCHING, MIN_BLOCKS, CudaEvent, CudaStream, as_stream, follow
from wkgpu.errors import DeviceError, DeviceMemoryError, ShapeError
from wkgpu.settings import config

_THREADS = 256
_BLOCKS_PER_MULTIPROCESSOR = 16  # of which it runs 2 or 3 at a time, for the registers that the kernels need


class CudaDevice:
    """A GPU; see `wkgpu.engines.cuda.device.Device`.

    Parameters
    ----------
    ordinal : int
        Its number among those that CUDA shows this process.

    Raises
    ------
    DeviceError
        Where there is no such GPU, or a library does not work.
    """

    xp: ModuleType = cupy
    threads = _THREADS

    def __init__(self, ordinal: int) -> None:
        count = runtime.getDeviceCount()
        if not 0 <= ordinal < count:
            raise DeviceError(f"cuda:{ordinal} does not exist; CUDA shows {count} GPU(s), from cuda:0 on.")
        self.ordinal = ordinal
        self.name = f"cuda:{ordinal}"
        multiprocessors = int(runtime.getDeviceProperties(ordinal)["multiProcessorCount"])
        self.blocks = multiprocessors * _BLOCKS_PER_MULTIPROCESSOR
        self.lz4 = CudaLz4()
        self.chunk_kernels = CudaChunkKernels()
        library = nvcomp.load()
        self._codecs = {
            "lz4": NvcompCodec(library.lz4), "zstd": NvcompCodec(library.zstd), "deflate": NvcompCodec(library.deflate)
        }  # fmt: skip
        set_defaults()

    def active(self) -> Any:
        """Make it CuPy's current device, which is also Numba's and nvCOMP's, and its stream that of the caller."""
        device = cupy.cuda.Device(self.ordinal)  # one each: these context managers remember what was current before
        own = cupy.cuda.get_current_stream(self.ordinal)
        stream = stream_of_call(self.ordinal, own.ptr, runtime.streamIsCapturing)
        return device if stream == own.ptr else _in_stream(device, own, stream)

    def side_streams(self) -> Streams:
        """Return the stream that calls of this thread work in, unless it is a default one."""
        stream = calling_stream(self.ordinal, cupy.cuda.get_current_stream(self.ordinal).ptr)
        return {} if stream in DEFAULTS else {self.ordinal: stream}

    def record_event(self) -> CudaEvent:
        """Return the event of what CuPy's current stream has been given, and what `active` has put before it."""
        return CudaEvent(cupy.cuda.get_current_stream())

    def new_stream(self) -> CudaStream:
        """Return a stream of the engine's own."""
        return CudaStream()

    def memory(self, nbytes: int) -> CudaMemory:
        """Take memory from CuPy's pool."""
        memory = CudaMemory(self._allocated((nbytes,), np.dtype(np.uint8)))
        # Work that the caller has queued may still use memory that it has already given back to the pool.
        self.record_event().wait()
        return memory

    @reported("Pinning memory of the host")
    def host_memory(self, nbytes: int) -> Bytes:
        """Take pinned memory."""
        try:
            memory: Bytes = cupyx.empty_pinned(nbytes, np.uint8)
        except (runtime.CUDARuntimeError, MemoryError) as error:
            if is_lost(error):
                raise
            raise DeviceMemoryError(
                f"{nbytes} bytes of the host's memory cannot be pinned for {self.name}: {error}. Lower "
                f"wkgpu.config.batch_bytes, which is {config.batch_bytes}."
            ) from error
        return memory

    @reported("Giving memory back")
    def release(self) -> None:
        """Give what CuPy's pools keep, of the GPU's memory and of pinned memory, back to CUDA."""
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()

    @reported("Asking for free memory")
    def free_bytes(self) -> int:
        """Return what CUDA has free and CuPy's pool keeps; another allocator, as of managed memory, tells nothing."""
        pool = cupy.get_default_memory_pool()
        if cupy.cuda.get_allocator() != pool.malloc:
            return sys.maxsize
        free, limit = int(runtime.memGetInfo()[0] + pool.free_bytes()), int(pool.get_limit())
        return min(free, limit - int(pool.used_bytes())) if limit else free

    def span(self, array: Any) -> tuple[CudaMemory, int]:
        """Return the memory of an array; see `wkgpu.engines.cuda.device.Device`."""
        reach = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
        low = sum(min(way, 0) for way in reach)
        nbytes = sum(max(way, 0) for way in reach) - low + array.itemsize
        return CudaMemory(cupy.ndarray((nbytes,), np.uint8, memptr=array.data + low)), -low

    def open(self, descriptor: int, *, writable: bool = False) -> KvikioFile:
        """Open the file of a descriptor for KvikIO."""
        return KvikioFile(f"/proc/self/fd/{descriptor}", "r+" if writable else "r")

    def drain_files(self) -> None:
        """Wait for KvikIO."""
        drain()

    def codec(self, name: str) -> NvcompCodec | None:
        """Return nvCOMP's codec of a name."""
        return self._codecs.get(name)

    @reported("Launching a kernel")
    def launch(self, kernel: Any, blocks: int, *arguments: Any) -> None:
        """Queue a kernel in CuPy's current stream."""
        stream = numba_cuda.external_stream(cupy.cuda.get_current_stream().ptr)
        with LAUNCHING:
            kernel[max(blocks, MIN_BLOCKS), _THREADS, stream](*map(for_numba, arguments))

    # ---- Arrays

    @reported("A copy to the GPU")
    def asarray(self, data: Any) -> Any:
        """Return data as a CuPy array on this GPU, copied only where it lies elsewhere."""
        if not isinstance(data, cupy.ndarray):
            data = imported(data)
        if isinstance(data, np.ndarray):
            return self._uploaded(data)
        try:
            # CuPy's `asarray` would copy another GPU's array without a wait for what that GPU is computing.
            array = data if isinstance(data, cupy.ndarray) else cupy.asarray(data)
            return array if array.device.id == self.ordinal else self._from_other(array)
        except MemoryError as error:
            raise self._full(getattr(data, "nbytes", 0)) from error

    def _from_other(self, array: Any) -> Any:
        """Return a copy of another GPU's array. CuPy copies only whole ones, and waits for no stream of that GPU."""
        with cupy.cuda.Device(array.device.id):
            theirs = cupy.cuda.get_current_stream()
            whole = array if array.flags.c_contiguous or array.flags.f_contiguous else array.copy(order="F")
            computed = CudaEvent(theirs)
        ours = cupy.cuda.get_current_stream()
        ours.wait_event(computed.event)
        copy = whole.copy(order="A")
        copied = CudaEvent(ours)
        with cupy.cuda.Device(array.device.id):
            theirs.wait_event(copied.event)  # before it uses the memory again that may be given back now
        return copy

    def _uploaded(self, data: NDArray[Any]) -> Any:
        """Return a copy in the order of the data; CuPy's own way would pin as much memory, and transpose parts."""
        if not (data.flags.c_contiguous or data.flags.f_contiguous):
            data = data.copy(order="K")
        array = self._allocated(data.shape, data.dtype, "F" if data.flags.f_contiguous else "C")
        if data.size:
            array.set(data)
        return array

    def is_on_host(self, array: Any) -> bool:
        """Whether it is a NumPy array; one of another byte order has to be copied in any case."""
        return isinstance(array, np.ndarray) and array.dtype.isnative

    @reported("A copy from the GPU")
    def to_host(self, array: Any) -> NDArray[Any]:
        """Return an array as a NumPy array."""
        host: NDArray[Any] = cupy.asnumpy(array, order="A")
        return host

    def as_output(self, out: Any) -> Any:
        """Return a CuPy array on the memory of ``out``: a CuPy array, or one that supports DLPack, on this GPU."""
        array = out
        if not isinstance(out, cupy.ndarray):
            kind = type(out).__name__
            if isinstance(out, np.ndarray) or not hasattr(out, "__dlpack__") or is_on_host(out):
                raise ShapeError(
                    f"out is a {kind} in the host's memory, but the view is on {self.name}; pass a CuPy array or a "
                    f'CUDA tensor, or read with view.to("cpu").'
                )
            try:
                array = cupy.from_dlpack(out)
            except (BufferError, RuntimeError, TypeError, ValueError) as error:
                raise ShapeError(f"out is a {kind} that {self.name} cannot fill: {error}") from error
        if array.device.id != self.ordinal:
            raise ShapeError(f"out lies on cuda:{array.device.id}, but the view is on {self.name}.")
        return array

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return uninitialised memory in Fortran order."""
        return self._allocated(shape, dtype)

    @reported("Zeroing memory of the GPU")
    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return zeroed memory in Fortran order."""
        array = self._allocated(shape, dtype)
        array.data.memset_async(0, array.nbytes)
        return array

    @reported("Taking memory of the GPU")
    def _allocated(self, shape: tuple[int, ...], dtype: np.dtype[np.generic], order: str = "F") -> Any:
        try:
            return cupy.empty(shape, dtype, order=order)
        except MemoryError as error:  # CuPy's own is one; another allocator, such as RMM's, raises it plainly
            raise self._full(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize) from error

    def _full(self, nbytes: int) -> DeviceMemoryError:
        free, total = runtime.memGetInfo()
        limit = cupy.get_default_memory_pool().get_limit()
        capped = f", and CuPy's pool is limited to {limit}" if limit else ""
        return DeviceMemoryError(
            f"{self.name} has no room for {nbytes} bytes more: {free} of its {total} bytes are free{capped}. Work on "
            "smaller boxes, drop arrays that are not needed any more, or set wkgpu.config.gpu_bytes to less than that."
        )


@contextmanager
def _in_stream(device: Any, own: Any, handle: int) -> Iterator[None]:
    """Work in another stream than CuPy's own one."""
    stream = as_stream(handle)
    with device, stream, joined(own, stream, follow):
        yield
