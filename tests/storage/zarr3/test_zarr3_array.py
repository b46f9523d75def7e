"""Zarr 3 arrays, against zarr-python and tensorstore: what one writes, the other reads, whatever the layout is."""

import itertools
import json
import os
import shutil
import threading
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
    HeaderError,
    OutdatedFileError,
    ShapeError,
    StorageAccessError,
    UnsupportedError,
)
from wkgpu.geometry.mag import Mag
from wkgpu.operations.rewriting import rewrite, rewrite_in_place
from wkgpu.operations.transfer import boxes_are_equal
from wkgpu.storage import formats
from wkgpu.storage.codecs import ZSTD
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local.local_store import LocalStore
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
    assert array.extent == tuple(-(-n // e) * e for n, e in zip((50, 40, 30), spec.shard_shape, strict=True))
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


def test_writes_beyond_the_end_make_the_array_larger(make, engine):
    array = make()
    before = json.loads((array.path / "zarr.json").read_text())
    other = formats.open_array(array.path)
    data = np.full((1, 9, 9, 9), 5, np.uint16)
    write_box(array, engine, (38, 0, 15), data)
    after = json.loads((array.path / "zarr.json").read_text())
    assert (before.pop("shape"), after.pop("shape")) == ([1, 40, 30, 20], [1, 48, 30, 32])
    assert before == after
    np.testing.assert_array_equal(read_box(other, engine, (38, 0, 15), (9, 9, 9)), data)
    assert other.extent == (48, 30, 32)


def test_an_extent_that_another_program_writes_back_is_made_larger_again(make, monkeypatch):
    """Zarr-python writes all metadata as it has read them, with other attributes."""
    array, engine = make(), get_engine("cpu")
    theirs, encode = zarr.open_array(str(array.path), mode="r+"), type(engine).write

    def write(self, plan, data):
        theirs.attrs.put({"a": 5})
        assert formats.open_array(array.path).extent == (40, 30, 20)
        encode(self, plan, data)

    monkeypatch.setattr(type(engine), "write", write)
    data = np.full((1, 9, 9, 9), 5, np.uint16)
    write_box(array, engine, (42, 0, 0), data)
    np.testing.assert_array_equal(read_box(array, engine, (42, 0, 0), (9, 9, 9)), data)
    assert json.loads((array.path / "zarr.json").read_text())["attributes"] == {"a": 5}


def test_channels_in_several_chunks_are_read_where_a_write_made_room(make, engine):
    """The write makes the array of each chunk's channels larger; the array itself learns it, too."""
    array = make(replace(PLAIN, shape=(2, 40, 30, 20)))
    data = np.full((2, 9, 9, 9), 5, np.uint16)
    for x in (38, 50):
        write_box(array, engine, (x, 0, 15), data)
        np.testing.assert_array_equal(read_box(array, engine, (x, 0, 15), (9, 9, 9)), data)


def test_a_rewrite_in_place_replaces_the_files_of_all_channels(make):
    array = make(replace(PLAIN, shape=(2, 40, 30, 20)))
    data = np.full((1, 40, 30, 20), 5, np.uint16)
    write_box(array, get_engine("cpu"), (0, 0, 0), np.concatenate([0 * data, data]))
    spec = replace(array.spec, channels_per_chunk=None, channel_position=3)
    rewrite_in_place(array.path, Mag(1), spec, "cpu", None, None)
    assert not [file for file in (array.path / "c/1").rglob("*") if file.is_file()]
    found = read_box(formats.open_array(array.path), get_engine("cpu"), (0, 0, 0), (40, 30, 20))
    np.testing.assert_array_equal(found, np.concatenate([0 * data, data]))


@pytest.mark.computes
def test_what_lies_behind_the_end_is_not_read(make, engine):
    """Zarr gives the cut chunks of an array the fill value there; others may leave there what they like."""
    array = make()
    write_box(array, engine, (0, 0, 0), np.full((1, 40, 32, 32), 3, np.uint16))
    file = array.path / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": [1, 40, 30, 20]}))
    cut = formats.open_array(array.path)
    assert cut.extent == (40, 30, 20)
    found = read_boxes(cut, engine, [(0, 0, 0), (16, 16, 16), (39, 29, 40)], (16, 16, 16))
    assert (found[0] == 3).all()
    expected = np.zeros((1, 16, 16, 16), np.uint16)
    expected[:, :, :14, :4] = 3
    np.testing.assert_array_equal(found[1], expected)
    assert not found[2].any()


def test_arrays_that_grow_at_the_same_time(make):
    array = make()
    engine = get_engine("cpu")

    def write(number):
        write_box(
            formats.open_array(array.path), engine, (16 * number, 0, 0), np.full((1, 16, 30, 20), number, np.uint16)
        )

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 41)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = read_box(array, engine, (0, 0, 0), (656, 30, 20))
    for number in range(41):
        assert (found[:, 16 * number : 16 * number + 16] == number).all()


def test_an_array_that_grows_without_a_break_is_read(make, monkeypatch):
    """Shards that do not exist are missing, however often another process makes the array larger meanwhile."""
    array, engine = make(), get_engine("cpu")
    write_box(array, engine, (32, 16, 16), np.full((1, 8, 8, 4), 5, np.uint16))
    ends, open_shard = itertools.count(100, 16), type(array).open_shard

    def grow_and_open(self, shard, wait=False):
        formats.open_array(array.path).ensure_extent((next(ends), 1, 1))
        return open_shard(self, shard, wait)

    monkeypatch.setattr(type(array), "open_shard", grow_and_open)
    found = read_box(array, engine, (0, 0, 0), (40, 30, 20))
    assert next(ends) == 100 + 16 * 12
    assert (found == 5).sum() == found.sum() // 5 == 8 * 8 * 4
    ((topleft, _),) = array.shard_boxes()
    assert topleft == (32, 16, 16)


@pytest.mark.parametrize("opened", [1, 2])
def test_shards_that_are_swapped_while_they_are_opened_are_not_read_as_the_old_ones(make, engine, monkeypatch, opened):
    """Zarr's shards do not say the shape of their chunks, which may have as many bytes as before."""
    array = make(replace(PLAIN, chunk=(1, 8, 16, 8), per_shard=(1, 2, 1, 2)))
    data = np.arange(40 * 30 * 20, dtype=np.uint16).reshape(1, 40, 30, 20)
    write_box(array, get_engine("cpu"), (0, 0, 0), data)
    spec = replace(array.spec, chunk_shape=(16, 8, 8), chunks_per_shard=(1, 2, 2))
    open_shard, calls = type(array).open_shard, []

    def swap_and_open(self, shard, wait=False):
        calls.append(shard)
        if len(calls) == opened:
            monkeypatch.setattr(type(array), "open_shard", open_shard)
            rewrite_in_place(array.path, Mag(1), spec, "cpu", None, None)
        return open_shard(self, shard, wait)

    monkeypatch.setattr(type(array), "open_shard", swap_and_open)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (40, 30, 20)), data)
    assert array.spec == spec


