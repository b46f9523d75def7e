"""OME-Zarr images without a properties file, as datasets that are read only."""

import json
import pickle
import shutil
import zipfile
from math import prod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from real_data import REAL_DATA

import wkgpu as wk
from wkgpu.cli.path_content import content_of
from wkgpu.dataset.metadata.image_properties import _mag
from wkgpu.dataset.metadata.ome import Multiscales
from wkgpu.errors import MismatchError, NotFoundError, PropertiesError, ReadOnlyError, UnsupportedError, WkgpuError

REAL = REAL_DATA / "zarr" / "simple_zarr3_dataset.zip"
SHAPES = {"c": 2, "t": 3, "z": 10, "y": 21, "x": 30}
SCALES = {"z": 2.5, "y": 0.5, "x": 0.25}
KINDS = {"c": "channel", "t": "time"}


def axes_of(names, unit="micrometer"):
    return [
        {"name": name, "type": KINDS[name]} if name in KINDS else {"name": name, "type": "space", "unit": unit}
        for name in names
    ]


def scale(*factors):
    return [{"type": "scale", "scale": list(factors)}]


def make_image(folder, axes="czyx", factors=((1, 1, 1), (1, 2, 2), (2, 4, 4)), version="0.5", dtype="uint16", **more):
    """An image with arrays "0", "1", ... of these factors along z, y and x, made by zarr; returns the finest voxels."""
    folder.mkdir()
    datasets, finest = [], None
    for number, steps in enumerate(factors):
        by_axis = dict(zip("zyx", steps, strict=True))
        shape = [max(SHAPES[axis] // by_axis.get(axis, 1), 1) for axis in axes]
        voxels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        finest = voxels if number == 0 else finest
        array = zarr.create_array(
            folder / str(number), shape=shape, dtype=dtype, chunks=[4] * len(axes), dimension_names=list(axes),
            compressors=None,
        )  # fmt: skip
        array[...] = voxels
        numbers = [SCALES.get(axis, 1.0) * by_axis.get(axis, 1) for axis in axes]
        datasets.append({"path": str(number), "coordinateTransformations": scale(*numbers)})
    image = {"axes": axes_of(axes), "datasets": datasets} | more
    attributes = {"ome": {"version": version, "multiscales": [image]}}
    if version == "0.4":
        attributes = {"multiscales": [image | {"version": version}]}
    save(folder, attributes)
    return finest


def save(folder, attributes):
    (folder / "zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes, "consolidated_metadata": None})
    )


def changed(folder, change):
    attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
    change(attributes["ome"]["multiscales"][0])
    save(folder, attributes)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["czyx", "zyx", "tczyx", "yx", "cyx"])
def test_images_are_datasets(tmp_path, axes, version):
    folder = tmp_path / "my image.zarr"
    finest = make_image(folder, axes, version=version)
    dataset = wk.Dataset.open(folder)
    (layer,) = dataset.layers.values()
    assert (dataset.name, layer.name, layer.category, dataset.read_only) == (folder.name, folder.name, "color", True)
    size = (0.25, 0.5, 2.5 if "z" in axes else 1)
    assert dataset.voxel_size_with_unit == wk.VoxelSize(size, wk.LengthUnit.MICROMETER)
    assert list(layer.mags) == [wk.Mag(1), wk.Mag("2-2-1"), wk.Mag("4-4-2" if "z" in axes else "4-4-1")]
    assert (layer.dtype, layer.num_channels) == (np.uint16, 2 if "c" in axes else 1)
    box = layer.bounding_box
    assert (*box.topleft_xyz, *box.size_xyz) == (0, 0, 0, 30, 21, 10 if "z" in axes else 1)
    assert dict(zip(box.axes, box.size, strict=True)).items() >= {a: SHAPES[a] for a in axes}.items()
    found = layer.get_mag(1).read()
    np.testing.assert_array_equal(found.reshape(finest.shape), finest)
    assert [mag_view.path.name for mag_view in layer.mags.values()] == ["0", "1", "2"]
    assert layer.mags[list(layer.mags)[1]].read().any()
    again = pickle.loads(pickle.dumps(layer.get_mag(1)))
    np.testing.assert_array_equal(again.read(), found)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_are_never_changed(tmp_path, version):
    folder = tmp_path / "image"
    make_image(folder, version=version)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    dataset = wk.Dataset.open(folder, allow_foreign_writes=True)
    layer = dataset.get_layer("image")
    mag_view = layer.get_mag(1)
    other = wk.Dataset(tmp_path / "other", voxel_size=(1, 1, 1)).add_layer("other", "color", data_format="zarr3")
    assert mag_view.read_only
    for change in (
        lambda: dataset.add_layer("more", "color"),
        lambda: dataset.add_layer_as_copy(other),
        lambda: dataset.compress(),
        lambda: dataset.downsample(),
        lambda: setattr(layer, "name", "other"),
        lambda: setattr(layer, "bounding_box", wk.BoundingBox((0, 0, 0), (1, 1, 1))),
        lambda: layer.add_mag(8),
        lambda: layer.add_mag_as_ref(mag_view, mag=8),
        lambda: layer.delete_mag(1),
        lambda: layer.downsample(from_mag=1, coarsest_mag=2),
        lambda: layer.redownsample(),
        lambda: mag_view.write(np.zeros((2, 10, 21, 30), "uint16")),
        lambda: mag_view.compress(),
        lambda: mag_view.merge_with_view(mag_view),
        lambda: dataset.delete_layer("image"),
    ):
        with pytest.raises(
            ReadOnlyError, match=r"image is an OME-Zarr image .* only read; copy it with copy_dataset\(\)"
        ):
            change()
    zarr_array = mag_view.get_zarr_array()
    assert (zarr_array.read_only, zarr_array.shape) == (True, (2, 10, 21, 30))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_arrays_of_images_are_levels_and_no_mags(tmp_path):
    """The folder "1" holds the mag 2-2-1."""
    finest = make_image(tmp_path / "image")
    assert [wk.open_mag(tmp_path / "image" / name).mag for name in "012"] == [
        wk.Mag(1), wk.Mag("2-2-1"), wk.Mag("4-4-2"),
    ]  # fmt: skip
    assert wk.open_mag(tmp_path / "image" / "1", mag=1).mag == 1
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1))
    shutil.copytree(tmp_path / "image", dataset.path / "image")
    with pytest.raises(MismatchError, match=r"image/zarr\.json lists the arrays \['0'\], whose names are no mags"):
        dataset.add_layer_for_existing_files("image", "color")
    assert not dataset.layers
    copied = wk.Dataset.open(dataset.path / "image").get_layer("image")  # which is no layer of the dataset around it
    assert content_of(dataset.path / "image").kind == "dataset"
    layer = dataset.add_layer_as_ref(copied)
    np.testing.assert_array_equal(layer.get_mag(1).read(), finest)


