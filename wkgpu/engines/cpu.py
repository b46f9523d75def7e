"""The CPU engine: positional reads, liblz4 and Numba kernels on a team of threads, into memory that is used again.

A task is some dozens of chunks. Its thread fetches encoded bytes into a staging buffer, decodes runs of x-neighbours
into a scratch buffer, both small enough for a core's cache, and streams whole cache lines from there into the output.
So encoded bytes are copied once, out of the page cache, and voxels once, out of the scratch.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.assembly import OffsetChain, stretches
from wkgpu.engines.cpu_encoder import CODECS, CpuEncoder
from wkgpu.engines.failures import check_read
from wkgpu.engines.memory import output_memory
from wkgpu.engines.thread_buffers import ThreadBuffers
from wkgpu.engines.threads import ThreadTeam
from wkgpu.kernels import cpu as kernels
from wkgpu.settings import config
from wkgpu.storage.read_plan import ReadPlan, nbytes_box
from wkgpu.storage.write_plan import WritePlan

_SCRATCH_BYTES = 512 << 10  # decoded x-neighbours; with the staging buffer they stay within a core's cache
_LEAST_TASK_BYTES, _MOST_TASK_BYTES = 256 << 10, 2 << 20  # decoded
_MOST_TASK_CHUNKS = 4096
_STREAMED_BYTES = 4 << 20  # a larger output does not stay in the caches anyhow


class CpuEngine:
    """Reads and writes NumPy arrays; see `wkgpu.engines.engine.Engine`."""

    name = "cpu"
    xp: ModuleType = np

    def __init__(self) -> None:
        self._team = ThreadTeam()
        self._buffers = ThreadBuffers()

    def asarray(self, data: Any) -> NDArray[Any]:
        """Return data as a NumPy array: without a copy where it lies in this machine's memory."""
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
        channel, x, *others = out.strides
        return (
            (channel == out.itemsize or out.shape[0] == 1)
            and (x == out.itemsize * out.shape[0] or out.shape[1] == 1)
            and min(others) >= 0
        )

    def read(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Fill every voxel that the plan covers; see `Engine.read`."""
        _, _, y, z, box = out.strides
        geometry = (*plan.pieces.shape, *plan.shape, plan.layout.voxel_bytes, y, z)
        target = out.__array_interface__["data"][0]
        if len(plan.gaps.box):
            self._clear(plan, geometry, box, target)
        if len(plan.chunks.place):
            self._place(plan, geometry, box, target)

    def write(self, plan: WritePlan, data: NDArray[Any]) -> None:
        """Encode a box of voxels and store it in a shard; see `Engine.write`."""
        encoder = CpuEncoder(plan, data, self._buffers)
        count = len(plan.touched.ordinal)
        rows = _rows_per_task(count, plan.pieces.nbytes)
        if not plan.is_compressed:
            self._team.run(
                lambda task: encoder.store_raw(task * rows, min((task + 1) * rows, count)), -(-count // rows)
            )
            return
        parts = stretches(plan, rows)
        chain = OffsetChain(plan.data_offset)

        def store(task: int) -> None:
            try:
                encoder.store_stretch(parts[task], task, chain)
            except BaseException:
                chain.fail()
                raise

        self._team.run(store, len(parts))

    def _clear(self, plan: ReadPlan, geometry: tuple[int, ...], box_stride: int, target: int) -> None:
        """Zero what no chunk covers."""
        bases = plan.gaps.box * box_stride
        count = len(bases)
        rows = _rows_per_task(count, plan.pieces.nbytes)

        def clear(task: int) -> None:
            kernels.clear_chunks(
                task * rows, min((task + 1) * rows, count), bases, plan.gaps.origin, geometry, target
            )  # fmt: skip

        self._team.run(clear, -(-count // rows))

    def _place(self, plan: ReadPlan, geometry: tuple[int, ...], box_stride: int, target: int) -> None:
        """Fetch, decode and place all chunks."""
        size = plan.pieces.nbytes
        chunks = (plan.chunks.place, plan.chunks.nbytes, plan.chunks.box * box_stride)
        descriptors = np.array([file.descriptor for file in plan.files], np.int64)
        segments = tuple(plan.segments)
        codec = CODECS[plan.layout.codec]
        count = len(plan.chunks.place)
        rows = _rows_per_task(count, size)
        capacity = max(config.staging_bytes, plan.nbytes_largest)
        slots = max(1, _SCRATCH_BYTES // size)
        lines = kernels.LINES * slots * plan.pieces.shape[0] * plan.layout.voxel_bytes
        streaming = plan.boxes * nbytes_box(plan.layout, plan.shape) >= _STREAMED_BYTES

        def place(task: int) -> None:
            failure = np.zeros(3, np.int64)
            with self._buffers.lend(capacity, slots * size, lines) as (staging, scratch, line):
                kernels.read_chunks(
                    task * rows, min((task + 1) * rows, count), plan.chunks.by_line, descriptors, segments, chunks,
                    plan.chunks.origin, geometry, codec, size,
                    staging, capacity, scratch, slots, line, target, streaming, failure,
                )  # fmt: skip
            check_read(plan, failure)

        self._team.run(place, -(-count // rows))


def _rows_per_task(count: int, nbytes: int) -> int:
    """How many chunks of ``nbytes`` make a task, so that every thread gets several and none is tiny."""
    least, most = max(1, _LEAST_TASK_BYTES // nbytes), max(1, _MOST_TASK_BYTES // nbytes)
    wanted = -(-count // (4 * max(config.threads, 1)))
    rows = min(max(wanted, least), most)
    return min(
        1 << (rows - 1).bit_length(), _MOST_TASK_CHUNKS
    )  # powers of two keep neighbours in Morton order together
