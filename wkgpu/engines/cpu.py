"""The CPU engine: positional reads, liblz4 and Numba kernels on a team of threads, into memory that is used again.

A task is some dozens of chunks. Its thread fetches their bytes into a staging buffer that fits the cache, decodes runs
of x-neighbours into a scratch buffer, and streams whole cache lines from there into the output: encoded bytes are
copied once (out of the page cache), voxels once (out of the scratch).
"""

from __future__ import annotations

import os
import threading
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.assembly import OffsetChain, Source, Stretch, stretches
from wkgpu.engines.memory import output_memory
from wkgpu.engines.threads import ThreadTeam
from wkgpu.errors import ChunkError, StorageAccessError
from wkgpu.kernels import cpu as kernels
from wkgpu.kernels import machine
from wkgpu.settings import config
from wkgpu.storage.read_plan import ReadPlan, nbytes_box
from wkgpu.storage.replacement import write_all
from wkgpu.storage.write_plan import WritePlan

_CODECS = {"raw": kernels.RAW, "lz4": kernels.LZ4, "lz4hc": kernels.LZ4HC}
_LZ4HC_LEVEL = 9  # LZ4HC_CLEVEL_DEFAULT of lz4hc.h
_SCRATCH_BYTES = 512 << 10  # decoded x-neighbours; with the staging buffer they stay within a core's cache
_TASK_BYTES = (256 << 10, 2 << 20)  # least and most decoded bytes of a task
_STREAMED_BYTES = 4 << 20  # a larger output does not stay in the caches anyhow
_KEPT_BUFFER_BYTES = 8 << 20


