"""Boxes of very many chunks, cut into parts, so that the tables of a plan stay small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.plans.chunk_lookup import Ints

MAX_ROWS = 1 << 18
"""Chunks of a plan, whose tables take some 200 bytes for each."""


class BoxPart(NamedTuple):
    """The same part of some boxes of one shape."""

    corners: Ints
    """(n, 3) First voxels of the parts."""
    shape: Triple
    """Voxels of each part."""
    first: int
    """Number of the first box; the others follow it."""
    shift: Triple
    """First voxel of the part in its box."""
    is_all: bool
    """Whether it is all of all boxes."""


def parts_of_boxes(corners: Ints, shape: Triple, piece: Triple, max_rows: int) -> Iterable[BoxPart]:
    """Cut boxes at multiples of pieces into parts that together touch at most so many pieces, if that is possible.

    Parameters
    ----------
    corners : int64 (n, 3)
        First voxels of the boxes.
    shape : tuple of int
        Voxels of each box.
    piece : tuple of int
        Voxels of a piece.
    max_rows : int
        Most pieces of a part, with one counted for each box that touches it.

    Examples
    --------
    >>> [part.shape for part in parts_of_boxes(np.array([[4, 0, 0]]), (8, 8, 16), (8, 8, 8), 2)]
    [(8, 8, 8), (8, 8, 8)]
    """
    (x, y, z), (width, height, depth) = shape, piece
    of_box = (x // width + 2) * (y // height + 2) * (z // depth + 2)  # at most
    if len(corners) * of_box <= max_rows:
        return (BoxPart(corners, shape, 0, (0, 0, 0), True),) if len(corners) else ()
    if of_box <= max_rows:
        at_once = max_rows // of_box
        return (
            BoxPart(corners[first : first + at_once], shape, first, (0, 0, 0), False)
            for first in range(0, len(corners), at_once)
        )
    return _parts_of_large_boxes(corners, shape, piece, max_rows)


def _parts_of_large_boxes(corners: Ints, shape: Triple, piece: Triple, max_rows: int) -> Iterator[BoxPart]:
    for number, corner in enumerate(corners.tolist()):
        for begin, length in _parts_of_box(corner, shape, piece, max_rows):
            left, top, front = (low - first for low, first in zip(begin, corner, strict=True))
            yield BoxPart(np.array([begin], np.int64), length, number, (left, top, front), False)


def _parts_of_box(corner: list[int], shape: Triple, piece: Triple, max_rows: int) -> Iterator[tuple[Triple, Triple]]:
    """Yield first voxels and voxels of the parts of one box."""
    counts = [
        -(-(begin + length) // unit) - begin // unit for begin, length, unit in zip(corner, shape, piece, strict=True)
    ]
    x, y, _ = counts
    steps = min(x, max_rows), max(min(y, max_rows // x), 1), max(max_rows // (x * y), 1)

    def cuts(axis: int) -> Iterator[tuple[int, int]]:
        begin, end, unit = corner[axis], corner[axis] + shape[axis], piece[axis]
        first = begin // unit
        for cell in range(first, first + counts[axis], steps[axis]):
            low = max(cell * unit, begin)
            yield low, min((cell + steps[axis]) * unit, end) - low

    for front, depth in cuts(2):
        for top, height in cuts(1):
            for left, width in cuts(0):
                yield (left, top, front), (width, height, depth)
