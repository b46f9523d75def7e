"""Boxes of voxels in a mag's own grid, and how work on them is cut along shards and chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod
from typing import NamedTuple

from wkgpu.storage.layout import ArrayLayout, Triple, triple
from wkgpu.storage.stored_array import StoredArray

_BLOCK_BYTES = 16 << 20  # small shards are handled together up to this, so that a job is worth its overhead


class Box(NamedTuple):
    """First voxel and voxels ``(x, y, z)`` in a mag's own grid.

    Examples
    --------
    >>> Box((0, 0, 0), (8, 8, 8)).meet(Box((4, 4, 4), (8, 8, 8)))
    Box(topleft=(4, 4, 4), shape=(4, 4, 4))
    """

    topleft: Triple
    shape: Triple

    @classmethod
    def between(cls, begin: Iterable[int], end: Iterable[int]) -> Box | None:
        """Return the box from a first voxel to the one behind the last, if there is any in it."""
        topleft = triple(begin)
        shape = triple(high - low for low, high in zip(topleft, end, strict=True))
        return cls(topleft, shape) if min(shape) > 0 else None

    def meet(self, other: Box) -> Box | None:
        """Return what two boxes share, if that is anything."""
        return Box.between(map(max, self.topleft, other.topleft), map(min, self.end, other.end))

    @property
    def end(self) -> Triple:
        """The first voxel behind the box, along each axis."""
        return triple(low + length for low, length in zip(self.topleft, self.shape, strict=True))

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """Where the box lies in an array of a box that holds it."""
        begins = [low - first for low, first in zip(self.topleft, outer.topleft, strict=True)]
        x, y, z = (slice(low, low + length) for low, length in zip(begins, self.shape, strict=True))
        return x, y, z


def cells(box: Box, shape: Triple) -> Iterator[Triple]:
    """Yield the first voxels of the cells of a grid that a box touches, with z running fastest."""
    axes = (range(low // step * step, end, step) for low, end, step in zip(box.topleft, box.end, shape, strict=True))
    yield from product(*axes)


def shards_in(array: StoredArray, box: Box) -> list[Box]:
    """Return the boxes of a mag's shards that a box touches, whether they exist or not."""
    return [Box(corner, array.layout.shard_shape) for corner in cells(box, array.layout.shard_shape)]


def shard_number(array: StoredArray, shard: Box) -> Triple:
    """Return which shard of a mag has a box: ``(x, y, z)``, in shards."""
    return triple(low // length for low, length in zip(shard.topleft, array.layout.shard_shape, strict=True))


def block_shape(layout: ArrayLayout, least: Triple) -> Triple:
    """Return a multiple of the shards that one job writes: small ones together, and at least ``least`` voxels."""
    shape = list(layout.shard_shape)
    for axis, length in enumerate(least):
        while shape[axis] < length:
            shape[axis] *= 2
    while 2 * prod(shape) * layout.voxel_bytes <= _BLOCK_BYTES:
        shape[shape.index(min(shape))] *= 2
    return triple(shape)


def blocks_around(boxes: Iterable[Box], shape: Triple, region: Box | None = None) -> list[Box]:
    """Return the cells of a grid that boxes touch, ascending by z, y, x; of a region, the parts that lie in it."""
    inside = boxes if region is None else [part for box in boxes if (part := box.meet(region))]
    corners = {corner for box in inside for corner in cells(box, shape)}
    blocks = [Box(corner, shape) for corner in sorted(corners, key=lambda corner: corner[::-1])]
    return blocks if region is None else [part for block in blocks if (part := block.meet(region))]


def halved(box: Box, units: Triple, most: int) -> Iterator[Box]:
    """Cut a box in halves, at multiples of units, until no part has more than so many voxels, if that is possible.

    Examples
    --------
    >>> [part.topleft for part in halved(Box((0, 0, 0), (8, 8, 16)), (4, 4, 4), 512)]
    [(0, 0, 0), (0, 0, 8)]
    """
    cuts = list(map(_middle, box.topleft, box.end, units)) if prod(box.shape) > most else []
    axes = [axis for axis, cut in enumerate(cuts) if box.topleft[axis] < cut < box.end[axis]]
    if not axes:
        yield box
        return
    # Of axes that are as long the last one, along which voxels lie farthest apart
    axis = max(axes, key=lambda axis: (box.shape[axis] / units[axis], axis))
    begin, end = list(box.topleft), list(box.end)
    begin[axis] = end[axis] = cuts[axis]
    for part in Box.between(box.topleft, end), Box.between(begin, box.end):
        assert part is not None
        yield from halved(part, units, most)


def _middle(begin: int, end: int, unit: int) -> int:
    """Return the multiple of a unit that is nearest to the middle of a span: if any lies within the span, this one."""
    return (begin + end + unit) // (2 * unit) * unit
