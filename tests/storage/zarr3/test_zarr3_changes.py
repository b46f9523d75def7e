"""Zarr 3 arrays that change while they are used: they grow, are rewritten, and other programs write to them."""

import itertools
import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import zarr
from arrays import read_box, read_boxes, write_box
from zarr_arrays import PLAIN

from wkgpu.engines import get_engine
from wkgpu.errors import HeaderError, OutdatedFileError, UnsupportedError
from wkgpu.geometry.mag import Mag
from wkgpu.operations.rewriting import rewrite, rewrite_in_place
from wkgpu.storage import formats
from wkgpu.storage.codecs import ZSTD
from wkgpu.storage.stores.local.local_store import LocalStore


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


def test_an_array_that_gets_more_coordinates_without_a_break_is_read(make, monkeypatch):
    case = replace(PLAIN, axes="tcxyz", shape=(2, 1, 40, 30, 20), chunk=(1, 1, 8, 8, 4), per_shard=(1, 1, 2, 2, 4))
    array = make(replace(case, order=(4, 3, 2, 1, 0)))
    engine, ends, open_shard = get_engine("cpu"), itertools.count(3), type(array).open_shard
    write_box(array.at((1,)), engine, (32, 16, 16), np.full((1, 8, 8, 4), 5, np.uint16))

    def grow_and_open(self, shard, wait=False):
        formats.open_array(array.path).ensure_extent((1, 1, 1), [("t", next(ends))])
        return open_shard(self, shard, wait)

    monkeypatch.setattr(type(array), "open_shard", grow_and_open)
    found = read_box(array.at((1,)), engine, (0, 0, 0), (40, 30, 20))
    assert found.sum() == 5 * 8 * 8 * 4
    assert dict(array.current().extra_axes) == {"t": next(ends) - 1}
    assert array.current().extent == (40, 30, 20)


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
