"""The CUDA engine: shards are read into the memory of a GPU, decoded there as batches, and placed by kernels.

It works on a `wkgpu.engines.cuda.device.Device` and names no GPU library itself. Encoded bytes cross to the GPU, voxels
do not: a read copies each decoded voxel once, from the memory of decoded chunks to the output.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from functools import wraps
from types import ModuleType
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from wkgpu.engines import host_memory
from wkgpu.engines.chunk_room import check_chunk_room
from wkgpu.engines.cuda.batch_sizes import ReadNeeds, WriteNeeds
from wkgpu.engines.cuda.budget import Budget
from wkgpu.engines.cuda.caller_stream import Streams
from wkgpu.engines.cuda.codecs import CODECS, encoder_of, is_placed_as_fetched
from wkgpu.engines.cuda.cuda_errors import translated
from wkgpu.engines.cuda.device import BatchCodec, Device
from wkgpu.engines.cuda.encoder import CudaEncoder
from wkgpu.engines.cuda.placing import lanes_of
from wkgpu.engines.cuda.projection import projected_nbytes
from wkgpu.engines.cuda.reader import CudaReader
from wkgpu.engines.cuda.slots import Slots
from wkgpu.engines.cuda.writer import CudaWriter
from wkgpu.engines.engine import Engine
from wkgpu.engines.footprint import check_comparison_plan, check_launch, check_read_plan, check_write_plan
from wkgpu.engines.kernel import Kernel
from wkgpu.engines.threads import ThreadTeam
from wkgpu.engines.tuning import Tuning
from wkgpu.errors import DeviceError, DeviceLostError, DeviceMemoryError
from wkgpu.forking import cached_property, loading
from wkgpu.storage.codecs import Codec
from wkgpu.storage.plans.comparison import ComparisonPlan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.plans.write import WritePlan

P = ParamSpec("P")
R = TypeVar("R")


def _on_device(method: Callable[Concatenate[CudaEngine, P], R]) -> Callable[Concatenate[CudaEngine, P], R]:
    """Let a method work on a device only in the process that opened it, and only until it is lost."""

    @wraps(method)
    def call(self: CudaEngine, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._check_process()
        if self._lost is not None:
            raise DeviceLostError(f"{self.name} was lost before. {self._lost}")
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self._look_at(error)
            raise

    return call


class CudaEngine:
    """Reads and writes CuPy arrays; see `wkgpu.engines.engine.Engine`.

    Parameters
    ----------
    device : Device
        The machine to work on.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.budget = Budget(device)
        """What calls may take of the device's memory."""
        self.slots = Slots(device, self.budget)
        """Working memory, for the benchmarks to measure single steps with."""
        self.team = ThreadTeam()
        """Threads for what the host does: fetching short ranges, copying untouched chunks."""
        self._process = os.getpid()
        self._lost: str | None = None

    @property
    def name(self) -> str:
        """``"cuda:0"``, ``"cuda:1"``, ..."""
        return self.device.name

    @property
    def xp(self) -> ModuleType:
        """CuPy."""
        return self.device.xp

    @property
    def tuning(self) -> Tuning:
        """See `Engine.tuning`; warps share rows, and enough counters that few threads wait for each other."""
        return Tuning(
            streamed_bytes=1 << 30, reduced_bytes=1 << 30, rows=1 << 12, min_width=32, counters=64,
            labelled_values=1 << 12, labelled_width=1,
        )  # fmt: skip

    @property
    def nbytes_kept(self) -> int:
        """Bytes of the device's memory that are kept between calls, for the next ones."""
        return self.slots.nbytes_kept

    def release(self) -> None:
        """Give all memory back that is kept for the next calls; a device that is lost has nothing to give."""
        self._check_process()
        with suppress(DeviceLostError):  # the next call says so
            self._release()

    @_on_device
    def _release(self) -> None:
        with self.device.active():
            self.slots.release()

    @_on_device
    def active(self) -> AbstractContextManager[Any]:
        """Make this GPU CuPy's current one, and its stream that of the caller."""
        return self.device.active()

    def side_streams(self) -> Streams:
        """Return the stream that calls of this thread work in, unless it is a default one."""
        return self.device.side_streams()

    def asarray(self, data: Any) -> Any:
        """Return data as an array of this device; what is there already is not copied."""
        return self._with_room(lambda: self.device.asarray(data))

    def as_input(self, data: Any) -> Any:
        """Leave NumPy arrays where they are: `write` uploads what it needs of them, batch by batch."""
        return data if isinstance(data, np.ndarray) else self.asarray(data)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return uninitialised memory in Fortran order."""
        return self._with_room(lambda: self.device.empty(shape, dtype))

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """Return zeroed memory in Fortran order."""
        return self._with_room(lambda: self.device.zeros(shape, dtype))

    @_on_device
    def check_room(self, nbytes: int, what: str, advice: str = host_memory.READ_LESS) -> None:
        """Compare with the memory that the device has; see `Engine.check_room`."""
        with self.device.active():
            if nbytes <= self.device.free_bytes():
                return
            self.slots.release()
            free = self.device.free_bytes()
        if nbytes > free:
            raise DeviceMemoryError(host_memory.no_room(what, nbytes, free, self.name, advice))

    def share(self, nbytes: int) -> AbstractContextManager[int]:
        """See `Engine.share`; it is a part of the budget."""
        return self.budget.share(nbytes)

    @_on_device
    def _with_room(self, allocate: Callable[[], Any]) -> Any:
        """Allocate an array, once more without what is kept for the next calls if there is no room."""
        with self.device.active():
            try:
                return allocate()
            except DeviceMemoryError:
                self.slots.release()
            return allocate()

    @_on_device
    def as_output(self, out: Any) -> Any:
        """Return an array of this device on the memory of ``out``; see `Engine.as_output`."""
        with self.device.active():
            return self.device.as_output(out)

    @_on_device
    def read(self, plan: ReadPlan, sources: Sources, out: Any) -> None:
        """Fill every voxel that the plan covers; see `Engine.read`."""
        check_read_plan(plan, out)
        if not len(plan.missing) and not len(plan.chunks):
            return
        check_chunk_room(self, plan, lambda: self.projected_nbytes(plan))
        with self.device.active(), ExitStack() as stack:
            needs = ReadNeeds.of(self.device, plan)
            with self.budget.share(needs.nbytes) as given, self.slots.borrow(given) as slots:
                sizes = needs.sizes(given)
                CudaReader(self.device, self.team, slots, plan, sources, out, sizes, stack).run()

    @_on_device
    def projected_nbytes(self, plan: ReadPlan) -> int:
        """Return the bytes of the device's memory; see `Engine.projected_nbytes`."""
        with self.device.active():
            needs = ReadNeeds.of(self.device, plan)
            return projected_nbytes(self.device, plan, needs.sizes(self.budget.given(needs.nbytes)))

    @_on_device
    def write(self, plan: WritePlan, data: Any) -> None:
        """Encode a box of voxels and store it in a shard; see `Engine.write`.

        What the device cannot encode, LZ4HC and chunks larger than its codec takes, is encoded by the CPU.
        """
        check_write_plan(plan, data)
        touched, of_shard = _part_in_shard(plan)
        part = data[of_shard]
        codec = None if is_placed_as_fetched(plan.spec.codecs, plan.spec.dtype) else encoder_of(plan.spec, self.device)
        with self.device.active():
            if not _can_encode(codec, plan):
                self._cpu.write(touched, self.device.to_host(part))
                return
            check_chunk_room(self, plan, lambda: 2 * plan.pieces.nbytes)
            voxels = part if self.device.is_on_host(part) else self._with_room(lambda: self.device.asarray(part))
            needs = WriteNeeds.of(self.device, touched, codec)
            with ExitStack() as stack, self.budget.share(needs.nbytes) as given, self.slots.borrow(given) as slots:
                rows = needs.fitting_rows(given)
                encoder = CudaEncoder(self.device, self.team, slots, touched, voxels, codec, rows, stack)
                CudaWriter(self.device, self.team, touched, encoder, stack).run()

    @_on_device
    def compare(self, plan: ComparisonPlan, sources: tuple[Sources, Sources]) -> bool:
        """Read two boxes and compare them on the device; see `Engine.compare`."""
        check_comparison_plan(plan)
        if not len(plan.origin):
            return True
        voxels = []
        for side, files in zip((plan.one, plan.other), sources, strict=True):
            out = self.empty((side.spec.num_channels, *side.shape, side.boxes), side.spec.memory_dtype)
            self.read(side, files, out)
            voxels.append(out)
        with self.device.active():
            return bool(self.xp.array_equal(*voxels))

    @_on_device
    def wait(self) -> None:
        """Wait for what the caller's stream has been given."""
        with self.device.active():
            self.device.record_event().wait()

    @_on_device
    def launch(self, kernel: Kernel, rows: int, width: int, *arguments: Any) -> None:
        """Queue a kernel behind what the caller's stream has been given; see `Engine.launch`."""
        if rows <= 0:
            return
        device = self.device
        lanes = lanes_of(device, width)
        blocks = min(-(-rows * lanes // device.threads), device.blocks)
        with device.active():
            check_launch(kernel, rows, arguments)
            device.launch(kernel.compiled_for("cuda"), blocks, rows, lanes, *arguments)

    def decodes(self, codec: Codec) -> bool:
        """Whether `CODECS` has it, and takes it as it is."""
        return codec.name in CODECS and CODECS[codec.name].takes((codec,))

    @cached_property
    def _cpu(self) -> Engine:
        """The CPU engine, for what the device cannot encode."""
        with loading:
            from wkgpu.engines.cpu.engine import CpuEngine  # only now, because most never need it

        return CpuEngine()

    def _look_at(self, error: Exception) -> None:
        """Remember an error that says that the device is lost; raise that which stands for one of CUDA."""
        found = error if isinstance(error, DeviceError) else translated(error, f"Work on {self.name}")
        try:
            if isinstance(found, DeviceLostError):
                self._lost = str(found)
                self.slots.forget()
            if found is not None and found is not error:
                raise found from error
        finally:
            del found  # see `wkgpu.engines.cuda.cuda_errors.reported`

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise DeviceError(
                f"{self.name} was opened by the process {self._process}, and CUDA does not work in the children that a "
                f'process forks. Start them otherwise: multiprocessing.get_context("spawn"), or a DataLoader with '
                f'multiprocessing_context="spawn".'
            )


def _can_encode(codec: BatchCodec | None, plan: WritePlan) -> bool:
    if codec is None:
        return is_placed_as_fetched(plan.spec.codecs, plan.spec.dtype)
    nbytes = plan.pieces.nbytes  # chunks lie one behind the other
    return nbytes <= codec.max_encoded_chunk_bytes and nbytes % codec.encode_alignment == 0


def _part_in_shard(plan: WritePlan) -> tuple[WritePlan, tuple[slice, ...]]:
    """Return the plan of the part of the new voxels that lies in its shard, and which part that is.

    Arrays of other libraries on the host are then copied shard by shard, and never more of them than a shard holds.
    """
    origin = plan.touched.origin
    low = np.maximum(origin.min(axis=0), 0)
    high = np.minimum(origin.max(axis=0) + plan.pieces.shape, plan.shape)
    x, y, z = (high - low).tolist()
    shifted = replace(plan, shape=(x, y, z), touched=plan.touched._replace(origin=origin - low))
    part = tuple(slice(begin, end) for begin, end in zip(low.tolist(), high.tolist(), strict=True))
    return shifted, (slice(None), *part)
