"""The CPU engine: positional reads, liblz4 and Numba kernels on a team of threads, into memory that is used again.

A task is some dozens of chunks. Its thread fetches encoded bytes into a staging buffer, decodes runs of x-neighbours
into a scratch buffer, both small enough for a core's cache, and streams whole cache lines from there into the output.
So encoded bytes are copied once, out of the page cache, and voxels once, out of the scratch.
"""

from __future__ import annotations

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
from wkgpu.engines.chunk_room import check_chunk_room
from wkgpu.engines.cpu import codecs
from wkgpu.engines.cpu.comparison import have_equal_voxels
from wkgpu.engines.cpu.encoder import CpuEncoder, projected_nbytes
from wkgpu.engines.cpu.memory import output_memory
from wkgpu.engines.cpu.reader import CpuReader
from wkgpu.engines.cpu.tasks import rows_per_task
from wkgpu.engines.cpu.thread_buffers import ThreadBuffers
from wkgpu.engines.footprint import check_launch, check_read_plan, check_write_plan
from wkgpu.engines.interchange import from_dlpack
from wkgpu.engines.kernel import Kernel
from wkgpu.engines.threads import ThreadTeam
from wkgpu.engines.tuning import Tuning
from wkgpu.errors import ShapeError, TooLargeError
from wkgpu.settings import config
from wkgpu.storage.codecs import Codec
from wkgpu.storage.plans.comparison import ComparisonPlan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.plans.write import WritePlan

_PLACE = "this process"
_LAUNCH_TASKS = 64  # enough that no thread waits long for another one's last
_MIN_LAUNCHED_ITEMS = 1 << 14  # worth the microseconds that a task costs


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

    def share(self, nbytes: int) -> AbstractContextManager[int]:
        """The system gives all of it."""
        return nullcontext(nbytes)

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

    def check_room(self, nbytes: int, what: str, advice: str = host_memory.READ_LESS) -> None:
        """Compare with the memory that this process can take; see `Engine.check_room`."""
        if nbytes <= host_memory.available_bytes() or output_memory.has(nbytes):
            return
        output_memory.clear()
        free = host_memory.available_bytes()
        if nbytes > free:
            raise TooLargeError(host_memory.no_room(what, nbytes, free, _PLACE, advice))

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
        reader = CpuReader(plan, self._team, self._buffers)
        check_chunk_room(self, plan, lambda: reader.projected_nbytes)
        reader.run(sources, out)

    def projected_nbytes(self, plan: ReadPlan) -> int:
        """Return what the threads take; see `Engine.projected_nbytes`."""
        return CpuReader(plan, self._team, self._buffers).projected_nbytes

    def write(self, plan: WritePlan, data: NDArray[Any]) -> None:
        """Encode a box of voxels and store it in a shard; see `Engine.write`."""
        check_write_plan(plan, data)
        check_chunk_room(self, plan, lambda: projected_nbytes(plan))
        encoder = CpuEncoder(plan, data, self._buffers)
        count = len(plan.touched.ordinal)
        rows = rows_per_task(count, plan.pieces.nbytes)
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
        for side in (plan.one, plan.other):
            check_chunk_room(self, side, partial(self._nbytes_comparing, side))
        return have_equal_voxels(plan, sources, self._team, self._buffers)

    def _nbytes_comparing(self, side: ReadPlan) -> int:
        return 2 * self.projected_nbytes(side)

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
