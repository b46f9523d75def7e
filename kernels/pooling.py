"""Lines of coarser voxels, each made of a block of finer ones: bodies that every machine compiles.

Arrays are flat: ``source`` is a box of voxels in Fortran order, with channels fastest, then x, y and z; ``target`` is
the memory of another one, of which a part is filled. A row is a line along x of that part.

``geometry`` says what both are, in voxels: ``(frame, shift, factors, lines, begin, strides)``, where

- ``frame`` is that of the source, see `blocks`;
- ``shift`` (x, y, z) is how many voxels the first block begins before the source, negative where it begins after;
- ``factors`` (x, y, z) is the shape of a block;
- ``lines`` (x, y, z) are the target voxels to fill;
- ``begin`` is the place of the first one in the target, and ``strides`` (y, z) lead to the next line and plane.
"""

from __future__ import annotations

from .blocks import line_at


def pool_lines(
    first, last, step, lane, lanes, of_8, of_4, of_block, join, source, target, geometry
):  # fmt: skip
    """Make each block one voxel.

    Parameters
    ----------
    of_8, of_4, of_block, join
        Functions of `blocks`: what is made of a block of 2x2x2, of 2x2x1 and of any other shape.
    """
    frame, shift, factors, lines, begin, strides = geometry
    channels = frame[0][0]
    first_x, end_x = frame[1][0] + shift[0], frame[1][1] + shift[0]  # the voxels that count, from the first block on
    for row in range(first, min(last, lines[1] * lines[2]), step):
        plane = row // lines[1]
        down = row - plane * lines[1]
        y, z = down * factors[1] - shift[1], plane * factors[2] - shift[2]
        at = begin + down * strides[0] + plane * strides[1]
        head, tail = 0, 0  # blocks from head to tail count whole
        if channels == 1 and factors[0] == 2 and factors[1] == 2 and factors[2] <= 2:
            head = max((first_x + 1) // 2, 0)
            tail = max(min(end_x // 2, lines[0]), head)
            goal = target[at + head : at + tail]
            start = 2 * head - shift[0]
            width = 2 * (tail - head)
            line = line_at(frame, y, z) + start
            near = source[line : line + width]
            line = line_at(frame, y + 1, z) + start
            next_y = source[line : line + width]
            if factors[2] == 2:
                line = line_at(frame, y, z + 1) + start
                next_z = source[line : line + width]
                line = line_at(frame, y + 1, z + 1) + start
                next_yz = source[line : line + width]
                pool_line_of_8(goal, near, next_z, next_y, next_yz, lane, lanes, of_8, join)
            else:
                pool_line_of_4(goal, near, next_y, lane, lanes, of_4, join)
        for edge in range(lane, lines[0] * channels - (tail - head), lanes):
            item = edge if edge < head else edge + tail - head
            x = item // channels
            corner = (x * factors[0] - shift[0], y, z)
            target[at + item] = of_block(join, source, frame, item - x * channels, corner, factors)


def pool_line_of_8(goal, near, next_z, next_y, next_yz, lane, lanes, of_8, join):
    """Make a line of blocks of 2x2x2 one line of voxels."""
    if lanes == 1:  # on the CPU: LLVM makes vector instructions of this loop, and not of the other one
        for x in range(goal.size):
            goal[x] = of_8(
                join, near[2 * x], next_y[2 * x], near[2 * x + 1], next_y[2 * x + 1],
                next_z[2 * x], next_yz[2 * x], next_z[2 * x + 1], next_yz[2 * x + 1],
            )  # fmt: skip
        return
    for x in range(lane, goal.size, lanes):
        goal[x] = of_8(
            join, near[2 * x], next_y[2 * x], near[2 * x + 1], next_y[2 * x + 1],
            next_z[2 * x], next_yz[2 * x], next_z[2 * x + 1], next_yz[2 * x + 1],
        )  # fmt: skip


def pool_line_of_4(goal, near, next_y, lane, lanes, of_4, join):
    """Make a line of blocks of 2x2x1 one line of voxels."""
    if lanes == 1:
        for x in range(goal.size):
            goal[x] = of_4(join, near[2 * x], next_y[2 * x], near[2 * x + 1], next_y[2 * x + 1])
        return
    for x in range(lane, goal.size, lanes):
        goal[x] = of_4(join, near[2 * x], next_y[2 * x], near[2 * x + 1], next_y[2 * x + 1])


def average_lines(first, last, step, lane, lanes, mean, source, target, geometry):
    """Do as `pool_lines` with one function of `blocks` for blocks of all shapes."""
    frame, shift, factors, lines, begin, strides = geometry
    channels = frame[0][0]
    for row in range(first, min(last, lines[1] * lines[2]), step):
        plane = row // lines[1]
        line = row - plane * lines[1]
        y, z = line * factors[1] - shift[1], plane * factors[2] - shift[2]
        at = begin + line * strides[0] + plane * strides[1]
        for item in range(lane, lines[0] * channels, lanes):
            x = item // channels
            corner = (x * factors[0] - shift[0], y, z)
            target[at + item] = mean(source, frame, item - x * channels, corner, factors)


def pick_lines(first, last, step, lane, lanes, source, target, geometry, x_places, y_places, z_places):
    """Take one voxel of each block.

    Parameters
    ----------
    x_places, y_places, z_places : int64
        For each target voxel along an axis, where in the source its voxel is taken.
    """
    frame, _, _, lines, begin, strides = geometry
    channels, width, height, _ = frame[0]
    for row in range(first, min(last, lines[1] * lines[2]), step):
        plane = row // lines[1]
        line = row - plane * lines[1]
        start = (z_places[plane] * height + y_places[line]) * width
        at = begin + line * strides[0] + plane * strides[1]
        for item in range(lane, lines[0] * channels, lanes):
            x = item // channels
            target[at + item] = source[(start + x_places[x]) * channels + item - x * channels]
