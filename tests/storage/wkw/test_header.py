import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import VOXEL_TYPES

from wkgpu.errors import HeaderError, ShapeError, UnsupportedError
from wkgpu.storage.codecs import Codec, lz4_bound, pipeline_of
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.wkw.header import WkwHeader

lengths = st.integers(0, 15).map(lambda exponent: 1 << exponent)


@st.composite
def headers(draw):
    code = draw(st.integers(1, 10))
    itemsize = np.dtype(VOXEL_TYPES[code - 1]).itemsize
    channels = draw(st.integers(1, 255 // itemsize))
    data_offset = draw(st.integers(0, 2**64 - 1))
    return WkwHeader(draw(lengths), draw(lengths), draw(st.integers(1, 3)), code, itemsize * channels, data_offset)


def header_bytes(**changes):
    return dataclasses.replace(WkwHeader(32, 16, 2, 3, 8), **changes).pack()


@given(headers())
def test_parse_is_the_inverse_of_pack(header):
    # LZ4 takes at most 2,113,929,216 bytes: a header of larger compressed chunks may be refused
    too_large = header.is_compressed and (header.spec.chunk_bytes > 0x7E000000 or header.file_len > 512)
    too_large |= header.file_len**3 * header.spec.chunk_bytes >= 1 << 62
    try:
        assert WkwHeader.parse(header.pack()) == header
    except HeaderError:
        assert too_large


def test_bytes_of_a_header():
    header = WkwHeader(block_len=32, file_len=16, block_type=2, voxel_type_code=3, voxel_size=8, data_offset=258)
    assert header.pack() == b"WKW\x01\x45\x02\x03\x08\x02\x01\0\0\0\0\0\0"
    assert header.voxel_type == np.uint32
    assert header.num_channels == 2
    assert header.is_compressed


@pytest.mark.parametrize(("code", "name"), list(enumerate(VOXEL_TYPES, start=1)))
def test_voxel_types(code, name):
    spec = ArraySpec(np.dtype(name), 3, (8, 8, 8), (2, 2, 2), pipeline_of("raw"))
    header = WkwHeader.for_spec(spec)
    assert header.voxel_type_code == code
    assert header.voxel_size == 3 * spec.dtype.itemsize
    assert WkwHeader.parse(header.pack()).spec == spec


@given(lengths, lengths, st.sampled_from(["raw", "lz4", "lz4hc"]))
def test_layouts_survive(block_len, file_len, codec):
    spec = ArraySpec(np.dtype("uint8"), 1, (block_len,) * 3, (file_len,) * 3, pipeline_of(codec))
    if codec != "raw" and block_len > 1024:
        with pytest.raises(ShapeError, match="LZ4 takes at most"):
            WkwHeader.for_spec(spec)
        return
    if (file_len > 512 and codec != "raw") or block_len * file_len >= 1 << 21:
        with pytest.raises(ShapeError, match=r"shard_shape=.* are the most") as caught:
            WkwHeader.for_spec(spec)
        (file_len,) = map(int, re.findall(r"chunks_per_shard=(\d+)", str(caught.value)))
        assert f"shard_shape={block_len * file_len} " in str(caught.value)
        spec = dataclasses.replace(spec, chunks_per_shard=(file_len,) * 3)
    assert WkwHeader.parse(WkwHeader.for_spec(spec).pack()).spec == spec


@pytest.mark.parametrize("length", range(16))
def test_truncated(length):
    with pytest.raises(HeaderError, match=rf"a/header\.wkw: truncated.*16 bytes.*only {length}"):
        WkwHeader.parse(header_bytes()[:length], "a/header.wkw")


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, 0x77, r"begins with b'wKW'"),
        (2, 0x78, r"begins with b'WKx'"),
        (3, 0, r"version 0 is unknown"),
        (3, 2, r"version 2 is unknown"),
        (5, 0, r"block type 0 is unknown"),
        (5, 4, r"block type 4 is unknown"),
        (6, 0, r"voxel type 0 is unknown"),
        (6, 11, r"voxel type 11 is unknown"),
        (7, 0, r"voxel of 0 bytes"),
        (7, 6, r"voxel of 6 bytes cannot hold whole channels of uint32"),
    ],
)
def test_bad_field(at, value, message):
    data = bytearray(header_bytes())
    data[at] = value
    with pytest.raises(HeaderError, match=re.escape("a/x0.wkw: ") + ".*" + message):
        WkwHeader.parse(bytes(data), Path("a/x0.wkw"))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"block_len": 16}, "block_len"),
        ({"file_len": 32}, "file_len"),
        ({"voxel_type_code": 5}, "voxel_type"),
        ({"voxel_size": 4}, "num_channels"),
    ],
)
def test_shard_that_contradicts_its_mag(changes, name):
    mag = WkwHeader.parse(header_bytes())
    with pytest.raises(HeaderError, match=rf"x0\.wkw: .*{name} = .*, but header\.wkw"):
        mag.check_shard(dataclasses.replace(mag, **changes), Path("x0.wkw"))


