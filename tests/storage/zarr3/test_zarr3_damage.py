"""Damaged Zarr 3 arrays: an error that names file and chunk, and never a crash or memory out of bounds."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import zarr
from arrays import given_on_engine, read_box, write_box
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr_arrays import PLAIN, ZarrCase, of_zarr

from wkgpu.engines import get_engine
from wkgpu.errors import (
    ChunkError,
    HeaderError,
    ShardIndexError,
    UnsupportedError,
    WkgpuError,
)
from wkgpu.storage import formats


@given_on_engine(st.integers(0, 1 << 30), examples=60, simulated=20)
def test_damaged_chunks_name_the_file(make, engine, seed):
    """What a checksum vouches for is right or an error, and never a crash."""
    case = replace(PLAIN, compressors=(ZstdCodec(level=5, checksum=True), Crc32cCodec()), index=("start", False))
    array, path = full(make, case)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    at = int(rng.integers(128, len(data)))
    data[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    with pytest.raises(ChunkError, match="c/0/0/0/0: "):
        read_box(array, engine, (0, 0, 0), (16, 16, 16))


def full(make, case=PLAIN):
    array = make(case)
    write_box(array, get_engine("cpu"), (0, 0, 0), np.arange(40 * 30 * 20, dtype=np.uint16).reshape(1, 40, 30, 20))
    return array, array.path / "c/0/0/0/0"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:100], "truncated; the index of 8 chunks needs 132 bytes, the file has 100"),
        (lambda data: data[:-1] + b"\x00", "checksum"),
        (lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], "checksum"),
        (lambda data: data[512:], "chunk 7 1024 bytes at offset 7168"),
    ],
)
def test_a_damaged_index_names_the_file(make, engine, damage, message):
    array, path = full(make)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ShardIndexError, match=rf"c/0/0/0/0: .*{message}"):
        read_box(array, engine, (0, 0, 0), (8, 8, 8))
    write_box(array, engine, (0, 0, 0), np.ones((1, 16, 16, 16), np.uint16))  # which is whole again
    assert (read_box(array, engine, (0, 0, 0), (8, 8, 8)) == 1).all()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ((0, (1 << 64) - 1), "chunk 0"),
        (((1 << 64) - 1, 5), "chunk 0"),
        ((1 << 63, 1024), "chunk 0 1024 bytes at offset 9223372036854775808"),
        ((0, 1023), "chunk 0 1023 bytes; a chunk of 1024 bytes, stored as raw, has as many"),
        ((0, 0), "chunk 0 0 bytes"),
    ],
)
def test_entries_that_cannot_be(make, engine, entry, message):
    case = replace(PLAIN, index=("start", False))
    array = make(case)
    write_box(array, engine, (0, 0, 0), np.ones((1, 16, 16, 16), np.uint16))
    path = array.path / "c/0/0/0/0"
    path.write_bytes(np.array(entry, "<u8").tobytes() + path.read_bytes()[16:])
    with pytest.raises(ShardIndexError, match=f"c/0/0/0/0: .*{message}"):
        read_box(array, engine, (0, 0, 0), (8, 8, 8))


def test_chunks_that_overlap_and_lie_in_any_order(make, engine):
    """Two chunks may share their bytes; a partial write gives each its own."""
    case = replace(PLAIN, index=("start", False))
    array = make(case)
    write_box(array, engine, (0, 0, 0), np.repeat(np.arange(16, dtype=np.uint16), 256).reshape(1, 16, 16, 16))
    path = array.path / "c/0/0/0/0"
    data = bytearray(path.read_bytes())
    table = np.frombuffer(data, "<u8", 16).reshape(8, 2)
    table[1], table[2:4] = table[0], table[[3, 2]]
    want = read_box(array, engine, (0, 0, 0), (16, 16, 16)).copy()
    path.write_bytes(bytes(data))
    want[:, :8, :8, 8:] = want[:, :8, :8, :8]
    want[:, :8, 8:] = np.roll(want[:, :8, 8:], 8, axis=3)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (16, 16, 16)), want)
    write_box(array, engine, (8, 8, 8), np.full((1, 1, 1, 1), 9, np.uint16))
    want[:, 8, 8, 8] = 9
    np.testing.assert_array_equal(of_zarr(array, case)[:, :16, :16, :16], want)


def test_a_chunk_file_of_a_wrong_length(make, engine):
    case = ZarrCase("zyx", (20, 20, 20), (8, 8, 8), None, "uint16", 0, (0, 1, 2), "little", {"name": "v2"})
    array = make(case)
    write_box(array, engine, (0, 0, 0), np.ones((1, 20, 20, 20), np.uint16))
    for nbytes in (0, 1000, 1030):
        (array.path / "0.1.2").write_bytes(bytes(nbytes))
        with pytest.raises(ShardIndexError, match=rf"0\.1\.2: .*{nbytes} bytes"):
            read_box(array, engine, (0, 0, 0), (20, 20, 20))


def regular(*lengths):
    return {"name": "regular", "configuration": {"chunk_shape": lengths}}


def without_inner_codecs(said):
    del said["codecs"][0]["configuration"]["codecs"]
    return said


METADATA = {
    "not JSON": (lambda said: "{", HeaderError, "is no JSON"),
    "of Zarr 2": (lambda said: said | {"zarr_format": 2}, HeaderError, "no metadata of Zarr 3"),
    "a group": (lambda said: {"zarr_format": 3, "node_type": "group"}, UnsupportedError, "Zarr group"),
    "no shape": (lambda said: {k: v for k, v in said.items() if k != "shape"}, HeaderError, "shape"),
    "an unknown dtype": (lambda said: said | {"data_type": "r8"}, HeaderError, "r8"),
    "complex numbers of 16 bytes": (
        lambda said: said | {"data_type": "complex128", "fill_value": [0, 0]}, WkgpuError, "complex128",
    ),
    "an irregular grid": (
        lambda said: said | {"chunk_grid": {"name": "rectilinear", "configuration": {}}}, WkgpuError, "rectilinear",
    ),
    "a transformer": (lambda said: said | {"storage_transformers": [{"name": "a"}]}, UnsupportedError, "transformers"),
    "other keys": (lambda said: said | {"chunk_key_encoding": {"name": "fanout"}}, WkgpuError, "fanout"),
    "an unknown codec": (lambda said: said | {"codecs": [{"name": "bytes"}, {"name": "bz9"}]}, UnsupportedError, "bz9"),
    "a chunk of more bytes than numbers": (
        lambda said: said | {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 16, 16, 1 << 62]}}},
        UnsupportedError, "address",
    ),
    "an index that no memory holds": (
        lambda said: said | {"chunk_grid": regular(1 << 16, 8 << 16, 8, 8)}, UnsupportedError, "index whole",
    ),
    "no channels": (lambda said: said | {"shape": [0, 40, 30, 20]}, UnsupportedError, "no channels"),
    "shards without codecs": (without_inner_codecs, HeaderError, "no codecs"),
    "no names of axes": (lambda said: said | {"dimension_names": ["a", "b", "c", "d"]}, UnsupportedError, "name them"),
    "a key that must be understood": (lambda said: said | {"later": 1}, HeaderError, "later"),
}  # fmt: skip


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_is_not_read_names_the_file(make, name):
    change, error, message = METADATA[name]
    array = make()
    file = array.path / "zarr.json"
    changed = change(json.loads(file.read_text()))
    file.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(error, match=f"zarr.json.*{message}"):
        formats.open_array(array.path)


@pytest.mark.parametrize("per_shard", [None, (1, 2, 2, 2)])
def test_metadata_that_are_corrected(make, per_shard):
    """Indexes that were read with the wrong ones are not used any more, although no shard has changed."""
    array, _ = full(make, replace(PLAIN, per_shard=per_shard, compressors=(ZstdCodec(level=5),)))
    file = array.path / "zarr.json"
    right = file.read_text()
    wrong = json.loads(right)
    codecs = wrong["codecs"] if per_shard is None else wrong["codecs"][0]["configuration"]["codecs"]
    codecs[-1] = {"name": "gzip", "configuration": {"level": 5}}
    time.sleep(0.05)  # the index of a file that has just changed is not kept
    file.write_text(json.dumps(wrong))
    with pytest.raises(ChunkError, match="gzip"):
        read_box(array, get_engine("cpu"), (0, 0, 0), (8, 8, 8))
    file.write_text(right)
    found = read_box(array, get_engine("cpu"), (0, 0, 0), (40, 30, 20))
    np.testing.assert_array_equal(found.ravel(), np.arange(40 * 30 * 20, dtype=np.uint16))


def test_shards_in_shards_and_encoded_indexes(tmp_path):
    inner = ShardingCodec(chunk_shape=(4, 4, 4), codecs=[BytesCodec()])
    outer = ShardingCodec(chunk_shape=(8, 8, 8), codecs=[inner])
    zarr.create_array(
        store=str(tmp_path / "a"), shape=(32, 32, 32), chunks=(16, 16, 16), dtype="uint8", serializer=outer,
        dimension_names="xyz", compressors=[],
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match=r"a/zarr.json: .*nested sharding_indexed"):
        formats.open_array(tmp_path / "a")
