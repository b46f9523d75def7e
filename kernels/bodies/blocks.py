"""A block of voxels made one: median, mode, maximum, minimum or mean of what a coarser voxel covers.

The common blocks of 8 (2x2x2) and 4 (2x2x1) voxels come as arguments, which stay in registers and which compilers turn
into vector instructions. Of any other block, extremes and means are found where it lies; for medians and modes see
`columns`.

Arguments ``a`` to ``h`` are sorted with y running fastest, then x, then z: ties of a mode go to the first one,
as they do in the WEBKNOSSOS library.
Integers are exact. Of floats, a NaN makes a median, maximum, minimum or mean NaN; for a mode it is equal to nothing,
but comes once.
"""

from __future__ import annotations

import numpy as np

from .registration import body

# ---- Two values


@body
def lower(a, b):
    """Return the lesser one, or the one that is NaN."""
    return b if b < a or b != b else a


@body
def higher(a, b):
    """Return the greater one, or the one that is NaN."""
    return b if a < b or b != b else a


@body
def join_unsigned(low, high):
    """Return the mean of two unsigned integers, the second of which is not less, rounded down."""
    return low + ((high - low) >> 1)


@body
def join_signed(low, high):
    """Return the mean of two signed integers, the second of which is not less, rounded towards 0."""
    if (low < 0) != (high < 0):
        total = low + high
        return (total + 1) >> 1 if total < 0 else total >> 1
    half = (high - low) >> 1
    return high - half if low < 0 else low + half


@body
def join_float(low, high):
    """Return the mean of two floats, whose sum overflows if it must."""
    return (low + high) * 0.5


# ---- Blocks of 8 and of 4 voxels


@body
def median_of_8(join, a, b, c, d, e, f, g, h):
    """Join the two middle values: two sorting networks for four values, and the middle of what merges them."""
    a, b, c, d = sorted_4(a, b, c, d)
    e, f, g, h = sorted_4(e, f, g, h)
    low = higher(higher(lower(a, h), lower(b, g)), higher(lower(c, f), lower(d, e)))
    high = lower(lower(higher(a, h), higher(b, g)), lower(higher(c, f), higher(d, e)))
    return join(low, high)


@body
def median_of_4(join, a, b, c, d):
    """Join the two middle values."""
    _, low, high, _ = sorted_4(a, b, c, d)
    return join(low, high)


@body
def sorted_4(a, b, c, d):
    """Sort four values."""
    a, b = lower(a, b), higher(a, b)
    c, d = lower(c, d), higher(c, d)
    a, c = lower(a, c), higher(a, c)
    b, d = lower(b, d), higher(b, d)
    return a, lower(b, c), higher(b, c), d


@body
def mode_of_8(join, a, b, c, d, e, f, g, h):
    """Return the most frequent value, and of several the first. ``join`` is not needed."""
    max_count = 1 + (a == b) + (a == c) + (a == d) + (a == e) + (a == f) + (a == g) + (a == h)
    if max_count >= 4:  # no other one can be more frequent
        return a
    mode = a
    count = 1 + (b == c) + (b == d) + (b == e) + (b == f) + (b == g) + (b == h)
    if count > max_count:
        mode, max_count = b, count
    count = 1 + (c == d) + (c == e) + (c == f) + (c == g) + (c == h)
    if count > max_count:
        mode, max_count = c, count
    count = 1 + (d == e) + (d == f) + (d == g) + (d == h)
    if count > max_count:
        mode, max_count = d, count
    count = 1 + (e == f) + (e == g) + (e == h)
    if count > max_count:
        mode, max_count = e, count
    count = 1 + (f == g) + (f == h)
    if count > max_count:
        mode, max_count = f, count
    return g if 1 + (g == h) > max_count else mode


@body
def mode_of_4(join, a, b, c, d):
    """Return the most frequent value, and of several the first. ``join`` is not needed."""
    max_count = 1 + (a == b) + (a == c) + (a == d)
    if max_count >= 2:
        return a
    if b == c or b == d:
        return b
    return c if c == d else a


@body
def maximum_of_8(join, a, b, c, d, e, f, g, h):
    """Return the greatest value. ``join`` is not needed."""
    return higher(higher(higher(a, b), higher(c, d)), higher(higher(e, f), higher(g, h)))


