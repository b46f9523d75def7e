"""Reductions, against NumPy: as plain Python, each lane in turn, and built for the CPU and for CUDA."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.test_mapping import SIMULATED
from kernels.test_placement import lanes
from wkgpu.kernels.bodies import reductions
from wkgpu.kernels.cpu import row_kernels as on_cpu

rows_of = st.integers(1, 40)


def values_of(count, dtype, end=100, seed=0):
    """Values in short runs; negative ones, too, where there are some."""
    values = np.random.default_rng(seed).integers(0, end, count)
    values = np.repeat(values, 3)[:count]
    return (values - end // 2 if np.dtype(dtype).kind != "u" else values).astype(dtype)


def rows_and_width(values, width):
    return -(-len(values) // width), width


@pytest.fixture(params=["lanes", "cpu", *SIMULATED])
def launch(request):
    """Runs a kernel on arrays of NumPy, with as many lanes as are asked for where there are any."""
    if request.param == "lanes":

        def run(name, rows, lanes, *arguments):
            for worker in [(first, rows, 2, lane, lanes) for first in range(2) for lane in range(lanes)]:
                with mock.patch.object(reductions, "share", lambda *_, worker=worker: worker):
                    getattr(reductions, name)(0, rows, *arguments)

        return run
    if request.param == "cpu":
        return lambda name, rows, lanes, *arguments: on_cpu.named_kernel("reductions", name)(0, rows, *arguments)
    pytest.importorskip("numba_cuda")
    from wkgpu.kernels.cuda.row_kernels import named_kernel

    if request.param == "gpu":
        return lambda name, rows, lanes, *arguments: named_kernel("reductions", name)[3, 64](rows, lanes, *arguments)
    request.getfixturevalue("simulated_device")
    from simulated_device import simulate

    return lambda name, rows, lanes, *arguments: simulate(
        named_kernel("reductions", name), (2, 1), 8, rows, lanes, *arguments
    )


few = settings(max_examples=25)
lanes_of_kernels = st.sampled_from([1, 2, 8])


@few
@given(st.integers(1, 200), rows_of, st.sampled_from(["uint8", "int16", "uint64", "float32"]), lanes_of_kernels)
def test_extremes(launch, count, width, dtype, lanes):
    values = values_of(count, dtype)
    rows, width = rows_and_width(values, width)
    lowest = np.full(rows * reductions.MAX_LANES, values[0])
    highest = lowest.copy()
    launch("find_extremes", rows, lanes, values, width, lowest, highest)
    assert (lowest.min(), highest.max()) == (values.min(), values.max())


@pytest.mark.parametrize("place", [0, 1, 25, 49])
def test_extremes_of_nan(launch, place):
    values = np.arange(50, dtype=np.float32)
    values[place] = np.nan
    lowest = np.full(5 * reductions.MAX_LANES, values[0])
    highest = lowest.copy()
    launch("find_extremes", 5, 2, values, 10, lowest, highest)
    assert np.isnan(lowest.min())
    assert np.isnan(highest.max())


@few
@given(st.integers(1, 200), rows_of, st.sampled_from(["uint8", "int8"]), lanes_of_kernels, st.integers(1, 9))
def test_values_are_counted(launch, count, width, dtype, lanes, copies):
    values = values_of(count, dtype)
    rows, width = rows_and_width(values, width)
    min_value = int(np.iinfo(dtype).min)
    counters = np.zeros(256 * copies, np.int64)
    launch("count_values", rows, lanes, values, width, counters, min_value, 256)
    expected = np.bincount(values.astype(int) - min_value, minlength=256)
    np.testing.assert_array_equal(counters.reshape(-1, 256).sum(axis=0), expected)


@few
@given(
    st.integers(1, 200), rows_of, st.sampled_from(["uint32", "int64", "uint64", "float32", "float64"]),
    lanes_of_kernels, st.lists(st.integers(-60, 110), min_size=2, max_size=9).map(sorted),
)  # fmt: skip
def test_any_edges(launch, count, width, dtype, lanes, edges):
    values = values_of(count, dtype)
    rows, width = rows_and_width(values, width)
    bins = len(edges) - 1
    counters = np.zeros(bins * rows, np.int64)
    launch("histogram", rows, lanes, values, width, counters, np.array(edges, float), 0.0)
    np.testing.assert_array_equal(counters.reshape(-1, bins).sum(axis=0), np.histogram(values, edges)[0])


@few
@given(st.integers(1, 200), rows_of, st.integers(1, 30), lanes_of_kernels, st.floats(0.9, 1.1))
def test_equal_bins_and_bad_guesses(launch, count, width, bins, lanes, bias):
    """Bins are found whatever the guess; that of a GPU may differ in the last bit."""
    values = values_of(count, "float32") / np.float32(7)
    rows, width = rows_and_width(values, width)
    edges = np.linspace(-7, 7, bins + 1)
    counters = np.zeros(bins * rows, np.int64)
    launch("histogram", rows, lanes, values, width, counters, edges, bins / 14 * bias)
    np.testing.assert_array_equal(counters.reshape(-1, bins).sum(axis=0), np.histogram(values, bins, (-7, 7))[0])


@few
@given(st.integers(1, 200), rows_of, st.sampled_from(["uint8", "uint32", "int64", "uint64"]), st.integers(1, 60))
def test_labels(launch, count, width, dtype, end):
    values = values_of(count, dtype, end)
    rows, width = rows_and_width(values, width)
    runs = np.zeros(rows, np.int64)
    launch("count_runs", rows, 1, values, width, runs)
    lines = [values[row * width : (row + 1) * width] for row in range(rows)]
    assert runs.tolist() == [1 + np.count_nonzero(line[1:] != line[:-1]) for line in lines]
    lengths = [1 << int(found).bit_length() for found in runs]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    labels, counts = np.full(ends[-1], 77, dtype), np.zeros(ends[-1], np.int64)
    launch("count_labels", rows, 1, values, width, ends, labels, counts)
    for row, line in enumerate(lines):
        part = slice(ends[row], ends[row + 1])
        used = counts[part] > 0
        found = dict(zip(labels[part][used].tolist(), counts[part][used].tolist(), strict=True))
        assert found == dict(zip(*(column.tolist() for column in np.unique(line, return_counts=True)), strict=True))


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**64 - 1), lanes)
def test_a_hash_is_no_negative_number(value, lanes):
    number = np.int64(value) if value < 2**63 else np.uint64(value)
    assert 0 <= reductions.hash_slot(number) < 2**48
