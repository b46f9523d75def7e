"""Layers and mags of other datasets: copied, or listed where they are."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import VOXEL_SIZE

import wkgpu as wk
from wkgpu.dataset.changes import copying
from wkgpu.errors import (
    AlreadyExistsError,
    ArgumentError,
    InvalidNameError,
    LayerNotFoundError,
    MismatchError,
    NameTakenError,
    NotFoundError,
    ReadOnlyError,
    ShapeError,
    UnsupportedError,
)

SMALL = {"chunk_shape": 8, "shard_shape": 32}
MESH = {"name": "skin", "path": "./cells/meshes/skin.hdf5", "dataFormat": "hdf5"}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture
def cells(tmp_path, random):
    """A segmentation with a box that mag 2 exceeds, a mesh, a view configuration and a key that wkgpu does not know."""
    other = wk.Dataset(tmp_path / "other", voxel_size=VOXEL_SIZE)
    layer = other.add_layer("cells", "segmentation", dtype="uint32", largest_segment_id=99)
    layer.add_mag(1, **SMALL).write(random.integers(1, 99, (39, 36, 32)).astype("uint32"), absolute_offset=(4, 8, 12))
    layer.downsample_mag(1, 2, **SMALL)
    (layer.path / "meshes").mkdir()
    (layer.path / "meshes" / "skin.hdf5").write_text("mesh")
    with other._changing() as properties:
        document = properties.layer("cells").document
        document |= {"attachments": {"meshes": [MESH]}, "defaultViewConfiguration": {"alpha": 3.0}, "team": "x"}
    return layer


def entry(dataset, name):
    """What the properties file says of a layer, its mags by name; paths as they are written."""
    listed = json.loads((Path(dataset.path) / "datasource-properties.json").read_text())["dataLayers"]
    (found,) = (layer for layer in listed if layer["name"] == name)
    return found


def peers(webknossos, tmp_path, action):
    """What a layer looks like after an action by wkgpu, and by the WEBKNOSSOS library, in two datasets alike."""
    found = []
    for library in (wk, webknossos):
        folder = tmp_path / "target"
        dataset = library.Dataset(folder, voxel_size=VOXEL_SIZE)
        action(library, dataset)
        layers = json.loads((folder / "datasource-properties.json").read_text())["dataLayers"]
        voxels = {
            f"{name} {mag}": mag_view.read(absolute_offset=(0, 0, 0), size=(64, 64, 64)).tobytes()
            for name, layer in wk.Dataset.open(folder).layers.items()
            for mag, mag_view in layer.mags.items()
        }
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        found.append((layers, voxels, files))
        shutil.rmtree(folder)
    return found


@pytest.mark.parametrize(
    "action",
    {
        "ref": lambda dataset, layer: dataset.add_layer_as_ref(layer),
        "ref by path": lambda dataset, layer: dataset.add_layer_as_ref(str(layer.path), "renamed"),
        "copy": lambda dataset, layer: dataset.add_layer_as_copy(layer, "renamed"),
        "copy by path": lambda dataset, layer: dataset.add_layer_as_copy(str(layer.path)),
        "copy without": lambda dataset, layer: dataset.add_layer_as_copy(layer, with_attachments=False),
        "copy in shapes": lambda dataset, layer: dataset.add_layer_as_copy(
            layer, chunk_shape=16, shard_shape=64, compress=True
        ),
    }.items(),
    ids=lambda action: action[0],
)
def test_layers_as_the_library_adds_them(webknossos, tmp_path, cells, action):
    def add(library, dataset):
        layer = cells if library is wk else webknossos.Dataset.open(cells.dataset.path).get_layer("cells")
        action[1](dataset, layer)

    (ours, our_voxels, our_files), (theirs, their_voxels, their_files) = peers(webknossos, tmp_path, add)
    assert ours[0].pop("team") == "x"  # which the library drops
    assert ours == theirs
    assert our_voxels == their_voxels
    assert our_files == their_files


@pytest.mark.parametrize(
    "action",
    {
        "ref": lambda layer, mag_view: layer.add_mag_as_ref(mag_view),
        "ref by path": lambda layer, mag_view: layer.add_mag_as_ref(str(mag_view.path), mag=4),
        "ref without box": lambda layer, mag_view: layer.add_mag_as_ref(mag_view, extend_layer_bounding_box=False),
        "copy": lambda layer, mag_view: layer.add_mag_as_copy(mag_view),
        "copy as another": lambda layer, mag_view: layer.add_mag_as_copy(mag_view, mag=8),
        "copy by path": lambda layer, mag_view: layer.add_mag_as_copy(str(mag_view.path), mag="4-4-2"),
        "copy in shapes": lambda layer, mag_view: layer.add_mag_as_copy(mag_view, chunk_shape=16, shard_shape=64),
    }.items(),
    ids=lambda action: action[0],
)
def test_mags_as_the_library_adds_them(webknossos, tmp_path, cells, action):
    def add(library, dataset):
        layer = dataset.add_layer("mine", "segmentation", dtype="uint32", data_format="wkw")
        other = cells.dataset if library is wk else webknossos.Dataset.open(cells.dataset.path)
        action[1](layer, other.get_layer("cells").get_mag(2))

    ours, theirs = peers(webknossos, tmp_path, add)
    assert ours == theirs


@pytest.mark.covers("Dataset.add_layer_as_ref")
def test_what_is_listed_belongs_to_the_other_dataset(dataset, cells, monkeypatch):
    listed = dataset.add_layer_as_ref(cells, "listed")
    mag_view = listed.get_mag(1)
    assert mag_view.is_remote_to_dataset
    np.testing.assert_array_equal(mag_view.read(), cells.get_mag(1).read())
    with pytest.raises(ReadOnlyError, match="allow_foreign_writes"):
        mag_view.write(np.zeros((8, 8, 8), "uint32"), absolute_offset=(4, 8, 12))
    allowed = wk.Dataset.open(dataset.path, allow_foreign_writes=True).get_layer("listed").get_mag(1)
    allowed.write(np.full((8, 8, 8), 7, "uint32"), absolute_offset=(4, 8, 12))
    assert (cells.get_mag(1).read(absolute_offset=(4, 8, 12), size=(8, 8, 8)) == 7).all()
    listed.delete_mag(2)
    dataset.delete_layer("listed")
    assert {path.name for path in cells.path.iterdir()} == {"1", "2", "meshes"}


def test_a_reference_back_is_relative(dataset, cells):
    dataset.add_layer_as_ref(cells, "listed")
    cells.dataset.add_layer_as_ref(dataset.get_layer("listed"), "again")
    assert [mag["path"] for mag in entry(cells.dataset, "again")["mags"]] == ["./cells/1", "./cells/2"]
    cells.dataset.delete_layer("again")
    assert (cells.path / "1" / "header.wkw").exists()


def test_layers_that_cannot_be_read_are_listed(dataset, cells):
    """Of other formats, and with mags at a URL: what the file says of them is enough."""
    with cells.dataset._changing() as properties:
        properties.layer("cells").document["mags"][1]["path"] = "s3://bucket/cells/2"
        properties.add_layer(
            type(cells._properties)(
                {
                    "name": "zarr",
                    "category": "color",
                    "dataFormat": "n5",
                    "elementClass": "uint8",
                    "boundingBox": {"topLeft": [0, 0, 0], "width": 1, "height": 1, "depth": 1},
                    "mags": [{"mag": [1, 1, 1], "path": "./zarr/1", "zarr": "kept"}],
                },
                cells.dataset.path,
            )
        )
    dataset.add_layer_as_ref(cells)
    assert entry(dataset, "cells")["mags"][1]["path"] == "s3://bucket/cells/2"
    dataset.add_layer_as_ref(cells.dataset.get_layer("zarr"))
    (mag,) = entry(dataset, "zarr")["mags"]
    assert mag["path"] == str(cells.dataset.path / "zarr" / "1")
    assert mag["zarr"] == "kept"
    assert "cubeLength" not in mag
    layer = dataset.add_layer("mine", "segmentation", dtype="uint32")
    remote = cells.dataset.get_layer("cells").get_mag(2)
    layer.add_mag_as_ref(remote, extend_layer_bounding_box=False)
    assert entry(dataset, "mine")["mags"][0]["path"] == "s3://bucket/cells/2"
    with pytest.raises(UnsupportedError, match=r"s3://bucket/cells/2.*add_mag_as_ref"):
        layer.add_mag_as_copy(remote, mag=4)
    with pytest.raises(UnsupportedError, match="s3://bucket"):
        dataset.add_layer_as_copy(cells.dataset.get_layer("cells"), "copied")
    with pytest.raises(UnsupportedError, match="n5"):
        dataset.add_layer_as_copy(cells.dataset.get_layer("zarr"), "copied")
    assert "copied" not in dataset.layers


@pytest.mark.covers("Layer.add_mag_as_copy", "Layer.add_mag_as_ref")
def test_a_mag_without_a_dataset(tmp_path, dataset, cells):
    loose = shutil.copytree(cells.path / "2", tmp_path / "loose" / "2-2-1")
    layer = dataset.add_layer("mine", "segmentation", dtype="uint32")
    layer.add_mag_as_copy(loose)
    layer.add_mag_as_ref(str(loose), mag=2)
    for mag in ("2-2-1", 2):
        found = layer.get_mag(mag).read(absolute_offset=(0, 0, 0), size=(48, 48, 48))
        assert found.any()
    assert entry(dataset, "mine")["mags"][1]["cubeLength"] == 32
    os.rename(loose, loose.with_name("gone"))
    assert layer.get_mag("2-2-1").read().any()


@pytest.mark.covers("Dataset.add_layer_as_copy", "Dataset.add_layer_as_ref")
def test_errors(tmp_path, dataset, cells):
    mag_view = cells.get_mag(1)
    dataset.add_layer("cells", "segmentation", dtype="uint32")
    color = dataset.add_layer("color", "color")
    for add in (dataset.add_layer_as_copy, dataset.add_layer_as_ref):
        with pytest.raises(NameTakenError, match="'cells' already"):
            add(cells)
        with pytest.raises(InvalidNameError, match="a/b"):
            add(cells, "a/b")
        with pytest.raises(LayerNotFoundError, match="no layer 'nuclei'"):
            add(cells.path.parent / "nuclei")
        with pytest.raises(NotFoundError, match="does not exist"):
            add(tmp_path / "nowhere" / "cells")
        with pytest.raises(ArgumentError, match="give a Layer, or the path"):
            add(7)
        with pytest.raises(UnsupportedError, match="s3://bucket"):
            add("s3://bucket/cortex/cells")
        with pytest.raises(ReadOnlyError):
            getattr(wk.Dataset.open(dataset.path, read_only=True), add.__name__)(cells, "new")
    with pytest.raises(AssertionError, match=r"one of .* itself.*add_layer_as_copy"):
        cells.dataset.add_layer_as_ref(cells, "twice")
    dataset.add_layer_as_copy(cells, exists_ok=True)
    with pytest.raises(NameTakenError, match="has a mag 1 already"):
        dataset.add_layer_as_copy(cells, exists_ok=True)
    with pytest.raises(ShapeError, match="multiple of chunk_shape"):
        dataset.add_layer_as_copy(cells, "new", chunk_shape=32, shard_shape=48)
    for add in (color.add_mag_as_copy, color.add_mag_as_ref):
        with pytest.raises(MismatchError, match=r"dtype=uint32.*'color' has uint8"):
            add(mag_view)
        with pytest.raises(ArgumentError, match="give a MagView"):
            add(None)
        with pytest.raises(NotFoundError):
            add(tmp_path / "nowhere")
    for add in (dataset.get_layer("cells").add_mag_as_copy, dataset.get_layer("cells").add_mag_as_ref):
        with pytest.raises(NameTakenError, match="has a mag 1 already"):
            add(mag_view)
    assert list(dataset.layers) == ["cells", "color"]
    assert not color.mags


def test_of_a_layer_that_cannot_be_copied_nothing_is_left(dataset, cells):
    """A file of a coarser mag is damaged, which is found when it is encoded again."""
    for path in (cells.path / "2").rglob("x*.wkw"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(wk.WkgpuError):
        dataset.add_layer_as_copy(cells, chunk_shape=16)
    assert list(dataset.layers) == []
    assert [path.name for path in dataset.path.iterdir()] == ["datasource-properties.json"]


@pytest.mark.parametrize("name", ["1", "notes.txt"])
def test_files_in_the_folder_of_a_new_layer_are_not_deleted(dataset, cells, name):
    file = dataset.path / "cells" / name / "x0.wkw"
    file.parent.mkdir(parents=True)
    file.write_text("of a layer that is not listed")
    for add in (
        lambda: dataset.add_layer_as_copy(cells),
        lambda: dataset.write_layer("cells", "color", np.ones((8, 8, 8), "uint8"), shard_shape=33),
    ):
        with pytest.raises(AlreadyExistsError, match=r"cells exists and is not empty"):
            add()
        assert file.exists()
        assert list(dataset.layers) == []


def test_a_layer_that_another_process_adds_concurrently_is_not_deleted(dataset, cells, monkeypatch):
    check_room = copying.LayerCopy.check_room

    def others_first(copy, target):
        check_room(copy, target)
        other = wk.Dataset.open(dataset.path).add_layer("cells", "segmentation", dtype="uint32")
        other.add_mag(2, **SMALL).write(np.ones((8, 8, 8), "uint32"), absolute_offset=(0, 0, 0))

    monkeypatch.setattr(copying.LayerCopy, "check_room", others_first)
    with pytest.raises(NameTakenError):
        dataset.add_layer_as_copy(cells)
    assert wk.Dataset.open(dataset.path).get_layer("cells").get_mag(2).read().any()


def test_a_mag_that_another_process_deletes_concurrently_is_named(dataset, cells, monkeypatch):
    check_room = copying.LayerCopy.check_room

    def deleted(copy, target):
        check_room(copy, target)
        wk.Dataset.open(cells.dataset.path).get_layer("cells").delete_mag(2)
        cells.dataset._refresh()

    monkeypatch.setattr(copying.LayerCopy, "check_room", deleted)
    with pytest.raises(NotFoundError, match="cells/2 does not exist"):
        dataset.add_layer_as_copy(cells)
    assert list(wk.Dataset.open(dataset.path).layers) == []


def test_old_files_list_mags_without_paths(dataset, cells):
    with dataset._changing() as properties:
        properties.document["dataLayers"].append(
            {
                "name": "old",
                "category": "segmentation",
                "elementClass": "uint32",
                "wkwResolutions": [],
                "boundingBox": {"topLeft": [0, 0, 0], "width": 0, "height": 0, "depth": 0},
            }
        )
    old = wk.Dataset.open(dataset.path).get_layer("old")
    with pytest.raises(UnsupportedError, match=r"wkwResolutions.*add_mag_as_copy"):
        old.add_mag_as_ref(cells.get_mag(1))
    old.add_mag_as_copy(cells.get_mag(1))
    np.testing.assert_array_equal(old.get_mag(1).read(), cells.get_mag(1).read())
    again = cells.dataset.add_layer_as_ref(old, "again")
    np.testing.assert_array_equal(again.get_mag(1).read(), cells.get_mag(1).read())


# ---- Layers that are like others, and what kind they are


@pytest.mark.covers("Dataset.add_layer_like")
def test_like_another_one(webknossos, tmp_path, cells):
    def add(library, dataset):
        other = cells.dataset if library is wk else webknossos.Dataset.open(cells.dataset.path)
        dataset.add_layer_like(other.get_layer("cells"), "like")

    ((ours,), *_), ((theirs,), *_) = peers(webknossos, tmp_path, add)
    theirs["boundingBox"].pop("axisOrder", None)
    assert ours == theirs


def test_like_an_image_of_which_the_file_says_a_largest_id(dataset, layer):
    with dataset._changing() as properties:
        properties.layer("color").document["largestSegmentId"] = 5
    assert dataset.add_layer_like(layer, "like").category == "color"


@pytest.mark.covers("Layer.as_segmentation_layer", "Layer.as_color_layer")
@pytest.mark.covers("SegmentationLayer.as_segmentation_layer", "SegmentationLayer.as_color_layer")
def test_what_kind_a_layer_is(webknossos, layer, cells):
    assert cells.as_segmentation_layer() is cells
    assert layer.as_color_layer() is layer
    theirs = webknossos.Dataset.open(layer.dataset.path).get_layer("color")
    for other in (layer, theirs):
        with pytest.raises(TypeError):
            other.as_segmentation_layer()
    with pytest.raises(ArgumentError, match="'cells' is a segmentation"):
        cells.as_color_layer()


@pytest.mark.covers("Dataset.get_or_add_layer")
def test_a_layer_that_exists_has_the_format_that_is_asked_for(dataset, layer):
    assert dataset.get_or_add_layer("color", "color", data_format="wkw") is layer
    with pytest.raises(MismatchError, match="data_format=wkw, not n5"):
        dataset.get_or_add_layer("color", "color", data_format="n5")
    with dataset._changing() as properties:
        properties.layer("color").document["dataFormat"] = "n5"
    assert dataset.get_or_add_layer("color", "color", data_format="n5") is layer
    with pytest.raises(UnsupportedError, match="cannot be written"):
        dataset.get_or_add_layer("new", "color", data_format="n5")


@pytest.mark.covers("SegmentationLayer.refresh_largest_segment_id")
@pytest.mark.parametrize("chunk_shape", [None, (32, 32, 32), (64, 32, 64)])
def test_the_largest_id_in_chunks(cells, chunk_shape):
    cells.largest_segment_id = None
    cells.refresh_largest_segment_id(chunk_shape=chunk_shape)
    assert cells.largest_segment_id == cells.get_mag(1).read().max()
    with pytest.raises(AssertionError, match="must be a multiple of the shards"):
        cells.refresh_largest_segment_id(chunk_shape=(8, 8, 8))
    layer = wk.Dataset.open(cells.dataset.path, read_only=True).get_segmentation_layer("cells")
    with pytest.raises(ReadOnlyError):
        layer.refresh_largest_segment_id(chunk_shape=chunk_shape)
