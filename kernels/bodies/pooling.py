"""Lines of coarser voxels, each made of a block of finer ones.

Arrays are flat: ``source`` is memory of voxels that holds all blocks whole, ``target`` that of the voxels made of them.
In both, channels are fastest, then comes x. A row is a line along x of the target.

``geometry`` says where everything is: ``(channels, lines, factors, start, strides, begin, target_strides)``, where

- ``lines`` (x, y, z) are the target voxels to fill, and ``factors`` (x, y, z) the shape of a block;
- ``start`` is the index of the first block in the source, and ``strides`` (y, z) lead to the next line and plane of it;
- ``begin`` and ``target_strides`` (y, z) are the same for the target.
"""

from __future__ import annotations

from . import blocks, columns
from .registration import body, kernel
from .workers import share


@body
def pool_blocks(worker, of_8, of_4, of_block, source, target, geometry):
    """Make each block one voxel.

    Parameters
    ----------
    of_8, of_4, of_block
        Functions of `blocks`: what is made of a block of 2x2x2, of 2x2x1 and of any other shape.
    """
    if are_pairs(geometry):
        pool_pairs(worker, of_8, of_4, None, source, target, geometry)
    else:
        reduce_blocks(worker, of_block, source, target, geometry)


@body
def sort_blocks(worker, of_8, of_4, of_columns, join, source, target, geometry, memory, width):
    """Do as `pool_blocks` with rank statistics of blocks.

    Parameters
    ----------
    of_columns, join
        A function of `columns`, and one of `blocks`.
    memory : (rows * width * voxels of a block,)
        Of the source's type, to sort in. Blocks of 2x2x2 and of 2x2x1 with one channel need none.
    width
        Items from a row of columns to the next, see there: at least the voxels of a line times its channels.
    """
    if are_pairs(geometry):
        pool_pairs(worker, of_8, of_4, join, source, target, geometry)
    else:
        sort_in_columns(worker, of_columns, join, source, target, geometry, memory, width)


@body
def are_pairs(geometry):
    """Whether blocks are two voxels wide and high and one or two deep, with one channel."""
    channels, _, factors, _, _, _, _ = geometry
    return channels == 1 and factors[0] == 2 and factors[1] == 2 and factors[2] <= 2


@body
def line_starts(row, geometry):
    """Return where a line begins in the source and in the target."""
    _, lines, factors, start, strides, begin, target_strides = geometry
    z = row // lines[1]
    y = row - z * lines[1]
    source_place = start + y * factors[1] * strides[0] + z * factors[2] * strides[1]
    return source_place, begin + y * target_strides[0] + z * target_strides[1]


# ---- Blocks of 2x2x2 and 2x2x1


@body
def pool_pairs(worker, of_8, of_4, join, source, target, geometry):
    """Make pairs of lines one line."""
    first, last, step, lane, lanes = worker
    _, lines, factors, _, strides, _, _ = geometry
    width = 2 * lines[0]
    for row in range(first, min(last, lines[1] * lines[2]), step):
        near, at = line_starts(row, geometry)
        goal = target[at : at + lines[0]]
        next_y = near + strides[0]
        if factors[2] == 2:
            next_z = near + strides[1]
            next_yz = next_y + strides[1]
            pool_line_of_8(
                goal, source[near : near + width], source[next_z : next_z + width], source[next_y : next_y + width],
                source[next_yz : next_yz + width], lane, lanes, of_8, join,
            )  # fmt: skip
        else:
            pool_line_of_4(
                goal, source[near : near + width], source[next_y : next_y + width], lane, lanes, of_4, join
            )  # fmt: skip


@body
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


@body
def pool_line_of_4(goal, near, next_y, lane, lanes, of_4, join):
    """Make a line of blocks of 2x2x1 one line of voxels."""
    if lanes == 1:
        for x in range(goal.size):
            goal[x] = of_4(join, near[2 * x], next_y[2 * x], near[2 * x + 1], next_y[2 * x + 1])
        return
    for x in range(lane, goal.size, lanes):
        goal[x] = of_4(join, near[2 * x], next_y[2 * x], near[2 * x + 1], next_y[2 * x + 1])


# ---- Blocks of any shape


@body
def reduce_blocks(worker, of_block, source, target, geometry):
    """Make each block one voxel, where it lies."""
    first, last, step, lane, lanes = worker
    channels, lines, factors, _, strides, _, _ = geometry
    steps = channels, strides[0], strides[1]
    for row in range(first, min(last, lines[1] * lines[2]), step):
        line, at = line_starts(row, geometry)
        for channel in range(channels):
            for x in range(lane, lines[0], lanes):
                block = line + x * factors[0] * channels + channel
                target[at + x * channels + channel] = of_block(source, block, steps, factors)


