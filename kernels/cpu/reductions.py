"""The bodies of `reductions` as kernels of the CPU; each call works on the rows ``first`` to ``last``."""

from __future__ import annotations

from .. import bodies as _bodies  # noqa: F401 - the bodies can call each other
from ..bodies import reductions
from ..compilation import cached_kernel


@cached_kernel
def find_extremes(first, last, source, width, lowest, highest):
    """See `reductions.find_extremes`."""
    reductions.find_extremes(first, last, 1, 0, 1, source, width, lowest, highest)


@cached_kernel
def count_values(first, last, source, width, counters, least, kinds):
    """See `reductions.count_values`."""
    reductions.count_values(first, last, 1, 0, 1, reductions.add_alone, source, width, counters, least, kinds)


@cached_kernel
def histogram(first, last, source, width, counters, edges, factor):
    """See `reductions.histogram`."""
    reductions.histogram(first, last, 1, 0, 1, reductions.add_alone, source, width, counters, edges, factor)


@cached_kernel
def count_runs(first, last, source, width, runs):
    """See `reductions.count_runs`."""
    reductions.count_runs(first, last, 1, 0, 1, source, width, runs)


@cached_kernel
def count_labels(first, last, source, width, ends, labels, counts):
    """See `reductions.count_labels`."""
    reductions.count_labels(first, last, 1, 0, 1, source, width, ends, labels, counts)
