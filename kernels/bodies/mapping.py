"""Functions of voxels, line by line: bodies that every machine compiles.

``sources`` are flat arrays of a box of voxels in Fortran order, channels fastest, one for each argument of the
function; ``target`` is the flat memory of a box, in Fortran order as well, of which a part is filled. A row is a line
along x. ``geometry`` is ``(lines, begin, strides)``, in values of one channel:

- ``lines`` (channels and x together, y, z) is the shape of the sources, and of the part of the target;
- ``begin`` is the place of the part's first value in the target; ``strides`` (y, z) lead to the next line and plane.

A function is called with one value of each source, and with ``constants``: numbers and arrays.
"""

from __future__ import annotations

import numpy as np

from . import arithmetic


def map_1(first, last, step, lane, lanes, function, target, geometry, sources, constants):
    """Compute lines of the target from one source."""
    width = geometry[0][0]
    for row in range(first, min(last, geometry[0][1] * geometry[0][2]), step):
        at = line_start(geometry, row)
        goal = target[at : at + width]
        a = sources[0][row * width : row * width + width]
        if lanes == 1:  # on the CPU: LLVM makes vector instructions of this loop, and not of the other one
            for x in range(width):
                goal[x] = function(a[x], *constants)
        else:
            for x in range(lane, width, lanes):
                goal[x] = function(a[x], *constants)


def map_2(first, last, step, lane, lanes, function, target, geometry, sources, constants):
    """Compute lines of the target from two sources."""
    width = geometry[0][0]
    for row in range(first, min(last, geometry[0][1] * geometry[0][2]), step):
        at = line_start(geometry, row)
        goal = target[at : at + width]
        a = sources[0][row * width : row * width + width]
        b = sources[1][row * width : row * width + width]
        if lanes == 1:
            for x in range(width):
                goal[x] = function(a[x], b[x], *constants)
        else:
            for x in range(lane, width, lanes):
                goal[x] = function(a[x], b[x], *constants)


def map_3(first, last, step, lane, lanes, function, target, geometry, sources, constants):
    """Compute lines of the target from three sources."""
    width = geometry[0][0]
    for row in range(first, min(last, geometry[0][1] * geometry[0][2]), step):
        at = line_start(geometry, row)
        goal = target[at : at + width]
        a = sources[0][row * width : row * width + width]
        b = sources[1][row * width : row * width + width]
        c = sources[2][row * width : row * width + width]
        if lanes == 1:
            for x in range(width):
                goal[x] = function(a[x], b[x], c[x], *constants)
        else:
            for x in range(lane, width, lanes):
                goal[x] = function(a[x], b[x], c[x], *constants)


def map_4(first, last, step, lane, lanes, function, target, geometry, sources, constants):
    """Compute lines of the target from four sources."""
    width = geometry[0][0]
    for row in range(first, min(last, geometry[0][1] * geometry[0][2]), step):
        at = line_start(geometry, row)
        goal = target[at : at + width]
        a = sources[0][row * width : row * width + width]
        b = sources[1][row * width : row * width + width]
        c = sources[2][row * width : row * width + width]
        d = sources[3][row * width : row * width + width]
        if lanes == 1:
            for x in range(width):
                goal[x] = function(a[x], b[x], c[x], d[x], *constants)
        else:
            for x in range(lane, width, lanes):
                goal[x] = function(a[x], b[x], c[x], d[x], *constants)


MAPS = (map_1, map_2, map_3, map_4)
"""By the number of sources, from 1 on."""


def map_runs(first, last, step, lane, lanes, function, target, geometry, sources, constants):
    """Do as `map_1` with a slow function, which is called once for a run of equal voxels."""
    width = geometry[0][0]
    for row in range(first, min(last, geometry[0][1] * geometry[0][2]), step):
        at = line_start(geometry, row)
        goal = target[at : at + width]
        a = sources[0][row * width : row * width + width]
        if lane < width:
            before = a[lane]
            made = function(before, *constants)
            for x in range(lane, width, lanes):
                if a[x] != before:
                    before = a[x]
                    made = function(before, *constants)
                goal[x] = made


def line_start(geometry, row):
    """Return where a line begins in the target."""
    lines, begin, strides = geometry
    plane = row // lines[1]
    return begin + (row - plane * lines[1]) * strides[0] + plane * strides[1]


# ---- What comes with wkgpu. Constants have the type of the voxels, or that of the result, so that nothing is widened.


def threshold(value, at, below, above):
    """Return ``above`` from ``at`` on, and ``below`` for less and for NaN."""
    return above if value >= at else below


def clip(value, low, high):
    """Return the nearest value from ``low`` to ``high``; NaN stays."""
    if value < low:
        return low
    return high if value > high else value


def rescale_to_integer(value, origin, factor, begin, low, high):
    """Return ``begin + (value - origin) * factor``, rounded and clipped, in float64; ``low`` for NaN."""
    scaled = arithmetic.rounded(scale(value, origin, factor, begin))
    if not scaled > low:
        return low
    return high if scaled > high else scaled


def rescale_to_float(value, origin, factor, begin, low, high):
    """Return ``begin + (value - origin) * factor``, clipped, in float64; NaN stays."""
    return clip(scale(value, origin, factor, begin), low, high)


def scale(value, origin, factor, begin):
    """Return ``begin + (value - origin) * factor`` in float64."""
    return arithmetic.add(arithmetic.multiply(np.float64(value) - origin, factor), begin)


def look_up(value, table, default):
    """Return ``table[value]``, and ``default`` for values beyond the table."""
    index = np.uint64(value)  # negative numbers become the largest ones
    return table[index] if index < np.uint64(table.size) else default


def look_up_or_keep(value, table):
    """Return ``table[value]``, and the value itself beyond the table."""
    index = np.uint64(value)
    return table[index] if index < np.uint64(table.size) else value


def search(value, keys, values, default):
    """Return what stands in ``values`` where ``keys``, which ascend, have the value, and ``default`` where none has."""
    place = lower_bound(value, keys)
    return values[place] if place < keys.size and keys[place] == value else default


def search_or_keep(value, keys, values):
    """Do as `search`, and keep values that are no keys."""
    place = lower_bound(value, keys)
    return values[place] if place < keys.size and keys[place] == value else value


def lower_bound(value, keys):
    """Return the first place of ascending keys that is not less than a value; their number, if all are."""
    low, high = 0, keys.size
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


def mask(value, inside, outside):
    """Return the value where the mask is not zero."""
    return value if inside != 0 else outside
