"""The primitives of `placement` and `arithmetic` on the CPU.

The former are copies between addresses, which may stream past the caches, the latter what a CPU does anyway.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import overload

from ..bodies import arithmetic, placement
from . import intrinsics

_ALL_BYTES = 0x0101010101010101

# ---- Memory
# Numba-CUDA would inline these overloads, too, if their types fitted: here memory is an address, on CUDA an array.


@overload(placement.copy_run, target="cpu", inline="always")
def _copy_run(target, at, source, start, units, streaming, lane, lanes):
    def copy(target, at, source, start, units, streaming, lane, lanes):
        goal = target + at
        begin = source + start
        if not streaming:
            intrinsics.copy_bytes(goal, begin, units)
        elif (goal | units) & 31 == 0:
            for offset in range(0, units, 32):
                intrinsics.stream_32_bytes(goal + offset, begin + offset)
        elif (goal | units) & 15 == 0:  # NumPy's own large arrays begin 16 bytes past a cache line
            for offset in range(0, units, 16):
                intrinsics.stream_16_bytes(goal + offset, begin + offset)
        else:
            _stream(goal, begin, units)

    return copy


@njit(nogil=True)
def _stream(goal, begin, units):
    """Stream the whole cache lines of a run, and copy what it has of the first and the last one."""
    head = min(-goal & 63, units)
    intrinsics.copy_bytes(goal, begin, head)
    whole = (units - head) & ~63
    for offset in range(head, head + whole, 32):
        intrinsics.stream_32_bytes(goal + offset, begin + offset)
    done = head + whole
    intrinsics.copy_bytes(goal + done, begin + done, units - done)


@overload(placement.fill_run, target="cpu", inline="always")
def _fill_run(target, at, units, pattern, bits, lane, lanes):
    def fill(target, at, units, pattern, bits, lane, lanes):
        fill_bytes(target + at, units, pattern)

    return fill


@njit(nogil=True)
def fill_bytes(target, nbytes, pattern):
    """Repeat the 8 bytes of a number at an address."""
    low = pattern & 0xFF
    if pattern == low * _ALL_BYTES:
        intrinsics.set_bytes(target, low, nbytes)
        return
    whole = nbytes & ~7
    for offset in range(0, whole, 8):
        intrinsics.store_8_bytes(target + offset, pattern)
    for byte in range(nbytes - whole):
        intrinsics.store_byte(target + whole + byte, pattern >> 8 * byte & 0xFF)


@njit(nogil=True)
def is_filled(address, nbytes, pattern):
    """Whether ``nbytes`` at an address repeat the 8 bytes of a number."""
    for byte in range(min(nbytes, 8)):
        if intrinsics.load_byte(address + byte) != pattern >> 8 * byte & 0xFF:
            return False
    return nbytes <= 8 or intrinsics.compare_bytes(address, address + 8, nbytes - 8) == 0


@overload(placement.copy_item, target="cpu", inline="always")
def _copy_item(target, at, source, start, units):
    def copy(target, at, source, start, units):
        goal = target + at
        begin = source + start
        if units == 1:
            intrinsics.copy_1_byte(goal, begin)
        elif units == 2:
            intrinsics.copy_2_bytes(goal, begin)
        elif units == 4:
            intrinsics.copy_4_bytes(goal, begin)
        else:
            intrinsics.copy_8_bytes(goal, begin)

    return copy


# ---- Arithmetic
# None of these is `inline`: once compiled, Numba-CUDA would inline it as well, and fail. LLVM inlines them anyway.


@overload(arithmetic.multiply, target="cpu")
def _multiply(a, b):
    return lambda a, b: a * b


@overload(arithmetic.add, target="cpu")
def _add(a, b):
    return lambda a, b: a + b


@overload(arithmetic.rounded, target="cpu")
def _rounded(a):
    return lambda a: np.rint(a)
