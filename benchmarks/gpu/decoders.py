"""The two ways to decode a batch of LZ4 chunks, on the same chunks: wkgpu's kernel, and nvCOMP behind the check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.gpu.bench import KINDS, ORIGIN, Bench
from benchmarks.gpu.figures import GpuFigure, Task, Work, in_turns
from benchmarks.volumes import Shape
from wkgpu.engines.cuda.batch_sizes import ReadNeeds
from wkgpu.engines.cuda.batches import read_batches
from wkgpu.engines.cuda.decoding import Decoding
from wkgpu.engines.cuda.reader import CudaReader
from wkgpu.engines.cuda.slots import BatchTable, Slot
from wkgpu.settings import config

_COMPARED_BYTES = 16 << 20


def decoders(bench: Bench) -> Iterator[Task]:
    """Both volumes, and the few chunks of a patch."""
    for kind, label in KINDS.items():
        for name, shape in ((kind, bench.shape(kind)), (f"patch-{kind}", bench.patch_shape)):
            work = f"decode {'the chunks of a patch' if shape == bench.patch_shape else 'a batch'} alone: {label}"
            yield Task(f"decoders-{name}", work, partial(_compare, bench, kind, f"decoders-{name}", work, shape))


def _compare(bench: Bench, kind: str, name: str, work: str, shape: Shape) -> Iterator[GpuFigure]:
    array = bench.array(kind)
    origin = ORIGIN if shape == bench.shape(kind) else bench.patch_offsets(5, 1)[0]
    with bench.device.active(), ExitStack() as stack:
        plan, sources = next(array.read_plans([origin], shape))
        stack.enter_context(sources)
        batch = next(read_batches(plan, sizes := ReadNeeds.of(bench.device, plan).sizes()))
        out = bench.engine.empty((array.spec.num_channels, *shape, 1), array.spec.dtype)
        works, firsts = [], []
        for decoder in ("kernel", "nvcomp"):
            slot = Slot(bench.device, bench.engine.release)
            opened = stack.enter_context(ExitStack())
            reader = CudaReader(bench.device, bench.team, (slot, slot), plan, sources, out, sizes, opened)
            reader.open(next(sources.windows(plan)))
            staging = slot.memory("staging", batch.nbytes_staged)
            chunks = slot.memory("decoded", len(batch.heads) * plan.pieces.nbytes)
            table = BatchTable(slot, Decoding.items(len(batch.heads), plan.pieces.nbytes))
            with mock.patch.object(config, "cuda_lz4", decoder):
                decoding = reader.decoding(batch, slot, table, staging, chunks)
            table.upload()
            reader.fetch(batch, slot)()
            works.append(Work(decoder, partial(_decode, decoding, slot), amount=decoding.count * decoding.size))
            works[-1].run(0)
            firsts.append(_first_bytes(chunks, slot, plan.pieces.nbytes // plan.pieces.shape[2]))
        np.testing.assert_array_equal(*firsts)
        unit = "GB/s" if shape == bench.shape(kind) else "ms"
        if unit == "ms":
            works = [Work(each.library, each.run) for each in works]
        ours, theirs = in_turns(works, bench.sizes.rounds, unit)
        details: dict[str, Any] = {"chunks": len(batch.heads), "chunk_bytes": plan.pieces.nbytes}
        note = "of the chunks of a patch, the kernel decodes the planes up to the last wanted one"
        yield GpuFigure(name, work, unit, "nvCOMP, checked", ours, theirs, note=note, details=details)


def _decode(decoding: Decoding, slot: Slot, number: int = 0) -> None:
    decoding.queue()
    slot.end()
    slot.finish()


def _first_bytes(chunks: Any, slot: Slot, nbytes: int) -> Any:
    """Return the first bytes of the memory of chunks, which both decoders fill."""
    found = slot.host("compared", min(nbytes, _COMPARED_BYTES))
    slot.stream.download(chunks, 0, found)
    slot.end()
    slot.finish()
    return found.copy()
