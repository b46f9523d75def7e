"""Zarr 3 layers: what datasets do with them, between them and WKW, and with those that webknossos writes by default."""

import json
import shutil

import numpy as np
import pytest
import zarr
from datasets import read

import wkgpu as wk
from wkgpu.errors import UnsupportedError
from wkgpu.operations import tiling

BOX = wk.BoundingBox((0, 0, 0), (35, 30, 25))
SHAPES = {"chunk_shape": 8, "shard_shape": 16}


@pytest.fixture(autouse=True)
def several_jobs(monkeypatch):
    monkeypatch.setattr(tiling, "_JOB_BYTES", 1 << 12)


@pytest.fixture
def labels(random):
    """Voxels (x, y, z) of which some chunks are zero."""
    found = random.integers(0, 9, BOX.size).astype("uint32")
    found[16:24, :, :16] = 0
    return found


@pytest.fixture
def make(dataset):
    """Makes a segmentation layer with a mag."""

    def make(name="cells", data_format="zarr3", compress=True, **shapes):
        layer = dataset.add_layer(
            name, "segmentation", dtype="uint32", data_format=data_format, bounding_box=BOX, largest_segment_id=9
        )
        return layer.add_mag(1, **(SHAPES | shapes), compress=compress)

    return make


@pytest.fixture
def mag_view(device, make, labels):
    made = make()
    made.write(labels)
    return made


def other(data_format):
    return "wkw" if data_format == "zarr3" else "zarr3"


@pytest.mark.parametrize("compress", [True, "lz4", "lz4hc", False])
def test_both_libraries_read_it(make, labels, webknossos, compress):
    mag_view = make(compress=compress)
    mag_view.write(labels)
    assert mag_view.info.codec == {True: "zstd", False: "raw"}.get(compress, compress)
    theirs = webknossos.Dataset.open(mag_view.layer.dataset.path).get_layer("cells").get_mag(1)
    np.testing.assert_array_equal(theirs.read()[0], labels)
    said = json.loads((mag_view.path / "zarr.json").read_text())
    assert said["shape"] == [1, 48, 32, 32]
    theirs.write(labels[:16, :16, :16] + 1, absolute_offset=(16, 0, 0))
    labels[16:32, :16, :16] = labels[:16, :16, :16] + 1
    np.testing.assert_array_equal(mag_view.read()[0], labels)


def test_what_webknossos_makes_by_default(tmp_path, webknossos, random):
    """Shards of 1024³ voxels and chunks of 32³, in zstd; it takes 20 s to write a part of one."""
    cells = random.integers(0, 9, (80, 60, 40)).astype("uint32")
    theirs = webknossos.Dataset(tmp_path / "d", (11, 11, 24))
    box = webknossos.BoundingBox((0, 0, 0), (80, 60, 40))
    layer = theirs.add_layer("cells", "segmentation", dtype="uint32", bounding_box=box, largest_segment_id=9)
    layer.add_mag(1)
    mag_view = wk.Dataset.open(tmp_path / "d").get_layer("cells").get_mag(1)
    info = mag_view.info
    assert (info.codec, tuple(info.chunk_shape), tuple(info.shard_shape)) == ("zstd", (32,) * 3, (1024,) * 3)
    mag_view.write(cells)
    np.testing.assert_array_equal(layer.get_mag(1).read()[0], cells)


