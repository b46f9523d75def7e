"""Layers with further axes that are made here, as webknossos makes them; in other layouts, and copied."""

import json

import numpy as np
import pytest
import zarr
from datasets import read
from further_axes import LAYOUT, add_layer, box_of, entries, voxels_of

import wkgpu as wk
from wkgpu.errors import MismatchError, RegionError, ShapeError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")


# ---- New layers


@pytest.mark.parametrize("axes", ["txyz", "ctxyz", "tcqxyz", "xyzc", "xyz"])
def test_layers_and_arrays_are_those_of_webknossos(axes, voxels, webknossos, tmp_path):
    found = []
    for library, other in ((wk, webknossos), (webknossos, wk)):
        path = tmp_path / library.__name__
        layer = add_layer(library.Dataset(path, voxel_size=(1, 1, 1)), library, axes)
        before = entries(path)[0]
        layer.add_mag(1, **LAYOUT).write(voxels, absolute_bounding_box=box_of(library, axes))
        array, group = zarr.open_array(path / "a" / "1"), json.loads((path / "a" / "zarr.json").read_text())
        layout = array.shape, array.shards, array.chunks, array.metadata.dimension_names, array.compressors
        found.append((before, entries(path)[0], group, layout))
        np.testing.assert_array_equal(other.Dataset.open(path).get_layer("a").get_mag(1).read(), voxels)
    assert found[0] == found[1]


def test_a_layer_that_another_one_is_like(mag_view, theirs, tmp_path, voxels):
    layer = mag_view.layer
    again = layer.dataset.add_layer_like(layer, "again")
    again.add_mag(1, **LAYOUT).write_cxyz(voxels[:, 1], absolute_bounding_box=box_of(wk, "ctxyz", t=(1, 1)))
    voxels[:, [0, 2]] = 0
    np.testing.assert_array_equal(theirs(layer="again"), voxels)
    np.testing.assert_array_equal(read(again.get_mag(1)), voxels)


def test_axes_stay_when_the_last_mag_is_deleted(tmp_path):
    layer = add_layer(wk.Dataset(tmp_path / "ours", voxel_size=(1, 1, 1)), wk, "tczyx")
    layer.add_mag(1, **LAYOUT)
    layer.delete_mag(1)
    reopened = wk.Dataset.open(tmp_path / "ours").get_layer("a")
    assert reopened.bounding_box == box_of(wk, "tczyx")
    assert reopened.add_mag(1, **LAYOUT).get_zarr_array().metadata.dimension_names == tuple("tczyx")


def test_a_layer_without_voxels_keeps_its_coordinates(tmp_path, theirs):
    """What is written first is one coordinate of several."""
    empty = dict.fromkeys("xyz", (0, 0))
    layer = add_layer(wk.Dataset(tmp_path / "ours", voxel_size=(1, 1, 1)), wk, "txyz", t=(4, 3), **empty)
    mag_view, whole = layer.add_mag(1, **LAYOUT), box_of(wk, "txyz", t=(4, 3))
    mag_view.write(voxels_of("txyz")[1:2], absolute_bounding_box=whole.with_bounds("t", 5, 1))
    assert layer.bounding_box == whole
    assert mag_view.get_zarr_array().shape[0] == 7
    mag_view.write(voxels_of("txyz")[2:], absolute_bounding_box=whole.with_bounds("t", 6, 1))
    np.testing.assert_array_equal(theirs(), np.concatenate([np.zeros((1, 10, 12, 14)), voxels_of("txyz")[1:]]))


