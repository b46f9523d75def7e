"""Functions of voxels, line by line.

``sources`` are flat arrays of a box of voxels in Fortran order, channels fastest, one for each argument of the
function; ``target`` is the flat memory of a box, in Fortran order as well, of which a part is filled. A row is a line
along x. ``geometry`` is ``(lines, begin, strides)``, in values of one channel:

- ``lines`` (channels and x together, y, z) is the shape of the sources, and of the part of the target;
- ``begin`` is the index of the part's first value in the target; ``strides`` (y, z) lead to the next line and plane.

A function is called with one value of each source, and with ``constants``: numbers and arrays.
"""

from __future__ import annotations

from . import functions
from .registration import body, kernel
from .workers import share


@body
def map_1(worker, function, target, geometry, sources, constants):
    """Compute lines of the target from one source."""
    first, last, step, lane, lanes = worker
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


@body
def map_2(worker, function, target, geometry, sources, constants):
    """Compute lines of the target from two sources."""
    first, last, step, lane, lanes = worker
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


@body
def map_3(worker, function, target, geometry, sources, constants):
    """Compute lines of the target from three sources."""
    first, last, step, lane, lanes = worker
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


@body
def map_4(worker, function, target, geometry, sources, constants):
    """Compute lines of the target from four sources."""
    first, last, step, lane, lanes = worker
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


@body
def map_runs(worker, function, target, geometry, sources, constants):
    """Do as `map_1` with a slow function, which is called once for a run of equal voxels."""
    first, last, step, lane, lanes = worker
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


@body
def line_start(geometry, row):
    """Return where a line begins in the target."""
    lines, begin, strides = geometry
    plane = row // lines[1]
    return begin + (row - plane * lines[1]) * strides[0] + plane * strides[1]


def user_kernel(share, function, count):
    """Return the kernel that maps values of ``count`` sources by a user function.

    Parameters
    ----------
    share, function
        `workers.share` of a machine, and the function as this machine calls it.
    """
    lines = MAPS[count - 1]

    def kernel(first, last, target, geometry, sources, constants):
        lines(share(first, last), function, target, geometry, sources, constants)

    return kernel


# ---- Kernels


@kernel
def threshold(first, last, target, geometry, sources, constants):
    """See `functions.threshold`."""
    map_1(share(first, last), functions.threshold, target, geometry, sources, constants)


@kernel
def clip(first, last, target, geometry, sources, constants):
    """See `functions.clip`."""
    map_1(share(first, last), functions.clip, target, geometry, sources, constants)


@kernel
def rescale_to_integer(first, last, target, geometry, sources, constants):
    """See `functions.rescale_to_integer`."""
    map_1(share(first, last), functions.rescale_to_integer, target, geometry, sources, constants)


@kernel
def rescale_to_float(first, last, target, geometry, sources, constants):
    """See `functions.rescale_to_float`."""
    map_1(share(first, last), functions.rescale_to_float, target, geometry, sources, constants)


@kernel
def look_up(first, last, target, geometry, sources, constants):
    """See `functions.look_up`."""
    map_1(share(first, last), functions.look_up, target, geometry, sources, constants)


@kernel
def look_up_or_keep(first, last, target, geometry, sources, constants):
    """See `functions.look_up_or_keep`."""
    map_1(share(first, last), functions.look_up_or_keep, target, geometry, sources, constants)


@kernel
def search(first, last, target, geometry, sources, constants):
    """See `functions.search`."""
    map_runs(share(first, last), functions.search, target, geometry, sources, constants)


@kernel
def search_or_keep(first, last, target, geometry, sources, constants):
    """See `functions.search_or_keep`."""
    map_runs(share(first, last), functions.search_or_keep, target, geometry, sources, constants)


@kernel
def mask(first, last, target, geometry, sources, constants):
    """See `functions.mask`."""
    map_2(share(first, last), functions.mask, target, geometry, sources, constants)
