"""What the C functions of codecs take on all cores, without plans and arrays: from memory into a chunk in the cache.

Where a codec does little but copy, that is no limit of a read: bytes come out of a file, and voxels go to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks.figures import Side
from benchmarks.limits import chunks_in_memory, on_all_cores
from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.kernels.cpu import intrinsics, pipeline
from wkgpu.kernels.cpu.files import take
from wkgpu.storage.codecs import pipeline_bound
from wkgpu.storage.stored_array import StoredArray

CODEC = "codec alone"

_TAKEN = 16
"""Chunks that a core takes at a time: it need not be given the harder half."""


def decoding(
    array: StoredArray, rounds: Sequence[NDArray[np.int64]], *, fetches: bool = False, stores: bool = False
) -> Side:
    """Decode chunks of the first shard.

    Parameters
    ----------
    rounds
        For each round, or for all of them, the chunks ``(n, 3)`` by their places in the shard.
    fetches
        Whether each is first read out of the file, in the system's cache, rather than out of memory.
    stores
        Whether each is decoded to memory of its own, rather than all to the same.
    """
    spec = array.spec
    file = array.open_shard((0, 0, 0))
    assert file is not None
    extents = [file.index.extents(array.chunk_ordinals(chunks)) for chunks in rounds]
    file.close()
    stored = np.empty(0, np.uint8) if fetches else np.fromfile(file.path, np.uint8)
    kernel = kernel_pipelines([spec.codecs], spec.chunk_bytes, 0, lambda _: file.path)
    most = max(len(offsets) for offsets, _ in extents)
    voxels = np.zeros(most * spec.chunk_bytes if stores else 0, np.uint8)

    def work(number: int, taken: NDArray[np.int64]) -> None:
        memory = np.zeros(kernel.decoder_bytes + 64, np.uint8)
        target = voxels if stores else np.empty(spec.chunk_bytes, np.uint8)
        failure, (offsets, lengths) = np.zeros(3, np.int64), extents[number % len(extents)]
        where = taken, kernel.rows, offsets, lengths, _aligned(memory), target, spec.chunk_bytes, failure
        if fetches:
            with open(file.path, "rb") as opened:  # noqa: PTH123
                _decode(opened.fileno(), np.empty(int(lengths.max()), np.uint8), *where)
        else:
            _decode(-1, stored, *where)
        assert failure[0] == 0

    others = ["file"] * fetches + ["memory"] * stores
    return Side(CODEC if not others else f"codec, {' and '.join(others)}", _on_all(work))


def encoding(array: StoredArray, volume: NDArray[Any]) -> Side:
    """Encode a volume ``(x, y, z)`` of whole chunks, which lie in memory one after another."""
    spec = array.spec
    chunks = chunks_in_memory(volume)
    kernel = kernel_pipelines([spec.codecs], spec.chunk_bytes, 0, lambda _: "a chunk", encodes=True)

    def work(number: int, taken: NDArray[np.int64]) -> None:
        memory = np.zeros(kernel.nbytes + 64, np.uint8)
        target = np.empty(pipeline_bound(spec.codecs, spec.chunk_bytes), np.uint8)
        _encode(taken, kernel.rows, chunks, _aligned(memory), target)

    return Side(CODEC, _on_all(work))


def _on_all(work: Callable[[int, NDArray[np.int64]], None]) -> Callable[[int], None]:
    def run(number: int) -> None:
        taken = np.zeros(1, np.int64)
        on_all_cores(lambda _: work(number, taken), 1 << 20)

    return run


def _aligned(memory: NDArray[np.uint8]) -> int:
    address = int(memory.ctypes.data)
    return address + -address % 64


@njit(nogil=True)
def _decode(descriptor, stored, taken, pipelines, offsets, lengths, work, target, size, failure):
    """Decode what is stored in memory, or with a descriptor what is read out of its file into that memory before."""
    pipeline.begin_decoding(pipelines[0], work)
    memory, step = np.int64(stored.ctypes.data), size if target.size > size else 0
    while True:
        first = take(taken, _TAKEN)
        if first >= offsets.size:
            return
        for row in range(first, min(first + _TAKEN, offsets.size)):
            source = memory if descriptor >= 0 else memory + offsets[row]
            if descriptor >= 0:
                intrinsics.pread(np.int32(descriptor), source, lengths[row], offsets[row])
            place = target.ctypes.data + row * step
            pipeline.decode(pipelines[0], source, lengths[row], place, size, size, work, row, failure)


@njit(nogil=True)
def _encode(taken, pipelines, chunks, work, target):
    pipeline.begin_encoding(pipelines[0], work)
    while True:
        first = take(taken, _TAKEN)
        if first >= len(chunks):
            return
        for row in range(first, min(first + _TAKEN, len(chunks))):
            pipeline.encode(
                pipelines[0], chunks[row].ctypes.data, chunks.shape[1], target.ctypes.data, target.size, work, False
            )
