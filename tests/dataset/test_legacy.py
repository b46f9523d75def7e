"""Arguments and members of earlier generations: each works, and says what took its place."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.dataset.legacy import DEPRECATED, RENAMED, SYNONYMS, accepts_legacy
from wkgpu.errors import ArgumentError, HandleError, OutOfBoundsError


@pytest.fixture
def today():
    """Whatever is done in this test must not warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ---- The mechanism


@accepts_legacy("chunk_shape", "chunks_per_shard")
def make(mag, *, chunk_shape=None, shard_shape=None, chunks_per_shard=None, compress=True):
    return mag, chunk_shape, shard_shape, chunks_per_shard, compress


def test_an_old_name_is_the_new_argument():
    with pytest.warns(DeprecationWarning, match=r"make\(\): chunk_size is deprecated; use chunk_shape"):
        assert make(1, chunk_size=8) == (1, 8, None, None, True)
    with pytest.warns(DeprecationWarning, match="block_type is deprecated; use compress"):
        assert make(1, block_type=3) == (1, None, None, None, "lz4hc")


def test_an_outdated_argument_keeps_its_name():
    with pytest.warns(DeprecationWarning, match="chunks_per_shard is deprecated; use shard_shape"):
        assert make(1, chunks_per_shard=4) == (1, None, None, 4, True)


def test_old_positions():
    with pytest.warns(DeprecationWarning, match="pass chunk_shape by name"):
        assert make(1, 8) == (1, 8, None, None, True)
    with pytest.warns(DeprecationWarning, match="chunks_per_shard is deprecated"):
        assert make(1, 8, 4) == (1, 8, None, 4, True)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert make(1, None, 4) == (1, None, None, 4, True)


def test_the_warning_is_at_the_line_of_the_caller():
    with pytest.warns(DeprecationWarning, match="deprecated") as caught:
        make(1, block_len=8)
    assert caught[0].filename == __file__


def test_two_names_of_one_argument_contradict():
    with warnings.catch_warnings(action="ignore"):
        with pytest.raises(ArgumentError, match="give chunk_shape alone"):
            make(1, chunk_size=8, chunk_shape=8)
        with pytest.raises(ArgumentError, match="give chunk_shape alone"):
            make(1, block_len=8, chunk_size=8)
        with pytest.raises(TypeError, match="positional"):
            make(1, 2, 3, 4)


def test_unknown_arguments_stay_errors():
    with pytest.raises(TypeError, match="unknown"):
        make(1, unknown=2)


def test_an_old_name_that_the_function_does_not_know_is_an_error():
    with pytest.raises(TypeError, match="scale"):
        make(1, scale=(1, 1, 1))


def test_nothing_is_both_renamed_and_outdated():
    assert not RENAMED.keys() & DEPRECATED.keys()
    assert not RENAMED.keys() & {successor.name for successor in RENAMED.values()}


BOTH_NAMES = {
    (wk.Dataset, "__init__"): ("dataset_path", "path"),
    (wk.Dataset, "open"): ("dataset_path", "path"),
    (wk.Dataset, "add_layer"): ("dtype", "dtype_per_channel"),
    (wk.Dataset, "get_or_add_layer"): ("dtype", "dtype_per_channel"),
    (wk.MagView, "write"): ("allow_resize", "json_update_allowed"),
    (wk.MagView, "get_buffered_slice_writer"): ("allow_resize", "json_update_allowed"),
}


def test_two_names_of_one_argument_are_both_parameters():
    for (owner, name), names in BOTH_NAMES.items():
        parameters = list(inspect.signature(getattr(owner, name)).parameters)
        assert parameters.index(names[0]) < parameters.index(names[1]), name
    assert {second: first for first, second in BOTH_NAMES.values()} == SYNONYMS


def test_both_names_of_one_argument_work(tmp_path, volume, today):
    dataset = wk.Dataset(path=tmp_path / "a", voxel_size=(1, 1, 1))
    for named in ({"dataset_path": dataset.path}, {"path": dataset.path}):
        assert wk.Dataset.open(**named).path == dataset.path
    for name in ("dtype", "dtype_per_channel"):
        mag_view = dataset.add_layer(name, "color", **{name: "uint8"}).add_mag(1, shard_shape=64)
        assert dataset.get_or_add_layer(name, "color", **{name: "uint8"}) is mag_view.layer
    for name in ("allow_resize", "json_update_allowed"):
        with pytest.raises(OutOfBoundsError, match="with allow_resize=True"):
            mag_view.write(volume[:8, :8, :8], absolute_offset=(64, 0, 0), **{name: False})
        mag_view.write(volume[:8, :8, :8], **{name: True})
        with mag_view.get_buffered_slice_writer(**{name: True, "allow_unaligned": True}) as writer:
            writer.send(volume[:8, :8, 0])


