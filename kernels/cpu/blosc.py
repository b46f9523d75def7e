"""Blosc 1 on the CPU: c-blosc of the wheel of ``numcodecs``, whose extension module exports its functions.

A chunk is a header, the offsets of its blocks, and the blocks; each block is one stream, or as many as an item has
bytes, and each stream is its length and its bytes, which are as they were where that is no shorter. What was not
shuffled and is LZ4 is decoded here: c-blosc allocates memory for each chunk, cannot decode a part of one, and its
liblz4 is no better at noise. It is encoded here, too, where a chunk is one block of LZ4, and as it is
where that hardly shrinks it. Source of the format: README_CHUNK_FORMAT.rst of c-blosc. Signatures: ``blosc.h``.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit, types

from ..compilation import cached_c_function
from . import intrinsics
from .c_libraries import c_function, extension_module
from .codec import KEPT_SHARE, PROBE_ACCELERATION, PROBED_SHARE, decode_lz4

_libblosc = extension_module("numcodecs", "blosc")
_blosc_function = partial(c_function, _libblosc)
_address, _int, _size = types.intp, types.int32, types.intp

# Neither takes a lock, nor starts threads if there is to be one.
# (source, target, target capacity, threads) -> decoded bytes, or a negative number
_decompress = _blosc_function("blosc_decompress_ctx", _int, _address, _address, _size, _int)
# (level, shuffle, item bytes, bytes, source, target, target capacity, name, block bytes, threads) -> encoded bytes
_compress = _blosc_function(
    "blosc_compress_ctx", _int, _int, _int, _size, _size, _address, _address, _size, _address, _size, _int
)

_NAMES = "blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"
_SHUFFLES = "noshuffle", "shuffle", "bitshuffle"
_NAMES_AS_NUMBERS = tuple(int.from_bytes(name.encode(), "little") for name in _NAMES)
_FLAGS, _ITEM_BYTES, _BYTES, _BLOCK_BYTES, _ENCODED_BYTES, HEADER_BYTES = 2, 3, 4, 8, 12, 16
_SHUFFLED, _COPIED, _BIT_SHUFFLED, _WHOLE_BLOCKS = 1, 2, 4, 16  # flags
_LZ4 = 1  # the format, in the upper three bits of the flags
_MAX_STREAMS, _MIN_STREAM_BYTES = 16, 128  # of a block that is split
_VERSIONS = 2, 1  # of the header, and of its LZ4
_FIRST_BLOCK, _FIRST_STREAM = HEADER_BYTES + 4, HEADER_BYTES + 8  # of a chunk that is one block
_MIN_LEVEL = 5  # from which on LZ4 is asked for with no other acceleration than 1, unless a chunk is noise

# The state of an encoder
_NAME, _WAS_NOISE, _LZ4_STATE = 0, 8, 16
ENCODER_BYTES = _LZ4_STATE + intrinsics.LZ4_STATE_BYTES
"""The name of the codec, whether LZ4 could not shrink the chunk before, and what liblz4 needs."""


def encode_parameter(cname: str, clevel: int, shuffle: str, typesize: int, blocksize: int) -> int | None:
    """Return what `encode` is called with; None where this c-blosc lacks the codec inside."""
    if cname not in _NAMES or _libblosc.blosc_compname_to_compcode(cname.encode()) < 0:
        return None
    codec = _NAMES.index(cname) << 8 | _SHUFFLES.index(shuffle) << 4 | clevel
    return blocksize << 32 | typesize << 16 | codec


@njit(nogil=True)
def _load_4_bytes(address):
    return intrinsics.load_2_bytes(address) | intrinsics.load_2_bytes(address + 2) << 16


@njit(nogil=True)
def _decode_block(source, nbytes, target, wanted, size, streams):
    """Decode the first ``wanted`` bytes of a block from ``nbytes`` at most; whether that succeeded."""
    each = size // streams
    if each * streams != size:
        return False
    for begin in range(0, min(wanted, size), each):
        if nbytes < 4:
            return False
        encoded = _load_4_bytes(source)
        source, nbytes = source + 4, nbytes - 4
        if encoded > nbytes:
            return False
        part = min(wanted - begin, each)
        if encoded == each:
            intrinsics.copy_bytes(target + begin, source, part)
        else:
            decoded = decode_lz4(source, encoded, target + begin, part, each)
            if decoded < part or part == each != decoded:
                return False
        source, nbytes = source + encoded, nbytes - encoded
    return True


@njit(nogil=True)
def _decode_lz4(source, nbytes, target, wanted, size, block, streams):
    """Decode the first ``wanted`` bytes of a chunk that is not shuffled; whether that succeeded."""
    blocks = (size - 1) // block + 1
    if HEADER_BYTES + 4 * blocks > nbytes:
        return False
    for number in range((wanted - 1) // block + 1):
        begin = number * block
        length = min(block, size - begin)
        first = _load_4_bytes(source + HEADER_BYTES + 4 * number)
        if first < HEADER_BYTES + 4 * blocks or first > nbytes:
            return False
        if not _decode_block(
            source + first, nbytes - first, target + begin, wanted - begin, length, streams if length == block else 1
        ):
            return False
    return True


@cached_c_function
def decode(source, nbytes, target, wanted, capacity, parameter, state):
    """Decode a chunk, or a part of one; nothing is read or written beyond what the lengths allow."""
    if nbytes < HEADER_BYTES or _load_4_bytes(source + _ENCODED_BYTES) != nbytes:
        return -1
    flags, item = intrinsics.load_byte(source + _FLAGS), intrinsics.load_byte(source + _ITEM_BYTES)
    size, block = _load_4_bytes(source + _BYTES), _load_4_bytes(source + _BLOCK_BYTES)
    if size == 0 or size > capacity:
        return size
    if wanted < capacity != size:
        return -1
    if flags & _COPIED:
        if nbytes != HEADER_BYTES + size:
            return -1
        intrinsics.copy_bytes(target, source + HEADER_BYTES, min(wanted, size))
        return min(wanted, size)
    if item == 0 or block == 0 or block > size:
        return -1
    is_shuffled = flags & _BIT_SHUFFLED or (flags & _SHUFFLED and item > 1)
    if flags >> 5 != _LZ4 or is_shuffled:
        return np.int64(_decompress(source, target, capacity, np.int32(1)))
    is_split = not flags & _WHOLE_BLOCKS and item <= _MAX_STREAMS and block // item >= _MIN_STREAM_BYTES
    wanted = min(wanted, size)
    return wanted if _decode_lz4(source, nbytes, target, wanted, size, block, item if is_split else 1) else -1


@cached_c_function
def is_plain(header, size):
    """Whether a chunk lies behind its header as it is."""
    return (
        intrinsics.load_byte(header + _FLAGS) & _COPIED
        and _load_4_bytes(header + _BYTES) == size
        and _load_4_bytes(header + _ENCODED_BYTES) == HEADER_BYTES + size
    )


@njit(nogil=True)
def _store_4_bytes(address, value):
    for byte in range(4):
        intrinsics.store_byte(address + byte, value >> 8 * byte & 255)


@njit(nogil=True)
def _lz4_block(source, nbytes, target, room, state):
    """Encode a chunk as one block of LZ4; the encoded bytes, 0 where they are hardly fewer than those of the chunk."""
    size, short = np.int32(nbytes), np.int32(min(room, intrinsics.LZ4_MAX_OUTPUT_BYTES))
    lz4 = state + _LZ4_STATE
    if intrinsics.load_byte(state + _WAS_NOISE):
        probed = intrinsics.lz4_encode(lz4, source, target, size, short, np.int32(PROBE_ACCELERATION))
        if probed <= 0 or probed > nbytes - nbytes // PROBED_SHARE:
            return np.int64(0)
    written = np.int64(intrinsics.lz4_encode(lz4, source, target, size, short, np.int32(1)))
    is_noise = written <= 0 or written > nbytes - nbytes // KEPT_SHARE
    intrinsics.store_byte(state + _WAS_NOISE, is_noise)
    return np.int64(0) if is_noise else written


@njit(nogil=True)
def _encode_lz4(source, nbytes, target, capacity, state):
    """Encode a chunk as one block that is not shuffled, or as it is."""
    if capacity < HEADER_BYTES + nbytes:
        return np.int64(0)
    written = np.int64(0)
    if nbytes > _FIRST_STREAM:
        written = _lz4_block(source, nbytes, target + _FIRST_STREAM, nbytes + HEADER_BYTES - _FIRST_STREAM, state)
    flags = _LZ4 << 5 | (_WHOLE_BLOCKS if written else _COPIED)
    encoded = _FIRST_STREAM + written if written else HEADER_BYTES + nbytes
    for place, value in ((0, _VERSIONS[0]), (1, _VERSIONS[1]), (_FLAGS, flags), (_ITEM_BYTES, 1)):
        intrinsics.store_byte(target + place, value)
    for place, value in ((_BYTES, nbytes), (_BLOCK_BYTES, nbytes), (_ENCODED_BYTES, encoded)):
        _store_4_bytes(target + place, value)
    if written:
        _store_4_bytes(target + HEADER_BYTES, _FIRST_BLOCK)
        _store_4_bytes(target + _FIRST_BLOCK, written)
    else:
        intrinsics.copy_bytes(target + HEADER_BYTES, source, nbytes)
    return np.int64(encoded)


@cached_c_function
def begin_encoding(parameter, state, nbytes):
    """Prepare the state."""
    intrinsics.store_8_bytes(state + _NAME, _NAMES_AS_NUMBERS[parameter >> 8 & 15])
    intrinsics.store_8_bytes(state + _WAS_NOISE, 0)
    return intrinsics.lz4_begin(state + _LZ4_STATE, intrinsics.LZ4_STATE_BYTES)


@cached_c_function
def encode(source, nbytes, target, capacity, parameter, state):
    """Encode a chunk; see `encode_parameter`."""
    level, shuffle, item = np.int32(parameter & 15), np.int32(parameter >> 4 & 15), parameter >> 16 & 255
    is_lz4 = parameter >> 8 & 15 == _LZ4 and level >= _MIN_LEVEL
    if is_lz4 and shuffle == 0 and item == 1 and 0 < nbytes <= parameter >> 32:
        return _encode_lz4(source, nbytes, target, capacity, state)
    capacity = min(capacity, nbytes + HEADER_BYTES)  # with more c-blosc stores noise as streams, not as it is
    written = _compress(
        level, shuffle, item, nbytes, source, target, capacity, state, parameter >> 32, np.int32(1)
    )  # fmt: skip
    return max(np.int64(written), 0)
