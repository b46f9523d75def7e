"""Maps that come with wkgpu: the voxels that NumPy makes, on every device."""

from __future__ import annotations

import numpy as np
import pytest
from arrays import on_device
from datasets import VOXEL_SIZE, read
from hypothesis import given, settings
from hypothesis import strategies as st

import wkgpu as wk
from wkgpu.errors import ArgumentError, DtypeError

# A kernel is compiled for each of them; for other lengths it is the same text.
SOME_TYPES = ("uint8", "int16", "int64", "uint64", "float32")
INTEGERS = SOME_TYPES[:-1]


@pytest.fixture
def mapped(tmp_path_factory, device):
    """Maps an array (x, y, z) to voxels of a dtype, with masks if there are some."""

    def run(voxel_map, data, dtype, *others):
        dataset = wk.Dataset(tmp_path_factory.mktemp("maps") / "dataset", voxel_size=VOXEL_SIZE)
        mags = []
        for number, array in enumerate([data, *others]):
            layer = dataset.add_layer(str(number), "color", dtype=array.dtype)
            mags.append(layer.add_mag(1, chunk_shape=8, shard_shape=16))
            mags[-1].write(on_device(mags[-1]._engine, array), absolute_offset=(2, 3, 4))
        target = dataset.add_layer("target", "color", dtype=dtype).add_mag(1, chunk_shape=8, shard_shape=8)
        mags[0].map_voxels(voxel_map, target, *mags[1:])
        return read(target)[0]

    return run


def sample(dtype, seed=0):
    """Voxels of a dtype, the extreme ones among them, in runs."""
    limits = np.iinfo(dtype) if np.dtype(dtype).kind != "f" else np.finfo(dtype)
    random = np.random.default_rng(seed)
    data = np.repeat(random.integers(0, 120, 80), 3).astype(dtype)
    if np.dtype(dtype).kind != "u":
        data[::2] *= -1
    data[:4] = limits.min, limits.max, 0, 1
    return data.reshape(10, 8, 3)


@pytest.mark.parametrize("dtype", SOME_TYPES)
@pytest.mark.parametrize("at", [50, 49.5, -3, 1000, -1000, float("inf")])
def test_threshold(mapped, dtype, at):
    data = sample(dtype)
    voxel_map = wk.maps.threshold(at, below=2, above=100)
    expected = [100 if value >= at else 2 for value in data.ravel().tolist()]
    np.testing.assert_array_equal(mapped(voxel_map, data, "int8").ravel(), expected)
    np.testing.assert_array_equal(voxel_map(data).ravel(), expected)


@pytest.mark.parametrize("dtype", SOME_TYPES)
@pytest.mark.parametrize(("low", "high"), [(11, 60), (10.5, 60.5), (-1e30, 60), (5, 1e30)])
def test_clip(mapped, dtype, low, high):
    data, voxel_map = sample(dtype), wk.maps.clip(low, high)
    found = mapped(voxel_map, data, dtype)
    if np.dtype(dtype).kind == "f":
        np.testing.assert_array_equal(found, voxel_map(data))
    else:
        low, high = np.ceil(low), np.floor(high)
        assert found.ravel().tolist() == [min(max(value, low), high) for value in data.ravel().tolist()]


@pytest.mark.parametrize("dtype", SOME_TYPES)
def test_rescale(mapped, dtype):
    data, voxel_map = sample(dtype), wk.maps.rescale((-20, 90), (0, 255))
    np.testing.assert_array_equal(mapped(voxel_map, data, "uint8"), np.rint(voxel_map(data)))
    np.testing.assert_array_equal(mapped(voxel_map, data, "float32"), voxel_map(data).astype("float32"))
    inverted = wk.maps.rescale((0, 100), (50, -50))
    np.testing.assert_array_equal(mapped(inverted, data, "int16"), np.rint(inverted(data)))


