"""A read whose batches all stay on the GPU, so that each of its steps can be repeated alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle
from types import TracebackType
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.recording import RecordedDecoding, RecordingDevice, RecordingStream
from benchmarks.volumes import Shape
from wkgpu.engines.cuda.batch_sizes import ReadNeeds
from wkgpu.engines.cuda.batches import read_batches, segments_between
from wkgpu.engines.cuda.fetching import Fetcher
from wkgpu.engines.cuda.reader import CudaReader
from wkgpu.engines.cuda.slots import Slot
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.stored_array import StoredArray

_IN_FLIGHT = 2  # batches, as in the engine's two slots


class ResidentRead:
    """Boxes of one shape, read once by the engine's own reader with a slot for each batch.

    Use it in a ``with`` block. It takes the memory of the encoded and of the decoded bytes, beside the output.

    Parameters
    ----------
    toplefts, shape
        First voxels of the boxes and voxels (x, y, z) of each.
    out
        Where to read, shape (channel, x, y, z, box); by default new memory in Fortran order.
    """

    def __init__(
        self, bench: Bench, array: StoredArray, toplefts: Sequence[Shape], shape: Shape, out: Any = None
    ) -> None:
        self._bench = bench
        self._array = array
        self._toplefts = toplefts
        self._box = shape
        spec = array.spec
        self.out = out
        if out is None:
            self.out = bench.engine.empty((spec.num_channels, *shape, len(toplefts)), spec.dtype)
        self._stack = ExitStack()
        self._slots: list[Slot] = []
        self._streams: list[RecordingStream] = []
        self._decoded: list[RecordedDecoding] = []  # one for each slot
        self.plans: list[ReadPlan] = []
        self._planned: list[tuple[ReadPlan, Sources]] = []

    def __enter__(self) -> ResidentRead:
        bench = self._bench
        device = RecordingDevice(bench.device)
        with ExitStack() as stack:
            stack.enter_context(bench.device.active())
            for plan, sources in self._array.read_plans(self._toplefts, self._box):
                stack.enter_context(sources)
                self.plans.append(plan)
                self._planned.append((plan, sources))
                if len(plan.missing):
                    raise ValueError(f"{plan}: only what is stored can be read again step by step")
                sizes = ReadNeeds.of(bench.device, plan).sizes()
                batches = sum(1 for _ in read_batches(plan, sizes))
                slots = [Slot(bench.device, bench.engine.release) for _ in range(max(batches, 1))]
                fence = bench.device.record_event()
                for slot in slots:
                    slot.begin(fence)
                    slot.stream = stream = RecordingStream(slot.stream)
                    self._streams.append(stream)
                with ExitStack() as opened:
                    CudaReader(device, bench.team, slots, plan, sources, self.out, sizes, opened).run()  # type: ignore[arg-type]
                self._slots += slots
            self._decoded = device.decoded
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._slots.clear()
        self._streams.clear()
        self._stack.close()

    # ---- What it is

    @property
    def nbytes(self) -> int:
        """Bytes of the output."""
        return int(self.out.nbytes)

    @property
    def encoded_bytes(self) -> int:
        """Bytes that are fetched."""
        return sum(plan.nbytes_staged for plan in self.plans)

    @property
    def decoded_bytes(self) -> int:
        """Bytes that are decoded; more than the output where boxes cut chunks."""
        return sum(batch.count for batch in self._decoded) * self.plans[0].pieces.nbytes

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return len(self._decoded)

    # ---- Steps

    def fetch(self, number: int = 0) -> None:
        """Fetch all batches into the engine's two slots, and do nothing with them."""
        fetch_alone(self._bench, self._planned)

    def decode(self, number: int = 0) -> None:
        """Decode all batches from the memory where they lie to where their decoded chunks lie."""
        flight: list[Any] = []
        for batch in self._decoded:
            if len(flight) == _IN_FLIGHT:
                flight.pop(0).wait()
            batch.again()
            flight.append(batch.stream.record())
        for event in flight:
            event.wait()

    def place(self, number: int = 0) -> None:
        """Place all decoded chunks into the output."""
        for stream in self._streams:
            stream.again()
        for stream in self._streams:
            stream.record().wait()


def fetch_alone(bench: Bench, plans: Sequence[tuple[ReadPlan, Sources]]) -> None:
    """Fetch what plans want, batch by batch into the engine's two slots, as a read does."""

    def on_failure(code: int, segment: int, offset: int) -> Exception:
        return OSError(f"segment {segment}, file offset {offset}: code {code}")

    with bench.device.active():
        for plan, sources in plans:
            with ExitStack() as stack, bench.slots.borrow() as pair:
                fetcher = Fetcher(bench.device, bench.team, sources.descriptors, stack)
                slots = cycle(pair)
                for batch in read_batches(plan, ReadNeeds.of(bench.device, plan).sizes()):
                    slot = next(slots)
                    slot.finish()
                    staging = slot.memory("staging", batch.nbytes_staged)
                    segments = segments_between(plan.segments, batch.begin, batch.end)
                    fetcher.fetch(segments, staging, batch.nbytes_staged, slot, on_failure)()
                    slot.end()
                for slot in pair:
                    slot.finish()
