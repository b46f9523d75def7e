"""The bodies of `reducing` as kernels of the CPU; each call works on the rows ``first`` to ``last``."""

from __future__ import annotations

from .. import bodies as _bodies  # noqa: F401 - the bodies can call each other
from ..bodies import reducing
from ..compilation import cached_kernel


@cached_kernel
def find_extremes(first, last, source, width, lowest, highest):
    """See `reducing.find_extremes`."""
    reducing.find_extremes(first, last, 1, 0, 1, source, width, lowest, highest)


@cached_kernel
def count_values(first, last, source, width, counters, least, kinds):
    """See `reducing.count_values`."""
    reducing.count_values(first, last, 1, 0, 1, reducing.add_alone, source, width, counters, least, kinds)


@cached_kernel
def count_between(first, last, source, width, counters, edges, factor):
    """See `reducing.count_between`."""
    reducing.count_between(first, last, 1, 0, 1, reducing.add_alone, source, width, counters, edges, factor)


@cached_kernel
def count_runs(first, last, source, width, runs):
    """See `reducing.count_runs`."""
    reducing.count_runs(first, last, 1, 0, 1, source, width, runs)


@cached_kernel
def count_equal(first, last, source, width, ends, labels, counts):
    """See `reducing.count_equal`."""
    reducing.count_equal(first, last, 1, 0, 1, source, width, ends, labels, counts)
