"""A block of voxels made one: median, mode, maximum, minimum or mean of what a coarser voxel covers.

The common blocks of 8 (2x2x2) and 4 (2x2x1) voxels come as arguments, which stay in registers and which compilers turn
into vector instructions. Any other block is walked through where it lies, without memory of its own: such bodies read
each voxel several times, from the nearest cache.

Arguments ``a`` to ``h`` are sorted with y running fastest, then x, then z: where a mode is a draw, the first one wins,
as it does in the WEBKNOSSOS library.
Integers are exact. Of floats, a NaN makes a median, maximum or minimum NaN; for a mode it is equal to nothing.
"""

from __future__ import annotations

import numpy as np

# ---- Two values


def lower(a, b):
    """Return the lesser one, or the one that is NaN."""
    return b if b < a or b != b else a


def higher(a, b):
    """Return the greater one, or the one that is NaN."""
    return b if a < b or b != b else a


def join_unsigned(low, high):
    """Return the mean of two unsigned integers, the second of which is not less, rounded down."""
    return low + ((high - low) >> 1)


def join_signed(low, high):
    """Return the mean of two signed integers, the second of which is not less, rounded towards 0."""
    if (low < 0) != (high < 0):
        total = low + high
        return (total + 1) >> 1 if total < 0 else total >> 1
    half = (high - low) >> 1
    return high - half if low < 0 else low + half


def join_float(low, high):
    """Return the mean of two floats, whose sum overflows if it must."""
    return (low + high) * 0.5


# ---- Blocks of 8 and of 4 voxels


def median_of_8(join, a, b, c, d, e, f, g, h):
    """Join the two middle values: two sorting networks for four values, and the middle of what merges them."""
    a, b, c, d = sorted_4(a, b, c, d)
    e, f, g, h = sorted_4(e, f, g, h)
    low = higher(higher(lower(a, h), lower(b, g)), higher(lower(c, f), lower(d, e)))
    high = lower(lower(higher(a, h), higher(b, g)), lower(higher(c, f), higher(d, e)))
    return join(low, high)


def median_of_4(join, a, b, c, d):
    """Join the two middle values."""
    _, low, high, _ = sorted_4(a, b, c, d)
    return join(low, high)


def sorted_4(a, b, c, d):
    """Sort four values."""
    a, b = lower(a, b), higher(a, b)
    c, d = lower(c, d), higher(c, d)
    a, c = lower(a, c), higher(a, c)
    b, d = lower(b, d), higher(b, d)
    return a, lower(b, c), higher(b, c), d


def mode_of_8(join, a, b, c, d, e, f, g, h):
    """Return the most frequent value, and of several the first. ``join`` is not needed."""
    most = 1 + (a == b) + (a == c) + (a == d) + (a == e) + (a == f) + (a == g) + (a == h)
    if most >= 4:  # no other one can be more frequent
        return a
    mode = a
    count = 1 + (b == c) + (b == d) + (b == e) + (b == f) + (b == g) + (b == h)
    if count > most:
        mode, most = b, count
    count = 1 + (c == d) + (c == e) + (c == f) + (c == g) + (c == h)
    if count > most:
        mode, most = c, count
    count = 1 + (d == e) + (d == f) + (d == g) + (d == h)
    if count > most:
        mode, most = d, count
    count = 1 + (e == f) + (e == g) + (e == h)
    if count > most:
        mode, most = e, count
    count = 1 + (f == g) + (f == h)
    if count > most:
        mode, most = f, count
    return g if 1 + (g == h) > most else mode


def mode_of_4(join, a, b, c, d):
    """Return the most frequent value, and of several the first. ``join`` is not needed."""
    most = 1 + (a == b) + (a == c) + (a == d)
    if most >= 2:
        return a
    if b == c or b == d:
        return b
    return c if c == d else a