@pytest.mark.covers("Dataset.write_layer")
def test_arrays_become_layers(webknossos, tmp_path, theirs):
    data, names = voxels_of("tcxyz"), ("t", "c", "x", "y", "z")
    for library in (wk, webknossos):
        library.Dataset(tmp_path / library.__name__, voxel_size=(1, 1, 1)).write_layer(
            "a", "color", data, data_format="zarr3", axes=names, absolute_offset=(2, 0, 8, 8, 0), downsample=False,
            **LAYOUT, mag=2,
        )  # fmt: skip
    assert entries(tmp_path / "wkgpu") == entries(tmp_path / "webknossos")
    np.testing.assert_array_equal(theirs(2, folder="wkgpu"), data)
    dataset = wk.Dataset.open(tmp_path / "wkgpu")
    layer = dataset.write_layer("b", "color", data, data_format="zarr3", axes="tcxyz", absolute_offset=(8, 8, 0))
    assert layer.bounding_box.get_bounds("x") == (8, 18)
    np.testing.assert_array_equal(layer.get_mag(1).read(), data)
    assert list(layer.mags) == [wk.Mag(mag) for mag in (1, 2, 4)]
    dataset.write_layer("d", "color", data[0], axes="cxyz", downsample=False)
    np.testing.assert_array_equal(dataset.get_layer("d").get_mag(1).read(), data[0])
    for wrong in ({"axes": "txyz"}, {"axes": None}, {"axes": "ttxyz"}, {"axes": "tcqyz"}, {"axes": 5}):
        with pytest.raises(ShapeError, match=r"data has the shape \(3, 2, 10, 12, 14\)"):
            dataset.write_layer("e", "color", data, **wrong)
    with pytest.raises(RegionError, match="absolute_offset is"):
        dataset.write_layer("e", "color", data, data_format="zarr3", axes="tcxyz", absolute_offset=(1, 2))
    with pytest.raises(RegionError, match=r"differ in \['t'\]\. Further axes need data_format='zarr3'"):
        dataset.write_layer("e", "color", data, data_format="wkw", axes="tcxyz")
    with pytest.raises(UnsupportedError, match="Use zarr3"):
        dataset.write_layer("e", "color", data[0, 0], data_format="wkw", axes="zyx")
    assert [*dataset.layers] == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("axes", "sizes", "words"),
    [
        ("txy", (3, 4, 4), "needs the axes x, y and z"),
        (("X", "x", "y", "z"), (3, 4, 4, 4), "names of their own"),
        (("channel", "x", "y", "z"), (3, 4, 4, 4), "names of their own"),
        (("", "x", "y", "z"), (3, 4, 4, 4), "names of their own"),
        ((1, "x", "y", "z"), (3, 4, 4, 4), "names of their own"),
        (("a\0", "x", "y", "z"), (3, 4, 4, 4), "names of their own"),
        ("txyz", (3, 4, 4, 4), "give it an axis 'c'"),
    ],
)
def test_boxes_that_no_layer_has(dataset, saved, axes, sizes, words):
    before = saved()
    with pytest.raises(RegionError, match=words):
        dataset.add_layer(
            "a", "color", num_channels=2, data_format="zarr3", bounding_box=wk.NDBoundingBox.from_axes(axes, sizes)
        )
    assert saved() == before


def test_axes_of_layers_that_have_their_own(dataset, mag_view):
    wkw, box = dataset.add_layer("a", "color", data_format="wkw"), box_of(wk, "ctxyz")
    for layer in (wkw, mag_view.layer):
        for other in (box_of(wk, "cqxyz"), box_of(wk, "ctqxyz")):
            with pytest.raises(RegionError, match="Further axes need"):
                layer.bounding_box = other
    wkw.bounding_box = box_of(wk, "zyxt", t=(0, 1))
    assert wkw.bounding_box == wk.BoundingBox((0, 0, 0), (10, 12, 14))
    mag_view.layer.bounding_box = box.with_bounds("t", 1, 2)
    assert mag_view.layer.bounding_box == box.with_bounds("t", 1, 2)


# ---- Other layouts, and copies


