"""Blocks of voxels of any shape, each sorted in a column of its own: for their medians and modes.

The blocks of a line stand side by side. Voxel ``n`` of all of them makes a row of ``width`` items, and column ``item``
is block ``item``. So what is done to one column is done to all of them at once: in vector instructions of a CPU, and in
accesses of a GPU that are next to each other.

``sheet`` says where they are: ``(columns, base, width, rows, items)``. ``columns`` is the memory, in which they begin
at ``base``, ``rows`` are the voxels of a block, and ``items`` are the blocks times the channels, with channels
fastest.

``line`` says where the blocks come from: ``(source, first, steps, factors)``. ``first`` is the index of the first
voxel in the source, ``steps`` (x, y, z) lead to the neighbours of a voxel, those in x being the channels, and
``factors`` (x, y, z) is the shape of a block.
"""

from __future__ import annotations

from .registration import body


@body
def fill_columns(sheet, line, lane, lanes):
    """Copy the blocks."""
    columns, base, width, _, items = sheet
    source, first, steps, factors = line
    channels, to = steps[0], base
    for dz in range(factors[2]):
        for dy in range(factors[1]):
            for dx in range(factors[0]):
                begin = first + dx * channels + dy * steps[1] + dz * steps[2]
                if channels == 1 or factors[0] == 1:
                    copy_strided(columns, to, source, begin, factors[0], items, lane, lanes)
                else:
                    for item in range(lane, items, lanes):
                        columns[to + item] = source[begin + block_begin(item, channels, factors[0])]
                to += width


@body
def copy_strided(target, to, source, begin, step, items, lane, lanes):
    """Copy items that lie ``step`` apart."""
    if lanes == 1 and step == 1:  # on the CPU: LLVM makes vector instructions of this loop, and not of the other one
        goal, near = target[to : to + items], source[begin : begin + items]
        for item in range(items):
            goal[item] = near[item]
        return
    for item in range(lane, items, lanes):
        target[to + item] = source[begin + item * step]


@body
def block_begin(item, channels, factor):
    """Return how far behind the line's first voxel the block of an item begins."""
    return item + item // channels * (factor - 1) * channels


@body
def sort_columns(sheet, lane, lanes):
    """Sort each column: Batcher's merge exchange (Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2M).

    It compares the same rows whatever they hold, so that all columns are sorted in the same steps.
    """
    columns, base, width, rows, items = sheet
    half = 1
    while 2 * half < rows:
        half *= 2
    size = half
    while size > 0:
        begin, distance, stride = 0, size, half
        while True:
            for row in range(begin, rows - distance, 2 * size):
                low, count = base + row * width, min(size, rows - distance - row)
                exchange_rows(columns, low, low + distance * width, count, width, items, lane, lanes)
            if stride == size:
                break
            begin, distance = size, stride - size
            stride //= 2
        size //= 2


@body
def exchange_rows(columns, low, high, count, width, items, lane, lanes):
    """Leave the lesser of two items in one of ``count`` rows from ``low`` on, the other in its row from ``high`` on."""
    if lanes == 1:  # on the CPU: what lies between lines as well, so that a few long loops do it
        below, above = columns[low : low + count * width], columns[high : high + count * width]
        for index in range(below.size):
            a, b = below[index], above[index]
            swap = comes_before(b, a)
            below[index] = b if swap else a
            above[index] = a if swap else b
        return
    for index in range(0, count * width, width):
        for item in range(lane, items, lanes):
            a, b = columns[low + index + item], columns[high + index + item]
            if comes_before(b, a):
                columns[low + index + item], columns[high + index + item] = b, a


@body
def comes_before(a, b):
    """Whether a value is sorted before another one: NaN comes last."""
    return (a < b) | ((b != b) & (a == a))


@body
def medians_of_columns(join, target, at, sheet, line, lane, lanes):
    """Join the two middle values of each column, or take NaN if there is one."""
    columns, base, width, rows, items = sheet
    low, high, last = base + (rows - 1) // 2 * width, base + rows // 2 * width, base + (rows - 1) * width
    for item in range(lane, items, lanes):
        greatest = columns[last + item]
        target[at + item] = greatest if greatest != greatest else join(columns[low + item], columns[high + item])


@body
def modes_of_columns(join, target, at, sheet, line, lane, lanes):
    """Take the most frequent value, and of several the one that comes first in its block. ``join`` is not needed.

    It is one long function, because a call takes about as long as a small block.
    """
    columns, base, width, rows, items = sheet
    source, first, steps, factors = line
    for item in range(lane, items, lanes):
        column = base + item
        # A row that equals the one that `above` has come to makes the longest run of equal items longer, and any other
        # one moves `above` on: what lies between `above` and the end is as many rows as that run has.
        above = column
        for row in range(rows):
            above += 0 if columns[column + row * width] == columns[above] else width
        longest = rows - (above - column) // width
        begin = first + block_begin(item, steps[0], factors[0])
        mode = source[begin]
        x, y, z = 0, 0, 0
        while longest > 1:  # until a voxel's value comes so often
            low, high = 0, rows - longest
            while low < high:  # then its first row is not before low, and not behind high
                middle = (low + high) // 2
                before = comes_before(columns[column + middle * width], mode)
                low = middle + 1 if before else low
                high = high if before else middle
            if columns[column + low * width] == mode and columns[column + (low + longest - 1) * width] == mode:
                break
            y += 1
            if y == factors[1]:
                x, y = x + 1, 0
            if x == factors[0]:
                x, z = 0, z + 1
            mode = source[begin + x * steps[0] + y * steps[1] + z * steps[2]]
        target[at + item] = mode
