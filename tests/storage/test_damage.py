"""Damaged files: an error that names the file and the chunk, or voxels of the right shape; never a crash."""

import os
import re
import struct
from contextlib import contextmanager

import lz4.block
import numpy as np
import pytest
from arrays import given_on_engine, is_simulated, read_box, write_box
from hypothesis import strategies as st
from strategies import voxels

from wkgpu.errors import ChunkError, FormatError, HeaderError, ShardIndexError, WkgpuError
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.formats import open_array
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.wkw.header import WkwHeader

SHAPE = (8, 8, 8)
TABLE_END = 16 + 8 * 8


def layout_of(codec):
    return ArraySpec(np.dtype("uint16"), 1, (4, 4, 4), (2, 2, 2), pipeline_of(codec))


@pytest.fixture(params=["raw", "lz4", "lz4hc"])
def codec(request):
    return request.param


@pytest.fixture
def array(make_array, naive, codec):
    """A mag with one whole shard of eight chunks."""
    array = make_array(layout_of(codec))
    write_box(array, naive, (0, 0, 0), voxels(array.spec, SHAPE, 3))
    return array


@pytest.fixture
def shard(array):
    return array.path / "z0" / "y0" / "x0.wkw"


lz4_only = pytest.mark.parametrize("codec", ["lz4"], indirect=True)
raw_only = pytest.mark.parametrize("codec", ["raw"], indirect=True)


