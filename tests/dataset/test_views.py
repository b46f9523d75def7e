"""Views: reading, writing, smaller views, and what is allowed."""

from __future__ import annotations

import numpy as np
import pytest
from arrays import on_device, on_host
from datasets import counted, read

import wkgpu as wk
from wkgpu.errors import (
    DeviceError,
    DtypeError,
    NotFoundError,
    OutOfBoundsError,
    ReadOnlyError,
    RegionError,
    ShapeError,
    UnsupportedError,
)

on_every_device = pytest.mark.usefixtures("device")

# ---- Reading


@on_every_device
@pytest.mark.covers("View.read")
def test_reads_are_four_dimensional_and_in_fortran_order(mag_view, view, volume):
    voxels = read(mag_view)
    assert (voxels.shape, voxels.dtype) == ((1, 40, 36, 32), np.uint8)
    assert voxels.flags.f_contiguous
    np.testing.assert_array_equal(voxels[0], volume)
    np.testing.assert_array_equal(read(view)[0], volume[4:36, 4:36, 4:28])


@on_every_device
def test_what_is_not_stored_is_zero(mag_view, volume):
    voxels = read(mag_view, absolute_offset=(0, 0, 0), size=(64, 64, 64))
    np.testing.assert_array_equal(voxels[0, 4:44, 8:44, 12:44], volume)
    assert voxels.sum() == volume.sum()
    assert not read(mag_view, absolute_offset=(10_000, 0, 0), size=(9, 9, 9)).any()


def test_a_view_refuses_what_leaves_it(view):
    with pytest.raises(OutOfBoundsError):
        view.read(absolute_offset=(7, 12, 16), size=(4, 4, 4))
    with pytest.raises(AssertionError):
        view.read(relative_offset=(0, 0, 0), size=(33, 1, 1))


@on_every_device
def test_out_is_filled_and_returned(view, volume):
    engine = view._engine
    out = engine.xp.full((1, 32, 32, 24), 9, np.uint8, order="F")
    assert view.read(out=out) is out
    np.testing.assert_array_equal(on_host(engine, out)[0], volume[4:36, 4:36, 4:28])
    plain = engine.xp.full((1, 5, 5, 5), 9, np.uint8)
    assert view.read(relative_offset=(0, 0, 0), size=(5, 5, 5), out=plain) is plain
    np.testing.assert_array_equal(on_host(engine, plain)[0], volume[4:9, 4:9, 4:9])


def test_out_must_fit(view):
    with pytest.raises(ShapeError, match=r"\(1, 32, 32, 24\)"):
        view.read(out=np.zeros((32, 32, 24), np.uint8))
    with pytest.raises(DtypeError, match="uint16"):
        view.read(out=np.zeros((1, 32, 32, 24), np.uint16))


@on_every_device
@pytest.mark.covers("View.read_many")
def test_read_many_is_many_reads(mag_view, view):
    engine = view._engine
    boxes = [wk.BoundingBox((x, 14, 18), (8, 9, 10)) for x in (8, 20, 13, 8)]
    wanted = np.stack([read(view, absolute_bounding_box=box) for box in boxes])
    np.testing.assert_array_equal(on_host(engine, view.read_many(boxes)), wanted)
    np.testing.assert_array_equal(on_host(engine, mag_view.read_many(iter(boxes))), wanted)
    out = engine.xp.zeros(wanted.shape, wanted.dtype)
    assert view.read_many(boxes, out=out) is out
    np.testing.assert_array_equal(on_host(engine, out), wanted)


def test_read_many_refuses_boxes_that_do_not_fit(mag_view, view):
    with pytest.raises(ShapeError, match=r"boxes\[1\]"):
        mag_view.read_many([wk.BoundingBox((0, 0, 0), (8, 8, 8)), wk.BoundingBox((0, 0, 0), (8, 8, 9))])
    with pytest.raises(ShapeError, match="at least one"):
        mag_view.read_many([])
    with pytest.raises(OutOfBoundsError):
        view.read_many([wk.BoundingBox((8, 12, 16), (8, 8, 8)), wk.BoundingBox((0, 0, 0), (8, 8, 8))])


@on_every_device
@pytest.mark.covers("View.read_xyz")
def test_read_xyz(mag_view):
    box = wk.BoundingBox((8, 12, 16), (4, 5, 6))
    found = on_host(mag_view._engine, mag_view.read_xyz(absolute_bounding_box=box))
    np.testing.assert_array_equal(found, read(mag_view, absolute_bounding_box=box))


