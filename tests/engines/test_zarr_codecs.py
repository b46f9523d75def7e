"""Codecs of Zarr on the CPU: what numcodecs encodes is decoded, and it decodes what they encode."""

from __future__ import annotations

import gzip
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import google_crc32c
import numcodecs
import numpy as np
import pytest
from c_codecs import CalledCodec
from hypothesis import given, settings
from hypothesis import strategies as st

from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.errors import UnsupportedError
from wkgpu.storage.codecs import codec_named

TESTS = Path(__file__).parents[1]
MAX_BYTES = 1 << 18
SHUFFLES = ["noshuffle", "shuffle", "bitshuffle"]


@st.composite
def chunks(draw, max_bytes=MAX_BYTES):
    """Bytes of any length that compress well, somewhat, or not at all."""
    nbytes = draw(st.one_of(st.integers(1, 300), st.integers(1, max_bytes), st.just(max_bytes)))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    kinds, run = draw(st.sampled_from([1, 3, 20, 256])), draw(st.sampled_from([1, 5, 200]))
    return np.repeat(random.integers(0, kinds, -(-nbytes // run)), run)[:nbytes].astype(np.uint8).tobytes()


@lru_cache(maxsize=64)
def called(name, **parameters):
    return CalledCodec(codec_named(name, **parameters), MAX_BYTES)


class Crc32c:
    """The checksum by Google's library."""

    def encode(self, data):
        return data + google_crc32c.value(data).to_bytes(4, "little")

    def decode(self, encoded):
        assert self.encode(encoded[:-4]) == encoded
        return encoded[:-4]


def reference(name, parameters):
    """The codec of another library with these parameters."""
    match name:
        case "zstd":
            return numcodecs.Zstd(**parameters)
        case "blosc":
            return numcodecs.Blosc(**{**parameters, "shuffle": SHUFFLES.index(parameters["shuffle"])})
        case "gzip":
            return numcodecs.GZip(**parameters)
        case "numcodecs.zlib":
            return numcodecs.Zlib(**parameters)
        case "numcodecs.lz4":
            return numcodecs.LZ4(**parameters)
    return Crc32c()


def parameters_of(**kinds):
    return st.fixed_dictionaries(kinds)


CODECS = {
    "zstd": parameters_of(level=st.integers(-5, 12), checksum=st.booleans()),
    "blosc": parameters_of(
        cname=st.sampled_from(["lz4", "lz4", "lz4hc", "zstd", "zlib", "blosclz"]),
        clevel=st.integers(0, 9),
        shuffle=st.sampled_from(SHUFFLES),
        typesize=st.sampled_from([1, 2, 3, 4, 8, 16, 17, 255]),
        blocksize=st.sampled_from([0, 0, 128, 1000, 4096, 1 << 15]),
    ),
    "gzip": parameters_of(level=st.integers(0, 9)),
    "numcodecs.zlib": parameters_of(level=st.integers(-1, 9)),
    "numcodecs.lz4": parameters_of(acceleration=st.integers(0, 20)),
    "crc32c": parameters_of(),
}
names = pytest.mark.parametrize("name", CODECS)


def check(ours, other, data):
    """Compare with the codec of another library, both ways, whole and in part."""
    nbytes = len(data)
    encoded = ours.encode(data)
    assert len(encoded) > 0
    assert bytes(other.decode(encoded)) == data
    for given_bytes in (encoded, bytes(other.encode(data))):
        assert ours.decode(given_bytes, nbytes) == (nbytes, data)
        decoded, part = ours.decode(given_bytes, nbytes, nbytes // 2 + 1)
        assert decoded >= nbytes // 2 + 1
        assert part[: nbytes // 2 + 1] == data[: nbytes // 2 + 1]


@names
def test_other_libraries_agree(name):
    @settings(max_examples=200 if name == "blosc" else 40, deadline=None)
    @given(CODECS[name], chunks())
    def agrees(parameters, data):
        check(called(name, **parameters), reference(name, parameters), data)

    agrees()


@names
def test_a_chunk_of_another_length_is_not_taken_for_one(name):
    codec, data = called(name), bytes(range(200)) * 5
    encoded = codec.encode(data)
    for capacity in (999, 1001, 2000):
        assert codec.decode(encoded, capacity)[0] != capacity
    if name != "crc32c":  # it is never the last one to be undone, but before chunks that lie as they are
        assert all(codec.decode(encoded, capacity, 10)[0] < 10 for capacity in (1001, 2000))


@names
def test_what_does_not_fit_is_not_encoded(name):
    codec = called(name)
    data = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()
    needed = len(codec.encode(data))
    assert all(codec.encode(data, capacity) == b"" for capacity in (0, 1, 100, 4000))
    assert len(codec.encode(data, needed + 100)) == needed


@names
def test_threads_do_not_meet(name):
    data = [np.random.default_rng(seed).integers(0, 9, 20_000).astype(np.uint8).tobytes() for seed in range(8)]

    def work(number):
        codec = CalledCodec(codec_named(name), 20_000)
        for _ in range(20):
            assert codec.decode(codec.encode(data[number]), 20_000) == (20_000, data[number])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


# ---- Damage


@names
def test_damage_harms_nothing(name):
    """In another process, since what reads or writes beyond its memory ends it."""
    limited = f"ulimit -v 8000000; exec {sys.executable} {TESTS / 'codec_damage.py'} {name} 100"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    refused, changed = map(int, done.stdout.split())
    assert refused > 100
    assert changed == 0 or name in {"blosc", "numcodecs.lz4"}  # which have no checksum


# ---- Zstandard


@pytest.mark.parametrize("level", [-50, 0, 1, 5, 9, 13, 16, 19, 22])
@pytest.mark.parametrize("nbytes", [1, 1000, 16 << 10, 100_000, 128 << 10, 200_000, 700_000])
def test_zstd_has_room_for_each_level(level, nbytes):
    codec = CalledCodec(codec_named("zstd", level=level), nbytes)
    data = np.random.default_rng(nbytes).integers(0, 9, nbytes).astype(np.uint8).tobytes()
    for length in {nbytes, nbytes // 2 + 1}:
        assert bytes(numcodecs.Zstd().decode(codec.encode(data[:length]))) == data[:length]


def test_zstd_writes_the_checksum_and_the_size():
    for checksum in (False, True):
        header = called("zstd", checksum=checksum).encode(bytes(1000))
        assert header[:4] == (0xFD2FB528).to_bytes(4, "little")
        assert bool(header[4] & 4) == checksum
        assert header[4] >> 6 or header[4] & 32  # the size is there


def test_zstd_verifies_the_checksum():
    codec, data = called("zstd"), np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8).tobytes()
    encoded = bytearray(codec.encode(data))
    encoded[len(encoded) // 2] ^= 1  # of a block that is stored as it is
    assert codec.decode(bytes(encoded), 1000)[0] < 0
    assert codec.decode(codec.encode(data), 1000) == (1000, data)  # with the same context


def test_zstd_decodes_frames_that_follow_one_another():
    codec, data = called("zstd"), bytes(range(256)) * 4
    skipped = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"words"
    encoded = skipped + codec.encode(data[:300]) + skipped + codec.encode(data[300:]) + skipped
    assert codec.decode(encoded, 1024) == (1024, data)
    assert codec.decode(encoded, 1000)[0] < 0


# ---- Others


def test_blosc_has_one_block_of_one_stream_where_it_is_told():
    codec = called("blosc", cname="lz4", typesize=1, blocksize=4096)
    encoded = codec.encode(bytes(range(64)) * 64)
    stream = int.from_bytes(encoded[20:24], "little")
    assert encoded[16:20] == (20).to_bytes(4, "little")
    assert stream == len(encoded) - 24


def test_a_codec_that_this_blosc_lacks_is_loud():
    chunks = ((codec_named("blosc", cname="snappy"),),)
    with pytest.raises(UnsupportedError, match="here has chunks encoded by blosc; the codec 'blosc' cannot be decoded"):
        kernel_pipelines(chunks, 1000, 0, lambda number: "here")


def test_gzip_has_members_that_follow_one_another():
    codec, data = called("gzip"), bytes(range(256)) * 4
    encoded = gzip.compress(data[:300]) + bytes(5) + gzip.compress(data[300:]) + bytes(3)
    assert codec.decode(encoded, 1024) == (1024, data)
    assert codec.decode(encoded, 1023)[0] < 0
    assert codec.decode(encoded + b"more", 1024)[0] < 0


@pytest.mark.parametrize("name", ["gzip", "numcodecs.zlib"])
def test_noise_fits_the_bound_of_deflate(name):
    random = np.random.default_rng(0)
    for level in (0, 1, 9):
        for nbytes in (1, 4999, 5000, 5001, 65_535, 65_536, 200_001):
            data = random.integers(0, 256, nbytes).astype(np.uint8).tobytes()
            assert called(name, level=level).encode(data)


def test_a_table_does_what_the_instruction_does(run_python, tmp_path):
    """Where the CPU has none for CRC32C: compiled for such a one in a process of its own."""
    program = """
import numpy as np
from c_codecs import CalledCodec
from wkgpu.kernels.cpu import crc32c
from wkgpu.storage.codecs import codec_named
codec = CalledCodec(codec_named("crc32c"), 100_000)
data = np.arange(50_000, dtype=np.uint16).tobytes()
print(crc32c._INSTRUCTION, codec.encode(b"123456789")[-4:].hex(), codec.encode(data)[-4:].hex())
"""
    expected = google_crc32c.value(np.arange(50_000, dtype=np.uint16).tobytes()).to_bytes(4, "little").hex()
    found = run_python(program, NUMBA_CPU_NAME="generic", NUMBA_CACHE_DIR=str(tmp_path), PYTHONPATH=str(TESTS))
    assert found.split() == ["None", "839206e3", expected]  # RFC 3720
