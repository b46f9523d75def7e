"""Every member is described, listed in the README, and covered by a test that really uses it."""

from __future__ import annotations

import inspect

import members
import pytest

import wkgpu as wk

# What scripts for the WEBKNOSSOS library call, of both generations, and what wkgpu adds to it.
WANTED = {
    wk.View: """read read_many read_bbox read_xyz write get_view chunk for_each_chunk map_chunk for_zipped_chunks
        content_is_equal get_buffered_slice_reader get_buffered_slice_writer get_dtype bounding_box mag read_only info
        name path header size global_offset open close to map_voxels""",
    wk.MagView: """write bounding_box compress rechunk get_bounding_boxes_on_disk get_views_on_disk merge_with_view
        merge_chunk get_zarr_array layer mag name path global_offset header size is_remote_to_dataset""",
    wk.Dataset: """open layers get_layer add_layer get_or_add_layer delete_layer get_color_layers
        get_segmentation_layers voxel_size name calculate_bounding_box compress downsample add_layer_for_existing_files
        copy_dataset write_layer add_layer_like add_layer_as_copy add_layer_as_ref default_view_configuration""",
    wk.Layer: """mags get_mag add_mag get_or_add_mag delete_mag get_finest_mag bounding_box dtype dtype_per_channel
        num_channels category data_format downsample downsample_mag name add_mag_as_copy add_mag_as_ref
        as_segmentation_layer as_color_layer default_view_configuration""",
    wk.SegmentationLayer: "largest_segment_id refresh_largest_segment_id attachments",
    wk: """Dataset Layer MagView View Vec3Int VecInt Mag BoundingBox NDBoundingBox ArrayInfo get_executor voxel_map
        SamplingModes Attachments MeshAttachment DatasetViewConfiguration LayerViewConfiguration""",
}


@pytest.mark.parametrize("owner", WANTED, ids=lambda owner: owner.__name__)
def test_no_member_is_missing(owner):
    assert [name for name in WANTED[owner].split() if not hasattr(owner, name)] == []


def test_every_member_is_described():
    assert [member.name for member in members.members() if not member.summary] == []


def test_every_member_is_covered_by_a_test():
    covered = members.covering_tests()
    assert [member.name for member in members.members() if member.name not in covered] == []


def test_tests_cover_what_exists():
    known = {member.name for member in members.members()}
    inherited = {f"MagView.{name}" for name in dir(wk.MagView)} | {
        f"SegmentationLayer.{name}" for name in dir(wk.Layer)
    }
    assert set(members.covering_tests()) - known - inherited == set()


def test_views_can_be_used_with_with():
    assert {"__enter__", "__exit__", "_repr_html_", "__repr__", "__reduce__"} <= {
        name for name, _ in inspect.getmembers(wk.View)
    }


def test_the_readme_lists_them():
    text = members.README.read_text(encoding="utf-8")
    assert text == members.written(text), "the table of members is not up to date; run: make format"
