"""Mags, above all volume annotations, merged into others: each of their files replaces the voxels of its box."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import threading
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from math import prod
from unittest import mock

import numpy as np
import pytest
from arrays import given_on_engine, is_simulated, on_device, read_box, write_box
from datasets import VOXEL_SIZE, read
from hypothesis import strategies as st
from real_data import REAL_DATA
from strategies import codecs, layouts, voxel_boxes, voxels

import wkgpu as wk
from wkgpu.errors import ArgumentError, ChunkError, DtypeError, MismatchError, ReadOnlyError, RegionError, ShapeError
from wkgpu.operations import merging
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

BOX = wk.BoundingBox((0, 0, 0), (96, 64, 64))  # holds all voxels of `mag_view` and of all annotations
BEGINS = [(4, 4, 4), (30, 30, 30), (70, 12, 9)]  # first voxels of what is annotated
SHAPE = (5, 6, 7)


@pytest.fixture
def annotate(tmp_path):
    """Makes a mag with one chunk in a file, and writes zeros and ones where voxels begin."""

    def make(edge=8, mag=1, begins=BEGINS, name="annotation", **options):
        dataset = wk.Dataset(tmp_path / name, voxel_size=VOXEL_SIZE)
        layer = dataset.add_layer("color", "color", **{"dtype": "uint8"} | options)
        made = layer.add_mag(mag, chunk_shape=edge, shard_shape=edge)
        for number, begin in enumerate(begins):
            data = np.random.default_rng(number).integers(0, 2, (layer.num_channels, *SHAPE)).astype(layer.dtype)
            made.write(on_device(made._engine, data), absolute_offset=np.multiply(begin, made.mag.to_tuple()))
        return made

    return make


def merged(before, other, region=BOX):
    """What `region` reads after a merge of `other`, if it read `before`."""
    expected = before.copy()
    for box in other.get_bounding_boxes_on_disk():
        inside = box.intersected_with(region, dont_assert=True)
        x, y, z = map(slice, inside.topleft - region.topleft, inside.bottomright - region.topleft)
        expected[:, x, y, z] = read(other, absolute_bounding_box=inside)
    return expected


def content(mag_view):
    return read(mag_view, absolute_bounding_box=BOX)


def files_of(mag_view):
    return {path: path.read_bytes() for path in mag_view.path.rglob("*") if path.is_file()}


class TestVoxels:
    @pytest.mark.parametrize(
        ("edge", "compress"), [(4, True), (4, False), (8, "lz4hc"), (16, False), (64, True), (64, "lz4hc")]
    )
    @pytest.mark.covers("MagView.merge_with_view")
    def test_files_replace_their_boxes(self, device, mag_view, annotate, edge, compress):
        mag_view.rechunk(8, 32, compress=compress)
        before, other = content(mag_view), annotate(edge)
        mag_view.merge_with_view(other)
        after = content(mag_view)
        np.testing.assert_array_equal(after, merged(before, other))
        assert (after[:, 8:16, 8:16, 8:16] == 0).any(), "zeros of the annotation count"
        mag_view.merge_with_view(other)
        np.testing.assert_array_equal(content(mag_view), after)

    def test_channels(self, device, dataset, annotate):
        channels = 3
        layer = dataset.add_layer("color", "color", dtype="uint16", num_channels=channels)
        mag_view = layer.add_mag("2-2-1", chunk_shape=8, shard_shape=32)
        data = np.full((channels, 40, 30, 20), 7, "uint16")
        mag_view.write(on_device(mag_view._engine, data), absolute_offset=(0, 0, 0))
        other = annotate(4, "2-2-1", dtype="uint16", num_channels=channels)
        region = {"absolute_offset": (0, 0, 0), "size": (192, 128, 64)}
        expected = read(mag_view, **region)
        for box in other.get_bounding_boxes_on_disk():
            x, y, z = map(slice, *(corner // (2, 2, 1) for corner in (box.topleft, box.bottomright)))
            expected[:, x, y, z] = read(other, absolute_bounding_box=box)
        mag_view.merge_with_view(other)
        np.testing.assert_array_equal(read(mag_view, **region), expected)

    def test_voxels_beyond_the_layers_boxes(self, mag_view, annotate):
        other, before = annotate(16), content(mag_view)
        expected = merged(before, other)
        for layer in (other.layer, mag_view.layer):
            layer.bounding_box = wk.BoundingBox((4, 4, 4), (1, 1, 1))
        mag_view.merge_with_view(other)
        np.testing.assert_array_equal(content(mag_view), expected)

    @pytest.mark.parametrize("compress", [True, False])
    def test_a_new_shard(self, layer, annotate, compress):
        mag_view = layer.add_mag(1, chunk_shape=16, shard_shape=32, compress=compress)
        other = annotate(8)
        mag_view.merge_with_view(other)
        np.testing.assert_array_equal(content(mag_view), merged(np.zeros((1, *BOX.size), "uint8"), other))

    def test_an_empty_annotation_changes_nothing(self, mag_view, annotate):
        before, box = files_of(mag_view), mag_view.layer.bounding_box
        mag_view.merge_with_view(annotate(begins=[]))
        assert files_of(mag_view) == before
        assert mag_view.layer.bounding_box == box

    @pytest.mark.parametrize("compress", [True, False])
    def test_a_mag_merged_with_itself(self, device, layer, volume, compress):
        mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=8, compress=compress)
        mag_view.write(on_device(mag_view._engine, volume[:20, :20, :20]), absolute_offset=(4, 8, 12))
        before = content(mag_view)
        mag_view.merge_with_view(mag_view)
        np.testing.assert_array_equal(content(mag_view), before)

    def test_untouched_shards_are_not_written(self, mag_view, annotate):
        before = files_of(mag_view)
        mag_view.merge_with_view(annotate(begins=[(33, 33, 33)]))
        after = files_of(mag_view)
        assert [path.relative_to(mag_view.path).as_posix() for path in before if after[path] != before[path]] == [
            "z1/y1/x1.wkw"
        ]


@st.composite
def merges(draw, is_small):
    """The layouts of a mag and of an annotation, and the files of the latter that its first shard meets."""
    spec = draw(layouts(shard_bytes=1 << (11 if is_small else 16)))
    edge = 1 << draw(st.integers(0, min(spec.shard_shape[0].bit_length(), 3 if is_small else 5)))
    other = ArraySpec(spec.dtype, spec.num_channels, (edge,) * 3, (1, 1, 1), pipeline_of(draw(codecs)))
    numbers = st.integers(0, max(spec.shard_shape[0] // edge, 2) - 1)  # some lie outside of the shard
    files = draw(st.lists(st.tuples(numbers, numbers, numbers), max_size=8))
    return spec, other, [tuple(edge * number for number in file) for file in files]


@given_on_engine(lambda is_small: merges(is_small), st.data())
def test_any_files_in_any_shards(make_array, config, engine, case, data):
    spec, file_layout, files = case
    shard, edge = spec.shard_shape, file_layout.chunk_shape[0]
    target, source = make_array(spec), make_array(file_layout)
    config.staging_bytes = data.draw(st.sampled_from([64, 1 << 20]))
    shard_bytes = spec.chunks_in_shard * spec.chunk_bytes
    max_bytes = data.draw(st.sampled_from([shard_bytes // 3, 1 << 30]))
    topleft, shape = data.draw(voxel_boxes(spec, 1))
    write_box(target, engine, topleft, voxels(spec, shape, 1))
    end = tuple(2 * length for length in shard)
    expected = read_box(target, engine, (0, 0, 0), end)
    for number, file in enumerate(files):
        written = voxels(file_layout, (edge,) * 3, number)
        write_box(source, engine, file, written)
        x, y, z = (slice(low, min(low + edge, length)) for low, length in zip(file, shard, strict=True))
        part = expected[: spec.num_channels, x, y, z]
        part[...] = written[:, : part.shape[1], : part.shape[2], : part.shape[3]]
    with mock.patch.object(merging, "_MAX_VOXEL_BYTES", max_bytes):
        merging.merge_files(target, source, engine, (0, 0, 0), np.array(files, np.int64).reshape(-1, 3))
    np.testing.assert_array_equal(read_box(target, engine, (0, 0, 0), end), expected)


class TestBoundingBox:
    def test_it_holds_the_boxes_of_the_files(self, mag_view, annotate, saved):
        mag_view.merge_with_view(annotate(begins=[(70, 12, 9)]))
        expected = wk.BoundingBox((4, 8, 8), (76, 36, 36))  # files of 8³ from (64, 8, 8) to (80, 24, 16)
        assert mag_view.layer.bounding_box == expected
        assert saved()["dataLayers"][0]["boundingBox"] == expected.to_wkw_dict()

    def test_it_stays_where_it_holds_them(self, mag_view, annotate):
        box = mag_view.layer.bounding_box
        properties = mag_view.layer.dataset.path / "datasource-properties.json"
        before = properties.stat()
        mag_view.merge_with_view(annotate(begins=[(16, 16, 16)]))
        assert mag_view.layer.bounding_box == box
        assert properties.stat() == before

    def test_a_mag_without_a_dataset(self, device, mag_view, annotate):
        loose, other = wk.open_mag(mag_view.path), wk.open_mag(annotate().path)
        expected = merged(content(loose), other)
        loose.merge_with_view(other)
        assert loose.bounding_box == wk.BoundingBox((0, 0, 0), (80, 64, 64))
        np.testing.assert_array_equal(content(loose), expected)


class TestRefusals:
    @pytest.mark.parametrize("other", [None, "1", 5])
    def test_what_is_no_mag(self, mag_view, other):
        with pytest.raises(ArgumentError, match=rf"other is {other!r}; give the MagView"):
            mag_view.merge_with_view(other)
        for args in (other, (other, None), (other, None, ())):
            with pytest.raises(ArgumentError, match="args"):
                mag_view.merge_chunk(args)

    def test_another_mag(self, mag_view, annotate):
        with pytest.raises(MismatchError, match=r"has the mag 2, .* has 1"):
            mag_view.merge_with_view(annotate(mag=2))

    def test_another_dtype(self, mag_view, annotate):
        with pytest.raises(DtypeError, match=r"int8.*uint8"):
            mag_view.merge_with_view(annotate(dtype="int8"))

    def test_other_channels(self, mag_view, annotate):
        with pytest.raises(ShapeError, match="3 channels"):
            mag_view.merge_with_view(annotate(num_channels=3))

    def test_several_chunks_in_a_file(self, mag_view):
        with pytest.raises(ShapeError, match="64 chunks in a file"):
            mag_view.merge_with_view(mag_view)

    def test_a_read_only_mag(self, mag_view, annotate):
        before = files_of(mag_view)
        for name, read_only in {
            "layer": wk.Dataset.open(mag_view.layer.dataset.path, read_only=True).get_layer("color").get_mag(1),
            "alone": wk.open_mag(mag_view.path, read_only=True),
        }.items():
            with pytest.raises(ReadOnlyError):
                read_only.merge_with_view(annotate(name=name))
        assert files_of(mag_view) == before

    def test_webknossos_raises_the_same_classes(self, webknossos, mag_view, annotate, sequential):
        base = theirs(webknossos, mag_view)
        for name, options in (("mag", {"mag": 2}), ("dtype", {"dtype": "int8"})):
            other = annotate(name=name, **options)
            for mine, its in ((mag_view, other), (base, theirs(webknossos, other))):
                with pytest.raises(AssertionError):
                    mine.merge_with_view(its, sequential)
        for mine in (mag_view, base):
            with pytest.raises(AssertionError):
                mine.merge_with_view(mine, sequential)


class TestMergeChunk:
    SHARD = wk.BoundingBox((32, 0, 0), (32, 32, 32))

    @pytest.mark.parametrize("wrap", [lambda mag_view: mag_view, lambda mag_view: pickle.loads(pickle.dumps(mag_view))])
    @pytest.mark.covers("MagView.merge_chunk")
    def test_it_overlays_one_shard_and_no_more(self, device, mag_view, annotate, wrap):
        other, before, box = annotate(), content(mag_view), mag_view.layer.bounding_box
        expected = before.copy()
        expected[:, 32:64, :32, :32] = merged(before, other)[:, 32:64, :32, :32]
        boxes = list(other.get_bounding_boxes_on_disk())
        assert wrap(mag_view).merge_chunk((wrap(other), self.SHARD, boxes)) is None
        np.testing.assert_array_equal(content(mag_view), expected)
        assert (before != expected).any()
        assert mag_view.layer.bounding_box == box

    def test_no_files_change_nothing(self, mag_view, annotate):
        before = files_of(mag_view)
        mag_view.merge_chunk((annotate(), self.SHARD, []))
        mag_view.merge_chunk((annotate(name="again"), self.SHARD, [wk.BoundingBox((0, 0, 0), (8, 8, 8))]))
        assert files_of(mag_view) == before

    def test_a_file_that_does_not_exist_holds_zeros(self, webknossos, mag_view, annotate, tmp_path):
        """As in webknossos."""
        other = annotate()
        twins = [twin_of(mag_view, tmp_path / name) for name in ("ours", "theirs")]
        twins[0].merge_chunk((other, self.SHARD, [wk.BoundingBox((40, 16, 16), (8, 8, 8))]))
        box, shard = (
            webknossos.BoundingBox(*corners) for corners in (((40, 16, 16), (8, 8, 8)), ((32, 0, 0), [32] * 3))
        )
        theirs(webknossos, twins[1]).layer.bounding_box = webknossos.BoundingBox((0, 0, 0), (64, 64, 64))
        theirs(webknossos, twins[1]).merge_chunk((theirs(webknossos, other), shard, [box]))
        assert not read(twins[0], absolute_offset=(40, 16, 16), size=(8, 8, 8)).any()
        np.testing.assert_array_equal(content(twins[0]), content(twins[1]))

    @pytest.mark.parametrize(
        ("shard", "box"),
        [
            (((32, 0, 0), (16, 32, 32)), ((32, 0, 0), (8, 8, 8))),
            (((16, 0, 0), (32, 32, 32)), ((32, 0, 0), (8, 8, 8))),
            (((32, 0, 0), (32, 32, 32)), ((33, 0, 0), (8, 8, 8))),
            (((32, 0, 0), (32, 32, 32)), ((32, 0, 0), (8, 8, 16))),
        ],
    )
    def test_boxes_that_are_no_files(self, mag_view, annotate, shard, box):
        before = files_of(mag_view)
        with pytest.raises(RegionError, match="not the box of a file"):
            mag_view.merge_chunk((annotate(), wk.BoundingBox(*shard), [wk.BoundingBox(*box)]))
        assert files_of(mag_view) == before

    def test_its_own_checks(self, mag_view, annotate):
        with pytest.raises(DtypeError):
            mag_view.merge_chunk((annotate(dtype="int8"), self.SHARD, []))
        with pytest.raises(ReadOnlyError):
            wk.open_mag(mag_view.path, read_only=True).merge_chunk((annotate(name="again"), self.SHARD, []))


class TestFailures:
    def test_a_damaged_file_changes_nothing(self, device, mag_view, annotate):
        other = annotate(begins=[(33, 33, 33)])
        (file,) = other.path.rglob("x*.wkw")
        file.write_bytes(file.read_bytes()[:24] + b"\xff" * (file.stat().st_size - 24))
        before, box = files_of(mag_view), mag_view.layer.bounding_box
        with pytest.raises(ChunkError, match=r"x4\.wkw") as caught:
            mag_view.merge_with_view(other)
        assert "BoundingBox(topleft=(32, 32, 32), size=(32, 32, 32))" in caught.value.__notes__[0]
        assert files_of(mag_view) == before
        assert mag_view.layer.bounding_box == box

    @pytest.mark.parametrize("compress", [True, False])
    def test_a_damaged_shard_changes_nothing(self, device, mag_view, annotate, compress, monkeypatch):
        mag_view.rechunk(8, 32, compress=compress)
        other, before = annotate(4, begins=[(36, 36, 36)]), files_of(mag_view)
        read_stack = merging.read_stack

        def failing(array, *arguments):
            if array is mag_view._array:
                raise ChunkError("as if it did not decode")
            return read_stack(array, *arguments)

        monkeypatch.setattr(merging, "read_stack", failing)
        with pytest.raises(ChunkError):
            mag_view.merge_with_view(other)
        assert files_of(mag_view) == before

    def test_after_a_failure_the_merge_can_be_completed(self, mag_view, annotate, monkeypatch):
        other, before = annotate(), content(mag_view)
        merge_files, calls = merging.merge_files, []

        def failing(*arguments):
            calls.append(arguments)
            if len(calls) == 2:
                raise ChunkError("as if a chunk could not be written")
            merge_files(*arguments)

        monkeypatch.setattr(merging, "merge_files", failing)
        with pytest.raises(ChunkError):
            mag_view.merge_with_view(other)
        mag_view.merge_with_view(other)
        np.testing.assert_array_equal(content(mag_view), merged(before, other))


def write_one(mag_view, voxel):
    mag_view.write(np.full((1, 1, 1), 99, "uint8"), absolute_offset=voxel)


class TestConcurrency:
    @pytest.mark.parametrize("compress", [True, False])
    def test_a_write_to_the_same_chunk_is_not_lost(self, mag_view, annotate, compress, monkeypatch):
        """Old voxels are read when no other writer may write any more."""
        mag_view.rechunk(8, 32, compress=compress)
        other, before = annotate(4, begins=[(36, 36, 36)]), content(mag_view)
        writer = threading.Thread(target=write_one, args=(mag_view, (45, 45, 45)))
        read_stack = merging.read_stack

        def slow(array, *arguments):
            old = read_stack(array, *arguments)
            if array is mag_view._array:
                writer.start()
                time.sleep(0.2)
            return old

        monkeypatch.setattr(merging, "read_stack", slow)
        mag_view.merge_with_view(other)
        writer.join()
        expected = merged(before, other)
        expected[0, 45, 45, 45] = 99
        np.testing.assert_array_equal(content(mag_view), expected)

    def test_annotations_that_share_chunks(self, mag_view, annotate):
        """Each has every fourth of the files of 4³ that chunks of 8³ are made of."""
        before = content(mag_view)
        others = [annotate(4, begins=[], name=str(number)) for number in range(4)]
        for number, other in enumerate(others):
            for x in range(4 * number, 64, 16):
                data = np.full((4, 32, 8), 10 + number, "uint8")
                other.write(data, absolute_offset=(x, 0, 0))
        expected = before.copy()
        for other in others:
            expected = merged(expected, other)
        twins = [wk.Dataset.open(mag_view.layer.dataset.path).get_layer("color").get_mag(1) for _ in others]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda twin, other: twin.merge_with_view(other), twins, others))
        np.testing.assert_array_equal(content(mag_view), expected)

    @pytest.mark.parametrize("kind", ["threads", "processes"])
    @pytest.mark.parametrize("loose", [False, True])
    def test_executors(self, mag_view, annotate, kind, loose):
        before, other = content(mag_view), annotate()
        target, source = (wk.open_mag(mag_view.path), wk.open_mag(other.path)) if loose else (mag_view, other)
        if kind == "threads":
            made = ThreadPoolExecutor(2)
        else:
            made = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
        with made as executor:
            target.merge_with_view(source, executor, progress_desc="Merging")
        np.testing.assert_array_equal(content(target), merged(before, other))
        assert target.bounding_box.contains_bbox(wk.BoundingBox((64, 8, 8), (16, 16, 8)))


# ---- Against webknossos


@pytest.fixture
def sequential(webknossos):
    """The executor of webknossos that starts no processes."""
    from cluster_tools import get_executor

    with get_executor("sequential") as executor:
        yield executor


def theirs(webknossos, mag_view):
    """The same mag in webknossos."""
    return webknossos.Dataset.open(mag_view.layer.dataset.path).get_layer(mag_view.layer.name).get_mag(mag_view.name)


def twin_of(mag_view, path):
    """The mag in a copy of its dataset."""
    shutil.copytree(mag_view.layer.dataset.path, path)
    return wk.Dataset.open(path).get_layer(mag_view.layer.name).get_mag(mag_view.mag)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
class TestAgainstWebknossos:
    @pytest.mark.parametrize("compress", [True, False])
    @pytest.mark.parametrize("edge", [4, 8, 16, 32, 64])
    def test_the_same_voxels(self, webknossos, mag_view, annotate, sequential, tmp_path, edge, compress):
        mag_view.rechunk(8, 32, compress=compress)
        ours, twin = (twin_of(mag_view, tmp_path / name) for name in ("ours", "theirs"))
        other = annotate(edge)
        ours.merge_with_view(other, sequential)
        base = theirs(webknossos, twin)
        base.merge_with_view(theirs(webknossos, other), sequential)
        region = wk.BoundingBox((0, 0, 0), (128, 64, 64))
        np.testing.assert_array_equal(
            read(ours, absolute_bounding_box=region), read(twin, absolute_bounding_box=region)
        )
        assert np.array_equal(content(ours), merged(content(mag_view), other))
        # It lets the layer's box grow to whole shards, and ours to the files.
        assert ours.layer.bounding_box == mag_view.layer.bounding_box.extended_by(around(other))
        box = base.layer.bounding_box
        assert wk.BoundingBox(box.topleft, box.size).contains_bbox(ours.layer.bounding_box)
        assert base.layer.bounding_box.size.x % 32 == 0

    def test_it_reads_what_was_merged(self, webknossos, device, mag_view, annotate):
        mag_view.merge_with_view(annotate())
        found = theirs(webknossos, mag_view).read(absolute_offset=(0, 0, 0), size=(96, 64, 64))
        np.testing.assert_array_equal(found, content(mag_view))


def around(mag_view):
    boxes = list(mag_view.get_bounding_boxes_on_disk())
    box = boxes[0]
    for other in boxes[1:]:
        box = box.extended_by(other)
    return box


# ---- A volume annotation that the WEBKNOSSOS server has written

ANNOTATION = REAL_DATA / "l4dense_volume_annotation.zip"
ANNOTATED = wk.BoundingBox((2656, 4160, 1792), (384, 320, 32))


@pytest.fixture(scope="module")
def annotation(tmp_path_factory):
    """Mag 1 of the annotation, in a dataset."""
    folder = tmp_path_factory.mktemp("annotation")
    with zipfile.ZipFile(ANNOTATION) as outer, outer.open("data_Volume.zip") as file, zipfile.ZipFile(file) as inner:
        inner.extractall(folder / "mags")
    (header,) = (folder / "mags").rglob("1/header.wkw")
    layer = wk.Dataset(folder / "dataset", voxel_size=VOXEL_SIZE).add_layer("cells", "segmentation", dtype="uint32")
    made = layer.add_mag(1, chunk_shape=32, shard_shape=32)
    shutil.copytree(header.parent, made.path, dirs_exist_ok=True)
    layer.bounding_box = ANNOTATED
    return wk.Dataset.open(folder / "dataset").get_layer("cells").get_mag(1)


@pytest.mark.skipif(not ANNOTATION.exists(), reason=f"{ANNOTATION} is absent; set WKGPU_TEST_DATA")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_an_annotation_of_the_server(webknossos, device, annotation, sequential, tmp_path):
    """Into shards of 1024³, in a segmentation that it covers in part, against webknossos voxel for voxel."""
    if is_simulated(wk.get_engine(device)):
        pytest.skip("too large to simulate")
    layer = wk.Dataset(tmp_path / "ours", voxel_size=VOXEL_SIZE).add_layer("cells", "segmentation", dtype="uint32")
    ours = layer.add_mag(1)
    begin, shape = (2700, 4100, 1770), (200, 300, 100)
    written = np.arange(prod(shape), dtype="uint32").reshape(shape) // 1000 + 1
    ours.write(on_device(ours._engine, written), absolute_offset=begin)
    twin = twin_of(ours, tmp_path / "theirs")
    assert len(list(annotation.get_bounding_boxes_on_disk())) == 94
    ours.merge_with_view(annotation)
    theirs(webknossos, twin).merge_with_view(theirs(webknossos, annotation), sequential)
    region = {"absolute_offset": (2624, 4064, 1760), "size": (448, 448, 128)}  # holds what was written and merged
    found = read(ours, **region)
    np.testing.assert_array_equal(found, read(twin, **region))
    assert found.any()
    assert ours.layer.bounding_box == wk.BoundingBox(begin, shape).extended_by(ANNOTATED)