def patch(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def entry(path, chunk):
    """The end of a chunk, as the jump table of a shard says it."""
    return struct.unpack_from("<Q", path.read_bytes(), 16 + 8 * chunk)[0]


def patch_entries(path, entries):
    patch(path, 16, np.array(entries, np.uint64).astype("<u8").tobytes())


def refused(array, engine, error, message):
    """Neither a read nor a write accepts the shard; the error names it."""
    path = re.escape(array.shard_path((0, 0, 0)))
    before = {file: file.read_bytes() for file in array.path.rglob("*") if file.is_file()}
    with pytest.raises(error, match=f"{path}.*{message}"):
        read_box(array, engine, (0, 0, 0), SHAPE)
    with pytest.raises(error, match=f"{path}.*{message}"):
        write_box(array, engine, (1, 1, 1), voxels(array.spec, (6, 6, 6), 1))
    assert {file: file.read_bytes() for file in array.path.rglob("*") if file.is_file()} == before
    return True


# ---- Headers


@pytest.mark.parametrize(
    ("at", "byte", "message"),
    [
        (0, 0x58, "begins with"),
        (3, 2, "version 2"),
        (4, 0x13, "block_len = 8"),
        (4, 0x22, "file_len = 4"),
        (5, 9, "block type 9"),
        (6, 77, "voxel type 77"),
        (6, 8, "voxel_type = int16"),
        (7, 4, "num_channels = 2"),
        (7, 3, "voxel of 3 bytes"),
    ],
)
def test_bad_header(array, cpu, shard, at, byte, message):
    patch(shard, at, bytes([byte]))
    assert refused(array, cpu, HeaderError, message)


@pytest.mark.parametrize(
    ("codec", "other", "message"),
    [("raw", 2, "data offset 16"), ("raw", 3, "data offset 16"), ("lz4", 1, "raw"), ("lz4hc", 1, "raw")],
    indirect=["codec"],
)
def test_block_type_that_is_not_that_of_the_chunks(array, cpu, shard, other, message):
    patch(shard, 5, bytes([other]))
    os.truncate(shard, 5000)  # room for whatever it says that it holds
    assert refused(array, cpu, ShardIndexError, message)


@pytest.mark.parametrize("length", [0, 1, 15])
def test_truncated_header(array, cpu, shard, length):
    os.truncate(shard, length)
    assert refused(array, cpu, HeaderError, f"truncated.*only {length}")


@pytest.mark.parametrize("offset", [0, 15, TABLE_END - 1, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_bad_data_offset(array, cpu, codec, shard, offset):
    if codec == "raw" and offset == TABLE_END - 1:
        offset = 17  # then the file is one byte too short
    patch(shard, 8, struct.pack("<Q", offset))
    assert refused(array, cpu, ShardIndexError, str(offset) if offset < 1 << 63 else "")


# ---- Jump tables


@lz4_only
@pytest.mark.parametrize("length", [16, 17, TABLE_END - 1])
def test_truncated_jump_table(array, cpu, shard, length):
    os.truncate(shard, length)
    assert refused(array, cpu, ShardIndexError, f"truncated in its jump table.*{TABLE_END} bytes.*{length}")


@lz4_only
@pytest.mark.parametrize("chunk", [0, 3, 7])
def test_jump_table_that_stands_still(array, cpu, shard, chunk):
    ends = [entry(shard, number) for number in range(8)]
    ends[chunk] = ends[chunk - 1] if chunk else TABLE_END
    patch_entries(shard, ends)
    assert refused(array, cpu, ShardIndexError, f"chunk {chunk}")


@lz4_only
def test_jump_table_that_decreases(array, cpu, shard):
    ends = [entry(shard, number) for number in range(8)]
    ends[4] = ends[2]
    patch_entries(shard, ends)
    assert refused(array, cpu, ShardIndexError, f"chunk 4.*{ends[3]}.*{ends[2]}")


@lz4_only
def test_jump_table_that_points_outside_the_file(array, cpu, shard):
    end = entry(shard, 7)
    patch(shard, 16 + 7 * 8, struct.pack("<Q", end + 1))
    assert refused(array, cpu, ShardIndexError, f"outside the file.*chunk 7 would end at {end + 1}.*{end} bytes")


@lz4_only
@pytest.mark.parametrize(
    "ends",
    [
        [1 << 63, 1, 2, 3, 4, 5, 6, 7],
        [(1 << 63) - 1, 1 << 63, (1 << 64) - 4, (1 << 64) - 3, (1 << 64) - 2, (1 << 64) - 1, 90, 91],
        [(1 << 63) - 1, 1 << 63, (1 << 64) - 1, 81, 82, 83, 84, 85],
        [(1 << 64) - 1] * 8,
    ],
)
def test_jump_table_of_numbers_that_overflow(array, cpu, shard, ends):
    patch_entries(shard, ends)
    assert refused(array, cpu, ShardIndexError, "")


# ---- Chunks


@raw_only
def test_truncated_raw_shard(array, engine, shard):
    os.truncate(shard, 16 + 8 * 128 - 1)
    assert refused(array, engine, ShardIndexError, "truncated.*1040 bytes, the file has 1039")


@pytest.mark.parametrize("codec", ["lz4", "lz4hc"], indirect=True)
def test_truncated_chunk(array, engine, shard):
    length = entry(shard, 6) + 1
    os.truncate(shard, length)
    assert refused(array, engine, ShardIndexError, f"chunk 7.*{length} bytes")


def replace_chunk(shard, chunk, encoded):
    """Replace the bytes of a chunk, and correct the jump table."""
    data = shard.read_bytes()
    ends = np.array([TABLE_END, *(entry(shard, number) for number in range(8))])
    shard.write_bytes(data[: ends[chunk]] + encoded + data[ends[chunk + 1] :])
    ends[chunk + 1 :] += len(encoded) - (ends[chunk + 1] - ends[chunk])
    patch_entries(shard, ends[1:])


@lz4_only
@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (lz4.block.compress(bytes(127), store_size=False), "decodes to 127 bytes instead of 128"),
        (lz4.block.compress(b"", store_size=False), "decodes to 0 bytes instead of 128"),
        (lz4.block.compress(bytes(129), store_size=False), "LZ4 cannot decode it"),
        (lz4.block.compress(bytes(128), store_size=False)[:-1], "damaged"),
        (b"\xff" * 50, "LZ4 cannot decode it"),
        (b"\0" * 140, "damaged"),
    ],
)
def test_chunk_of_the_wrong_length(array, engine, shard, encoded, message):
    replace_chunk(shard, 5, encoded)
    if engine.name != "cpu" and not is_simulated(engine):
        message = "damaged"  # nvCOMP tells only some of these from each other
    # Chunk 5 lies at (4, 0, 4). A read names the first voxel of the chunk in the box, a write its number.
    assert refused(array, engine, ChunkError, rf"chunk (at voxel \(4, 0, 4\)|5) .*{message}")


@lz4_only
def test_a_jump_table_cannot_claim_more_memory_than_a_chunk_can_need(array, engine, shard):
    replace_chunk(shard, 5, b"\0" * 3000)
    assert refused(array, engine, ShardIndexError, "chunk 5 3000 bytes; of 128 bytes LZ4 makes at most 144")


@lz4_only
def test_other_chunks_can_still_be_read(array, engine, shard):
    replace_chunk(shard, 5, b"\xff" * 50)
    expected = voxels(array.spec, SHAPE, 3)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (8, 8, 4)), expected[:, :, :, :4])