@pytest.mark.computes
def test_other_layouts(on_device, voxels, theirs, tmp_path):
    assert not on_device.info.compression_mode
    on_device.compress()
    assert on_device.info.codec == "zstd"
    before = [path.stat().st_ino for path in on_device.path.rglob("*")]
    on_device.compress()
    assert [path.stat().st_ino for path in on_device.path.rglob("*")] == before
    on_device.rechunk(chunk_shape=8, shard_shape=16, compress="lz4")
    assert (on_device.info.chunk_shape, on_device.info.shard_shape) == ((8, 8, 8), (16, 16, 16))
    on_device.rechunk(chunk_shape=2, shard_shape=8, compress=False, target_path=tmp_path / "other")
    for folder in ("ours", "other"):
        np.testing.assert_array_equal(theirs(folder=folder), voxels)
        assert wk.Dataset.open(tmp_path / folder).get_layer("a").bounding_box == box_of(wk, "ctxyz")
    assert entries(tmp_path / "ours") == entries(tmp_path / "other")
    np.testing.assert_array_equal(read(on_device), voxels)


@pytest.mark.computes
@pytest.mark.parametrize("axes", ["ctzyx"])
def test_copies(axes, on_device, voxels, theirs, tmp_path):
    layer = on_device.layer
    copy = layer.dataset.copy_dataset(tmp_path / "copy", compress=True)
    assert entries(tmp_path / "copy") == entries(tmp_path / "ours")
    files = {
        path.relative_to(on_device.path): path.read_bytes()
        for path in on_device.path.rglob("c/*/*/*/*/*")
        if path.is_file()
    }
    as_it_is = layer.dataset.add_layer_as_copy(layer, "b").get_mag(1)
    assert {name: (as_it_is.path / name).read_bytes() for name in files} == files
    other = add_layer(layer.dataset, wk, "".join(reversed(axes)), "d")  # in another order
    other.add_mag_as_copy(on_device, chunk_shape=2)
    np.testing.assert_array_equal(theirs(layer="d"), voxels.T)
    for found in (copy.get_layer("a").get_mag(1), as_it_is):
        np.testing.assert_array_equal(read(found), voxels)
        assert found.content_is_equal(on_device)
    assert other.get_mag(1).content_is_equal(on_device)
    np.testing.assert_array_equal(theirs(folder="copy"), voxels)


def test_a_mag_without_a_dataset(mag_view, voxels, theirs):
    alone = wk.open_mag(mag_view.path)
    assert alone.bounding_box.get_bounds("t") == (0, 3)
    np.testing.assert_array_equal(alone.read(absolute_bounding_box=box_of(wk, "ctxyz")), voxels)
    layer = add_layer(mag_view.layer.dataset, wk, "ctxyz", "b")
    layer.add_mag_as_copy(mag_view.path)
    np.testing.assert_array_equal(theirs(layer="b"), voxels)
    alone.compress()
    np.testing.assert_array_equal(theirs(), voxels)


@pytest.mark.parametrize("axes", ["ctxyz", "zyx"])
def test_arrays_that_end_inside_a_shard_keep_their_shape(axes, tmp_path):
    """Those of other programs, in place and in copies; only new ones are rounded up."""
    data, dataset = voxels_of(axes), wk.Dataset(tmp_path / "ours", voxel_size=(1, 1, 1))
    zarr.create_array(
        store=str(dataset.path / "a" / "1"), data=data, chunks=(4,) * data.ndim, shards=(8,) * data.ndim,
        dimension_names=axes,
    )  # fmt: skip
    mag_view = dataset.add_layer_for_existing_files("a", "color").get_mag(1)
    mag_view.compress(target_path=tmp_path / "copy", codec="lz4")
    dataset.add_layer_as_copy(mag_view.layer, "b")
    part = box_of(wk, axes, t=(1, 1))
    for change in (lambda: None, mag_view.compress, lambda: mag_view.rechunk(chunk_shape=2, shard_shape=16)):
        change()
        assert mag_view.get_zarr_array().shape == data.shape
        np.testing.assert_array_equal(mag_view.get_zarr_array()[...], data)
        alone = wk.open_mag(mag_view.path)
        assert (alone.bounding_box.topleft_xyz, alone.bounding_box.size_xyz) == ((0, 0, 0), (10, 12, 14))
        found = alone.read_cxyz(absolute_bounding_box=part)
        np.testing.assert_array_equal(found, mag_view.read_cxyz(absolute_bounding_box=part))
    for folder, layer in (("copy", "a"), ("ours", "b")):
        array, same = zarr.open_array(tmp_path / folder / layer / "1"), data if "t" in axes else data.T[None]
        assert array.shape == same.shape
        np.testing.assert_array_equal(array[...], same)
    column = data[tuple(slice(1 if axis in "tx" else None) for axis in axes)]
    mag_view.write(column, absolute_bounding_box=box_of(wk, axes, t=(0, 1), x=(10, 1)))
    assert mag_view.get_zarr_array().shape[axes.index("x")] == 16