def test_images_of_zarr_2_are_named(tmp_path):
    zarr.open_group(tmp_path, mode="w", zarr_format=2)
    with pytest.raises(UnsupportedError, match=r"is Zarr 2, which this version of wkgpu does not read"):
        wk.Dataset.open(tmp_path)


@pytest.mark.parametrize("data_format", ["wkw", "zarr3"])
def test_copies_are_datasets(tmp_path, monkeypatch, data_format):
    """The axis of one point in time stays where the format has such axes."""
    monkeypatch.setitem(SHAPES, "t", 1)
    finest = make_image(tmp_path / "image", "tczyx")
    image = wk.Dataset.open(tmp_path / "image")
    copy = image.copy_dataset(tmp_path / "copy", data_format=data_format, chunk_shape=8, shard_shape=32)
    layer = copy.get_layer("image")
    usual = finest[0].transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(layer.get_mag(1).read(), usual if data_format == "wkw" else finest)
    assert copy.voxel_size_with_unit.unit == "micrometer"
    box = wk.BoundingBox((0, 0, 0), (30, 21, 10))
    assert layer.bounding_box == (box if data_format == "wkw" else image.get_layer("image").bounding_box)
    np.testing.assert_array_equal(layer.get_mag(1).read_cxyz(), usual)
    assert layer.add_mag(8, chunk_shape=8, shard_shape=8).bounding_box.topleft_xyz == (0, 0, 0)


