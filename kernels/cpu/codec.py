"""LZ4 on the CPU: decoding and encoding single chunks.

Electron microscopy is noise to LZ4: most of its chunks become one run of literals, which is the chunk itself behind a
short header (a token and the length; see "LZ4 Block Format Description"). Such a chunk needs no decoder: its voxels
are placed from where they were fetched to, and of a chunk that is wanted in part only that part is fetched. So the
encoder gives this form to every chunk that LZ4 cannot shrink by a sixteenth.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from . import intrinsics
from .noise import decode_noise, is_noise

LZ4, LZ4HC, CALLED = range(3)
"""Codecs, as `pipeline` has them: two that are compiled in, and functions at addresses."""

_LONG_RUN = 15  # a run of literals from which on its length continues in further bytes
PROBE_ACCELERATION = 8  # LZ4 looks at fewer positions: several times faster, and sees what is worth a second look
KEPT_SHARE, PROBED_SHARE = 16, 64  # a chunk that does not shrink by this part is kept as literals


@njit(nogil=True)
def literal_header(size):
    """Bytes before the literals in a chunk that is one run of ``size`` literals."""
    return 1 if size < _LONG_RUN else 2 + (size - _LONG_RUN) // 255


@njit(nogil=True)
def is_literal(address, size):
    """Whether a chunk of `literal_header` and ``size`` further bytes, of which only the header is read, is one run."""
    if size < _LONG_RUN:
        return intrinsics.load_byte(address) == size << 4
    if intrinsics.load_byte(address) != _LONG_RUN << 4:
        return False
    header = literal_header(size)
    for byte in range(1, header - 1):
        if intrinsics.load_byte(address + byte) != 255:
            return False
    return intrinsics.load_byte(address + header - 1) == (size - _LONG_RUN) % 255


@njit(nogil=True)
def store_literals(source, size, target):
    """Encode a chunk as one run of literals; its encoded bytes."""
    header = literal_header(size)
    if size < _LONG_RUN:
        intrinsics.store_byte(target, size << 4)
    else:
        intrinsics.store_byte(target, _LONG_RUN << 4)
        for byte in range(1, header - 1):
            intrinsics.store_byte(target + byte, 255)
        intrinsics.store_byte(target + header - 1, (size - _LONG_RUN) % 255)
    intrinsics.copy_bytes(target + header, source, size)
    return header + size


@njit(nogil=True)
def decode_lz4(source, nbytes, target, wanted, size):
    """Decode the first ``wanted`` bytes, or somewhat more, of at most ``size``; the decoded bytes, negative if damaged.

    Behind the decoded bytes, up to ``size`` of them, memory is left with any content.
    """
    if nbytes > intrinsics.LZ4_MAX_OUTPUT_BYTES:
        return np.int64(-1)
    if is_noise(nbytes, size):
        return np.int64(decode_noise(source, nbytes, target, wanted, size))
    if wanted == size:
        return np.int64(intrinsics.lz4_decode(source, target, np.int32(nbytes), np.int32(size)))
    return np.int64(intrinsics.lz4_decode_part(source, target, np.int32(nbytes), np.int32(wanted), np.int32(size)))


@njit(nogil=True)
def encode_lz4(codec, level, state, source, size, target, capacity, was_noise):
    """Encode one chunk.

    Parameters
    ----------
    was_noise : bool
        Whether the chunk before could not be shrunk: then this one is probed before it is fully compressed.

    Returns
    -------
    written : int
        Encoded bytes; 0 where they do not fit.
    is_noise : bool
        Whether this chunk could not be shrunk.
    """
    room = np.int32(min(capacity, intrinsics.LZ4_MAX_OUTPUT_BYTES))
    short = np.int32(size)
    if codec == LZ4HC:
        return np.int64(intrinsics.lz4hc_encode(state, source, target, short, room, np.int32(level))), False
    if was_noise:
        probed = intrinsics.lz4_encode(state, source, target, short, room, np.int32(PROBE_ACCELERATION))
        if probed > size - size // PROBED_SHARE:
            return store_literals(source, size, target), True
    written = np.int64(intrinsics.lz4_encode(state, source, target, short, room, np.int32(1)))
    if written > size - size // KEPT_SHARE:
        return store_literals(source, size, target), True
    return written, False
