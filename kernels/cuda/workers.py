"""Which rows a thread of a CUDA device does: what it has in place of the functions in `bodies.workers`."""

from __future__ import annotations

from numba import cuda


@cuda.jit(device=True)
def share(rows, lanes):
    """Return the worker of this thread where ``lanes`` neighbouring threads of the grid share a row."""
    return cuda.grid(1) // lanes, rows, cuda.gridsize(1) // lanes, cuda.threadIdx.x % lanes, lanes


@cuda.jit(device=True)
def share_of_chunk(rows, lanes):
    """Return the worker of this thread where the blocks along ``y`` of the grid do the rows of one chunk."""
    workers = cuda.blockDim.x // lanes
    first = cuda.blockIdx.y * workers + cuda.threadIdx.x // lanes
    return first, rows, cuda.gridDim.y * workers, cuda.threadIdx.x % lanes, lanes


@cuda.jit(device=True)
def add_to(counters, index, count):
    """Add to a counter, which other threads may have as well."""
    cuda.atomic.add(counters, index, count)