def maximum_of_8(join, a, b, c, d, e, f, g, h):
    """Return the greatest value. ``join`` is not needed."""
    return higher(higher(higher(a, b), higher(c, d)), higher(higher(e, f), higher(g, h)))


def maximum_of_4(join, a, b, c, d):
    """Return the greatest value. ``join`` is not needed."""
    return higher(higher(a, b), higher(c, d))


def minimum_of_8(join, a, b, c, d, e, f, g, h):
    """Return the least value. ``join`` is not needed."""
    return lower(lower(lower(a, b), lower(c, d)), lower(lower(e, f), lower(g, h)))


def minimum_of_4(join, a, b, c, d):
    """Return the least value. ``join`` is not needed."""
    return lower(lower(a, b), lower(c, d))


# ---- Blocks of any shape: ``corner`` is the block's first voxel in the source, and ``frame`` says what the source is:
# ``(extents, mirror_x, mirror_y, mirror_z)``. Extents are (channels, x, y, z). A block that reaches beyond the voxels
# that count is filled up with their mirror image.


def mirrored(place, mirror):
    """Return which voxel along an axis stands for a place.

    Parameters
    ----------
    mirror
        ``(first, end, low, high)``: places from ``first`` on, before ``end``, are as they are. Before the first one
        comes the mirror image of the ``low`` first voxels, over and over, behind the last one that of the ``high``
        last ones.
    """
    first, end, low, high = mirror
    if place < first:
        place = (first - 1 - place) % (2 * low)
        return first + (place if place < low else 2 * low - 1 - place)
    if place >= end:
        place = (place - end) % (2 * high)
        return end - 1 - (place if place < high else 2 * high - 1 - place)
    return place


def line_at(frame, y, z):
    """Return where the line of a source at y and z begins."""
    extents, _, mirror_y, mirror_z = frame
    return (mirrored(z, mirror_z) * extents[2] + mirrored(y, mirror_y)) * extents[1] * extents[0]


def value_at(source, frame, channel, x, y, z):
    """Return the voxel at a place."""
    return source[line_at(frame, y, z) + mirrored(x, frame[1]) * frame[0][0] + channel]


def median_of_block(join, source, frame, channel, corner, factors):
    """Join the two middle values. They are found by counting: no voxel is moved, and no memory is needed."""
    low = minimum_of_block(join, source, frame, channel, corner, factors)
    high = maximum_of_block(join, source, frame, channel, corner, factors)
    if low != low:
        return join(low, low)
    wanted = factors[0] * factors[1] * factors[2] // 2  # so many voxels come up to the lower one of the two
    while low < high:  # it is one of these or between them, and each step leaves out one of them at least
        pivot = join(low, high)
        if not pivot < high:  # the sum of floats can overflow
            count, under, over = split_block(source, frame, channel, corner, factors, low, low, high)
        else:
            count, under, over = split_block(source, frame, channel, corner, factors, pivot, low, high)
        if count >= wanted:
            high = under
        else:
            low = over
    high = maximum_of_block(join, source, frame, channel, corner, factors)
    count, _, over = split_block(source, frame, channel, corner, factors, low, low, high)
    return join(low, low if count > wanted else over)


def split_block(source, frame, channel, corner, factors, pivot, low, high):
    """Return how many voxels are not above a value, the greatest of these, and the least of the others.

    ``low`` is one of the former and ``high`` one of the latter; lesser and greater ones are only counted.
    """
    x, y, z = corner
    channels = frame[0][0]
    count = 0
    under, over = low, high
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = line_at(frame, y + dy, z + dz)
            for dx in range(factors[0]):
                value = source[line + mirrored(x + dx, frame[1]) * channels + channel]
                is_under = value <= pivot  # selections instead of branches, which nobody could predict
                count += is_under
                under = value if is_under and value > under else under
                over = value if not is_under and value < over else over
    return count, under, over


