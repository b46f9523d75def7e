"""Blocks of voxels made one, against NumPy: the kernels of the CPU, their lanes, and those of CUDA in the simulator."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from strategies import VOXEL_TYPES

from wkgpu.engines.kernel_table import KERNELS
from wkgpu.kernels.bodies import blocks, columns, pooling
from wkgpu.kernels.cpu import row_kernels

pytestmark = [
    pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # NumPy's, where infinities meet
]

OPERATIONS = ("median", "mode", "maximum", "minimum", "mean", "nearest")
# Each is compiled for each voxel type. What only compares voxels is the same text for integers of all lengths.
COMPARED = ("uint8", "int16", "int64", "uint64", "float32", "float64")
DTYPES = {
    operation: COMPARED if operation in ("mode", "maximum", "minimum") else VOXEL_TYPES for operation in OPERATIONS
}
FACTORS = ((2, 2, 2), (2, 2, 1), (1, 1, 2), (1, 2, 2), (2, 1, 2), (1, 1, 1), (3, 1, 2), (4, 4, 2), (8, 8, 4))


def kernel_name(operation, dtype):
    """The kernel of an operation for a voxel type."""
    dtype = np.dtype(dtype)
    if operation == "median":
        return {"u": "median_unsigned", "i": "median_signed", "f": "median_float"}[dtype.kind]
    if operation == "mean" and dtype.kind != "f" and dtype.itemsize < 8:
        return "mean_integer"
    return (
        {"u": "mean_unsigned", "i": "mean_signed", "f": "mean_float"}[dtype.kind] if operation == "mean" else operation
    )


# ---- What NumPy makes of blocks (channel, x, y, z, n), in which y runs fastest, then x, then z


def blocks_of(voxels, factors):
    """The blocks of voxels (channel, x, y, z)."""
    channels, *shape = voxels.shape
    x, y, z = (length // factor for length, factor in zip(shape, factors, strict=True))
    split = voxels.reshape(channels, x, factors[0], y, factors[1], z, factors[2])
    return split.transpose(0, 1, 3, 5, 6, 2, 4).reshape(channels, x, y, z, -1)


def median(found):
    """Integers: the mean of the two in the middle, without its fraction, as Python's integers, which are exact."""
    found = np.sort(found, axis=-1)  # NaN comes last
    low, high = found[..., (found.shape[-1] - 1) // 2], found[..., found.shape[-1] // 2]
    if found.dtype.kind == "f":
        return np.where(np.isnan(found[..., -1]), np.nan, (low + high) / 2).astype(found.dtype)
    total = low.astype(object) + high.astype(object)
    return (np.abs(total) // 2 * np.where(total < 0, -1, 1)).astype(found.dtype)


def mode(found):
    """The first of the values that come most often; a NaN is equal to nothing, and comes once."""
    counts = sum(found == found[..., number : number + 1] for number in range(found.shape[-1]))
    counts = np.maximum(counts, 1)
    return np.take_along_axis(found, counts.argmax(axis=-1)[..., np.newaxis], axis=-1)[..., 0]


def mean(found):
    """Integers: rounded to the nearest, halves up, as Python's integers."""
    if found.dtype.kind == "f":
        return found.astype("float64").mean(axis=-1).astype(found.dtype)
    count = found.shape[-1]
    return ((2 * found.astype(object).sum(axis=-1) + count) // (2 * count)).astype(found.dtype)


MADE = {
    "median": median,
    "mode": mode,
    "maximum": lambda found: found.max(axis=-1),
    "minimum": lambda found: found.min(axis=-1),
    "mean": mean,
}


# ---- Examples


class Memory(NamedTuple):
    """A box of voxels in a larger one, with room around it."""

    channels: int
    before: tuple[int, int, int]
    shape: tuple[int, int, int]
    behind: tuple[int, int, int]

    @property
    def extents(self):
        return self.channels, *map(sum, zip(self.before, self.shape, self.behind, strict=True))

    @property
    def place(self):
        """Where the box begins, and the strides of y and z: as kernels want it."""
        channels, x, y, _ = self.extents
        strides = channels * x, channels * x * y
        return channels * self.before[0] + strides[0] * self.before[1] + strides[1] * self.before[2], strides

    def box_in(self, flat):
        """The box (channel, x, y, z) in all voxels."""
        spans = zip(self.before, self.shape, strict=True)
        return flat.reshape(self.extents, order="F")[:, *(slice(begin, begin + length) for begin, length in spans)]


class Example(NamedTuple):
    """What a kernel is to do."""

    operation: str
    dtype: str
    channels: int
    factors: tuple[int, int, int]
    lines: tuple[int, int, int]
    before: tuple[int, int, int]
    behind: tuple[int, int, int]
    kind: str
    seed: int

    def check(self, launch):
        """Compare all memory of the target with what NumPy makes, after ``launch`` has called a kernel."""
        random = np.random.default_rng(self.seed)
        voxels = tuple(np.multiply(self.lines, self.factors).tolist())
        fine, coarse = (Memory(self.channels, self.before, shape, self.behind) for shape in (voxels, self.lines))
        source, target = (values(self.kind, self.dtype, prod(memory.extents), random) for memory in (fine, coarse))
        expected = target.copy()
        geometry = self.channels, self.lines, self.factors, *fine.place, *coarse.place
        rows, extra = self.lines[1] * self.lines[2], ()
        if self.operation == "nearest":
            extra = [
                np.arange(length) * factor + random.integers(0, factor, length)
                for length, factor in zip(self.lines, self.factors, strict=True)
            ]
            coarse.box_in(expected)[...] = fine.box_in(source)[:, *np.ix_(*extra)]
        else:
            coarse.box_in(expected)[...] = MADE[self.operation](blocks_of(fine.box_in(source), self.factors))
        if self.operation in ("median", "mode"):
            width = self.channels * self.lines[0] + self.seed % 3
            extra = values(self.kind, self.dtype, rows * width * prod(self.factors), random), width
        launch(kernel_name(self.operation, self.dtype), rows, source, target, geometry, *extra)
        if self.operation == "mean" and target.dtype.kind == "f":
            small = 1e-6 if target.itemsize == 4 else 1e-12
            largest = np.abs(source[np.isfinite(source)]).max(initial=0)
            np.testing.assert_allclose(target, expected, rtol=small, atol=small * largest)
        elif self.operation in ("mode", "nearest"):  # one of the voxels, to the last bit
            np.testing.assert_array_equal(target.view(f"u{target.itemsize}"), expected.view(f"u{target.itemsize}"))
        else:
            np.testing.assert_array_equal(target, expected)


def values(kind, dtype, count, random):
    """Voxels that are any numbers, a few small ones, or the least, the greatest and what is special."""
    dtype = np.dtype(dtype)
    if kind == "few":
        return random.integers(0, 3, count).astype(dtype)
    if dtype.kind == "f":
        if kind == "any":
            return random.normal(0, 1000, count).astype(dtype)
        limits = np.finfo(dtype)
        chosen = [0.0, -0.0, 1.0, -2.5, limits.tiny, limits.max / 4096, limits.min / 4096, np.inf, -np.inf, np.nan]
        return random.choice(
            np.array(chosen, dtype), count, p=[0.2, 0.2, 0.2, 0.15, 0.05, 0.05, 0.05, 0.04, 0.04, 0.02]
        )
    limits = np.iinfo(dtype)
    if kind == "any":
        return random.integers(limits.min, limits.max, count, dtype, endpoint=True)
    chosen = [limits.min, limits.min + 1, limits.max // 2, limits.max // 2 + 1, limits.max - 1, limits.max, 0, 1]
    return random.choice(np.array([*chosen, *([-1, -2] if limits.min else [])], dtype), count)


@st.composite
def examples(draw, longest=70, operations=OPERATIONS, dtypes=VOXEL_TYPES, channels=(1, 1, 3), factors=FACTORS):
    shape = draw(st.sampled_from(factors))
    few = st.integers(1, 2 if prod(shape) > 8 else 4)
    room = st.tuples(*[st.integers(0, 3)] * 3)
    return Example(
        draw(st.sampled_from(operations)), draw(st.sampled_from(dtypes)), draw(st.sampled_from(channels)), shape,
        (draw(st.integers(1, longest)), draw(few), draw(few)), draw(room), draw(room),
        draw(st.sampled_from(["any", "few", "special"])), draw(st.integers(0, 1000)),
    )  # fmt: skip


# ---- On the CPU


def on_cpu(name, rows, *arguments):
    """Call a kernel for the rows of three workers, the last of whom would have more of them."""
    share = -(-rows // 3)
    for first in range(0, rows, share):
        row_kernels.named_kernel("pooling", name)(first, first + share, *arguments)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_as_numpy(operation):
    @settings(max_examples=150)
    @given(examples(operations=[operation], dtypes=DTYPES[operation]))
    def check(example):
        example.check(on_cpu)

    check()


@pytest.mark.parametrize(
    ("operation", "dtype"), [(operation, dtype) for operation in OPERATIONS for dtype in DTYPES[operation]]
)
def test_extremes_of_every_voxel_type(operation, dtype):
    for number, factors in enumerate(FACTORS):
        for kind in ("special", "any"):
            Example(operation, dtype, 1, factors, (37, 2, 2), (1, 0, 2), (0, 1, 0), kind, number).check(on_cpu)


def pooled(operation, block, factors, dtype):
    """What a kernel of the CPU makes of one block (x, y, z)."""
    source = np.asarray(block, dtype).reshape(factors, order="F").ravel(order="F")
    target = np.zeros(1, dtype)
    geometry = 1, (1, 1, 1), factors, 0, (factors[0], factors[0] * factors[1]), 0, (1, 1)
    extra = (np.zeros(prod(factors), dtype), 1) if operation in ("median", "mode") else ()
    row_kernels.named_kernel("pooling", kernel_name(operation, dtype))(0, 1, source, target, geometry, *extra)
    return target[0]


@pytest.mark.parametrize(
    ("block", "expected"),
    [([1, 2, 2, 1], 1), ([-1, -2, -2, -1], -1), ([-1, 2, 2, -1], 0), ([-2, 1, 1, -2], 0), ([-128, 127, 127, -128], 0),
     ([127, 127, 126, 126], 126), ([-128, -128, -127, -127], -127)],
)  # fmt: skip
@pytest.mark.parametrize("factors", [(2, 2, 1), (1, 2, 2), (4, 1, 1)])
def test_the_median_of_an_even_count_is_cut_towards_zero(block, expected, factors):
    assert pooled("median", block, factors, "int8") == expected


@pytest.mark.parametrize("factors", [(2, 2, 2), (2, 2, 1), (4, 2, 1), (1, 2, 2), (2, 4, 2), (4, 4, 4)])
def test_of_two_modes_the_first_along_y_then_x_then_z_wins(factors):
    """Two values fill half of the block each, in every order of the axes."""
    for axis in [number for number in range(3) if factors[number] > 1]:
        block = np.indices(factors)[axis] % 2 + 5
        assert pooled("mode", block.ravel(order="F"), factors, "uint16") == 5
    indices = np.indices(factors)
    order = indices[1] + factors[1] * (indices[0] + factors[0] * indices[2])
    assert pooled("mode", order.ravel(order="F"), factors, "uint16") == 0
    rest = np.where(order < 2, 100 + order, order // 2)  # the first two voxels are alone
    assert pooled("mode", rest.ravel(order="F"), factors, "uint16") == (1 if prod(factors) > 2 else 100)


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 1, 2), (4, 4, 4)])
def test_sums_of_64_bits_do_not_overflow(factors):
    for dtype in ("int64", "uint64"):
        limits = np.iinfo(dtype)
        for value in (limits.min, limits.max):
            block = np.full(prod(factors), value, dtype)
            assert pooled("mean", block, factors, dtype) == value
            assert pooled("median", block, factors, dtype) == value


@pytest.mark.parametrize("operation", ["median", "maximum", "minimum", "mean"])
@pytest.mark.parametrize("factors", [(2, 2, 2), (2, 2, 1), (1, 1, 2), (4, 2, 2)])
def test_one_nan_makes_all_nan(operation, factors):
    for place in range(prod(factors)):
        block = np.arange(prod(factors), dtype="float32")
        block[place] = np.nan
        assert np.isnan(pooled(operation, block, factors, "float32"))


@pytest.mark.parametrize("factors", [(2, 2, 2), (2, 2, 1), (4, 2, 2)])
def test_a_nan_comes_once(factors):
    block = np.full(prod(factors), np.nan, "float64")
    assert np.isnan(pooled("mode", block, factors, "float64"))
    block[-1] = 3
    assert np.isnan(pooled("mode", block, factors, "float64"))
    block[-2] = 3
    assert pooled("mode", block, factors, "float64") == 3


# ---- In lanes


def median_in_lanes(worker, source, target, geometry, memory, width):
    pooling.sort_blocks(
        worker, blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns,
        blocks.join_unsigned, source, target, geometry, memory, width,
    )  # fmt: skip


def mode_in_lanes(worker, source, target, geometry, memory, width):
    pooling.sort_blocks(
        worker, blocks.mode_of_8, blocks.mode_of_4, columns.modes_of_columns,
        blocks.join_unsigned, source, target, geometry, memory, width,
    )  # fmt: skip


def maximum_in_lanes(worker, source, target, geometry):
    pooling.pool_blocks(
        worker, blocks.maximum_of_8, blocks.maximum_of_4, blocks.maximum_of_block,
        source, target, geometry,
    )  # fmt: skip


def nearest_in_lanes(worker, source, target, geometry, x_indexes, y_indexes, z_indexes):
    pooling.sample_blocks(worker, source, target, geometry, x_indexes, y_indexes, z_indexes)


LANED = {
    "median_unsigned": njit(median_in_lanes),
    "mode": njit(mode_in_lanes),
    "maximum": njit(maximum_in_lanes),
    "nearest": njit(nearest_in_lanes),
}


@settings(max_examples=150)
@given(
    examples(longest=12, operations=["median", "mode", "maximum", "nearest"], dtypes=["uint16"]),
    st.sampled_from([1, 2, 4, 32]),
    st.integers(1, 3),
)
def test_each_lane_in_turn(example, lanes, workers):
    def launch(name, rows, *arguments):
        for first in range(workers):
            for lane in range(lanes):
                LANED[name]((first, rows, workers, lane, lanes), *arguments)

    example.check(launch)


# ---- On CUDA


@pytest.fixture(params=["loops", pytest.param("gpu", marks=pytest.mark.gpu)])
def on_cuda(request):
    """The kernels of CUDA, in Numba's simulator or on a GPU."""
    pytest.importorskip("numba_cuda")
    from numba import config as numba_config

    if request.param != "gpu" and not numba_config.ENABLE_CUDASIM:
        pytest.skip("Numba does not simulate CUDA here")
    from wkgpu.kernels.cuda.row_kernels import named_kernel

    return lambda name: named_kernel("pooling", name)


small_factors = ((2, 2, 2), (2, 2, 1), (1, 1, 2), (3, 1, 2))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_cuda_on_grids_that_do_not_fit(on_cuda, operation):
    @settings(max_examples=15)
    @given(
        examples(longest=5, operations=[operation], dtypes=["uint8", "int16", "int64", "uint64", "float32"],
                 factors=small_factors),
        st.integers(1, 3),
        st.sampled_from([(1, 1), (1, 4), (2, 4), (4, 4), (8, 8)]),
    )  # fmt: skip
    def check(example, grid, shares):
        lanes, threads = shares

        def launch(name, rows, *arguments):
            on_cuda(name)[grid, threads](rows, lanes, *arguments)

        example.check(launch)

    check()


def test_cuda_sorts_large_blocks(on_cuda):
    for operation in ("median", "mode"):
        example = Example(operation, "uint8", 1, (4, 4, 2), (2, 1, 1), (1, 1, 1), (0, 0, 0), "any", 0)
        example.check(lambda name, rows, *arguments: on_cuda(name)[1, 2](rows, 2, *arguments))


# ---- All of them


def test_every_kernel_is_tested_here():
    tested = {kernel_name(operation, dtype) for operation in OPERATIONS for dtype in VOXEL_TYPES}
    assert tested == {name for topic, name in KERNELS if topic == "pooling"}