def test_the_main_jobs_on_what_webknossos_has_written(device, tmp_path, webknossos, random):
    """Read, downsampled, compressed, merged, compared; and it reads the result."""
    em = random.integers(0, 256, (3, 40, 30, 20)).astype("uint8")
    cells = random.integers(0, 9, (40, 30, 20)).astype("uint32")
    theirs = webknossos.Dataset(tmp_path / "d", (11, 11, 24))
    box = webknossos.BoundingBox((0, 0, 0), (40, 30, 20))
    small = {"chunk_shape": (8, 8, 8), "shard_shape": (32, 32, 32)}  # else it is 512 KB for each shard
    rgb = theirs.add_layer("rgb", "color", dtype="uint8", num_channels=3, bounding_box=box)
    rgb.add_mag(1, **small).write(em, allow_unaligned=True)
    layer = theirs.add_layer("cells", "segmentation", dtype="uint32", bounding_box=box, largest_segment_id=9)
    layer.add_mag(1, **small).write(cells, allow_unaligned=True)
    dataset = wk.Dataset.open(tmp_path / "d")
    assert [layer.data_format for layer in dataset.layers.values()] == ["zarr3", "zarr3"]
    mags = dataset.get_layer("rgb").get_mag(1), dataset.get_layer("cells").get_mag(1)
    np.testing.assert_array_equal(read(mags[0]), em)
    np.testing.assert_array_equal(read(mags[1])[0], cells)
    copy = dataset.copy_dataset(tmp_path / "copy", data_format="wkw", chunk_shape=8, shard_shape=32)
    assert copy.get_layer("cells").get_mag(1).content_is_equal(mags[1])
    mags[0].compress(codec="lz4")
    assert mags[0].info.codec == "lz4"
    dataset.downsample(coarsest_mag=2, sampling_mode="isotropic")
    half = read(dataset.get_layer("rgb").get_mag(2))
    annotation = dataset.add_layer("annotation", "segmentation", dtype="uint32", bounding_box=BOX)
    painted = annotation.add_mag(1, chunk_shape=8, shard_shape=8)
    painted.write(np.full((8, 8, 8), 77, "uint32"), absolute_offset=(16, 0, 0))
    mags[1].merge_with_view(painted)
    cells[16:24, :8, :8] = 77
    np.testing.assert_array_equal(read(mags[1])[0], cells)
    theirs = webknossos.Dataset.open(tmp_path / "d")
    np.testing.assert_array_equal(theirs.get_layer("rgb").get_mag(1).read(), em)
    np.testing.assert_array_equal(theirs.get_layer("rgb").get_mag(2).read(), half)
    np.testing.assert_array_equal(theirs.get_layer("cells").get_mag(1).read()[0], cells)


@pytest.mark.parametrize("data_format", ["zarr3", "wkw"])
class TestOperations:
    """The source is of one format, and what is made of it of the other one."""

    @pytest.fixture
    def source(self, device, make, labels, data_format):
        made = make(data_format=data_format)
        made.write(labels)
        return made

    def test_copies_keep_what_is_said_of_codecs(self, source, labels, tmp_path, data_format):
        dataset = source.layer.dataset
        for codec, target in ((None, None), ("lz4hc", "lz4hc"), (False, "raw")):
            kept = "lz4" if data_format == "zarr3" else "zstd"  # what the other format compresses with
            name = f"copy-{target}"
            copied = dataset.copy_dataset(
                tmp_path / name, data_format=other(data_format), **({} if codec is None else {"compress": codec})
            )
            copy = copied.get_layer("cells").get_mag(1)
            assert copy.data_format == other(data_format)
            assert copy.info.codec in ((kept, "lz4") if target is None else (target,))
            np.testing.assert_array_equal(read(copy)[0], labels)
            assert copy.content_is_equal(source)
            assert len(list(copy.get_bounding_boxes_on_disk())) == len(list(source.get_bounding_boxes_on_disk()))

    def test_rechunk_and_compress(self, source, labels):
        source.rechunk(4, 32, compress="lz4hc")
        assert (tuple(source.info.chunk_shape), source.info.codec) == ((4, 4, 4), "lz4hc")
        np.testing.assert_array_equal(read(source)[0], labels)
        source.compress(codec=True)
        np.testing.assert_array_equal(read(source)[0], labels)

    def test_downsample(self, source, labels, make, data_format):
        twin = make("twin", other(data_format))
        twin.write(labels)
        for mag_view in (source, twin):
            mag_view.layer.downsample(coarsest_mag=4, sampling_mode="isotropic")
        assert list(source.layer.mags) == list(twin.layer.mags)
        for mag in (2, 4):
            assert source.layer.get_mag(mag).content_is_equal(twin.layer.get_mag(mag))
            assert source.layer.get_mag(mag).data_format == data_format

    def test_chunks_and_reductions(self, source, labels, make, data_format):
        target = make("target", other(data_format))
        with wk.get_executor("threads", max_workers=2) as executor:
            maxima = source.map_chunk(_maximum, chunk_shape=(16, 16, 16), executor=executor)
            source.for_zipped_chunks(
                _add_one, target, source_chunk_shape=(16, 16, 16), target_chunk_shape=(16, 16, 16), executor=executor
            )
        assert max(maxima) == labels.max()
        np.testing.assert_array_equal(read(target)[0], labels + 1)
        assert source.min_max() == (0, 8)
        found, counts = source.count_labels()
        expected = np.unique(labels, return_counts=True)
        np.testing.assert_array_equal(found, expected[0])
        np.testing.assert_array_equal(counts, expected[1])

    def test_slices(self, source, labels, make, data_format):
        target = make("target", other(data_format))
        with target.get_buffered_slice_writer(buffer_size=16) as writer:
            for plane in source.get_buffered_slice_reader(buffer_size=20):
                writer.send(plane)
        np.testing.assert_array_equal(read(target)[0], labels)

    def test_merge(self, source, labels, make, data_format):
        annotation = make("annotation", other(data_format), shard_shape=8)
        annotation.write(np.full((8, 8, 8), 5, "uint32"), absolute_offset=(24, 8, 8))
        source.merge_with_view(annotation)
        labels[24:32, 8:16, 8:16] = 5
        np.testing.assert_array_equal(read(source)[0], labels)


