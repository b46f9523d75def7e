"""The groups of Zarr 3 layers: what WEBKNOSSOS writes, and what of theirs is kept."""

import json
import shutil

import numpy as np
import pytest
import zarr
from datasets import VOXEL_SIZE

import wkgpu as wk
from wkgpu.errors import NameTakenError, PropertiesError, ReadOnlyError

SHAPES = {"chunk_shape": 8, "shard_shape": 16, "compress": False}
BOX = wk.BoundingBox((0, 0, 0), (20, 18, 16))


def loaded(file):
    return json.loads(file.read_text())


def properties_of(dataset):
    """What the properties file says, without what differs between two datasets: their names."""
    found = loaded(dataset.path / "datasource-properties.json")
    del found["id"]
    for layer in found["dataLayers"]:
        layer["boundingBox"].pop("axisOrder", None)  # which WEBKNOSSOS writes as long as there are no mags
    return found


def listed_in(folder):
    """The paths of the arrays of a group."""
    (image,) = loaded(folder / "zarr.json")["attributes"]["ome"]["multiscales"]
    return [entry["path"] for entry in image["datasets"]]


@pytest.fixture
def layer(dataset):
    return dataset.add_layer("color", "color", data_format="zarr3", bounding_box=BOX)


@pytest.mark.parametrize("unit", ["nanometer", "micrometer"])
def test_both_write_the_same(tmp_path, webknossos, unit):
    made = {}
    for name, library in (("ours", wk), ("theirs", webknossos)):
        size = library.VoxelSize(VOXEL_SIZE, library.LengthUnit(unit))
        dataset = library.Dataset(tmp_path / name, voxel_size_with_unit=size)
        for layer_name, arguments in {
            "color": {"category": "color", "dtype_per_channel": "uint16"},
            "rgb": {"category": "color", "dtype_per_channel": "uint8", "num_channels": 3},
            "cells": {"category": "segmentation", "dtype_per_channel": "uint32", "largest_segment_id": 7},
            "floats": {"category": "color", "dtype_per_channel": "float32"},
            "none": {"category": "color"},
        }.items():
            layer = dataset.add_layer(layer_name, data_format="zarr3", **arguments)
            for mag in (1, "2-2-1", 4) if layer_name != "none" else ():
                layer.add_mag(mag, chunk_shape=32, shard_shape=64)
        dataset.get_layer("rgb").delete_mag(1)
        dataset.get_layer("floats").delete_mag("2-2-1")
        dataset.get_layer("floats").name = "renamed"
        made[name] = dataset
    ours, theirs = made["ours"], made["theirs"]
    assert properties_of(ours) == properties_of(theirs)
    files = {file.relative_to(theirs.path) for file in theirs.path.rglob("zarr.json")}
    assert {file.relative_to(ours.path) for file in ours.path.rglob("zarr.json")} == files
    for file in files:
        if len(file.parts) < 3:  # those of groups
            assert loaded(ours.path / file) == loaded(theirs.path / file)


def test_voxels_go_both_ways(dataset, tmp_path, webknossos, random):
    voxels = random.integers(0, 60_000, (2, *BOX.size)).astype("uint16")
    layer = dataset.add_layer("ours", "color", dtype="uint16", num_channels=2, data_format="zarr3")
    layer.add_mag(1, **SHAPES).write(voxels, absolute_offset=(3, 2, 1))
    theirs = webknossos.Dataset.open(dataset.path)
    found = theirs.get_layer("ours")
    np.testing.assert_array_equal(found.get_mag(1).read(), voxels)
    assert (*found.bounding_box.topleft, *found.bounding_box.size) == (3, 2, 1, *BOX.size)
    made = theirs.add_layer("theirs", "color", dtype_per_channel="uint16", num_channels=2, data_format="zarr3")
    box = webknossos.BoundingBox((16, 0, 32), BOX.size)
    made.add_mag("2-2-1", chunk_shape=32, shard_shape=32, compress=False).write(
        voxels[:, :10, :9], absolute_bounding_box=box, allow_resize=True, allow_unaligned=True
    )
    back = wk.Dataset.open(dataset.path).get_layer("theirs")
    np.testing.assert_array_equal(back.get_mag("2-2-1").read(), voxels[:, :10, :9])
    assert (back.bounding_box, list(back.mags)) == (wk.BoundingBox((16, 0, 32), BOX.size), [wk.Mag("2-2-1")])


