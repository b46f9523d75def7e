"""A comparison as data: two reads of boxes of one shape, and which of their chunks face each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from wkgpu.geometry.voxel_box import Triple, triple
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.spec import ArraySpec


@dataclass(frozen=True)
class ComparisonPlan:
    """Two open plans of one box each, and the pairs of chunks of which at least one is stored.

    Pairs come in the order in which the chunks lie in the files of `one`; before all others come those that it does not
    have, in the order of `other`.

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


def chunk_grids_coincide(
    specs: tuple[ArraySpec, ArraySpec], pieces: tuple[Pieces, Pieces], toplefts: tuple[Triple, Triple]
) -> bool:
    """Whether each chunk (of raw mags: piece) that one box touches has its place in the other, and bytes say all.

    Of floats they do not: equal bytes and equal numbers are not the same.

    Parameters
    ----------
    pieces : tuple of Pieces
        How the chunks of each are cut, in storage axis order.
    toplefts : tuple of (x, y, z)
        First voxel of each box in its mag's own grid.
    """
    one, other = specs
    if (one.dtype, one.num_channels) != (other.dtype, other.num_channels) or one.dtype.kind in "fc":
        return False
    if one.fill_bytes != other.fill_bytes:  # of chunks that neither has, bytes say nothing
        return False
    if one.axis_order != other.axis_order or not one.channel_position == other.channel_position == 0:
        return False
    shape, corners = pieces[0].shape, map(one.in_storage_order, toplefts)
    return shape == pieces[1].shape and all((a - b) % n == 0 for a, b, n in zip(*corners, shape, strict=True))


def comparison_plan(one: ReadPlan, other: ReadPlan) -> ComparisonPlan | None:
    """Pair the chunks of two plans of one box each, whose chunks face each other.

    None where a plan has only a part of its box, as of very many small shards or of shards with different codecs, and
    where the chunks do not face each other, because a mag has just been rewritten in other chunks.
    """
    grid = _grid(one)
    faces = one.pieces.shape == other.pieces.shape and grid == _grid(other)
    if not (faces and _is_whole(one, grid) and _is_whole(other, grid)):
        return None
    rows_of_one, rows_of_other = _rows_by_cell(one, grid), _rows_by_cell(other, grid)
    order = np.lexsort((rows_of_other, rows_of_one))
    order = order[np.maximum(rows_of_one, rows_of_other)[order] >= 0]
    cells = np.stack(np.unravel_index(order, grid.counts), axis=1)
    origin = cells * np.array(one.pieces.shape) + np.array(grid.first)
    return ComparisonPlan(one, other, rows_of_one[order], rows_of_other[order], origin)


class _Grid(NamedTuple):
    """The chunks that a box touches."""

    first: Triple
    """First voxel of the first chunk in the box: not positive."""
    counts: Triple
    """``(x, y, z)`` chunks."""


def _grid(plan: ReadPlan) -> _Grid:
    origin = (plan.chunks.origin if len(plan.chunks) else plan.missing.origin)[0].tolist()
    lengths = plan.pieces.shape
    first = triple(-(-place % length) for place, length in zip(origin, lengths, strict=True))
    spans = zip(first, plan.shape, lengths, strict=True)
    return _Grid(first, triple(-((begin - end) // length) for begin, end, length in spans))


def _is_whole(plan: ReadPlan, grid: _Grid) -> bool:
    return len(plan.chunks) + len(plan.missing) == prod(grid.counts)


def _rows_by_cell(plan: ReadPlan, grid: _Grid) -> Ints:
    """Return which row of the plan's chunks has each cell of a grid, or -1."""
    rows = np.full(prod(grid.counts), -1, np.int64)
    x, y, z = ((plan.chunks.origin - np.array(grid.first)) // plan.pieces.shape).T
    rows[np.ravel_multi_index((x, y, z), grid.counts)] = np.arange(len(x))
    return rows
