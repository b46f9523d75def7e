"""The format of new layers, and what a mag of Zarr is to the zarr package."""

import os
import subprocess
import sys

import numpy as np
import pytest
import zarr

import wkgpu as wk
from wkgpu.errors import ConfigurationError, MismatchError, UnsupportedError
from wkgpu.settings import Config

SHAPES = {"chunk_shape": 8, "shard_shape": 32, "compress": False}


@pytest.fixture
def zarr_by_default(monkeypatch):
    monkeypatch.setattr(wk.config, "data_format", "zarr3")


def test_the_default_is_wkw(dataset):
    assert (wk.config.data_format, dataset.add_layer("color", "color").data_format) == ("wkw", "wkw")


def test_the_setting_is_the_default_of_new_layers(zarr_by_default, dataset, tmp_path, volume):
    layer = dataset.add_layer("color", "color")
    wkw = dataset.add_layer("wkw", "color", data_format="wkw")
    written = dataset.write_layer("written", "color", volume, downsample=False, **{
        name: SHAPES[name] for name in ("chunk_shape", "shard_shape")
    })  # fmt: skip
    assert [found.data_format for found in (layer, wkw, written)] == ["zarr3", "wkw", "zarr3"]
    assert written.get_mag(1).info.codec == "zstd"
    np.testing.assert_array_equal(written.get_mag(1).read()[0], volume)
    for existing in (layer, wkw):  # where nothing is said, any format is right
        assert dataset.get_or_add_layer(existing.name, "color").data_format == existing.data_format
    with pytest.raises(MismatchError, match="data_format=zarr3, not wkw"):
        dataset.get_or_add_layer("color", "color", data_format="wkw")
    assert dataset.get_or_add_layer("new", "color").data_format == "zarr3"
    assert dataset.add_layer_like(wkw, "like").data_format == "wkw"
    copy = dataset.copy_dataset(tmp_path / "copy")
    assert {name: found.data_format for name, found in copy.layers.items()} == {
        name: found.data_format for name, found in dataset.layers.items()
    }
    turned = dataset.add_layer_as_copy(written, "turned", data_format="wkw", compress=True)
    assert (turned.data_format, turned.get_mag(1).info.codec) == ("wkw", "lz4")
    np.testing.assert_array_equal(turned.get_mag(1).read()[0], volume)


def test_layers_without_a_format_are_wkw(zarr_by_default, dataset):
    layer = dataset.add_layer("color", "color", data_format="wkw")
    layer.add_mag(1, **SHAPES)
    with dataset._changing() as properties:
        del properties.layer("color").document["dataFormat"]
    assert wk.Dataset.open(dataset.path).get_layer("color").data_format == "wkw"


def test_the_environment_sets_it(monkeypatch, tmp_path):
    monkeypatch.setenv("WKGPU_DATA_FORMAT", "zarr3")
    assert Config().data_format == "zarr3"
    for wrong in ("zarr", "n5", "WKW"):
        monkeypatch.setenv("WKGPU_DATA_FORMAT", wrong)
        with pytest.raises(ConfigurationError, match="WKGPU_DATA_FORMAT"):
            Config()
    monkeypatch.setattr(wk.config, "data_format", "n5")
    with pytest.raises(UnsupportedError, match="n5"):
        wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1)).add_layer("color", "color")


@pytest.mark.covers("MagView.get_zarr_array")
def test_zarr_arrays(dataset, volume):
    layer = dataset.add_layer("color", "color", data_format="zarr3")
    mag_view = layer.add_mag(1, **SHAPES)
    mag_view.write(volume)
    array = mag_view.get_zarr_array()
    assert (type(array), array.read_only, array.dtype) == (zarr.Array, False, np.uint8)
    width, height, depth = volume.shape
    np.testing.assert_array_equal(array[0, :width, :height, :depth], volume)
    array[0, :4] = 9
    assert (mag_view.read()[0, :4] == 9).all()
    other = wk.Dataset(dataset.path.with_name("other"), voxel_size=dataset.voxel_size)
    foreign = other.add_layer_as_ref(layer).get_mag(1)
    for view in (foreign, wk.Dataset.open(dataset.path, read_only=True).get_layer("color").get_mag(1)):
        array = view.get_zarr_array()
        assert array.read_only
        with pytest.raises(ValueError, match="read"):
            array[0, 0, 0, 0] = 1


def test_zarr_is_imported_where_it_is_needed_only(dataset):
    dataset.add_layer("wkw", "color").add_mag(1, **SHAPES)
    code = f"import sys, wkgpu; wkgpu.Dataset.open({str(dataset.path)!r}).get_layer('wkw').get_mag(1).info"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit('zarr' in sys.modules)"], env=os.environ, timeout=60, check=False
    )
    assert done.returncode == 0
