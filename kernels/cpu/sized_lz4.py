"""LZ4 as numcodecs stores it: four bytes with the number of decoded bytes, and a block of LZ4."""

from __future__ import annotations

import numpy as np

from ..compilation import cached_c_function
from . import intrinsics
from .codec import decode_lz4

_SIZE_BYTES = 4


@cached_c_function
def decode(source, nbytes, target, wanted, capacity, parameter, state):
    """Decode a chunk, or a part of one."""
    if nbytes < _SIZE_BYTES:
        return -1
    size = intrinsics.load_2_bytes(source) | intrinsics.load_2_bytes(source + 2) << 16
    if size == 0 or size > capacity:
        return size
    if wanted < capacity != size:
        return -1
    wanted = min(wanted, size)
    decoded = decode_lz4(source + _SIZE_BYTES, nbytes - _SIZE_BYTES, target, wanted, size)
    return decoded if decoded == size or wanted <= decoded < size != wanted else -1


@cached_c_function
def begin_encoding(parameter, state, nbytes):
    """Prepare liblz4's state."""
    return intrinsics.lz4_begin(state, nbytes)


@cached_c_function
def encode(source, nbytes, target, capacity, parameter, state):
    """Encode a chunk with an acceleration."""
    room = min(capacity, intrinsics.LZ4_MAX_OUTPUT_BYTES) - _SIZE_BYTES
    if room <= 0 or nbytes > intrinsics.LZ4_MAX_INPUT_BYTES:
        return 0
    for byte in range(_SIZE_BYTES):
        intrinsics.store_byte(target + byte, nbytes >> 8 * byte & 255)
    written = intrinsics.lz4_encode(
        state, source, target + _SIZE_BYTES, np.int32(nbytes), np.int32(room), np.int32(parameter)
    )  # fmt: skip
    return written + _SIZE_BYTES if written > 0 else 0
