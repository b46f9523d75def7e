"""The properties file: today's form and older ones, keys that wkgpu does not know, and what a change leaves alone."""

from __future__ import annotations

import copy
import io
import json

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.dataset.element_class import dtype_of, element_class_of
from wkgpu.errors import DtypeError, PropertiesError, ReadOnlyError

from .conftest import counted

UNKNOWN = {"name": "kept", "values": [1, 2.5, None, {"deep": True}]}


@pytest.fixture
def older(dataset, saved):
    """Writes the properties of a dataset with a layer in two mags as older versions did, and opens it."""
    layer = dataset.add_layer("color", "color", dtype="uint8", num_channels=3)
    for mag in (1, "2-2-1"):
        layer.add_mag(mag, chunk_shape=8, shard_shape=32).write(
            counted((32, 32, 16), channels=3), absolute_offset=(0, 0, 0)
        )
    document = {
        "id": {"name": "old", "team": "lab", "unknown": UNKNOWN},
        "scale": [11, 11, 24.5],
        "dataLayers": [
            {
                "name": "color",
                "category": "color",
                "boundingBox": {"topLeft": [0, 0, 0], "width": 64, "height": 64, "depth": 16, "unknown": UNKNOWN},
                "elementClass": "uint24",
                "dataFormat": "wkw",
                "wkwResolutions": [
                    {"resolution": 1, "cubeLength": 32, "unknown": UNKNOWN},
                    {"resolution": [2, 2, 1], "cubeLength": 32},
                ],
                "unknown": UNKNOWN,
            }
        ],
        "unknown": UNKNOWN,
    }

    def write(change=lambda document: None):
        changed = copy.deepcopy(document)
        change(changed)
        (dataset.path / "datasource-properties.json").write_text(json.dumps(changed))
        return wk.Dataset.open(dataset.path)

    return write


# ---- Older files


def test_older_files_are_read(older):
    dataset = older()
    layer = dataset.get_layer("color")
    assert (dataset.name, dataset.voxel_size) == ("old", (11.0, 11.0, 24.5))
    assert (layer.dtype, layer.num_channels, list(layer.mags)) == (np.uint8, 3, [wk.Mag(1), wk.Mag("2-2-1")])
    np.testing.assert_array_equal(layer.get_mag("2-2-1").read(), counted((32, 32, 16), channels=3))


def test_older_files_keep_their_generation_and_all_their_keys(older, saved, webknossos):
    dataset = older(lambda document: document["dataLayers"][0].update(numChannels=3))
    before = saved()
    layer = dataset.get_layer("color")
    layer.add_mag(4, chunk_shape=8, shard_shape=64)
    layer.bounding_box = wk.BoundingBox((1, 2, 3), (4, 5, 6))
    dataset.add_layer("cells", "segmentation", dtype="uint32")
    before["dataLayers"][0]["wkwResolutions"].append({"resolution": [4, 4, 4], "cubeLength": 64})
    before["dataLayers"][0]["boundingBox"] |= {"topLeft": [1, 2, 3], "width": 4, "height": 5, "depth": 6}
    after = saved()
    assert after["dataLayers"].pop()["name"] == "cells"
    assert after == before
    theirs = webknossos.Dataset.open(dataset.path).get_layer("color")
    assert [mag.to_tuple() for mag in theirs.mags] == [(1, 1, 1), (2, 2, 1), (4, 4, 4)]


def test_deleting_from_older_files(older, saved):
    older().get_layer("color").delete_mag(1)
    assert saved()["dataLayers"][0]["wkwResolutions"] == [{"resolution": [2, 2, 1], "cubeLength": 32}]


def test_long_names_of_mag_folders(older, dataset):
    (dataset.path / "color" / "1").rename(dataset.path / "color" / "1-1-1")
    np.testing.assert_array_equal(
        older().get_layer("color").get_mag(1).read(absolute_offset=(0, 0, 0), size=(32, 32, 16)),
        counted((32, 32, 16), channels=3),
    )


# ---- Today's files


def test_a_new_file_has_todays_form(dataset, saved):
    layer = dataset.add_layer("cells", "segmentation", dtype="uint16", num_channels=2, largest_segment_id=7)
    layer.bounding_box = wk.BoundingBox((1, 2, 3), (4, 5, 6))
    layer.add_mag("2-2-1", shard_shape=256)
    assert saved() == {
        "id": {"name": "dataset", "team": ""},
        "scale": {"factor": [11.24, 11.24, 25.0], "unit": "nanometer"},
        "dataLayers": [
            {
                "name": "cells",
                "category": "segmentation",
                "boundingBox": {"topLeft": [1, 2, 3], "width": 4, "height": 5, "depth": 6},
                "dataFormat": "wkw",
                "mags": [
                    {
                        "mag": [2, 2, 1],
                        "path": "./cells/2-2-1",
                        "cubeLength": 256,
                        "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3},
                    }
                ],
                "numChannels": 2,
                "elementClass": "uint32",
                "largestSegmentId": 7,
            }
        ],
        "version": 1,
    }


