"""The sizes of steps in which an engine works best."""

from __future__ import annotations

from typing import NamedTuple


class Tuning(NamedTuple):
    """What an operation asks an engine before it cuts its work.

    Attributes
    ----------
    streamed_bytes : int
        Source voxels that a transformation holds at a time, at most; as many again are being read. See `Engine.share`.
    reduced_bytes : int
        Voxels that a reduction holds at a time, at most; as many again are being read.
    rows, min_width : int
        Rows that values are cut into, which run in parallel, and the values of a row at least.
    counters : int
        Sets of counters. If they are fewer than the rows, several rows add to one set at the same time.
    labelled_values : int
        Values whose labels one thread counts, in a table of their own.
    labelled_width : int
        The width to launch these kernels with, at most: 1 where a launch divides wide rows among threads.
    """

    streamed_bytes: int
    reduced_bytes: int
    rows: int
    min_width: int
    counters: int
    labelled_values: int
    labelled_width: int
