"""The seam between formats and all else: a format that WKW resembles in nothing is read and written as WKW is."""

import numpy as np
import pytest
from arrays import given_on_engine, read_box, read_boxes, write_box
from hypothesis import strategies as st
from npy_array import FILL, NpyArray, npy_spec, registered
from reference import Volume
from strategies import voxels

from wkgpu.errors import ChunkError, UnsupportedError
from wkgpu.operations.transfer import boxes_are_equal
from wkgpu.storage import formats

END = (23, 17, 12)
DTYPES = ["uint8", ">u2", "<i4", "float32", ">f8", "uint64"]


@pytest.fixture(autouse=True)
def registered_format():
    with registered():
        yield


@pytest.fixture
def make_npy(tmp_path):
    """Makes an empty mag."""
    return lambda spec: formats.create_array(tmp_path / f"mag-{len(list(tmp_path.iterdir()))}", spec, "npy")


@st.composite
def boxes(draw):
    corner = tuple(draw(st.integers(0, end - 1)) for end in END)
    return corner, tuple(draw(st.integers(1, end + 4 - low)) for low, end in zip(corner, END, strict=True))


@st.composite
def histories(draw):
    """A spec, boxes to write one after another, and boxes to read."""
    chunk = draw(st.tuples(*[st.integers(1, 9)] * 3))
    spec = npy_spec(draw(st.sampled_from(DTYPES)), draw(st.integers(1, 3)), chunk)
    return spec, draw(st.lists(boxes(), min_size=1, max_size=3)), draw(st.lists(boxes(), min_size=1, max_size=3))


def written(array, engine, history):
    volume = Volume(array.spec, [end + 40 for end in END], FILL)
    for seed, (topleft, shape) in enumerate(history):
        data = voxels(array.spec, shape, seed).astype(array.spec.memory_dtype)
        volume.write(topleft, data)
        write_box(array, engine, topleft, data)
    return volume


@given_on_engine(histories(), st.sampled_from([1 << 20, 50]), examples=60, simulated=25)
def test_any_writes_and_reads(make_npy, engine, config, history, staging):
    config.staging_bytes = staging
    spec, writes, reads = history
    array = make_npy(spec)
    volume = written(array, engine, writes)
    for topleft, shape in reads:
        found = read_box(array, engine, topleft, shape)
        assert found.dtype == spec.memory_dtype
        np.testing.assert_array_equal(found, volume.read(topleft, shape))
    _, shape = reads[0]
    found = read_boxes(array, engine, [corner for corner, _ in reads + writes], shape)
    for (corner, _), box in zip(reads + writes, found, strict=True):
        np.testing.assert_array_equal(box, volume.read(corner, shape))


@given_on_engine(histories(), examples=30, simulated=10)
def test_files_are_what_numpy_loads(make_npy, engine, history):
    spec, writes, _ = history
    array = make_npy(spec)
    volume = written(array, engine, writes)
    shards = array.existing_shards()
    assert shards
    for shard in shards:
        chunk = np.load(array.shard_path(shard))
        assert (chunk.dtype, chunk.flags.c_contiguous) == (spec.dtype, True)
        corner = tuple(number * length for number, length in zip(shard, spec.chunk_shape, strict=True))
        np.testing.assert_array_equal(chunk, volume.read(corner, spec.chunk_shape))


def test_outputs_of_any_order(make_npy, engine):
    array = make_npy(npy_spec("uint16", 2, (5, 3, 4)))
    volume = written(array, engine, [((1, 2, 3), (12, 9, 7))])
    expected = volume.read((0, 0, 0), (16, 12, 11))
    for order in "FC":
        out = np.zeros((2, 16, 12, 11), np.uint16, order=order)
        np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (16, 12, 11), out=out), expected)


def test_what_is_stored_nowhere(make_npy, engine):
    array = make_npy(npy_spec("float32", 1, (4, 4, 4)))
    assert (read_box(array, engine, (3, 3, 3), (5, 6, 7)) == FILL).all()


@pytest.mark.computes
def test_comparison(make_npy, engine):
    one, other = (make_npy(npy_spec("uint8", 1, (4, 5, 6))) for _ in range(2))
    for array in (one, other):
        write_box(array, engine, (2, 2, 2), np.full((1, 9, 9, 9), 3, np.uint8))
    assert boxes_are_equal(one, other, engine, ((0, 0, 0), (0, 0, 0)), (20, 20, 20))
    write_box(other, engine, (15, 15, 15), np.full((1, 1, 1, 1), FILL, np.uint8))
    assert boxes_are_equal(one, other, engine, ((0, 0, 0), (0, 0, 0)), (20, 20, 20))
    write_box(other, engine, (15, 15, 15), np.full((1, 1, 1, 1), 1, np.uint8))
    assert not boxes_are_equal(one, other, engine, ((0, 0, 0), (0, 0, 0)), (20, 20, 20))


def test_a_file_that_is_too_short(make_npy, engine):
    array = make_npy(npy_spec("uint16", 1, (4, 4, 4)))
    write_box(array, engine, (0, 0, 0), np.ones((1, 4, 4, 4), np.uint16))
    path = array.shard_path((0, 0, 0))
    with open(path, "r+b") as file:
        file.truncate(150)
    with pytest.raises(ChunkError, match=r"0\.0\.0\.npy: .*truncated"):
        read_box(array, engine, (0, 0, 0), (4, 4, 4))


def test_the_registry(make_npy, tmp_path):
    array = make_npy(npy_spec("uint8", 1, (4, 4, 4)))
    found = formats.open_array(array.path)
    assert type(found) is NpyArray
    assert found.spec == array.spec
    assert (formats.is_supported("npy"), formats.titles()) == (True, "WKW, Zarr 3, .npy")
    with pytest.raises(UnsupportedError, match="use 'wkw' or 'zarr3' or 'npy'"):
        formats.create_array(tmp_path / "other", array.spec, "n5")


def test_a_chunk_that_is_all_fill_value_has_no_file(make_npy, engine):
    array = make_npy(npy_spec("uint8", 1, (4, 4, 4)))
    write_box(array, engine, (0, 0, 0), np.full((1, 8, 4, 4), 3, np.uint8))
    write_box(array, engine, (0, 0, 0), np.full((1, 4, 4, 5), FILL, np.uint8))
    if engine.name == "cpu":  # a GPU drops only chunks that are encoded
        assert array.existing_shards() == [(1, 0, 0)]
    assert (read_box(array, engine, (0, 0, 0), (4, 4, 8)) == FILL).all()