def test_unknown_keys_survive_at_every_level(dataset, mag_view, saved):
    document = saved()
    layer = document["dataLayers"][0]
    for level in (document, document["id"], document["scale"], layer, layer["boundingBox"], layer["mags"][0]):
        level["unknown"] = UNKNOWN
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))

    changed = wk.Dataset.open(dataset.path)
    changed.get_layer("color").bounding_box = wk.BoundingBox((0, 0, 0), (9, 9, 9))
    changed.get_layer("color").add_mag(2, shard_shape=64)
    changed.add_layer("more", "color")
    changed.delete_layer("more")
    changed.name = "renamed"

    layer["boundingBox"] |= {"topLeft": [0, 0, 0], "width": 9, "height": 9, "depth": 9}
    layer["mags"].append(
        {"mag": [2, 2, 2], "path": "./color/2", "cubeLength": 64, "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3}}
    )
    document["id"]["name"] = "renamed"
    assert saved() == document


def test_layers_of_unknown_formats_are_listed(dataset, layer, saved):
    document = saved()
    document["dataLayers"][0]["dataFormat"] = "zarr3"
    document["dataLayers"][0]["mags"] = [{"mag": [1, 1, 1], "path": "s3://bucket/color/1", "credentialId": "x"}]
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    listed = wk.Dataset.open(dataset.path).get_layer("color")
    assert (listed.data_format, list(listed.mags)) == (wk.DataFormat.Zarr3, [wk.Mag(1)])
    with pytest.raises(wk.WkgpuError):
        listed.get_mag(1).read(absolute_offset=(0, 0, 0), size=(1, 1, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.pop("name"),
        lambda layer: layer.update(name="../color"),
        lambda layer: layer.update(name=".."),
        lambda layer: layer.pop("category"),
        lambda layer: layer.update(category="image"),
        lambda layer: layer.pop("boundingBox"),
        lambda layer: layer.update(boundingBox={"topLeft": [0, 0, 0]}),
        lambda layer: layer.update(boundingBox=5),
        lambda layer: layer.update(mags=[{"path": "x"}]),
        lambda layer: layer.update(mags=[{"mag": [3, 3, 3]}]),
    ],
)
def test_broken_layers_are_named(dataset, layer, saved, change):
    document = saved()
    change(document["dataLayers"][0])
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    with pytest.raises(PropertiesError, match=r"datasource-properties\.json.*layer"):
        wk.Dataset.open(dataset.path)


@pytest.mark.parametrize(
    "change", [{"elementClass": "uint7"}, {"elementClass": "pixel"}, {"numChannels": 0}, {"numChannels": "two"}]
)
def test_broken_voxel_types_are_named(dataset, layer, saved, change):
    document = saved()
    document["dataLayers"][0].update(change)
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    with pytest.raises(PropertiesError, match="'color'"):
        wk.Dataset.open(dataset.path).get_layer("color").dtype  # noqa: B018


@pytest.mark.parametrize(
    "scale",
    [None, 5, [1, 2], [0, 1, 1], {"factor": [1, 1]}, {"unit": "nanometer"}, {"factor": [1, 1, 1], "unit": "ell"}],
)
def test_broken_scales_are_named(dataset, saved, scale):
    (dataset.path / "datasource-properties.json").write_text(json.dumps(saved() | {"scale": scale}))
    with pytest.raises(PropertiesError, match="scale"):
        wk.Dataset.open(dataset.path).voxel_size  # noqa: B018


# ---- Element classes


@pytest.mark.parametrize("num_channels", [1, 2, 3, 4, 7, 31])
@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"]
)
def test_element_classes_round_trip(dtype, num_channels):
    assert dtype_of(element_class_of(np.dtype(dtype), num_channels), num_channels) == np.dtype(dtype)


def test_element_classes_by_name():
    assert [element_class_of(np.dtype(kind), 1) for kind in ("float32", "float64", "int16")] == [
        "float",
        "double",
        "int16",
    ]
    assert [element_class_of(np.dtype("float32"), count) for count in (2, 3)] == ["double", "float96"]
    assert dtype_of("float32", 1) == np.float32
    assert dtype_of("uint16", 3) == np.uint16  # a class that cannot be divided is that of each channel
    with pytest.raises(DtypeError, match="'uint24'"):
        dtype_of("uint24", 1)


# ---- Files


def test_the_file_is_replaced_at_once(dataset, layer, monkeypatch):
    import wkgpu.dataset.properties_file as properties_file

    file = dataset.path / "datasource-properties.json"
    before = file.read_bytes()

    def fail(path, data):
        assert file.read_bytes() == before  # until then readers see the old file
        raise OSError("disk full")

    monkeypatch.setattr(properties_file, "atomic_write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        layer.bounding_box = wk.BoundingBox((0, 0, 0), (9, 9, 9))
    assert file.read_bytes() == before
    assert layer.bounding_box.is_empty()


def test_changes_leave_no_litter(dataset, layer):
    for size in range(5):
        layer.bounding_box = wk.BoundingBox((0, 0, 0), (size, 1, 1))
    assert [path.name for path in dataset.path.iterdir()] == ["datasource-properties.json"]


def test_a_file_that_cannot_be_written(dataset, layer, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(io, "FileIO", refuse)  # with which a file is opened to be locked
    with pytest.raises(ReadOnlyError, match="not writable"):
        layer.bounding_box = wk.BoundingBox((0, 0, 0), (9, 9, 9))
