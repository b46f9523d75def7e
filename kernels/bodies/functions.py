"""Functions of a voxel that come with wkgpu; `mapping` calls them line by line.

Constants have the type of the voxels, or that of the result, so that nothing is widened.
"""

from __future__ import annotations

import numpy as np

from .arithmetic import add, multiply, rounded
from .registration import body


@body
def threshold(value, at, below, above):
    """Return ``above`` from ``at`` on, and ``below`` for less and for NaN."""
    return above if value >= at else below


@body
def clip(value, low, high):
    """Return the nearest value from ``low`` to ``high``; NaN stays."""
    if value < low:
        return low
    return high if value > high else value


@body
def rescale_to_integer(value, origin, factor, begin, low, high):
    """Return ``begin + (value - origin) * factor``, rounded and clipped, in float64; ``low`` for NaN."""
    scaled = rounded(scale(value, origin, factor, begin))
    if not scaled > low:
        return low
    return high if scaled > high else scaled


@body
def rescale_to_float(value, origin, factor, begin, low, high):
    """Return ``begin + (value - origin) * factor``, clipped, in float64; NaN stays."""
    return clip(scale(value, origin, factor, begin), low, high)


@body
def scale(value, origin, factor, begin):
    """Return ``begin + (value - origin) * factor`` in float64."""
    return add(multiply(np.float64(value) - origin, factor), begin)


@body
def look_up(value, table, default):
    """Return ``table[value]``, and ``default`` for values beyond the table."""
    index = np.uint64(value)  # negative numbers become the largest ones
    return table[index] if index < np.uint64(table.size) else default


@body
def look_up_or_keep(value, table):
    """Return ``table[value]``, and the value itself beyond the table."""
    index = np.uint64(value)
    return table[index] if index < np.uint64(table.size) else value


@body
def search(value, keys, values, default):
    """Return what stands in ``values`` where ``keys``, which ascend, have the value, and ``default`` where none has."""
    index = lower_bound(value, keys)
    return values[index] if index < keys.size and keys[index] == value else default


@body
def search_or_keep(value, keys, values):
    """Do as `search`, and keep values that are no keys."""
    index = lower_bound(value, keys)
    return values[index] if index < keys.size and keys[index] == value else value


@body
def lower_bound(value, keys):
    """Return the first index of ascending keys that is not less than a value; their number, if all are."""
    low, high = 0, keys.size
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@body
def mask(value, inside, outside):
    """Return the value where the mask is not zero."""
    return value if inside != 0 else outside
