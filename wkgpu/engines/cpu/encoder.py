"""The CPU engine's writes: gathers voxels into chunks, encodes them, and stores them in a shard."""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.assembly import OffsetAllocator, Source, Stretch
from wkgpu.engines.cpu.thread_buffers import ThreadBuffers
from wkgpu.engines.encoded_zeros import encoded_zeros
from wkgpu.engines.failures import check_write
from wkgpu.engines.voxel_layout import voxel_layout
from wkgpu.kernels.cpu import encoder as kernels
from wkgpu.kernels.cpu import intrinsics
from wkgpu.kernels.cpu.codec import LZ4, LZ4HC, RAW
from wkgpu.storage.plans.write import WritePlan

CODECS = {"raw": RAW, "lz4": LZ4, "lz4hc": LZ4HC}
_LZ4HC_LEVEL = 9  # LZ4HC_CLEVEL_DEFAULT of lz4hc.h


class CpuEncoder:
    """Stores one array of voxels in one shard; its methods are called by several threads at once.

    Parameters
    ----------
    plan : WritePlan
        Open. Of a compressed shard, the sizes of chunks that were never written are set here.
    data : array (channel, x, y, z)
        Of the plan's dtype and shape, with any strides.
    """

    def __init__(self, plan: WritePlan, data: NDArray[Any], buffers: ThreadBuffers) -> None:
        self._plan = plan
        self._data = data
        self._address = data.__array_interface__["data"][0]
        self._layout = voxel_layout(plan.pieces, plan.shape, data)
        self._buffers = buffers
        self._origins = np.ascontiguousarray(plan.touched.origin)
        self._sizes = np.zeros(len(self._origins), np.int64)
        self._codec = CODECS[plan.spec.codec]
        self._zero_chunk = b""
        if plan.is_compressed and plan.old is None:
            self._zero_chunk = encoded_zeros(plan.pieces.nbytes)
            plan.sizes[plan.sizes < 0] = len(self._zero_chunk)

    def store_raw(self, first: int, last: int) -> None:
        """Copy the rows ``first`` to ``last`` into their places in a raw shard, neighbours at a time."""
        size = self._plan.pieces.nbytes
        capacity = (last - first) * size
        with self._buffers.lend(capacity) as (output,):
            self._encode(first, last, output, capacity, 0, 0, 0)
            image = _memory(output, capacity)
            offsets = self._plan.touched.offset[first:last]
            heads = [0, *((offsets[1:] - offsets[:-1] != size).nonzero()[0] + 1).tolist(), last - first]
            for head, next_head in pairwise(heads):
                self._plan.store(image[head * size : next_head * size], int(offsets[head]))

    def store_stretch(self, stretch: Stretch, position: int, chain: OffsetAllocator) -> None:
        """Write one stretch of a compressed shard, the one at ``position`` in its chain."""
        if stretch.source is Source.ENCODE:
            self._store_encoded(stretch, position, chain)
            return
        offset = chain.place(position, self._stored_bytes(stretch.first, stretch.last))
        if offset is not None:
            self._store_untouched(stretch.first, stretch.last, offset)

    def _store_encoded(self, stretch: Stretch, position: int, chain: OffsetAllocator) -> None:
        plan = self._plan
        first, last = stretch.rows
        capacity = (last - first) * intrinsics.lz4_bound(plan.pieces.nbytes)
        with self._lend(capacity) as (output, scratch, staging, state):
            self._encode(first, last, output, capacity, scratch, staging, state)
            sizes = self._sizes[first:last]
            ordinals = plan.touched.ordinal[first:last]
            plan.sizes[ordinals] = sizes
            offset = chain.place(position, self._stored_bytes(stretch.first, stretch.last))
            if offset is None:
                return
            ends = [0, *np.cumsum(sizes).tolist()]
            image = _memory(output, ends[-1])
            heads = [0, *((ordinals[1:] - ordinals[:-1] != 1).nonzero()[0] + 1).tolist(), last - first]
            done = stretch.first
            for head, next_head in pairwise(heads):
                ordinal = int(ordinals[head])
                offset += self._store_untouched(done, ordinal, offset)
                run = image[ends[head] : ends[next_head]]
                plan.store(run, offset)
                offset += len(run)
                done = ordinal + next_head - head

    def _store_untouched(self, first: int, last: int, offset: int) -> int:
        """Copy the chunks ``first`` to ``last`` of the old shard, or fill in zeros; returns the bytes written."""
        if first < last:
            if self._plan.old is None:
                self._plan.fill(self._zero_chunk, last - first, offset)
            else:
                self._plan.copy(first, last, offset)
        return self._stored_bytes(first, last)

    def _stored_bytes(self, first: int, last: int) -> int:
        return int(self._plan.sizes[first:last].sum())

    def _lend(self, capacity: int) -> AbstractContextManager[tuple[int, ...]]:
        """Lend buffers: encoded chunks, a decoded chunk, an old encoded chunk, and the encoder's state."""
        largest = int(self._plan.touched.nbytes.max(initial=0))
        state = intrinsics.LZ4_STATE_BYTES if self._codec == LZ4 else intrinsics.LZ4HC_STATE_BYTES
        return self._buffers.lend(capacity, self._plan.pieces.nbytes, largest, state)

    def _encode(
        self, first: int, last: int, output: int, capacity: int, scratch: int, staging: int, state: int
    ) -> None:
        """Encode rows one behind the other to an address, and set their sizes."""
        plan = self._plan
        failure = np.zeros(3, np.int64)
        kernels.encode_chunks(
            first, last, -1 if plan.old is None else plan.old.descriptor, plan.touched.offset, plan.touched.nbytes,
            self._origins, self._layout, self._address, self._codec, _LZ4HC_LEVEL, plan.pieces.nbytes,
            staging, scratch, state, output, capacity, self._sizes, failure,
        )  # fmt: skip
        check_write(plan, failure)


def _memory(address: int, nbytes: int) -> memoryview:
    """Bytes at an address, for the system to write from."""
    return memoryview((ctypes.c_char * nbytes).from_address(address)).cast("B")