def _maximum(view):
    return int(view.read().max())


def _add_one(args):
    source, target, _ = args
    target.write(source.read() + 1)


def test_attributes_stay_when_a_mag_is_rewritten(mag_view, labels):
    file = mag_view.path / "zarr.json"
    further = {"attributes": {"mine": [7]}, "later": {"must_understand": False}}
    file.write_text(json.dumps(json.loads(file.read_text()) | further))
    mag_view.rechunk(4, 16)
    said = json.loads(file.read_text())
    assert {key: said[key] for key in further} == further
    np.testing.assert_array_equal(read(mag_view)[0], labels)


def test_a_layer_that_grows(mag_view, labels, webknossos):
    mag_view.write(labels[:10], absolute_offset=(200, 0, 0), allow_resize=True)
    assert json.loads((mag_view.path / "zarr.json").read_text())["shape"] == [1, 224, 32, 32]
    theirs = webknossos.Dataset.open(mag_view.layer.dataset.path).get_layer("cells").get_mag(1)
    np.testing.assert_array_equal(theirs.read(absolute_offset=(200, 0, 0), size=(10, 30, 25))[0], labels[:10])


@pytest.mark.parametrize(("codec", "stored_as"), [(True, "zstd"), ("lz4hc", "lz4hc")])
def test_a_mag_of_another_format_is_copied_in_that_of_its_layer(make, labels, tmp_path, codec, stored_as):
    layer, wkw = make("zarr").layer, make("wkw", "wkw", compress=False)
    wkw.write(labels)
    shutil.copytree(wkw.path, layer.path / "2")
    with layer.dataset._changing() as properties:  # as no library writes it
        properties.layer("zarr").add_mag(wk.Mag(2), "./zarr/2", (16, 16, 16))
    layer.get_mag(2).compress(tmp_path / "compressed", codec=codec)
    layer.get_mag(2).rechunk(4, 32, compress=codec, target_path=tmp_path / "rechunked")
    for name in ("compressed", "rechunked"):
        copy = wk.Dataset.open(tmp_path / name).get_layer("zarr").get_mag(2)
        assert (copy.info.data_format, copy.info.codec) == ("zarr3", stored_as)
        np.testing.assert_array_equal(copy.read(absolute_offset=(0, 0, 0), size=(70, 60, 50))[0], labels)
    layer.get_mag(2).compress(codec=codec)
    assert (layer.get_mag(2).info.data_format, layer.get_mag(2).info.compression_mode) == ("wkw", True)


