"""Blosc 1 on the CPU: c-blosc of the wheel of ``numcodecs``, whose extension module exports its functions.

A chunk is a header, the offsets of its blocks, and the blocks; each block is one stream, or as many as an item has
bytes, and each stream is its length and its bytes, which are as they were where that is no shorter. What was not
shuffled and is LZ4 is decoded here: c-blosc allocates memory for each chunk, cannot decode a part of one, and its
liblz4 is no better at noise. Source of the format: README_CHUNK_FORMAT.rst of c-blosc. Signatures: ``blosc.h``.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit, types

from ..compilation import cached_c_function
from . import intrinsics
from .c_libraries import c_function, extension_module
from .codec import decode_lz4

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
ENCODER_BYTES = 8
"""Of the state, in which the name is."""

_FLAGS, _ITEM_BYTES, _BYTES, _BLOCK_BYTES, _ENCODED_BYTES, HEADER_BYTES = 2, 3, 4, 8, 12, 16
_SHUFFLED, _COPIED, _BIT_SHUFFLED, _WHOLE_BLOCKS = 1, 2, 4, 16  # flags
_LZ4 = 1  # the format, in the upper three bits of the flags
_MAX_STREAMS, _MIN_STREAM_BYTES = 16, 128  # of a block that is split


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


@cached_c_function
def encode(source, nbytes, target, capacity, parameter, state):
    """Encode a chunk; see `encode_parameter`."""
    intrinsics.store_8_bytes(state, _NAMES_AS_NUMBERS[parameter >> 8 & 15])
    capacity = min(capacity, nbytes + HEADER_BYTES)  # with more c-blosc stores noise as streams, not as it is
    level, shuffle, item = np.int32(parameter & 15), np.int32(parameter >> 4 & 15), parameter >> 16 & 255
    written = _compress(
        level, shuffle, item, nbytes, source, target, capacity, state, parameter >> 32, np.int32(1)
    )  # fmt: skip
    return max(np.int64(written), 0)
