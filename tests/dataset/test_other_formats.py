"""Mags of formats unlike WKW: what is made of them keeps all facts of their specs, and all voxels."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from datasets import read
from indexed_array import IndexedArray
from npy_array import FILL, npy_spec, registered

import wkgpu as wk
from wkgpu.cli.rewriting import rechunking
from wkgpu.errors import MismatchError, ShapeError, UnsupportedError
from wkgpu.operations import tiling
from wkgpu.operations.rewriting import rewrite
from wkgpu.operations.transfer import write_box
from wkgpu.storage import formats
from wkgpu.storage.codecs import LZ4, LZ4HC, codec_named
from wkgpu.storage.spec import ArraySpec

NPY, INDEXED = "n5", "zarr"  # names that properties files know, of formats that wkgpu does not read
CHUNK = (9, 7, 5)
SPEC = npy_spec(">u2", 2, CHUNK)
CORNER, SIZE = (5, 8, 6), (12, 7, 6)
BOX = wk.BoundingBox((0, 0, 0), (28, 20, 16))  # with chunks in it that are not stored
WHOLE = {"absolute_offset": (0, 0, 0), "size": (28, 20, 16)}


class Indexed(IndexedArray):
    """Any spec: several chunks in a shard, with codecs."""

    data_format = INDEXED


@pytest.fixture(autouse=True)
def registered_formats(monkeypatch):
    monkeypatch.setattr(tiling, "_JOB_BYTES", 1 << 12)  # several jobs
    formats.register(formats.Format(INDEXED, "indexed", "spec.pickle", lambda: Indexed))
    with registered(NPY):
        yield
    formats.unregister(INDEXED)


@pytest.fixture
def expected(random):
    voxels = np.full((2, *BOX.size), FILL, np.uint16)
    x, y, z = (slice(low, low + length) for low, length in zip(CORNER, SIZE, strict=True))
    voxels[:, x, y, z] = random.integers(0, 60_000, (2, *SIZE))
    return voxels


@pytest.fixture
def make_layer(dataset, expected):
    """Makes a layer whose mag 1 has a spec and holds `expected`."""
    names = (f"layer-{number}" for number in itertools.count())

    def make(spec=SPEC, data_format=NPY):
        name = next(names)
        formats.create_array(dataset.path / name / "1", spec, data_format)
        layer = dataset.add_layer_for_existing_files(name, "color", bounding_box=BOX)
        x, y, z = (slice(low, low + length) for low, length in zip(CORNER, SIZE, strict=True))
        layer.get_mag(1).write(expected[:, x, y, z], absolute_offset=CORNER)
        return layer

    return make


@pytest.fixture
def mag_view(device, make_layer):
    return make_layer().get_mag(1)


def voxels(mag_view):
    return read(mag_view, **WHOLE)


def spec_of(mag_view):
    return mag_view._array.current().spec


def files_of(mag_view):
    return {path.name: path.read_bytes() for path in mag_view.path.iterdir() if path.is_file()}


def test_rechunk_in_place_and_into_another_dataset(mag_view, expected, tmp_path):
    mag_view.rechunk((8, 6, 11), (8, 6, 11), compress=False, target_path=tmp_path / "other")
    mag_view.rechunk((5, 9, 4), (5, 9, 4), compress=False)
    copy = wk.Dataset.open(tmp_path / "other").get_layer("layer-0").get_mag(1)
    for found, chunk_shape in ((mag_view, (5, 9, 4)), (copy, (8, 6, 11))):
        assert (found.data_format, spec_of(found)) == (NPY, npy_spec(">u2", 2, chunk_shape))
        np.testing.assert_array_equal(voxels(found), expected)
    beyond = read(copy.get_view(absolute_offset=(60, 60, 60), size=(9, 9, 9), read_only=True))
    assert (beyond == FILL).all()


def test_a_format_without_codecs_refuses_to_compress(make_layer):
    mag_view = make_layer().get_mag(1)
    before = files_of(mag_view)
    with pytest.raises(UnsupportedError, match=r"lz4 is no array of \.npy files"):
        mag_view.compress()
    assert files_of(mag_view) == before


def test_compress(device, make_layer, expected):
    """With shards of several chunks, in an order and with a fill value that are not WKW's."""
    spec = ArraySpec(np.dtype("<u2"), 2, (6, 5, 4), (2, 1, 2), (), FILL, (1, 2, 0), 3)
    mag_view = make_layer(spec, INDEXED).get_mag(1)
    mag_view.compress()
    assert spec_of(mag_view) == spec.encoded_as((LZ4,))
    np.testing.assert_array_equal(voxels(mag_view), expected)
    mag_view.rechunk((7, 4, 5), (14, 4, 15), compress="lz4hc")
    assert spec_of(mag_view) == ArraySpec(np.dtype("<u2"), 2, (7, 4, 5), (2, 1, 3), (LZ4HC,), FILL, (1, 2, 0), 3)
    np.testing.assert_array_equal(voxels(mag_view), expected)