def test_arrays_have_room_for_the_box(dataset, webknossos, random):
    """As webknossos expects it, which makes arrays larger only where it makes the box larger."""
    shapes, voxels = {}, random.integers(1, 255, (20, 18, 10)).astype("uint8")
    theirs = webknossos.Dataset(dataset.path.parent / "theirs", dataset.voxel_size)
    for library, made in ((wk, dataset), (webknossos, theirs)):
        layer = made.add_layer("color", "color", data_format="zarr3")
        for mag in (1, 2):
            layer.add_mag(mag, **SHAPES)
        layer.bounding_box = library.BoundingBox((4, 0, 0), (30, 36, 20))
        found = [_shape_of(layer.get_mag(mag)) for mag in (1, 2)]
        layer.get_mag(1).write(voxels, absolute_offset=(60, 0, 0), allow_resize=True, allow_unaligned=True)
        shapes[library] = [*found, *(_shape_of(layer.get_mag(mag)) for mag in (1, 2))]
    assert shapes[wk] == shapes[webknossos] == [[1, 48, 48, 32], [1, 32, 32, 16], [1, 80, 48, 32], [1, 48, 32, 16]]
    layer = dataset.get_layer("color")
    box = webknossos.BoundingBox((40, 0, 0), (40, 36, 20))
    written = webknossos.Dataset.open(dataset.path).get_layer("color").get_mag(2)
    written.write(voxels, absolute_bounding_box=box, allow_unaligned=True)
    found = layer.get_mag(2).read(absolute_offset=(40, 0, 0), size=(40, 36, 20))
    np.testing.assert_array_equal(found[0], voxels)
    layer.bounding_box = wk.BoundingBox((0, 0, 0), (8, 8, 8))
    assert _shape_of(layer.get_mag(2)) == [1, 48, 32, 16]  # what lies outside of the box is not lost
    (layer.get_mag(2).path / "zarr.json").write_text("{")
    layer.bounding_box = wk.BoundingBox((0, 0, 0), (99, 8, 8))  # the damage is named when the mag is used
    assert _shape_of(layer.get_mag(1)) == [1, 112, 48, 32]


def test_arrays_of_others_stay_as_they_are(mag_view, dataset, labels):
    other = wk.Dataset(dataset.path.parent / "other", voxel_size=(1, 1, 1))
    layer = other.add_layer_as_ref(mag_view.layer)
    layer.bounding_box = wk.BoundingBox((0, 0, 0), (100, 100, 100))
    assert _shape_of(mag_view) == [1, 48, 32, 32]


def _shape_of(mag_view):
    return json.loads((mag_view.path / "zarr.json").read_text())["shape"]


def test_mags_that_are_opened_alone(mag_view, labels):
    alone = wk.open_mag(mag_view.path)
    assert (alone.data_format, alone.bounding_box.topleft) == ("zarr3", (0, 0, 0))
    np.testing.assert_array_equal(read(alone, absolute_offset=(0, 0, 0), size=BOX.size)[0], labels)
    with pytest.raises(UnsupportedError, match="no header as mags of WKW have"):
        _ = alone.header


def test_a_second_rewrite_does_nothing(dataset, random):
    """Also of an array of another program, with channels in chunks of their own: new chunks have all of them."""
    voxels = random.integers(1, 255, (5, 16, 16, 16)).astype("uint8")
    path = dataset.path / "a" / "1"
    for chunk, rewrite in (
        (8, lambda mag_view: mag_view.compress(codec="lz4")),
        (4, lambda mag_view: mag_view.rechunk(chunk_shape=4, shard_shape=16, compress="lz4")),
    ):
        zarr.create_array(store=str(path), data=voxels, chunks=(1, 8, 8, 8), dimension_names="cxyz")
        mag_view = dataset.add_layer_for_existing_files("a", "color").get_mag(1)
        rewrite(mag_view)
        assert dict(mag_view.info.codecs[0].parameters)["blocksize"] == 5 * chunk**3
        files = {file: file.stat().st_ino for file in path.rglob("*")}
        rewrite(mag_view)
        assert {file: file.stat().st_ino for file in path.rglob("*")} == files
        np.testing.assert_array_equal(read(mag_view), voxels)
        dataset.delete_layer("a")