def mode_of_block(join, source, frame, channel, corner, factors):
    """Return the most frequent value, and of several the first. ``join`` is not needed."""
    x, y, z = corner
    mode = before = value_at(source, frame, channel, x, y, z)
    most = 0
    left = size = factors[0] * factors[1] * factors[2]
    for dz in range(factors[2]):
        for dx in range(factors[0]):
            for dy in range(factors[1]):
                value = value_at(source, frame, channel, x + dx, y + dy, z + dz)
                if most == 0 or (value != mode and value != before):
                    before = value
                    count = max(count_in_block(source, frame, channel, corner, factors, value), 1)
                    if count > most:
                        mode, most = value, count
                left -= 1
                if most >= left or 2 * most >= size:  # a value that has not come yet cannot come often enough
                    return mode
    return mode


def count_in_block(source, frame, channel, corner, factors, wanted):
    """Return how many voxels have a value."""
    x, y, z = corner
    channels = frame[0][0]
    count = 0
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = line_at(frame, y + dy, z + dz)
            for dx in range(factors[0]):
                count += source[line + mirrored(x + dx, frame[1]) * channels + channel] == wanted
    return count


def maximum_of_block(join, source, frame, channel, corner, factors):
    """Return the greatest value. ``join`` is not needed."""
    x, y, z = corner
    channels = frame[0][0]
    most = value_at(source, frame, channel, x, y, z)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = line_at(frame, y + dy, z + dz)
            for dx in range(factors[0]):
                most = higher(most, source[line + mirrored(x + dx, frame[1]) * channels + channel])
    return most


def minimum_of_block(join, source, frame, channel, corner, factors):
    """Return the least value. ``join`` is not needed."""
    x, y, z = corner
    channels = frame[0][0]
    least = value_at(source, frame, channel, x, y, z)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = line_at(frame, y + dy, z + dz)
            for dx in range(factors[0]):
                least = lower(least, source[line + mirrored(x + dx, frame[1]) * channels + channel])
    return least


def mean_of_integers(source, frame, channel, corner, factors):
    """Return the mean of integers of 32 bits or less, rounded to the nearest, and up where two are as near."""
    x, y, z = corner
    channels = frame[0][0]
    total = np.int64(0)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = line_at(frame, y + dy, z + dz)
            for dx in range(factors[0]):
                total += np.int64(source[line + mirrored(x + dx, frame[1]) * channels + channel])
    count = factors[0] * factors[1] * factors[2]
    return (total + count // 2) // count


def mean_of_signed(source, frame, channel, corner, factors):
    """Do as `mean_of_integers` for int64, whose sums could overflow."""
    x, y, z = corner
    channels = frame[0][0]
    count = np.int64(factors[0] * factors[1] * factors[2])
    whole, rest = np.int64(0), np.int64(0)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = line_at(frame, y + dy, z + dz)
            for dx in range(factors[0]):
                value = np.int64(source[line + mirrored(x + dx, frame[1]) * channels + channel])
                whole += value // count
                rest += value % count
    return whole + (rest + count // np.int64(2)) // count


def mean_of_unsigned(source, frame, channel, corner, factors):
    """Do as `mean_of_integers` for uint64, whose sums could overflow."""
    x, y, z = corner
    channels = frame[0][0]
    count = np.uint64(factors[0] * factors[1] * factors[2])
    whole, rest = np.uint64(0), np.uint64(0)
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = line_at(frame, y + dy, z + dz)
            for dx in range(factors[0]):
                value = np.uint64(source[line + mirrored(x + dx, frame[1]) * channels + channel])
                whole += value // count
                rest += value % count
    return whole + (rest + count // np.uint64(2)) // count


def mean_of_floats(source, frame, channel, corner, factors):
    """Return the mean of floats, which are added up as float64."""
    x, y, z = corner
    channels = frame[0][0]
    total = 0.0
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            line = line_at(frame, y + dy, z + dz)
            for dx in range(factors[0]):
                total += source[line + mirrored(x + dx, frame[1]) * channels + channel]
    return total / (factors[0] * factors[1] * factors[2])
