"""Boxes that are large enough to be streamed past the caches of a CPU, and raw chunks that are cut into pieces.

A simulated device gets boxes whose edges are a fraction of these.
"""

import numpy as np
import pytest
from arrays import is_simulated, read_box, read_boxes, write_box
from strategies import voxels

from wkgpu.engines.cpu import reader as cpu_reader
from wkgpu.operations import transfer
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

LARGE = 4 << 20


@pytest.fixture
def scale(engine):
    """Divides lengths for the engine."""
    divisor = 4 if is_simulated(engine) else 1
    return lambda *lengths: lengths[0] // divisor if len(lengths) == 1 else tuple(n // divisor for n in lengths)


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture
def stored(tmp_path_factory, made, scale, cpu):
    """A mag of each codec and voxel size, with 256 x 160 x 160 voxels, of which the volume is the second item."""
    from wkgpu.storage.formats import create_array

    def make(codec, dtype, channels, chunk):
        key = codec, dtype, channels, scale(chunk)
        if key not in made:
            spec = ArraySpec(np.dtype(dtype), channels, (scale(chunk),) * 3, (128 // chunk,) * 3, pipeline_of(codec))
            array = create_array(tmp_path_factory.mktemp("streaming") / "mag", spec)
            volume = voxels(spec, scale(256, 160, 160), 3)
            transfer.write_box(array, cpu, (0, 0, 0), volume)
            made[key] = array, volume
        return made[key]

    return make


def test_the_limit_is_what_these_tests_exceed():
    assert cpu_reader._STREAMED_BYTES <= LARGE


@pytest.mark.parametrize(
    ("codec", "dtype", "channels", "chunk", "topleft"),
    [
        ("lz4", "uint8", 1, 32, (0, 0, 0)),
        ("lz4", "uint8", 1, 32, (33, 31, 7)),
        ("raw", "uint8", 1, 32, (32, 0, 0)),
        ("raw", "uint8", 1, 32, (1, 2, 3)),
        ("lz4", "uint16", 1, 16, (0, 0, 0)),
        ("lz4", "uint16", 1, 16, (1, 2, 3)),
        ("lz4", "uint8", 3, 32, (32, 0, 0)),
        ("lz4", "uint8", 3, 32, (33, 31, 7)),
    ],
)
def test_large_boxes(stored, engine, scale, codec, dtype, channels, chunk, topleft):
    array, volume = stored(codec, dtype, channels, chunk)
    x, y, z = topleft
    for width in (256 - x, 192, 221):
        assert width * 160 * 160 * array.spec.voxel_bytes >= LARGE
        shape = scale(width, 160, 160)
        expected = np.zeros((channels, *shape), dtype)
        part = volume[:, x : x + shape[0], y:, z:]
        expected[:, : part.shape[1], : part.shape[2], : part.shape[3]] = part
        np.testing.assert_array_equal(read_box(array, engine, topleft, shape), expected)


@pytest.mark.parametrize("shift", [0, 1, 8, 31, 32, 33, 63, 64])
@pytest.mark.parametrize("room", [0, 1, 32])
def test_outputs_at_any_address(stored, engine, scale, shift, room):
    """The address, and the way from one y to the next, decide how wide the words are that can be stored."""
    if is_simulated(engine) and shift not in (0, 33):
        pytest.skip("the caches are those of a CPU")
    array, volume = stored("lz4", "uint8", 1, 32)
    x, y, z = scale(200, 150, 160)
    lines = (1, x + room, y, z)
    block = np.full(int(np.prod(lines)) + 128, 7, np.uint8)
    begin = -block.ctypes.data % 64 + shift
    parent = block[begin : begin + int(np.prod(lines))].reshape(lines, order="F")
    read_box(array, engine, (3, 2, 0), (x, y, z), out=parent[:, :x])
    np.testing.assert_array_equal(parent[:, :x], volume[:, 3 : 3 + x, 2 : 2 + y])
    parent[:, :x] = 7
    assert (block == 7).all()


@pytest.mark.parametrize("codec", ["raw", "lz4"])
@pytest.mark.parametrize("threads", [1, 5])
def test_runs_along_x_through_many_files(make_array, engine, scale, config, codec, threads):
    """One chunk a file, as in volume annotations, and some are absent: runs begin and end anywhere."""
    edge = scale(32)
    array = make_array(ArraySpec(np.dtype("uint32"), 1, (edge,) * 3, (1, 1, 1), pipeline_of(codec)))
    volume = np.zeros((1, 12 * edge, 10 * edge, edge), np.uint32, order="F")
    chunks = np.random.default_rng(0).permutation(120)[:94]
    config.threads = threads
    for number, chunk in enumerate(chunks.tolist()):
        x, y = edge * (chunk // 10), edge * (chunk % 10)
        part = volume[:, x : x + edge, y : y + edge]
        part[...] = voxels(array.spec, (edge,) * 3, 1 + number)
        write_box(array, engine, (x, y, 0), part)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), volume.shape[1:]), volume)
    (x, y, z), shape = scale(65, 37, 3), scale(212, 159, 24)
    part = volume[:, x : x + shape[0], y : y + shape[1], z : z + shape[2]]
    np.testing.assert_array_equal(read_box(array, engine, (x, y, z), shape), part)


