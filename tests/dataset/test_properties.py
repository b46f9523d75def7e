"""The properties file: its current form, older ones, keys that wkgpu does not know, and what a change leaves alone."""

from __future__ import annotations

import copy
import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest
from datasets import counted
from memory_store import MemoryStore, file_system_calls

import wkgpu as wk
from wkgpu.dataset.metadata.element_class import dtype_of, element_class_of
from wkgpu.dataset.metadata.properties import DatasetProperties
from wkgpu.dataset.metadata.properties_file import PropertiesFile
from wkgpu.dataset.metadata.voxel_size import VoxelSize
from wkgpu.errors import (
    AlreadyExistsError,
    ArgumentError,
    DtypeError,
    LayerNotFoundError,
    NameTakenError,
    OutdatedFileError,
    PropertiesError,
    ReadOnlyError,
    StorageAccessError,
)

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


def test_a_new_file_has_the_current_form(dataset, saved):
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


BROKEN = {
    "no name": lambda layer: layer.pop("name"),
    "a name that leads elsewhere": lambda layer: layer.update(name="../color"),
    "a name of two dots": lambda layer: layer.update(name=".."),
    "a name of a file of the dataset": lambda layer: layer.update(name="zarr.json"),
    "a name that no folder has": lambda layer: layer.update(name="long" * 70),
    "a number as a name": lambda layer: layer.update(name=5),
    "half a surrogate pair as a name": lambda layer: layer.update(name="\ud800"),
    "no category": lambda layer: layer.pop("category"),
    "an unknown category": lambda layer: layer.update(category="image"),
    "no box": lambda layer: layer.pop("boundingBox"),
    "half a box": lambda layer: layer.update(boundingBox={"topLeft": [0, 0, 0]}),
    "a number as a box": lambda layer: layer.update(boundingBox=5),
    "a box of fractions": lambda layer: layer["boundingBox"].update(width=1.5),
    "an endless box": lambda layer: layer["boundingBox"].update(width=float("inf")),
    "a box beyond 64 bits": lambda layer: layer["boundingBox"].update(width=1 << 70),
    "a box of less than nothing": lambda layer: layer["boundingBox"].update(width=-1),
    "axes without bounds": lambda layer: layer.update(additionalAxes=[{"name": "t", "index": 1}]),
    "two axes of one name": lambda layer: layer.update(additionalAxes=[{"name": "x", "index": 1, "bounds": [0, 1]}]),
    "an unknown format": lambda layer: layer.update(dataFormat="knossos"),
    "a format that is a list": lambda layer: layer.update(dataFormat=[]),
    "an unknown voxel type": lambda layer: layer.update(elementClass="pixel"),
    "a voxel type without a size": lambda layer: layer.update(elementClass="uint7"),
    "a voxel type beyond all sizes": lambda layer: layer.update(elementClass="uint" + "9" * 5000),
    "no channels": lambda layer: layer.update(numChannels=0),
    "channels in words": lambda layer: layer.update(numChannels="two"),
    "an id in words": lambda layer: layer.update(largestSegmentId="x"),
    "a list as an id": lambda layer: layer.update(largestSegmentId=[]),
    "an endless id": lambda layer: layer.update(largestSegmentId=float("inf")),
    "an id beyond 64 bits": lambda layer: layer.update(
        largestSegmentId={"customJsonEncoding": "bigint", "value": "9" * 20}
    ),
    "a mag without a mag": lambda layer: layer.update(mags=[{"path": "x"}]),
    "a number as a mag": lambda layer: layer.update(mags=[1]),
    "a number as mags": lambda layer: layer.update(mags=2),
    "nothing as mags": lambda layer: layer.update(mags=None),
    "a number as a path": lambda layer: layer["mags"][0].update(path=5),
    "a path with a null": lambda layer: layer["mags"][0].update(path="./color/1\0"),
    "half a surrogate pair in a path": lambda layer: layer["mags"][0].update(path="\udc80"),
    "no power of two": lambda layer: layer["mags"][0].update(mag=[3, 3, 3]),
    "an endless mag": lambda layer: layer["mags"][0].update(mag=[float("inf"), 1, 1]),
    "a mag beyond 64 bits": lambda layer: layer["mags"][0].update(mag=1 << 70),
    "one mag twice": lambda layer: layer["mags"].append({"mag": 1}),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_one_broken_layer_is_set_aside(dataset, mag_view, saved, change):
    """It is named with what is wrong, stays in the file as it is, and does not keep the others from being changed."""
    dataset.add_layer("cells", "segmentation", dtype="uint32").add_mag(1, shard_shape=64)
    document = saved()
    change(document["dataLayers"][0])
    broken = copy.deepcopy(document["dataLayers"][0])
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    with pytest.warns(UserWarning, match=r"left out: .*datasource-properties\.json.*layer") as warned:
        opened = wk.Dataset.open(dataset.path)
    assert list(opened.layers) == ["cells"]
    opened.get_layer("cells").add_mag(2, shard_shape=64)
    opened.name = "renamed"
    assert len(warned) == 1
    assert saved()["dataLayers"][0] == broken
    assert (saved()["id"]["name"], len(saved()["dataLayers"][1]["mags"])) == ("renamed", 2)
    name = broken.get("name")
    with pytest.raises(PropertiesError if name and isinstance(name, str) else LayerNotFoundError):
        opened.get_layer(name)
    if name == "color":
        with pytest.raises(NameTakenError):
            opened.add_layer("color", "color")


def test_what_is_no_layer_and_what_comes_twice(dataset, mag_view, saved):
    document = saved()
    document["dataLayers"] += [5, None, copy.deepcopy(document["dataLayers"][0])]
    document["dataLayers"][-1]["unknown"] = UNKNOWN
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    with pytest.warns(UserWarning, match="left out") as warned:
        opened = wk.Dataset.open(dataset.path)
    assert len(warned) == 3
    opened.get_layer("color").add_mag(8, shard_shape=64)
    assert saved()["dataLayers"][1:] == document["dataLayers"][1:]
    opened.delete_layer("color")
    assert saved()["dataLayers"] == document["dataLayers"][1:]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"dataLayers": [], "version": ' + "[" * 900 + "]" * 900 + "}",
        '{"dataLayers": [], "version": ' + "9" * 5000 + "}",
        '{"dataLayers": {}}',
        '{"dataLayers": 5}',
        "{",
        "[]",
        "{}",
        "",
        b"\xff\xfe\x00",
    ],
)
def test_files_that_cannot_be_understood_at_all(dataset, text):
    file = dataset.path / "datasource-properties.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PropertiesError, match=r"datasource-properties\.json"):
        wk.Dataset.open(dataset.path)