def test_lz4_and_lz4hc_go_together():
    mag = WkwHeader.parse(header_bytes(block_type=2))
    mag.check_shard(dataclasses.replace(mag, block_type=3), Path("x0.wkw"))


@pytest.mark.parametrize(
    ("channels", "dtype", "chunk", "per_shard"),
    [
        (1, "uint8", (32, 32, 16), (1, 1, 1)),
        (1, "uint8", (24, 24, 24), (1, 1, 1)),
        (1, "uint8", (1, 1, 1), (3, 3, 3)),
        (1, "uint8", (1 << 16,) * 3, (1, 1, 1)),
        (1, "uint8", (1, 1, 1), (1 << 16,) * 3),
        (32, "uint64", (1, 1, 1), (1, 1, 1)),
        (256, "uint8", (1, 1, 1), (1, 1, 1)),
    ],
)
def test_layouts_that_wkw_cannot_store(channels, dtype, chunk, per_shard):
    with pytest.raises(ShapeError):
        WkwHeader.for_spec(ArraySpec(np.dtype(dtype), channels, chunk, per_shard, pipeline_of("raw")))


def test_codec_that_wkw_cannot_store():
    with pytest.raises(UnsupportedError, match=r"'zstd'.*'raw', 'lz4', 'lz4hc'"):
        WkwHeader.for_spec(ArraySpec(np.dtype("uint8"), 1, (8, 8, 8), (2, 2, 2), (Codec("zstd", lz4_bound),)))


@pytest.mark.parametrize(
    ("dtype", "facts", "message"),
    [
        ("bool", {}, "dtype: bool; it takes one of .*'uint8'"),
        ("float16", {}, "dtype: float16"),
        (">u2", {}, "byte order: big-endian"),
        ("uint8", {"fill_value": 7}, "fill_value: 7; it takes 0"),
        ("float32", {"fill_value": -0.0}, "fill_value: -0.0"),
        ("uint8", {"axis_order": (2, 1, 0)}, r"axis_order: \(2, 1, 0\); it takes \(0, 1, 2\)"),
        ("uint8", {"num_channels": 3, "channel_position": 3}, "order of channels: apart"),
    ],
)
def test_facts_that_wkw_cannot_store(dtype, facts, message):
    spec = ArraySpec(np.dtype(dtype), 1, (8, 8, 8), (2, 2, 2), ())
    with pytest.raises(UnsupportedError, match=f"WKW cannot store this {message}"):
        WkwHeader.for_spec(dataclasses.replace(spec, **facts))


@pytest.mark.parametrize(("block_type", "data_offset"), [(1, 16), (2, 16 + 8 * 4096), (3, 16 + 8 * 4096)])
def test_data_of_a_new_shard_follow_its_header_and_jump_table(block_type, data_offset):
    assert WkwHeader(32, 16, block_type, 3, 8).in_shard().data_offset == data_offset
