"""The decoder of noise does as liblz4, in memory between pages that cannot be touched."""

import ctypes
import mmap

import lz4.block
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from wkgpu.kernels.cpu import intrinsics
from wkgpu.kernels.cpu import noise as cpu_noise

PAGE = mmap.PAGESIZE
PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class FencedMemory:
    """Bytes that end right before a page that cannot be read or written; what reads on is killed by the system."""

    def __init__(self, capacity):
        pages = -(-capacity // PAGE)
        self._map = mmap.mmap(-1, (pages + 1) * PAGE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._fence = begin + pages * PAGE
        assert _mprotect(self._fence, PAGE, PROT_NONE) == 0

    def address(self, nbytes):
        """Where these many bytes begin, so that they end at the fence."""
        return self._fence - nbytes

    def put(self, data):
        ctypes.memmove(self.address(len(data)), data, len(data))
        return self.address(len(data))

    def get(self, nbytes, size):
        return ctypes.string_at(self.address(size), nbytes)


SOURCE, TARGET = FencedMemory(1 << 18), FencedMemory(1 << 18)


@njit
def decode_noise(source, nbytes, target, wanted, size):
    return cpu_noise.decode_noise(source, nbytes, target, wanted, size)


@njit
def decode_with_liblz4(source, nbytes, target, size):
    return intrinsics.lz4_decode(source, target, np.int32(nbytes), np.int32(size))


def decoded(encoded, size, wanted=None):
    """What the decoder of noise says, and the bytes that it leaves."""
    wanted = size if wanted is None else wanted
    target = TARGET.put(b"\xee" * size)
    got = decode_noise(SOURCE.put(encoded), len(encoded), target, wanted, size)
    return got, TARGET.get(max(got, 0), size)


def decoded_by_liblz4(encoded, size):
    target = TARGET.put(b"\xee" * size)
    got = decode_with_liblz4(SOURCE.put(encoded), len(encoded), target, size)
    return got, TARGET.get(max(got, 0), size)


def length_bytes(length):
    """The further bytes of a length that does not fit a token, less what the token says."""
    return b"\xff" * (length // 255) + bytes([length % 255])


def sequence(literals, match=None):
    """Encode a run of literals and the match (offset, length) behind it."""
    offset, length = match or (0, 4)
    token = min(len(literals), 15) << 4 | min(length - 4, 15)
    encoded = bytes([token]) + (length_bytes(len(literals) - 15) if len(literals) >= 15 else b"") + literals
    if match is None:
        return encoded
    return encoded + offset.to_bytes(2, "little") + (length_bytes(length - 19) if length >= 19 else b"")


runs = st.one_of(st.integers(0, 80), st.sampled_from([14, 15, 63, 64, 65, 127, 128, 268, 269, 270, 271, 524, 525, 526]))
lengths = st.one_of(st.integers(4, 20), st.sampled_from([31, 32, 33, 272, 273, 274, 275, 528, 529, 530]))
offsets = st.one_of(st.integers(1, 40), st.integers(1, 65535))
sequences = st.lists(st.tuples(runs, lengths, offsets), max_size=60)


def chunk_of(pieces, seed):
    """Encode sequences as they are told; returns the chunk and its voxels."""
    random = np.random.default_rng(seed)
    encoded, voxels = b"", b""
    for run, length, offset in pieces:
        literals = random.bytes(run if voxels else max(run, 1))
        voxels += literals
        offset = min(offset, len(voxels))
        encoded += sequence(literals, (offset, length))
        for _ in range(length):
            voxels += voxels[-offset : len(voxels) - offset + 1]
    literals = random.bytes(12)  # the format ends chunks so
    return encoded + sequence(literals), voxels + literals


def noise(random, size, repeats):
    """Random bytes with some repetitions."""
    data = random.integers(0, 256, size, dtype=np.uint8)
    for _ in range(repeats):
        length = int(random.integers(4, 12))
        begin, end = random.integers(0, size - length, 2)
        data[end : end + length] = data[begin : begin + length].copy()
    return data.tobytes()


@given(sequences, st.integers(0, 1 << 32))
def test_any_sequences(pieces, seed):
    encoded, voxels = chunk_of(pieces, seed)
    assert decoded(encoded, len(voxels)) == (len(voxels), voxels)


@given(sequences, st.integers(0, 1 << 32), st.data())
def test_a_part_is_decoded_without_the_rest(pieces, seed, data):
    encoded, voxels = chunk_of(pieces, seed)
    wanted = data.draw(st.integers(1, len(voxels)))
    got, found = decoded(encoded, len(voxels), wanted)
    assert wanted <= got <= len(voxels)
    assert found == voxels[:got]


@given(sequences, st.integers(0, 1 << 32), st.data())
def test_the_size_is_too_small_or_too_large(pieces, seed, data):
    encoded, voxels = chunk_of(pieces, seed)
    size = data.draw(st.integers(max(1, len(voxels) - 700), len(voxels) + 700))
    (got, found), (expected, correct) = decoded(encoded, size), decoded_by_liblz4(encoded, size)
    assert (max(got, -1), found) == (max(expected, -1), correct)


@given(sequences, st.integers(0, 1 << 32), st.data())
def test_damage_is_what_liblz4_calls_so(pieces, seed, data):
    encoded, voxels = chunk_of(pieces, seed)
    damaged = bytearray(encoded)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.sampled_from([0, 1, 0x0F, 0xF0, 0xFF, 77]))
    damaged = bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    got, found = decoded(damaged, len(voxels))
    expected, correct = decoded_by_liblz4(damaged, len(voxels))
    assert (max(got, -1), len(found)) == (max(expected, -1), len(correct))
    if bytes(2) not in damaged:  # liblz4 reads what was in its memory before where an offset is 0
        assert found == correct


@pytest.mark.parametrize("repeats", [0, 50, 1000, 5000])
@pytest.mark.parametrize("mode", ["default", "high_compression"])
def test_chunks_of_an_encoder(repeats, mode):
    for seed in range(5):
        voxels = noise(np.random.default_rng(seed), 32768, repeats)
        encoded = lz4.block.compress(voxels, mode=mode, store_size=False)
        assert decoded(encoded, 32768) == (32768, voxels)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_outside_is_touched_whatever_is_decoded(seed):
    random = np.random.default_rng(seed)
    encoded = np.frombuffer(lz4.block.compress(noise(random, 8192, 800), store_size=False), np.uint8)
    for _ in range(300):
        damaged = encoded[: random.integers(1, len(encoded) + 1)].copy()
        damaged[random.integers(0, len(damaged), 5)] = random.choice([0, 15, 0xF0, 0xFF, 1, 200], 5)
        size = int(random.integers(1, 9000))
        got, _ = decoded(damaged.tobytes(), size)
        assert got <= size
        assert decoded(damaged.tobytes(), size, int(random.integers(1, size + 1)))[0] <= size


def test_random_bytes_are_no_chunk():
    random = np.random.default_rng(0)
    for _ in range(2000):
        size = int(random.integers(1, 4000))
        garbage = random.bytes(int(random.integers(1, 4000)))
        assert max(decoded(garbage, size)[0], -1) == max(decoded_by_liblz4(garbage, size)[0], -1)


def test_what_is_noise():
    assert cpu_noise.is_noise(32768, 32768)
    assert cpu_noise.is_noise(32768 - 4095, 32768)
    assert not cpu_noise.is_noise(32768 - 4096, 32768)
    assert not cpu_noise.is_noise(1, 32768)
