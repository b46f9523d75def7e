"""Functions of voxels through kernels, against NumPy."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from arrays import is_simulated, on_device, tune
from datasets import VOXEL_SIZE, counted, read
from hypothesis import given, settings
from hypothesis import strategies as st

import wkgpu as wk
from wkgpu.engines.kernel import FunctionKernel
from wkgpu.errors import (
    ArgumentError,
    CompilationError,
    DtypeError,
    ReadOnlyError,
    RegionError,
    ShapeError,
)


def weighted(a, b, weight):
    return np.float64(a) + 2.0 * np.float64(b) + weight


@wk.voxel_map
def inverted(value):
    """Make dark what is bright."""
    return 255 - np.int64(value)


def tripled(value):
    return np.int64(value) * 3


@pytest.fixture
def place(tmp_path_factory, device):
    """Makes an empty mag of a layout in a dataset of its own."""

    def make(dtype="uint8", channels=1, chunk=8, shard=16, compress=True):
        dataset = wk.Dataset(tmp_path_factory.mktemp("mapped") / "dataset", voxel_size=VOXEL_SIZE)
        layer = dataset.add_layer("layer", "color", dtype=dtype, num_channels=channels)
        return layer.add_mag(1, chunk_shape=chunk, shard_shape=shard, compress=compress)

    return make


@pytest.fixture
def filled(place):
    """Makes a mag with voxels from a place on, and returns it with them."""

    def make(shape=(12, 10, 9), at=(3, 5, 2), **spec):
        mag_view = place(**spec)
        data = counted(shape, spec.get("dtype", "uint8"), spec.get("channels", 1))
        mag_view.write(on_device(mag_view._engine, data), absolute_offset=at)
        return mag_view, data

    return make


class TestMapVoxels:
    @pytest.mark.covers("View.map_voxels")
    @settings(max_examples=25)
    @given(
        st.sampled_from([("uint8", "uint8", "uint8"), ("float32", "int64", "uint16"), ("uint64", "uint32", "float64")]),
        st.sampled_from([(1, 1), (2, 1), (3, 3)]),
        st.tuples(*[st.integers(1, 20)] * 3),
        st.tuples(*[st.integers(0, 17)] * 3),
        st.tuples(*[st.integers(0, 17)] * 3),
        st.sampled_from([(8, 16), (4, 4), (16, 32)]),
        st.booleans(),
    )
    def test_any_views(self, place, device, dtypes, channels, shape, at, goal, spec, compress):
        """Of all dtypes, in any places, aligned or not, with one channel for all or one for each."""
        chunk, shard = spec
        one = place(dtypes[0], channels[0])
        if is_simulated(one._engine):
            shape = tuple(min(length, 7) for length in shape)
        other = place(dtypes[1], channels[1], 16, 16)
        target = place(dtypes[2], channels[0], chunk, shard, compress)
        random = np.random.default_rng(0)
        a, b = (
            random.integers(0, 20, (count, *shape)).astype(dtype)
            for count, dtype in zip(channels, dtypes, strict=False)
        )
        one.write(on_device(one._engine, a), absolute_offset=at)
        other.write(on_device(one._engine, b), absolute_offset=at)  # a whole mag, taken where the view lies
        around = np.full((channels[0], *(length + 2 for length in shape)), 99, dtypes[2])
        goal = tuple(first + 1 for first in goal)
        target.write(on_device(one._engine, around), absolute_offset=tuple(first - 1 for first in goal))
        view = one.get_view(absolute_offset=at, size=shape)
        view.map_voxels(weighted, target.get_view(absolute_offset=goal, size=shape), other, constants=(3.0,))
        around[:, 1:-1, 1:-1, 1:-1] = a.astype(float) + 2 * b + 3
        np.testing.assert_array_equal(read(target), around)

    def test_a_mag_is_mapped_where_it_lies(self, filled, place):
        """And the layer of the target grows."""
        source, data = filled()
        target = place("uint16")
        source.map_voxels(tripled, target)
        assert target.layer.bounding_box == source.layer.bounding_box
        np.testing.assert_array_equal(read(target), data.astype("uint16") * 3)
        again = wk.Dataset.open(target.layer.dataset.path).get_layer("layer")
        assert again.bounding_box == source.layer.bounding_box
        part = source.get_view(absolute_offset=(4, 6, 3), size=(2, 3, 4))
        part.map_voxels(inverted, target)
        expected = data.astype("uint16") * 3
        expected[:, 1:3, 1:4, 1:5] = 255 - data[:, 1:3, 1:4, 1:5]
        np.testing.assert_array_equal(read(target), expected)

    @pytest.mark.parametrize("compress", [True, False])
    def test_in_place(self, filled, compress):
        source, data = filled(compress=compress)
        source.map_voxels(inverted, source)
        np.testing.assert_array_equal(read(source), 255 - data)
        view = source.get_view(absolute_offset=(3, 5, 2), size=(5, 5, 5))
        view.map_voxels(inverted, view)
        data[:, 5:], data[:, :, 5:], data[..., 5:] = 255 - data[:, 5:], 255 - data[:, :, 5:], 255 - data[..., 5:]
        np.testing.assert_array_equal(read(view), data[:, :5, :5, :5])

    def test_three_others(self, filled, place):
        source, data = filled()
        target = place("int64")
        source.map_voxels(
            lambda a, b, c, d, table: np.int64(a) + b * 2 + table[c] + d, target, source, source, source,
            constants=(np.arange(1000, 0, -1),),
        )  # fmt: skip
        np.testing.assert_array_equal(read(target), data.astype(int) * 4 + 1000 - data)

    def test_numbers_and_tables_as_constants(self, filled, place):
        source, data = filled()
        target, grid = place("float64"), np.arange(6.0).reshape(2, 3)
        grid.flags.writeable = False
        source.map_voxels(lambda a, grid, big: grid[a % 2, a % 3] + big, target, constants=(grid, np.float32(0.5)))
        np.testing.assert_array_equal(read(target), grid[data % 2, data % 3] + 0.5)

    def test_floats_lose_what_is_behind_the_point(self, filled, place):
        source, data = filled()
        target = place("int8")
        source.map_voxels(lambda a: (np.float64(a) - 56) * 1.5, target)
        np.testing.assert_array_equal(read(target), np.trunc((data.astype(float) - 56) * 1.5))

    def test_in_tiles(self, filled, place, monkeypatch):
        """A part of the target is made of many tiles, each of which is read while another one is computed."""
        from wkgpu.operations import streaming

        tune(monkeypatch, streamed_bytes=512)
        monkeypatch.setattr(streaming, "_PART_BYTES", 4096)
        source, data = filled((20, 17, 9), shard=32)
        target = place("uint16", shard=32)
        source.map_voxels(tripled, target)
        np.testing.assert_array_equal(read(target), data.astype(int) * 3)

    @pytest.mark.parametrize(("function", "files"), [(tripled, 1), (lambda value: value + 1, 4)])
    def test_where_nothing_is_stored(self, place, function, files):
        """Nothing is computed if zeros stay zeros."""
        source, target = place(), place()
        source.layer.bounding_box = wk.BoundingBox((0, 0, 0), (32, 32, 16))
        source.write(on_device(source._engine, np.ones((3, 3, 3), "uint8")), absolute_offset=(17, 0, 0))
        source.map_voxels(function, target)
        assert len(list(target.get_bounding_boxes_on_disk())) == files
        assert read(target).sum() == function(0) * 32 * 32 * 16 + 27 * (function(1) - function(0))

    def test_what_the_target_held_is_overwritten(self, filled, place):
        source, target = place(), filled()[0]
        target.map_voxels(tripled, target)
        source.layer.bounding_box = target.layer.bounding_box
        source.map_voxels(tripled, target)
        assert not read(target).any()

    def test_of_another_mag(self, filled, place):
        source, _ = filled()
        coarse = source.layer.add_mag(2, chunk_shape=8, shard_shape=16)
        data = counted((4, 4, 4))
        coarse.write(on_device(coarse._engine, data), absolute_offset=(4, 6, 2))
        target = place().layer.add_mag(2, chunk_shape=8, shard_shape=16)
        view = coarse.get_view(absolute_offset=(4, 6, 2), size=(8, 8, 8))
        view.map_voxels(inverted, target)
        np.testing.assert_array_equal(read(target), 255 - data)

    @pytest.mark.parametrize("kind", ["sequential", "threads"])
    def test_executors(self, filled, place, kind):
        source, data = filled((40, 20, 9))
        target = place("uint16")
        with wk.get_executor(kind) as executor:
            source.map_voxels(inverted, target, executor=executor)
        np.testing.assert_array_equal(read(target), 255 - data)


class TestProcesses:
    @pytest.fixture
    def device(self, config):
        config.device = "cpu"
        return "cpu"

    @pytest.mark.parametrize("function", [inverted, tripled, wk.maps.relabel({5: 7}, default=1)])
    def test_processes(self, filled, place, function):
        source, data = filled((20, 20, 9))
        target = place("uint16")
        with wk.get_executor("processes", max_workers=2) as executor:
            source.map_voxels(function, target, executor=executor)
        expected = function(data) if function is not tripled else data.astype("uint16") * 3
        np.testing.assert_array_equal(read(target), expected)

    def test_dask(self, filled, place):
        pytest.importorskip("distributed")
        source, data = filled((20, 20, 9))
        target, by = place("uint16"), 2
        with wk.get_executor("dask", processes=False, n_workers=1, dashboard_address=None) as executor:
            source.map_voxels(lambda value: value * by, target, executor=executor)
        np.testing.assert_array_equal(read(target), data.astype("uint16") * 2)

    def test_functions_that_no_process_finds(self, filled):
        source, data = filled()
        with ProcessPoolExecutor(1) as executor, pytest.raises(ArgumentError, match="module that the processes can"):
            source.map_voxels(lambda value: value, source, executor=executor)
        np.testing.assert_array_equal(read(source), data)

    def test_functions_that_were_typed_in(self, run_python):
        script = """
