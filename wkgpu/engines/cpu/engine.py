"""The CPU engine: positional reads, liblz4 and Numba kernels on a team of threads, into memory that is used again.

A task is some dozens of chunks. Its thread fetches encoded bytes into a staging buffer, decodes runs of x-neighbours
into a scratch buffer, both small enough for a core's cache, and streams whole cache lines from there into the output.
So encoded bytes are copied once, out of the page cache, and voxels once, out of the scratch.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines import host_memory
from wkgpu.engines.assembly import OffsetAllocator, shard_runs
from wkgpu.engines.cpu import codecs
from wkgpu.engines.cpu.comparison import have_equal_voxels
from wkgpu.engines.cpu.encoder import CpuEncoder
from wkgpu.engines.cpu.memory import output_memory
from wkgpu.engines.cpu.thread_buffers import ThreadBuffers
from wkgpu.engines.encoded_fill import fill_pattern, swapped_bytes
from wkgpu.engines.failures import Failure, check_read
from wkgpu.engines.footprint import check_launch, check_read_plan, check_write_plan
from wkgpu.engines.interchange import from_dlpack
from wkgpu.engines.kernel import Kernel
from wkgpu.engines.threads import ThreadTeam
from wkgpu.engines.tuning import Tuning
from wkgpu.engines.voxel_layout import has_lines, voxel_layout
from wkgpu.errors import ShapeError, TooLargeError
from wkgpu.kernels.cpu import placement, reader
from wkgpu.settings import config
from wkgpu.storage.codecs import Codec
from wkgpu.storage.plans.comparison import ComparisonPlan
from wkgpu.storage.plans.read import ReadPlan, nbytes_box
from wkgpu.storage.plans.sources import Sources, Window
from wkgpu.storage.plans.write import WritePlan

_PLACE = "this process"
_SCRATCH_BYTES = 512 << 10  # decoded x-neighbours; with the staging buffer they stay within a core's cache
_MIN_TASK_BYTES, _MAX_TASK_BYTES = 256 << 10, 2 << 20  # decoded
_MIN_TAKEN_BYTES = 64 << 10  # where taking the next chunks costs no more than an addition
_THREAD_BYTES = 512 << 10  # decoded, that are worth waking a thread
_MAX_TASK_CHUNKS = 4096
_LAUNCH_TASKS = 64  # enough that no thread waits long for another one's last
_MIN_LAUNCHED_ITEMS = 1 << 14  # worth the microseconds that a task costs
_STREAMED_BYTES = 4 << 20  # a larger output does not stay in the caches anyhow


class CpuEngine:
    """Reads and writes NumPy arrays; see `wkgpu.engines.engine.Engine`."""

    name = "cpu"
    xp: ModuleType = np

    def __init__(self) -> None:
        self._team = ThreadTeam()
        self._buffers = ThreadBuffers()

    @property
    def tuning(self) -> Tuning:
        """See `Engine.tuning`; two rows a thread, each with counters of its own."""
        rows = 2 * max(config.threads, 1)
        # Smaller steps of a transformation were slower, for the threads that wait at the end of each. A table of labels
        # stays in a core's cache.
        return Tuning(
            streamed_bytes=128 << 20, reduced_bytes=16 << 20, rows=rows, min_width=1, counters=rows,
            labelled_values=1 << 18, labelled_width=1 << 18,
        )  # fmt: skip

    def active(self) -> AbstractContextManager[Any]:
        """There is no other device."""
        return nullcontext()

    def side_streams(self) -> dict[int, int]:
        """There are no streams."""
        return {}

    def asarray(self, data: Any) -> NDArray[Any]:
        """Return data as a NumPy array: without a copy where it lies in this machine's memory."""
        if isinstance(data, np.ndarray):
            return data
        if hasattr(data, "__cuda_array_interface__"):
            # CuPy's order "A" keeps Fortran order, where its default would transpose on the way.
            return np.asarray(data.get(order="A") if hasattr(data, "get") else data.cpu())
        if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
            return np.asarray(from_dlpack(data, np.from_dlpack))
        return np.asarray(data)

    def as_input(self, data: Any) -> NDArray[Any]:
        """Do as `asarray`."""
        return self.asarray(data)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[Any]:
        """Return uninitialised memory in Fortran order, from released outputs where one fits."""
        return self._allocated(output_memory.array, shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[Any]:
        """Return zeroed memory in Fortran order."""
        return self._allocated(partial(np.zeros, order="F"), shape, dtype)

    def _allocated(
        self, allocate: Callable[..., NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[np.generic]
    ) -> NDArray[Any]:
        """Allocate an array, once more without what is kept for the next calls if there is no room."""
        nbytes = prod(shape) * dtype.itemsize
        if nbytes >= host_memory.LARGE_BYTES:
            self.check_room(nbytes, f"An array of {shape} {dtype}")
        try:
            return allocate(shape, dtype)
        except MemoryError:
            output_memory.clear()
        try:
            return allocate(shape, dtype)
        except MemoryError as error:
            free = host_memory.available_bytes()
            raise TooLargeError(host_memory.no_room(f"An array of {shape} {dtype}", nbytes, free, _PLACE)) from error

    def check_room(self, nbytes: int, what: str) -> None:
        """Compare with the memory that this process can take; see `Engine.check_room`."""
        if nbytes <= host_memory.available_bytes() or output_memory.has(nbytes):
            return
        output_memory.clear()
        free = host_memory.available_bytes()
        if nbytes > free:
            raise TooLargeError(host_memory.no_room(what, nbytes, free, _PLACE))

    def as_output(self, out: Any) -> NDArray[Any]:
        """Return a NumPy array on the memory of ``out``; see `Engine.as_output`."""
        if isinstance(out, np.ndarray):
            array = out
        elif not hasattr(out, "__dlpack__"):
            raise ShapeError(
                f"out is a {type(out).__name__}; the CPU fills NumPy arrays and objects that support DLPack."
            )
        else:
            try:
                # NumPy takes old DLPack capsules for read-only; what also speaks NumPy's own protocol is not.
                array = np.asarray(out) if hasattr(out, "__array_interface__") else np.from_dlpack(out)
            except (BufferError, RuntimeError, TypeError, ValueError) as error:
                raise ShapeError(f"out is a {type(out).__name__} that the CPU cannot fill: {error}") from error
        if not array.flags.writeable:
            raise ShapeError("out is read-only; pass an array that can be filled.")
        return array

    def read(self, plan: ReadPlan, sources: Sources, out: NDArray[Any]) -> None:
        """Fill every voxel that the plan covers; see `Engine.read`."""
        check_read_plan(plan, out)
        if len(plan.missing.box):
            self._fill(plan, out)
        if len(plan.chunks.box):
            for window in sources.windows(plan):
                self._place(plan, window, out)

    def write(self, plan: WritePlan, data: NDArray[Any]) -> None:
        """Encode a box of voxels and store it in a shard; see `Engine.write`."""
        check_write_plan(plan, data)
        encoder = CpuEncoder(plan, data, self._buffers)
        count = len(plan.touched.ordinal)
        rows = _rows_per_task(count, plan.pieces.nbytes)
        if plan.is_in_place:
            self._team.run(
                lambda task: encoder.store_in_place(task * rows, min((task + 1) * rows, count)), -(-count // rows)
            )
            return
        runs = shard_runs(plan, rows)
        offsets = OffsetAllocator(plan.data_offset, len(runs))
        self._team.run(lambda task: encoder.store_run(runs[task], task, offsets), len(runs), on_error=offsets.fail)

    def compare(self, plan: ComparisonPlan, sources: tuple[Sources, Sources]) -> bool:
        """Compare two boxes chunk by chunk; see `Engine.compare`."""
        return have_equal_voxels(plan, sources, self._team, self._buffers)

    def decodes(self, codec: Codec) -> bool:
        """Whether `CODECS` has it."""
        return codecs.decodes(codec)

    def wait(self) -> None:
        """Nothing runs on when `launch` returns."""

    def launch(self, kernel: Kernel, rows: int, width: int, *arguments: Any) -> None:
        """Run a kernel on the rows, shared by all threads; see `Engine.launch`."""
        check_launch(kernel, rows, arguments)
        run = kernel.compiled_for("cpu")
        share = max(-(-rows // _LAUNCH_TASKS), -(-_MIN_LAUNCHED_ITEMS // max(width, 1)))
        self._team.run(lambda task: run(task * share, min((task + 1) * share, rows), *arguments), -(-rows // share))

    def _fill(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Fill what no chunk covers."""
        pattern = fill_pattern(plan.spec)
        target = out.__array_interface__["data"][0]
        bases = plan.missing.box * out.strides[4]
        origins, size = plan.missing.origin, plan.pieces.nbytes
        count = len(bases)
        rows = _rows_per_task(count, size)
        if has_lines(out, plan.spec.channels_first):
            geometry = _geometry(plan, out)

            def fill(first: int, last: int) -> None:
                placement.fill_chunks(first, last, bases, origins, geometry, pattern, target)

        else:
            layout = voxel_layout(plan.pieces, plan.shape, out[..., 0], plan.spec.channels_first)

            def fill(first: int, last: int) -> None:
                with self._buffers.borrow(size) as (scratch,):
                    placement.fill_chunks_of_any(first, last, bases, origins, layout, pattern, size, scratch, target)

        self._team.run(lambda task: fill(task * rows, min((task + 1) * rows, count)), -(-count // rows))

    def _place(self, plan: ReadPlan, window: Window, out: NDArray[Any]) -> None:
        """Fetch, decode and place the chunks of some rows."""
        target = out.__array_interface__["data"][0]
        size, spec, columns = plan.pieces.nbytes, plan.spec, plan.chunks
        order = columns.placement_order[window.first : window.last]
        chunks = (columns.staging_offset, columns.nbytes, columns.box * out.strides[4], columns.codec)
        segments = tuple(plan.segments)
        pipelines = codecs.kernel_pipelines(plan.pipelines, size, swapped_bytes(spec), plan.file_encoded_by)
        count = len(order)
        threads = min(max(config.threads, 1), -(-count * size // _THREAD_BYTES))
        step = _rows_per_task(count, size, threads, _MIN_TAKEN_BYTES)
        taken = np.zeros(1, np.int64)
        counter = taken.__array_interface__["data"][0]
        capacity = max(config.staging_bytes, plan.max_chunk_nbytes)
        gap, rows, work_bytes = pipelines.gap, pipelines.rows, pipelines.decoder_bytes
        if has_lines(out, spec.channels_first):
            geometry = _geometry(plan, out)
            slots = max(1, _SCRATCH_BYTES // size)
            lines = placement.LINES * slots * plan.pieces.shape[0] * spec.voxel_bytes
            streaming = plan.boxes * nbytes_box(spec, plan.shape) >= _STREAMED_BYTES

            def place(failure: Failure) -> None:
                with self._buffers.borrow(capacity, slots * (gap + size), work_bytes, lines) as (
                    staging, scratch, work, line
                ):  # fmt: skip
                    reader.read_chunks(
                        counter, step, order, window.descriptors, segments, chunks, columns.origin, geometry, rows,
                        size, staging, capacity, scratch + gap, gap + size, slots, work, line, target, streaming,
                        failure,
                    )  # fmt: skip

        else:
            layout = voxel_layout(plan.pieces, plan.shape, out[..., 0], spec.channels_first)

            def place(failure: Failure) -> None:
                with self._buffers.borrow(capacity, gap + size, work_bytes) as (staging, scratch, work):
                    reader.read_chunks_to_any(
                        counter, step, order, window.descriptors, segments, chunks, columns.origin, layout, rows,
                        size, staging, capacity, scratch + gap, work, target, failure,
                    )  # fmt: skip

        def place_checked(_: int) -> None:
            failure = np.zeros(3, np.int64)
            place(failure)
            check_read(plan, failure)

        # Each thread enters its kernel once, and takes chunks there until none is left.
        stop = partial(operator.setitem, taken, 0, count)  # what no thread has taken yet is not wanted any more
        self._team.run(place_checked, min(threads, -(-count // step)), on_error=stop)


def _geometry(plan: ReadPlan, out: NDArray[Any]) -> tuple[int, ...]:
    """What `placement.place_group` wants to know, in bytes."""
    numbers = (*plan.pieces.shape, *plan.shape, plan.spec.voxel_bytes, out.strides[2], out.strides[3])
    return tuple(map(int, numbers))  # NumPy's integers would make Numba compile another version


def _rows_per_task(count: int, nbytes: int, threads: int | None = None, min_bytes: int = _MIN_TASK_BYTES) -> int:
    """How many chunks of ``nbytes`` a thread takes at a time, so that each gets several tasks and none is tiny."""
    least, most = max(1, min_bytes // nbytes), max(1, _MAX_TASK_BYTES // nbytes)
    wanted = -(-count // (4 * (threads or max(config.threads, 1))))
    rows = min(max(wanted, least), most)
    return min(1 << (rows - 1).bit_length(), _MAX_TASK_CHUNKS)  # powers of two keep neighbours in Morton order together
