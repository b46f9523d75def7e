"""The CPU engine's reads: threads fetch, decode and place chunks, each from the first byte to the last voxel."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines import host_memory
from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.engines.cpu.tasks import rows_per_task
from wkgpu.engines.cpu.thread_buffers import ThreadBuffers, aligned
from wkgpu.engines.encoded_fill import fill_pattern, swapped_bytes
from wkgpu.engines.failures import Failure, check_read
from wkgpu.engines.footprint import check_sources
from wkgpu.engines.threads import ThreadTeam
from wkgpu.engines.voxel_layout import has_lines, voxel_layout
from wkgpu.kernels.cpu import placement, reader
from wkgpu.settings import config
from wkgpu.storage.plans.read import ReadPlan, nbytes_box
from wkgpu.storage.plans.sources import Sources, Window

_SCRATCH_BYTES = 1 << 20  # decoded x-neighbours: the longer the rows that they make, the faster they are placed
_MIN_TAKEN_BYTES = 64 << 10  # where taking the next chunks costs no more than an addition
_THREAD_BYTES = 512 << 10  # decoded, that are worth waking a thread
_STREAMED_BYTES = 4 << 20  # a larger output does not stay in the caches anyhow


class CpuReader:
    """Executes one read plan.

    Parameters
    ----------
    plan : ReadPlan
        What to read.
    """

    def __init__(self, plan: ReadPlan, team: ThreadTeam, buffers: ThreadBuffers) -> None:
        self._plan = plan
        self._team = team
        self._buffers = buffers
        size = plan.pieces.nbytes
        used = plan.pipelines if len(plan.chunks) else ()  # what is not stored needs no codec
        self._pipelines = kernel_pipelines(used, size, swapped_bytes(plan.spec), plan.file_encoded_by)
        self._slots = max(1, _SCRATCH_BYTES // size)
        self._sizes = (
            max(config.staging_bytes, plan.max_chunk_nbytes), self._slots * (self._pipelines.gap + size),
            self._pipelines.decoder_bytes,
            placement.LINES * self._slots * plan.pieces.shape[0] * plan.spec.voxel_bytes,
        )  # fmt: skip

    @property
    def projected_nbytes(self) -> int:
        """Bytes that the threads take."""
        plan = self._plan
        chunks, missing = len(plan.chunks), len(plan.missing)
        threads = max(self._threads(chunks) if chunks else 0, max(config.threads, 1) if missing else 0)
        of_fill = aligned(plan.pieces.nbytes) if missing and plan.pieces.nbytes < host_memory.LARGE_BYTES else 0
        of_thread = max(sum(map(aligned, self._sizes)) if chunks else 0, of_fill)
        return threads * (of_thread + aligned(1))

    def run(self, sources: Sources, out: NDArray[Any]) -> None:
        """Fill an array ``(channel, x, y, z, box)``."""
        if len(self._plan.missing):
            self._fill(out)
        if len(self._plan.chunks):
            for window in sources.windows(self._plan):
                self._place(window, out)

    def _threads(self, chunks: int) -> int:
        """Return as many threads as the bytes of chunks are worth."""
        return min(max(config.threads, 1), chunks, -(-chunks * self._plan.pieces.nbytes // _THREAD_BYTES))

    def _fill(self, out: NDArray[Any]) -> None:
        """Fill what no chunk covers."""
        plan = self._plan
        pattern = fill_pattern(plan.spec)
        target = out.__array_interface__["data"][0]
        missing, box_stride, size = plan.missing.columns, out.strides[4], plan.pieces.nbytes
        count = len(plan.missing)
        rows = rows_per_task(count, size)
        if has_lines(out, plan.spec.channel_position):
            geometry = _geometry(plan, out)

            def fill(first: int, last: int) -> None:
                placement.fill_chunks(first, last, missing, box_stride, geometry, pattern, target)

        elif size >= host_memory.LARGE_BYTES:  # not once more in memory
            value = np.frombuffer(plan.spec.memory_fill_bytes, plan.spec.memory_dtype)[0]

            def fill(first: int, last: int) -> None:
                for box, *origin in missing[:, first:last].T.tolist():
                    spans = zip(origin, plan.pieces.shape, strict=True)
                    out[(slice(None), *(slice(max(low, 0), low + length) for low, length in spans), box)] = value

        else:
            layout = voxel_layout(plan.pieces, plan.shape, out[..., 0], plan.spec.channel_position)

            def fill(first: int, last: int) -> None:
                with self._buffers.borrow(size) as (scratch,):
                    placement.fill_chunks_of_any(
                        first, last, missing, box_stride, layout, pattern, size, scratch, target
                    )

        self._team.run(lambda task: fill(task * rows, min((task + 1) * rows, count)), -(-count // rows))

    def _place(self, window: Window, out: NDArray[Any]) -> None:
        """Fetch, decode and place the chunks of some rows."""
        plan, sizes, slots = self._plan, self._sizes, self._slots
        first, last, descriptors = window
        check_sources(plan, descriptors)
        target, box_stride = out.__array_interface__["data"][0], out.strides[4]
        size, spec = plan.pieces.nbytes, plan.spec
        segments, chunks = plan.segments.columns, plan.chunks.columns
        threads = self._threads(last - first)
        step = rows_per_task(last - first, size, threads, _MIN_TAKEN_BYTES)
        taken = np.array([first], np.int64)
        capacity, gap, rows = sizes[0], self._pipelines.gap, self._pipelines.rows
        if has_lines(out, spec.channel_position):
            geometry = _geometry(plan, out)
            streaming = plan.boxes * nbytes_box(spec, plan.shape) >= _STREAMED_BYTES

            def place(failure: Failure) -> None:
                with self._buffers.borrow(*sizes) as (staging, scratch, work, line):
                    reader.read_chunks(
                        taken, step, first, last, descriptors, segments, chunks, box_stride, geometry, rows, size,
                        staging, capacity, scratch + gap, gap + size, slots, work, line, target, streaming, failure,
                    )  # fmt: skip

        else:
            layout = voxel_layout(plan.pieces, plan.shape, out[..., 0], spec.channel_position)

            def place(failure: Failure) -> None:
                with self._buffers.borrow(capacity, gap + size, sizes[2]) as (staging, scratch, work):
                    reader.read_chunks_to_any(
                        taken, step, last, descriptors, segments, chunks, box_stride, layout, rows, size,
                        staging, capacity, scratch + gap, work, target, failure,
                    )  # fmt: skip

        def place_checked(_: int) -> None:
            failure = np.zeros(3, np.int64)
            place(failure)
            check_read(plan, failure)

        # Each thread enters its kernel once, and takes chunks there until none is left.
        stop = partial(operator.setitem, taken, 0, last)  # what no thread has taken yet is not wanted any more
        self._team.run(place_checked, min(threads, -((first - last) // step)), on_error=stop)


def _geometry(plan: ReadPlan, out: NDArray[Any]) -> tuple[int, ...]:
    """What `placement.place_group` wants to know, in bytes."""
    numbers = (*plan.pieces.shape, *plan.shape, plan.spec.voxel_bytes, out.strides[2], out.strides[3])
    return tuple(map(int, numbers))  # NumPy's integers would make Numba compile another version