def test_both_names_at_once_are_one_too_many(dataset, mag_view, volume):
    with pytest.raises(ArgumentError, match="give allow_resize alone"):
        mag_view.write(volume, allow_resize=True, json_update_allowed=False)
    with pytest.raises(TypeError, match="dataset_path"):
        wk.Dataset.open(dataset.path, path=dataset.path)
    with pytest.raises(ArgumentError, match="Give dataset_path"):
        wk.Dataset.open()


def test_signatures_show_only_todays_names():

    parameters = inspect.signature(wk.Layer.add_mag).parameters
    assert list(parameters) == ["self", "mag", "chunk_shape", "shard_shape", "chunks_per_shard", "compress"]


# ---- Datasets, layers and mags


def test_legacy_names_of_a_dataset(tmp_path):
    with pytest.warns(DeprecationWarning, match="scale is deprecated; use voxel_size"):
        dataset = wk.Dataset(tmp_path / "dataset", scale=(1, 2, 3))
    assert dataset.voxel_size == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("arguments", "dtype", "num_channels"),
    [
        ({"dtype_per_layer": "uint24", "num_channels": 3}, "uint8", 3),
        ({"dtype_per_layer": np.uint32, "num_channels": 2}, "uint16", 2),
        ({"dtype_per_layer": np.dtype("float32")}, "float32", 1),
    ],
)
def test_legacy_dtypes_of_a_layer(dataset, arguments, dtype, num_channels):
    with pytest.warns(DeprecationWarning, match="use dtype"):
        layer = dataset.add_layer("color", "color", **arguments)
    assert (layer.dtype, layer.num_channels) == (np.dtype(dtype), num_channels)


def test_both_dtypes_contradict(dataset):
    with pytest.raises(ArgumentError, match="give dtype alone"):
        dataset.add_layer("color", "color", dtype="uint8", dtype_per_channel="uint8")


@pytest.mark.parametrize(
    "arguments",
    [
        {"block_len": 16, "file_len": 2},
        {"chunk_size": (16, 16, 16), "chunks_per_shard": 2},
        {"chunk_shape": 16, "file_len": (2, 2, 2)},
    ],
)
def test_legacy_shapes_of_a_mag(layer, arguments):
    with pytest.warns(DeprecationWarning, match="deprecated"):
        info = layer.add_mag(1, **arguments).info
    assert (info.chunk_shape, info.shard_shape) == ((16, 16, 16), (32, 32, 32))
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert layer.get_or_add_mag(1, **arguments).info == info


def test_legacy_positions_of_a_mag(layer):
    with pytest.warns(DeprecationWarning, match="deprecated"):
        info = layer.add_mag(1, 16, 2, False).info
    assert (info.chunk_shape, info.shard_shape, info.compression_mode) == ((16, 16, 16), (32, 32, 32), False)


# ---- Regions


def test_legacy_offsets_into_a_mag_view_count_from_the_dataset(mag_view):
    wanted = mag_view.read(absolute_offset=(10, 10, 14), size=(5, 6, 7))
    with pytest.warns(DeprecationWarning, match="offset is deprecated"):
        np.testing.assert_array_equal(mag_view.read((10, 10, 14), (5, 6, 7)), wanted)
    with pytest.warns(DeprecationWarning, match="offset is deprecated"):
        np.testing.assert_array_equal(mag_view.read(offset=(10, 10, 14), size=(5, 6, 7)), wanted)
    with pytest.warns(DeprecationWarning, match="offset is deprecated"):
        np.testing.assert_array_equal(mag_view.read((10, 10, 14), size=(5, 6, 7)), wanted)
    with pytest.warns(DeprecationWarning, match="offset is deprecated"):
        np.testing.assert_array_equal(mag_view.get_view((10, 10, 14), (5, 6, 7)).read(), wanted)


