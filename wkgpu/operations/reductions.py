"""Reductions over the voxels of a region: job by job, while the next voxels are being read.

Shards that do not exist are not read: their voxels are zero, and only counted. A voxel has a value for each of its
channels, and what is reduced is values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines import Engine, get_engine
from wkgpu.engines.kernel import MAX_LANES, NamedKernel
from wkgpu.engines.tuning import Tuning
from wkgpu.errors import DtypeError
from wkgpu.geometry.voxel_box import VoxelBox, bisected
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.jobs import Executor, run_jobs
from wkgpu.operations.streaming import prefetched
from wkgpu.operations.tiling import boxes_around, job_shape
from wkgpu.operations.voxels import Array


class Reduction(Protocol):
    """What is made of voxels. It is sent to other processes, so that it must be possible to pickle it."""

    def nbytes_beside(self, itemsize: int) -> int:
        """Return how many bytes of memory `add` takes for each value of so many bytes, at most."""
        ...

    def begin(self, engine: Engine) -> Any:
        """Return what is known before any voxel has come."""
        ...

    def add(self, engine: Engine, values: Array, known: Any) -> None:
        """Take in the values of a flat array."""
        ...

    def end(self, engine: Engine, known: Any) -> Any:
        """Return what is known, on the host."""
        ...


class MinMax(NamedTuple):
    """The least and the greatest value; NaN if there is one."""

    def nbytes_beside(self, itemsize: int) -> int:
        """See `Reduction.nbytes_beside`."""
        return 0

    def begin(self, engine: Engine) -> list[Array]:
        """See `Reduction.begin`."""
        return []

    def add(self, engine: Engine, values: Array, known: list[Array]) -> None:
        """See `Reduction.add`."""
        rows, width = _rows(engine.tuning, values.size)
        lowest = engine.xp.repeat(values[:1], rows * MAX_LANES)
        highest = lowest.copy()
        engine.launch(NamedKernel("reductions", "find_extremes"), rows, width, values, width, lowest, highest)
        known.append(engine.xp.stack([lowest.min(), highest.max()]))

    def end(self, engine: Engine, known: list[Array]) -> NDArray[Any]:
        """Return all of them."""
        return np.concatenate([_on_host(extremes) for extremes in known])


class Counts(NamedTuple):
    """How many values each bin has.

    Attributes
    ----------
    kernel : str
        One of `wkgpu.kernels.bodies.reductions`, with ``bins`` counters for a row.
    arguments
        What it takes beyond the counters.
    """

    kernel: str
    bins: int
    arguments: tuple[Any, ...]

    def nbytes_beside(self, itemsize: int) -> int:
        """See `Reduction.nbytes_beside`."""
        return 0

    def begin(self, engine: Engine) -> Array:
        """See `Reduction.begin`."""
        return engine.zeros((engine.tuning.counters * self.bins,), np.dtype(np.int64))

    def add(self, engine: Engine, values: Array, known: Array) -> None:
        """See `Reduction.add`."""
        rows, width = _rows(engine.tuning, values.size, known.size // self.bins)
        arguments = (engine.asarray(value) if isinstance(value, np.ndarray) else value for value in self.arguments)
        engine.launch(NamedKernel("reductions", self.kernel), rows, width, values, width, known, *arguments)

    def end(self, engine: Engine, known: Array) -> NDArray[np.int64]:
        """Return the counts of the bins."""
        counts: NDArray[np.int64] = _on_host(known).reshape(-1, self.bins).sum(axis=0)
        return counts


class Labels(NamedTuple):
    """How often each integer occurs."""

    def nbytes_beside(self, itemsize: int) -> int:
        """See `Reduction.nbytes_beside`; where no value is like the one before, tables have up to three items each."""
        return 4 * (itemsize + 8)

    def begin(self, engine: Engine) -> list[tuple[Array, Array]]:
        """See `Reduction.begin`."""
        return []

    def add(self, engine: Engine, values: Array, known: list[tuple[Array, Array]]) -> None:
        """See `Reduction.add`."""
        xp, tuning = engine.xp, engine.tuning
        width = min(tuning.labelled_values, values.size)
        rows = -(-values.size // width)
        share = min(tuning.labelled_width, width)  # one thread follows the runs of a row
        runs = engine.zeros((rows,), np.dtype(np.int64))
        engine.launch(NamedKernel("reductions", "count_runs"), rows, share, values, width, runs)
        # Tables are so long that two thirds of their items are taken at most.
        lengths = xp.left_shift(1, xp.ceil(xp.log2(runs * 3 // 2 + 1)).astype(np.int64))
        ends = xp.concatenate([xp.zeros(1, np.int64), xp.cumsum(lengths)])
        labels = engine.empty((int(ends[-1]),), values.dtype)
        counts = engine.zeros((int(ends[-1]),), np.dtype(np.int64))
        engine.launch(NamedKernel("reductions", "count_labels"), rows, share, values, width, ends, labels, counts)
        known.append(merged(xp, [(labels[counts > 0], counts[counts > 0])]))

    def end(self, engine: Engine, known: list[tuple[Array, Array]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the integers, sorted, and their counts."""
        labels, counts = merged(engine.xp, known)
        return _on_host(labels), _on_host(counts)