def test_many_boxes_that_are_large_together(stored, engine, scale, random):
    array, volume = stored("lz4", "uint16", 1, 16)
    assert LARGE <= 30 * 64 * 33 * 40 * 2
    shape = scale(64, 33, 40)
    corners = random.integers(0, np.subtract(volume.shape[1:], shape), (30, 3))
    for (x, y, z), box in zip(corners, read_boxes(array, engine, corners, shape), strict=True):
        part = volume[:, x : x + shape[0], y : y + shape[1], z : z + shape[2]]
        np.testing.assert_array_equal(box, part)


@pytest.mark.parametrize("staging", [1, 100, 4096, 50_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_raw_chunks_in_pieces(make_array, engine, scale, naive, config, staging, threads):
    config.staging_bytes, config.threads = staging, threads
    edge = scale(32)
    array = make_array(ArraySpec(np.dtype("uint16"), 1, (edge,) * 3, (2, 2, 2), pipeline_of("raw")))
    volume = voxels(array.spec, scale(70, 40, 50), 1)
    write_box(array, engine, (0, 0, 0), volume)
    (x, y, z), shape = scale(30, 5, 20), scale(7, 33, 9)
    change = voxels(array.spec, shape, 2)
    write_box(array, engine, (x, y, z), change)
    volume[:, x : x + shape[0], y : y + shape[1], z : z + shape[2]] = change
    np.testing.assert_array_equal(transfer.read_box(array, naive, (0, 0, 0), volume.shape[1:]), volume)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), volume.shape[1:]), volume)
    (x, y, z), shape = scale(29, 4, 19), scale(9, 35, 11)
    part = volume[:, x : x + shape[0], y : y + shape[1], z : z + shape[2]]
    np.testing.assert_array_equal(read_box(array, engine, (x, y, z), shape), part)


def test_a_shard_of_one_huge_raw_chunk(make_array, engine):
    """A box of it is fetched in pieces, and the file is sparse: nothing of 64 GiB is held."""
    array = make_array(ArraySpec(np.dtype("uint8"), 1, (4096,) * 3, (1, 1, 1), pipeline_of("raw")))
    data = voxels(array.spec, (20, 3, 4), 1)
    write_box(array, engine, (1000, 2000, 3000), data)
    found = read_box(array, engine, (999, 1999, 2999), (22, 5, 6))
    np.testing.assert_array_equal(found[:, 1:-1, 1:-1, 1:-1], data)
    assert np.count_nonzero(found) == np.count_nonzero(data)


def test_chunks_larger_than_the_staging_buffer(make_array, engine, scale, config):
    config.staging_bytes = 10
    array = make_array(ArraySpec(np.dtype("uint8"), 1, (scale(32),) * 3, (2, 2, 2), pipeline_of("lz4")))
    volume = voxels(array.spec, scale(64, 64, 64), 1)
    write_box(array, engine, (0, 0, 0), volume)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), volume.shape[1:]), volume)
