"""Boxes with axes besides x, y and z, such as time, and their coordinates along these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from wkgpu.dataset.regions import Frame
from wkgpu.errors import MismatchError, OutOfBoundsError, RegionError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES
from wkgpu.geometry.voxel_box import FARTHEST
from wkgpu.operations.coordinates import EVERYWHERE, Ranges, said
from wkgpu.storage.stored_array import StoredArray

VOXEL_AXES = ("c", *XYZ_AXES)

Boxes: TypeAlias = tuple[NDBoundingBox | None, NDBoundingBox | None]


def further_axes(box: NDBoundingBox) -> dict[str, range]:
    """Return the coordinates of a box along its axes besides channels, x, y and z.

    Examples
    --------
    >>> further_axes(NDBoundingBox((0, 3, 8, 8, 8), (1, 2, 4, 4, 4), ("c", "t", "x", "y", "z")))
    {'t': range(3, 5)}
    """
    return {axis: range(*box.get_bounds(axis)) for axis in box.axes if axis not in VOXEL_AXES}


def in_space(box: NDBoundingBox) -> BoundingBox:
    """Return a box along x, y and z alone."""
    return box if isinstance(box, BoundingBox) else BoundingBox(box.topleft_xyz, box.size_xyz)


def normalized(box: NDBoundingBox, num_channels: int) -> NDBoundingBox:
    """Return a box with an axis of channels, unless it has the axes of arrays already."""
    if not isinstance(box, BoundingBox):
        return box
    return NDBoundingBox((0, *box.topleft), (num_channels, *box.size), VOXEL_AXES)


def extended(known: NDBoundingBox, box: NDBoundingBox) -> NDBoundingBox:
    """Return the smallest box around both, which has the axes of the first one. It may have no voxels yet."""
    both = in_space(known).extended_by(in_space(box))
    found, theirs = known.with_topleft_xyz(both.topleft).with_size_xyz(both.size), further_axes(box)
    for axis, own in further_axes(known).items():
        spans = [at for at in (own, theirs.get(axis)) if at]
        if spans:
            first = min(at.start for at in spans)
            found = found.with_bounds(axis, first, max(at.stop for at in spans) - first)
    return found


def box_of_axes(array: StoredArray) -> NDBoundingBox:
    """Return a box without voxels that has the axes of an array, if there are others than channels, x, y and z."""
    if not array.extra_axes:
        return BoundingBox.empty()
    axes = [*array.axes, *(axis for axis in XYZ_AXES if axis not in array.axes)]
    lengths = {"c": array.spec.num_channels, **dict.fromkeys(XYZ_AXES, 0), **dict(array.extra_axes)}
    return NDBoundingBox.from_axes(axes, (lengths[axis] for axis in axes))


# ---- Coordinates of views


def ranges_in(frame: Frame) -> Ranges:
    """Return the coordinates of a view along its further axes, sorted by the names of these."""
    return EVERYWHERE if frame.more is None else dict(sorted(further_axes(frame.more).items()))


def lengths_along(ranges: Ranges) -> dict[str, int]:
    """Return how many coordinates there are along each axis that has several."""
    return {axis: len(at) for axis, at in ranges.items() if len(at) != 1}


def ranges_within(frame: Frame, ranges: Ranges, name: str) -> Ranges:
    """Return coordinates of another view, which a view has as well, along the axes of both.

    Raises
    ------
    MismatchError
        If it does not have them, or the other one, which messages call by its name, lacks an axis.
    """
    own = ranges_in(frame)
    for axis in sorted({*own, *ranges}):
        mine, theirs = own.get(axis, range(1)), ranges.get(axis, range(1))
        is_unsaid = axis not in ranges and len(mine) > 1
        if is_unsaid or theirs.start < mine.start or theirs.stop > mine.stop:
            raise MismatchError(
                f"{name} has the coordinates {said(theirs)} along the axis {axis!r}, and the view that gets its "
                f"voxels {said(mine)}; both need the axis, and the view all coordinates."
            )
    return {axis: ranges.get(axis, at) for axis, at in own.items()} | dict(ranges)


def ranges_of_boxes(frame: Frame, boxes: Sequence[NDBoundingBox]) -> Ranges:
    """Return the one coordinate along each further axis that all of some boxes in a view have.

    Raises
    ------
    RegionError
        If they have several, or different ones.
    """
    if frame.more is None:
        return EVERYWHERE
    found = [ranges_of_region(frame, (None, box)) for box in boxes]
    for box, ranges in zip(boxes, found, strict=True):
        if lengths_along(ranges) or ranges != found[0]:
            raise RegionError(f"{box!r} and {boxes[0]!r} are not at one coordinate along each further axis.")
    return found[0]


def ranges_of_region(frame: Frame, boxes: Boxes, bounded: bool = True) -> Ranges:
    """Return the coordinates that one of two boxes, the relative or the absolute one, has along further axes.

    Parameters
    ----------
    bounded : bool
        Whether all of them have to lie in the view.
    """
    assert frame.more is not None
    own = further_axes(frame.more)
    relative, absolute = boxes
    box = absolute if relative is None else relative
    if not isinstance(box, NDBoundingBox):
        return own
    found = further_axes(box)
    found = {axis: at for axis, at in found.items() if axis in own or at != range(1)}
    if strange := sorted(found.keys() - own.keys()):
        raise RegionError(f"{box!r} has the axes {strange}, which the view, {frame.more!r}, does not have.")
    if relative is not None:
        found = {axis: range(at.start + own[axis].start, at.stop + own[axis].start) for axis, at in found.items()}
    channels = range(*box.get_bounds("c")) if "c" in box.axes else None
    if channels is not None and channels != range(*frame.more.get_bounds("c") if "c" in frame.more.axes else (0, 1)):
        raise RegionError(f"{box!r} does not have all channels of the view, {frame.more!r}.")
    for axis, whole in own.items():
        at = found.setdefault(axis, whole)
        if axis not in box.axes and len(whole) > 1:
            raise RegionError(
                f"{box!r} says nothing of the axis {axis!r}, along which the view has {len(whole)} coordinates; give "
                f"an NDBoundingBox with it, like {frame.more!r}."
            )
        if not at:
            raise RegionError(f"{box!r} is empty along {axis!r}; each axis needs at least 1 coordinate.")
        if at.start < 0 or at.stop > FARTHEST:
            raise RegionError(f"{box!r} has the coordinates {said(at)} along {axis!r}, which no array has.")
        if bounded and (at.start < whole.start or at.stop > whole.stop):
            raise OutOfBoundsError(f"{box!r} leaves the view, which has the coordinates {said(whole)} along {axis!r}.")
    return {axis: found[axis] for axis in own}
