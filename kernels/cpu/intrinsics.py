"""CPU intrinsics: copies between addresses, liblz4, positional file access and atomics, without the GIL.

liblz4 comes from the wheel of the ``lz4`` package, whose extension module exports the C library's functions; see
`c_libraries`. Signatures: ``lz4.h``, ``lz4hc.h`` (liblz4 1.9.4, which all wheels have from 4.3 on) and POSIX ``pread``.
"""

from __future__ import annotations

import ctypes
from functools import partial

import lz4.block
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .c_libraries import c_function

_BYTE = ir.IntType(8)
_liblz4 = ctypes.CDLL(lz4.block._block.__file__)
_lz4_function = partial(c_function, _liblz4)
_address, _int = types.intp, types.int32  # signed: Numba makes a float of uint64 + int64

# (source, target, source bytes, target capacity) -> decoded bytes, negative for a malformed chunk
lz4_decode = _lz4_function("LZ4_decompress_safe", _int, _address, _address, _int, _int)
# (source, target, source bytes, wanted bytes, target capacity) -> decoded bytes; may stop when it has the wanted ones
lz4_decode_part = _lz4_function("LZ4_decompress_safe_partial", _int, _address, _address, _int, _int, _int)
# The same for the rest of a chunk; further arguments: where the chunk was decoded to, and the decoded bytes
lz4_decode_on = _lz4_function("LZ4_decompress_safe_usingDict", _int, _address, _address, _int, _int, _address, _int)
lz4_decode_part_on = _lz4_function(
    "LZ4_decompress_safe_partial_usingDict", _int, _address, _address, _int, _int, _int, _address, _int
)
# (state, source, target, source bytes, target capacity, acceleration) -> encoded bytes, 0 where it does not fit.
# The state must have been initialised once; "fastReset" then spares clearing 16 KiB for each chunk.
lz4_encode = _lz4_function("LZ4_compress_fast_extState_fastReset", _int, _address, _address, _address, _int, _int, _int)
lz4_begin = _lz4_function("LZ4_initStream", _address, _address, _address)
# (state, source, target, source bytes, target capacity, level) -> encoded bytes
lz4hc_encode = _lz4_function("LZ4_compress_HC_extStateHC", _int, _address, _address, _address, _int, _int, _int)

LZ4_STATE_BYTES: int = _liblz4.LZ4_sizeofState()
LZ4HC_STATE_BYTES: int = _liblz4.LZ4_sizeofStateHC()
LZ4_MAX_INPUT_BYTES = 0x7E000000
LZ4_MAX_OUTPUT_BYTES = LZ4_MAX_INPUT_BYTES + LZ4_MAX_INPUT_BYTES // 255 + 16

# (file descriptor, buffer, bytes, offset) -> bytes read, -1 for an error
pread = types.ExternalFunction("pread", types.intp(types.int32, types.intp, types.intp, types.int64))

# (bytes, other bytes, how many) -> 0 where they are equal
compare_bytes = types.ExternalFunction("memcmp", types.int32(types.intp, types.intp, types.intp))


def lz4_bound(nbytes: int) -> int:
    """The most bytes that LZ4 makes of ``nbytes`` (``LZ4_COMPRESSBOUND`` of lz4.h)."""
    return nbytes + nbytes // 255 + 16


def _pointer(builder, address, kind=_BYTE):
    return builder.inttoptr(address, kind.as_pointer())