def test_arrays_without_z(tmp_path):
    """Are copied, with an axis more, but not rewritten where they are."""
    data = np.random.default_rng(0).integers(1, 200, (3, 12, 10)).astype("uint8")
    dataset = wk.Dataset(tmp_path / "ours", voxel_size=(1, 1, 1))
    zarr.create_array(store=str(dataset.path / "a" / "1"), data=data, chunks=(2, 4, 4), dimension_names="tyx")
    mag_view = dataset.add_layer_for_existing_files("a", "color").get_mag(1)
    with pytest.raises(UnsupportedError, match=r"lacks the axes \['z'\], .* give a target_path"):
        mag_view.compress(codec="lz4")
    mag_view.compress(codec="lz4", target_path=tmp_path / "copy")
    wk.open_mag(mag_view.path).compress(codec="lz4", target_path=tmp_path / "alone")
    for found in (mag_view, wk.Dataset.open(tmp_path / "copy").get_layer("a").get_mag(1)):
        np.testing.assert_array_equal(found.read()[..., 0], data)
    np.testing.assert_array_equal(wk.open_mag(tmp_path / "alone" / "a" / "1").read()[:, :12, :10, 0], data)


def test_one_coordinate_fits_wkw(tmp_path, theirs):
    dataset = wk.Dataset(tmp_path / "ours", voxel_size=(1, 1, 1))
    add_layer(dataset, wk, "ctxyz", t=(0, 1)).add_mag(1, **LAYOUT).write(voxels_of("ctxyz")[:, :1])
    dataset.copy_dataset(tmp_path / "wkw", data_format="wkw")
    np.testing.assert_array_equal(theirs(folder="wkw"), voxels_of("ctxyz")[:, 0])
    dataset.get_layer("a").get_mag(1).compress()
    np.testing.assert_array_equal(theirs(), voxels_of("ctxyz")[:, :1])


def test_copies_that_cannot_be(mag_view, tmp_path):
    layer, dataset = mag_view.layer, mag_view.layer.dataset
    with pytest.raises(UnsupportedError, match=r"the axes \['t'\] besides channels, x, y and z, which wkw does not"):
        dataset.add_layer_as_copy(layer, "wkw", data_format="wkw")
    with pytest.warns(UserWarning, match=r"is not copied: it has the axes \['t'\]"):
        assert not dataset.copy_dataset(tmp_path / "wkw", data_format="wkw").layers
    plain = dataset.add_layer("plain", "color", num_channels=2, data_format="zarr3")
    shorter = add_layer(dataset, wk, "ctxyz", "shorter", t=(0, 2))
    shorter.add_mag(2, **LAYOUT)
    for target in (plain, shorter):
        for add in (target.add_mag_as_copy, target.add_mag_as_ref):
            with pytest.raises(MismatchError, match="along the axis 't', and the mag that it would get 0 to 2"):
                add(mag_view)
    longer = add_layer(dataset, wk, "ctxyz", "longer", t=(0, 5))
    with pytest.raises(MismatchError, match=r"0 to 4 along"):
        longer.add_mag_as_ref(mag_view)
    assert longer.add_mag_as_copy(mag_view).get_zarr_array().shape[1] == 5
    assert not dataset.layers["plain"].mags
    assert [*shorter.mags] == [wk.Mag(2)]
