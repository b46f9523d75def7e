"""Which part of a chunk a box of new voxels covers."""

from __future__ import annotations

from .registration import body


@body
def common_length(corner, chunk, box):
    """How many items of a chunk that begins at ``corner`` lie inside a box, along one axis."""
    return max(min(corner + chunk, box) - max(corner, 0), 0)


@body
def is_covered(corner, chunk_shape, box_shape):
    """Whether a box covers a chunk whole; all arguments are ``(c, x, y, z)``."""
    for axis in range(4):
        if corner[axis] < 0 or corner[axis] + chunk_shape[axis] > box_shape[axis]:
            return False
    return True


@body
def common_begin(corner, data_strides, chunk_strides):
    """Where the part that a chunk and a box share begins in the box's data and in the chunk, in units."""
    begin = 0
    goal = 0
    for axis in range(4):
        low = max(corner[axis], 0)
        begin += low * data_strides[axis]
        goal += (low - corner[axis]) * chunk_strides[axis]
    return begin, goal
