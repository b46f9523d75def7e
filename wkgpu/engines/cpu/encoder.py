"""The CPU engine's writes: gathers voxels into chunks, encodes them, and stores them in a shard."""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.assembly import OffsetAllocator, ShardRun
from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.engines.cpu.thread_buffers import ThreadBuffers
from wkgpu.engines.encoded_fill import encoded_fill, fill_pattern, swapped_bytes
from wkgpu.engines.failures import check_write
from wkgpu.engines.voxel_layout import voxel_layout
from wkgpu.kernels.cpu import encoder as kernels
from wkgpu.settings import config
from wkgpu.storage.codecs import pipeline_bound
from wkgpu.storage.plans.write import WritePlan


class CpuEncoder:
    """Stores one array of voxels in one shard; its methods are called by several threads at once.

    Parameters
    ----------
    plan : WritePlan
        Open. Of a shard that is written whole, the bytes of chunks that are filled are set here.
    data : array (channel, x, y, z)
        Of the plan's dtype and shape, with any strides.
    """

    def __init__(self, plan: WritePlan, data: NDArray[Any], buffers: ThreadBuffers) -> None:
        self._plan = plan
        self._data = data
        self._address = data.__array_interface__["data"][0]
        self._layout = voxel_layout(plan.pieces, plan.shape, data, plan.spec.channel_position)
        self._buffers = buffers
        self._origins = np.ascontiguousarray(plan.touched.origin)
        self._sizes = np.zeros(len(self._origins), np.int64)
        spec, size = plan.spec, plan.pieces.nbytes
        swapped, path = swapped_bytes(spec), str(plan.path)
        self._pipelines = kernel_pipelines([spec.codecs], size, swapped, lambda _: path, encodes=True)
        self._pattern = fill_pattern(spec)
        self._fill = b""
        if plan.has_fill:
            self._fill = encoded_fill(spec)
            plan.set_fill(len(self._fill))

    def store_in_place(self, first: int, last: int) -> None:
        """Change the rows ``first`` to ``last`` where they are in the shard, neighbours at a time."""
        size = self._plan.pieces.nbytes
        capacity = (last - first) * size
        with self._buffers.borrow(capacity) as (output,):
            self._encode(first, last, output, capacity, 0, 0, 0)
            image = _memory(output, capacity)
            offsets = self._plan.touched.offset[first:last]
            heads = [0, *((offsets[1:] - offsets[:-1] != size).nonzero()[0] + 1).tolist(), last - first]
            for head, next_head in pairwise(heads):
                self._plan.store(image[head * size : next_head * size], int(offsets[head]))

    def store_run(self, run: ShardRun, number: int, offsets: OffsetAllocator) -> None:
        """Write one run of a shard that is written whole."""
        if run.is_touched:
            self._store_encoded(run, number, offsets)
            return
        plan = self._plan
        offset = offsets.allocate(number, plan.nbytes_between(run.first, run.last))
        if offset is not None:
            plan.store_untouched(run.first, run.last, offset, self._fill)

    def _store_encoded(self, run: ShardRun, number: int, offsets: OffsetAllocator) -> None:
        plan = self._plan
        first, last = run.rows
        capacity = (last - first) * pipeline_bound(plan.spec.codecs, plan.pieces.nbytes)
        with self._borrow(capacity) as (output, scratch, staging, work):
            self._encode(first, last, output, capacity, scratch, staging, work)
            sizes = self._sizes[first:last]
            ordinals = plan.touched.ordinal[first:last]
            plan.stored.nbytes[ordinals] = sizes
            offset = offsets.allocate(number, plan.nbytes_between(run.first, run.last))
            if offset is None:
                return
            ends = [0, *np.cumsum(sizes).tolist()]
            image = _memory(output, ends[-1])
            heads = [0, *((ordinals[1:] - ordinals[:-1] != 1).nonzero()[0] + 1).tolist(), last - first]
            done = run.first
            for head, next_head in pairwise(heads):
                ordinal = int(ordinals[head])
                offset += plan.store_untouched(done, ordinal, offset, self._fill)
                encoded = image[ends[head] : ends[next_head]]
                plan.store(encoded, offset)
                offset += len(encoded)
                done = ordinal + next_head - head

    def _borrow(self, capacity: int) -> AbstractContextManager[tuple[int, ...]]:
        """Lend buffers: encoded chunks, a decoded chunk, an old encoded chunk, and working memory."""
        largest = int(self._plan.touched.nbytes.max(initial=0))
        return self._buffers.borrow(capacity, self._plan.pieces.nbytes, largest, self._pipelines.nbytes)

    def _encode(self, first: int, last: int, output: int, capacity: int, scratch: int, staging: int, work: int) -> None:
        """Encode rows consecutively to an address, and set their sizes."""
        plan = self._plan
        failure = np.zeros(3, np.int64)
        kernels.encode_chunks(
            first, last, -1 if plan.old is None else plan.old.descriptor, plan.touched.offset, plan.touched.nbytes,
            self._origins, self._layout, self._address, self._pipelines.rows[0],
            plan.pieces.nbytes, self._pattern, plan.drops_filled, staging, scratch, work, output, capacity,
            self._sizes, failure,
        )  # fmt: skip
        check_write(plan, failure)


def projected_nbytes(plan: WritePlan) -> int:
    """Return what the threads take that encode large chunks, one each."""
    size = plan.pieces.nbytes
    of_thread = pipeline_bound(plan.spec.codecs, size) + size + int(plan.touched.nbytes.max(initial=0))
    return min(max(config.threads, 1), len(plan.touched.ordinal)) * of_thread


def _memory(address: int, nbytes: int) -> memoryview:
    """Bytes at an address, for the system to write from."""
    return memoryview((ctypes.c_char * nbytes).from_address(address)).cast("B")