def test_rescale_is_what_everybody_expects(mapped):
    data = np.arange(0, 65536, 7).astype("uint16")[:9000].reshape(30, 30, 10)
    found = mapped(wk.maps.rescale((0, 65535), (0, 255)), data, "uint8")
    np.testing.assert_array_equal(found, (data.astype(int) + 128) // 257)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("default", [None, 9])
def test_relabel(mapped, dtype, default):
    data, table = sample(dtype), np.arange(100, 0, -1)
    expected = [
        int(table[value]) if 0 <= value < len(table) else value if default is None else default
        for value in data.ravel().tolist()
    ]
    for new_ids in (table, dict(enumerate(table.tolist())) | {-(10**6): 1, 10**6 + 2**63: 1}):
        voxel_map = wk.maps.relabel(new_ids, default)
        assert mapped(voxel_map, data, dtype).ravel().tolist() == expected
        assert voxel_map(data).ravel().tolist() == expected


@settings(max_examples=15)
@given(st.dictionaries(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), max_size=20), st.data())
def test_sparse_ids_of_64_bits(mapped, new_ids, data):
    ids = data.draw(st.lists(st.sampled_from([*new_ids, 0, 2**64 - 1]), min_size=1, max_size=30))
    volume = np.array(ids, "uint64").reshape(-1, 1, 1)
    found = mapped(wk.maps.relabel(new_ids), volume, "uint64")
    assert found.ravel().tolist() == [new_ids.get(value, value) for value in ids]


@pytest.mark.parametrize("table", [{1: 2.7}, {1.5: 2}, {1: "2"}, {None: 3}])
def test_relabel_takes_integers_only(table):
    with pytest.raises(ArgumentError, match="ids are integers"):
        wk.maps.relabel(table)


def test_relabel_to_other_voxels(mapped):
    data = sample("uint64")
    found = mapped(wk.maps.relabel({2**64 - 1: 3, 0: 200}, default=1), data, "uint8")
    np.testing.assert_array_equal(found, np.select([data == 0, data == 2**64 - 1], [200, 3], 1))


@pytest.mark.parametrize("dtype", SOME_TYPES)
def test_mask(mapped, dtype):
    data, inside = sample(dtype), sample("uint16", 1) // 50
    np.testing.assert_array_equal(mapped(wk.maps.mask(7), data, dtype, inside), np.where(inside, data, 7))
    np.testing.assert_array_equal(mapped(wk.maps.mask(), data, dtype, inside), wk.maps.mask()(data, inside))


class TestRefusals:
    @pytest.fixture
    def device(self, config):
        config.device = "cpu"
        return "cpu"

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda: wk.maps.threshold(float("nan")), "NaN"),
            (lambda: wk.maps.clip(3, 2), "lower"),
            (lambda: wk.maps.rescale((1, 1), (0, 255)), "two ranges"),
            (lambda: wk.maps.rescale((0, 1), (0, float("inf"))), "two ranges"),
            (lambda: wk.maps.relabel(np.zeros((2, 2), int)), "one axis"),
            (lambda: wk.maps.relabel([0.5]), "integers"),
        ],
    )
    def test_arguments(self, make, reason):
        with pytest.raises(ArgumentError, match=reason):
            make()

    @pytest.mark.parametrize(
        ("voxel_map", "source", "target", "reason"),
        [
            (wk.maps.threshold(3, above=256), "uint16", "uint8", "256 cannot be represented as uint8"),
            (wk.maps.threshold(3, below=0.5), "uint16", "uint8", "0.5 cannot be represented as uint8"),
            (wk.maps.clip(0, 256), "uint16", "uint8", "do not fit uint8"),
            (wk.maps.rescale((0, 1), (-1, 255)), "uint16", "uint8", "-1 cannot be represented as uint8"),
            (wk.maps.relabel([256]), "uint8", "uint8", "do not fit uint8"),
            (wk.maps.relabel({3: 256}), "uint8", "uint8", "do not fit uint8"),
            (wk.maps.relabel([1]), "float32", "uint8", "integers"),
            (wk.maps.relabel([1]), "int64", "uint64", "cannot keep"),
            (wk.maps.mask(-1), "uint8", "int8", "-1 cannot be represented as uint8"),
        ],
    )
    def test_voxels_that_do_not_fit(self, mapped, voxel_map, source, target, reason):
        masks = [sample("uint8")] if voxel_map == wk.maps.mask(-1) else []
        with pytest.raises(DtypeError, match=reason):
            mapped(voxel_map, sample(source), target, *masks)

    @pytest.mark.parametrize(
        ("voxel_map", "reason"),
        [(wk.maps.clip(300, 400), "No uint8"), (wk.maps.rescale((0, 1), (0, 1 << 60)), "exact")],
    )
    def test_what_no_voxel_can_be(self, mapped, voxel_map, reason):
        with pytest.raises(ArgumentError, match=reason):
            mapped(voxel_map, sample("uint8"), "int64")
