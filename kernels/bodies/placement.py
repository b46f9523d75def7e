"""Moving voxels between decoded chunks and boxes, row by row; see `workers` for which thread does which rows.

All lengths, offsets and strides are in *units*: bytes on the CPU, where a copy takes any alignment, and machine words
(the largest that divides every run) on a GPU. ``source`` and ``target`` are only handed on to the primitives
`copy_run`, `fill_run` and `copy_item`, so they can be arrays (here, and on a GPU) or plain addresses (on the CPU,
where one compiled version then serves every dtype, layout and read-only flag). A machine gives its own primitives with
``numba.extending.overload``; what stands here is their definition, and what the simulator and the tests run.
"""

from __future__ import annotations

from .registration import body


def copy_run(target, at, source, start, units, streaming, lane, lanes):
    """Copy ``units`` neighbouring units. ``streaming``: the target will not be read again soon."""
    unit = lane  # on CUDA a range would first divide, for what mostly is a single step
    while unit < units:
        target[at + unit] = source[start + unit]
        unit += lanes


def fill_run(target, at, units, pattern, bits, lane, lanes):
    """Fill ``units`` neighbouring units of ``bits`` bits with the 64 bits of a number, again and again."""
    mask = -1 if bits == 64 else (1 << bits) - 1
    unit = lane
    while unit < units:
        target[at + unit] = (pattern >> (unit * bits & 63)) & mask
        unit += lanes


def copy_item(target, at, source, start, units):
    """Copy one item of 1, 2, 4 or 8 bytes, ``units`` units long."""
    for unit in range(units):
        target[at + unit] = source[start + unit]


@body
def copy_line(target, at, source, line_start, inside, length, stride, remaining, streaming, lane, lanes):
    """Copy one line along x through chunks that are x-neighbours.

    Parameters
    ----------
    line_start
        Where the line begins in the first chunk, of which the first ``inside`` units are left out.
    length, stride
        Units of a line in one chunk, and from one chunk to the next.
    remaining
        Units of the line.
    """
    while remaining > 0:
        units = min(length - inside, remaining)
        copy_run(target, at, source, line_start + inside, units, streaming, lane, lanes)
        at += units
        remaining -= units
        inside = 0
        line_start += stride


@body
def place_group(
    worker, source, start, count, stride, target, base, origin, geometry, streaming,
    buffer, joined,
):  # fmt: skip
    """Place ``count`` chunks that are x-neighbours into a box; a row is a line along x.

    Lines go through all the chunks of the group before the next one begins: whole cache lines are written at a time.

    Parameters
    ----------
    source, start, stride
        The decoded chunks, where the first one begins, and the units from one to the next.
    target, base
        The output, and where this chunk's box begins in it.
    origin
        ``(x, y, z)`` of the first chunk's first voxel in the box, in voxels; negative where the chunk begins before it.
        The first chunk touches the box.
    geometry
        ``(chunk x, y, z, box x, y, z, units of a voxel, units from one y to the next, from one z to the next)``.
    buffer, joined
        Room for that many lines, which are joined there before they are stored whole, by one worker that takes every
        row (step 1, one lane); 0: each run is stored at once.
    """
    first, last, step, lane, lanes = worker
    chunk_x, chunk_y, chunk_z, box_x, box_y, box_z, voxel, stride_y, stride_z = geometry
    skip = max(-origin[0], 0)
    units = (min(origin[0] + count * chunk_x, box_x) - origin[0] - skip) * voxel
    begin_y, begin_z = max(-origin[1], 0), max(-origin[2], 0)
    lines_y = min(chunk_y, box_y - origin[1]) - begin_y
    lines_z = min(chunk_z, box_z - origin[2]) - begin_z
    if units <= 0 or lines_y <= 0 or lines_z <= 0:
        return
    inside = skip * voxel
    length = chunk_x * voxel
    corner = base + (origin[0] + skip) * voxel + (origin[1] + begin_y) * stride_y + (origin[2] + begin_z) * stride_z
    line_start = start + (begin_z * chunk_y + begin_y) * length
    end = min(last, lines_y * lines_z)
    if joined > 0:
        place_joined(
            first, end, lane, lanes, source, line_start, inside, length, stride, units, target, corner, chunk_y,
            lines_y, stride_y, stride_z, streaming, buffer, joined,
        )  # fmt: skip
        return
    # A division for every row would cost more than the copy of a short line: z and y are counted instead.
    step_z = step // lines_y
    step_y = step - step_z * lines_y
    z = first // lines_y
    y = first - z * lines_y
    for _ in range(first, end, step):
        begin = line_start + (z * chunk_y + y) * length
        at = corner + y * stride_y + z * stride_z
        copy_line(target, at, source, begin, inside, length, stride, units, streaming, lane, lanes)
        y += step_y
        z += step_z
        if y >= lines_y:
            y -= lines_y
            z += 1


