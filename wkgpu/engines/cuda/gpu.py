"""A CUDA GPU as the engine wants it: CuPy's memory and streams, KvikIO's files, nvCOMP's codecs, Numba's launcher.

This file alone names these libraries, and it does nothing else: all that only a GPU can run is here.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import cupy
import cupyx
import kvikio
import kvikio.defaults
import numpy as np
from cupy.cuda import runtime
from numba import cuda as numba_cuda
from numpy.typing import NDArray

from wkgpu.engines.cuda import nvcomp
from wkgpu.engines.cuda.device import Bytes, Memory
from wkgpu.engines.interchange import shared
from wkgpu.errors import DeviceError, DeviceMemoryError, ShapeError
from wkgpu.settings import config

_THREADS = 256
_BLOCKS_PER_MULTIPROCESSOR = 16  # of which it runs 2 or 3 at a time, for the registers that the kernels need
_LEAST_BLOCKS = 128  # Numba warns of smaller grids; blocks along x that find no chunk end at once
_DIRECT_WRITES = "KVIKIO_AUTO_DIRECT_IO_WRITE"
_PAGE = 4096
_LEAST_TASK_BYTES = 256 << 10  # of a request, that one of KvikIO's threads works on
_ON_HOST = (1, 3)  # kDLCPU and kDLCUDAHost of dlpack.h


class CudaMemory:
    """Bytes of a GPU, held by a CuPy array (uint8)."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.address: int = array.data.ptr
        self.nbytes: int = array.nbytes
        self._words: dict[int, Any] = {}

    def words(self, width: int) -> Any:
        """Return them as an array of Numba, which is made once for each width: that takes longer than a launch."""
        words = self._words.get(width)
        if words is None:
            dtype = np.dtype(np.int64 if width < 0 else f"u{width}")
            array = cupy.ndarray((self.nbytes // dtype.itemsize,), dtype, memptr=self.array.data)
            words = self._words[width] = numba_cuda.as_cuda_array(array, sync=False)
        return words


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
        across = max(across, -(-_LEAST_BLOCKS // down))
        kernel[(across, down), threads, self._launched](*arguments)


class KvikioFile:
    """A file that KvikIO reads into, and writes from, the memory of a GPU.

    With GPUDirect Storage the bytes never touch the host's memory; elsewhere KvikIO's POSIX path copies them through
    pinned buffers of its own threads.
    """

    def __init__(self, path: str, flags: str) -> None:
        try:
            self._file = kvikio.CuFile(path, flags)
        except Exception as error:
            raise OSError(errno.EIO, f"KvikIO cannot open the file: {error}") from error

    def read(self, memory: Memory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
        """Begin to read; see `wkgpu.engines.cuda.device.DeviceFile`."""
        return _result(self._file.pread, memory, begin, nbytes, offset)

    def write(self, memory: Memory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
        """Begin to write."""
        return _result(self._file.pwrite, memory, begin, nbytes, offset)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _result(request: Any, memory: Memory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
    """Make a request, and return what waits for it; KvikIO's errors, of whatever class, become an `OSError`."""
    # KvikIO's tasks of 4 MiB would leave most of its threads without work for what a small batch has fetched.
    share = -(-nbytes // max(int(kvikio.defaults.get("num_threads")), 1))
    task = min(max(-(-share // _PAGE) * _PAGE, _LEAST_TASK_BYTES), int(kvikio.defaults.get("task_size")))
    try:
        future = request(memory.array[begin : begin + nbytes], nbytes, offset, task)
    except Exception as error:
        raise OSError(errno.EIO, str(error)) from error

    def settle() -> int:
        try:
            return int(future.get())
        except Exception as error:
            raise OSError(errno.EIO, str(error)) from error

    return settle


class NvcompCodec:
    """Batches of nvCOMP; see `wkgpu.engines.cuda.device.BatchCodec`."""

    def __init__(self, batched: nvcomp.Batched) -> None:
        self._batched = batched

    @property
    def most_encoded_chunk_bytes(self) -> int:
        """The largest chunk that nvCOMP encodes."""
        return self._batched.most_encoded_chunk_bytes

    def bound(self, chunk_bytes: int) -> int:
        """Return the most bytes that a chunk is encoded to."""
        return self._batched.bound(chunk_bytes)

    def decode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        """Return how many bytes `decode` works in."""
        return self._batched.decode_temp_bytes(count, chunk_bytes, count * chunk_bytes)

    def encode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        """Return how many bytes `encode` works in."""
        return self._batched.encode_temp_bytes(count, chunk_bytes, count * chunk_bytes)

    def decode(
        self, stream: CudaStream, sources: int, lengths: int, capacities: int, decoded: int, count: int,
        temp: Memory, targets: int, statuses: int,
    ) -> None:  # fmt: skip
        """Queue decoding."""
        self._batched.decode(
            sources, lengths, capacities, decoded, count, temp.address, temp.nbytes, targets, statuses, stream.handle
        )

    def encode(
        self, stream: CudaStream, sources: int, lengths: int, chunk_bytes: int, count: int, temp: Memory,
        targets: int, encoded: int, statuses: int,
    ) -> None:  # fmt: skip
        """Queue encoding."""
        self._batched.encode(
            sources, lengths, chunk_bytes, count, temp.address, temp.nbytes, targets, encoded, statuses, stream.handle
        )


class CudaDevice:
    """A GPU; see `wkgpu.engines.cuda.device.Device`.

    KvikIO begins with a single thread, and is given `wkgpu.config.threads` where nobody has chosen another number. On
    its POSIX path it would write past the page cache, so that the next read had to wait for the disk: not with us,
    unless ``KVIKIO_AUTO_DIRECT_IO_WRITE`` says so.

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
        self._codecs = {"lz4": NvcompCodec(nvcomp.load().lz4)}
        if kvikio.defaults.get("num_threads") == 1:
            kvikio.defaults.set({"num_threads": max(config.threads, 1)})
        if _DIRECT_WRITES not in os.environ:
            kvikio.defaults.set({"auto_direct_io_write": False})

    def active(self) -> Any:
        """Make it CuPy's current device, which is also Numba's and nvCOMP's."""
        return cupy.cuda.Device(self.ordinal)  # one each: these context managers remember what was current before

    def fence(self) -> CudaEvent:
        """Return the event of what CuPy's current stream has been given."""
        return CudaEvent(cupy.cuda.get_current_stream())

    def new_stream(self) -> CudaStream:
        """Return a stream of the engine's own."""
        return CudaStream()

    def memory(self, nbytes: int) -> CudaMemory:
        """Take memory from CuPy's pool."""
        memory = CudaMemory(self._allocated((nbytes,), np.dtype(np.uint8)))
        # Work that the caller has queued may still use memory that it has already given back to the pool.
        self.fence().wait()
        return memory

    def host_memory(self, nbytes: int) -> Bytes:
        """Take pinned memory."""
        try:
            memory: Bytes = cupyx.empty_pinned(nbytes, np.uint8)
        except runtime.CUDARuntimeError as error:
            raise DeviceMemoryError(
                f"{nbytes} bytes of the host's memory cannot be pinned for {self.name}: {error}. Lower "
                f"wkgpu.config.batch_bytes, which is {config.batch_bytes}."
            ) from error
        return memory

    def release(self) -> None:
        """Give what CuPy's pools keep, of the GPU's memory and of pinned memory, back to CUDA."""
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()

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

    def codec(self, name: str) -> NvcompCodec | None:
        """Return nvCOMP's codec of a name."""
        return self._codecs.get(name)

    def launch(self, kernel: Any, blocks: int, *arguments: Any) -> None:
        """Queue a kernel in CuPy's current stream."""
        stream = numba_cuda.external_stream(cupy.cuda.get_current_stream().ptr)
        kernel[max(blocks, _LEAST_BLOCKS), _THREADS, stream](*map(_for_numba, arguments))

    # ---- Arrays

    def asarray(self, data: Any) -> Any:
        """Return data as a CuPy array on this GPU, copied only where it lies elsewhere."""
        if not isinstance(data, cupy.ndarray):
            data = _imported(data)
        if isinstance(data, np.ndarray):
            return self._uploaded(data)
        try:
            array = cupy.asarray(data)
            return array if array.device.id == self.ordinal else array.copy()
        except cupy.cuda.memory.OutOfMemoryError as error:
            raise self._full(getattr(data, "nbytes", 0)) from error

    def _uploaded(self, data: NDArray[Any]) -> Any:
        """Return a copy in the order of the data; CuPy's own way would pin as much memory, and transpose parts."""
        if not (data.flags.c_contiguous or data.flags.f_contiguous):
            data = data.copy(order="K")
        array = self._allocated(data.shape, data.dtype, "F" if data.flags.f_contiguous else "C")
        if data.size:
            array.set(data)
        return array

    def to_host(self, array: Any) -> NDArray[Any]:
        """Return an array as a NumPy array."""
        host: NDArray[Any] = cupy.asnumpy(array, order="A")
        return host

    def as_output(self, out: Any) -> Any:
        """Return a CuPy array on the memory of ``out``: a CuPy array, or what speaks DLPack, on this GPU."""
        array = out
        if not isinstance(out, cupy.ndarray):
            kind = type(out).__name__
            if isinstance(out, np.ndarray) or not hasattr(out, "__dlpack__") or _is_on_host(out):
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

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return zeroed memory in Fortran order."""
        array = self._allocated(shape, dtype)
        array.data.memset_async(0, array.nbytes)
        return array

    def _allocated(self, shape: tuple[int, ...], dtype: np.dtype[np.generic], order: str = "F") -> Any:
        try:
            return cupy.empty(shape, dtype, order=order)
        except cupy.cuda.memory.OutOfMemoryError as error:
            raise self._full(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize) from error

    def _full(self, nbytes: int) -> DeviceMemoryError:
        free, total = runtime.memGetInfo()
        limit = cupy.get_default_memory_pool().get_limit()
        capped = f", and CuPy's pool is limited to {limit}" if limit else ""
        return DeviceMemoryError(
            f"{self.name} has no room for {nbytes} bytes more: {free} of its {total} bytes are free{capped}. Work on "
            f"smaller boxes, drop arrays that are not needed any more, or lower wkgpu.config.batch_bytes, which is "
            f"{config.batch_bytes}."
        )


def _for_numba(argument: Any) -> Any:
    """Return an argument of a kernel, its CuPy arrays as those of Numba, which otherwise would wait for the stream."""
    if isinstance(argument, tuple):
        return tuple(map(_for_numba, argument))
    return numba_cuda.as_cuda_array(argument, sync=False) if isinstance(argument, cupy.ndarray) else argument


def _is_on_host(data: Any) -> bool:
    return hasattr(data, "__dlpack_device__") and data.__dlpack_device__()[0] in _ON_HOST


def _imported(data: Any) -> Any:
    """Return data of another library as a CuPy or NumPy array, on the memory where they lie."""
    if hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray):
        return shared(data, np.from_dlpack if _is_on_host(data) else cupy.from_dlpack)
    if hasattr(data, "__cuda_array_interface__"):
        return data
    array = np.asarray(data)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
