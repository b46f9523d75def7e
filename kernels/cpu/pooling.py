"""The bodies of `pooling` as kernels of the CPU; each call works on the rows ``first`` to ``last``."""

from __future__ import annotations

from .. import bodies as _bodies  # noqa: F401 - the bodies can call each other
from ..bodies import blocks, columns, pooling
from ..compilation import cached_kernel


@cached_kernel
def median_unsigned(first, last, source, target, geometry, memory, width):
    """Median of unsigned integers; see `pooling.sort_blocks`."""
    pooling.sort_blocks(
        first, last, 1, 0, 1, blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_unsigned,
        source, target, geometry, memory, width,
    )  # fmt: skip


@cached_kernel
def median_signed(first, last, source, target, geometry, memory, width):
    """Median of signed integers."""
    pooling.sort_blocks(
        first, last, 1, 0, 1, blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_signed,
        source, target, geometry, memory, width,
    )  # fmt: skip


@cached_kernel
def median_float(first, last, source, target, geometry, memory, width):
    """Median of floats."""
    pooling.sort_blocks(
        first, last, 1, 0, 1, blocks.median_of_8, blocks.median_of_4, columns.medians_of_columns, blocks.join_float,
        source, target, geometry, memory, width,
    )  # fmt: skip


@cached_kernel
def mode(first, last, source, target, geometry, memory, width):
    """Most frequent value."""
    pooling.sort_blocks(
        first, last, 1, 0, 1, blocks.mode_of_8, blocks.mode_of_4, columns.modes_of_columns, blocks.join_unsigned,
        source, target, geometry, memory, width,
    )  # fmt: skip


@cached_kernel
def maximum(first, last, source, target, geometry):
    """Greatest value; see `pooling.pool_blocks`."""
    pooling.pool_blocks(
        first, last, 1, 0, 1, blocks.maximum_of_8, blocks.maximum_of_4, blocks.maximum_of_block,
        source, target, geometry,
    )  # fmt: skip


@cached_kernel
def minimum(first, last, source, target, geometry):
    """Least value."""
    pooling.pool_blocks(
        first, last, 1, 0, 1, blocks.minimum_of_8, blocks.minimum_of_4, blocks.minimum_of_block,
        source, target, geometry,
    )  # fmt: skip


@cached_kernel
def mean_integer(first, last, source, target, geometry):
    """Mean of integers of 32 bits or less."""
    pooling.pool_blocks(
        first, last, 1, 0, 1, blocks.mean_of_8_integers, blocks.mean_of_4_integers, blocks.mean_of_integers,
        source, target, geometry,
    )  # fmt: skip


@cached_kernel
def mean_float(first, last, source, target, geometry):
    """Mean of floats."""
    pooling.pool_blocks(
        first, last, 1, 0, 1, blocks.mean_of_8_floats, blocks.mean_of_4_floats, blocks.mean_of_floats,
        source, target, geometry,
    )  # fmt: skip


@cached_kernel
def mean_signed(first, last, source, target, geometry):
    """Mean of int64; see `pooling.reduce_blocks`."""
    pooling.reduce_blocks(first, last, 1, 0, 1, blocks.mean_of_signed, source, target, geometry)


@cached_kernel
def mean_unsigned(first, last, source, target, geometry):
    """Mean of uint64."""
    pooling.reduce_blocks(first, last, 1, 0, 1, blocks.mean_of_unsigned, source, target, geometry)


@cached_kernel
def nearest(first, last, source, target, geometry, x_indexes, y_indexes, z_indexes):
    """One voxel of each block; see `pooling.sample_blocks`."""
    pooling.sample_blocks(first, last, 1, 0, 1, source, target, geometry, x_indexes, y_indexes, z_indexes)
