"""Boxes of voxels in a mag's own grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple, TypeAlias

Triple: TypeAlias = tuple[int, int, int]
FARTHEST = 1 << 56
"""No box reaches beyond this voxel along any axis, and no file: offsets in voxels then fit 64 bits."""


def triple(numbers: Iterable[int]) -> Triple:
    """Return three numbers as a tuple."""
    x, y, z = numbers
    return x, y, z


class VoxelBox(NamedTuple):
    """First voxel and voxels ``(x, y, z)`` in a mag's own grid.

    Examples
    --------
    >>> VoxelBox((0, 0, 0), (8, 8, 8)).intersection(VoxelBox((4, 4, 4), (8, 8, 8)))
    VoxelBox(topleft=(4, 4, 4), shape=(4, 4, 4))
    """

    topleft: Triple
    shape: Triple

    @classmethod
    def from_corners(cls, begin: Iterable[int], end: Iterable[int]) -> VoxelBox | None:
        """Return the box from a first voxel to the one behind the last, if there is any in it."""
        topleft = triple(begin)
        shape = triple(high - low for low, high in zip(topleft, end, strict=True))
        return cls(topleft, shape) if min(shape) > 0 else None

    def intersection(self, other: VoxelBox) -> VoxelBox | None:
        """Return what two boxes share, if that is anything."""
        return VoxelBox.from_corners(map(max, self.topleft, other.topleft), map(min, self.end, other.end))

    @property
    def end(self) -> Triple:
        """The first voxel behind the box, along each axis."""
        return triple(low + length for low, length in zip(self.topleft, self.shape, strict=True))

    def slices_in(self, outer: VoxelBox) -> tuple[slice, slice, slice]:
        """Where the box lies in an array of a box that holds it."""
        begins = [low - first for low, first in zip(self.topleft, outer.topleft, strict=True)]
        x, y, z = (slice(low, low + length) for low, length in zip(begins, self.shape, strict=True))
        return x, y, z


def bisected(box: VoxelBox, units: Triple, max_voxels: int) -> Iterator[VoxelBox]:
    """Cut a box in halves, at multiples of units, until no part has more than so many voxels, if that is possible.

    Examples
    --------
    >>> [part.topleft for part in bisected(VoxelBox((0, 0, 0), (8, 8, 16)), (4, 4, 4), 512)]
    [(0, 0, 0), (0, 0, 8)]
    """
    cuts = list(map(_middle, box.topleft, box.end, units)) if prod(box.shape) > max_voxels else []
    axes = [axis for axis, cut in enumerate(cuts) if box.topleft[axis] < cut < box.end[axis]]
    if not axes:
        yield box
        return
    # Of axes that are as long the last one, along which voxels lie farthest apart
    axis = max(axes, key=lambda axis: (box.shape[axis] / units[axis], axis))
    begin, end = list(box.topleft), list(box.end)
    begin[axis] = end[axis] = cuts[axis]
    for part in VoxelBox.from_corners(box.topleft, end), VoxelBox.from_corners(begin, box.end):
        assert part is not None
        yield from bisected(part, units, max_voxels)


def _middle(begin: int, end: int, unit: int) -> int:
    """Return the multiple of a unit that is nearest to the middle of a span: if any lies within the span, this one."""
    return (begin + end + unit) // (2 * unit) * unit