def test_the_command_keeps_codecs_that_have_no_word(make_layer, expected):
    spec = ArraySpec(np.dtype("<u2"), 2, (6, 5, 4), (2, 1, 2), (codec_named("lz4hc", level=3),), FILL)
    mag_view = make_layer(spec, INDEXED).get_mag(1)
    rechunking(6, 12, None).change(mag_view, None, None)
    assert spec_of(mag_view) == replace(spec, chunk_shape=(6, 6, 6), chunks_per_shard=(2, 2, 2))
    np.testing.assert_array_equal(voxels(mag_view), expected)


def test_copies_are_files_or_keep_what_is_not_changed(mag_view, dataset, expected, tmp_path, monkeypatch):
    cut = dataset.copy_dataset(tmp_path / "cut", chunk_shape=(6, 8, 10), shard_shape=(6, 8, 10))
    recut = cut.get_layer("layer-0").get_mag(1)
    assert spec_of(recut) == npy_spec(">u2", 2, (6, 8, 10))
    np.testing.assert_array_equal(voxels(recut), expected)
    monkeypatch.setattr("wkgpu.operations.rewriting.read_box", None)  # files are copied as they are
    same = dataset.copy_dataset(tmp_path / "same").get_layer("layer-0")
    alike = dataset.add_layer_like(mag_view.layer, "like").add_mag_as_copy(mag_view, mag=2)
    for copy in (same.get_mag(1), alike, dataset.add_layer_as_copy(same, "again").get_mag(1)):
        assert files_of(copy) == files_of(mag_view)


def test_files_are_copied_between_equal_formats_and_specs_alone(device, make_layer, expected, tmp_path):
    """Of another format, fill value, byte order or order of axes, all voxels are written instead."""
    source = make_layer().get_mag(1)
    fortran = ArraySpec(np.dtype(">u2"), 2, CHUNK, (1, 1, 1), (), FILL, (0, 1, 2), 3)
    zeros = ArraySpec(np.dtype("<u2"), 2, CHUNK, (1, 1, 1), (), 0, (2, 1, 0))
    for number, spec in enumerate((SPEC, fortran, zeros)):
        target = formats.create_array(tmp_path / f"target-{number}", spec, INDEXED)
        rewrite(source._array, target, wk.Mag(1), source._engine.name, region=source._frame.box)
        np.testing.assert_array_equal(voxels(wk.open_mag(target.path)), expected)
    with pytest.raises(MismatchError, match=r"fill_value 7.* 0"):
        rewrite(source._array, target, wk.Mag(1), source._engine.name)


