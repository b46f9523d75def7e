"""The bodies of `reductions` as kernels of a CUDA device, on whatever grid they are launched with.

Rows that count share counters, to which they add one at a time.
"""

from __future__ import annotations

from numba import cuda

from ..bodies import reductions
from ..compilation import cached_cuda_kernel
from . import primitives as _primitives  # noqa: F401 - those of this machine


@cuda.jit(device=True)
def add_together(counters, place, count):
    """Add to a counter that others add to at the same time."""
    cuda.atomic.add(counters, place, count)


@cached_cuda_kernel
def find_extremes(rows, lanes, source, width, lowest, highest):
    """See `reductions.find_extremes`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reductions.find_extremes(worker, rows, workers, lane, lanes, source, width, lowest, highest)


@cached_cuda_kernel
def count_values(rows, lanes, source, width, counters, least, kinds):
    """See `reductions.count_values`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reductions.count_values(worker, rows, workers, lane, lanes, add_together, source, width, counters, least, kinds)


@cached_cuda_kernel
def histogram(rows, lanes, source, width, counters, edges, factor):
    """See `reductions.histogram`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reductions.histogram(worker, rows, workers, lane, lanes, add_together, source, width, counters, edges, factor)


@cached_cuda_kernel
def count_runs(rows, lanes, source, width, runs):
    """See `reductions.count_runs`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reductions.count_runs(worker, rows, workers, lane, lanes, source, width, runs)


@cached_cuda_kernel
def count_labels(rows, lanes, source, width, ends, labels, counts):
    """See `reductions.count_labels`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reductions.count_labels(worker, rows, workers, lane, lanes, source, width, ends, labels, counts)
