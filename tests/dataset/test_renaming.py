"""Layers that get other names."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.dataset.changes import folder_move
from wkgpu.dataset.leftovers import leftovers
from wkgpu.errors import (
    AlreadyExistsError,
    InvalidNameError,
    LayerNotFoundError,
    NameTakenError,
    NotFoundError,
    ReadOnlyError,
    StorageAccessError,
)
from wkgpu.storage.stores.local.local_store import LocalStore


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


@pytest.mark.covers("Layer.name")
@pytest.mark.parametrize("exchanges", [True, False])
def test_the_layer_and_its_mags_follow(dataset, layer, mag_view, view, volume, saved, monkeypatch, exchanges):
    if not exchanges:
        monkeypatch.setattr(folder_move, "_exchange", lambda one, other: False)
    layer.add_mag(2)
    other = wk.Dataset.open(dataset.path).get_layer("color")
    others_mag = other.get_mag(1)
    assert others_mag.read().any()
    layer.name = "em.raw"
    assert names(dataset.path) == ["em.raw"]
    assert leftovers(dataset.path) == []
    assert list(dataset.layers) == ["em.raw"]
    assert dataset.get_layer("em.raw") is layer
    assert layer.get_mag(1) is mag_view
    assert mag_view.path == layer.path / "1" == dataset.path / "em.raw" / "1"
    np.testing.assert_array_equal(mag_view.read(absolute_offset=(4, 8, 12), size=volume.shape)[0], volume)
    mag_view.write(volume[:8, :8, :8], absolute_offset=(4, 8, 12))
    (listed,) = saved()["dataLayers"]
    assert [mag["path"] for mag in listed["mags"]] == ["./em.raw/1", "./em.raw/2"]
    # What does not follow says so, and writes nothing to where the layer was.
    for old in (view, others_mag):
        with pytest.raises(NotFoundError, match=r"color/1.*does not exist"):
            old.read()
        with pytest.raises(NotFoundError, match=r"color/1.*does not exist"):
            old.write(volume[:8, :8, :8], absolute_offset=(8, 16, 16))
    with pytest.raises(LayerNotFoundError, match=r"no layer 'color'; it has 'em.raw'"):
        other.add_mag(4)
    assert names(dataset.path) == ["em.raw"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_as_the_library_does(webknossos, tmp_path, dataset, layer, mag_view, saved):
    """Which leaves the paths of attachments as they were."""
    theirs = wk.Dataset.open(dataset.path).copy_dataset(tmp_path / "theirs")
    webknossos.Dataset.open(theirs.path).get_layer("color").name = "em"
    layer.name = "em"
    found = json.loads((theirs.path / "datasource-properties.json").read_text())
    assert saved()["dataLayers"] == found["dataLayers"]
    assert names(dataset.path) == names(theirs.path)


def test_all_that_names_the_layer_follows(dataset, layer, mag_view, saved):
    (layer.path / "meshes").mkdir()
    (layer.path / "meshes" / "a.hdf5").write_text("a mesh")
    dataset.add_layer("same", "color").add_mag_as_ref(mag_view)
    dataset.add_layer("colored", "color").add_mag(1)
    with dataset._changing() as properties:
        document = properties.layer("color").document
        document["mags"][0]["path"] = f"{layer.path}/1"  # as some writers do it
        document["attachments"] = {"meshes": [{"name": "a", "path": "color/meshes/a.hdf5", "dataFormat": "hdf5"}]}
        properties.document["defaultViewConfiguration"] = {
            "layers": {"color": {"alpha": 3}, "same": {"alpha": 4}},
            "nativelyRenderedLayerName": "color",
            "colorLayerOrder": ["same", "color", "colored"],
        }
    layer.name = "em"
    em, same, colored = saved()["dataLayers"]
    assert em["mags"][0]["path"] == same["mags"][0]["path"] == "./em/1"
    assert em["attachments"]["meshes"][0]["path"] == "./em/meshes/a.hdf5"
    assert colored["mags"][0]["path"] == "./colored/1"
    assert saved()["defaultViewConfiguration"] == {
        "layers": {"em": {"alpha": 3}, "same": {"alpha": 4}},
        "nativelyRenderedLayerName": "em",
        "colorLayerOrder": ["same", "em", "colored"],
    }
    np.testing.assert_array_equal(dataset.get_layer("same").get_mag(1).read(), mag_view.read())


def test_links_and_files_elsewhere_stay_where_they_are(tmp_path, dataset, layer, mag_view, saved):
    """A layer whose folder is a link keeps it; one without a folder has its mags where they were."""
    elsewhere = tmp_path / "elsewhere"
    layer.path.rename(elsewhere)
    layer.path.symlink_to(elsewhere)
    voxels = wk.Dataset.open(dataset.path).get_layer("color").get_mag(1).read()
    layer.name = "em"
    assert layer.path.readlink() == elsewhere
    np.testing.assert_array_equal(layer.get_mag(1).read(), voxels)
    other = wk.Dataset(tmp_path / "other", voxel_size=(1, 1, 1))
    listed = other.add_layer_as_ref(layer)
    listed.name = "listed"
    assert names(other.path) == []
    np.testing.assert_array_equal(wk.Dataset.open(other.path).get_layer("listed").get_mag(1).read(), voxels)


def test_paths_follow_that_lead_to_the_dataset_another_way(tmp_path, dataset, layer, mag_view, saved):
    with dataset._changing() as properties:
        properties.layer("color").document["mags"][0]["path"] = f"{layer.path}/1"
    (tmp_path / "link").symlink_to(dataset.path)
    linked = wk.Dataset.open(tmp_path / "link").get_layer("color")
    known = linked.get_mag(1)
    linked.name = "em"
    assert saved()["dataLayers"][0]["mags"][0]["path"] == "./em/1"
    assert linked.get_mag(1) is known
    assert known.read().any()


@pytest.mark.filterwarnings("ignore:A layer is left out")
def test_paths_of_a_layer_that_cannot_be_understood_follow(dataset, layer, mag_view, saved):
    with dataset._changing() as properties:
        odd = {"name": "odd", "category": "odd", "mags": [{"mag": 1, "path": "color/1"}, {"path": "colored/1"}]}
        properties.document["dataLayers"].append(odd)
    dataset._refresh()
    layer.name = "em"
    assert [mag["path"] for mag in saved()["dataLayers"][1]["mags"]] == ["./em/1", "colored/1"]


def test_folders_without_files_are_not_in_the_way(dataset, layer, mag_view, view):
    """As another process leaves them that adds an attachment to a layer while it is deleted."""
    (dataset.path / "em" / "meshes").mkdir(parents=True)
    layer.name = "em"
    assert names(layer.path) == ["1"]
    (dataset.path / "color" / "1" / "z0").mkdir(parents=True)
    dataset.add_layer_as_copy(layer, "color")
    assert wk.Dataset.open(dataset.path).get_layer("color").get_mag(1).read().any()
    (dataset.path / "gray" / "link").parent.mkdir()
    (dataset.path / "gray" / "link").symlink_to(dataset.path)
    with pytest.raises(AlreadyExistsError, match="gray exists and is not empty"):
        layer.name = "gray"


def test_a_disk_that_is_full_after_the_first_byte_of_the_journal(dataset, layer, mag_view, saved):
    before = saved()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        with pytest.raises(StorageAccessError, match="too large"):
            layer.name = "em"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved() == before
    assert names(dataset.path) == ["color"]
    assert not layer.path.is_symlink()


def test_old_files_list_mags_without_paths(dataset, layer, mag_view, saved):
    with dataset._changing() as properties:
        document = properties.layer("color").document
        document.pop("mags")
        document["wkwResolutions"] = [{"resolution": 1, "cubeLength": 32}]
    voxels = layer.get_mag(1).read()
    layer.name = "em"
    np.testing.assert_array_equal(layer.get_mag(1).read(), voxels)
    assert saved()["dataLayers"][0]["wkwResolutions"] == [{"resolution": 1, "cubeLength": 32}]


def test_errors(dataset, layer, mag_view, saved):
    before = saved()
    dataset.add_layer("taken", "color")
    (dataset.path / "notes").mkdir()
    (dataset.path / "notes" / "file").write_text("mine")
    (dataset.path / "empty").mkdir()
    for name, error in {
        "taken": NameTakenError,
        "notes": AlreadyExistsError,
        "a/b": InvalidNameError,
        ".x": InvalidNameError,
        "zarr.json": InvalidNameError,
        7: InvalidNameError,
    }.items():
        with pytest.raises(error):
            layer.name = name
    opened = wk.Dataset.open(dataset.path, read_only=True)
    with pytest.raises(ReadOnlyError):
        opened.get_layer("color").name = "em"
    layer.name = "color"
    assert saved()["dataLayers"][0] == before["dataLayers"][0]
    assert mag_view.read().any()
    layer.name = "empty"
    assert names(dataset.path) == ["empty", "notes"]


@pytest.mark.parametrize("error", [StorageAccessError("as if the disk were full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_name(dataset, layer, mag_view, volume, saved, monkeypatch, error):
    def fails(*_, **options):
        assert (dataset.path / "em" / "1" / "header.wkw").exists()
        assert (dataset.path / "color" / "1" / "header.wkw").exists()  # for readers, until the file is saved
        raise error

    before = saved()
    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "write", fails)
        with pytest.raises(type(error)):
            layer.name = "em"
    assert saved() == before
    assert names(dataset.path) == ["color"]
    assert not (dataset.path / "color").is_symlink()
    assert leftovers(dataset.path) == []
    assert dataset.get_layer("color") is layer
    assert layer.get_mag(1) is mag_view
    np.testing.assert_array_equal(mag_view.read(absolute_offset=(4, 8, 12), size=volume.shape)[0], volume)
    layer.name = "em"
    assert mag_view.path == Path(dataset.path / "em" / "1")
    assert mag_view.read().any()