@lz4_only
def test_a_damaged_chunk_can_be_covered(array, engine, shard):
    replace_chunk(shard, 5, b"\xff" * 50)
    data = voxels(array.spec, (4, 4, 4), 1)
    write_box(array, engine, (4, 0, 4), data)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), SHAPE)[:, 4:, :4, 4:], data)


@pytest.mark.parametrize("content", [b"", b"noise" * 100])
def test_a_damaged_shard_can_be_covered(array, engine, shard, content):
    shard.write_bytes(content)
    data = voxels(array.spec, SHAPE, 1)
    write_box(array, engine, (0, 0, 0), data)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), SHAPE), data)


@contextmanager
def only_errors_that_name(path):
    try:
        yield
    except WkgpuError as error:
        if str(path) not in str(error):
            raise AssertionError(f"This does not name {path}: {error}") from error


def any_damage(size):
    flips = st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, 255)), min_size=1, max_size=4)
    near_the_front = st.lists(st.tuples(st.integers(0, min(size, 90) - 1), st.integers(1, 255)), min_size=1, max_size=4)
    return st.tuples(flips | near_the_front | st.just([]), st.integers(0, size) | st.just(size))


@given_on_engine(st.data())
def test_any_flipped_bytes_and_truncation(make_array, naive, engine, codec, data):
    array = make_array(layout_of(codec))
    write_box(array, naive, (0, 0, 0), voxels(array.spec, SHAPE, 3))
    path = array.path / "z0" / "y0" / "x0.wkw"
    content = bytearray(path.read_bytes())
    flips, length = data.draw(any_damage(len(content)))
    for at, mask in flips:
        content[at] ^= mask
    path.write_bytes(content[:length])
    for attempt in (
        lambda: read_box(array, engine, (0, 0, 0), SHAPE).shape == (1, *SHAPE),
        lambda: read_box(array, engine, (3, 3, 3), (2, 2, 7)).shape == (1, 2, 2, 7),
        lambda: write_box(array, engine, (2, 2, 2), voxels(array.spec, (3, 3, 3), 1)) is None,
    ):
        with only_errors_that_name(path):
            assert attempt()


@given_on_engine(st.binary(max_size=400), st.booleans())
def test_any_bytes_in_the_place_of_chunks(make_array, engine, tail, valid_lengths):
    """The jump table is right and the chunks are noise: all of it reaches liblz4."""
    array = make_array(layout_of("lz4"))
    path = array.path / "z0" / "y0" / "x0.wkw"
    path.parent.mkdir(parents=True)
    tail = tail.ljust(8, b"\0")
    ends = TABLE_END + (np.arange(1, 9) * len(tail)) // 8
    path.write_bytes(array.header.in_shard().pack() + ends.astype("<u8").tobytes() + tail)
    for topleft, shape in (
        ((0, 0, 0), SHAPE),
        ((1, 1, 0), (5, 5, 2)),
    ):  # of the latter, decoding ends before the chunks
        with only_errors_that_name(path):
            assert read_box(array, engine, topleft, shape).shape == (1, *shape)


def test_chunks_too_large_for_lz4(tmp_path, engine):
    """A header that both files agree on, of chunks that no machine can hold."""
    header = WkwHeader(block_len=1 << 15, file_len=1, block_type=2, voxel_type_code=1, voxel_size=1)
    (tmp_path / "header.wkw").write_bytes(header.pack())
    shard = tmp_path / "z0" / "y0" / "x0.wkw"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(header.in_shard().pack() + struct.pack("<Q", 34) + b"\0" * 10)
    with pytest.raises(FormatError, match=str(tmp_path)):
        read_box(open_array(tmp_path), engine, (0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize("name", ["z99999999999999999999/y0/x0.wkw", "z0/y0/x144115188075855872.wkw"])
def test_shards_that_no_box_can_reach(array, shard, name):
    path = array.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(shard.read_bytes())
    with pytest.raises(FormatError, match=r"99999999999999999999|144115188075855872"):
        array.shard_boxes()
