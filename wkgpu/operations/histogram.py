"""How many voxels lie in each of some bins: what `numpy.histogram` finds, without an array of all voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wkgpu.engines import get_engine
from wkgpu.engines.host_memory import LARGE_BYTES
from wkgpu.errors import ArgumentError
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.jobs import Executor
from wkgpu.operations.reductions import Counts, min_max_of, reduce_regions

_BYTES_OF_BIN = 32  # its edge and its count, and what NumPy makes beside them

Histogram: TypeAlias = tuple[NDArray[np.int64], NDArray[Any]]
Range: TypeAlias = tuple[float, float] | None


def histogram_of(
    regions: Sequence[ArrayRegion],
    bins: int | ArrayLike,
    value_range: Range,
    executor: Executor | None,
    progress_desc: str | None,
) -> Histogram:
    """Return the counts and the edges of bins; see `View.histogram`."""
    dtype = regions[0].array.spec.memory_dtype
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return _of_few_values(regions, bins, value_range, executor, progress_desc)
    needs_extremes = value_range is None and np.ndim(bins) == 0
    extremes = np.array(min_max_of(regions, executor, progress_desc) if needs_extremes else [], dtype)
    edges = _numpy_or_error(np.histogram_bin_edges, extremes, bins, value_range)
    in_kernel = edges if edges.dtype.kind == "f" else edges.astype(np.float64)
    factor = _bins_per_unit(edges) if np.ndim(bins) == 0 else 0.0
    counting = Counts("histogram", len(edges) - 1, (np.require(in_kernel, requirements=["C", "W"]), factor))
    results, missing = reduce_regions(regions, counting, executor, progress_desc)
    of_zero, _ = np.histogram(np.zeros(1, dtype), edges)
    return sum(results, missing * of_zero.astype(np.int64)), edges


def _of_few_values(
    regions: Sequence[ArrayRegion],
    bins: int | ArrayLike,
    value_range: Range,
    executor: Executor | None,
    progress_desc: str | None,
) -> Histogram:
    """Count each value of integers of 8 or 16 bits, and leave it to NumPy which bins they belong to."""
    dtype = regions[0].array.spec.memory_dtype
    kinds = 1 << 8 * dtype.itemsize
    min_value = -kinds // 2 if dtype.kind == "i" else 0
    results, missing = reduce_regions(
        regions, Counts("count_values", kinds, (min_value, kinds)), executor, progress_desc
    )
    counts = sum(results, np.zeros(kinds, np.int64))
    counts[-min_value] += missing
    present = np.flatnonzero(counts)
    values = (present + min_value).astype(dtype)
    found, edges = _numpy_or_error(np.histogram, values, bins, value_range, weights=counts[present])
    return found.astype(np.int64), edges


def _bins_per_unit(edges: NDArray[Any]) -> float:
    """Return what helps to guess the bin of a value, or 0 where nothing does."""
    width = float(edges[-1]) - float(edges[0])
    factor = (len(edges) - 1) / width if width > 0 else 0.0
    return factor if np.isfinite(factor) else 0.0


def _numpy_or_error(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function of NumPy that refuses invalid bins and ranges."""
    _, bins, value_range = arguments
    try:
        if isinstance(bins, str):
            raise TypeError("rules that choose bins need all voxels at once.")
        if isinstance(bins, int | np.integer) and bins * _BYTES_OF_BIN >= LARGE_BYTES:
            get_engine("cpu").check_room(int(bins) * _BYTES_OF_BIN, f"A histogram of {bins} bins")
        return function(*arguments, **keywords)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"histogram() with bins={bins!r} and value_range={value_range!r}: {error} Give a number of bins and two "
            "finite numbers, or ascending edges."
        ) from error
