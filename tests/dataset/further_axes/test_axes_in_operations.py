"""Layers with further axes: what samples, compares, counts and merges does so at each coordinate."""

import shutil

import numpy as np
import pytest
import zarr
from datasets import read
from further_axes import LAYOUT, add_layer, box_of, entries, halved

import wkgpu as wk
from wkgpu.errors import MismatchError, RegionError, ShapeError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")


def halve(arguments):
    source, target, _ = arguments
    target.write_cxyz(source.read_cxyz() // 2)


@pytest.mark.computes
@pytest.mark.parametrize("axes", ["txyz"])
def test_each_coordinate_is_downsampled(axes, voxels, on_device, theirs):
    layer = on_device.layer
    layer.downsample_mag(1, 2, interpolation_mode="max", **LAYOUT)
    np.testing.assert_array_equal(read(layer.get_mag(2)), halved(voxels, axes))
    np.testing.assert_array_equal(theirs(2), halved(voxels, axes))
    sevens = np.full((1, 10, 12, 14), 7, "uint8")
    on_device.write_cxyz(sevens, absolute_bounding_box=box_of(wk, axes, t=(1, 1)))
    layer.redownsample(interpolation_mode="min")
    np.testing.assert_array_equal(read(layer.get_mag(2)), halved(read(on_device), axes, np.min))
    assert (read(layer.get_mag(2)) == 7).any()


def test_coordinates_that_share_chunks_are_downsampled(mag_view, voxels):
    """At the same time, by threads that write to the same files."""
    layer = mag_view.layer
    layer.downsample_mag(1, 2, **LAYOUT)
    shutil.rmtree(layer.path / "2")
    zarr.create_array(
        store=str(layer.path / "2"), shape=(2, 3, 5, 6, 7), chunks=(2, 3, 3, 3, 3), dtype="uint8",
        dimension_names="ctxyz",
    )  # fmt: skip
    layer = wk.Dataset.open(layer.dataset.path).get_layer("a")
    with wk.get_executor("threads", max_workers=3) as executor:
        layer.redownsample(interpolation_mode="max", executor=executor)
    np.testing.assert_array_equal(read(layer.get_mag(2)), halved(voxels, "ctxyz"))


@pytest.mark.parametrize("axes", ["ctxyz", "tcqzyx"])
def test_it_is_what_webknossos_makes(mag_view, webknossos, tmp_path, theirs):
    cluster_tools = pytest.importorskip("cluster_tools")
    shutil.copytree(tmp_path / "ours", tmp_path / "copy")
    mag_view.layer.downsample(coarsest_mag=4, **LAYOUT)
    with cluster_tools.get_executor("sequential") as executor:
        webknossos.Dataset.open(tmp_path / "copy").get_layer("a").downsample(
            coarsest_mag=webknossos.Mag(4), executor=executor, **LAYOUT
        )
    assert entries(tmp_path / "ours") == entries(tmp_path / "copy")
    for mag in (2, 4):
        np.testing.assert_array_equal(read(mag_view.layer.get_mag(mag)), theirs(mag, folder="copy"))


def test_coordinates_beyond_the_layer_are_left_out(mag_view, voxels):
    layer = mag_view.layer
    layer.bounding_box = box_of(wk, "ctxyz", t=(1, 2))
    with wk.get_executor("processes", max_workers=1) as executor:
        layer.downsample_mag(1, 2, interpolation_mode="max", **LAYOUT, executor=executor)
    coarser = layer.get_mag(2)
    np.testing.assert_array_equal(read(coarser), halved(voxels[:, 1:], "ctxyz"))
    assert not coarser._array.at((0,)).existing_shards()
    assert coarser._array.extra_axes == (("t", 3),)
    plain = layer.dataset.add_layer("plain", "color", num_channels=2, data_format="zarr3")
    with pytest.raises(MismatchError, match="of which the layer says nothing"):
        plain.downsample_mag(1, 2, from_mag_view=mag_view)
    assert [*layer.mags] == [wk.Mag(1), wk.Mag(2)]
    assert not plain.mags


@pytest.mark.computes
def test_contents_are_compared_at_each_coordinate(on_device, voxels):
    layer = on_device.layer
    other = add_layer(layer.dataset, wk, "txyzc", "b", t=(2, 3)).add_mag(1, **LAYOUT)
    box = box_of(wk, "txyzc", t=(2, 3))
    other.write(voxels.transpose(1, 2, 3, 4, 0), absolute_bounding_box=box)
    assert on_device.content_is_equal(other)
    view = other.get_view(absolute_bounding_box=box.with_bounds("t", 3, 2))
    assert view.content_is_equal(on_device.get_view(absolute_bounding_box=box_of(wk, "ctxyz", t=(1, 2))))
    assert not view.content_is_equal(on_device)
    changed = other.read(absolute_bounding_box=box.with_bounds("t", 4, 1)) + 1
    other.write(changed, absolute_bounding_box=box.with_bounds("t", 4, 1))
    assert not on_device.content_is_equal(other)


def test_reductions_are_of_all_coordinates(mag_view, voxels):
    mag_view.write(voxels[:, 1:2] * 0 + 250, absolute_bounding_box=box_of(wk, "ctxyz", t=(1, 1)))
    voxels[:, 1] = 250
    assert mag_view.min_max() == (voxels.min(), 250)
    labels, counts = mag_view.count_labels()
    np.testing.assert_array_equal(np.stack([labels, counts]), np.stack(np.unique(voxels, return_counts=True)))
    np.testing.assert_array_equal(mag_view.histogram(8)[0], np.histogram(voxels, 8)[0])


def test_boxes_of_files_have_one_coordinate(mag_view, voxels):
    mag_view.write(np.full_like(voxels[:, :1], 250), absolute_bounding_box=box_of(wk, "ctxyz", t=(0, 1)))
    shutil.rmtree(mag_view.path / "c" / "0" / "1")
    boxes = list(mag_view.get_bounding_boxes_on_disk())
    assert [box.get_bounds("t") for box in boxes] == [(0, 1)] * 8 + [(2, 3)] * 8
    assert boxes[1].topleft_xyz == (8, 0, 0)
    assert [int(read(view).max()) for view in mag_view.get_views_on_disk(read_only=True)][:9] == [250] * 8 + [199]


def test_zipped_chunks_are_at_the_same_coordinates(mag_view, voxels):
    other = add_layer(mag_view.layer.dataset, wk, "txyzc", "b", t=(4, 3)).add_mag(1, **LAYOUT)
    shape = (16, 16, 16)
    mag_view.for_zipped_chunks(halve, other, shape, shape)
    np.testing.assert_array_equal(read(other), (voxels // 2).transpose(1, 2, 3, 4, 0))
    one = other.get_view(absolute_bounding_box=box_of(wk, "txyzc", t=(4, 1)))
    with pytest.raises(ShapeError, match="as many coordinates along 't'"):
        mag_view.for_zipped_chunks(halve, one, shape, shape)


@pytest.fixture
def overlay():
    """Adds a mag with one chunk in a file; there are some at the coordinates 0 and 2."""

    def add(mag_view):
        layer = add_layer(mag_view.layer.dataset, wk, "txyzc", "overlay")
        made = layer.add_mag(1, chunk_shape=4, shard_shape=4)
        for t, corner in ((0, (4, 4, 4)), (2, (0, 8, 0)), (2, (4, 8, 0))):
            box = wk.NDBoundingBox((t, *corner, 0), (1, 4, 4, 4, 2), ("t", "x", "y", "z", "c"))
            made.write(np.full((1, 4, 4, 4, 2), 201 + t, "uint8"), absolute_bounding_box=box)
        return made

    return add


@pytest.mark.computes
@pytest.mark.parametrize("chunk", [None, (1, 2, 8, 8, 8), (2, 3, 5, 5, 5)])
def test_files_are_merged_at_their_coordinates(on_device, overlay, voxels, chunk):
    """Also into chunks that hold several coordinates."""
    if chunk is not None:
        shutil.rmtree(on_device.path)
        array = zarr.create_array(
            store=str(on_device.path), shape=voxels.shape, chunks=chunk, dtype="uint8", dimension_names="ctxyz"
        )
        array[...] = voxels
        on_device = wk.Dataset.open(on_device.layer.dataset.path, device=on_device.device).get_layer("a").get_mag(1)
    on_device.merge_with_view(overlay(on_device))
    voxels[:, 0, 4:8, 4:8, 4:8] = 201
    voxels[:, 2, :8, 8:12, :4] = 203
    np.testing.assert_array_equal(read(on_device), voxels)
    np.testing.assert_array_equal(on_device.get_zarr_array()[:, :, :10, :12, :14], voxels)


def test_files_are_merged_one_by_one(mag_view, overlay, voxels):
    other = overlay(mag_view)
    boxes = list(other.get_bounding_boxes_on_disk())
    shard = box_of(wk, "ctxyz", t=(2, 1), x=(0, 8), y=(8, 8), z=(0, 8))
    for number in (0, 1):
        mag_view.merge_chunk((other, shard, boxes[1:][:number]))
    voxels[:, 2, :4, 8:12, :4] = 203
    np.testing.assert_array_equal(read(mag_view), voxels)
    with pytest.raises(RegionError, match="one coordinate along each further axis"):
        mag_view.merge_chunk((other, shard, boxes[:1]))
    np.testing.assert_array_equal(read(mag_view), voxels)


def test_coordinates_that_cannot_be_merged(mag_view, overlay, voxels):
    longer = overlay(mag_view)
    longer.layer.bounding_box = longer.layer.bounding_box.with_bounds("t", 0, 4)
    plain = mag_view.layer.dataset.add_layer("plain", "color", num_channels=2, data_format="zarr3")
    for other in (longer, plain.add_mag(1, chunk_shape=4, shard_shape=4)):
        with pytest.raises(MismatchError, match="along the axis 't', and the view that gets its voxels 0 to 2"):
            mag_view.merge_with_view(other)
    np.testing.assert_array_equal(read(mag_view), voxels)
