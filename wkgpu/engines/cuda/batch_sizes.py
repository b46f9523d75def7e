"""How large the batches of a call are: as many chunks as keep a GPU busy, in no more memory than the call is given.

A batch of labels of 2,048 chunks is decoded on an H100 in hardly less time than one of 8,192, so that small batches
waste the GPU. A large call has several batches, because one is fetched while another one is decoded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wkgpu.engines.cuda.batches import BatchSizes
from wkgpu.engines.cuda.codecs import codec_of, is_placed_as_fetched
from wkgpu.engines.cuda.device import BatchCodec, Device
from wkgpu.engines.cuda.placing import items_described
from wkgpu.settings import config
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.write import WritePlan

MIN_CHUNKS = 2048
ROW_COST = 8 * (items_described(1) - items_described(0))
"""Bytes of a table that says how a chunk is placed."""
_BATCHES = 4
_SLOTS = 2
_SAMPLE = 64  # chunks of which it is asked in how much memory they are decoded
_NUMBERS = 64  # bytes that say of a chunk what to encode, and what has become of it
_ALIGNED = 8 << 10  # bytes that aligning each memory of a slot takes, for all of them together


class ReadNeeds(NamedTuple):
    """What a read would take if there was room for all of it.

    Attributes
    ----------
    nbytes : int
        Bytes of the device's memory, in both slots.
    costs : tuple of int
        As in `BatchSizes`.
    fixed : int
        Bytes of a slot that do not depend on how many chunks a batch has.
    chunks : int
        As in `BatchSizes`.
    """

    nbytes: int
    costs: tuple[int, ...]
    fixed: int
    chunks: int

    @classmethod
    def of(cls, device: Device, plan: ReadPlan) -> ReadNeeds:
        """Look at a plan."""
        size, rows = plan.pieces.nbytes, len(plan.chunks)
        pipelines = [_of_pipeline(device, size, codecs, plan.spec.dtype) for codecs in plan.pipelines]
        costs = tuple(pipeline.cost for pipeline in pipelines)
        chunks = max([-(-rows // _BATCHES), MIN_CHUNKS, *(pipeline.min_chunks for pipeline in pipelines)])
        fixed = 8 * items_described(0) + max((pipeline.fixed for pipeline in pipelines), default=0)
        if len(plan.missing):
            fixed += size + len(plan.missing) * ROW_COST
        each = max(costs, default=0) + ROW_COST
        largest = min(plan.nbytes_staged, config.batch_bytes) + each * max(min(chunks, config.batch_bytes // size), 1)
        whole = plan.nbytes_staged + each * rows
        return cls(_SLOTS * _rounded(min(whole, largest) + fixed), costs, fixed, chunks)

    def sizes(self, given: int | None = None) -> BatchSizes:
        """Return what batches may have where a read has been given memory; by default as much as it wants."""
        given = self.nbytes if given is None else given
        memory = max(_before_rounding(given // _SLOTS) - self.fixed, 0)
        return BatchSizes(self.chunks, config.batch_bytes, memory, self.costs, ROW_COST)


class _OfPipeline(NamedTuple):
    """What chunks of one pipeline take of a slot's memory besides the bytes that are fetched."""

    cost: int = 0
    """Of each chunk."""
    fixed: int = 0
    """Of a batch."""
    min_chunks: int = 0
    """From which on a batch uses the GPU well."""


def _of_pipeline(device: Device, size: int, codecs: Pipeline, dtype: np.dtype[np.generic]) -> _OfPipeline:
    if is_placed_as_fetched(codecs, dtype):
        return _OfPipeline()
    codec = codec_of(codecs, dtype, device, size)
    if codec is None:
        return _OfPipeline(size)
    decoding = codec.decoding
    items = decoding.items(1, size)
    together = decoding.working_bytes(device, codecs, np.full(_SAMPLE, size, np.int64), size)
    work = -(-sum(together.values()) // _SAMPLE)
    return _OfPipeline(size + work + 8 * (decoding.items(2, size) - items), 8 * items, decoding.min_batch_chunks)


class WriteNeeds(NamedTuple):
    """What a write would take if there was room for all of it.

    Attributes
    ----------
    nbytes : int
        Bytes of the device's memory, in both slots.
    rows : int
        Chunks of a batch.
    cost, fixed : int
        Bytes of a slot for each of them, and for any batch.
    """

    nbytes: int
    rows: int
    cost: int
    fixed: int

    @classmethod
    def of(cls, device: Device, plan: WritePlan, codec: BatchCodec | None) -> WriteNeeds:
        """Look at a plan; without a codec, its chunks are stored as they are."""
        size, count = plan.pieces.nbytes, len(plan.touched.ordinal)
        cost, fixed = size + ROW_COST, 8 * items_described(0)
        if codec is not None:  # encoded chunks, packed ones, old ones, and what both codecs work in
            cost += 3 * codec.bound(size) + -(-codec.encode_temp_bytes(MIN_CHUNKS, size) // MIN_CHUNKS) + _NUMBERS
            old = _of_pipeline(device, size, plan.spec.codecs, plan.spec.dtype)
            cost, fixed = cost + old.cost - size, fixed + old.fixed
        rows = min(count, max(-(-count // _BATCHES), MIN_CHUNKS), max(config.batch_bytes // size, 1))
        return cls(_SLOTS * _rounded(rows * cost + fixed), rows, cost, fixed)

    def fitting_rows(self, given: int) -> int:
        """Return how many chunks a batch has where a write has been given memory."""
        return max(min(self.rows, (_before_rounding(given // _SLOTS) - self.fixed) // self.cost), 1)


def _rounded(nbytes: int) -> int:
    """Return what memory is as large as this after `device_capacity` has rounded its parts up."""
    return -(-nbytes * 9 // 8) + _ALIGNED


def _before_rounding(nbytes: int) -> int:
    """Return how much may be asked for so that it is no more than this afterwards."""
    return max(nbytes - _ALIGNED, 0) * 8 // 9
