"""The fill value as engines want it: as bytes to repeat, and as an encoded chunk for chunks never written."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.engines.voxel_layout import voxel_layout
from wkgpu.kernels.cpu import encoder as kernels
from wkgpu.storage.codecs import pipeline_bound
from wkgpu.storage.plans.chunk_lookup import Pieces
from wkgpu.storage.spec import ArraySpec


@lru_cache(maxsize=64)
def fill_pattern(spec: ArraySpec, *, as_stored: bool = False) -> int:
    """Return one channel of the fill value, repeated to 8 bytes, as a number of int64.

    Parameters
    ----------
    as_stored : bool
        In the byte order of the files, and not of this machine.
    """
    item = np.frombuffer(spec.fill_bytes, spec.dtype)
    if not as_stored:
        item = item.astype(spec.memory_dtype)
    return int(np.frombuffer(item.tobytes() * (8 // spec.dtype.itemsize), np.int64)[0])


def swapped_bytes(spec: ArraySpec) -> int:
    """Return how many bytes lie in the other order than this machine's, 0 where none do; complex numbers have two."""
    if spec.dtype.isnative:
        return 0
    return spec.dtype.itemsize // 2 if spec.dtype.kind == "c" else spec.dtype.itemsize


@lru_cache(maxsize=8)
def encoded_fill(spec: ArraySpec) -> bytes:
    """Encode a chunk of the fill value, once for all the chunks of all shards."""
    size = spec.chunk_bytes
    pipelines = kernel_pipelines([spec.codecs], size, swapped_bytes(spec), lambda _: "A new shard", encodes=True)
    pieces = Pieces(spec.chunk_shape, (1, 1, 1), size)
    voxel = np.zeros((spec.num_channels, 1, 1, 1), spec.memory_dtype, order="F")
    outside = np.array([spec.chunk_shape], np.int64)  # the one new voxel lies behind the chunk
    nothing, sizes, failure = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(3, np.int64)
    capacity = max(pipeline_bound(spec.codecs, size), 1)
    output = np.empty(capacity, np.uint8)
    scratch, work = np.empty(size, np.uint8), np.empty(pipelines.nbytes + 64, np.uint8)
    address = work.__array_interface__["data"][0]
    kernels.encode_chunks(
        0, 1, -1, nothing, nothing, -outside, voxel_layout(pieces, (1, 1, 1), voxel),
        voxel.__array_interface__["data"][0], pipelines.rows[0], size, fill_pattern(spec), False,
        0, scratch.__array_interface__["data"][0], address + -address % 64, output.__array_interface__["data"][0],
        capacity, sizes, failure,
    )  # fmt: skip
    assert failure[0] == 0
    return output[: sizes[0]].tobytes()