@body
def place_joined(
    first, end, lane, lanes, source, line_start, inside, length, stride, units, target, corner, chunk_y, lines_y,
    stride_y, stride_z, streaming, buffer, joined,
):  # fmt: skip
    """Place the lines of `place_group` through a buffer, ``joined`` of them at a time."""
    for row in range(first, end, joined):
        lines = min(joined, end - row)
        z = row // lines_y
        y = row - z * lines_y
        for line in range(lines):
            begin = line_start + (z * chunk_y + y) * length
            copy_line(buffer, line * units, source, begin, inside, length, stride, units, False, lane, lanes)
            y += 1
            if y == lines_y:
                y = 0
                z += 1
        z = row // lines_y
        y = row - z * lines_y
        for line in range(lines):
            copy_run(target, corner + y * stride_y + z * stride_z, buffer, line * units, units, streaming, lane, lanes)
            y += 1
            if y == lines_y:
                y = 0
                z += 1


@body
def fill_group(worker, count, target, base, origin, geometry, pattern, bits):
    """Fill what ``count`` absent x-neighbours would have covered of a box; a row is a plane along x and z.

    The parameters are those of `place_group`, and

    pattern, bits
        The bytes of one channel of a voxel, repeated to 8, as a number; and how many bits a unit has.
    """
    first, last, step, lane, lanes = worker
    chunk_x, chunk_y, chunk_z, box_x, box_y, box_z, voxel, stride_y, stride_z = geometry
    begin_x, begin_y, begin_z = max(origin[0], 0), max(origin[1], 0), max(origin[2], 0)
    voxels = min(origin[0] + count * chunk_x, box_x) - begin_x
    lines_y = min(origin[1] + chunk_y, box_y) - begin_y
    lines_z = min(origin[2] + chunk_z, box_z) - begin_z
    if voxels <= 0 or lines_y <= 0 or lines_z <= 0:
        return
    corner = base + begin_x * voxel
    for z in range(lines_z):
        for y in range(first, min(last, lines_y), step):
            at = corner + (begin_y + y) * stride_y + (begin_z + z) * stride_z
            fill_run(target, at, voxels * voxel, pattern, bits, lane, lanes)


@body
def copy_box(worker, source, start, target, at, extents, source_strides, target_strides, units):
    """Copy a 4-D box between any two layouts; a row is a plane of the two innermost, last axes.

    The caller sorts the axes, so that the last one has the smallest source stride. Where it is contiguous on both
    sides, whole lines are moved at a time; only layouts that really differ are moved item by item, of ``units`` each.
    """
    first, last, step, lane, lanes = worker
    across, down, deep, along = extents
    is_line = source_strides[3] == units and target_strides[3] == units
    is_word = units == 1 or units == 2 or units == 4 or units == 8
    for row in range(first, min(last, across * down), step):
        x = row // down
        y = row - x * down
        begin = start + x * source_strides[0] + y * source_strides[1]
        goal = at + x * target_strides[0] + y * target_strides[1]
        for _ in range(deep):
            if is_line:
                copy_run(target, goal, source, begin, along * units, False, lane, lanes)
            elif is_word:
                for item in range(lane, along, lanes):
                    copy_item(target, goal + item * target_strides[3], source, begin + item * source_strides[3], units)
            else:
                for item in range(along):
                    copy_run(
                        target, goal + item * target_strides[3], source, begin + item * source_strides[3], units, False,
                        lane, lanes,
                    )  # fmt: skip
            begin += source_strides[2]
            goal += target_strides[2]