def test_conversion_keeps_voxels_that_are_stored_nowhere(mag_view, dataset, expected, tmp_path):
    with pytest.raises(ShapeError, match=r"chunk_shape is \(9, 7, 5\); WKW"):
        dataset.copy_dataset(tmp_path / "wkw", data_format="wkw")
    assert not (tmp_path / "wkw").exists()
    with wk.get_executor("threads", max_workers=2) as executor:
        wkw = dataset.copy_dataset(
            tmp_path / "wkw", data_format="wkw", chunk_shape=8, shard_shape=16, compress=True, executor=executor
        )
    copy = wkw.get_layer("layer-0").get_mag(1)
    assert (copy.data_format, spec_of(copy).fill_value, copy.info.codec) == ("wkw", 0, "lz4")
    np.testing.assert_array_equal(voxels(copy), expected)
    assert copy.content_is_equal(mag_view)
    empty = wkw.add_layer("empty", "color", dtype="uint16", num_channels=2, bounding_box=BOX).add_mag(1, shard_shape=32)
    nothing = dataset.add_layer("nothing", "color", dtype="uint16", num_channels=2, data_format=NPY, bounding_box=BOX)
    sevens = nothing.add_mag(1, chunk_shape=8, shard_shape=8, compress=False)
    assert not empty.content_is_equal(sevens)  # though nothing is stored
    wkw.get_layer("layer-0").bounding_box = BOX.padded_with_margins((0, 0, 0), (16, 0, 0))  # zeros, stored nowhere
    back = dataset.add_layer_as_copy(
        copy.layer, "back", data_format=NPY, chunk_shape=CHUNK, shard_shape=CHUNK, compress=False
    ).get_mag(1)
    assert spec_of(back) == npy_spec("<u2", 2, CHUNK)
    np.testing.assert_array_equal(voxels(back), expected)
    assert not read(back, absolute_offset=(28, 0, 0), size=(16, 20, 16)).any()
    with pytest.raises(MismatchError, match="is n5, and the copy is to be wkw"):
        dataset.add_layer_as_copy(copy.layer, "layer-0", exists_ok=True)


def test_downsampled_mags_keep_the_fill_value(mag_view, expected):
    layer, other = mag_view.layer, mag_view.layer.dataset.add_layer("wkw", "color", dtype="uint16", num_channels=2)
    shapes = {"chunk_shape": (4, 6, 7), "shard_shape": (4, 6, 7), "compress": False}
    layer.downsample_mag_list(1, [2, "4-4-2"], interpolation_mode="max", **shapes)
    other.bounding_box = BOX
    other.downsample_mag(1, 2, interpolation_mode="max", from_mag_view=mag_view, chunk_shape=8, shard_shape=16)
    halves = expected.reshape(2, 14, 2, 10, 2, 8, 2).max(axis=(2, 4, 6))
    quarters = halves.reshape(2, 7, 2, 5, 2, 8).max(axis=(2, 4))
    for found, wanted in ((layer.get_mag(2), halves), (layer.get_mag("4-4-2"), quarters), (other.get_mag(2), halves)):
        np.testing.assert_array_equal(voxels(found), wanted)
    assert spec_of(layer.get_mag(2)) == npy_spec(">u2", 2, (4, 6, 7))
    shards = layer.get_mag(2)._array.existing_shards()
    assert (2, 1, 0) in shards
    assert (3, 0, 0) not in shards  # where all voxels have the fill value


def test_merging_and_reductions(mag_view, make_layer, expected):
    annotation = make_layer(npy_spec("<u2", 2, (4, 6, 5))).get_mag(1)
    write_box(annotation._array, annotation._engine, (12, 10, 7), np.full((2, 7, 8, 6), 65_000, np.uint16))
    wanted = voxels(annotation)  # its files hold all that the other mag has stored
    mag_view.merge_with_view(annotation)
    np.testing.assert_array_equal(voxels(mag_view), wanted)
    view = mag_view.get_view(**WHOLE)
    assert view.min_max() == (wanted.min(), wanted.max())
    for found, counted in zip(view.count_labels(), np.unique(wanted, return_counts=True), strict=True):
        np.testing.assert_array_equal(found, counted)
