"""The bodies of `pooling` as kernels of a CUDA device.

A row is a line along x of the target, and ``lanes`` neighbouring threads share it, so that accesses are coalesced.
Every kernel takes whatever grid it is launched with.
"""

from __future__ import annotations

from numba import cuda

from .. import bodies as _bodies  # noqa: F401 - the bodies can call each other
from ..bodies import blocks, columns, pooling
from ..compilation import cached_cuda_kernel


@cached_cuda_kernel
def median_unsigned(rows, lanes, source, target, geometry, memory, width):
    """Median of unsigned integers; see `pooling.sort_blocks`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.sort_blocks(
        worker, rows, workers, lane, lanes,
        blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_unsigned,
        source, target, geometry, memory, width,
    )  # fmt: skip


@cached_cuda_kernel
def median_signed(rows, lanes, source, target, geometry, memory, width):
    """Median of signed integers."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.sort_blocks(
        worker, rows, workers, lane, lanes,
        blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_signed,
        source, target, geometry, memory, width,
    )  # fmt: skip


@cached_cuda_kernel
def median_float(rows, lanes, source, target, geometry, memory, width):
    """Median of floats."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.sort_blocks(
        worker, rows, workers, lane, lanes,
        blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_float,
        source, target, geometry, memory, width,
    )  # fmt: skip


@cached_cuda_kernel
def mode(rows, lanes, source, target, geometry, memory, width):
    """Most frequent value."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.sort_blocks(
        worker, rows, workers, lane, lanes,
        blocks.mode_of_8, blocks.mode_of_4, columns.modes_of_columns, blocks.join_unsigned,
        source, target, geometry, memory, width,
    )  # fmt: skip


@cached_cuda_kernel
def maximum(rows, lanes, source, target, geometry):
    """Greatest value; see `pooling.pool_blocks`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.pool_blocks(
        worker, rows, workers, lane, lanes, blocks.maximum_of_8, blocks.maximum_of_4, blocks.maximum_of_block,
        source, target, geometry,
    )  # fmt: skip


@cached_cuda_kernel
def minimum(rows, lanes, source, target, geometry):
    """Least value."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.pool_blocks(
        worker, rows, workers, lane, lanes, blocks.minimum_of_8, blocks.minimum_of_4, blocks.minimum_of_block,
        source, target, geometry,
    )  # fmt: skip


@cached_cuda_kernel
def mean_integer(rows, lanes, source, target, geometry):
    """Mean of integers of 32 bits or less."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.pool_blocks(
        worker, rows, workers, lane, lanes,
        blocks.mean_of_8_integers, blocks.mean_of_4_integers, blocks.mean_of_integers,
        source, target, geometry,
    )  # fmt: skip


@cached_cuda_kernel
def mean_float(rows, lanes, source, target, geometry):
    """Mean of floats."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.pool_blocks(
        worker, rows, workers, lane, lanes, blocks.mean_of_8_floats, blocks.mean_of_4_floats, blocks.mean_of_floats,
        source, target, geometry,
    )  # fmt: skip


@cached_cuda_kernel
def mean_signed(rows, lanes, source, target, geometry):
    """Mean of int64; see `pooling.reduce_blocks`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.reduce_blocks(worker, rows, workers, lane, lanes, blocks.mean_of_signed, source, target, geometry)


@cached_cuda_kernel
def mean_unsigned(rows, lanes, source, target, geometry):
    """Mean of uint64."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.reduce_blocks(worker, rows, workers, lane, lanes, blocks.mean_of_unsigned, source, target, geometry)


@cached_cuda_kernel
def nearest(rows, lanes, source, target, geometry, x_indexes, y_indexes, z_indexes):
    """One voxel of each block; see `pooling.sample_blocks`."""
    worker = cuda.grid(1) // lanes
    workers = cuda.gridsize(1) // lanes
    lane = cuda.threadIdx.x % lanes
    pooling.sample_blocks(worker, rows, workers, lane, lanes, source, target, geometry, x_indexes, y_indexes, z_indexes)
