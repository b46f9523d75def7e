"""A comparison as data: two reads of boxes of one shape, and which of their chunks face each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from wkgpu.storage.chunk_grid import Ints
from wkgpu.storage.layout import Triple, triple
from wkgpu.storage.read_plan import ReadPlan


@dataclass(frozen=True)
class ComparisonPlan:
    """Two open plans of one box each, and the pairs of chunks of which at least one is stored.

    Pairs come in the order in which the chunks lie in the files of `one`; first come those that it does not have.

    Attributes
    ----------
    rows_of_one, rows_of_other : int64 (n,)
        Rows in the plans' tables of chunks; -1 for a chunk that is not stored, which is zero.
    origin : int64 (n, 3)
        First voxel of the chunk in the box; negative where the chunk begins before it.
    """

    one: ReadPlan
    other: ReadPlan
    rows_of_one: Ints
    rows_of_other: Ints
    origin: Ints


def comparison_plan(one: ReadPlan, other: ReadPlan) -> ComparisonPlan | None:
    """Pair the chunks of two plans; None where they have no pairs.

    That is where chunks (of raw mags: pieces) have different shapes or different places in the boxes, where voxels are
    stored as different types, and where a plan covers a part of its box only. Floats have none either: of them, equal
    bytes and equal numbers are not the same.
    """
    grids = _grid(one), _grid(other)
    if one.layout.dtype.kind == "f" or grids[0] != grids[1] or grids[0] is None:
        return None
    first, counts = grids[0].first, grids[0].counts
    rows_of_one, rows_of_other = (_rows_by_cell(plan, first, counts) for plan in (one, other))
    order = np.argsort(rows_of_one, kind="stable")
    order = order[np.maximum(rows_of_one, rows_of_other)[order] >= 0]
    cells = np.stack(np.unravel_index(order, counts), axis=1)
    origin = cells * np.array(one.pieces.shape) + np.array(first)
    return ComparisonPlan(one, other, rows_of_one[order], rows_of_other[order], origin)


class _Grid(NamedTuple):
    """What two plans must have in common so that each chunk of one faces a chunk of the other."""

    dtype: np.dtype[np.generic]
    num_channels: int
    shape: Triple
    """``(x, y, z)`` voxels of the box."""
    chunk_shape: Triple
    first: Triple
    """First voxel in the box of its first chunk: not positive."""
    counts: Triple
    """``(x, y, z)`` chunks that the box touches."""


def _grid(plan: ReadPlan) -> _Grid | None:
    """Return the chunks that a box touches, if it is one box, and all of them are in the plan."""
    stored, absent = plan.chunks.origin, plan.gaps.origin
    if plan.boxes != 1 or len(stored) + len(absent) == 0:
        return None
    origin = (stored if len(stored) else absent)[0].tolist()
    first = triple(-(-place % length) for place, length in zip(origin, plan.pieces.shape, strict=True))
    counts = triple(
        -(-(extent - begin) // length)
        for extent, begin, length in zip(plan.shape, first, plan.pieces.shape, strict=True)
    )
    if len(stored) + len(absent) != prod(counts):
        return None
    layout = plan.layout
    return _Grid(layout.dtype, layout.num_channels, plan.shape, plan.pieces.shape, first, counts)


def _rows_by_cell(plan: ReadPlan, first: Triple, counts: Triple) -> Ints:
    """Return which row of the plan's chunks has each cell of the grid, or -1."""
    rows = np.full(prod(counts), -1, np.int64)
    x, y, z = ((plan.chunks.origin - np.array(first)) // plan.pieces.shape).T
    rows[np.ravel_multi_index((x, y, z), counts)] = np.arange(len(x))
    return rows
