"""CRC32C on the CPU: four bytes behind the data, which are its checksum.

The data is copied while it is read, so that the copy costs nothing. CPUs have an instruction for 8 bytes, of which one
waits for the one before; three parts of a block are therefore summed side by side, and their sums are put together.
Source of the checksum: RFC 3720, appendix B.4; of putting sums together: a sum of bytes followed by zeros is the sum of
the bytes times a constant matrix, which a table for each byte of it says.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ..compilation import cached_c_function
from . import intrinsics

_POLYNOMIAL = 0x82F63B78  # reflected
_CHECKSUM_BYTES = 4
_DOUBLINGS = 10
_PART = 1 << _DOUBLINGS  # bytes that are summed side by side with two others


def _instruction() -> tuple[str, int] | None:
    """Return LLVM's name of the instruction for 8 bytes, and how many bits its sum has there."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    found = features.split(",")
    if "+sse4.2" in found:
        return "llvm.x86.sse42.crc32.64.64", 64
    return ("llvm.aarch64.crc32cx", 32) if "+crc" in found else None


_INSTRUCTION = _instruction()


def _byte_table() -> np.ndarray:
    """Return what 8 further bits make of a sum, by its lowest byte."""
    table = np.arange(256, dtype=np.int64)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, _POLYNOMIAL, 0)
    return table


def _zeros_tables(doublings: int) -> np.ndarray:
    """Return what ``2**doublings`` zero bytes make of a sum: for each byte of it a row, to be combined by XOR."""

    def after(columns, value):
        return np.bitwise_xor.reduce(columns[(value >> np.arange(32) & 1).astype(bool)], initial=0)

    columns = np.array([_BYTES[(1 << bit) & 255] ^ (1 << bit) >> 8 for bit in range(32)])  # of each bit of the sum
    for _ in range(doublings):
        columns = np.array([after(columns, column) for column in columns])
    return np.array([[after(columns, value << 8 * byte) for value in range(256)] for byte in range(4)], np.int64)


_BYTES = _byte_table()


def _tables_of_8() -> np.ndarray:
    """Return what 8 bytes make, by each of them: the sum of a byte followed by 7 to 0 zeros."""
    tables = np.zeros((8, 256), np.int64)
    tables[7] = _BYTES
    for byte in range(6, -1, -1):
        tables[byte] = _BYTES[tables[byte + 1] & 255] ^ tables[byte + 1] >> 8
    return tables


_OF_8 = _tables_of_8()
_PART_OF_ZEROS = _zeros_tables(_DOUBLINGS)


@intrinsic
def _sum_8_bytes_at_once(context, checksum, word):
    def generate(context, builder, signature, arguments):
        name, bits = _INSTRUCTION
        kind = ir.IntType(bits)
        signature = ir.FunctionType(kind, [kind, ir.IntType(64)])
        function = cgutils.get_or_insert_function(builder.module, signature, name)
        checksum, word = arguments
        if bits == 64:
            return builder.call(function, [checksum, word])
        return builder.zext(builder.call(function, [builder.trunc(checksum, kind), word]), ir.IntType(64))

    return types.int64(types.int64, types.int64), generate


if _INSTRUCTION is None:

    @njit(nogil=True)
    def _add_8_bytes(checksum, word):
        mixed = checksum ^ word
        checksum = np.int64(0)
        for byte in range(8):
            checksum ^= _OF_8[byte, mixed >> 8 * byte & 255]
        return checksum

else:

    @njit(nogil=True)
    def _add_8_bytes(checksum, word):
        return _sum_8_bytes_at_once(checksum, word)


@njit(nogil=True)
def _after_zeros(checksum):
    """Return what `_PART` zero bytes make of a sum."""
    return (
        _PART_OF_ZEROS[0, checksum & 255]
        ^ _PART_OF_ZEROS[1, checksum >> 8 & 255]
        ^ _PART_OF_ZEROS[2, checksum >> 16 & 255]
        ^ _PART_OF_ZEROS[3, checksum >> 24 & 255]
    )


@njit(nogil=True)
def _copy_word(source, target, checksum):
    """Copy 8 bytes; their sum with those before them."""
    word = intrinsics.load_8_bytes(source)
    intrinsics.store_8_bytes(target, word)
    return _add_8_bytes(checksum, word)


@njit(nogil=True)
def _copy(source, nbytes, target):
    """Copy bytes; their checksum."""
    checksum = np.int64(0xFFFFFFFF)
    done = 0
    while done + 3 * _PART <= nbytes:
        second = third = np.int64(0)
        for byte in range(done, done + _PART, 8):
            checksum = _copy_word(source + byte, target + byte, checksum)
            second = _copy_word(source + byte + _PART, target + byte + _PART, second)
            third = _copy_word(source + byte + 2 * _PART, target + byte + 2 * _PART, third)
        checksum = _after_zeros(_after_zeros(checksum) ^ second) ^ third
        done += 3 * _PART
    while done + 8 <= nbytes:
        checksum = _copy_word(source + done, target + done, checksum)
        done += 8
    while done < nbytes:
        byte = intrinsics.load_byte(source + done)
        intrinsics.store_byte(target + done, byte)
        checksum = _BYTES[(checksum ^ byte) & 255] ^ checksum >> 8
        done += 1
    return checksum ^ 0xFFFFFFFF


@cached_c_function
def decode(source, nbytes, target, wanted, capacity, parameter, state):
    """Copy the data; -1 where it has another checksum."""
    decoded = nbytes - _CHECKSUM_BYTES
    if decoded < 0 or decoded > capacity:
        return decoded
    stored = intrinsics.load_2_bytes(source + decoded) | intrinsics.load_2_bytes(source + decoded + 2) << 16
    return decoded if _copy(source, decoded, target) == stored else -1


@cached_c_function
def encode(source, nbytes, target, capacity, parameter, state):
    """Copy the data, and put its checksum behind it."""
    if nbytes + _CHECKSUM_BYTES > capacity:
        return 0
    checksum = _copy(source, nbytes, target)
    for byte in range(_CHECKSUM_BYTES):
        intrinsics.store_byte(target + nbytes + byte, checksum >> 8 * byte & 255)
    return nbytes + _CHECKSUM_BYTES