@body
def sort_in_columns(worker, of_columns, join, source, target, geometry, memory, width):
    """Make each block one voxel, by way of a sorted copy."""
    first, last, step, lane, lanes = worker
    channels, lines, factors, _, strides, _, _ = geometry
    steps = channels, strides[0], strides[1]
    voxels = factors[0] * factors[1] * factors[2]
    base = first * width * voxels  # no other worker has the same first row
    sheet = memory, base, width, voxels, lines[0] * channels
    for row in range(first, min(last, lines[1] * lines[2]), step):
        begin, at = line_starts(row, geometry)
        line = source, begin, steps, factors
        columns.fill_columns(sheet, line, lane, lanes)
        columns.sort_columns(sheet, lane, lanes)
        of_columns(join, target, at, sheet, line, lane, lanes)


@body
def sample_blocks(worker, source, target, geometry, x_indexes, y_indexes, z_indexes):
    """Take one voxel of each block.

    Parameters
    ----------
    x_indexes, y_indexes, z_indexes : int64
        For each target voxel along an axis, how many voxels behind the beginning of the first block one is taken.
    """
    first, last, step, lane, lanes = worker
    channels, lines, _, start, strides, begin, target_strides = geometry
    for row in range(first, min(last, lines[1] * lines[2]), step):
        z = row // lines[1]
        y = row - z * lines[1]
        line = start + y_indexes[y] * strides[0] + z_indexes[z] * strides[1]
        at = begin + y * target_strides[0] + z * target_strides[1]
        for channel in range(channels):
            for x in range(lane, lines[0], lanes):
                target[at + x * channels + channel] = source[line + x_indexes[x] * channels + channel]


# ---- Kernels


@kernel
def median_unsigned(first, last, source, target, geometry, memory, width):
    """Median of unsigned integers; see `sort_blocks`."""
    sort_blocks(
        share(first, last), blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_unsigned,
        source, target, geometry, memory, width,
    )  # fmt: skip


@kernel
def median_signed(first, last, source, target, geometry, memory, width):
    """Median of signed integers."""
    sort_blocks(
        share(first, last), blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_signed,
        source, target, geometry, memory, width,
    )  # fmt: skip


@kernel
def median_float(first, last, source, target, geometry, memory, width):
    """Median of floats."""
    sort_blocks(
        share(first, last), blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_float,
        source, target, geometry, memory, width,
    )  # fmt: skip


@kernel
def mode(first, last, source, target, geometry, memory, width):
    """Most frequent value."""
    sort_blocks(
        share(first, last), blocks.mode_of_8, blocks.mode_of_4, columns.modes_of_columns, blocks.join_unsigned,
        source, target, geometry, memory, width,
    )  # fmt: skip


@kernel
def maximum(first, last, source, target, geometry):
    """Greatest value; see `pool_blocks`."""
    pool_blocks(
        share(first, last), blocks.maximum_of_8, blocks.maximum_of_4, blocks.maximum_of_block,
        source, target, geometry,
    )  # fmt: skip


@kernel
def minimum(first, last, source, target, geometry):
    """Least value."""
    pool_blocks(
        share(first, last), blocks.minimum_of_8, blocks.minimum_of_4, blocks.minimum_of_block,
        source, target, geometry,
    )  # fmt: skip


@kernel
def mean_integer(first, last, source, target, geometry):
    """Mean of integers of 32 bits or less."""
    pool_blocks(
        share(first, last), blocks.mean_of_8_integers, blocks.mean_of_4_integers, blocks.mean_of_integers,
        source, target, geometry,
    )  # fmt: skip


@kernel
def mean_float(first, last, source, target, geometry):
    """Mean of floats."""
    pool_blocks(
        share(first, last), blocks.mean_of_8_floats, blocks.mean_of_4_floats, blocks.mean_of_floats,
        source, target, geometry,
    )  # fmt: skip


@kernel
def mean_signed(first, last, source, target, geometry):
    """Mean of int64; see `reduce_blocks`."""
    reduce_blocks(share(first, last), blocks.mean_of_signed, source, target, geometry)


@kernel
def mean_unsigned(first, last, source, target, geometry):
    """Mean of uint64."""
    reduce_blocks(share(first, last), blocks.mean_of_unsigned, source, target, geometry)


@kernel
def nearest(first, last, source, target, geometry, x_indexes, y_indexes, z_indexes):
    """One voxel of each block; see `sample_blocks`."""
    sample_blocks(share(first, last), source, target, geometry, x_indexes, y_indexes, z_indexes)