def test_every_change_of_mags_is_listed(layer, dataset, tmp_path, volume):
    mag_view = layer.add_mag(1, **SHAPES)
    mag_view.write(volume)
    layer.add_mag("4-4-2", **SHAPES)
    layer.downsample_mag(1, 2, chunk_shape=8, shard_shape=16, compress=False)
    assert listed_in(layer.path) == ["1", "2", "4-4-2"]
    layer.add_mag_as_copy(mag_view, mag=8)
    layer.delete_mag("4-4-2")
    assert listed_in(layer.path) == ["1", "2", "8"]
    layer.name = "renamed"
    assert listed_in(dataset.path / "renamed") == ["1", "2", "8"]
    copy = dataset.copy_dataset(tmp_path / "copy", voxel_size=(1, 2, 3))
    assert listed_in(copy.path / "renamed") == ["1", "2", "8"]
    (image,) = loaded(copy.path / "renamed" / "zarr.json")["attributes"]["ome"]["multiscales"]
    assert image["datasets"][1]["coordinateTransformations"] == [{"type": "scale", "scale": [1.0, 2.0, 4.0, 6.0]}]
    assert loaded(copy.path / "zarr.json") == {"zarr_format": 3, "node_type": "group"}
    again = copy.add_layer_as_copy(layer, "again")
    assert listed_in(again.path) == ["1", "2", "8"]
    mag_view.rechunk(chunk_shape=16, shard_shape=32, target_path=tmp_path / "other", compress=False)
    assert listed_in(tmp_path / "other" / "renamed") == ["1"]
    for mag in list(layer.mags):
        layer.delete_mag(mag)
    assert listed_in(layer.path) == []
    other = wk.Dataset(tmp_path / "refs", voxel_size=VOXEL_SIZE)
    other.add_layer_as_ref(again)
    assert not (other.path / "again").exists()  # what others own is not listed


def test_layers_of_other_formats_have_no_groups(dataset):
    dataset.add_layer("wkw", "color", data_format="wkw").add_mag(1)
    assert not list(dataset.path.rglob("zarr.json"))


@pytest.mark.parametrize("place", ["attributes", "ome"])
def test_other_keys_and_older_versions_are_kept(layer, place):
    layer.add_mag(1, **SHAPES)
    file = layer.path / "zarr.json"
    axes = [{"name": "c", "type": "channel"}, *({"name": axis, "unit": "micrometer"} for axis in "zyx")]
    transformations = [
        {"type": "scale", "scale": [1, 0.5, 0.25, 0.25]}, {"type": "translation", "translation": [0, 1, 1, 1]},
    ]  # fmt: skip
    datasets = [{"path": "0", "coordinateTransformations": transformations, "mine": True}]
    image = {"version": "0.4", "name": "an image", "axes": axes, "datasets": datasets, "metadata": {"method": "x"}}
    (layer.path / "0").mkdir()  # an array that the properties file does not list
    attributes = {"multiscales": [image, {"second": 2}], "omero": {"channels": []}}
    attributes = {"ome": attributes, "more": 1} if place == "ome" else attributes
    before = {"zarr_format": 3, "node_type": "group", "extra": [1], "attributes": attributes}
    file.write_text(json.dumps(before))
    layer.add_mag(2, **SHAPES)
    added = {
        name: {"path": name, "coordinateTransformations": [{"type": "scale", "scale": [1.0, *scale]}]}
        for name, scale in (("1", [0.025, 0.01124, 0.01124]), ("2", [0.05, 0.02248, 0.02248]))
    }
    image["datasets"] = [added["1"], added["2"], *datasets]
    found = loaded(file)
    for entry in found["attributes"].get("ome", found["attributes"])["multiscales"][0]["datasets"]:
        for transformation in entry["coordinateTransformations"]:
            if "scale" in transformation:
                transformation["scale"] = [round(number, 9) for number in transformation["scale"]]
    assert found == before
    layer.delete_mag(1)
    image["datasets"] = [added["2"], *datasets]
    found = loaded(file)["attributes"]
    (found,) = (found.get("ome", found)["multiscales"][0],)
    assert [entry["path"] for entry in found["datasets"]] == ["2", "0"]


@pytest.mark.parametrize(
    "attributes", [{"mine": "x" * (2 << 20)}, {"ome": {"version": "0.5", "omero": {"channels": [1]}}}, None]
)
def test_a_group_without_an_image_gets_one(layer, attributes):
    layer.add_mag(1, **SHAPES)
    before = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (layer.path / "zarr.json").write_text(json.dumps(before))
    layer.add_mag(2, **SHAPES)
    assert listed_in(layer.path) == ["1", "2"]
    found = loaded(layer.path / "zarr.json")["attributes"]
    del found["ome"]["multiscales"], found["ome"]["version"]
    (attributes or {}).get("ome", {}).pop("version", None)
    assert found == {"ome": {}} | (attributes or {})


