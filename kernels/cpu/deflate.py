"""zlib and gzip on the CPU: libdeflate of the wheel of ``deflate``, whose extension module exports its functions.

libdeflate allocates the memory of a decoder or an encoder itself, which takes 0.1 and 2 microseconds: each chunk gets
its own. Signatures: ``libdeflate.h``; formats: RFC 1950 and RFC 1952.
"""

from __future__ import annotations

from functools import partial

from numba import njit, types

from ..compilation import cached_c_function
from . import intrinsics
from .c_libraries import c_function, extension_module

_libdeflate = extension_module("deflate", "_deflate")
_deflate_function = partial(c_function, _libdeflate)
_address, _int, _size = types.intp, types.int32, types.intp

_make_decoder = _deflate_function("libdeflate_alloc_decompressor", _address)
_free_decoder = _deflate_function("libdeflate_free_decompressor", types.void, _address)
_make_encoder = _deflate_function("libdeflate_alloc_compressor", _address, _int)
_free_encoder = _deflate_function("libdeflate_free_compressor", types.void, _address)
# (decoder, source, source bytes, target, target capacity, where to put the bytes read, and the bytes written) -> status
_DECODE = _int, _address, _address, _size, _address, _size, _address, _address
_decompress_gzip = _deflate_function("libdeflate_gzip_decompress_ex", *_DECODE)
_decompress_zlib = _deflate_function("libdeflate_zlib_decompress_ex", *_DECODE)
# (encoder, source, source bytes, target, target capacity) -> encoded bytes, 0 where they do not fit
_ENCODE = _size, _address, _address, _size, _address, _size
_compress_gzip = _deflate_function("libdeflate_gzip_compress", *_ENCODE)
_compress_zlib = _deflate_function("libdeflate_zlib_compress", *_ENCODE)

DECODER_BYTES = 16
"""Of the state, in which libdeflate puts two numbers."""

_DEFAULT_LEVEL, _HIGHEST_LEVEL = 6, 9  # as zlib has them; libdeflate goes on to 12


def encode_parameter(level: int) -> int:
    """Return what the encoders are called with: a level of zlib, where -1 is the default."""
    return _DEFAULT_LEVEL if level < 0 else min(level, _HIGHEST_LEVEL)


@njit(nogil=True)
def _decode_members(decoder, source, nbytes, target, capacity, state):
    """Decode one member of a gzip file after another; zeros may follow."""
    done, decoded = 0, 0
    while done < nbytes:
        if done > 0 and intrinsics.load_byte(source + done) == 0:
            done += 1
            continue
        status = _decompress_gzip(
            decoder, source + done, nbytes - done, target + decoded, capacity - decoded, state, state + 8
        )  # fmt: skip
        if status != 0:
            return -1
        done += intrinsics.load_8_bytes(state)
        decoded += intrinsics.load_8_bytes(state + 8)
    return decoded


@cached_c_function
def decode_gzip(source, nbytes, target, wanted, capacity, parameter, state):
    """Decode all members, and verify their checksums."""
    decoder = _make_decoder()
    if decoder == 0:
        return -1
    decoded = _decode_members(decoder, source, nbytes, target, capacity, state)
    _free_decoder(decoder)
    return -1 if wanted < capacity != decoded else decoded


@cached_c_function
def decode_zlib(source, nbytes, target, wanted, capacity, parameter, state):
    """Decode a chunk, and verify its checksum; as with zlib anything may follow."""
    decoder = _make_decoder()
    if decoder == 0:
        return -1
    status = _decompress_zlib(decoder, source, nbytes, target, capacity, state, state + 8)
    _free_decoder(decoder)
    if status != 0:
        return -1
    decoded = intrinsics.load_8_bytes(state + 8)
    return -1 if wanted < capacity != decoded else decoded


@cached_c_function
def encode_gzip(source, nbytes, target, capacity, parameter, state):
    """Encode a chunk with a level."""
    encoder = _make_encoder(parameter)
    if encoder == 0:
        return 0
    written = _compress_gzip(encoder, source, nbytes, target, capacity)
    _free_encoder(encoder)
    return written


@cached_c_function
def encode_zlib(source, nbytes, target, capacity, parameter, state):
    """Encode a chunk with a level."""
    encoder = _make_encoder(parameter)
    if encoder == 0:
        return 0
    written = _compress_zlib(encoder, source, nbytes, target, capacity)
    _free_encoder(encoder)
    return written
