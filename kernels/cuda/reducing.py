"""The bodies of `reducing` as kernels of a CUDA device, on whatever grid they are launched with.

Rows that count share counters, to which they add one at a time.
"""

from __future__ import annotations

from numba import cuda

from ..bodies import reducing
from ..compilation import cached_cuda_kernel
from . import primitives as _primitives  # noqa: F401 - those of this machine


@cuda.jit(device=True)
def add_together(counters, place, count):
    """Add to a counter that others add to at the same time."""
    cuda.atomic.add(counters, place, count)


@cached_cuda_kernel
def find_extremes(rows, lanes, source, width, lowest, highest):
    """See `reducing.find_extremes`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reducing.find_extremes(worker, rows, workers, lane, lanes, source, width, lowest, highest)


@cached_cuda_kernel
def count_values(rows, lanes, source, width, counters, least, kinds):
    """See `reducing.count_values`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reducing.count_values(worker, rows, workers, lane, lanes, add_together, source, width, counters, least, kinds)


@cached_cuda_kernel
def count_between(rows, lanes, source, width, counters, edges, factor):
    """See `reducing.count_between`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reducing.count_between(worker, rows, workers, lane, lanes, add_together, source, width, counters, edges, factor)


@cached_cuda_kernel
def count_runs(rows, lanes, source, width, runs):
    """See `reducing.count_runs`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reducing.count_runs(worker, rows, workers, lane, lanes, source, width, runs)


@cached_cuda_kernel
def count_equal(rows, lanes, source, width, ends, labels, counts):
    """See `reducing.count_equal`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    reducing.count_equal(worker, rows, workers, lane, lanes, source, width, ends, labels, counts)