def test_a_shard_that_is_swapped_while_it_is_copied_is_not_kept(make, tmp_path, monkeypatch):
    array, engine = make(), get_engine("cpu")
    data = np.arange(40 * 30 * 20, dtype=np.uint16).reshape(1, 40, 30, 20)
    write_box(array, engine, (0, 0, 0), data)
    target = formats.create_array(tmp_path / "copy", array.spec, "zarr3", array.extent)
    copy = LocalStore.copy

    def swap_and_copy(*arguments):
        monkeypatch.setattr(LocalStore, "copy", copy)
        rewrite_in_place(array.path, Mag(1), replace(array.spec, codecs=(ZSTD,)), "cpu", None, None)
        copy(*arguments)

    monkeypatch.setattr(LocalStore, "copy", swap_and_copy)
    rewrite(array, target, Mag(1), "cpu")
    np.testing.assert_array_equal(read_box(target, engine, (0, 0, 0), (40, 30, 20)), data)


def test_an_array_that_another_program_makes_again_with_each_channel_in_a_chunk(make, engine):
    """A plan for one chunk would read a channel as all of them."""
    two = replace(PLAIN, shape=(2, 40, 30, 20), chunk=(2, 8, 8, 8), per_shard=None)
    array = make(two)
    shutil.rmtree(array.path)
    replace(two, chunk=(1, 8, 8, 8)).create(array.path)
    zarr.open_array(str(array.path))[1] = 5
    with pytest.raises(HeaderError, match="channels in several chunks by now"):
        read_box(array, engine, (0, 0, 0), (9, 9, 9))
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (9, 9, 9)).max(axis=(1, 2, 3)), [0, 5])


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


