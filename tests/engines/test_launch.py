"""Kernels that engines launch: every row is done once, whatever the machine, its threads and its grid."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from arrays import is_simulated, on_host

from wkgpu.engines.footprint import Use
from wkgpu.engines.kernel import NamedKernel

pytest.importorskip("numba_cuda")

from numba import cuda

pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning")


class Counting:
    """Adds to each item of each row what tuples say: ``(addends, (factor,))``."""

    name = "counting"

    def uses(self, rows, target, width, constants):
        return [Use("target", target, rows * width), Use("addends", constants[0], 1)]

    def compiled_for(self, machine):
        return {"cpu": count, "cuda": count_on_cuda}[machine]


def count(first, last, target, width, constants):
    """Do the rows of `Counting` in plain Python."""
    addends, (factor,) = constants
    for place in range(first * width, last * width):
        target[place] += addends[place % width % addends.size] * factor


@cuda.jit
def count_on_cuda(rows, lanes, target, width, constants):
    addends, (factor,) = constants
    for row in range(cuda.grid(1) // lanes, rows, cuda.gridsize(1) // lanes):
        for item in range(cuda.threadIdx.x % lanes, width, lanes):
            target[row * width + item] += addends[item % addends.size] * factor


class OnCpu:
    """Calls a function of the test."""

    name = "a function"

    def __init__(self, function):
        self.function = function

    def uses(self, rows, *arguments):
        return []

    def compiled_for(self, machine):
        return self.function


@pytest.fixture
def counted(engine):
    """What `Counting` makes of zeros."""

    def run(rows, width, constants):
        target = engine.zeros((rows * width + 7,), np.dtype("int64"))
        addends, factors = constants
        engine.launch(Counting(), rows, width, target, width, (engine.asarray(np.array(addends)), factors))
        found = on_host(engine, target)
        assert not found[rows * width :].any(), "nothing behind the rows is touched"
        return found[: rows * width]

    return run


@pytest.mark.parametrize("rows", [0, 1, 2, 63, 64, 65, 1000])
@pytest.mark.parametrize("width", [1, 3, 40])
def test_every_row_is_done_once(engine, counted, config, rows, width):
    if is_simulated(engine) and rows * width > 300:
        rows = 7
    config.threads = 3
    np.testing.assert_array_equal(counted(rows, width, ([1], (1,))), 1)


def test_wide_rows_are_shared_by_tasks(engine, counted, config):
    """Each row is a task of its own on the CPU."""
    if is_simulated(engine):
        pytest.skip("it would take long")
    config.threads = 3
    np.testing.assert_array_equal(counted(5, 1 << 14, ([1], (1,))), 1)


def test_tuples_of_arrays_and_tuples(counted):
    np.testing.assert_array_equal(counted(4, 6, ([1, 2, 3], (5,))), np.tile([5, 10, 15, 5, 10, 15], 4))


def test_launches_follow_each_other(engine):
    """The second one finds what the first one has made."""
    source = engine.asarray(np.arange(64, dtype="uint8"))
    half, quarter = (engine.zeros((count,), np.dtype("uint8")) for count in (8, 1))
    for lines, one, other in (((2, 2, 2), source, half), ((1, 1, 1), half, quarter)):
        strides = 2 * lines[0], 4 * lines[0] * lines[1]
        geometry = 1, lines, (2, 2, 2), 0, strides, 0, (lines[0], lines[0] * lines[1])
        engine.launch(NamedKernel("pooling", "maximum"), lines[1] * lines[2], lines[0], one, other, geometry)
    assert on_host(engine, half).tolist() == [21, 23, 29, 31, 53, 55, 61, 63]
    assert on_host(engine, quarter).tolist() == [63]


def test_many_threads_launch_at_once(engine, config):
    config.threads = 3

    def launch(number):
        target = engine.zeros((60,), np.dtype("int64"))
        engine.launch(Counting(), 20, 3, target, 3, (engine.asarray(np.array([number])), (1,)))
        return on_host(engine, target)

    with ThreadPoolExecutor(4) as executor:
        for number, found in enumerate(executor.map(launch, range(8))):
            np.testing.assert_array_equal(found, number)


class TestCpu:
    def test_threads_work_at_the_same_time(self, cpu, config):
        config.threads = 2
        together = threading.Barrier(2)
        cpu.launch(OnCpu(lambda first, last: together.wait(10)), 2, 1 << 20)

    def test_ranges_cover_all_rows_in_few_tasks(self, cpu, config):
        config.threads = 2
        for rows in (1, 63, 64, 65, 12345):
            ranges = []
            cpu.launch(OnCpu(lambda *span, ranges=ranges: ranges.append(span)), rows, 1 << 20)
            assert len(ranges) <= 64
            assert sorted(row for first, last in ranges for row in range(first, last)) == list(range(rows))

    def test_little_work_is_one_task(self, cpu):
        ranges = []
        cpu.launch(OnCpu(lambda *span: ranges.append(span)), 100, 10)
        assert ranges == [(0, 100)]

    def test_the_first_error_is_raised(self, cpu, config):
        config.threads = 2

        def fail(first, last):
            raise ArithmeticError(f"of rows {first} to {last}")

        with pytest.raises(ArithmeticError, match="of rows"):
            cpu.launch(OnCpu(fail), 64, 1 << 20)


def test_kernels_have_names():
    kernel = NamedKernel("pooling", "median_unsigned")
    assert kernel.compiled_for("cpu").__name__ == "median_unsigned"
    with pytest.raises(ModuleNotFoundError):
        NamedKernel("nothing", "median_unsigned").compiled_for("cpu")
    with pytest.raises(KeyError):
        NamedKernel("pooling", "nothing").compiled_for("cpu")