def test_an_empty_layer_has_nothing_to_read_whole(layer):
    with pytest.raises(RegionError, match="the whole view"):
        layer.add_mag(1).read()


# ---- Writing


@on_every_device
@pytest.mark.covers("View.write")
def test_a_view_writes_where_it_lies(mag_view, view):
    patch = counted((3, 4, 5))
    view.write(patch, relative_offset=(1, 2, 3))
    np.testing.assert_array_equal(read(mag_view, absolute_offset=(9, 14, 19), size=(3, 4, 5)), patch)
    view.write(patch + 1)  # its top left
    np.testing.assert_array_equal(read(mag_view, absolute_offset=(8, 12, 16), size=(3, 4, 5)), patch + 1)
    view.write(patch + 2, absolute_bounding_box=wk.BoundingBox((30, 30, 30), (3, 4, 5)))
    np.testing.assert_array_equal(read(mag_view, absolute_offset=(30, 30, 30), size=(3, 4, 5)), patch + 2)
    with pytest.raises(OutOfBoundsError):
        view.write(patch, relative_offset=(30, 0, 0))


@on_every_device
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data,
        lambda data: data[None],
        np.asfortranarray,
        lambda data: data[::-1, ::2, ::-1],
        lambda data: data.transpose(2, 0, 1),
        lambda data: np.broadcast_to(data[:1], data.shape),
        lambda data: DLPack(np.ascontiguousarray(data)),
    ],
    ids=["3-D", "4-D", "Fortran", "strided", "transposed", "broadcast", "DLPack"],
)
def test_data_of_any_kind(layer, change):
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=32)
    data = change(counted((20, 24, 28))[0])
    voxels = data.array if isinstance(data, DLPack) else data
    mag_view.write(data, absolute_offset=(3, 3, 3))
    np.testing.assert_array_equal(read(mag_view)[0], voxels.reshape(voxels.shape[-3:]))