class CpuEngine:
    """Reads and writes NumPy arrays; see `wkgpu.engines.engine.Engine`."""

    name = "cpu"
    xp: ModuleType = np

    def __init__(self) -> None:
        self._team = ThreadTeam()
        self._buffers = _Buffers()
        self._zero_chunks: dict[tuple[int, str], bytes] = {}

    # ---- Arrays

    def asarray(self, data: Any) -> NDArray[Any]:
        """Return data as a NumPy array: NumPy arrays and what shares memory with them without a copy."""
        if isinstance(data, np.ndarray):
            return data
        if hasattr(data, "__cuda_array_interface__"):
            return np.asarray(data.get() if hasattr(data, "get") else data.cpu())
        if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
            return np.from_dlpack(data)
        return np.asarray(data)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[Any]:
        """Return uninitialised memory in Fortran order, from released outputs where one fits."""
        return output_memory.array(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[Any]:
        """Return zeroed memory in Fortran order."""
        return np.zeros(shape, dtype, order="F")

    def takes(self, out: Any) -> bool:
        """Whether channels and x of this NumPy array are neighbours, and no stride is negative."""
        if not isinstance(out, np.ndarray):
            return False
        item = out.itemsize
        channel, x = out.strides[:2]
        return (
            (channel == item or out.shape[0] == 1)
            and (x == item * out.shape[0] or out.shape[1] == 1)
            and min(out.strides) >= 0
        )

    # ---- Reading

    def read(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Fill every voxel that the plan covers; see `Engine.read`."""
        voxel = plan.layout.voxel_bytes
        geometry = (*plan.pieces.shape, *plan.shape, voxel, out.strides[2], out.strides[3])
        target = out.__array_interface__["data"][0]
        if len(plan.gaps.box):
            self._clear(plan, geometry, out.strides[4], target)
        if len(plan.chunks.place):
            self._place(plan, geometry, out.strides[4], target)

    def _clear(self, plan: ReadPlan, geometry: tuple[int, ...], box_stride: int, target: int) -> None:
        bases = plan.gaps.box * box_stride
        rows = _rows_per_task(len(bases), plan.pieces.nbytes)

        def clear(task: int) -> None:
            last = min((task + 1) * rows, len(bases))
            kernels.clear_chunks(task * rows, last, bases, plan.gaps.origin, geometry, target)

        self._team.run(clear, -(-len(bases) // rows))

    def _place(self, plan: ReadPlan, geometry: tuple[int, ...], box_stride: int, target: int) -> None:
        size = plan.pieces.nbytes
        codec = _CODECS[plan.layout.codec]
        chunks = (plan.chunks.place, plan.chunks.nbytes, plan.chunks.box * box_stride)
        segments = tuple(plan.segments)
        origins = np.ascontiguousarray(plan.chunks.origin)
        descriptors = np.array([file.descriptor for file in plan.files], np.int64)
        count = len(origins)
        rows = _rows_per_task(count, size)
        capacity = max(config.staging_bytes, plan.nbytes_largest)
        slots = max(1, _SCRATCH_BYTES // size)
        lines = kernels.LINES * slots * plan.pieces.shape[0] * plan.layout.voxel_bytes
        streaming = plan.boxes * nbytes_box(plan.layout, plan.shape) >= _STREAMED_BYTES

        def place(task: int) -> None:
            failure = np.zeros(3, np.int64)
            with self._buffers.lend(capacity, slots * size, lines) as (staging, scratch, line):
                kernels.read_chunks(
                    task * rows, min((task + 1) * rows, count), plan.chunks.by_line, descriptors, segments, chunks, origins, geometry,
                    codec, size, staging, capacity, scratch, slots, line, target, streaming, failure,
                )  # fmt: skip
            if failure[0] != kernels.OK:
                raise _read_error(plan, failure)

        self._team.run(place, -(-count // rows))

    # ---- Writing

    def write(self, plan: WritePlan, data: NDArray[Any]) -> None:
        """Encode a box of voxels and store it in a shard; see `Engine.write`."""
        encoder = _Encoder(plan, data, self._buffers)
        rows = _rows_per_task(len(plan.touched.ordinal), plan.pieces.nbytes)
        if not plan.is_compressed:
            count = len(plan.touched.ordinal)
            self._team.run(
                lambda task: encoder.store_raw(task * rows, min((task + 1) * rows, count)), -(-count // rows)
            )
            return
        zero_chunk = self._zero_chunk(plan) if plan.old is None else b""
        plan.sizes[plan.sizes < 0] = len(zero_chunk)
        parts = stretches(plan, rows)
        chain = OffsetChain(plan.data_offset)

        def store(task: int) -> None:
            try:
                _store_stretch(plan, encoder, parts[task], task, chain, zero_chunk)
            except BaseException:
                chain.fail()
                raise

        self._team.run(store, len(parts))

    def _zero_chunk(self, plan: WritePlan) -> bytes:
        """Encode a chunk of zeros, once for all chunks of that size."""
        key = (plan.pieces.nbytes, plan.layout.codec)
        encoded = self._zero_chunks.get(key)
        if encoded is None:
            import lz4.block

            encoded = lz4.block.compress(bytes(key[0]), store_size=False)
            self._zero_chunks[key] = encoded
        return encoded


class _Encoder:
    """Encodes rows of one write plan from one array."""

    def __init__(self, plan: WritePlan, data: NDArray[Any], buffers: _Buffers) -> None:
        self._plan = plan
        self._layout = _gather_layout(plan, data)
        self._data = data.__array_interface__["data"][0]
        self._keep_alive = data
        self._buffers = buffers
        self._origins = np.ascontiguousarray(plan.touched.origin)
        self._sizes = np.zeros(len(self._origins), np.int64)
        self._codec = _CODECS[plan.layout.codec]
        self._largest = int(plan.touched.nbytes.max(initial=0))

    def encode(self, first: int, last: int, output: int, capacity: int, scratch: int, staging: int, state: int) -> Any:
        """Encode rows to an address; their encoded sizes."""
        plan = self._plan
        failure = np.zeros(3, np.int64)
        kernels.encode_chunks(
            first, last, -1 if plan.old is None else plan.old.descriptor, plan.touched.offset, plan.touched.nbytes,
            self._origins, self._layout, self._data, self._codec, _LZ4HC_LEVEL, plan.pieces.nbytes,
            staging, scratch, state, output, capacity, self._sizes, failure,
        )  # fmt: skip
        if failure[0] != kernels.OK:
            raise _write_error(plan, failure)
        return self._sizes[first:last]

    def lend(self, rows: int) -> _Loan:
        """Lend buffers to encode this many rows: output, scratch, staging and encoder state."""
        size = self._plan.pieces.nbytes
        if self._codec == kernels.RAW:
            return self._buffers.lend(rows * size)
        state = machine.LZ4_STATE_BYTES if self._codec == kernels.LZ4 else machine.LZ4HC_STATE_BYTES
        return self._buffers.lend(rows * machine.lz4_bound(size), size, self._largest, state)

    def store_raw(self, first: int, last: int) -> None:
        """Copy rows into their places in the file, neighbours at a time."""
        plan = self._plan
        size = plan.pieces.nbytes
        with self.lend(last - first) as (output,):
            self.encode(first, last, output, (last - first) * size, 0, 0, 0)
            image = _memory(output, (last - first) * size)
            offsets = plan.touched.offset[first:last]
            heads = [0, *(np.flatnonzero(np.diff(offsets) != size) + 1).tolist(), last - first]
            for head, next_head in zip(heads, heads[1:], strict=False):
                write_all(plan.descriptor, image[head * size : next_head * size], int(offsets[head]))


def _store_stretch(
    plan: WritePlan, encoder: _Encoder, part: Stretch, position: int, chain: OffsetChain, zero_chunk: bytes
) -> None:
    """Write one stretch of a compressed shard."""
    if part.source is not Source.ENCODE:
        offset = chain.place(position, int(plan.sizes[part.first : part.last].sum()))
        if offset is not None:
            _store_untouched(plan, part.first, part.last, offset, zero_chunk)
        return
    first, last = part.rows
    with encoder.lend(last - first) as (output, scratch, staging, state):
        capacity = (last - first) * machine.lz4_bound(plan.pieces.nbytes)
        sizes = encoder.encode(first, last, output, capacity, scratch, staging, state)
        ordinals = plan.touched.ordinal[first:last]
        plan.sizes[ordinals] = sizes
        offset = chain.place(position, int(plan.sizes[part.first : part.last].sum()))
        if offset is None:
            return
        image = _memory(output, int(sizes.sum()))
        ends = np.cumsum(sizes)
        heads = [0, *(np.flatnonzero(np.diff(ordinals) != 1) + 1).tolist(), last - first]
        done = part.first
        for head, next_head in zip(heads, heads[1:], strict=False):
            ordinal = int(ordinals[head])
            offset += _store_untouched(plan, done, ordinal, offset, zero_chunk)
            run = image[int(ends[head] - sizes[head]) : int(ends[next_head - 1])]
            write_all(plan.descriptor, run, offset)
            offset += len(run)
            done = ordinal + next_head - head


def _store_untouched(plan: WritePlan, first: int, last: int, offset: int, zero_chunk: bytes) -> int:
    """Copy the encoded chunks ``first`` to ``last`` of the old shard, or fill in zeros; the bytes written."""
    if first == last:
        return 0
    if plan.old is None:
        most = max(1, (4 << 20) // len(zero_chunk))
        for chunk in range(first, last, most):
            write_all(plan.descriptor, zero_chunk * min(most, last - chunk), offset + (chunk - first) * len(zero_chunk))
        return (last - first) * len(zero_chunk)
    begins, _ = plan.old.index.extents(np.array([first]))
    nbytes = int(plan.sizes[first:last].sum())
    copy_range(plan.old.descriptor, int(begins[0]), plan.descriptor, offset, nbytes)
    return nbytes


def copy_range(source: int, begin: int, target: int, offset: int, nbytes: int) -> None:
    """Copy bytes from file to file, within the system where it can do that."""
    while nbytes > 0:
        done = os.sendfile(target, source, begin, nbytes) if False else 0
        if hasattr(os, "copy_file_range"):
            done = os.copy_file_range(source, target, nbytes, begin, offset)
        else:
            block = os.pread(source, min(nbytes, 1 << 20), begin)
            write_all(target, block, offset)
            done = len(block)
        if done == 0:
            raise ChunkError(f"A shard became shorter while it was copied: {nbytes} bytes at offset {begin} are gone.")
        begin += done
        offset += done
        nbytes -= done


class _Buffers(threading.local):
    """Buffers of each thread, used again by its next task."""

    def __init__(self) -> None:
        self.block = np.empty(0, np.uint8)
        self.lent = False

    def lend(self, *sizes: int) -> _Loan:
        """Lend buffers of these sizes until the end of a ``with`` block, which gets their addresses."""
        return _Loan(self, sizes)


class _Loan:
    __slots__ = ("_block", "_buffers", "_sizes")

    def __init__(self, buffers: _Buffers, sizes: tuple[int, ...]) -> None:
        self._buffers = buffers
        self._sizes = sizes

    def __enter__(self) -> tuple[int, ...]:
        padded = [(size + 127) & ~63 for size in self._sizes]
        total = sum(padded)
        block = self._buffers.block
        if block.nbytes < total:
            block = np.empty(total + 64, np.uint8)
            if total <= _KEPT_BUFFER_BYTES:
                self._buffers.block = block
        self._block = block
        address = -(-block.__array_interface__["data"][0] // 64) * 64
        addresses = []
        for size in padded:
            addresses.append(address)
            address += size
        return tuple(addresses)

    def __exit__(self, *_: object) -> None:
        del self._block


def _rows_per_task(count: int, nbytes: int) -> int:
    """How many chunks of ``nbytes`` make a task, so that all threads have several and none is tiny."""
    least, most = (max(1, limit // nbytes) for limit in _TASK_BYTES)
    wanted = -(-count // (4 * max(config.threads, 1)))
    rows = min(max(wanted, least), most)
    return min(1 << (rows - 1).bit_length(), 4096)  # Morton order: powers of two keep neighbours together


def _gather_layout(plan: WritePlan, data: NDArray[Any]) -> tuple[Any, ...]:
    """How `kernels.encode_chunks` walks an array: its argument ``layout``."""
    item, channels = data.itemsize, data.shape[0]
    x, y, z = plan.pieces.shape
    voxel = plan.layout.voxel_bytes
    chunk_strides = (item, voxel, voxel * x, voxel * x * y)
    data_strides = data.strides
    if channels == 1 or data_strides[0] == item:  # a voxel's channels are neighbours: they move together
        item, channels = voxel, 1
    # The innermost axis is the one with the shortest way in the data; what has length 1 goes outermost.
    lengths = (channels, *data.shape[1:])
    axes = tuple(sorted(range(4), key=lambda axis: (lengths[axis] > 1, -abs(data_strides[axis]), -axis)))
    return (channels, x, y, z), (channels, *plan.shape), data_strides, chunk_strides, axes, item


def _memory(address: int, nbytes: int) -> memoryview:
    import ctypes

    return memoryview((ctypes.c_char * nbytes).from_address(address)).cast("B")


def _read_error(plan: ReadPlan, failure: NDArray[np.int64]) -> Exception:
    path, origin = plan.locate(int(failure[1]))
    where = f"{path}: the chunk whose first voxel is {origin} in the box"
    return _chunk_error(where, plan.pieces.nbytes, failure)


def _write_error(plan: WritePlan, failure: NDArray[np.int64]) -> Exception:
    where = f"{plan.path}: chunk {int(plan.touched.ordinal[int(failure[1])])}"
    return _chunk_error(where, plan.pieces.nbytes, failure)


def _chunk_error(where: str, nbytes: int, failure: NDArray[np.int64]) -> Exception:
    code, _, detail = failure.tolist()
    if code == kernels.READ_FAILED:
        return StorageAccessError(f"{where} cannot be read at offset {detail}; the disk or the network fails.")
    if code == kernels.TRUNCATED:
        return ChunkError(f"{where} is truncated: the file ends at offset {detail}. It changed while it was read.")
    if code == kernels.MALFORMED:
        return ChunkError(f"{where} is damaged: LZ4 cannot decode it. Restore the shard from a copy.")
    if code == kernels.WRONG_LENGTH:
        return ChunkError(f"{where} is damaged: it decodes to {detail} bytes instead of {nbytes}.")
    if code == kernels.ENCODE_FAILED:
        return ChunkError(f"{where} cannot be encoded into {detail} bytes.")
    return ChunkError(f"{where} is larger than the staging buffer: {detail} bytes.")
