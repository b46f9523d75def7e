"""Reductions: many values become few.

``source`` is a flat array, cut into rows of ``width`` values, the last of which may be shorter. What lanes and rows
find goes to items of their own, and is put together by the caller.
"""

from __future__ import annotations

import numpy as np

from . import blocks
from .functions import lower_bound
from .registration import body, kernel
from .workers import add_to, share

MAX_LANES = 32
"""Lanes of a row, at most: as many as a warp has."""


@kernel
def find_extremes(first, last, source, width, lowest, highest):
    """Find the least and the greatest value of each row; NaN if there is one.

    Parameters
    ----------
    lowest, highest : (rows * MAX_LANES,)
        Of the source's type, each item some value of the source. They receive those of each lane of a row.
    """
    first, last, step, lane, lanes = share(first, last)
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
        lowest[row * MAX_LANES + lane] = low
        highest[row * MAX_LANES + lane] = high


@kernel
def count_values(first, last, source, width, counters, minimum, kinds):
    """Count each value of integers of few bits.

    Parameters
    ----------
    counters : int64 (copies * kinds,)
        A row adds to one of the copies.
    minimum : int64
        The value that is counted first, and ``kinds`` is how many there are.
    """
    first, last, step, lane, lanes = share(first, last)
    copies = counters.size // kinds
    for row in range(first, last, step):
        begin = row % copies * kinds - minimum
        values = source[row * width : min(row * width + width, source.size)]
        for x in range(lane, values.size, lanes):
            add_to(counters, begin + np.int64(values[x]), 1)


@kernel
def histogram(first, last, source, width, counters, edges, factor):
    """Count how many values lie between edges: from each one to before the next, and up to the last one.

    Parameters
    ----------
    counters
        As for `count_values`.
    edges : float
        Ascend.
    factor : float64
        Bins per unit where edges are at equal distances, to guess the bin; otherwise 0, and it is searched.
    """
    first, last, step, lane, lanes = share(first, last)
    bins = edges.size - 1
    copies = counters.size // bins
    for row in range(first, last, step):
        begin = row % copies * bins
        values = source[row * width : min(row * width + width, source.size)]
        for x in range(lane, values.size, lanes):
            value = values[x]
            if value >= edges[0] and value <= edges[bins]:
                add_to(counters, begin + bin_of(value, edges, factor), 1)


@body
def bin_of(value, edges, factor):
    """Return the last edge that is not above a value which is between the first one and the last one."""
    bins = edges.size - 1
    if factor == 0.0:
        index = lower_bound(value, edges)
        index = index if edges[index] == value else index - 1
    else:
        index = min(int((np.float64(value) - np.float64(edges[0])) * factor), bins - 1)
    while value < edges[index]:  # the guess, on any machine, is only a guess
        index -= 1
    while index < bins - 1 and value >= edges[index + 1]:
        index += 1
    return min(index, bins - 1)


@kernel
def count_runs(first, last, source, width, runs):
    """Count the runs of equal values in each row, of which only the first lane is needed."""
    first, last, step, lane, _ = share(first, last)
    for row in range(first if lane == 0 else last, last, step):
        values = source[row * width : min(row * width + width, source.size)]
        before, after = values[0 : values.size - 1], values[1 : values.size]
        count = 1
        for x in range(after.size):
            count += before[x] != after[x]
        runs[row] = count


@kernel
def count_labels(first, last, source, width, ends, labels, counts):
    """Count how often each row has each of its values, run by run.

    Parameters
    ----------
    ends : int64 (rows + 1,)
        Row ``r`` has the table from ``ends[r]`` to ``ends[r + 1]``: a power of two of slots, more than it has runs.
    labels, counts
        The tables, of which ``counts``, int64, are zero. A slot without a count has no label.
    """
    first, last, step, lane, _ = share(first, last)
    for row in range(first if lane == 0 else last, last, step):
        values = source[row * width : min(row * width + width, source.size)]
        base = ends[row]
        mask = ends[row + 1] - base - 1
        begin = 0
        for x in range(1, values.size + 1):
            if x == values.size or values[x] != values[begin]:
                value = values[begin]
                index = hash_slot(value) & mask
                while counts[base + index] != 0 and labels[base + index] != value:
                    index = (index + 1) & mask
                labels[base + index] = value
                counts[base + index] += x - begin
                begin = x


@body
def hash_slot(value):
    """Return a hash of an integer, of which a table takes as many bits as it has slots for."""
    bits = np.uint64(value)
    folded = (bits ^ (bits >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return np.int64(folded * np.uint64(0x9E3779B9) >> np.uint64(16))