import multiprocessing, wkgpu as wk
from concurrent.futures import ProcessPoolExecutor
from wkgpu.operations.voxel_map import voxel_map
@wk.voxel_map
def f(value):
    return value
for method in ("spawn", "fork"):
    try:
        f.check_process(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)))
        print(method, "works")
    except wk.errors.ArgumentError as error:
        print(method, error)
"""
        spawned, forked = run_python(script).splitlines()
        assert "interactive session" in spawned
        assert forked == "fork works"

    def test_maps_can_be_pickled(self):
        assert pickle.loads(pickle.dumps(inverted)) is inverted
        assert pickle.loads(pickle.dumps(wk.voxel_map(tripled)))(2) == 6
        assert pickle.loads(pickle.dumps(wk.maps.threshold(3))) == wk.maps.threshold(3)


class TestRefusals:
    @pytest.fixture
    def device(self, config):
        config.device = "cpu"
        return "cpu"

    def test_other_sizes(self, filled):
        source, data = filled()
        part = source.get_view(absolute_offset=(3, 5, 2), size=(12, 10, 8))
        with pytest.raises(ShapeError, match=r"\(12, 10, 8\).*\(12, 10, 9\)"):
            source.map_voxels(inverted, part)
        np.testing.assert_array_equal(read(source), data)

    def test_other_mags(self, filled):
        source, _ = filled()
        with pytest.raises(ShapeError, match="mag 2"):
            source.map_voxels(inverted, source.layer.add_mag(2))

    @pytest.mark.parametrize(("mine", "others", "theirs"), [(1, 1, 2), (3, 2, 3), (1, 3, 1)])
    def test_other_channels(self, filled, place, mine, others, theirs):
        source, _ = filled(channels=mine)
        with pytest.raises(ShapeError, match="channel"):
            source.map_voxels(weighted, place(channels=theirs), place(channels=others), constants=(1.0,))

    def test_a_read_only_target(self, filled):
        source, data = filled()
        with pytest.raises(ReadOnlyError):
            source.map_voxels(inverted, source.get_view(read_only=True))
        np.testing.assert_array_equal(read(source), data)

    def test_a_target_that_is_read_elsewhere(self, filled):
        source, data = filled()
        one, other = (source.get_view(absolute_offset=(x, 5, 2), size=(6, 10, 9)) for x in (3, 8))
        with pytest.raises(RegionError, match="disjoint"):
            one.map_voxels(inverted, other)
        with pytest.raises(RegionError, match="disjoint"):
            one.map_voxels(lambda a, b: a, one, other)
        np.testing.assert_array_equal(read(source), data)
        apart = source.get_view(absolute_offset=(9, 5, 2), size=(6, 10, 9))
        one.map_voxels(inverted, apart)
        np.testing.assert_array_equal(read(source)[:, 6:], 255 - data[:, :6])

    def test_an_empty_view(self, place):
        with pytest.raises(RegionError):
            place().map_voxels(inverted, place())

    @pytest.mark.parametrize(
        ("function", "reason"),
        [
            (lambda value: value.foo, r"foo[\s\S]*test_mapping.py[\s\S]*map_chunk"),
            (lambda value: unknown + value, "unknown"),  # noqa: F821
            (lambda value: (value, value), "must return a number"),
            (lambda value: "text", "must return a number"),
            (lambda value: [value], "list"),
        ],
    )
    def test_functions_that_cannot_be_compiled(self, filled, function, reason):
        source, data = filled()
        with pytest.raises(CompilationError, match=reason) as caught:
            source.map_voxels(function, source)
        assert "map_chunk" in str(caught.value)
        np.testing.assert_array_equal(read(source), data)

    @pytest.mark.parametrize("function", [math.sqrt, np.sqrt, "inverted", 3])
    def test_what_is_no_function(self, filled, function):
        source, _ = filled()
        with pytest.raises(ArgumentError, match="Python function"):
            source.map_voxels(function, source)

    def test_other_arguments(self, filled):
        source, _ = filled()
        with pytest.raises(ArgumentError, match=r"1 view.*1 constant"):
            source.map_voxels(inverted, source, constants=(1,))
        with pytest.raises(ArgumentError, match="4 are possible"):
            source.map_voxels(lambda *values: 0, source, *[source] * 4)
        with pytest.raises(ArgumentError, match="2 view"):
            source.map_voxels(wk.maps.mask(), source)
        with pytest.raises(DtypeError, match="numbers"):
            source.map_voxels(lambda value, word: value, source, constants=("word",))


@pytest.mark.covers("voxel_map", "VoxelMap")
def test_maps_are_called_as_their_functions():
    assert inverted(5) == 250
    assert inverted.__name__ == "inverted"
    assert inverted.__doc__ == "Make dark what is bright."
    np.testing.assert_array_equal(wk.voxel_map(tripled)(np.array([1, 2])), [3, 6])
    assert isinstance(inverted, wk.VoxelMap)


def test_functions_are_compiled_once(filled, config):
    config.device = "cpu"

    def function(value):
        return value + 1

    source, _ = filled(shape=(40, 20, 9))
    for _ in range(2):
        with ThreadPoolExecutor(2) as executor:
            source.map_voxels(function, source, executor=executor)
    kernel = FunctionKernel(function, 1).compiled_for("cpu")
    assert len(kernel.signatures) == 1


def test_bits_do_not_depend_on_the_machine(filled, place):
    source, data = filled(dtype="float32")
    target = place("float32")
    source.map_voxels(
        lambda a, by, more: wk.maps.add(wk.maps.multiply(a, by), more), target,
        constants=(np.float32(0.1), np.float32(0.7)),
    )  # fmt: skip
    np.testing.assert_array_equal(read(target), data * np.float32(0.1) + np.float32(0.7))
