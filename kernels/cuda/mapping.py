"""The bodies of `mapping` as kernels of a CUDA device.

A row is a line along x, and ``lanes`` neighbouring threads share it, so that accesses are coalesced. Every kernel takes
whatever grid it is launched with.
"""

from __future__ import annotations

from numba import cuda

from ..bodies import mapping
from ..compilation import cached_cuda_kernel
from . import primitives as _primitives  # noqa: F401 - those of this machine


def compiled(function, count):
    """Return the kernel that maps values of ``count`` sources by a function of somebody else's."""
    function = cuda.jit(device=True)(function)
    lines = mapping.MAPS[count - 1]

    @cuda.jit
    def kernel(rows, lanes, target, geometry, sources, constants):
        worker = cuda.grid(1) // lanes
        workers = cuda.gridsize(1) // lanes
        lane = cuda.threadIdx.x % lanes
        lines(worker, rows, workers, lane, lanes, function, target, geometry, sources, constants)

    return kernel


@cached_cuda_kernel
def threshold(rows, lanes, target, geometry, sources, constants):
    """See `mapping.threshold`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_1(worker, rows, workers, lane, lanes, mapping.threshold, target, geometry, sources, constants)


@cached_cuda_kernel
def clip(rows, lanes, target, geometry, sources, constants):
    """See `mapping.clip`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_1(worker, rows, workers, lane, lanes, mapping.clip, target, geometry, sources, constants)


@cached_cuda_kernel
def rescale_to_integer(rows, lanes, target, geometry, sources, constants):
    """See `mapping.rescale_to_integer`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_1(worker, rows, workers, lane, lanes, mapping.rescale_to_integer, target, geometry, sources, constants)


@cached_cuda_kernel
def rescale_to_float(rows, lanes, target, geometry, sources, constants):
    """See `mapping.rescale_to_float`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_1(worker, rows, workers, lane, lanes, mapping.rescale_to_float, target, geometry, sources, constants)


@cached_cuda_kernel
def look_up(rows, lanes, target, geometry, sources, constants):
    """See `mapping.look_up`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_1(worker, rows, workers, lane, lanes, mapping.look_up, target, geometry, sources, constants)


@cached_cuda_kernel
def look_up_or_keep(rows, lanes, target, geometry, sources, constants):
    """See `mapping.look_up_or_keep`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_1(worker, rows, workers, lane, lanes, mapping.look_up_or_keep, target, geometry, sources, constants)


@cached_cuda_kernel
def search(rows, lanes, target, geometry, sources, constants):
    """See `mapping.search`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_runs(worker, rows, workers, lane, lanes, mapping.search, target, geometry, sources, constants)


@cached_cuda_kernel
def search_or_keep(rows, lanes, target, geometry, sources, constants):
    """See `mapping.search_or_keep`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_runs(worker, rows, workers, lane, lanes, mapping.search_or_keep, target, geometry, sources, constants)


@cached_cuda_kernel
def mask(rows, lanes, target, geometry, sources, constants):
    """See `mapping.mask`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    mapping.map_2(worker, rows, workers, lane, lanes, mapping.mask, target, geometry, sources, constants)