@pytest.mark.parametrize("before", [0, 1])
def test_what_another_program_writes_meanwhile_is_kept(make, monkeypatch, before):
    """Other libraries take no locks: a shard that they have made or replaced since it was read is written again."""
    array, engine, calls = make(), get_engine("cpu"), []
    theirs = zarr.open_array(str(array.path))
    theirs[:, :8, :8, 16:] = before
    assert array.has_shard((0, 0, 1)) == bool(before)
    encode = type(engine).write

    def write(self, plan, data):
        calls.append(plan.path.removeprefix(f"{array.path}/c/0/0/0/"))
        if len(calls) == 2:
            theirs[:, 8:16, :8, 16:] = 2
        encode(self, plan, data)

    monkeypatch.setattr(type(engine), "write", write)
    write_box(array, engine, (0, 8, 8), np.full((1, 8, 8, 12), 3, np.uint16))
    assert calls == ["0", "1", "1"]
    found = theirs[0, :16, :16, 16:]
    assert [int(found[x, y].min()) for x, y in ((0, 0), (8, 0), (0, 8), (8, 8))] == [before, 2, 3, 0]


def test_a_shard_that_another_program_changes_without_a_break(make, monkeypatch):
    array, engine = make(), get_engine("cpu")
    theirs = zarr.open_array(str(array.path))
    encode, values = type(engine).write, itertools.count(1)

    def write(self, plan, data):
        theirs[:, 8:16, :8, :8] = next(values)
        encode(self, plan, data)

    monkeypatch.setattr(type(engine), "write", write)
    with pytest.raises(OutdatedFileError, match="c/0/0/0/0 was changed 32 times by another program"):
        write_box(array, engine, (0, 0, 0), np.full((1, 8, 8, 8), 3, np.uint16))
    assert next(values) == 33


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


@pytest.mark.parametrize(
    "attributes", ['{"a": 1e400, "a": [NaN, 1.10, "\\ud800"]}', '{"a":' + "[" * 400 + "]" * 400 + "}"]
)
def test_all_else_in_the_metadata_of_an_array_that_grows_stays_as_it_is(make, attributes, monkeypatch):
    """To the byte: attributes that are read and written again may become others, or too many to be read once more."""
    array = make()
    file = array.path / "zarr.json"
    said = json.loads(file.read_text()) | {"shape": 1, "attributes": 2, "later": {"must_understand": False, "b": 2}}
    text = json.dumps(said, indent=3).replace('"attributes": 2', f'"attributes": {attributes}')
    before, after = (text.replace('"shape": 1', f'"shape": [1, {length}, 30, 20]') for length in (40, 112))
    file.write_text(before)
    array = formats.open_array(array.path)
    monkeypatch.setattr("wkgpu.storage.zarr3.array.MAX_BYTES", len(before))
    with pytest.raises(UnsupportedError, match=rf"zarr\.json would get {len(after)} bytes"):
        write_box(array, get_engine("cpu"), (100, 0, 0), np.ones((1, 4, 4, 4), np.uint16))
    assert file.read_text() == before
    monkeypatch.undo()
    write_box(array, get_engine("cpu"), (100, 0, 0), np.ones((1, 4, 4, 4), np.uint16))
    assert file.read_text() == after


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
