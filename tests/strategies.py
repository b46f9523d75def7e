"""Hypothesis strategies that the tests of all rooms share: vectors, mags, boxes and stored mags."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from wkgpu.geometry import BoundingBox, Mag, NDBoundingBox, Vec3Int, VecInt
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

# A busy machine is no reason to fail; what our function-scoped fixtures make is fresh for each example.
settings.register_profile("wkgpu", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("wkgpu")

# Mostly small numbers, where borders meet, and now and then large ones, where products leave 32 bits.
coordinates = st.integers(-40, 40) | st.integers(-(2**40), 2**40)
extents = st.integers(0, 40) | st.integers(0, 2**40)
small_coordinates = st.integers(-12, 12)
small_extents = st.integers(0, 9)

powers_of_two = st.integers(0, 6).map(lambda exponent: 2**exponent)


def triples(numbers: st.SearchStrategy[int] = coordinates) -> st.SearchStrategy[tuple[int, int, int]]:
    """Three numbers."""
    return st.tuples(numbers, numbers, numbers)


def vec3_ints(numbers: st.SearchStrategy[int] = coordinates) -> st.SearchStrategy[Vec3Int]:
    """Vectors in x, y and z."""
    return triples(numbers).map(Vec3Int)


def axes_names(min_size: int = 1, max_size: int = 5) -> st.SearchStrategy[tuple[str, ...]]:
    """Names of axes in any order."""
    return st.permutations(["x", "y", "z", "t", "c"]).flatmap(
        lambda names: st.integers(min_size, max_size).map(lambda count: tuple(names[:count]))
    )


@st.composite
def vec_ints(draw: st.DrawFn, numbers: st.SearchStrategy[int] = coordinates) -> VecInt:
    """Vectors with one to five named axes."""
    axes = draw(axes_names())
    return VecInt([draw(numbers) for _ in axes], axes=axes)


mag_factors = triples(powers_of_two) | powers_of_two.map(lambda factor: (factor, factor, factor))
mags = mag_factors.map(Mag)


def bounding_boxes(
    corners: st.SearchStrategy[int] = coordinates, sizes: st.SearchStrategy[int] = extents
) -> st.SearchStrategy[BoundingBox]:
    """Boxes in x, y and z; empty ones too, unless `sizes` begins at 1."""
    return st.builds(BoundingBox, triples(corners), triples(sizes))


@st.composite
def nd_bounding_boxes(
    draw: st.DrawFn,
    corners: st.SearchStrategy[int] = coordinates,
    sizes: st.SearchStrategy[int] = extents,
    axes: st.SearchStrategy[tuple[str, ...]] | None = None,
) -> NDBoundingBox:
    """Boxes with one to five named axes in any order."""
    names = draw(axes_names() if axes is None else axes)
    return NDBoundingBox([draw(corners) for _ in names], [draw(sizes) for _ in names], names)


def any_boxes(
    corners: st.SearchStrategy[int] = coordinates, sizes: st.SearchStrategy[int] = extents
) -> st.SearchStrategy[NDBoundingBox]:
    """Boxes of both kinds."""
    return bounding_boxes(corners, sizes) | nd_bounding_boxes(corners, sizes)


@st.composite
def chunkings(draw: st.DrawFn, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """A chunk shape and border alignments that divide it, or None."""
    alignments = tuple(draw(st.integers(1, 4)) for _ in range(ndim))
    shape = tuple(alignment * draw(st.integers(1, 3)) for alignment in alignments)
    return shape, draw(st.sampled_from([alignments, None]))


# ---- Stored mags --------------------------------------------------------------------------------------------------

VOXEL_TYPES = ("uint8", "uint16", "uint32", "uint64", "float32", "float64", "int8", "int16", "int32", "int64")
codecs = st.sampled_from(["raw", "lz4", "lz4hc"])


@st.composite
def layouts(
    draw: st.DrawFn,
    largest_chunk: int = 32,
    largest_shard: int = 8,
    shard_bytes: int = 1 << 19,
    codec: st.SearchStrategy[str] = codecs,
) -> ArraySpec:
    """Any layout that WKW stores, with shards of at most `shard_bytes`, so that examples are fast."""
    dtype = np.dtype(draw(st.sampled_from(VOXEL_TYPES)))
    voxel_bytes = dtype.itemsize * (num_channels := draw(st.sampled_from([1, 1, 2, 3, 4]) | st.integers(1, 31)))
    max_log2 = int((shard_bytes // voxel_bytes) ** (1 / 3) + 1e-6).bit_length() - 1  # log2 of the longest shard edge
    chunk = draw(st.integers(0, min(largest_chunk.bit_length() - 1, max_log2)))
    per_shard = draw(st.integers(0, min(largest_shard.bit_length() - 1, max_log2 - chunk)))
    return ArraySpec(dtype, num_channels, (1 << chunk,) * 3, (1 << per_shard,) * 3, pipeline_of(draw(codec)))


@st.composite
def voxel_boxes(
    draw: st.DrawFn, spec: ArraySpec, shards: int = 2, longest: int = 48
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The first voxel and the shape of a box in the first shards along each axis: aligned to chunks, or not."""
    edge, end = spec.chunk_shape[0], spec.shard_shape[0] * shards
    unit = edge if draw(st.booleans()) else 1
    topleft = tuple(unit * draw(st.integers(0, end // unit - 1)) for _ in range(3))
    shape = tuple(
        min(unit * draw(st.integers(1, max(1, min(end - corner, longest) // unit))), end - corner) for corner in topleft
    )
    return topleft, shape


def voxels(spec: ArraySpec, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Voxels ``(channel, x, y, z)`` of any bits; seeds divisible by 3 make them compressible."""
    random = np.random.default_rng(seed)
    count = spec.num_channels * int(np.prod(shape))
    if seed % 3 == 0:
        return random.integers(0, 3, count).astype(spec.dtype).reshape((spec.num_channels, *shape), order="F")
    bits = np.frombuffer(random.bytes(count * spec.dtype.itemsize), spec.dtype)
    return np.nan_to_num(bits, copy=True).reshape((spec.num_channels, *shape), order="F")