def test_scales_are_those_of_the_dataset(layer, dataset, tmp_path):
    """Those of an image that was copied from elsewhere may be others."""
    for mag in (1, 2):
        layer.add_mag(mag, **SHAPES)
    other = wk.Dataset(tmp_path / "other", voxel_size=(1, 2, 3))
    shutil.copytree(layer.path, other.path / "color")
    file = other.path / "color" / "zarr.json"
    before = loaded(file)
    (image,) = before["attributes"]["ome"]["multiscales"]
    image["datasets"][1]["coordinateTransformations"].append({"type": "translation", "translation": [0, 1, 1, 1]})
    image["datasets"][1]["mine"] = True
    file.write_text(json.dumps(before))
    other.add_layer_for_existing_files("color", "color")
    for entry, factor in zip(image["datasets"], (1, 2), strict=True):
        entry["coordinateTransformations"][0]["scale"] = [1.0, *(factor * length for length in (1.0, 2.0, 3.0))]
    assert loaded(file) == before


def test_mags_in_the_folder_are_listed_and_others_are_not(layer, dataset, tmp_path):
    original = layer.add_mag(1, **SHAPES)
    shutil.copytree(original.path, layer.path / "2")
    layer.add_mag_as_ref(layer.path / "2")
    assert listed_in(layer.path) == ["1", "2"]
    other = wk.Dataset(tmp_path / "other", voxel_size=VOXEL_SIZE).add_layer("color", "color", data_format="zarr3")
    other.add_mag(2, **SHAPES)
    other.add_mag_as_ref(original)
    wkw = dataset.add_layer("wkw", "color", data_format="wkw").add_mag(4, chunk_shape=8, shard_shape=16)
    shutil.copytree(wkw.path, other.path / "4")
    with other.dataset._changing() as properties:  # as no library writes it
        properties.layer("color").add_mag(wk.Mag(4), "./color/4", (16, 16, 16))
    other.add_mag(8, **SHAPES)
    assert list(other.mags) == [wk.Mag(1), wk.Mag(2), wk.Mag(4), wk.Mag(8)]
    assert listed_in(other.path) == ["2", "8"]


def test_a_mag_of_two_layers_stays_with_the_other_one(layer, dataset, volume):
    layer.add_mag(1, **SHAPES).write(volume)
    other = dataset.add_layer("other", "color", data_format="zarr3")
    other.add_mag_as_ref(layer.get_mag(1))
    assert not other.path.exists()
    layer.delete_mag(1)
    np.testing.assert_array_equal(other.get_mag(1).read()[0], volume)
    with pytest.raises(NameTakenError, match=r"color/1 exists and is listed.* a mag of another layer"):
        layer.add_mag(1, **SHAPES)
    other.delete_mag(1)
    assert not layer.mags


@pytest.mark.parametrize("allowed", [False, True])
def test_the_group_of_others_is_never_changed(layer, dataset, tmp_path, allowed):
    mag_view = layer.add_mag(1, **SHAPES)
    other = wk.Dataset(tmp_path / "other", voxel_size=VOXEL_SIZE)
    other.add_layer("color", "color", data_format="zarr3").add_mag(2, **SHAPES)
    other = wk.Dataset.open(other.path, allow_foreign_writes=allowed).get_layer("color")
    before = {file: file.read_bytes() for file in dataset.path.rglob("*") if file.is_file()}
    (other.path / "1").symlink_to(mag_view.path)
    other.add_mag_as_ref(other.path / "1")
    assert listed_in(other.path) == ["1", "2"]
    other.delete_mag(1)
    assert not (other.path / "1").is_symlink()
    (other.path / "zarr.json").unlink()
    (other.path / "zarr.json").symlink_to(layer.path / "zarr.json")
    for change in (lambda: other.add_mag(1, **SHAPES), lambda: other.delete_mag(2)):
        with pytest.raises(ReadOnlyError, match=r"zarr\.json is a link.* Replace it by a copy"):
            change()
    assert list(other.mags) == [wk.Mag(2)]
    assert {file: file.read_bytes() for file in dataset.path.rglob("*") if file.is_file()} == before


