"""Zarr 3 arrays, against zarr-python and tensorstore: what one writes, the other reads, whatever the layout is."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from arrays import given_on_engine, read_box, read_boxes, write_box
from hypothesis import strategies as st
from reference import Volume
from zarr.codecs import BytesCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec
from zarr_arrays import PLAIN, histories, numbers, of_zarr

from wkgpu.engines import get_engine
from wkgpu.errors import (
    AlreadyExistsError,
    ShapeError,
    StorageAccessError,
    UnsupportedError,
)
from wkgpu.geometry.mag import Mag
from wkgpu.operations.rewriting import rewrite_in_place
from wkgpu.operations.transfer import boxes_are_equal
from wkgpu.storage import formats
from wkgpu.storage.codecs import ZSTD
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.zarr3.compression import zarr_pipeline


def written(array, engine, case, history):
    volume = Volume(array.spec, case.extent, case.fill)
    for seed, (topleft, shape) in enumerate(history):
        data = numbers(case, shape, seed)
        volume.write(topleft, data)
        write_box(array, engine, topleft, data)
    return volume


@pytest.mark.computes
@given_on_engine(histories(), st.sampled_from([1 << 20, 50]), examples=120, simulated=30)
def test_any_writes_and_reads(make, engine, config, history, staging):
    """Of chunks of all shapes, in shards or not, with channels in one chunk or several."""
    config.staging_bytes = staging
    case, writes, reads = history
    array = make(case)
    assert (array.extent, array.spec.num_channels) == (case.extent, case.channels)
    volume = written(array, engine, case, writes)
    np.testing.assert_array_equal(of_zarr(array, case), volume.voxels)
    array = formats.open_array(array.path)
    for topleft, shape in reads:
        found = read_box(array, engine, topleft, shape)
        assert found.dtype == np.dtype(case.dtype)
        np.testing.assert_array_equal(found, volume.read(topleft, shape))
    _, shape = reads[0]
    found = read_boxes(array, engine, [corner for corner, _ in reads + writes], shape)
    for (corner, _), box in zip(reads + writes, found, strict=True):
        np.testing.assert_array_equal(box, volume.read(corner, shape))


@pytest.mark.computes
@given_on_engine(histories(), examples=60, simulated=10)
def test_what_zarr_has_written(make, engine, history):
    case, _, reads = history
    array = make(case)
    data = numbers(case, case.extent, 1)
    own = data.reshape([case.channels, *case.extent])
    axes = [axis for axis in "cxyz" if axis in case.axes]
    dropped = tuple(number for number, axis in enumerate("cxyz") if axis not in case.axes)
    zarr.open_array(str(array.path))[...] = own.squeeze(dropped).transpose([axes.index(axis) for axis in case.axes])
    volume = Volume(array.spec, case.extent, case.fill)
    volume.write((0, 0, 0), data)
    for topleft, shape in reads:
        np.testing.assert_array_equal(read_box(array, engine, topleft, shape), volume.read(topleft, shape))


@pytest.mark.parametrize(
    "spec",
    [
        ArraySpec(np.dtype("uint8"), 1, (32, 32, 32), (2, 2, 2), ()),
        ArraySpec(np.dtype(">u4"), 3, (5, 7, 9), (3, 2, 1), (), 9, (2, 0, 1), 2),
        ArraySpec(np.dtype("float32"), 2, (8, 8, 8), (1, 1, 1), (), float("nan"), (2, 1, 0), 3),
    ],
)
def test_new_arrays(tmp_path, engine, spec):
    """They are Zarr's and tensorstore's, with the axes of WEBKNOSSOS, and have the spec that was asked for."""
    tensorstore = pytest.importorskip("tensorstore")
    array = formats.create_array(tmp_path / "new", spec, "zarr3", (50, 40, 30))
    assert array.spec == spec
    assert array.spec.fill_bytes == spec.fill_bytes
    assert array.extent == (50, 40, 30)
    data = np.random.default_rng(0).integers(0, 99, (spec.num_channels, 20, 21, 22)).astype(spec.memory_dtype)
    write_box(array, engine, (3, 2, 1), data)
    volume = Volume(spec, array.extent, spec.fill_value)
    volume.write((3, 2, 1), data)
    theirs = zarr.open_array(str(array.path))
    assert theirs.metadata.dimension_names == ("c", "x", "y", "z")
    np.testing.assert_array_equal(theirs[...], volume.voxels)
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(array.path)}}
    np.testing.assert_array_equal(tensorstore.open(store).result().read().result(), volume.voxels)
    with pytest.raises(AlreadyExistsError, match="not an empty folder"):
        formats.create_array(array.path, spec, "zarr3")


def test_an_array_without_a_z_axis_has_one_plane(make, engine):
    array = make(replace(PLAIN, axes="yx", shape=(20, 20), chunk=(8, 8), per_shard=(1, 1), order=(0, 1)))
    write_box(array, engine, (15, 0, 0), np.ones((1, 9, 9, 1), np.uint16))
    assert array.current().extent == (24, 20, 1)
    with pytest.raises(ShapeError, match="has no axis 'z', along which 2 voxels"):
        write_box(array, engine, (0, 0, 0), np.ones((1, 9, 9, 2), np.uint16))


def test_chunks_and_shards_of_the_fill_value_are_dropped(make):
    array = make()
    engine = get_engine("cpu")
    write_box(array, engine, (0, 0, 0), np.full((1, 32, 16, 16), 3, np.uint16))
    nbytes = (array.path / "c/0/0/0/0").stat().st_size
    write_box(array, engine, (0, 0, 0), np.zeros((1, 24, 16, 16), np.uint16))
    assert array.existing_shards() == [(1, 0, 0)]
    assert (array.path / "c/0/1/0/0").stat().st_size == nbytes - 4 * 8**3 * 2


@pytest.mark.computes
def test_comparison(make, engine):
    one, other = make(), make()
    for array in (one, other):
        write_box(array, engine, (2, 2, 2), np.full((1, 9, 9, 9), 3, np.uint16))
    assert boxes_are_equal(one, other, engine, ((0, 0, 0), (0, 0, 0)), (60, 20, 20))
    write_box(other, engine, (15, 15, 15), np.full((1, 1, 1, 1), 1, np.uint16))
    assert not boxes_are_equal(one, other, engine, ((0, 0, 0), (0, 0, 0)), (60, 20, 20))


@pytest.mark.parametrize(
    "codecs",
    [
        [ShardingCodec(chunk_shape=(4, 4, 4), codecs=[BytesCodec()]), GzipCodec()],
        [TransposeCodec(order=(2, 0, 1)), ShardingCodec(chunk_shape=(4, 4, 4), codecs=[BytesCodec(), ZstdCodec()])],
    ],
)
def test_codecs_outside_of_shards(tmp_path, engine, codecs):
    """A file is one chunk then, which zarr-python decodes and encodes."""
    filters, serializer, compressors = codecs[:-1], codecs[-1], []
    if isinstance(codecs[0], ShardingCodec):
        filters, serializer, compressors = [], codecs[0], codecs[1:]
    theirs = zarr.create_array(
        store=str(tmp_path / "a"), shape=(20, 18, 10), chunks=(8, 8, 8), dtype="uint16", dimension_names="xyz",
        filters=filters, serializer=serializer, compressors=compressors, fill_value=3,
    )  # fmt: skip
    data = np.random.default_rng(0).integers(0, 99, (20, 18, 10)).astype(np.uint16)
    theirs[...] = data
    array = formats.open_array(tmp_path / "a")
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), data.shape)[0], data)
    write_box(array, engine, (2, 3, 4), np.full((1, 9, 9, 3), 7, np.uint16))
    data[2:11, 3:12, 4:7] = 7
    np.testing.assert_array_equal(theirs[...], data)


class TestFurtherAxes:
    SHAPE = (2, 3, 20, 18, 10)

    def array(self, tmp_path, chunk, shard=None, order=None):
        theirs = zarr.create_array(
            store=str(tmp_path / "nd"), shape=self.SHAPE, chunks=chunk, shards=shard, dtype="uint16",
            dimension_names="ctzyx", compressors=None,
            filters=[zarr.codecs.TransposeCodec(order=order)] if order else [],
        )  # fmt: skip
        data = np.random.default_rng(0).integers(0, 1 << 16, self.SHAPE).astype(np.uint16)
        theirs[...] = data
        return formats.open_array(tmp_path / "nd"), theirs, data

    @pytest.mark.parametrize(
        ("chunk", "shard", "order"),
        [
            ((1, 1, 8, 8, 8), (1, 1, 16, 16, 16), None),
            ((1, 1, 8, 8, 8), (2, 3, 16, 16, 16), None),
            ((2, 1, 5, 6, 7), None, (4, 3, 2, 0, 1)),
            ((2, 2, 5, 6, 7), None, (2, 1, 0, 3, 4)),
            ((1, 3, 5, 6, 7), None, (2, 3, 4, 0, 1)),
        ],
    )
    def test_each_coordinate_is_an_array(self, tmp_path, engine, chunk, shard, order):
        array, theirs, data = self.array(tmp_path, chunk, shard, order)
        assert (array.extra_axes, array.extent) == ((("t", 3),), (10, 18, 20))
        with pytest.raises(UnsupportedError, match="'t': 3"):
            read_box(array, engine, (0, 0, 0), (4, 4, 4))
        for t in range(3):
            found = read_box(array.at((t,)), engine, (1, 2, 3), (9, 16, 17))
            np.testing.assert_array_equal(found, data[:, t, 3:, 2:, 1:].transpose(0, 3, 2, 1))
        new = np.full((2, 5, 5, 5), 7, np.uint16)
        for t in (2, 0):
            write_box(array.at((t,)), engine, (2, 2, 2), new + t)
            data[:, t, 2:7, 2:7, 2:7] = 7 + t
        np.testing.assert_array_equal(theirs[...], data)

    @pytest.mark.parametrize("chunks", [(1, 1, 8, 8, 8), (2, 2, 8, 8, 8)])
    def test_a_rewrite_in_place_keeps_the_axes(self, tmp_path, chunks):
        array, theirs, data = self.array(tmp_path, chunks)
        spec = replace(array.spec.of_new_array, codecs=(ZSTD,))
        rewrite_in_place(array.path, Mag(1), spec, "cpu", None, None)
        rewritten = formats.open_array(array.path)
        assert rewritten.has_spec(spec)
        assert (rewritten.axes, rewritten.extra_axes) == (array.axes, array.extra_axes)
        found = zarr.open_array(array.path, mode="r")
        assert found.metadata.dimension_names == theirs.metadata.dimension_names
        np.testing.assert_array_equal(found[tuple(map(slice, data.shape))], data)

    def test_coordinates_that_there_are_not(self, tmp_path):
        array, _, _ = self.array(tmp_path, (1, 1, 8, 8, 8))
        for coordinates in ((), (3,), (-1,), (0, 0)):
            with pytest.raises(ShapeError, match="'t': 3"):
                array.at(coordinates)
        with pytest.raises(ShapeError, match="too many"):
            formats.create_array(tmp_path / "wkw", ArraySpec(np.dtype("uint8"), 1, (8,) * 3, (2,) * 3, ())).at((0,))

    def test_shards_that_exist(self, tmp_path):
        array, theirs, _ = self.array(tmp_path, (1, 1, 8, 8, 8))
        shutil.rmtree(tmp_path / "nd" / "c" / "0")
        shutil.rmtree(tmp_path / "nd" / "c" / "1" / "0")
        assert array.at((0,)).existing_shards() == []
        assert len(array.at((1,)).existing_shards()) == len(array.existing_shards()) == 3 * 3 * 2
        assert array.at((1,)).existing_shards(((9, 0, 0), (1, 1, 1))) == [(1, 0, 0)]
        assert theirs[:, 0].max() == 0


def test_which_folders_are_mags(make, tmp_path):
    array = make()
    zarr.create_group(str(tmp_path / "group"))
    found = formats.format_of(array.path)
    assert found is not None
    assert found.name == "zarr3"
    assert formats.format_of(tmp_path / "group") is None
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "zarr.json")  # to open it would wait for a writer
    with pytest.raises(StorageAccessError, match=r"zarr\.json is a pipe"):
        formats.open_array(tmp_path / "pipe")
    with pytest.raises(UnsupportedError, match=r"zarr\.json is that of a Zarr group"):
        formats.open_array(tmp_path / "group")
    assert [formats.is_mag_file(path) for path in ("zarr.json", "c/0/1/2", "c/0/x")] == [True, True, False]


@pytest.mark.parametrize("word", ["lz4", "lz4hc"])
def test_blosc_with_lz4_is_one_block_or_the_chunk_itself(tmp_path, word):
    """Noise is stored as it is, also between chunks that shrink."""
    codecs = zarr_pipeline(word, 16**3)
    array = formats.create_array(tmp_path / "a", ArraySpec(np.dtype("uint8"), 1, (16,) * 3, (6, 1, 1), codecs), "zarr3")
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (96, 16, 16)).astype(np.uint8)
    for first in (16, 48):
        data[first : first + 16] = rng.integers(0, 2, (16, 16, 16))
    data[64:80] = 7
    write_box(array, get_engine("cpu"), (0, 0, 0), data[None])
    np.testing.assert_array_equal(zarr.open_array(str(array.path))[0], data)
    np.testing.assert_array_equal(read_box(array, get_engine("cpu"), (0, 0, 0), data.shape)[0], data)
    stored = (array.path / "c/0/0/0/0").read_bytes()
    with array.open_shard((0, 0, 0)).source as source:
        offsets, lengths = array.read_index(source).extents(np.arange(6))
    copied = [bool(stored[offset + 2] & 2) for offset in offsets]
    assert copied == [True, False, True, False, False, True]
    for offset, length, is_copied in zip(offsets, lengths, copied, strict=True):
        header = np.frombuffer(stored, "<i4", 3, offset + 4)
        assert header.tolist() == [16**3, 16**3, length]
        assert length == 16**3 + 16 if is_copied else length < 16**3 * 15 // 16
