"""Reductions over the voxels of a view, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from arrays import is_simulated, on_device, tune
from datasets import VOXEL_SIZE, read
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import VOXEL_TYPES

import wkgpu as wk
from wkgpu.errors import ArgumentError, DtypeError, RegionError
from wkgpu.operations import reductions

INTEGERS = [dtype for dtype in VOXEL_TYPES if not dtype.startswith("float")]


@pytest.fixture
def place(tmp_path_factory, device):
    """Makes an empty mag of a layout in a dataset of its own."""

    def make(dtype="uint8", channels=1, chunk=8, shard=16, compress=True):
        dataset = wk.Dataset(tmp_path_factory.mktemp("reduced") / "dataset", voxel_size=VOXEL_SIZE)
        category = "color" if dtype.startswith("float") else "segmentation"
        layer = dataset.add_layer("layer", category, dtype=dtype, num_channels=channels)
        return layer.add_mag(1, chunk_shape=chunk, shard_shape=shard, compress=compress)

    return make


@st.composite
def volumes(draw, dtypes=VOXEL_TYPES):
    """How a mag is stored, a box of voxels in it, and a box that is looked at, which may lie elsewhere."""
    stored = draw(st.tuples(*[st.integers(1, 20)] * 3)), draw(st.tuples(*[st.integers(0, 20)] * 3))
    looked = draw(st.tuples(*[st.integers(1, 24)] * 3)), draw(st.tuples(*[st.integers(0, 30)] * 3))
    spec = draw(st.sampled_from([(8, 16), (4, 4), (16, 32)]))
    return draw(st.sampled_from(dtypes)), draw(st.sampled_from([1, 1, 3])), stored, looked, spec


def view_of(place, volume):
    """A view of a volume, and what it reads."""
    dtype, channels, (shape, at), (size, corner), (chunk, shard) = volume
    mag_view = place(dtype, channels, chunk, shard)
    if is_simulated(mag_view._engine):
        shape, size = (tuple(min(length, 9) for length in lengths) for lengths in (shape, size))
    values = np.random.default_rng(0).integers(0, 100, int(np.prod(shape)) * channels)
    data = np.repeat(values, 4)[: len(values)].astype(dtype).reshape((channels, *shape), order="F")
    if data.dtype.kind != "u":
        data -= 50
    mag_view.write(on_device(mag_view._engine, data), absolute_offset=at)
    view = mag_view.get_view(absolute_offset=corner, size=size, read_only=True)
    return view, read(view)


few = settings(max_examples=25)


class TestMinMax:
    @pytest.mark.covers("View.min_max")
    @few
    @given(volumes())
    def test_any_views(self, place, volume):
        view, data = view_of(place, volume)
        found = view.min_max()
        assert found == (data.min(), data.max())
        assert all(type(value) is (float if data.dtype.kind == "f" else int) for value in found)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0])
    def test_special_floats(self, place, value):
        mag_view = place("float32")
        data = np.full((3, 4, 5), value, "float32")
        data[1, 2, 3] = 0
        mag_view.write(on_device(mag_view._engine, data), absolute_offset=(0, 0, 0))
        np.testing.assert_array_equal(mag_view.min_max(), (data.min(), data.max()))

    def test_ids_of_64_bits_are_exact(self, place):
        mag_view = place("uint64")
        data = np.full((3, 4, 5), 2**64 - 2, "uint64")
        data[0, 0, 0] = 2**64 - 1
        mag_view.write(on_device(mag_view._engine, data), absolute_offset=(0, 0, 0))
        assert mag_view.min_max() == (2**64 - 2, 2**64 - 1)
        assert mag_view.largest_id() == 2**64 - 1

    def test_nothing_is_stored(self, place):
        view = place("int16").get_view(absolute_offset=(0, 0, 0), size=(500, 500, 500), read_only=True)
        assert view.min_max() == (0, 0)
        assert view.largest_id() == 0
        ids, counts = view.count_labels()
        assert (ids.dtype, ids.tolist(), counts.tolist()) == (np.int16, [0], [500**3])
        assert view.histogram(2, (0, 2))[0].tolist() == [500**3, 0]

    def test_an_empty_view(self, place):
        for method in ("min_max", "histogram", "count_labels", "largest_id"):
            with pytest.raises(RegionError):
                getattr(place(), method)()


class TestHistogram:
    @pytest.mark.covers("View.histogram")
    @few
    @given(volumes(), st.integers(1, 40), st.sampled_from([None, (0, 256), (-20, 33.5), (7, 7), (500, 600)]))
    def test_equal_bins(self, place, volume, bins, value_range):
        view, data = view_of(place, volume)
        counts, edges = view.histogram(bins, value_range)
        expected, expected_edges = np.histogram(data, bins, value_range)
        np.testing.assert_array_equal(counts, expected)
        np.testing.assert_array_equal(edges, expected_edges)
        assert (counts.dtype, edges.dtype) == (np.int64, expected_edges.dtype)

    @few
    @given(volumes(), st.lists(st.integers(-60, 120), min_size=2, max_size=9).map(sorted))
    def test_any_edges(self, place, volume, edges):
        view, data = view_of(place, volume)
        np.testing.assert_array_equal(view.histogram(edges)[0], np.histogram(data, edges)[0])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_nan_is_in_no_bin(self, place, dtype):
        mag_view = place(dtype)
        data = np.array([np.nan, 0.5, -np.inf, np.inf, 1, 2], dtype).reshape(6, 1, 1)
        mag_view.write(on_device(mag_view._engine, data), absolute_offset=(0, 0, 0))
        assert mag_view.histogram(2, (0, 2))[0].tolist() == [1, 2]
        with pytest.raises(ArgumentError, match="finite"):
            mag_view.histogram(2)

    @pytest.mark.parametrize("dtype", ["uint8", "uint32"])
    @pytest.mark.parametrize("arguments", [(0,), (2, (3, 1)), ([3, 1],), ("auto",), (2.5,)])
    def test_bins_that_are_none(self, place, dtype, arguments):
        mag_view = place(dtype)
        mag_view.layer.bounding_box = wk.BoundingBox((0, 0, 0), (8, 8, 8))
        with pytest.raises(ArgumentError, match=r"bins=.*value_range="):
            mag_view.histogram(*arguments)


class TestLabels:
    @pytest.mark.covers("View.count_labels", "View.largest_id")
    @few
    @given(volumes(INTEGERS))
    def test_any_views(self, place, volume):
        view, data = view_of(place, volume)
        ids, counts = view.count_labels()
        expected_ids, expected = np.unique(data, return_counts=True)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(counts, expected)
        assert (ids.dtype, counts.dtype) == (data.dtype, np.int64)
        assert view.largest_id() == max(data.max(), 0)

    def test_all_voxels_differ(self, place):
        mag_view = place("int64", shard=8)
        data = (np.arange(9**3) - 300).reshape(9, 9, 9) << 40
        mag_view.write(on_device(mag_view._engine, data), absolute_offset=(0, 0, 0))
        ids, counts = mag_view.count_labels()
        np.testing.assert_array_equal(ids, data.ravel())
        assert (counts == 1).all()

    def test_floats_are_no_ids(self, place):
        for method in ("count_labels", "largest_id"):
            with pytest.raises(DtypeError, match="float32"):
                getattr(place("float32"), method)()


def reduced(view, executor=None):
    """Everything that can be known of a view, as lists."""
    ids, counts = view.count_labels(executor)
    return [view.min_max(executor), view.histogram(7, None, executor)[0].tolist(), ids.tolist(), counts.tolist()]


@pytest.mark.parametrize("dtype", ["uint8", "uint32"])
def test_many_tiles_and_small_rows(place, dtype, monkeypatch):
    tune(monkeypatch, reduced_bytes=2048, labelled_values=100)
    view, data = view_of(place, (dtype, 1, ((9, 9, 9), (3, 3, 3)), ((9, 9, 9), (3, 3, 3)), (4, 16)))
    ids, counts = np.unique(data, return_counts=True)
    expected = [(data.min(), data.max()), np.histogram(data, 7)[0].tolist(), ids.tolist(), counts.tolist()]
    assert reduced(view) == expected


def test_rows_share_counters_only_where_the_engine_adds_atomically(cpu, config):
    config.threads = 8
    assert reductions._rows(cpu.tuning, 1000)[0] == 16
    assert reductions._rows(cpu.tuning, 1000, counters=2) == (2, 500), "the counters of two threads, made before"
    atomic = cpu.tuning._replace(rows=100, counters=4, min_width=20)
    assert reductions._rows(atomic, 1000, counters=4) == (50, 20)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_executors(place, config, kind, monkeypatch):
    if kind == "processes":
        config.device = "cpu"
    view, _ = view_of(place, ("uint16", 1, ((20, 20, 9), (8, 3, 3)), ((20, 20, 9), (8, 3, 3)), (16, 32)))
    expected = reduced(view)
    with wk.get_executor(kind, max_workers=2) as executor:
        assert reduced(view, executor) == expected


class TestLargestSegmentId:
    def test_it_is_saved(self, place):
        mag_view = place("uint32")
        layer = mag_view.layer
        layer.refresh_largest_segment_id()
        assert layer.largest_segment_id is None, "there is nothing to search"
        data = np.arange(3 * 4 * 5, dtype="uint32").reshape(3, 4, 5)
        mag_view.write(on_device(mag_view._engine, data), absolute_offset=(30, 0, 0))
        layer.refresh_largest_segment_id()
        assert layer.largest_segment_id == 59
        with wk.get_executor("threads") as executor:
            layer.bounding_box = wk.BoundingBox((30, 0, 0), (2, 4, 5))
            layer.refresh_largest_segment_id(executor, "Searching")
        assert wk.Dataset.open(layer.dataset.path).get_layer("layer").largest_segment_id == 39

    def test_webknossos_finds_the_same(self, place, webknossos, tmp_path):
        mag_view = place("int32", chunk=16, shard=32)
        mag_view.write(on_device(mag_view._engine, np.full((40, 9, 9), -3, "int32")), absolute_offset=(0, 0, 0))
        for value in (-3, 17):
            part = np.full((1, 1, 1), value, "int32")
            mag_view.write(on_device(mag_view._engine, part), absolute_offset=(5, 5, 5))
            mag_view.layer.refresh_largest_segment_id()
            theirs = webknossos.Dataset.open(mag_view.layer.dataset.path).get_layer("layer")
            found = mag_view.layer.largest_segment_id
            theirs.refresh_largest_segment_id()
            assert found == theirs.largest_segment_id == max(value, 0)


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_ids_that_are_larger_than_there_are_voxels(dataset, dtype):
    """Counts, the largest id and relabelling are exact beyond 2^53 and for negative ids."""
    limits = np.iinfo(dtype)
    ids = np.array([limits.min, 0, 2**53, 2**53 + 1, 7_112_614_941, limits.max - 1, limits.max], dtype)
    data = np.random.default_rng(0).choice(ids, (40, 33, 20))
    layer = dataset.add_layer("ids", "segmentation", dtype=dtype)
    mag_view = layer.add_mag(1, chunk_shape=16, shard_shape=32)
    mag_view.write(data)
    for found, wanted in zip(mag_view.count_labels(), np.unique(data, return_counts=True), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert mag_view.largest_id() == limits.max
    target = dataset.add_layer("fewer", "segmentation", dtype=dtype).add_mag(1, chunk_shape=16, shard_shape=32)
    mag_view.map_voxels(wk.maps.relabel({2**53 + 1: 5, int(limits.max): 6}), target)
    wanted = np.where(data == ids[3], 5, np.where(data == limits.max, 6, data)).astype(dtype)
    np.testing.assert_array_equal(target.read()[0], wanted)