def test_consolidated_metadata_are_removed_before_they_are_wrong(layer, volume):
    dataset = layer.dataset
    mag_view = layer.add_mag(1, **SHAPES)

    def arrays(change):
        for folder in (layer.path, dataset.path):
            zarr.consolidate_metadata(folder, zarr_format=3)
        change()
        found = [dict(zarr.open_group(layer.path).arrays()), dict(zarr.open_group(dataset.path)[layer.name].arrays())]
        assert {name: array.metadata for name, array in found[0].items()} == {
            name: array.metadata for name, array in found[1].items()
        }
        return found[1]

    assert set(arrays(lambda: layer.add_mag(2, **SHAPES))) == {"1", "2"}
    assert set(arrays(lambda: layer.delete_mag(2))) == {"1"}
    assert arrays(lambda: mag_view.write(volume, absolute_offset=(40, 0, 0)))["1"].shape == (1, 80, 48, 32)
    assert arrays(lambda: mag_view.rechunk(4, 8))["1"].chunks == (1, 4, 4, 4)
    assert set(arrays(lambda: setattr(layer, "name", "renamed"))) == {"1"}
    zarr.consolidate_metadata(dataset.path, zarr_format=3)
    dataset.delete_layer("renamed")
    assert list(zarr.open_group(dataset.path).group_keys()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"[]", b"\xff", b"[" * 100_000,
        b'{"node_type": "group", "attributes": [1]}', b'{"node_type": "group", "attributes": {"ome": 5}}',
        *(
            json.dumps({"node_type": "group", "attributes": {"ome": {"multiscales": image}}}).encode()
            for image in (
                5, [], [1], [{}], [{"axes": 1, "datasets": []}], [{"axes": [{"name": "x"}], "datasets": [{}]}],
                [{"axes": [{"name": "x"}], "datasets": [{"path": "1"}]}],
                [{"axes": [{"name": "x"}], "datasets": [{"path": "1\0", "coordinateTransformations": []}]}],
                [{"axes": [{"name": "x"}],
                  "datasets": [{"path": "1", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}]}],
                [{"axes": [{"name": "x"}],
                  "datasets": [{"path": "1", "coordinateTransformations": [{"type": "scale", "scale": [0]}]}]}],
            )
        ),
    ],
)  # fmt: skip
def test_a_broken_group_is_named_and_stops_nothing_else(layer, volume, content):
    mag_view = layer.add_mag(1, **SHAPES)
    mag_view.write(volume)
    file = layer.path / "zarr.json"
    file.write_bytes(content)
    for change in (
        lambda: layer.add_mag(2, **SHAPES),
        lambda: layer.delete_mag(1),
        lambda: layer.downsample_mag(1, 2, compress=False),
        lambda: layer.add_mag_as_copy(mag_view, mag=2),
    ):
        with pytest.raises(PropertiesError, match=r"color/zarr\.json"):
            change()
    assert (list(layer.mags), file.read_bytes()) == ([wk.Mag(1)], content)
    with pytest.raises(PropertiesError, match=r"color/zarr\.json"):
        wk.Dataset.open(layer.path)
    other = layer.dataset.copy_dataset(layer.dataset.path.parent / "other")
    shutil.copytree(layer.path, other.path / "again")
    with pytest.raises(PropertiesError, match=r"again/zarr\.json"):
        other.add_layer_for_existing_files("again", "color")
    assert list(other.layers) == ["color"]
    dataset = wk.Dataset.open(layer.dataset.path)
    np.testing.assert_array_equal(dataset.get_layer("color").get_mag(1).read()[0, :40, :36, :32], volume)
    dataset.add_layer("more", "color", data_format="zarr3").add_mag(1, **SHAPES)
    dataset.get_layer("color").get_mag(1).write(volume, absolute_offset=(64, 0, 0))
    dataset.get_layer("color").redownsample()
    dataset.delete_layer("color")


def test_what_a_crash_has_left_out_is_listed_by_the_next_change(layer, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("wkgpu.dataset.changes.mag_entries.list_mags", lambda layer: None)
        layer.add_mag(1, **SHAPES)
        layer.add_mag(4, **SHAPES)
    layer.add_mag(2, **SHAPES)
    assert listed_in(layer.path) == ["1", "2", "4"]
    with monkeypatch.context() as patch:
        patch.setattr("wkgpu.dataset.changes.mag_entries.list_mags", lambda layer: None)
        layer.delete_mag(1)
    (layer.dataset.path / "zarr.json").unlink()
    layer.delete_mag(4)
    assert listed_in(layer.path) == ["2"]
    assert loaded(layer.dataset.path / "zarr.json")["node_type"] == "group"
