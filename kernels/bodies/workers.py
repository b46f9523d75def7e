"""Which worker does which rows: a *worker* is ``(first, last, step, lane, lanes)``.

It does the rows ``range(first, last, step)``, and of each row the items ``range(lane, items, lanes)``. So a pool of
threads can hand out ranges of rows, and a grid of CUDA can stride over them, with neighbouring threads on one row.

`share` and `add_to` are called by kernels. What stands here is for the CPU, where a thread has a range of rows for
itself. On CUDA kernels are called with the number of rows and that of lanes instead, and call `cuda.workers`.
"""

from __future__ import annotations

from .registration import body

ALL_ROWS = 1 << 62
"""Last row of a worker that calls a body which knows how many there are."""


@body
def share(first, last):
    """Return the worker that does the rows from ``first`` to ``last``."""
    return first, last, 1, 0, 1


@body
def alone():
    """Return the worker that does all rows of a body which knows how many there are."""
    return 0, ALL_ROWS, 1, 0, 1


@body
def add_to(counters, index, count):
    """Add to a counter, which other workers may have as well."""
    counters[index] += count