class DLPack:
    """An array that only speaks DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@on_every_device
def test_the_byte_order_of_data_does_not_matter(dataset):
    mag_view = dataset.add_layer("wide", "color", dtype=">u2").add_mag(1, chunk_shape=8, shard_shape=32)
    voxels = counted((9, 9, 9), ">u2") * 257
    mag_view.write(voxels, absolute_offset=(0, 0, 0))
    np.testing.assert_array_equal(read(mag_view), voxels)
    assert read(mag_view).dtype.isnative


@pytest.mark.parametrize(
    "data", [np.zeros((2, 2, 2, 2), "uint8"), np.zeros((2, 2), "uint8"), np.zeros((1, 1, 2, 2, 2), "uint8")]
)
def test_wrong_channels_and_axes_are_refused(mag_view, data):
    with pytest.raises(ShapeError, match="1 channel"):
        mag_view.write(data, absolute_offset=(0, 0, 0))


@on_every_device
@pytest.mark.parametrize("dtype", ["uint16", "int8", "float32", "bool"])
def test_a_wrong_dtype_is_refused_and_both_are_named(mag_view, dtype):
    before = read(mag_view)
    with pytest.raises(DtypeError, match=rf"{dtype}.*uint8"):
        mag_view.write(np.zeros((2, 2, 2), dtype), absolute_offset=(8, 8, 16))
    np.testing.assert_array_equal(read(mag_view), before)


@on_every_device
def test_three_axes_are_for_one_channel(dataset):
    mag_view = dataset.add_layer("rgb", "color", dtype="uint8", num_channels=3).add_mag(
        1, chunk_shape=8, shard_shape=32
    )
    with pytest.raises(ShapeError, match=r"3 channel"):
        mag_view.write(np.zeros((3, 4, 5), "uint8"), absolute_offset=(0, 0, 0))
    mag_view.write(counted((4, 5, 6), channels=3), absolute_offset=(0, 0, 0))
    np.testing.assert_array_equal(read(mag_view), counted((4, 5, 6), channels=3))


def test_empty_data_are_refused(mag_view):
    with pytest.raises(RegionError, match="at least 1 voxel"):
        mag_view.write(np.zeros((0, 2, 2), "uint8"), absolute_offset=(0, 0, 0))


# ---- The layer's bounding box


@pytest.mark.covers("MagView.write", "MagView.bounding_box")
def test_writes_grow_the_bounding_box_and_save_it(mag_view, layer, saved):
    mag_view.write(counted((3, 4, 5)), absolute_offset=(0, 40, 50))
    assert layer.bounding_box == mag_view.bounding_box == wk.BoundingBox((0, 8, 12), (44, 36, 43))
    assert saved()["dataLayers"][0]["boundingBox"] == {"topLeft": [0, 8, 12], "width": 44, "height": 36, "depth": 43}


def test_writes_inside_leave_the_file_alone(mag_view, dataset):
    file = dataset.path / "datasource-properties.json"
    before = file.stat()
    mag_view.write(counted((3, 4, 5)), absolute_offset=(8, 8, 16))
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_write_must_not_grow_the_box_unless_allowed(mag_view, layer):
    before = layer.bounding_box
    with pytest.raises(OutOfBoundsError, match="would leave"):
        mag_view.write(counted((3, 4, 5)), absolute_offset=(0, 0, 0), allow_resize=False)
    with pytest.raises(ValueError, match="would leave"):
        mag_view.write(counted((3, 4, 5)), absolute_offset=(43, 8, 12), allow_resize=False)
    assert layer.bounding_box == before
    assert not mag_view.read(absolute_offset=(0, 0, 0), size=(3, 4, 5)).any()
    mag_view.write(counted((3, 4, 5)), absolute_offset=(41, 40, 39), allow_resize=False)


def test_the_box_of_a_mag_is_rounded_out(layer):
    layer.bounding_box = wk.BoundingBox((1, 2, 3), (11, 13, 15))
    mag_view = layer.add_mag(2, chunk_shape=8, shard_shape=32)
    assert mag_view.bounding_box == wk.BoundingBox((0, 2, 2), (12, 14, 16))
    assert mag_view.read().shape == (1, 6, 7, 8)
    mag_view.write(counted((6, 7, 8)), allow_resize=False)  # fills exactly the rounded box
    assert layer.bounding_box == wk.BoundingBox((1, 2, 3), (11, 13, 15))
    mag_view.write(counted((6, 7, 9)))
    assert layer.bounding_box == wk.BoundingBox((0, 2, 2), (12, 14, 18))


def test_writes_without_a_region_go_to_the_top_left(layer):
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=32)
    mag_view.write(counted((4, 4, 4)))
    assert layer.bounding_box == wk.BoundingBox((0, 0, 0), (4, 4, 4))
    layer.bounding_box = wk.BoundingBox((1, 1, 1), (8, 8, 8))
    mag_view.write(counted((4, 4, 4)))
    np.testing.assert_array_equal(mag_view.read(absolute_offset=(1, 1, 1), size=(4, 4, 4)), counted((4, 4, 4)))


@pytest.mark.covers("MagView.get_bounding_boxes_on_disk")
def test_boxes_on_disk(layer):
    mag_view = layer.add_mag("2-2-1", chunk_shape=8, shard_shape=16)
    assert list(mag_view.get_bounding_boxes_on_disk()) == []
    mag_view.write(counted((2, 2, 2)), absolute_offset=(64, 0, 16))
    mag_view.write(counted((2, 2, 2)), absolute_offset=(30, 0, 0))
    assert list(mag_view.get_bounding_boxes_on_disk()) == [
        wk.BoundingBox((0, 0, 0), (32, 32, 16)),
        wk.BoundingBox((32, 0, 0), (32, 32, 16)),
        wk.BoundingBox((64, 0, 16), (32, 32, 16)),
    ]


@pytest.mark.covers("MagView.get_views_on_disk")
def test_views_on_disk(layer):
    mag_view = layer.add_mag("2-2-1", chunk_shape=8, shard_shape=16)
    mag_view.write(counted((32, 16, 16)), absolute_offset=(0, 0, 0))
    mag_view.write(counted((2, 2, 2)), absolute_offset=(64, 0, 16))
    boxes = list(mag_view.get_bounding_boxes_on_disk())
    views = list(mag_view.get_views_on_disk(read_only=True))
    assert [view.bounding_box for view in views] == boxes
    assert all(view.read_only for view in views)
    for view, box in zip(views, boxes, strict=True):
        np.testing.assert_array_equal(view.read(), mag_view.read(absolute_bounding_box=box))
    with pytest.raises(OutOfBoundsError):  # the last file reaches beyond the layer's box
        list(mag_view.get_views_on_disk())
    layer.bounding_box = wk.BoundingBox((0, 0, 0), (96, 32, 32))
    assert [view.read_only for view in mag_view.get_views_on_disk()] == [False] * 3


@pytest.mark.covers("MagView.get_zarr_array")
def test_a_wkw_mag_is_no_zarr_array(mag_view):
    with pytest.raises(UnsupportedError, match="wkw, not as Zarr"):
        mag_view.get_zarr_array()
    with pytest.raises(ValueError, match="use read"):
        mag_view.get_zarr_array()


# ---- Smaller views, and read-only ones


@on_every_device
@pytest.mark.covers("View", "View.get_view", "View.bounding_box", "View.read_only")
def test_views_of_views(mag_view, view):
    inner = view.get_view(relative_offset=(4, 4, 4), size=(8, 8, 8))
    assert (inner.bounding_box, inner.read_only, type(inner)) == (
        wk.BoundingBox((12, 16, 20), (8, 8, 8)),
        False,
        wk.View,
    )
    np.testing.assert_array_equal(read(inner), read(mag_view, absolute_offset=(12, 16, 20), size=(8, 8, 8)))
    assert mag_view.get_view().bounding_box == mag_view.bounding_box


@on_every_device
def test_only_read_only_views_may_leave_their_parent(mag_view, view):
    large = {"absolute_offset": (0, 0, 0), "size": (64, 64, 64)}
    for parent in (mag_view, view):
        with pytest.raises(OutOfBoundsError):
            parent.get_view(**large)
        larger = parent.get_view(**large, read_only=True)
        np.testing.assert_array_equal(read(larger), read(mag_view, **large))


def test_read_only_views_have_only_read_only_views(view):
    frozen = view.get_view(read_only=True)
    assert frozen.get_view().read_only
    with pytest.raises(ReadOnlyError, match="read-only"):
        frozen.get_view(read_only=False)
    with pytest.raises(RuntimeError):
        frozen.write(counted((2, 2, 2)))


@pytest.mark.covers("Layer.read_only", "Layer.name")
def test_a_read_only_dataset_refuses_all_changes(mag_view, dataset):
    frozen = wk.Dataset.open(dataset.path, read_only=True)
    layer = frozen.get_layer("color")
    assert layer.get_mag(1).read_only
    assert (layer.name, layer.read_only, mag_view.layer.read_only) == ("color", True, False)
    np.testing.assert_array_equal(layer.get_mag(1).read(), mag_view.read())
    for change in (
        lambda: layer.get_mag(1).write(counted((2, 2, 2))),
        lambda: layer.add_mag(2),
        lambda: layer.delete_mag(1),
        lambda: setattr(layer, "bounding_box", wk.BoundingBox((0, 0, 0), (1, 1, 1))),
        lambda: frozen.add_layer("more", "color"),
        lambda: frozen.delete_layer("color"),
        lambda: setattr(frozen, "name", "other"),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    np.testing.assert_array_equal(layer.get_mag(1).read(), mag_view.read())


# ---- What they tell


@pytest.mark.covers("View.info", "View.get_dtype", "View.num_channels", "View.data_format", "ArrayInfo", "DataFormat")
def test_info(mag_view, view):
    info = view.info
    assert info == mag_view.info
    assert (info.data_format, info.num_channels, info.voxel_type) == (wk.DataFormat.WKW, 1, np.dtype("uint8"))
    assert (info.chunk_shape, info.chunks_per_shard, info.shard_shape) == ((8, 8, 8), (4, 4, 4), (32, 32, 32))
    assert info.compression_mode is True
    assert (view.get_dtype(), view.num_channels, view.data_format) == (np.uint8, 1, "wkw")


@pytest.mark.covers("View.name", "View.path", "View.mag", "MagView.layer", "MagView.is_remote_to_dataset")
def test_names_and_paths(dataset, layer, mag_view, view):
    coarse = layer.add_mag("2-2-1")
    assert (mag_view.name, coarse.name, view.name) == ("1", "2-2-1", "1")
    assert coarse.path == dataset.path / "color" / "2-2-1"
    assert (mag_view.mag, mag_view.layer, mag_view.is_remote_to_dataset) == (wk.Mag(1), layer, False)


def test_repr(mag_view, view):
    assert repr(mag_view) == "MagView(name='1', bounding_box=BoundingBox(topleft=(4, 8, 12), size=(40, 36, 32)))"
    assert repr(view) == f"View({view.path!r}, bounding_box=BoundingBox(topleft=(8, 12, 16), size=(32, 32, 24)))"
    for thing in (mag_view, view, mag_view.layer, mag_view.layer.dataset):
        assert "<table>" in thing._repr_html_()


def test_other_devices(mag_view, view):
    for original in (mag_view, view):
        other = original.to("cpu")
        assert type(other) is type(original)
        assert other.bounding_box == original.bounding_box
        np.testing.assert_array_equal(other.read(), original.read())
    with pytest.raises(DeviceError):
        view.to("abacus")


@on_every_device
@pytest.mark.covers("View.to", "View.device")
def test_views_move_between_devices(mag_view, device):
    """What one device writes the others read, and a view can be given what another one has read."""
    assert mag_view.device == device
    elsewhere = mag_view.to("cpu")
    assert (mag_view.device, elsewhere.device) == (device, "cpu")
    np.testing.assert_array_equal(elsewhere.read(), read(mag_view))
    elsewhere.write(counted((9, 9, 9)), absolute_offset=(5, 9, 13))
    np.testing.assert_array_equal(read(mag_view, absolute_offset=(5, 9, 13), size=(9, 9, 9)), counted((9, 9, 9)))
    mag_view.write(mag_view.read(absolute_offset=(5, 9, 13), size=(9, 9, 9)), absolute_offset=(20, 20, 20))
    np.testing.assert_array_equal(elsewhere.read(absolute_offset=(20, 20, 20), size=(9, 9, 9)), counted((9, 9, 9)))
    back = elsewhere.to(device)
    np.testing.assert_array_equal(read(back), elsewhere.read())


@on_every_device
def test_a_view_writes_arrays_of_its_device(layer):
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=32)
    for order in "FC":
        data = np.array(counted((20, 24, 28))[0], order=order)
        mag_view.write(on_device(mag_view._engine, data), absolute_offset=(3, 3, 3))
        np.testing.assert_array_equal(read(mag_view)[0], data)


def test_the_device_of_a_dataset_is_that_of_its_views(mag_view, dataset):
    from wkgpu import get_engine

    opened = wk.Dataset.open(dataset.path, device="cpu")
    assert opened.get_layer("color").get_mag(1)._engine is get_engine("cpu")
    broken = wk.Dataset.open(dataset.path, device="abacus").get_layer("color").get_mag(1)
    with pytest.raises(DeviceError):
        broken.read()


def test_a_deleted_mag_is_not_read_as_zeros(layer, mag_view, view):
    layer.delete_mag(1)
    with pytest.raises(NotFoundError):
        mag_view.read(absolute_offset=(8, 8, 16), size=(4, 4, 4))


@pytest.mark.parametrize("to_array", [np.asarray, np.array, np.sum, lambda view: np.ones(3) + view])
def test_a_view_is_no_array(mag_view, view, to_array):
    for found in (mag_view, view):
        with pytest.raises(wk.WkgpuError, match=r"is not an array; its read\(\)") as caught:
            to_array(found)
        assert isinstance(caught.value, TypeError)
    with pytest.raises(wk.WkgpuError, match="not an array"):
        mag_view.write(view)
    objects = np.array([mag_view, view], object)
    assert objects.shape == (2,)
    assert objects[1] is view


def test_fractions_of_voxels(mag_view, volume):
    """They are no regions, and nothing is written."""
    for region in ({"absolute_offset": (4.5, 8, 12)}, {"relative_offset": (0, 0, 0.5)}):
        with pytest.raises(wk.WkgpuError, match=r"\.5") as caught:
            mag_view.write(np.zeros((4, 4, 4), "uint8"), **region)
        assert isinstance(caught.value, ValueError)
        with pytest.raises(wk.WkgpuError, match=r"\.5"):
            mag_view.read(size=(4, 4, 4), **region)
    with pytest.raises(wk.WkgpuError, match=r"8\.5"):
        mag_view.chunk((8, 8.5, 8))
    with pytest.raises(wk.WkgpuError, match=r"32\.5"):
        mag_view.for_each_chunk(print, (32.5, 32, 32))
    np.testing.assert_array_equal(mag_view.read(absolute_offset=(4.0, 8, 12), size=np.array([40.0, 36, 32]))[0], volume)


@pytest.mark.covers("View.read_cxyz", "View.write_cxyz", "MagView.write_cxyz")
def test_todays_names_for_reading_and_writing_all_axes(mag_view, view, volume):
    for one in (mag_view, view):
        np.testing.assert_array_equal(one.read_cxyz(), one.read())
        box = wk.BoundingBox((9, 9, 9), (4, 5, 6)).offset(one.bounding_box.topleft)
        patch = np.random.default_rng(1).integers(0, 99, (1, 4, 5, 6)).astype(volume.dtype)
        one.write_cxyz(patch, absolute_offset=box.topleft, allow_unaligned=True)
        np.testing.assert_array_equal(one.read_cxyz(absolute_bounding_box=box), patch)
        np.testing.assert_array_equal(one.read_cxyz(box.size, absolute_offset=box.topleft), patch)
    with pytest.raises(OutOfBoundsError):
        mag_view.write_cxyz(patch, absolute_offset=(900, 0, 0), allow_resize=False)
