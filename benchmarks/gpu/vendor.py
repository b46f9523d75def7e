"""wkgpu's thin binding of nvCOMP against nvCOMP's own Python interface, on the same chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.gpu.bench import KINDS, ORIGIN, Bench
from benchmarks.gpu.figures import GpuFigure, Skipped, Task, Work, in_turns
from benchmarks.volumes import Shape
from wkgpu.engines.cuda.batches import Batch, batch_limit, read_batches, segments_between
from wkgpu.engines.cuda.decoding import Decoding
from wkgpu.engines.cuda.fetching import Fetcher
from wkgpu.engines.cuda.reader import CudaReader
from wkgpu.engines.cuda.slots import Slot, Table
from wkgpu.storage.read_plan import ReadPlan

_COMPARED_BYTES = 16 << 20


def vendor(bench: Bench) -> Iterator[Task]:
    """Both volumes, and the few chunks of a patch."""
    for kind, label in KINDS.items():
        work = f"decode a batch, nvCOMP's C functions: {label}"
        yield Task(f"nvcomp-{kind}", work, partial(_compare, bench, kind, f"nvcomp-{kind}", work, bench.shape(kind)))
    work = f"decode a patch's chunks, nvCOMP's C functions: {KINDS['em']}"
    measure = partial(_compare, bench, "em", "nvcomp-patch", work, bench.patch_shape)
    yield Task("nvcomp-patch", work, measure)


def _compare(bench: Bench, kind: str, name: str, work: str, shape: Shape) -> Iterator[GpuFigure]:
    array = bench.array(kind)
    origin = ORIGIN if shape == bench.shape(kind) else bench.patch_offsets(5, 1)[0]
    with bench.device.active(), ExitStack() as stack:
        plan = stack.enter_context(next(array.read_plans([origin], shape)))
        batch = next(read_batches(plan, batch_limit(plan)))
        slot = Slot(bench.device, bench.engine.release)
        out = bench.engine.empty((array.layout.num_channels, *shape, 1), array.layout.dtype)
        thin = _Thin(bench, plan, batch, slot, CudaReader(bench.device, bench.team, (slot, slot), plan, out, stack))
        thin.fetch(stack)
        thin.both()
        theirs = _working_vendor(bench, thin)
        works = [Work("", run, amount=thin.nbytes) for run in (thin.both, theirs.both, thin.decode, theirs.decode)]
        for each in works:
            each.run(0)
        ours, others, decode, their_decode = in_turns(works, bench.sizes.rounds, "GB/s")
        yield GpuFigure(
            name, work, "GB/s", "nvidia.nvcomp: as_arrays, Codec.decode", ours, others,
            note="both with the tables of addresses; wkgpu's also with the statuses, which nvidia.nvcomp does not have",
            details={
                "chunks": len(batch.heads),
                "decode_only_gb_per_s": median(decode),
                "their_decode_only_gb_per_s": median(their_decode),
                "their_sizes": "known beforehand" if theirs.known else "read from the chunks",
            },
        )  # fmt: skip


class _Thin:
    """wkgpu's way to decode a batch that has been fetched."""

    def __init__(self, bench: Bench, plan: ReadPlan, batch: Batch, slot: Slot, reader: CudaReader) -> None:
        self.bench, self.plan, self.batch, self.slot, self._reader = bench, plan, batch, slot, reader
        self.count, self.chunk_bytes = len(batch.heads), plan.pieces.nbytes
        self.nbytes = self.count * self.chunk_bytes
        self.staging = slot.memory("staging", batch.nbytes_staged)
        self.chunks = slot.memory("decoded", self.nbytes)
        self.offsets = plan.chunks.place[batch.heads] - batch.begin
        self.lengths = plan.chunks.nbytes[batch.heads]

    def fetch(self, stack: ExitStack) -> None:
        descriptors = [file.descriptor for file in self.plan.files]
        fetcher = Fetcher(self.bench.device, self.bench.team, descriptors, stack)
        segments = segments_between(self.plan.segments, self.batch.begin, self.batch.end)
        nbytes = self.batch.nbytes_staged
        fetcher.fetch(segments, self.staging, nbytes, self.slot, lambda *what: OSError(str(what)))()
        self.wait()

    def wait(self, settle: Callable[[], None] | None = None) -> None:
        self.slot.end(settle)
        self.slot.finish()

    def both(self, number: int = 0) -> None:
        table = Table(self.slot, Decoding.items(self.count, self.chunk_bytes))
        self._decoding = self._reader.decoding(self.batch, self.slot, table, self.staging, self.chunks)
        table.upload()
        self.decode()

    def decode(self, number: int = 0) -> None:
        self._decoding.queue()
        self.wait()


class _Vendor:
    """The way of nvCOMP's own Python interface."""

    def __init__(self, thin: _Thin, known: bool) -> None:
        self.known = known
        self._thin = thin
        self.target = thin.slot.memory("theirs", thin.nbytes)
        self._describe, self._decode = thin.bench.gpu.vendor_decoder(
            thin.slot.stream, thin.staging, self.target, thin.chunk_bytes, known_sizes=known
        )
        self._described: Any = None

    def both(self, number: int = 0) -> None:
        self._described = self._describe(self._thin.offsets, self._thin.lengths)
        self.decode()

    def decode(self, number: int = 0) -> None:
        self._decode(self._described)
        self._thin.wait()


def _working_vendor(bench: Bench, thin: _Thin) -> _Vendor:
    """Return it as it decodes right: with sizes that are known beforehand, if that works."""
    for known in (True, False):
        try:
            vendor = _Vendor(thin, known)
            vendor.both()
            theirs, ours = (_bytes(memory, thin) for memory in (vendor.target, thin.chunks))
            np.testing.assert_array_equal(theirs, ours)
        except Skipped:
            raise
        except Exception:
            if not known:
                raise
        else:
            break
    return vendor


def _bytes(memory: Any, thin: _Thin) -> Any:
    found = thin.slot.host("compared", min(thin.nbytes, _COMPARED_BYTES))
    thin.slot.stream.download(memory, 0, found)
    thin.wait()
    return found.copy()
