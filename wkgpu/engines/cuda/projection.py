"""How much memory of a device a read is going to take, before anything is done for it."""

from __future__ import annotations

from collections import Counter
from itertools import cycle

from wkgpu.engines.cuda.batches import BatchSizes, ReadBatch, read_batches
from wkgpu.engines.cuda.codecs import codec_of, is_placed_as_fetched
from wkgpu.engines.cuda.device import Device
from wkgpu.engines.cuda.placing import items_described
from wkgpu.engines.cuda.slots import device_capacity
from wkgpu.storage.plans.read import ReadPlan


def projected_nbytes(device: Device, plan: ReadPlan, sizes: BatchSizes) -> int:
    """Return how many bytes the two slots of a read hold at its end, if they are new: see `Engine.projected_nbytes`."""
    pair: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    slots = cycle(pair)
    size = plan.pieces.nbytes
    if len(plan.missing):
        _grow(next(slots), {"table": 8 * items_described(len(plan.missing)), "decoded": size})
    for batch in read_batches(plan, sizes):
        _grow(next(slots), _of_batch(device, plan, batch))
    return sum(device_capacity(nbytes) for slot in pair for nbytes in slot.values())


def _grow(slot: Counter[str], needed: dict[str, int]) -> None:
    """Let the memory of a slot be as large as what is needed next."""
    for name, nbytes in needed.items():
        slot[name] = max(slot[name], nbytes)


def _of_batch(device: Device, plan: ReadPlan, batch: ReadBatch) -> dict[str, int]:
    """Return the bytes of each memory that a batch needs."""
    count, heads, size = batch.last - batch.first, len(batch.heads), plan.pieces.nbytes
    codecs, items = plan.pipelines[batch.codec], items_described(count)
    if is_placed_as_fetched(codecs, plan.spec.dtype):
        return {"staging": batch.nbytes_staged, "table": 8 * items}
    codec = codec_of(codecs, plan.spec.dtype, device, size)
    if codec is None:
        return {"decoded": heads * size, "table": 8 * items}
    decoding = codec.decoding
    return {
        "staging": batch.nbytes_staged, "decoded": heads * size, "table": 8 * (items + decoding.items(heads, size)),
    } | decoding.working_bytes(device, codecs, plan.chunks.nbytes[batch.heads], size)  # fmt: skip