def test_what_wkgpu_does_not_read_may_be_anything(dataset, layer, saved):
    document = saved()
    document["id"]["team"] = "\ud800"
    document["dataLayers"][0]["unknown"] = [[[[float("inf"), 1 << 80, 1e300, "\udfff"]]]]
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    opened = wk.Dataset.open(dataset.path)
    opened.add_layer("more", "color")
    opened.delete_layer("more")
    assert saved() == document


def test_an_id_that_is_no_object(dataset, saved):
    (dataset.path / "datasource-properties.json").write_text(json.dumps(saved() | {"id": 5}))
    opened = wk.Dataset.open(dataset.path)
    with pytest.raises(PropertiesError, match="id is 5"):
        opened.name = "x"
    with pytest.raises(ArgumentError, match="name is 5"):
        opened.name = 5
    with pytest.raises(ArgumentError, match="name is 5"):
        wk.Dataset(dataset.path.with_name("new"), voxel_size=(1, 1, 1), name=5)
    assert not dataset.path.with_name("new").exists()
    assert (opened.name, saved()["id"]) == ("dataset", 5)


def test_opening_changes_nothing(dataset, layer, saved):
    document = saved()
    del document["dataLayers"][0]["mags"]
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    opened = wk.Dataset.open(dataset.path)
    assert not opened.get_layer("color").mags
    opened.name = "renamed"
    assert saved()["dataLayers"] == document["dataLayers"]
    opened.get_layer("color").add_mag(1, shard_shape=64)
    assert [mag["mag"] for mag in saved()["dataLayers"][0]["mags"]] == [[1, 1, 1]]


@pytest.mark.parametrize(
    "change",
    [
        lambda dataset: dataset.get_layer("color").add_mag(1 << 40, chunk_shape=8, shard_shape=8),
        lambda dataset: dataset.add_layer("more", "color", num_channels=1 << 40),
        lambda dataset: dataset.add_layer("more", "color", bounding_box=wk.BoundingBox((0, 0, 0), (1 << 60, 1, 1))),
        lambda dataset: dataset.add_layer("more", "color", bounding_box=wk.NDBoundingBox((0,) * 4, (1,) * 4, "\0xyz")),
        lambda dataset: setattr(dataset.get_layer("color"), "bounding_box", wk.BoundingBox((0, 0, 1 << 53), (1, 1, 1))),
    ],
)
def test_nothing_is_written_that_is_not_read_again(dataset, layer, saved, change):
    before = saved()
    with pytest.raises(wk.WkgpuError):
        change(dataset)
    assert saved() == before
    assert not list(layer.path.glob("*"))


# ---- What WEBKNOSSOS writes


@pytest.mark.parametrize("largest", [5, -1, 2**53 - 1, 2**53, 2**53 + 1, 2**64 - 1])
def test_large_segment_ids(dataset, saved, webknossos, largest):
    layer = dataset.add_layer("cells", "segmentation", dtype="uint64", largest_segment_id=largest)
    theirs = webknossos.Dataset.open(dataset.path)
    assert theirs.get_layer("cells").largest_segment_id == largest
    ours = saved()
    theirs.get_layer("cells").largest_segment_id = largest  # writes the file
    assert saved()["dataLayers"][0]["largestSegmentId"] == ours["dataLayers"][0]["largestSegmentId"]
    assert wk.Dataset.open(dataset.path).get_layer("cells").largest_segment_id == largest
    copied = dataset.copy_dataset(dataset.path.with_name("copy"))
    assert copied.get_layer("cells").largest_segment_id == layer.largest_segment_id == largest