@intrinsic
def copy_bytes(context, target, source, nbytes):
    """``memcpy`` between two addresses."""

    def generate(context, builder, signature, arguments):
        target, source, nbytes = arguments
        cgutils.raw_memcpy(builder, _pointer(builder, target), _pointer(builder, source), nbytes, 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@intrinsic
def set_bytes(context, target, byte, nbytes):
    """``memset`` at an address."""

    def generate(context, builder, signature, arguments):
        target, byte, nbytes = arguments
        cgutils.memset(builder, _pointer(builder, target), nbytes, builder.trunc(byte, _BYTE))
        return context.get_dummy_value()

    return types.void(types.intp, types.int64, types.intp), generate


def _streamer(nbytes: int):
    """Return a copy of ``nbytes`` past the caches, to an address that is aligned to them.

    An ordinary store first reads the cache line that it is going to overwrite; large outputs are written several
    times faster when the parts of a line are streamed one right after the other.
    """

    @intrinsic
    def stream(context, target, source):
        def generate(context, builder, signature, arguments):
            target, source = arguments
            vector = ir.VectorType(ir.IntType(64), nbytes // 8)
            value = builder.load(_pointer(builder, source, vector), align=1)
            store = builder.store(value, _pointer(builder, target, vector), align=nbytes)
            store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), generate

    return stream


stream_16_bytes, stream_32_bytes = _streamer(16), _streamer(32)


@intrinsic
def memory_fence(context):
    """Make streamed stores visible to other threads before this one reports that it is done."""

    def generate(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _copier(nbytes: int):
    """Return a copy of ``nbytes`` between addresses of any alignment."""

    @intrinsic
    def copy(context, target, source):
        def generate(context, builder, signature, arguments):
            target, source = arguments
            kind = ir.IntType(8 * nbytes) if nbytes <= 8 else ir.VectorType(ir.IntType(64), nbytes // 8)
            value = builder.load(_pointer(builder, source, kind), align=1)
            builder.store(value, _pointer(builder, target, kind), align=1)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), generate

    return copy


copy_1_byte, copy_2_bytes, copy_4_bytes, copy_8_bytes, copy_16_bytes, copy_32_bytes = map(_copier, (1, 2, 4, 8, 16, 32))


@intrinsic
def load_byte(context, address):
    """Return the byte at an address."""

    def generate(context, builder, signature, arguments):
        value = builder.load(_pointer(builder, arguments[0]))
        return builder.zext(value, ir.IntType(64))

    return types.int64(types.intp), generate


@intrinsic
def load_2_bytes(context, address):
    """Return the two bytes at an address as one number, the lower one first."""

    def generate(context, builder, signature, arguments):
        number = ir.IntType(64)
        low, high = (
            builder.zext(builder.load(builder.gep(_pointer(builder, arguments[0]), [number(index)])), number)
            for index in range(2)
        )
        return builder.or_(low, builder.shl(high, number(8)))

    return types.int64(types.intp), generate


@intrinsic
def load_8_bytes(context, address):
    """Return the int64 at an address."""

    def generate(context, builder, signature, arguments):
        return builder.load(_pointer(builder, arguments[0], ir.IntType(64)))

    return types.int64(types.intp), generate


@intrinsic
def select(context, condition, one, other):
    """Return one of two numbers without a branch, whose wrong guesses would cost more than the numbers."""

    def generate(context, builder, signature, arguments):
        chosen = builder.select(*arguments)
        chosen.set_metadata("unpredictable", builder.module.add_metadata([]))
        return chosen

    return types.int64(types.boolean, types.int64, types.int64), generate


@intrinsic
def store_byte(context, address, value):
    """Set the byte at an address."""

    def generate(context, builder, signature, arguments):
        address, value = arguments
        builder.store(builder.trunc(value, _BYTE), _pointer(builder, address))
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), generate


@intrinsic
def store_8_bytes(context, address, value):
    """Set the 8 bytes at an address, which need not be aligned."""

    def generate(context, builder, signature, arguments):
        address, value = arguments
        builder.store(value, _pointer(builder, address, ir.IntType(64)), align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), generate


@intrinsic
def atomic_add(context, counter, count):
    """Add ``count`` to the int64 at an address, atomically; returns its value before."""

    def generate(context, builder, signature, arguments):
        counter, count = arguments
        return builder.atomic_rmw("add", _pointer(builder, counter, ir.IntType(64)), count, "monotonic")

    return types.int64(types.intp, types.int64), generate