def test_legacy_offsets_into_a_view_count_from_its_top_left(view):
    wanted = view.read(relative_offset=(1, 2, 3), size=(5, 6, 7))
    with pytest.warns(DeprecationWarning, match="deprecated"):
        np.testing.assert_array_equal(view.read((1, 2, 3), (5, 6, 7)), wanted)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        np.testing.assert_array_equal(view.get_view(offset=(1, 2, 3), size=(5, 6, 7)).read(), wanted)


def test_legacy_regions_are_in_the_mag(layer, random):
    mag_view = layer.add_mag("2-2-1", chunk_shape=8, shard_shape=32)
    voxels = random.integers(0, 256, (20, 20, 20)).astype("uint8")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        mag_view.write(voxels, (4, 5, 6))
    assert layer.bounding_box == wk.BoundingBox((8, 10, 6), (40, 40, 20))
    with pytest.warns(DeprecationWarning, match="deprecated"):
        np.testing.assert_array_equal(mag_view.read((5, 6, 7), (3, 3, 3))[0], voxels[1:4, 1:4, 1:4])
    with pytest.warns(DeprecationWarning, match="deprecated"):
        np.testing.assert_array_equal(
            mag_view.read_bbox(wk.BoundingBox((5, 6, 7), (3, 3, 3)))[0], voxels[1:4, 1:4, 1:4]
        )


def test_a_lone_position_is_todays_size(mag_view, today):
    voxels = mag_view.read((5, 6, 7), absolute_offset=(8, 8, 12))
    np.testing.assert_array_equal(voxels, mag_view.read(size=(5, 6, 7), absolute_offset=(8, 8, 12)))


def test_a_lone_size_is_deprecated_as_in_webknossos(view):
    with pytest.warns(DeprecationWarning, match="size alone"):
        np.testing.assert_array_equal(view.read((5, 6, 7)), view.read(relative_offset=(0, 0, 0), size=(5, 6, 7)))


def test_legacy_arguments_of_a_write(mag_view, layer, volume):
    with pytest.warns(DeprecationWarning, match="deprecated"), pytest.raises(OutOfBoundsError):
        mag_view.write(volume, (200, 0, 0), False)


def test_allow_unaligned_is_taken_and_means_nothing(mag_view, view, volume, today):
    mag_view.write(volume[:3], absolute_offset=(5, 9, 13), allow_unaligned=True)
    view.write(volume[:3, :3, :3], relative_offset=(1, 1, 1), allow_unaligned=False)


# ---- Members


@pytest.mark.covers("View.open", "View.close")
def test_handles(view):
    assert view.open() is view
    with pytest.raises(HandleError, match="open already"):
        view.open()
    assert view.read().any()
    view.close()
    assert view._opened is None
    with pytest.raises(HandleError, match="not open"):
        view.close()
    with view as opened:
        assert opened is view
        with pytest.raises(RuntimeError):
            view.open()
    with pytest.raises(RuntimeError):
        view.close()
    assert view.read().any()  # opens by itself


@pytest.mark.covers("View.size", "View.global_offset")
def test_legacy_properties_of_a_view(view):
    with pytest.warns(DeprecationWarning, match=r"View\.size is deprecated"):
        assert view.size == (32, 32, 24)
    with pytest.warns(DeprecationWarning, match="global_offset is deprecated"):
        assert view.global_offset == (8, 12, 16)


@pytest.mark.covers("MagView.size", "MagView.global_offset", "View.header")
def test_legacy_properties_of_a_mag(layer, mag_view):
    coarse = layer.add_mag(2)
    with pytest.warns(DeprecationWarning, match="bottomright"):
        assert (mag_view.size, coarse.size) == ((44, 44, 44), (22, 22, 22))
    with pytest.warns(DeprecationWarning, match="always"):
        assert mag_view.global_offset == (0, 0, 0)
    with pytest.warns(DeprecationWarning, match="use info"):
        header = mag_view.header
    assert (header.block_len, header.file_len, header.block_type) == (8, 4, 2)
    assert (header.voxel_type, header.num_channels, header.version) == (np.uint8, 1, 1)


@pytest.mark.covers("View.read_bbox")
def test_read_bbox_of_a_view(view):
    with pytest.warns(DeprecationWarning, match="read_bbox"):
        np.testing.assert_array_equal(view.read_bbox(), view.read())
    with pytest.warns(DeprecationWarning, match="read_bbox"):
        part = view.read_bbox(wk.BoundingBox((1, 2, 3), (4, 5, 6)))
    np.testing.assert_array_equal(part, view.read(relative_offset=(1, 2, 3), size=(4, 5, 6)))
