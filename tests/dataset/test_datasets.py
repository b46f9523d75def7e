"""Datasets, layers and mags: making, finding and deleting them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from datasets import VOXEL_SIZE, counted

import wkgpu as wk
from wkgpu.errors import (
    AlreadyExistsError,
    ArgumentError,
    CategoryError,
    DtypeError,
    InvalidNameError,
    LayerNotFoundError,
    MagNotFoundError,
    MismatchError,
    NameTakenError,
    NotFoundError,
    RegionError,
    ShapeError,
    UnsupportedError,
)
from wkgpu.storage.codecs import word_of

# ---- Datasets


@pytest.mark.covers("Dataset", "Dataset.path", "Dataset.layers")
def test_a_new_dataset(dataset, tmp_path):
    assert (dataset.path, dataset.name, dataset.voxel_size) == (tmp_path / "dataset", "dataset", (11.24, 11.24, 25.0))
    assert dict(dataset.layers) == {}
    assert [path.name for path in dataset.path.iterdir()] == ["datasource-properties.json"]


@pytest.mark.covers("Dataset.open")
def test_opening_needs_a_dataset(tmp_path, mag_view):
    with pytest.raises(NotFoundError, match="does not exist"):
        wk.Dataset.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"datasource-properties\.json.*open_mag"):
        wk.Dataset.open(tmp_path / "empty")
    with pytest.raises(NotFoundError, match=r"single mag.*open_mag"):
        wk.Dataset.open(mag_view.path)


def test_a_dataset_that_exists(dataset):
    with pytest.raises(AlreadyExistsError, match="exist_ok"):
        wk.Dataset(dataset.path, voxel_size=VOXEL_SIZE)
    with pytest.raises(RuntimeError):
        wk.Dataset(dataset.path, voxel_size=VOXEL_SIZE)
    assert wk.Dataset(dataset.path, voxel_size=VOXEL_SIZE, exist_ok=True).name == "dataset"
    with pytest.raises(MismatchError, match="voxel size"):
        wk.Dataset(dataset.path, voxel_size=(1, 1, 1), exist_ok=True)
    with pytest.raises(MismatchError, match="name 'dataset', not 'other'"):
        wk.Dataset(dataset.path, voxel_size=VOXEL_SIZE, name="other", exist_ok=True)


def test_no_properties_are_made_where_a_link_leads(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "datasource-properties.json").symlink_to(tmp_path / "elsewhere.json")
    for exist_ok, error in ((False, AlreadyExistsError), (True, NotFoundError)):
        with pytest.raises(error):
            wk.Dataset(tmp_path / "dataset", voxel_size=VOXEL_SIZE, exist_ok=exist_ok)
    assert not (tmp_path / "elsewhere.json").exists()


@pytest.mark.parametrize("exist_ok", [True, False])
def test_a_folder_of_something_else_is_left_alone(tmp_path, exist_ok):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(AlreadyExistsError, match="not empty"):
        wk.Dataset(tmp_path, voxel_size=VOXEL_SIZE, exist_ok=exist_ok)
    with pytest.raises(AlreadyExistsError):
        wk.Dataset(tmp_path / "thesis.tex", voxel_size=VOXEL_SIZE, exist_ok=exist_ok)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("voxel_size", [None, (1, 1), (1, 1, 0), (1, -1, 1), "abc", (1, 1, float("nan")), 5])
def test_voxel_sizes_that_are_none(tmp_path, voxel_size):
    with pytest.raises(ArgumentError, match=r"voxel.size"):
        wk.Dataset(tmp_path / "dataset", voxel_size=voxel_size)
    assert not (tmp_path / "dataset").exists()


@pytest.mark.covers("Dataset.voxel_size", "Dataset.voxel_size_with_unit", "VoxelSize", "LengthUnit")
def test_voxel_sizes_in_other_units(tmp_path):
    size = wk.VoxelSize((0.5, 0.5, 1), wk.LengthUnit.MICROMETER)
    made = wk.Dataset(tmp_path / "dataset", voxel_size_with_unit=size)
    assert (made.voxel_size, made.voxel_size_with_unit) == ((500.0, 500.0, 1000.0), size)
    assert wk.Dataset.open(made.path).voxel_size_with_unit == size
    assert wk.VoxelSize((1, 2, 3), "angstrom").to_nanometer() == pytest.approx((0.1, 0.2, 0.3))
    with pytest.raises(ArgumentError, match="unit"):
        wk.VoxelSize((1, 1, 1), "furlong")


@pytest.mark.covers("Dataset.name")
def test_renaming(dataset):
    dataset.name = "Kortex ä"
    assert wk.Dataset.open(dataset.path).name == "Kortex ä"


# ---- Layers


@pytest.mark.covers(
    "Layer",
    "SegmentationLayer",
    "Dataset.add_layer",
    "Dataset.get_layer",
    "Dataset.get_color_layers",
    "Dataset.get_segmentation_layers",
    "Dataset.get_segmentation_layer",
    "Layer.dtype",
    "Layer.dtype_per_channel",
    "Layer.num_channels",
    "Layer.category",
    "Layer.data_format",
    "SegmentationLayer.largest_segment_id",
)
def test_layers(dataset):
    color = dataset.add_layer("color", "color")
    rgb = dataset.add_layer("rgb", wk.COLOR_CATEGORY, dtype=np.uint8, num_channels=3)
    cells = dataset.add_layer("cells", wk.SEGMENTATION_CATEGORY, dtype="uint32", largest_segment_id=7)
    assert list(dataset.layers) == ["color", "rgb", "cells"]
    assert dataset.get_layer("rgb") is rgb is dataset.layers["rgb"]
    assert (dataset.get_color_layers(), dataset.get_segmentation_layers()) == ([color, rgb], [cells])
    assert (color.dtype, color.num_channels, color.category, color.data_format) == (np.uint8, 1, "color", "wkw")
    assert (rgb.dtype, rgb.dtype_per_channel, rgb.num_channels) == (np.uint8, np.uint8, 3)
    assert (type(color), type(cells), cells.largest_segment_id) == (wk.Layer, wk.SegmentationLayer, 7)
    assert color.bounding_box.is_empty()
    assert repr(cells) == "SegmentationLayer('cells', dtype=uint32, num_channels=1)"
    assert dataset.get_segmentation_layer("cells") is cells
    with pytest.raises(ArgumentError, match="color"):
        dataset.get_segmentation_layer("color")


@pytest.mark.parametrize(
    "name",
    [
        "", "a/b", ".", "..", ".hidden", "a b", "ä", "a\\b", "a:b", "x" * 256, "a\n", None, 5,
        "zarr.json", "Zarr.json", "datasource-properties.json",  # files of the dataset, which would be deleted with it
    ],
)  # fmt: skip
def test_names_that_are_no_folders(dataset, name):
    with pytest.raises(InvalidNameError, match="layer name"):
        dataset.add_layer(name, "color")
    assert not dataset.layers


@pytest.mark.parametrize("name", ["color", "a.b", "a-b_c", "$1", "-a", "7"])
def test_names_that_are_folders(dataset, name):
    assert dataset.add_layer(name, "color").path == dataset.path / name


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"category": "image"}, CategoryError),
        ({"category": "color", "dtype": "float16"}, DtypeError),
        ({"category": "color", "dtype": "complex64"}, DtypeError),
        ({"category": "color", "dtype": "no such dtype"}, DtypeError),
        ({"category": "segmentation", "dtype": "float32"}, DtypeError),
        ({"category": "color", "num_channels": 0}, ShapeError),
        ({"category": "color", "num_channels": 1.5}, ShapeError),
        ({"category": "color", "data_format": "tiff"}, UnsupportedError),
        ({"category": "color", "data_format": "n5"}, UnsupportedError),
        ({"category": "color", "bounding_box": wk.BoundingBox((-1, 0, 0), (1, 1, 1))}, RegionError),
        ({"category": "color", "bounding_box": ((0, 0, 0), (1, 1, 1))}, RegionError),
        ({"category": "color", "largest_segment_id": 5}, ArgumentError),
        ({"category": "segmentation", "largest_segment_id": "many"}, ArgumentError),
    ],
)
def test_layers_that_cannot_be(dataset, saved, arguments, error):
    with pytest.raises(error):
        dataset.add_layer("layer", **arguments)
    assert saved()["dataLayers"] == []


@pytest.mark.parametrize(
    ("dtype", "found"),
    [(None, "uint8"), ("float", "float32"), (float, "float32"), ("double", "float64"), ("<u2", "uint16")],
)
def test_dtypes_as_webknossos_takes_them(dataset, dtype, found):
    assert dataset.add_layer("color", "color", dtype=dtype).dtype == np.dtype(found)


def test_data_formats_of_other_libraries(dataset, webknossos):
    layer = dataset.add_layer("color", "color", data_format=webknossos.DataFormat.WKW)
    assert layer.data_format is wk.DataFormat.WKW


@pytest.mark.covers("Dataset.get_or_add_layer")
def test_a_layer_that_exists(dataset):
    layer = dataset.add_layer("cells", "segmentation", dtype="uint32")
    with pytest.raises(NameTakenError, match="get_or_add_layer"):
        dataset.add_layer("cells", "color")
    with pytest.raises(IndexError):  # what webknossos raises
        dataset.add_layer("cells", "segmentation")
    assert dataset.get_or_add_layer("cells", "segmentation") is layer
    assert dataset.get_or_add_layer("cells", "segmentation", dtype="uint32", num_channels=1) is layer
    for other in ({"category": "color"}, {"dtype": "uint16"}, {"num_channels": 2}):
        with pytest.raises(MismatchError, match=next(iter(other))):
            dataset.get_or_add_layer("cells", **{"category": "segmentation"} | other)
    assert dataset.get_or_add_layer("more", "color", dtype="uint16").dtype == np.uint16


def test_a_layer_that_does_not_exist(dataset, layer):
    with pytest.raises(LayerNotFoundError, match=r"no layer 'colour'; it has 'color'\.$"):
        dataset.get_layer("colour")
    with pytest.raises(KeyError):
        dataset.delete_layer("colour")
    with pytest.raises(IndexError):
        dataset.get_layer("colour")


@pytest.mark.covers("Dataset.delete_layer")
def test_deleting_a_layer(dataset, mag_view, saved):
    assert mag_view.path.exists()
    dataset.delete_layer("color")
    assert (dict(dataset.layers), saved()["dataLayers"]) == ({}, [])
    assert [path.name for path in dataset.path.iterdir()] == ["datasource-properties.json"]
    dataset.add_layer("color", "color", dtype="uint16").add_mag(1)


@pytest.mark.covers("Dataset.calculate_bounding_box")
def test_the_box_of_a_dataset(dataset):
    assert dataset.calculate_bounding_box().is_empty()
    dataset.add_layer("empty", "color")
    dataset.add_layer("a", "color", bounding_box=wk.BoundingBox((5, 5, 5), (2, 2, 2)))
    dataset.add_layer("b", "color", bounding_box=wk.BoundingBox((3, 6, 5), (2, 8, 2)))
    assert dataset.calculate_bounding_box() == wk.BoundingBox((3, 5, 5), (4, 9, 2))


@pytest.mark.covers("Layer.bounding_box")
def test_setting_the_box_of_a_layer(dataset, layer):
    layer.bounding_box = wk.BoundingBox((1, 2, 3), (4, 5, 6))
    assert wk.Dataset.open(dataset.path).get_layer("color").bounding_box == layer.bounding_box
    with pytest.raises(AssertionError, match="negative"):
        layer.bounding_box = wk.BoundingBox((-1, 2, 3), (4, 5, 6))
    with pytest.raises(RegionError):
        layer.bounding_box = None
    assert layer.bounding_box == wk.BoundingBox((1, 2, 3), (4, 5, 6))


# ---- Mags


@pytest.mark.covers("Layer.mags", "Layer.get_mag", "Layer.add_mag", "Layer.get_finest_mag", "Layer.path")
def test_mags(layer):
    for mag in ("4-4-1", 1, wk.Mag(2), [4, 4, 4]):
        layer.add_mag(mag)
    assert list(layer.mags) == [wk.Mag(1), wk.Mag(2), wk.Mag("4-4-1"), wk.Mag(4)]
    assert layer.get_mag("2") is layer.get_mag(2) is layer.mags[wk.Mag(2)]
    assert layer.get_finest_mag() is layer.get_mag(1)
    assert sorted(path.name for path in layer.path.iterdir()) == ["1", "2", "4", "4-4-1"]


@pytest.mark.parametrize(
    ("arguments", "chunk", "shard"),
    [
        ({}, 32, 1024),
        ({"chunk_shape": 64}, 64, 2048),
        ({"shard_shape": 256}, 32, 256),
        ({"chunk_shape": (8, 8, 8), "shard_shape": wk.Vec3Int(64, 64, 64)}, 8, 64),
        ({"chunk_shape": np.full(3, 8), "chunks_per_shard": np.full(3, 4)}, 8, 32),
        ({"chunk_shape": 1, "shard_shape": 1}, 1, 1),
    ],
)
@pytest.mark.filterwarnings("ignore:.*chunks_per_shard:DeprecationWarning")
def test_shapes_of_a_mag(layer, arguments, chunk, shard):
    info = layer.add_mag(1, **arguments).info
    assert (info.chunk_shape, info.shard_shape) == ((chunk,) * 3, (shard,) * 3)


@pytest.mark.parametrize(("compress", "codec"), [(True, "lz4"), ("lz4", "lz4"), ("lz4hc", "lz4hc"), (False, "raw")])
def test_compression_of_a_mag(layer, compress, codec):
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=32, compress=compress)
    assert word_of(mag_view._array.spec.codecs) == codec
    assert mag_view.info.compression_mode == (codec != "raw")
    mag_view.write(counted((9, 9, 9)), absolute_offset=(5, 5, 5))
    np.testing.assert_array_equal(mag_view.read(), counted((9, 9, 9)))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"chunk_shape": 33}, ShapeError),
        ({"chunk_shape": (32, 32, 16)}, ShapeError),
        ({"chunk_shape": 0}, ShapeError),
        ({"chunk_shape": (8, 8)}, ShapeError),
        ({"shard_shape": 100}, ShapeError),
        ({"shard_shape": 16}, ShapeError),
        ({"shard_shape": 96}, ShapeError),
        ({"shard_shape": 0}, ShapeError),
        ({"shard_shape": 1 << 20}, ShapeError),
        ({"shard_shape": 1 << 25, "compress": False, "chunk_shape": 1024}, ShapeError),
        ({"chunks_per_shard": 0}, ShapeError),
        ({"chunks_per_shard": 3}, ShapeError),
        ({"compress": "zip"}, ArgumentError),
        ({"compress": ["lz4"]}, ArgumentError),
    ],
)
@pytest.mark.filterwarnings("ignore:.*chunks_per_shard:DeprecationWarning")
def test_mags_that_cannot_be(layer, saved, arguments, error):
    with pytest.raises(error):
        layer.add_mag(1, **arguments)
    assert saved()["dataLayers"][0]["mags"] == []
    assert not (layer.path / "1").exists()


def test_two_shard_shapes_contradict(layer):
    with pytest.warns(DeprecationWarning, match="chunks_per_shard"), pytest.raises(ValueError, match="alone"):
        layer.add_mag(1, shard_shape=64, chunks_per_shard=2)


def test_mags_that_are_none(layer):
    with pytest.raises(AssertionError):
        layer.add_mag(3)
    with pytest.raises(ValueError, match="mag"):
        layer.get_mag("fine")


@pytest.mark.covers("Layer.get_or_add_mag")
def test_a_mag_that_exists(layer):
    mag_view = layer.add_mag(1, chunk_shape=16, shard_shape=64)
    with pytest.raises(NameTakenError, match="get_or_add_mag"):
        layer.add_mag(1)
    assert layer.get_or_add_mag(1) is mag_view
    assert layer.get_or_add_mag(1, chunk_shape=16, shard_shape=64, compress=True) is mag_view
    for name, other in {"chunk_shape": 32, "shard_shape": 128, "compress": False}.items():
        with pytest.raises(MismatchError, match=name):
            layer.get_or_add_mag(1, **{name: other})
    assert layer.get_or_add_mag(2, chunk_shape=8).info.chunk_shape == (8, 8, 8)


def test_a_mag_that_does_not_exist(layer):
    for use in (layer.get_mag, layer.add_mag, layer.get_or_add_mag, layer.delete_mag):
        for mag in ("x", None, 3, (1, 2), [float("inf"), 1, 1]):
            with pytest.raises(wk.WkgpuError):
                use(mag)
    with pytest.raises(MagNotFoundError, match="add_mag"):
        layer.get_finest_mag()
    layer.add_mag(1)
    for access in (layer.get_mag, layer.delete_mag):
        with pytest.raises(MagNotFoundError, match=r"no mag 2-2-1; it has 1\.$"):
            access("2-2-1")


def test_a_shard_shape_of_a_mag_that_is_not_listed(dataset, layer, saved):
    layer.add_mag(1, chunk_shape=8, shard_shape=32)
    with dataset._changing() as properties:
        properties.layer("color").change_shard_shape(wk.Mag(1), (64, 64, 64))
    assert [mag["cubeLength"] for mag in saved()["dataLayers"][0]["mags"]] == [64]
    with pytest.raises(MagNotFoundError, match="no mag 2"), dataset._changing() as properties:
        properties.layer("color").change_shard_shape(wk.Mag(2), (64, 64, 64))


def test_files_in_the_place_of_a_new_mag_are_left_alone(layer, saved):
    (layer.path / "1").mkdir(parents=True)
    (layer.path / "1" / "notes.txt").write_text("important")
    with pytest.raises(AlreadyExistsError, match="not empty"):
        layer.add_mag(1)
    assert (layer.path / "1" / "notes.txt").read_text() == "important"
    assert saved()["dataLayers"][0]["mags"] == []


def test_a_mag_that_could_not_be_saved_leaves_no_files(layer, monkeypatch):
    from wkgpu.storage.stores.local.local_store import LocalStore

    def fail(store, key, data, **options):
        raise OSError("disk full")

    monkeypatch.setattr(LocalStore, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        layer.add_mag(1)
    monkeypatch.undo()
    assert not layer.mags
    layer.add_mag(1)


@pytest.mark.covers("Layer.delete_mag")
def test_deleting_a_mag(layer, mag_view, saved):
    layer.add_mag(2)
    layer.delete_mag(1)
    assert list(layer.mags) == [wk.Mag(2)]
    assert [entry["mag"] for entry in saved()["dataLayers"][0]["mags"]] == [[2, 2, 2]]
    assert [path.name for path in layer.path.iterdir()] == ["2"]
    assert layer.add_mag(1, chunk_shape=16).info.chunk_shape == (16, 16, 16)


def test_deleting_a_remote_mag_leaves_its_files(dataset, mag_view, tmp_path):
    other = wk.Dataset(tmp_path / "other", voxel_size=VOXEL_SIZE).add_layer("color", "color", dtype="uint8")
    with other.dataset._changing() as properties:
        properties.layer("color").add_mag(wk.Mag(1), str(mag_view.path), (32, 32, 32))
        properties.layer("color").bounding_box = mag_view.bounding_box
    remote = other.get_mag(1)
    assert remote.is_remote_to_dataset
    np.testing.assert_array_equal(remote.read(), mag_view.read())
    other.delete_mag(1)
    assert not other.mags
    assert mag_view.read().any()


@pytest.mark.parametrize("path", [".", "./color", "../precious", "./other/1", "{precious}", "./color/.."])
def test_deleting_a_mag_deletes_nothing_but_a_folder_of_its_layer(dataset, layer, tmp_path, path):
    precious = [tmp_path / "precious", dataset.path / "other" / "1", layer.path / "notes"]
    for folder in precious:
        folder.mkdir(parents=True)
        (folder / "file").write_text("important")
    document = json.loads((dataset.path / "datasource-properties.json").read_text())
    document["dataLayers"][0]["mags"] = [{"mag": [1, 1, 1], "path": path.format(precious=precious[0])}]
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    wk.Dataset.open(dataset.path).get_layer("color").delete_mag(1)
    assert [(folder / "file").read_text() for folder in precious] == ["important"] * 3
    assert not wk.Dataset.open(dataset.path).get_layer("color").mags


def test_deleting_a_linked_mag_deletes_the_link(dataset, mag_view, tmp_path):
    other = wk.Dataset(tmp_path / "other", voxel_size=VOXEL_SIZE)
    (other.path / "links").mkdir()
    (other.path / "links" / "1").symlink_to(mag_view.path)
    other.add_layer_for_existing_files("links", "color").delete_mag(1)
    assert not (other.path / "links" / "1").is_symlink()
    assert mag_view.read().any()


def test_deleting_a_linked_layer_leaves_its_files(dataset, mag_view, tmp_path):
    other = wk.Dataset(tmp_path / "other", voxel_size=VOXEL_SIZE)
    (other.path / "link").symlink_to(dataset.path / "color")
    linked = other.add_layer_for_existing_files("link", "color")
    np.testing.assert_array_equal(linked.get_mag(1).read(absolute_bounding_box=mag_view.bounding_box), mag_view.read())
    other.delete_layer("link")
    assert not (other.path / "link").exists()
    assert mag_view.read().any()


# ---- Files that exist, and segment ids


@pytest.mark.covers("Dataset.add_layer_for_existing_files")
def test_a_layer_for_existing_files(dataset, mag_view):
    mag_view.layer.add_mag("2-2-1", chunk_shape=8, shard_shape=16).write(counted((3, 3, 3)), absolute_offset=(64, 0, 0))
    shutil.copytree(dataset.path / "color", dataset.path / "copy")
    (dataset.path / "copy" / "4").mkdir()  # no mag
    copy = dataset.add_layer_for_existing_files("copy", "color")
    assert (copy.dtype, copy.num_channels, list(copy.mags)) == (np.uint8, 1, [wk.Mag(1), wk.Mag("2-2-1")])
    assert copy.bounding_box == wk.BoundingBox((0, 0, 0), (64, 64, 64))  # of the finest mag's files
    np.testing.assert_array_equal(copy.get_mag(1).read(absolute_bounding_box=mag_view.bounding_box), mag_view.read())
    assert wk.Dataset.open(dataset.path).get_layer("copy").get_mag("2-2-1").info == copy.get_mag("2-2-1").info


def test_existing_files_that_are_no_layer(dataset, layer):
    with pytest.raises(NotFoundError, match="does not exist"):
        dataset.add_layer_for_existing_files("nothing", "color")
    (dataset.path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no mags"):
        dataset.add_layer_for_existing_files("empty", "color")
    layer.add_mag(1)
    wide = dataset.add_layer("wide", "color", dtype="uint16").add_mag(2)
    shutil.copytree(layer.path, dataset.path / "mixed")
    shutil.copytree(wide.path, dataset.path / "mixed" / "2")
    with pytest.raises(MismatchError, match="uint16"):
        dataset.add_layer_for_existing_files("mixed", "color")


@pytest.mark.covers("SegmentationLayer.refresh_largest_segment_id")
def test_largest_segment_id(dataset):
    layer = dataset.add_layer("cells", "segmentation", dtype="uint64")
    assert layer.largest_segment_id is None
    layer.refresh_largest_segment_id()
    assert layer.largest_segment_id is None
    layer.largest_segment_id = np.uint64(2**63 + 5)
    assert wk.Dataset.open(dataset.path).get_layer("cells").largest_segment_id == 2**63 + 5
    with pytest.raises(ArgumentError):
        layer.largest_segment_id = 1.5

    coarse = layer.add_mag("2-2-1", chunk_shape=8, shard_shape=32)
    layer.bounding_box = wk.BoundingBox((3, 3, 3), (80, 80, 40))
    layer.refresh_largest_segment_id()
    assert layer.largest_segment_id == 0
    voxels = np.zeros((40, 40, 40), np.uint64)
    voxels[33, 2, 39] = 2**64 - 1
    coarse.write(voxels, absolute_offset=(4, 4, 4))
    layer.refresh_largest_segment_id()
    assert layer.largest_segment_id == 2**64 - 1


# ---- A mag without a dataset


@pytest.mark.covers("MagView", "open_mag")
def test_a_mag_without_a_dataset(mag_view, tmp_path, volume):
    shutil.copytree(mag_view.path, tmp_path / "annotation" / "2-2-1")
    loose = wk.open_mag(tmp_path / "annotation" / "2-2-1")
    assert isinstance(loose, wk.MagView)
    assert (loose.mag, loose.name, loose.is_remote_to_dataset) == (wk.Mag("2-2-1"), "2-2-1", True)
    assert loose.bounding_box == wk.BoundingBox((0, 0, 0), (128, 128, 64))
    np.testing.assert_array_equal(loose.read()[0, 4:44, 8:44, 12:44], volume)
    loose.write(counted((4, 4, 4)), absolute_offset=(200, 0, 0))
    assert loose.bounding_box == wk.BoundingBox((0, 0, 0), (208, 128, 64))
    np.testing.assert_array_equal(
        loose.get_view(absolute_offset=(200, 0, 0), size=(8, 8, 4)).read(), counted((4, 4, 4))
    )
    assert repr(loose).startswith("MagView(name='2-2-1'")
    with pytest.raises(NotFoundError, match="no layer"):
        loose.layer  # noqa: B018


def test_the_mag_of_a_folder_with_another_name(mag_view, tmp_path):
    shutil.copytree(mag_view.path, tmp_path / "volume")
    assert wk.open_mag(tmp_path / "volume").mag == wk.Mag(1)
    assert wk.open_mag(tmp_path / "volume", mag=4).mag == wk.Mag(4)
    assert wk.open_mag(tmp_path / "volume", read_only=True).read_only


def test_folders_that_are_no_mag(dataset, tmp_path):
    with pytest.raises(NotFoundError, match="does not exist"):
        wk.open_mag(tmp_path / "nothing")
    with pytest.raises(NotFoundError, match=r"header\.wkw"):
        wk.open_mag(tmp_path)
    with pytest.raises(NotFoundError, match=r"Dataset\.open"):
        wk.open_mag(dataset.path)


# ---- What other processes do


def test_what_others_add_is_found(dataset, layer):
    other = wk.Dataset.open(dataset.path)
    other.add_layer("new", "color")
    other.get_layer("color").add_mag(4)
    assert dataset.get_layer("new").name == "new"
    assert layer.get_mag(4).name == "4"


def test_what_others_delete_is_missed(dataset, layer):
    other = wk.Dataset.open(dataset.path)
    layer.add_mag(1)
    dataset.delete_layer("color")
    with pytest.raises(LayerNotFoundError):
        other.get_layer("color").add_mag(2)
    assert not (dataset.path / "color").exists()


def test_changes_keep_what_others_changed(dataset, layer):
    other = wk.Dataset.open(dataset.path)
    other.get_layer("color").bounding_box = wk.BoundingBox((0, 0, 0), (10, 10, 10))
    layer.add_mag(1).write(counted((4, 4, 4)), absolute_offset=(20, 0, 0))
    assert layer.bounding_box == wk.BoundingBox((0, 0, 0), (24, 10, 10))
    assert wk.Dataset.open(dataset.path).get_layer("color").bounding_box == layer.bounding_box


# ---- Layers of an array, and like others


@pytest.mark.covers("Dataset.write_layer")
@pytest.mark.parametrize(("shape", "channels"), [((70, 60, 50), 1), ((3, 70, 60, 50), 3)])
def test_a_layer_of_an_array(dataset, shape, channels):
    data = np.random.default_rng(0).integers(0, 255, shape, dtype="uint8")
    layer = dataset.write_layer("new", "color", data, mag=2, absolute_offset=(4, 6, 8), shard_shape=64, chunk_shape=16)
    assert (layer.dtype, layer.num_channels, layer.bounding_box) == (
        np.dtype("uint8"), channels, wk.BoundingBox((4, 6, 8), (140, 120, 100)),
    )  # fmt: skip
    np.testing.assert_array_equal(layer.get_mag(2).read(), data.reshape(channels, *shape[-3:]))
    assert layer.get_mag(2).info.shard_shape == (64, 64, 64)
    assert len(layer.mags) > 1
    assert list(dataset.write_layer("alone", "color", data, downsample=False).mags) == [wk.Mag(1)]


def test_a_layer_of_an_array_that_cannot_be_written_is_none(dataset):
    data = np.zeros((8, 8, 8), "uint8")
    for arguments in ({"shard_shape": 33}, {"absolute_offset": (-1, 0, 0)}, {"chunk_shape": 7}):
        with pytest.raises(wk.WkgpuError):
            dataset.write_layer("new", "color", data, **arguments)
        assert "new" not in dataset.layers
        assert not (dataset.path / "new").exists()
    with pytest.raises(wk.errors.ShapeError, match=r"\(8, 8\)"):
        dataset.write_layer("new", "color", data[0])


def test_a_layer_of_an_array_is_none_after_an_interrupt_that_comes_when_it_is_listed(dataset, monkeypatch):
    adopt = wk.Dataset._adopt
    interrupts = iter([KeyboardInterrupt])

    def interrupted(self, properties):
        if properties.layers and (error := next(interrupts, None)):
            raise error
        adopt(self, properties)

    monkeypatch.setattr(wk.Dataset, "_adopt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataset.write_layer("new", "color", np.zeros((8, 8, 8), "uint8"))
    assert list(wk.Dataset.open(dataset.path).layers) == []


@pytest.mark.covers("Dataset.add_layer_like")
def test_a_layer_like_another(dataset, tmp_path):
    box = wk.BoundingBox((1, 2, 3), (4, 5, 6))
    cells = dataset.add_layer("cells", "segmentation", dtype="uint64", bounding_box=box, largest_segment_id=7)
    other = wk.Dataset(tmp_path / "other", voxel_size=(1, 1, 1))
    for target, name in ((dataset, "more"), (other, "cells")):
        like = target.add_layer_like(cells, name)
        assert (like.name, like.category, like.dtype, like.bounding_box) == (name, "segmentation", np.uint64, box)
        assert like.largest_segment_id == 7
        assert not like.mags
    image = dataset.add_layer("rgb", "color", dtype="uint8", num_channels=3)
    assert other.add_layer_like(image, "rgb").num_channels == 3


@pytest.mark.parametrize("is_listed_with_path", [True, False])
def test_a_uniform_mag_in_a_folder_of_its_long_name(dataset, layer, is_listed_with_path):
    """As older cubers and other tools name them."""
    for mag in (1, 2):
        layer.add_mag(mag, chunk_shape=8, shard_shape=16).write(counted((16, 16, 16)) + np.uint8(mag))
    (layer.path / "2").rename(layer.path / "2-2-2")
    with dataset._changing() as properties:
        entry = properties.layer("color").document["mags"][1]
        entry.update({"path": "./color/2-2-2"}) if is_listed_with_path else entry.pop("path")
    for step in (lambda: None, lambda: layer.get_mag(2).rechunk(chunk_shape=16, shard_shape=16)):
        step()
        found = wk.Dataset.open(dataset.path).get_layer("color").get_mag(2)
        np.testing.assert_array_equal(found.read(), counted((16, 16, 16)) + np.uint8(2))
    assert wk.open_mag(layer.path / "2-2-2").mag == wk.Mag(2)
    dataset.get_layer("color").delete_mag(2)
    assert not (layer.path / "2-2-2").exists()
