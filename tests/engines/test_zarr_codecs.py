"""Codecs of Zarr on the CPU: what numcodecs encodes is decoded, and it decodes what they encode."""

from __future__ import annotations

from functools import lru_cache

import numcodecs
import numpy as np
import pytest
from c_codecs import CalledCodec
from hypothesis import given, settings
from hypothesis import strategies as st

from wkgpu.storage.codecs import codec_named

MAX_BYTES = 1 << 18


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


def reference(name, parameters):
    """The codec of numcodecs with these parameters."""
    match name:
        case "zstd":
            return numcodecs.Zstd(**parameters)
    raise ValueError(name)


CODECS = {
    "zstd": st.fixed_dictionaries({"level": st.integers(-5, 12), "checksum": st.booleans()}),
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
        decoded, part = ours.decode(given_bytes, nbytes, nbytes // 2)
        assert decoded >= nbytes // 2
        assert part[: nbytes // 2] == data[: nbytes // 2]


@names
def test_numcodecs_agrees(name):
    @settings(max_examples=60, deadline=None)
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
        assert codec.decode(encoded, capacity, 10)[0] != 1000 or capacity == 999


@names
def test_what_does_not_fit_is_not_encoded(name):
    codec = called(name)
    data = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()
    needed = len(codec.encode(data))
    assert all(codec.encode(data, capacity) == b"" for capacity in (0, 1, 100, 4000))
    assert len(codec.encode(data, needed + 100)) == needed


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
