"""Maps and reductions on the GPU: what they make of voxels is, bit for bit, what the CPU makes of them."""

import numpy as np
import pytest
from strategies import VOXEL_TYPES, voxels

import wkgpu as wk
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

pytestmark = [pytest.mark.gpu, pytest.mark.computes]

SHAPE = (70, 50, 40)
INTEGERS = [dtype for dtype in VOXEL_TYPES if not dtype.startswith("float")]


@pytest.fixture
def filled(tmp_path, gpu):
    """Makes a mag with voxels of any bits; seeds divisible by 3 make runs of few values."""
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1), device="cpu")

    def make(dtype, seed=1, channels=1):
        name = f"{dtype}-{seed}-{channels}"
        if name in dataset.layers:
            return dataset.get_layer(name).get_mag(1)
        layer = dataset.add_layer(name, "color", dtype=dtype, num_channels=channels)
        mag_view = layer.add_mag(1, chunk_shape=16, shard_shape=64)
        spec = ArraySpec(np.dtype(dtype), channels, (16,) * 3, (4,) * 3, pipeline_of("lz4"))
        mag_view.write(voxels(spec, SHAPE, seed), absolute_offset=(3, 5, 7))
        return mag_view

    return make


@pytest.fixture
def same(filled, gpu):
    """Maps views on both machines and compares all bits."""

    def check(function, source, dtype, *others, constants=()):
        made = []
        for number, device in enumerate(["cpu", gpu.name]):
            layer = source.layer.dataset.add_layer(
                f"target-{number}", "color", dtype=dtype, num_channels=source.num_channels
            )
            target = layer.add_mag(1, chunk_shape=16, shard_shape=32)
            source.to(device).map_voxels(function, target, *others, constants=constants)
            made.append(target.read())
            source.layer.dataset.delete_layer(layer.name)
        assert made[0].tobytes() == made[1].tobytes()

    return check


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", VOXEL_TYPES)
def test_ready_made_maps(filled, same, dtype, channels):
    source, few, masks = filled(dtype, 1, channels), filled(dtype, 3, channels), filled("uint8", 3)
    same(wk.maps.threshold(1, 2, 100), source, "uint8")
    same(wk.maps.clip(1, 99), source, dtype)
    same(wk.maps.rescale((0, 100), (3, 250.5)), source, "float32")
    same(wk.maps.rescale((-3, 101.5), (0, 255)), source, "uint8")
    same(wk.maps.mask(7), source, dtype, masks)
    if dtype in INTEGERS:
        for table in ([5, 7], {1: 100, 2: 90, 10**10: 3}):
            same(wk.maps.relabel(table), few, dtype)
            same(wk.maps.relabel(table, default=9), source, "int16")


def test_floats_round_alike(filled, same):
    """Also where a GPU would rather make one instruction of a multiplication and an addition."""

    def unfused(value, by, more):
        return wk.maps.add(wk.maps.multiply(value, by), more)

    same(unfused, filled("float32"), "float32", constants=(np.float32(0.1), np.float32(0.7)))
    same(unfused, filled("float64"), "float64", constants=(0.1, 0.7))
    same(wk.maps.rescale((0.1, 0.7), (-1e3, 1e3)), filled("float64"), "float64")


def test_functions_of_users(filled, same):
    def mixed(a, b, table):
        return table[a] // 3 if b > 100 else a * b % 91

    same(mixed, filled("uint8"), "int32", filled("uint8", 2), constants=(np.arange(256),))


@pytest.mark.parametrize("seed", [1, 3])
@pytest.mark.parametrize("dtype", VOXEL_TYPES)
def test_reductions(filled, gpu, dtype, seed):
    source = filled(dtype, seed, 2)
    on_gpu = source.to(gpu.name)
    assert on_gpu.min_max() == source.min_max()
    for arguments in ((50, (0, 100)), ([0, 1, 1, 2, 77],), *([()] if dtype in INTEGERS else [])):
        for found, expected in zip(on_gpu.histogram(*arguments), source.histogram(*arguments), strict=True):
            np.testing.assert_array_equal(found, expected)
    if dtype in INTEGERS:
        for found, expected in zip(on_gpu.count_labels(), source.count_labels(), strict=True):
            np.testing.assert_array_equal(found, expected)
