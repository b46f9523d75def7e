"""What liblz4 and the system take on this machine for the steps that others cannot do without.

Each is one step alone, without plans, arrays or Python between chunks, on all the cores of the process. What is faster
does less (`read_many` decodes no planes that it does not need) or does it in another way (wkgpu with noise).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.figures import Figure, Side, measure
from benchmarks.volumes import Shape
from benchmarks.workbench import KINDS, PATCH, Workbench
from wkgpu.kernels.cpu import intrinsics
from wkgpu.storage.formats import open_array
from wkgpu.storage.wkw import morton

_CHUNK_VOXELS = peers.CHUNK**3


def limits(bench: Workbench) -> Iterator[Figure]:
    """Measure the steps that bound reads of patches, whole writes, and writes into a shard."""
    yield measure(
        "limit-patches",
        "limit: fetch, decode a 64³ patch's chunks",
        _decode_patches(bench),
        bench.sizes.rounds,
        count=bench.sizes.patches,
    )
    for kind, label in KINDS.items():
        volume = bench.volume(kind)
        yield measure(
            f"limit-write-{kind}",
            f"limit: encode chunks in memory: {label}",
            _encode(volume),
            bench.sizes.rounds,
            nbytes=volume.nbytes,
        )
    yield measure(
        "limit-write-patch",
        "limit: copy the shard and rename the copy",
        _copy(bench.copy(bench.dataset("shard", peers.LZ4HC), "copied")),
        bench.sizes.rounds,
        count=1,
    )


def _decode_patches(bench: Workbench) -> Side:
    path = bench.dataset("shard")
    file = open_array(peers.mag_folder(path)).open_shard((0, 0, 0))
    assert file is not None
    rounds = []
    for number in range(bench.sizes.rounds):
        chunks = [chunks_of_box(offset, PATCH) for offset in bench.patch_offsets(number, bench.sizes.patches)]
        rounds.append(file.index.extents(morton.codes_of(np.concatenate(chunks))))

    def run(number: int) -> None:
        offsets, lengths = rounds[number]
        on_all_cores(
            lambda part: _decode(
                file.descriptor, offsets[part].copy(), lengths[part].copy(), np.empty(1 << 16, np.uint8),
                np.empty(_CHUNK_VOXELS, np.uint8),
            ),
            len(offsets),
        )  # fmt: skip

    return Side("liblz4", run)


def chunks_of_box(offset: Shape, shape: Shape) -> NDArray[np.int64]:
    """List the chunks ``(n, 3)`` that a box touches."""
    spans = [np.arange(o // peers.CHUNK, (o + n - 1) // peers.CHUNK + 1) for o, n in zip(offset, shape, strict=True)]
    return np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)


def _encode(volume: NDArray[Any]) -> Side:
    chunks = chunks_in_memory(volume)

    def run(number: int) -> None:
        on_all_cores(lambda part: _encode_rows(chunks[part], np.empty(1 << 20, np.uint8)), len(chunks))

    return Side("liblz4", run)


def chunks_in_memory(volume: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the chunks of a volume ``(x, y, z)`` one after another, as bytes ``(chunks, bytes)``."""
    side = peers.CHUNK
    i, j, k = (length // side for length in volume.shape)
    blocks = volume.reshape(side, i, side, j, side, k, order="F").transpose(0, 2, 4, 1, 3, 5)
    return np.asfortranarray(blocks).reshape(-1, order="F").view(np.uint8).reshape(i * j * k, -1)


def _copy(path: Path) -> Side:
    shard = next(peers.mag_folder(path).rglob("x*.wkw"))
    copy = shard.with_suffix(".copy")

    def run(number: int) -> None:
        with shard.open("rb") as source, copy.open("wb") as target:
            done = 0
            while count := os.copy_file_range(source.fileno(), target.fileno(), 1 << 30, done, done):
                done += count
            copy.replace(shard)

    return Side("the system", run)


def on_all_cores(work: Callable[[slice], object], count: int) -> None:
    cores = len(os.sched_getaffinity(0))
    cuts = [count * core // cores for core in range(cores + 1)]
    threads = [threading.Thread(target=work, args=(slice(*cut),)) for cut in pairwise(cuts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@njit(nogil=True)
def _decode(descriptor, offsets, lengths, staging, target):
    for row in range(offsets.size):
        intrinsics.pread(np.int32(descriptor), staging.ctypes.data, lengths[row], offsets[row])
        intrinsics.lz4_decode(staging.ctypes.data, target.ctypes.data, np.int32(lengths[row]), np.int32(target.size))


@njit(nogil=True)
def _encode_rows(chunks, target):
    state = np.zeros(intrinsics.LZ4_STATE_BYTES, np.uint8)
    intrinsics.lz4_begin(state.ctypes.data, state.size)
    for row in range(chunks.shape[0]):
        intrinsics.lz4_encode(
            state.ctypes.data, chunks[row].ctypes.data, target.ctypes.data, np.int32(chunks.shape[1]),
            np.int32(target.size), np.int32(1),
        )  # fmt: skip
