"""Functions of voxels against NumPy: as plain Python, each lane in turn, and built for the CPU and for CUDA."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.test_placement import in_turn, lanes
from wkgpu.kernels.bodies import arithmetic, functions, mapping
from wkgpu.kernels.cpu import row_kernels as on_cpu

shapes = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))


def weighted(*arguments):
    *voxels, weight = arguments
    return sum(np.int64(value) * (number + 1) for number, value in enumerate(voxels)) + weight


class Mapped:
    """Sources of a shape, a target around that shape, and where in it they go."""

    def __init__(self, shape, room, count):
        random = np.random.default_rng(0)
        self.shape = shape
        self.sources = tuple(random.integers(0, 100, int(np.prod(shape))).astype(np.uint8) for _ in range(count))
        outer = [length + 2 * more for length, more in zip(shape, room, strict=True)]
        self.target = random.integers(-9, -1, int(np.prod(outer))).astype(np.int32)
        strides = outer[0], outer[0] * outer[1]
        self.geometry = shape, room[0] + room[1] * strides[0] + room[2] * strides[1], strides
        self.expected = self.target.copy()
        self._part = tuple(slice(more, more + length) for length, more in zip(shape, room, strict=True))
        self._outer = outer

    def expect(self, values):
        self.expected.reshape(self._outer, order="F")[self._part] = values.reshape(self.shape, order="F")

    @property
    def rows(self):
        return self.shape[1] * self.shape[2]

    def arguments(self, *constants):
        return self.target, self.geometry, self.sources, constants

    def check(self):
        np.testing.assert_array_equal(self.target, self.expected)


@given(shapes, st.tuples(*[st.integers(0, 2)] * 3), st.integers(1, 4), lanes, st.integers(1, 3))
def test_lanes_share_lines(shape, room, count, lanes, steps):
    made = Mapped(shape, room, count)
    body = mapping.MAPS[count - 1]
    in_turn(body, made.rows, steps, lanes, weighted, *made.arguments(7))
    made.expect(sum(source.astype(int) * (number + 1) for number, source in enumerate(made.sources)) + 7)
    made.check()


@given(shapes, st.tuples(*[st.integers(0, 2)] * 3), lanes)
def test_runs_are_computed_once(shape, room, lanes):
    made, calls = Mapped(shape, room, 1), []
    made.sources[0][:] //= 50  # long runs

    def called(value):
        calls.append(value)
        return value

    in_turn(mapping.map_runs, made.rows, 1, lanes, called, *made.arguments())
    made.expect(made.sources[0])
    made.check()
    if lanes == 1:
        lines = made.sources[0].reshape(-1, shape[0])
        assert len(calls) == len(lines) + np.count_nonzero(np.diff(lines, axis=1))


def one(a, weight):
    return a + weight


def two(a, b, weight):
    return a + 2 * b + weight


def three(a, b, c, weight):
    return a + 2 * b + 3 * c + weight


def four(a, b, c, d, weight):
    return a + 2 * b + 3 * c + 4 * d + weight


@pytest.mark.parametrize("function", [one, two, three, four])
def test_functions_of_users_on_the_cpu(function):
    count = function.__code__.co_argcount - 1
    made = Mapped((40, 3, 2), (1, 2, 3), count)
    on_cpu.function_kernel(function, count)(0, made.rows, *made.arguments(7))
    made.expect(sum(source.astype(int) * (number + 1) for number, source in enumerate(made.sources)) + 7)
    made.check()


def test_divisions_by_zero_raise_nothing():
    made = Mapped((4, 1, 1), (0, 0, 0), 1)
    on_cpu.function_kernel(lambda value: value // (value - value), 1)(0, 1, *made.arguments())


# ---- What comes with wkgpu


def sample(dtype):
    """Voxels of a dtype, in short runs, and among them its greatest ones."""
    values = np.random.default_rng(0).integers(0, 100, 60)
    source = np.repeat(values, 3).astype(dtype)
    if source.dtype.kind == "i":
        source[50:100] *= -1
    limits = np.iinfo(dtype) if source.dtype.kind in "iu" else np.finfo(dtype)
    source[:2] = limits.max, limits.min
    return source


CASES = {
    "threshold": ((50, 3, 4), lambda a: 4 if a >= 50 else 3),
    "clip": ((20, 60), lambda a: min(max(a, 20), 60)),
    "look_up": ((np.arange(50, 110), 9), lambda a: a + 50 if 0 <= a < 60 else 9),
    "look_up_or_keep": ((np.arange(50, 110),), lambda a: a + 50 if 0 <= a < 60 else a),
    "search": ((np.arange(0, 90, 7), np.arange(90, 0, -7), 9), lambda a: 90 - a if a in range(0, 90, 7) else 9),
    "search_or_keep": ((np.arange(0, 90, 7), np.arange(90, 0, -7)), lambda a: 90 - a if a in range(0, 90, 7) else a),
}
SIMULATED = [pytest.param("simulator"), pytest.param("gpu", marks=pytest.mark.gpu)]


@pytest.fixture(params=["cpu", *SIMULATED])
def launch(request):
    """Runs one of the kernels that have a name on arrays of NumPy."""
    if request.param == "cpu":
        return lambda name, rows, *arguments: on_cpu.named_kernel("mapping", name)(0, rows, *arguments)
    pytest.importorskip("numba_cuda")
    from wkgpu.kernels.cuda import row_kernels as on_cuda

    if request.param == "gpu":
        return lambda name, rows, *arguments: on_cuda.named_kernel("mapping", name)[3, 64](rows, 32, *arguments)
    request.getfixturevalue("simulated_device")
    from simulated_device import simulate

    return lambda name, rows, *arguments: simulate(
        on_cuda.named_kernel("mapping", name), (3, 1), 4, rows, 2, *arguments
    )


@pytest.mark.parametrize("dtype", ["int8", "uint32", "uint64", "int64"])
@pytest.mark.parametrize("name", CASES)
def test_kernels_with_a_name(launch, name, dtype):
    constants, function = CASES[name]
    source = sample(dtype)
    target = np.zeros(len(source) + 1, dtype)
    typed = tuple(np.asarray(value).astype(dtype)[()] for value in constants)
    launch(name, 18, target, ((10, 6, 3), 1, (10, 60)), (source,), typed)
    assert target[0] == 0
    assert target[1:].tolist() == [function(value) for value in source.tolist()]  # ids of 64 bits are exact


@pytest.mark.parametrize("dtype", ["int16", "uint64", "float32"])
def test_rescale(launch, dtype):
    source = sample(dtype)
    numbers = (3.0, 0.7, 5.0, 6.0, 60.0)
    geometry = (10, 6, 3), 0, (10, 60)
    exact = (source.astype(float) - 3) * 0.7 + 5
    found = np.zeros(len(source), np.uint8)
    launch("rescale_to_integer", 18, found, geometry, (source,), numbers)
    np.testing.assert_array_equal(found, np.clip(np.rint(exact), 6, 60))
    floats = np.zeros(len(source), np.float32)
    launch("rescale_to_float", 18, floats, geometry, (source,), numbers)
    np.testing.assert_array_equal(floats, np.clip(exact, 6, 60).astype(np.float32))


def test_nan(launch):
    source = np.array([np.nan, 2.0], np.float32)
    geometry = (2, 1, 1), 0, (2, 2)
    found = np.zeros(2, np.uint8)
    launch("rescale_to_integer", 1, found, geometry, (source,), (0.0, 10.0, 0.0, 5.0, 255.0))
    assert found.tolist() == [5, 20]
    floats = np.zeros(2, np.float32)
    launch("rescale_to_float", 1, floats, geometry, (source,), (0.0, 10.0, 0.0, 5.0, 255.0))
    np.testing.assert_array_equal(floats, [np.nan, 20])
    launch("clip", 1, floats, geometry, (source,), (np.float32(3), np.float32(4)))
    np.testing.assert_array_equal(floats, [np.nan, 3])
    launch("threshold", 1, found, geometry, (source,), (np.float32(1), np.uint8(0), np.uint8(1)))
    assert found.tolist() == [0, 1]


def test_mask(launch):
    source, inside = sample("uint32"), sample("uint8") // 50
    target = np.zeros(len(source), np.uint32)
    launch("mask", 18, target, ((10, 6, 3), 0, (10, 60)), (source, inside), (np.uint32(7),))
    np.testing.assert_array_equal(target, np.where(inside, source, 7))


@given(st.lists(st.integers(-20, 20), unique=True).map(sorted), st.integers(-25, 25))
def test_lower_bound(keys, value):
    assert functions.lower_bound(value, np.array(keys, int)) == np.searchsorted(keys, value)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_arithmetic(a, b):
    assert arithmetic.add(a, b) == a + b
    assert arithmetic.multiply(a, b) == a * b
    assert arithmetic.rounded(a) == round(a)
