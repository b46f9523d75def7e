"""Zstandard on the CPU: libzstd of the wheel of ``numcodecs``, whose extension module exports its functions.

Contexts are made in the working memory of a thread, once for each call of a kernel: a context asks the CPU what it can
do, which takes 9 microseconds in a virtual machine, as long as decoding a small chunk. Signatures: ``zstd.h``.
"""

from __future__ import annotations

import ctypes
from functools import partial

from numba import types

from ..compilation import cached_c_function
from . import intrinsics
from .c_libraries import c_function, extension_module

_libzstd = extension_module("numcodecs", "zstd")
_zstd_function = partial(c_function, _libzstd)
_address, _int, _size = types.intp, types.int32, types.int64  # an error is a size_t close to its end, so negative

# (memory, its bytes) -> the context, which lies there; 0 where it does not fit
_make_decoder = _zstd_function("ZSTD_initStaticDCtx", _address, _address, _size)
_make_encoder = _zstd_function("ZSTD_initStaticCCtx", _address, _address, _size)
# (context, target, target capacity, source, source bytes) -> bytes in the target
_decompress = _zstd_function("ZSTD_decompressDCtx", _size, _address, _address, _size, _address, _size)
_compress = _zstd_function("ZSTD_compress2", _size, _address, _address, _size, _address, _size)
# (context, parameter, value), (context, what is reset) -> an error, or something else
_set_parameter = _zstd_function("ZSTD_CCtx_setParameter", _size, _address, _int, _int)

_reset = _zstd_function("ZSTD_CCtx_reset", _size, _address, _int)

_COMPRESSION_LEVEL, _CHECKSUM_FLAG = 100, 201  # of ZSTD_cParameter
_RESET_PARAMETERS = 2  # of ZSTD_ResetDirective
_HEAD_BYTES = 64  # of a state: the context's address is in it, and the context behind it
_SIZE_CLASSES = 16 << 10, 128 << 10, 256 << 10  # of chunks for which libzstd has parameters of their own


class _Parameters(ctypes.Structure):  # ZSTD_compressionParameters
    _fields_ = [(name, ctypes.c_int) for name in ("window", "chain", "hash", "search", "min", "target", "strategy")]


def decoder_bytes() -> int:
    """Return the bytes of a decoder's state."""
    estimate = _libzstd.ZSTD_estimateDCtxSize
    estimate.restype = ctypes.c_size_t
    return _HEAD_BYTES + estimate()


def encoder_bytes(level: int, nbytes: int) -> int:
    """Return the bytes of an encoder's state, for chunks of at most so many bytes."""
    parameters_of, estimate = _libzstd.ZSTD_getCParams, _libzstd.ZSTD_estimateCCtxSize_usingCParams
    parameters_of.argtypes, parameters_of.restype = (ctypes.c_int, ctypes.c_ulonglong, ctypes.c_size_t), _Parameters
    estimate.argtypes, estimate.restype = (_Parameters,), ctypes.c_size_t
    sizes = [nbytes, *(size for size in _SIZE_CLASSES if size < nbytes)]
    return _HEAD_BYTES + max(estimate(parameters_of(level, size, 0)) for size in sizes)


def encode_parameter(level: int, checksum: bool) -> int:
    """Return what `encode` is called with."""
    lowest, highest = _libzstd.ZSTD_minCLevel(), _libzstd.ZSTD_maxCLevel()
    return 2 * min(max(level, lowest), highest) + checksum


@cached_c_function
def begin_decoding(parameter, state, nbytes):
    """Make a context."""
    context = _make_decoder(state + _HEAD_BYTES, nbytes - _HEAD_BYTES)
    intrinsics.store_8_bytes(state, context)
    return context


@cached_c_function
def decode(source, nbytes, target, wanted, capacity, parameter, state):
    """Decode frames that follow one another, and verify their checksums."""
    context = intrinsics.load_8_bytes(state)
    if context == 0:
        return -1
    decoded = _decompress(context, target, capacity, source, nbytes)
    return -1 if wanted < capacity != decoded else decoded


@cached_c_function
def begin_encoding(parameter, state, nbytes):
    """Make a context with a level, and maybe checksums."""
    context = _make_encoder(state + _HEAD_BYTES, nbytes - _HEAD_BYTES)
    intrinsics.store_8_bytes(state, context)
    if context != 0:
        _reset(context, _RESET_PARAMETERS)  # what lies in given memory has no defaults: frames would not say their size
        _set_parameter(context, _COMPRESSION_LEVEL, parameter >> 1)
        _set_parameter(context, _CHECKSUM_FLAG, parameter & 1)
    return context


@cached_c_function
def encode(source, nbytes, target, capacity, parameter, state):
    """Encode one frame, whose header says how long it gets."""
    context = intrinsics.load_8_bytes(state)
    if context == 0:
        return 0
    return max(_compress(context, target, capacity, source, nbytes), 0)
