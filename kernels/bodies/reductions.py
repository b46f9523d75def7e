"""Many values made few: bodies that every machine compiles.

``source`` is a flat array, cut into rows of ``width`` values, the last of which may be shorter. What lanes and rows
find goes to places of their own, and is put together by whoever launches the kernel.
"""

from __future__ import annotations

import numpy as np

from . import blocks, mapping

SLOTS = 32
"""Places for the lanes of a row: as many as a warp has."""


def add_alone(counters, place, count):
    """Add to a counter that only one worker has."""
    counters[place] += count


def find_extremes(first, last, step, lane, lanes, source, width, lowest, highest):
    """Find the least and the greatest value of each row; NaN if there is one.

    Parameters
    ----------
    lowest, highest : (rows * SLOTS,)
        Of the source's type, each item some value of the source. They receive those of each lane of a row.
    """
    for row in range(first, last, step):
        values = source[row * width : min(row * width + width, source.size)]
        low = high = values[0]
        if lanes == 1:
            for x in range(values.size):
                low = blocks.lower(low, values[x])
                high = blocks.higher(high, values[x])
        else:
            for x in range(lane, values.size, lanes):
                low = blocks.lower(low, values[x])
                high = blocks.higher(high, values[x])
        lowest[row * SLOTS + lane] = low
        highest[row * SLOTS + lane] = high


def count_values(first, last, step, lane, lanes, add, source, width, counters, least, kinds):
    """Count each value of integers of few bits.

    Parameters
    ----------
    add
        `add_alone`, or what stands for it where workers share counters.
    counters : int64 (copies * kinds,)
        A row adds to one of the copies.
    least : int64
        The value that is counted first, and ``kinds`` is how many there are.
    """
    copies = counters.size // kinds
    for row in range(first, last, step):
        begin = row % copies * kinds - least
        values = source[row * width : min(row * width + width, source.size)]
        for x in range(lane, values.size, lanes):
            add(counters, begin + np.int64(values[x]), 1)


def histogram(first, last, step, lane, lanes, add, source, width, counters, edges, factor):
    """Count how many values lie between edges: from each one to before the next, and up to the last one.

    Parameters
    ----------
    add, counters
        As for `count_values`.
    edges : float
        Ascend.
    factor : float64
        Bins per unit where edges are at equal distances, to guess the bin; otherwise 0, and it is searched.
    """
    bins = edges.size - 1
    copies = counters.size // bins
    for row in range(first, last, step):
        begin = row % copies * bins
        values = source[row * width : min(row * width + width, source.size)]
        for x in range(lane, values.size, lanes):
            value = values[x]
            if value >= edges[0] and value <= edges[bins]:
                add(counters, begin + bin_of(value, edges, factor), 1)


def bin_of(value, edges, factor):
    """Return the last edge that is not above a value which is between the first one and the last one."""
    bins = edges.size - 1
    if factor == 0.0:
        place = mapping.lower_bound(value, edges)
        place = place if edges[place] == value else place - 1
    else:
        place = min(int((np.float64(value) - np.float64(edges[0])) * factor), bins - 1)
    while value < edges[place]:  # the guess, on any machine, is only a guess
        place -= 1
    while place < bins - 1 and value >= edges[place + 1]:
        place += 1
    return min(place, bins - 1)


def count_runs(first, last, step, lane, lanes, source, width, runs):
    """Count the runs of equal values in each row, of which only the first lane is needed."""
    for row in range(first if lane == 0 else last, last, step):
        values = source[row * width : min(row * width + width, source.size)]
        before, after = values[0 : values.size - 1], values[1 : values.size]
        count = 1
        for x in range(after.size):
            count += before[x] != after[x]
        runs[row] = count


def count_labels(first, last, step, lane, lanes, source, width, ends, labels, counts):
    """Count how often each row has each of its values, run by run.

    Parameters
    ----------
    ends : int64 (rows + 1,)
        Row ``r`` has the table from ``ends[r]`` to ``ends[r + 1]``: a power of two of places, more than it has runs.
    labels, counts
        The tables, of which ``counts``, int64, are zero. A place without a count has no label.
    """
    for row in range(first if lane == 0 else last, last, step):
        values = source[row * width : min(row * width + width, source.size)]
        base = ends[row]
        mask = ends[row + 1] - base - 1
        begin = 0
        for x in range(1, values.size + 1):
            if x == values.size or values[x] != values[begin]:
                value = values[begin]
                place = hash_slot(value) & mask
                while counts[base + place] != 0 and labels[base + place] != value:
                    place = (place + 1) & mask
                labels[base + place] = value
                counts[base + place] += x - begin
                begin = x


def hash_slot(value):
    """Return a number for a place in a table, in which all bits of an integer count."""
    bits = np.uint64(value)
    folded = (bits ^ (bits >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return np.int64(folded * np.uint64(0x9E3779B9) >> np.uint64(16))