@pytest.mark.parametrize("largest", [2**64, -(2**63) - 1, 1.5, "x"])
def test_ids_that_no_voxel_holds(dataset, saved, largest):
    before = saved()
    with pytest.raises(ArgumentError, match="largest_segment_id"):
        dataset.add_layer("cells", "segmentation", largest_segment_id=largest)
    assert saved() == before


@pytest.mark.parametrize("unit", ["am", "nm", "\u00b5m", "m", "Mm", "Ym", "\u00c5", "in", "mi", "pc", "micrometer"])
def test_units_by_name_and_by_symbol(dataset, saved, webknossos, unit):
    scale = {"factor": [1, 2, 3], "unit": unit}
    (dataset.path / "datasource-properties.json").write_text(json.dumps(saved() | {"scale": scale}))
    ours, theirs = wk.Dataset.open(dataset.path), webknossos.Dataset.open(dataset.path)
    assert ours.voxel_size_with_unit.unit == theirs.voxel_size_with_unit.unit.value
    assert ours.voxel_size == pytest.approx(tuple(theirs.voxel_size), rel=1e-8)
    ours.name = "renamed"
    assert saved()["scale"] == scale


def test_voxel_sizes_under_an_older_name(dataset, saved):
    document = saved()
    document["voxelSize"] = [1, 2, 3]
    del document["scale"]
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    assert wk.Dataset.open(dataset.path).voxel_size == (1, 2, 3)


def test_additional_axes_are_shown_and_kept(dataset, saved, webknossos):
    """WEBKNOSSOS lists them beside the box, and reads what is written here."""
    box = webknossos.NDBoundingBox((0, 0, 1, 2, 3), (1, 3, 10, 11, 12), ("c", "t", "x", "y", "z"), (0, 1, 2, 3, 4))
    theirs = webknossos.Dataset.open(dataset.path)
    theirs.add_layer("time@1", "color", dtype="uint8", data_format="zarr3", bounding_box=box).add_mag(1)
    before = saved()["dataLayers"][0]
    ours = wk.Dataset.open(dataset.path)
    layer = ours.get_layer("time@1")
    axes = ("t", "x", "y", "z")
    assert layer.bounding_box == wk.NDBoundingBox((0, 0, 1, 2, 3), (1, 3, 10, 11, 12), ("c", *axes))
    ours.add_layer("more@2", "color")
    assert saved()["dataLayers"][0] == before
    layer.bounding_box = wk.NDBoundingBox((0, 0, 0, 0), (2, 5, 6, 7), axes, (1, 2, 3, 4))
    theirs = webknossos.Dataset.open(dataset.path).get_layer("time@1").bounding_box
    assert theirs.get_bounds("t") == (0, 2)
    assert (*theirs.topleft_xyz, *theirs.size_xyz) == (0, 0, 0, 5, 6, 7)
    layer.bounding_box = wk.BoundingBox((1, 2, 3), (10, 11, 12))  # which says nothing of other axes
    assert saved()["dataLayers"][0]["additionalAxes"] == [{"name": "t", "bounds": [0, 2], "index": 1}]


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
    from wkgpu.storage.stores.local import atomic_file

    file = dataset.path / "datasource-properties.json"
    before = file.read_bytes()

    def fail(descriptor, data, offset):
        assert file.read_bytes() == before  # until then readers see the old file
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(atomic_file, "write_all", fail)
    with pytest.raises(StorageAccessError, match=f"Cannot write {file}: disk full"):
        layer.bounding_box = wk.BoundingBox((0, 0, 0), (9, 9, 9))
    assert file.read_bytes() == before
    assert layer.bounding_box.is_empty()


def rename(file, name):
    with file.change() as properties:
        properties.document["name"] = name
    return name


@pytest.mark.parametrize("has_locks", [True, False])
def test_the_file_may_be_in_any_store(monkeypatch, has_locks):
    monkeypatch.setattr(MemoryStore, "has_locks", has_locks)
    file = PropertiesFile(Path("dataset"), MemoryStore(f"properties {has_locks}"))
    properties = DatasetProperties.new(file.path, "a", VoxelSize((1, 2, 3)))
    with file_system_calls() as calls:
        assert not file.exists()
        file.create(properties)
        with pytest.raises(AlreadyExistsError):
            file.create(properties)
        rename(file, "b")
        if not has_locks:
            with pytest.raises(OutdatedFileError), file.change() as mine:
                mine.document["name"] = rename(file, "d") + "c"
        assert file.exists()
        assert file.load().document["name"] == ("b" if has_locks else "d")
    assert calls == []


def test_changes_leave_nothing_behind(dataset, layer):
    for size in range(5):
        layer.bounding_box = wk.BoundingBox((0, 0, 0), (size, 1, 1))
    assert [path.name for path in dataset.path.iterdir()] == ["datasource-properties.json"]


def test_a_file_that_cannot_be_written(dataset, layer, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(io, "FileIO", refuse)  # with which a file is opened to be locked
    with pytest.raises(ReadOnlyError, match="not writable"):
        layer.bounding_box = wk.BoundingBox((0, 0, 0), (9, 9, 9))