@body
def maximum_of_4(join, a, b, c, d):
    """Return the greatest value. ``join`` is not needed."""
    return higher(higher(a, b), higher(c, d))


@body
def minimum_of_8(join, a, b, c, d, e, f, g, h):
    """Return the least value. ``join`` is not needed."""
    return lower(lower(lower(a, b), lower(c, d)), lower(lower(e, f), lower(g, h)))


@body
def minimum_of_4(join, a, b, c, d):
    """Return the least value. ``join`` is not needed."""
    return lower(lower(a, b), lower(c, d))


@body
def mean_of_8_integers(join, a, b, c, d, e, f, g, h):
    """Return the mean of integers of 32 bits or less, see `mean_of_integers`. ``join`` is not needed."""
    total = (np.int64(a) + np.int64(b)) + (np.int64(c) + np.int64(d)) + (np.int64(e) + np.int64(f))
    return (total + (np.int64(g) + np.int64(h)) + 4) >> 3


@body
def mean_of_4_integers(join, a, b, c, d):
    """Return the mean of integers of 32 bits or less, see `mean_of_integers`. ``join`` is not needed."""
    return ((np.int64(a) + np.int64(b)) + (np.int64(c) + np.int64(d)) + 2) >> 2


@body
def mean_of_8_floats(join, a, b, c, d, e, f, g, h):
    """Return the mean of floats, which are added up as float64. ``join`` is not needed."""
    near = (np.float64(a) + np.float64(b)) + (np.float64(c) + np.float64(d))
    far = (np.float64(e) + np.float64(f)) + (np.float64(g) + np.float64(h))
    return (near + far) * 0.125


@body
def mean_of_4_floats(join, a, b, c, d):
    """Return the mean of floats, which are added up as float64. ``join`` is not needed."""
    return ((np.float64(a) + np.float64(b)) + (np.float64(c) + np.float64(d))) * 0.25


# ---- Blocks of any shape: ``first`` is the index of a block's first voxel in the source, ``steps`` (x, y, z) lead to
# its neighbours, and ``factors`` (x, y, z) is the shape.


@body
def maximum_of_block(source, first, steps, factors):
    """Return the greatest value."""
    greatest = source[first]
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = first + dy * steps[1] + dz * steps[2]
            for dx in range(factors[0]):
                greatest = higher(greatest, source[line + dx * steps[0]])
    return greatest


@body
def minimum_of_block(source, first, steps, factors):
    """Return the least value."""
    lowest = source[first]
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = first + dy * steps[1] + dz * steps[2]
            for dx in range(factors[0]):
                lowest = lower(lowest, source[line + dx * steps[0]])
    return lowest


@body
def mean_of_integers(source, first, steps, factors):
    """Return the mean of integers of 32 bits or less, rounded to the nearest, and up where two are as near."""
    total = np.int64(0)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = first + dy * steps[1] + dz * steps[2]
            for dx in range(factors[0]):
                total += np.int64(source[line + dx * steps[0]])
    count = factors[0] * factors[1] * factors[2]
    return (total + count // 2) // count


@body
def mean_of_signed(source, first, steps, factors):
    """Do as `mean_of_integers` for int64, whose sums could overflow."""
    count = np.int64(factors[0] * factors[1] * factors[2])
    whole, rest = np.int64(0), np.int64(0)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = first + dy * steps[1] + dz * steps[2]
            for dx in range(factors[0]):
                value = np.int64(source[line + dx * steps[0]])
                whole += value // count
                rest += value % count
    return whole + (rest + count // np.int64(2)) // count


@body
def mean_of_unsigned(source, first, steps, factors):
    """Do as `mean_of_integers` for uint64, whose sums could overflow."""
    count = np.uint64(factors[0] * factors[1] * factors[2])
    whole, rest = np.uint64(0), np.uint64(0)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = first + dy * steps[1] + dz * steps[2]
            for dx in range(factors[0]):
                value = np.uint64(source[line + dx * steps[0]])
                whole += value // count
                rest += value % count
    return whole + (rest + count // np.uint64(2)) // count


@body
def mean_of_floats(source, first, steps, factors):
    """Return the mean of floats, which are added up as float64."""
    total = np.float64(0)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = first + dy * steps[1] + dz * steps[2]
            for dx in range(factors[0]):
                total += np.float64(source[line + dx * steps[0]])
    return total / (factors[0] * factors[1] * factors[2])
