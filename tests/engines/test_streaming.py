"""Outputs that are large enough to be streamed past the caches, and raw chunks that are cut into pieces."""

import numpy as np
import pytest
from strategies import voxels

from wkgpu.dataset.transfer import read_box, read_boxes, write_box
from wkgpu.engines import cpu as cpu_module
from wkgpu.storage.layout import ArrayLayout

LARGE = 4 << 20


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A mag of each codec and voxel size, with 256 x 160 x 160 voxels, of which the volume is the second item."""
    from wkgpu.engines import get_engine
    from wkgpu.storage.stored_array import create_array

    folder = tmp_path_factory.mktemp("streaming")
    made = {}

    def make(codec, dtype, channels, chunk):
        key = codec, dtype, channels, chunk
        if key not in made:
            layout = ArrayLayout(np.dtype(dtype), channels, (chunk,) * 3, (128 // chunk,) * 3, codec)
            array = create_array(folder / "-".join(map(str, key)), layout)
            volume = voxels(layout, (256, 160, 160), 3)
            write_box(array, get_engine("cpu"), (0, 0, 0), volume)
            made[key] = array, volume
        return made[key]

    return make


def test_the_limit_is_what_these_tests_exceed():
    assert cpu_module._STREAMED_BYTES <= LARGE


@pytest.mark.parametrize(
    ("codec", "dtype", "channels", "chunk"),
    [("lz4", "uint8", 1, 32), ("raw", "uint8", 1, 32), ("lz4", "uint16", 1, 16), ("lz4", "uint8", 3, 32)],
)
@pytest.mark.parametrize("topleft", [(0, 0, 0), (32, 0, 0), (1, 2, 3), (33, 31, 7)])
def test_large_boxes(stored, cpu, codec, dtype, channels, chunk, topleft):
    array, volume = stored(codec, dtype, channels, chunk)
    x, y, z = topleft
    for width in (256 - x, 192, 221):
        shape = (width, 160, 160)
        assert width * 160 * 160 * array.layout.voxel_bytes >= LARGE
        expected = np.zeros((channels, *shape), dtype)
        part = volume[:, x : x + width, y:, z:]
        expected[:, : part.shape[1], : part.shape[2], : part.shape[3]] = part
        np.testing.assert_array_equal(read_box(array, cpu, topleft, shape), expected)


@pytest.mark.parametrize("shift", [0, 1, 8, 31, 32, 33, 63, 64])
@pytest.mark.parametrize("room", [0, 1, 32])
def test_outputs_at_any_address(stored, cpu, shift, room):
    """The address, and the way from one y to the next, decide whether whole cache lines can be stored."""
    array, volume = stored("lz4", "uint8", 1, 32)
    shape = (200, 150, 160)
    lines = (1, 200 + room, 150, 160)
    block = np.full(int(np.prod(lines)) + 128, 7, np.uint8)
    begin = -block.ctypes.data % 64 + shift
    parent = block[begin : begin + int(np.prod(lines))].reshape(lines, order="F")
    read_box(array, cpu, (3, 4, 0), shape, out=parent[:, :200])
    np.testing.assert_array_equal(parent[:, :200], volume[:, 3:203, 4:154])
    parent[:, :200] = 7
    assert (block == 7).all()


@pytest.mark.parametrize("codec", ["raw", "lz4"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_runs_along_x_through_many_files(make_array, cpu, config, codec, threads):
    """One chunk a file, as in volume annotations, and some are absent: runs begin and end anywhere."""
    array = make_array(ArrayLayout(np.dtype("uint32"), 1, (32, 32, 32), (1, 1, 1), codec))
    volume = np.zeros((1, 384, 320, 32), np.uint32, order="F")
    chunks = np.random.default_rng(0).permutation(120)[:94]
    config.threads = threads
    for number, chunk in enumerate(chunks.tolist()):
        x, y = 32 * (chunk // 10), 32 * (chunk % 10)
        volume[:, x : x + 32, y : y + 32] = voxels(array.layout, (32, 32, 32), 1 + number)
        write_box(array, cpu, (x, y, 0), volume[:, x : x + 32, y : y + 32])
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), (384, 320, 32)), volume)
    np.testing.assert_array_equal(read_box(array, cpu, (65, 37, 3), (212, 159, 24)), volume[:, 65:277, 37:196, 3:27])


def test_many_boxes_that_are_large_together(stored, cpu, random):
    array, volume = stored("lz4", "uint16", 1, 16)
    corners = random.integers(0, (256 - 64, 160 - 33, 160 - 40), (30, 3))
    shape = (64, 33, 40)
    assert 30 * np.prod(shape) * 2 >= LARGE
    for corner, box in zip(corners, read_boxes(array, cpu, corners, shape), strict=True):
        x, y, z = corner
        np.testing.assert_array_equal(box, volume[:, x : x + 64, y : y + 33, z : z + 40])


@pytest.mark.parametrize("staging", [1, 100, 4096, 50_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_raw_chunks_in_pieces(make_array, cpu, naive, config, staging, threads):
    config.staging_bytes, config.threads = staging, threads
    array = make_array(ArrayLayout(np.dtype("uint16"), 1, (32, 32, 32), (2, 2, 2), "raw"))
    volume = voxels(array.layout, (70, 40, 50), 1)
    write_box(array, cpu, (0, 0, 0), volume)
    change = voxels(array.layout, (7, 33, 9), 2)
    write_box(array, cpu, (30, 5, 20), change)
    volume[:, 30:37, 5:38, 20:29] = change
    for engine in (cpu, naive):
        np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (70, 40, 50)), volume)
        np.testing.assert_array_equal(read_box(array, engine, (29, 4, 19), (9, 35, 11)), volume[:, 29:38, 4:39, 19:30])


def test_a_shard_of_one_huge_raw_chunk(make_array, cpu):
    """A box of it is fetched in pieces, and the file is sparse: nothing of 64 GiB is held."""
    array = make_array(ArrayLayout(np.dtype("uint8"), 1, (4096,) * 3, (1, 1, 1), "raw"))
    data = voxels(array.layout, (20, 3, 4), 1)
    write_box(array, cpu, (1000, 2000, 3000), data)
    found = read_box(array, cpu, (999, 1999, 2999), (22, 5, 6))
    np.testing.assert_array_equal(found[:, 1:-1, 1:-1, 1:-1], data)
    assert np.count_nonzero(found) == np.count_nonzero(data)


def test_chunks_larger_than_the_staging_buffer(make_array, cpu, config):
    config.staging_bytes = 10
    array = make_array(ArrayLayout(np.dtype("uint8"), 1, (32, 32, 32), (2, 2, 2), "lz4"))
    volume = voxels(array.layout, (64, 64, 64), 1)
    write_box(array, cpu, (0, 0, 0), volume)
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), (64, 64, 64)), volume)
