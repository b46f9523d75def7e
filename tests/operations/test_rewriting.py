"""Mags that are compressed and rechunked: the same voxels in other files, whatever fails on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from arrays import is_simulated, on_device
from datasets import read
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import layouts, voxel_boxes, voxels

import wkgpu as wk
from wkgpu.errors import (
    ArgumentError,
    ChunkError,
    FormatError,
    MismatchError,
    NameTakenError,
    NotFoundError,
    ReadOnlyError,
    StorageAccessError,
)
from wkgpu.operations import rewriting, tiling
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local import file_swap
from wkgpu.storage.stores.local.transaction import Transaction

HIDDEN = Path(".header.wkw.000000000001.wkgpu")  # in a mag that is rewritten
BOX = wk.BoundingBox((0, 0, 0), (64, 64, 64))  # holds all voxels of `raw` and more

KILLED_COPY = """
import os, sys
from pathlib import Path
from wkgpu.dataset.folder_change import NewFolder
with NewFolder(Path(sys.argv[1]), None) as folder:
    folder.building.mkdir()
    (folder.building / "header.wkw").write_bytes(b"half")
    os._exit(0)
"""

# Dies after some files have been moved to their places, or before the properties file is saved.
KILLED_SWAP = """
import os, sys
from pathlib import Path
import wkgpu as wk
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.storage.stores.local import file_swap

mag = wk.Dataset.open(sys.argv[1]).get_layer("color").get_mag(1)
really, left = Path.replace, [int(sys.argv[2])]
journal = file_swap.journal_of(mag.path / "header.wkw")

def replace(path, target):
    if journal.exists() and path.suffix == ".wkw":
        left[0] -= 1
        if left[0] < 0:
            os._exit(0)
    return really(path, target)

