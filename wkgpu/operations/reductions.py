"""All voxels of a view made a few numbers: block by block, with the next voxels being fetched meanwhile.

Shards that do not exist are not looked at: their voxels are zero, and only counted. A voxel has a value for each of its
channels, and what is reduced is values.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines import Engine, get_engine
from wkgpu.engines.kernel import SLOTS, NamedKernel
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.voxel_box import VoxelBox, bisected
from wkgpu.operations.jobs import Executor, run_jobs
from wkgpu.operations.mapping import box_of
from wkgpu.operations.streaming import fetched
from wkgpu.operations.tiling import block_shape, blocks_around
from wkgpu.operations.voxels import Array
from wkgpu.settings import config
from wkgpu.storage.stored_array import StoredArray, open_array

if TYPE_CHECKING:
    from wkgpu.dataset.view import View

_PIECE_BYTES = 16 << 20  # of voxels that are held at a time, and again as many are being read
_PIECE_BYTES_ON_GPU = 128 << 20
_ROWS_PER_THREAD = 2
_ROWS_ON_GPU = 1 << 12  # that the warps of a GPU share
_LEAST_WIDTH_ON_GPU = 32
_SHARED_COUNTERS = 64  # copies of the counters, so that few threads of a GPU wait for each other
_LABELLED_VALUES = 1 << 18  # in one table, which stays in a core's cache
_LABELLED_VALUES_ON_GPU = 1 << 12  # by one thread


class Reduction(Protocol):
    """What is made of voxels. It is sent to other processes, so that it must be possible to pickle it."""

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

    def begin(self, engine: Engine) -> list[Array]:
        """See `Reduction.begin`."""
        return []

    def add(self, engine: Engine, values: Array, known: list[Array]) -> None:
        """See `Reduction.add`."""
        rows, width = _rows(engine, values.size)
        lowest = engine.xp.repeat(values[:1], rows * SLOTS)
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

    def begin(self, engine: Engine) -> Array:
        """See `Reduction.begin`."""
        copies = _ROWS_PER_THREAD * max(config.threads, 1) if engine.name == "cpu" else _SHARED_COUNTERS
        return engine.zeros((copies * self.bins,), np.dtype(np.int64))

    def add(self, engine: Engine, values: Array, known: Array) -> None:
        """See `Reduction.add`."""
        rows, width = _rows(engine, values.size, known.size // self.bins)
        arguments = (engine.asarray(value) if isinstance(value, np.ndarray) else value for value in self.arguments)
        engine.launch(NamedKernel("reductions", self.kernel), rows, width, values, width, known, *arguments)

    def end(self, engine: Engine, known: Array) -> NDArray[np.int64]:
        """Return the counts of the bins."""
        counts: NDArray[np.int64] = _on_host(known).reshape(-1, self.bins).sum(axis=0)
        return counts


class Labels(NamedTuple):
    """How often each integer occurs."""

    def begin(self, engine: Engine) -> list[tuple[Array, Array]]:
        """See `Reduction.begin`."""
        return []

    def add(self, engine: Engine, values: Array, known: list[tuple[Array, Array]]) -> None:
        """See `Reduction.add`."""
        xp, on_cpu = engine.xp, engine.name == "cpu"
        width = min(_LABELLED_VALUES if on_cpu else _LABELLED_VALUES_ON_GPU, values.size)
        rows = -(-values.size // width)
        share = width if on_cpu else 1  # on a GPU one thread follows the runs of a row
        runs = engine.zeros((rows,), np.dtype(np.int64))
        engine.launch(NamedKernel("reductions", "count_runs"), rows, share, values, width, runs)
        # Tables are so long that two thirds of their places are taken at most.
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
    """A block to reduce.

    Attributes
    ----------
    path : Path
        Folder of the mag.
    device : str
        Name of the engine.
    block : VoxelBox
        In the mag's own grid.
    """

    path: Path
    device: str
    reduction: Reduction
    block: VoxelBox


def reduce_view(
    view: View, reduction: Reduction, executor: Executor | None, progress_desc: str | None
) -> tuple[list[Any], int]:
    """Reduce all voxels of a view that are in shards which exist.

    Returns
    -------
    list, int
        What was made of each block, and how many values the voxels have, with all channels, of shards that do not
        exist.

    Raises
    ------
    RegionError
        If the view is empty.
    """
    array, region = view._array, box_of(view)
    blocks = _blocks(array, region)
    jobs = [ReduceJob(array.path, view._engine.name, reduction, block) for block in blocks]
    boxes = [BoundingBox(block.topleft, block.shape).from_mag_to_mag1(view.mag) for block in blocks]
    results = run_jobs(reduce_block, jobs, executor=executor, boxes=boxes, progress_desc=progress_desc)
    missing = prod(region.shape) - sum(prod(block.shape) for block in blocks)
    return results, missing * array.spec.num_channels


def reduce_block(job: ReduceJob) -> Any:
    """Reduce one block, in this process or another one."""
    array, engine = open_array(job.path), get_engine(job.device)
    nbytes = _PIECE_BYTES if engine.name == "cpu" else _PIECE_BYTES_ON_GPU
    pieces = list(bisected(job.block, array.spec.chunk_shape, nbytes // array.spec.voxel_bytes))
    with engine.active():
        known = job.reduction.begin(engine)
        for _, (voxels,) in fetched([array], engine, lambda piece: (piece,), pieces):
            job.reduction.add(engine, voxels.T.reshape(-1), known)
            del voxels  # before the next ones are asked for: two pieces are held at a time
        return job.reduction.end(engine, known)


def _blocks(array: StoredArray, region: VoxelBox) -> list[VoxelBox]:
    """Return the parts of a region whose voxels are not known to be zero, ascending by z, y, x."""
    shape = block_shape(array.spec, array.spec.chunk_shape)
    stored = (VoxelBox(*shard) for shard in array.shard_boxes(region))
    return blocks_around(stored if array.spec.has_zero_fill else [region], shape, region)


def _rows(engine: Engine, size: int, most: int | None = None) -> tuple[int, int]:
    """Return into how many rows values are cut, and how many a row has.

    Parameters
    ----------
    most : int, optional
        On the CPU, where each row has counters of its own: for how many there are some.
    """
    if engine.name == "cpu":
        width = -(-size // (most or _ROWS_PER_THREAD * max(config.threads, 1)))
    else:
        width = max(-(-size // _ROWS_ON_GPU), _LEAST_WIDTH_ON_GPU)
    return -(-size // width), width


def _on_host(array: Array) -> NDArray[Any]:
    return np.asarray(get_engine("cpu").asarray(array))
