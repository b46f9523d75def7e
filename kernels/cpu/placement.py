"""The bodies of `placement` and `exchange` on the CPU: in voxels of boxes, out of them, and cleared.

Memory is an address, so one compiled version serves all voxel types and memory layouts.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..bodies import placement
from ..bodies.exchange import exchange
from ..bodies.workers import alone
from ..compilation import cached_kernel
from ..planning import MISSING_BOX
from .primitives import fill_bytes

# Lines that are joined in a buffer before they are streamed: enough for the stores to leave the store buffer.
LINES = 8


@njit(nogil=True)
def corner_of(table, box, row):
    """Return the first voxel of a chunk in its box; ``box`` is the column of the boxes, which the origin follows."""
    return table[box + 1, row], table[box + 2, row], table[box + 3, row]


@njit(nogil=True)
def is_next_along_x(a, b, table, box, chunk_x):
    """Whether chunk ``b`` is the x-neighbour of chunk ``a`` in the same box; ``box`` is as in `corner_of`."""
    return (
        table[box, a] == table[box, b]
        and table[box + 3, a] == table[box + 3, b]
        and table[box + 2, a] == table[box + 2, b]
        and table[box + 1, a] + chunk_x == table[box + 1, b]
    )


@njit(nogil=True)
def place_run(source, count, stride, target, base, origin, geometry, streaming, line):
    """Place decoded x-neighbours, so that as many whole cache lines as possible are streamed."""
    chunk_x, _, _, box_x, _, _, voxel, stride_y, stride_z = geometry
    joined = 0
    if streaming:
        ends = (target + base + origin[0] * voxel) | chunk_x * voxel | stride_y | stride_z | box_x * voxel
        joined = 0 if ends & 15 == 0 else LINES
    placement.place_group(alone(), source, 0, count, stride, target, base, origin, geometry, streaming, line, joined)


@cached_kernel
def fill_chunks(first, last, missing, box_stride, geometry, pattern, target):
    """Fill what the missing chunks of the rows ``first`` to ``last`` would have covered.

    Parameters
    ----------
    missing : int64 (MISSING_COLUMNS, n)
        See `planning`.
    box_stride : int
        Bytes from one box of the output to the next.
    geometry : tuple of int
        As in `placement.place_group`, in bytes.
    pattern : int
        The bytes of one channel of the fill value, repeated to 8.
    target : int
        Address of the output.
    """
    row = first
    while row < last:
        count = 1
        while row + count < last and is_next_along_x(row + count - 1, row + count, missing, MISSING_BOX, geometry[0]):
            count += 1
        origin, base = corner_of(missing, MISSING_BOX, row), missing[MISSING_BOX, row] * box_stride
        placement.fill_group(alone(), count, target, base, origin, geometry, pattern, 8)
        row += count


@cached_kernel
def fill_chunks_of_any(first, last, missing, box_stride, layout, pattern, size, scratch, target):
    """Do as `fill_chunks` in an output of any strides; ``scratch`` has room for one chunk, of ``size`` bytes."""
    fill_bytes(scratch, size, pattern)
    for row in range(first, last):
        corner = (np.int64(0), *corner_of(missing, MISSING_BOX, row))
        exchange(alone(), corner, layout, target, missing[MISSING_BOX, row] * box_stride, scratch, 0, True)


@cached_kernel
def gather_chunks(first, last, origins, layout, data, size, target):
    """Gather voxels into the chunks of the rows ``first`` to ``last``, each ``size`` bytes behind the one before.

    Parameters are those of `encode_chunks`; ``target`` is the address of the chunk of row 0. Of a chunk that the data
    covers only in part, the other voxels stay.
    """
    for row in range(first, last):
        corner = (np.int64(0), origins[row, 0], origins[row, 1], origins[row, 2])
        exchange(alone(), corner, layout, data, 0, target + row * size, 0, False)