Path.replace = replace
LayerProperties.change_shard_shape = lambda *_: os._exit(0)
mag.rechunk(chunk_shape=8, shard_shape=16)
"""


@pytest.fixture
def raw(layer, volume):
    """A raw mag with voxels in the box (4, 8, 12) to (44, 44, 44), in 8 shards of 32³, and a view of it."""
    made = layer.add_mag(1, chunk_shape=8, shard_shape=32, compress=False)
    made.write(on_device(made._engine, volume), absolute_offset=(4, 8, 12))
    return made


@pytest.fixture
def expected(volume):
    """What `raw` reads in `BOX`."""
    full = np.zeros((1, 64, 64, 64), "uint8")
    full[0, 4:44, 8:44, 12:44] = volume
    return full


def content(mag_view):
    return read(mag_view, absolute_bounding_box=BOX)


def hidden(folder):
    return [path for path in folder.rglob(".*") if path.name != ".hypothesis"]


def fails(voxels, *args):
    raise ChunkError("as if a chunk could not be written")


class TestCompress:
    @pytest.mark.parametrize(("codec", "found"), [(True, "lz4"), ("lz4", "lz4"), ("lz4hc", "lz4hc")])
    @pytest.mark.covers("MagView.compress")
    def test_in_place(self, device, raw, expected, codec, found):
        before = list(raw.get_bounding_boxes_on_disk())
        raw.compress(codec=codec)
        assert (raw.info.codec, raw.info.chunk_shape, raw.info.shard_shape) == (found, (8, 8, 8), (32, 32, 32))
        np.testing.assert_array_equal(content(raw), expected)
        assert list(raw.get_bounding_boxes_on_disk()) == before
        again = wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1)
        np.testing.assert_array_equal(content(again), expected)
        assert hidden(raw.layer.dataset.path) == []

    def test_a_compressed_mag_stays_as_it_is(self, raw):
        raw.compress(codec="lz4hc")
        files = {path: path.stat() for path in raw.path.rglob("*")}
        raw.compress()
        raw.compress(codec="lz4hc")
        assert {path: path.stat() for path in raw.path.rglob("*")} == files

    def test_another_codec_is_written_anew(self, raw, expected):
        raw.compress()
        raw.compress(codec="lz4hc")
        assert raw.info.codec == "lz4hc"
        np.testing.assert_array_equal(content(raw), expected)

    @pytest.mark.parametrize("codec", [False, "raw", "brotli"])
    def test_codecs_that_compress_nothing_are_refused(self, raw, codec):
        with pytest.raises(ArgumentError, match=r"which compresses nothing|use True"):
            raw.compress(codec=codec)

    def test_what_lies_beyond_the_layers_box_is_kept(self, raw, expected):
        raw.layer.bounding_box = wk.BoundingBox((0, 0, 0), (8, 8, 8))
        raw.compress()
        np.testing.assert_array_equal(content(raw), expected)

    def test_shards_of_zeros_keep_their_file(self, layer):
        mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=32, compress=False)
        mag_view.write(np.zeros((32, 32, 32), "uint8"), absolute_offset=(64, 0, 32))
        mag_view.compress()
        assert list(mag_view.get_bounding_boxes_on_disk()) == [wk.BoundingBox((64, 0, 32), (32, 32, 32))]

    def test_an_empty_mag(self, layer):
        mag_view = layer.add_mag(1, compress=False)
        mag_view.compress()
        assert mag_view.info.codec == "lz4"
        assert list(mag_view.get_bounding_boxes_on_disk()) == []

    def test_args_is_deprecated(self, raw):
        with pytest.warns(DeprecationWarning, match="args"):
            raw.compress(args=object())

    def test_views_that_are_open_see_the_new_files(self, raw, expected):
        view, twin = raw.get_view(absolute_bounding_box=BOX, read_only=True), raw.to("cpu")
        read(view), read(twin)
        twin.rechunk(chunk_shape=16, shard_shape=64, compress=True)
        np.testing.assert_array_equal(read(view), expected)
        np.testing.assert_array_equal(content(raw), expected)
        assert raw.info == twin.info == view.info
        assert raw.layer.get_mag(1).info.shard_shape == (64, 64, 64)

    def test_a_mag_without_a_dataset(self, raw, expected, tmp_path):
        loose = wk.open_mag(raw.path)
        loose.compress(tmp_path / "copy")
        np.testing.assert_array_equal(content(wk.open_mag(tmp_path / "copy" / "color" / "1")), expected)
        loose.compress()
        assert loose.info.codec == "lz4"
        np.testing.assert_array_equal(content(loose), expected)


class TestDatasetCompress:
    @pytest.mark.covers("Dataset.compress")
    def test_all_raw_mags_are_compressed(self, dataset, raw, expected):
        raw.layer.add_mag(2, compress=False)
        other = dataset.add_layer("cells", "segmentation", dtype="uint32").add_mag(1, compress="lz4hc")
        dataset.compress()
        assert [mag.info.codec for layer in dataset.layers.values() for mag in layer.mags.values()] == [
            "lz4",
            "lz4",
            "lz4hc",
        ]
        assert other.info.codec == "lz4hc"
        np.testing.assert_array_equal(content(raw), expected)

    def test_a_read_only_dataset_refuses(self, dataset, raw):
        with pytest.raises(ReadOnlyError, match="read_only"):
            wk.Dataset.open(dataset.path, read_only=True).compress()

    def test_mags_of_another_dataset_are_left_alone(self, dataset, raw, tmp_path):
        raw.path.rename(tmp_path / "elsewhere")
        raw.path.symlink_to(tmp_path / "elsewhere")
        dataset.compress()
        assert raw.info.codec == "raw"


class TestRechunk:
    @pytest.mark.parametrize(
        ("chunk", "shard", "compress"),
        [(8, 64, True), (16, 32, False), (32, 32, True), (8, 8, False), (4, 16, True), (64, 256, False)],
    )
    @pytest.mark.covers("MagView.rechunk")
    def test_in_place(self, device, raw, expected, chunk, shard, compress, saved):
        if is_simulated(raw._engine) and shard in (8, 256):
            pytest.skip("too many voxels for the simulator")
        raw.rechunk(chunk, shard, compress=compress)
        assert (raw.info.chunk_shape, raw.info.shard_shape) == ((chunk,) * 3, (shard,) * 3)
        assert raw.info.compression_mode is compress
        np.testing.assert_array_equal(content(raw), expected)
        assert saved()["dataLayers"][0]["mags"][0]["cubeLength"] == shard
        assert hidden(raw.layer.dataset.path) == []

    def test_defaults_are_those_of_a_new_mag(self, raw, expected):
        raw.rechunk()
        assert (raw.info.chunk_shape, raw.info.shard_shape) == ((32,) * 3, (1024,) * 3)
        np.testing.assert_array_equal(content(raw), expected)

    def test_target_shards_of_zeros_are_left_out(self, layer):
        mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=64)
        mag_view.write(np.ones((8, 8, 8), "uint8"), absolute_offset=(8, 40, 0))
        mag_view.rechunk(chunk_shape=8, shard_shape=8)
        assert list(mag_view.get_bounding_boxes_on_disk()) == [wk.BoundingBox((8, 40, 0), (8, 8, 8))]

    def test_negative_zeros_are_data(self, dataset):
        mag_view = dataset.add_layer("a", "color", dtype="float32").add_mag(1, chunk_shape=8, shard_shape=16)
        mag_view.write(np.full((8, 8, 8), -0.0, "float32"))
        mag_view.rechunk(chunk_shape=8, shard_shape=8)
        assert np.signbit(read(mag_view, absolute_offset=(0, 0, 0), size=(8, 8, 8))).all()

    @settings(max_examples=60)
    @given(st.data())
    def test_any_layout_becomes_any_other(self, tmp_path_factory, data):
        source = data.draw(layouts(largest_chunk=16, largest_shard=4, shard_bytes=1 << 16))
        edge = source.shard_shape[0] * 2
        shard = data.draw(st.sampled_from([length for length in (1, 2, 4, 8, 16, 32, 64) if length * 8 >= edge]))
        chunk = data.draw(st.sampled_from([length for length in (1, 2, 4, 8, 16) if length <= shard <= length * 8]))
        codec = data.draw(st.sampled_from(["raw", "lz4", "lz4hc"]))
        target = ArraySpec(source.dtype, source.num_channels, (chunk,) * 3, (shard // chunk,) * 3, pipeline_of(codec))
        array = rewriting.create_array(tmp_path_factory.mktemp("mag") / "1", source)
        engine = rewriting.get_engine("cpu")
        end = (edge,) * 3
        for seed in range(2):
            topleft, shape = data.draw(voxel_boxes(source))
            rewriting.write_box(array, engine, topleft, voxels(source, shape, seed))
        before = rewriting.read_box(array, engine, (0, 0, 0), end)
        limit = data.draw(st.sampled_from([edge**3 * source.voxel_bytes // 64, 10_000, 1 << 20]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rewriting, "_MAX_READ_BYTES", limit)
            patch.setattr(tiling, "_JOB_BYTES", limit)
            rewriting.rewrite_in_place(array.path, wk.Mag(1), target, "cpu", None, None)
        found = rewriting.open_array(array.path)
        assert found.spec == target
        np.testing.assert_array_equal(rewriting.read_box(found, engine, (0, 0, 0), end), before)


class TestToATarget:
    @pytest.mark.parametrize(
        "change", [lambda mag, to: mag.compress(to), lambda mag, to: mag.rechunk(8, 64, target_path=to)]
    )
    def test_the_copy_is_a_dataset(self, device, raw, expected, tmp_path, change):
        change(raw, tmp_path / "copy")
        assert raw.info.codec == "raw"
        copy = wk.Dataset.open(tmp_path / "copy")
        assert copy.voxel_size == raw.layer.dataset.voxel_size
        layer = copy.get_layer("color")
        assert (layer.category, layer.bounding_box) == ("color", raw.layer.bounding_box)
        assert layer.get_mag(1).info.codec == "lz4"
        np.testing.assert_array_equal(content(layer.get_mag(1)), expected)
        np.testing.assert_array_equal(content(raw), expected)
        assert hidden(tmp_path / "copy") == []

    def test_more_mags_join_the_copy(self, raw, tmp_path):
        second = raw.layer.add_mag("2-2-1", chunk_shape=8, shard_shape=32)
        for mag_view in (raw, second):
            mag_view.compress(tmp_path / "copy")
        assert list(wk.Dataset.open(tmp_path / "copy").get_layer("color").mags) == [wk.Mag(1), wk.Mag("2-2-1")]
        with pytest.raises(NameTakenError, match="2-2-1"):
            second.compress(tmp_path / "copy")

    def test_of_a_read_only_mag(self, raw, expected, tmp_path):
        wk.Dataset.open(raw.layer.dataset.path, read_only=True).get_layer("color").get_mag(1).compress(
            tmp_path / "copy"
        )
        np.testing.assert_array_equal(content(wk.open_mag(tmp_path / "copy" / "color" / "1")), expected)

    def test_a_failure_leaves_no_mag(self, raw, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(rewriting, "write_box", fails)
            with pytest.raises(ChunkError):
                raw.compress(tmp_path / "copy")
        assert list(wk.Dataset.open(tmp_path / "copy").get_layer("color").mags) == []
        assert list((tmp_path / "copy").rglob("header.wkw")) == []
        raw.compress(tmp_path / "copy")

    def test_what_a_crash_has_left_is_removed(self, raw, expected, tmp_path, run_python):
        run_python(KILLED_COPY, tmp_path / "copy" / "color" / "1")
        assert len(hidden(tmp_path / "copy")) > 0
        wk.open_mag(raw.path).compress(tmp_path / "copy")
        assert hidden(tmp_path / "copy") == []
        np.testing.assert_array_equal(content(wk.open_mag(tmp_path / "copy" / "color" / "1")), expected)

    def test_another_voxel_size_does_not_fit(self, raw, tmp_path):
        wk.Dataset(tmp_path / "copy", voxel_size=(1, 2, 3))
        with pytest.raises(MismatchError, match="voxel size"):
            raw.compress(tmp_path / "copy")


class TestFailures:
    @pytest.mark.parametrize("calls", [0, 3])
    def test_the_old_mag_stays_whole(self, device, raw, expected, monkeypatch, calls):
        written = []

        def fails_later(array, engine, topleft, data, write=rewriting.write_box):
            if len(written) == calls:
                fails(data)
            written.append(topleft)
            write(array, engine, topleft, data)

        monkeypatch.setattr(rewriting, "write_box", fails_later)
        with pytest.raises(ChunkError, match="as if"):
            raw.compress()
        assert (raw.info.codec, hidden(raw.layer.dataset.path)) == ("raw", [])
        np.testing.assert_array_equal(content(raw), expected)

    def test_a_damaged_source_stays_as_it_is(self, raw):
        shard = raw.path / "z0" / "y0" / "x0.wkw"
        shard.write_bytes(shard.read_bytes()[:100])
        with pytest.raises(wk.WkgpuError, match="x0"):
            raw.compress()
        assert raw.info.codec == "raw"

    def test_a_write_meanwhile_is_not_lost(self, raw, monkeypatch):
        def writes_meanwhile(*args, rewrite=rewriting.rewrite):
            rewrite(*args)
            raw.write(np.full((8, 8, 8), 7, "uint8"), absolute_offset=(8, 8, 8))

        monkeypatch.setattr(rewriting, "rewrite", writes_meanwhile)
        with pytest.raises(MismatchError, match="written to"):
            raw.compress()
        assert (read(raw, absolute_offset=(8, 8, 8), size=(8, 8, 8)) == 7).all()
        assert (raw.info.codec, hidden(raw.layer.dataset.path)) == ("raw", [])

    def test_leftovers_of_a_crash_are_removed(self, raw, expected):
        for left in HIDDEN / "content" / "z0", Path(".rewriting/new/z0"):
            (raw.path / left).mkdir(parents=True)
            (raw.path / left / "half").write_bytes(b"half")
        raw.compress()
        assert hidden(raw.layer.dataset.path) == []
        np.testing.assert_array_equal(content(raw), expected)

    def test_a_write_between_the_new_files_and_the_swap_is_not_lost(self, raw, monkeypatch):
        other = wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1)
        flush = file_swap.flush

        def writes_before(folder):
            other.write(np.full((8, 8, 8), 7, "uint8"), absolute_offset=(8, 8, 8))
            flush(folder)

        monkeypatch.setattr(file_swap, "flush", writes_before)
        with pytest.raises(MismatchError, match="written to"):
            raw.compress()
        assert (read(raw, absolute_offset=(8, 8, 8), size=(8, 8, 8)) == 7).all()
        assert (raw.info.codec, hidden(raw.layer.dataset.path)) == ("raw", [])

    def test_writes_wait_for_the_swap(self, raw, monkeypatch):
        """A write that comes during the swap finds the new files, whatever their shape."""
        other = wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1)
        finish, writes = Transaction.finish, []

        def slow(*arguments):
            write = threads.submit(other.write, np.full((8, 8, 8), 7, "uint8"), absolute_offset=(8, 8, 8))
            time.sleep(0.1)
            assert not write.done()
            writes.append(write)
            finish(*arguments)

        monkeypatch.setattr(Transaction, "finish", slow)
        with ThreadPoolExecutor(1) as threads:
            raw.rechunk(chunk_shape=8, shard_shape=64)
        assert [write.result() for write in writes] == [None]
        assert (read(raw, absolute_offset=(8, 8, 8), size=(8, 8, 8)) == 7).all()
        assert raw.info.shard_shape.to_tuple() == (64, 64, 64)

    @pytest.mark.parametrize(
        ("moves", "reopen"),
        [
            (0, "dataset"),
            (1, "loose"),
            (1, "held open"),
            (20, "view"),
            (20, "dataset"),
            (1000, "held open"),
            (20, "earlier"),
            (27, "earlier"),
        ],
    )
    def test_a_swap_that_a_crash_has_interrupted_is_finished(self, raw, expected, run_python, moves, reopen):
        content(raw)
        run_python(KILLED_SWAP, raw.layer.dataset.path, moves)
        assert (raw.path / HIDDEN / "journal").exists() or moves == 1000
        if reopen == "earlier":  # a swap of an earlier version of wkgpu, whose header has been moved or not
            if moves == 27:
                (raw.path / HIDDEN / "content" / "header.wkw").replace(raw.path / "header.wkw")
            hidden = (raw.path / HIDDEN).rename(raw.path / ".rewriting")
            (hidden / "content").rename(hidden / "new")
            (hidden / "journal").rename(hidden / "swap.json")
        mag_view = {
            "earlier": lambda: wk.open_mag(raw.path),
            "dataset": lambda: wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1),
            "loose": lambda: wk.open_mag(raw.path),
            "view": lambda: raw.get_view(absolute_bounding_box=BOX, read_only=True),
            "held open": lambda: raw,
        }[reopen]()
        np.testing.assert_array_equal(content(mag_view), expected)
        raw.rechunk(8, 16)
        document = json.loads((raw.layer.dataset.path / "datasource-properties.json").read_text())
        assert document["dataLayers"][0]["mags"][0]["cubeLength"] == 16
        np.testing.assert_array_equal(content(raw), expected)

    @pytest.mark.parametrize("link", ["", "content", "content/z0"])
    @pytest.mark.parametrize("names", [{}, {"content": "new", "journal": "swap.json"}])
    def test_a_journal_of_an_untrusted_dataset_moves_no_files_from_elsewhere(self, raw, tmp_path, link, names):
        """Also not one with the names of earlier versions."""
        outside, hidden = tmp_path / "outside", raw.path / (".rewriting" if names else HIDDEN)
        content_name, journal = names.get("content", "content"), names.get("journal", "journal")
        for name in (journal, "f", "y0/x0.wkw", "z0/y0/x0.wkw", f"{content_name}/z0/y0/x0.wkw"):
            (outside / name).parent.mkdir(parents=True, exist_ok=True)
            (outside / name).write_text('{"remove": []}')
        before = sorted(path for path in outside.rglob("*"))
        place = hidden / link.replace("content", content_name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(outside)
        (hidden / journal).write_text('{"remove": []}')
        with suppress(wk.WkgpuError):
            content(wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1))
        after = sorted(path for path in outside.rglob("*"))
        assert [path for path in before if path.name != journal] == [path for path in after if path.name != journal]

    @pytest.mark.parametrize("journal", ["pipe", '{"remove": ["../../f"]}', '{"remove": ["header.wkw"]}', "[" * 99_999])
    def test_a_journal_that_cannot_be_read(self, raw, journal):
        file = raw.path / HIDDEN / "journal"
        file.parent.mkdir()
        os.mkfifo(file) if journal == "pipe" else file.write_text(journal)
        with pytest.raises((FormatError, StorageAccessError), match=r"wkgpu/journal "):
            content(wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1))

    def test_other_files_stay_where_they_are(self, raw, expected):
        kept = [raw.path / "notes.txt", raw.path / "z0" / "thumbnail.png", raw.path / "mesh" / "1.bin", raw.path / ".x"]
        for path in kept:
            path.parent.mkdir(exist_ok=True)
            path.write_text(path.name)
        raw.rechunk(chunk_shape=8, shard_shape=64)
        assert [path.read_text() for path in kept] == [path.name for path in kept]
        np.testing.assert_array_equal(content(raw), expected)

    @pytest.mark.parametrize("where", [".", "./color"])
    def test_a_mag_in_the_folder_of_its_layer_or_dataset(self, raw, expected, where):
        root = raw.layer.dataset.path
        raw.layer.dataset.add_layer("cells", "segmentation").add_mag(1, chunk_shape=8, shard_shape=8)
        for entry in list(raw.path.iterdir()):
            entry.rename(root / where / entry.name)
        file = root / "datasource-properties.json"
        document = json.loads(file.read_text())
        document["dataLayers"][0]["mags"][0]["path"] = where
        file.write_text(json.dumps(document))
        dataset = wk.Dataset.open(root)
        dataset.get_layer("color").get_mag(1).compress()
        np.testing.assert_array_equal(content(dataset.get_layer("color").get_mag(1)), expected)
        assert (root / "cells" / "1" / "header.wkw").exists()
        assert dataset.get_layer("color").get_mag(1).info.codec == "lz4"

    def test_a_mag_that_is_gone_is_reported_as_before(self, raw):
        raw.path.rename(raw.path.with_name("gone"))
        with pytest.raises(NotFoundError, match="does not exist"):
            content(wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1))

    def test_read_only_mags_refuse(self, raw):
        mag_view = wk.Dataset.open(raw.layer.dataset.path, read_only=True).get_layer("color").get_mag(1)
        for change in (mag_view.compress, mag_view.rechunk):
            with pytest.raises(ReadOnlyError, match="opened with read_only=True"):
                change()
        with pytest.raises(ReadOnlyError, match="read-only"):
            wk.open_mag(raw.path, read_only=True).compress()

    def test_mags_of_another_dataset_refuse(self, raw, tmp_path, expected):
        raw.path.rename(tmp_path / "elsewhere")
        raw.path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ReadOnlyError, match="outside of its dataset"):
            raw.compress()
        raw.compress(tmp_path / "copy")
        np.testing.assert_array_equal(content(wk.open_mag(tmp_path / "copy" / "color" / "1")), expected)


class TestExecutors:
    @pytest.fixture(params=["threads", "processes"])
    def executor(self, request):
        if request.param == "threads":
            made = ThreadPoolExecutor(2)
        else:
            made = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
        with made:
            yield made

    def test_each_runs_the_jobs(self, raw, expected, executor, monkeypatch):
        monkeypatch.setattr(tiling, "_JOB_BYTES", 0)
        raw.compress(executor=executor)
        assert raw.info.codec == "lz4"
        np.testing.assert_array_equal(content(raw), expected)
        raw.rechunk(16, 16, compress=False, executor=executor, progress_desc="Rechunking")
        np.testing.assert_array_equal(content(raw), expected)

    def test_two_at_once(self, raw, expected):
        """Both want the same; one of them finds it done."""
        twins = [wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda twin: twin.compress(), twins))
        for twin in twins:
            np.testing.assert_array_equal(content(twin), expected)
        assert hidden(raw.layer.dataset.path) == []

    def test_two_that_want_different_things(self, raw, expected):
        twins = [wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda twin, edge: twin.rechunk(8, edge), twins, (8, 16, 32, 64)))
        found = wk.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1)
        np.testing.assert_array_equal(content(found), expected)
        assert hidden(raw.layer.dataset.path) == []

    def test_one_that_ends_leaves_the_next_one_its_files(self, raw, expected):
        """The swap has replaced the file that carries the lock: another process may be at work before the end."""
        array = raw._array
        following = file_swap.FileSwap(array.lock_file, array.is_shard, wait=False)

        def begin_the_next_one():
            following.__enter__().building.mkdir(parents=True)

        spec = replace(array.spec, codecs=pipeline_of("lz4"))
        rewriting.rewrite_in_place(raw.path, wk.Mag(1), spec, "cpu", None, None, begin_the_next_one)
        assert following.building.is_dir()
        following.__exit__(None)
        assert hidden(raw.layer.dataset.path) == []
        np.testing.assert_array_equal(content(raw), expected)


class TestAgainstWebknossos:
    @pytest.mark.parametrize("codec", [True, "lz4hc"])
    def test_it_reads_what_was_compressed(self, webknossos, device, raw, expected, codec):
        raw.compress(codec=codec)
        theirs = webknossos.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1)
        assert theirs.info.compression_mode
        np.testing.assert_array_equal(theirs.read(absolute_offset=(0, 0, 0), size=(64, 64, 64)), expected)

    def test_both_compress_to_the_same_voxels(self, webknossos, raw, expected, tmp_path):
        from cluster_tools import get_executor

        theirs = webknossos.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1)
        with get_executor("sequential") as executor:
            theirs.compress(target_path=tmp_path / "theirs", executor=executor)
        raw.compress(tmp_path / "ours")
        found = [wk.Dataset.open(tmp_path / name).get_layer("color") for name in ("theirs", "ours")]
        assert found[0].bounding_box == found[1].bounding_box
        assert found[0].get_mag(1).info.shard_shape == found[1].get_mag(1).info.shard_shape
        for layer in found:
            np.testing.assert_array_equal(content(layer.get_mag(1)), expected)
        documents = [
            json.loads((tmp_path / name / "datasource-properties.json").read_text()) for name in ("theirs", "ours")
        ]
        assert documents[0]["dataLayers"] == documents[1]["dataLayers"]

    def test_it_reads_what_was_rechunked(self, webknossos, raw, expected):
        raw.rechunk(16, 64, compress=True)
        theirs = webknossos.Dataset.open(raw.layer.dataset.path).get_layer("color").get_mag(1)
        np.testing.assert_array_equal(theirs.read(absolute_offset=(0, 0, 0), size=(64, 64, 64)), expected)


def test_a_handle_of_before_reads_on(dataset, raw, expected):
    """Its shards have other names now: what is absent under the old ones is not what was never written."""
    other = wk.Dataset.open(dataset.path).get_layer("color").get_mag(1)
    np.testing.assert_array_equal(content(other), expected)
    raw.rechunk(chunk_shape=8, shard_shape=64)
    found = read(other, absolute_offset=(32, 32, 32), size=(8, 8, 8))
    np.testing.assert_array_equal(found, expected[:, 32:40, 32:40, 32:40])
    assert other.info.shard_shape == (64, 64, 64)
    np.testing.assert_array_equal(content(other), expected)