def test_labels_are_segmentations(tmp_path):
    for name, dtype, place, category in (
        ("a", "uint32", "ome", "segmentation"), ("b", "float32", "ome", "color"), ("c", "int16", "top", "segmentation"),
    ):  # fmt: skip
        folder = tmp_path / name
        make_image(folder, "zyx", dtype=dtype)
        attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
        (attributes["ome"] if place == "ome" else attributes)["image-label"] = {"source": {}}
        save(folder, attributes)
        assert wk.Dataset.open(folder).get_layer(name).category == category


def test_scales(tmp_path):
    folder = tmp_path / "image"
    make_image(folder, coordinateTransformations=scale(1, 2, 2, 4))
    dataset = wk.Dataset.open(folder)
    assert dataset.voxel_size_with_unit.factor == (1, 1, 5)

    def odd(image):
        image["datasets"].reverse()
        image["datasets"][1]["coordinateTransformations"] = scale(1, 2.5, 1.0046, 0.4992)
        del image["coordinateTransformations"]
        for axis in image["axes"]:
            axis.pop("unit", None)

    changed(folder, odd)  # of arrays with odd lengths
    dataset = wk.Dataset.open(folder)
    assert list(dataset.get_layer("image").mags) == [wk.Mag(1), wk.Mag("2-2-1"), wk.Mag("4-4-2")]
    assert dataset.voxel_size_with_unit == wk.VoxelSize((0.25, 0.5, 2.5))
    changed(folder, lambda image: image["axes"][1].update(unit="micrometer"))
    assert wk.Dataset.open(folder).voxel_size == (0.25, 0.5, 2500)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image["datasets"][1].update(coordinateTransformations=scale(1, 2.5, 1.5, 0.5)), "'1' are 3 tim"),
        (lambda image: image["datasets"][1].update(coordinateTransformations=scale(1, 1.2, 4, 4)), "0.48 times.* z"),
        (lambda image: image["datasets"][2].update(coordinateTransformations=scale(1, 2.5, 1, 0.5)), "the same mag"),
        (lambda image: image["datasets"][2].update(coordinateTransformations=scale(1, 2.5, 1)), "has the scale"),
        (lambda image: image["datasets"][2].update(coordinateTransformations=scale(1, 2.5, -1, 1)), "has the scale"),
        (lambda image: image["datasets"][2].update(coordinateTransformations=[]), "has no coordinateTransformations"),
        (lambda image: image["datasets"][2].update(coordinateTransformations=5), "coordinateTransformations"),
        (lambda image: image.update(axes=axes_of("zyx")), "has the scale"),
        (lambda image: image.update(axes=5), "axes"),
        (lambda image: image["axes"][1].update(unit="second"), "'second', which is no unit of length"),
        (lambda image: image.update(datasets=[]), "no multiscales"),
        (lambda image: image["datasets"][0].update(path="missing"), "missing"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    folder = tmp_path / "image"
    make_image(folder)
    changed(folder, change)
    with pytest.raises((PropertiesError, NotFoundError), match=message) as caught:
        wk.Dataset.open(folder)
    assert str(folder) in str(caught.value)


def test_axes_of_arrays_and_of_the_image_have_to_fit(tmp_path):
    make_image(tmp_path / "image", "zyx")
    changed(
        tmp_path / "image",
        lambda image: image.update(
            axes=axes_of("czyx"),
            datasets=[{"path": "0", "coordinateTransformations": scale(1, 1, 1, 1)}],
        ),
    )
    with pytest.raises(PropertiesError, match=r"axes \['c', 'z', 'y', 'x'\], and .*\['z', 'y', 'x'\]"):
        wk.Dataset.open(tmp_path / "image")
    make_image(tmp_path / "bool", dtype="bool")
    with pytest.raises(WkgpuError, match="bool"):
        wk.Dataset.open(tmp_path / "bool")


@given(
    powers=st.lists(st.tuples(*[st.integers(0, 12)] * 3), unique=True, min_size=1, max_size=6),
    size=st.tuples(*[st.floats(0.001, 1e5)] * 3),
    axes=st.permutations("ctxyz"),
)
def test_what_is_listed_is_found_again(powers, size, axes):
    """Scales that are written say the mags, in any order of mags and axes."""
    image = Multiscales.new(axes, Path("zarr.json"))
    mags = {wk.Mag(tuple(1 << power for power in found)) for found in [*powers, (0, 0, 0)]}
    for mag in mags:
        image.put(mag.to_long_layer_name(), mag, wk.VoxelSize(size))
    again = Multiscales.of(json.loads(json.dumps(image.document)), Path("zarr.json"))
    array, finest = SimpleNamespace(axes=tuple(axes)), min(again.arrays, key=lambda found: prod(found.scale))
    assert {_mag(array, found, finest, Path()): found.path for found in again.arrays} == {
        mag: mag.to_long_layer_name() for mag in mags
    }
    sums = [sum(found.scale) for found in again.arrays]
    assert sums == sorted(sums)
    again.remove("1-1-1")
    assert len(again.arrays) == len(mags) - 1


def test_other_folders_are_no_datasets(tmp_path):
    save(tmp_path, {"ome": {"version": "0.5"}})
    with pytest.raises(NotFoundError, match=r"Zarr group without an OME-Zarr image"):
        wk.Dataset.open(tmp_path)
    make_image(tmp_path / "image")
    with pytest.raises(NotFoundError, match=r"single mag\. Open it with open_mag"):
        wk.Dataset.open(tmp_path / "image" / "0")
    (tmp_path / "zarr.json").write_bytes(b"{")
    with pytest.raises(PropertiesError, match=r"zarr\.json is not JSON"):
        wk.Dataset.open(tmp_path)
    dataset = wk.Dataset.open(tmp_path / "image")  # which has nothing to do with the group around it
    assert dataset.layers


def test_the_commands_know_images_and_layers_of_datasets(tmp_path):
    make_image(tmp_path / "image")
    content = content_of(tmp_path / "image")
    assert (content.kind, content.layers[0].name) == ("dataset", "image")
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1))
    dataset.add_layer("color", "color", data_format="zarr3").add_mag(1, chunk_shape=8, shard_shape=8)
    assert content_of(dataset.path / "color").kind == "folder of mags"
    assert wk.Dataset.open(dataset.path / "color").get_layer("color").get_mag(1).data_format == "zarr3"


def test_an_image_of_webknossos(tmp_path, webknossos):
    if not REAL.exists():
        pytest.skip(f"{REAL} is absent; set WKGPU_TEST_DATA")
    with zipfile.ZipFile(REAL) as archive:
        archive.extractall(tmp_path)
    path = tmp_path / "simple_zarr3_dataset"
    theirs = webknossos.Dataset.open(path).get_layer("color").get_mag(1).read()
    for dataset in (wk.Dataset.open(path), wk.Dataset.open(path / "color")):
        layer = dataset.get_layer("color")
        assert (layer.bounding_box, layer.num_channels) == (wk.BoundingBox((0, 0, 0), (24, 24, 24)), 3)
        np.testing.assert_array_equal(layer.get_mag(1).read(), theirs)