def merged(xp: Any, parts: Iterable[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Put sorted labels and their counts together, with functions of NumPy or CuPy."""
    labels, counts = (xp.concatenate(column) for column in zip(*parts, strict=True))
    order = xp.argsort(labels)
    labels, totals = labels[order], xp.cumsum(counts[order])
    is_last = xp.ones(labels.size, bool)
    is_last[:-1] = labels[1:] != labels[:-1]
    totals = totals[is_last]
    totals[1:] -= totals[:-1].copy()
    return labels[is_last], totals


class ReduceJob(NamedTuple):
    """A part of a region to reduce."""

    region: ArrayRegion
    reduction: Reduction


def min_max_of(
    regions: Sequence[ArrayRegion], executor: Executor | None, progress_desc: str | None
) -> tuple[int, int] | tuple[float, float]:
    """Return the least and the greatest value; see `View.min_max`."""
    results, missing = reduce_regions(regions, MinMax(), executor, progress_desc)
    values = np.concatenate([*results, np.zeros(int(missing > 0), regions[0].array.spec.memory_dtype)])
    lowest, highest = values.min().item(), values.max().item()
    return lowest + 0, highest + 0  # without the sign of -0.0, which depends on the order of the work


def label_counts_of(
    regions: Sequence[ArrayRegion], executor: Executor | None, progress_desc: str | None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the integers that occur, and their counts; see `View.count_labels`."""
    results, missing = reduce_regions(regions, Labels(), executor, progress_desc)
    zeros = np.zeros(int(missing > 0), regions[0].array.spec.memory_dtype), np.full(int(missing > 0), missing, np.int64)
    return merged(np, [*results, zeros])


def check_integers(dtype: np.dtype[np.generic], method: str) -> None:
    """Check that voxels can be ids.

    Raises
    ------
    DtypeError
        If they are floats.
    """
    if dtype.kind not in "iu":
        raise DtypeError(f"{method}() of {dtype} voxels; ids are integers. Use histogram() or min_max() for floats.")


def reduce_regions(
    regions: Sequence[ArrayRegion], reduction: Reduction, executor: Executor | None, progress_desc: str | None
) -> tuple[list[Any], int]:
    """Reduce all voxels of a region that are in shards which exist.

    Parameters
    ----------
    regions : sequence of ArrayRegion
        The region, at each coordinate along further axes; at least one.

    Returns
    -------
    list, int
        What was made of each job's part, and how many values the voxels have, with all channels, of shards that do not
        exist.
    """
    parts = [part for region in regions for part in _stored_parts(region)]
    jobs = [ReduceJob(part, reduction) for part in parts]
    boxes = [part.bounding_box for part in parts]
    results = run_jobs(reduce_part, jobs, executor=executor, boxes=boxes, progress_desc=progress_desc)
    voxels, reduced = (sum(prod(found.box.shape) for found in several) for several in (regions, parts))
    return results, (voxels - reduced) * regions[0].array.spec.num_channels


def reduce_part(job: ReduceJob) -> Any:
    """Reduce the part of one job, in this process or another one."""
    (region, reduction), array, engine = job, job.region.array, job.region.engine
    spec = array.current().spec
    nbytes = min(engine.tuning.reduced_bytes, prod(region.box.shape) * spec.voxel_bytes)
    # One tile is reduced, and the next one read.
    wanted = 2 * nbytes + nbytes // spec.dtype.itemsize * reduction.nbytes_beside(spec.dtype.itemsize)
    with engine.active(), engine.share(wanted) as given:
        tiles = list(bisected(region.box, spec.chunk_shape, nbytes * given // wanted // spec.voxel_bytes))
        known = reduction.begin(engine)
        for _, (voxels,) in prefetched([array], engine, lambda tile: (tile,), tiles):
            reduction.add(engine, voxels.T.reshape(-1), known)
            del voxels  # before the next ones are requested: two tiles are held at a time
        return reduction.end(engine, known)


def _stored_parts(region: ArrayRegion) -> list[ArrayRegion]:
    """Return the parts of a region whose voxels are not known to be zero, ascending by z, y, x."""
    spec = region.array.spec
    shape = job_shape(spec, spec.chunk_shape)
    stored = (VoxelBox(*shard) for shard in region.array.shard_boxes(region.box))
    boxes = boxes_around(stored if spec.has_zero_fill else [region.box], shape, region.box)
    return [region.part(box) for box in boxes]


def _rows(tuning: Tuning, size: int, counters: int | None = None) -> tuple[int, int]:
    """Return into how many rows values are cut, and how many a row has.

    Parameters
    ----------
    counters : int, optional
        Sets of counters that exist. Unless the engine's rows share them, each row has its own.
    """
    rows = tuning.rows
    if counters is not None and tuning.counters >= rows:
        rows = min(rows, counters)
    width = max(-(-size // rows), tuning.min_width)
    return -(-size // width), width


def _on_host(array: Array) -> NDArray[Any]:
    return np.asarray(get_engine("cpu").asarray(array))
