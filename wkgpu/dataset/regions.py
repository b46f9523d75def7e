"""From the arguments that name a region to one box of voxels in the view's own mag.

A region is named by at most one of ``relative_offset``, ``absolute_offset``, ``relative_bounding_box`` and
``absolute_bounding_box``, all in Mag(1), where relative means: to the view's top left. A ``size``, in Mag(1) as well,
goes with an offset. Earlier generations had ``offset`` and ``size`` in voxels of the view's mag instead. No argument
names the whole view.

This is on the path of every small patch: what is common comes first, and messages are made where something is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import index
from typing import Any, NamedTuple

from wkgpu.dataset.legacy import warn_deprecated
from wkgpu.errors import OutOfBoundsError, RegionError, ShapeError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES, Vec3Int, Vec3IntLike
from wkgpu.geometry.voxel_box import FARTHEST, Triple, VoxelBox

_ORIGIN: Triple = (0, 0, 0)
_FINEST: Triple = (1, 1, 1)
_EVERYWHERE: Mapping[str, range] = {}


class Frame(NamedTuple):
    """What the region arguments of a view are measured against.

    Attributes
    ----------
    mag : tuple of int
        Voxels of Mag(1) along the edges of a voxel of the view.
    topleft, shape : tuple of int
        The view's first voxel and shape, in voxels of its own mag.
    legacy_origin : tuple of int
        From where a legacy ``offset`` counts, in voxels of its own mag.
    more : NDBoundingBox, optional
        The view's box in Mag(1), if it has the axes of stored arrays; see `wkgpu.dataset.more_axes`.
    """

    mag: Triple
    topleft: Triple
    shape: Triple
    legacy_origin: Triple
    more: NDBoundingBox | None = None

    @classmethod
    def of(cls, bounding_box: NDBoundingBox, mag: Mag, *, legacy_from_dataset: bool) -> Frame:
        """Return the frame of a view whose box, in Mag(1), is aligned with its mag."""
        more = None if isinstance(bounding_box, BoundingBox) else bounding_box
        box = bounding_box.in_mag(mag)
        corner, extent = _corners(box if more is None else BoundingBox(box.topleft_xyz, box.size_xyz))
        return cls(mag.to_tuple(), corner, extent, _ORIGIN if legacy_from_dataset else corner, more)

    @property
    def box(self) -> VoxelBox:
        """The view's box in voxels of its own mag."""
        return VoxelBox(self.topleft, self.shape)

    def bounding_box(self, region: VoxelBox, ranges: Mapping[str, range] = _EVERYWHERE) -> NDBoundingBox:
        """Return a box of voxels of the view's mag in Mag(1), with the other axes of the view.

        Parameters
        ----------
        ranges : mapping
            Coordinates along these axes; by default those of the view.
        """
        (x, y, z), (width, height, depth), (mx, my, mz) = *region, self.mag
        corner, extent = (x * mx, y * my, z * mz), (width * mx, height * my, depth * mz)
        if self.more is None:
            return BoundingBox(corner, extent)
        box = self.more.with_topleft_xyz(corner).with_size_xyz(extent)
        for axis, at in ranges.items():
            box = box.with_bounds(axis, at.start, len(at))
        return box


def resolve(
    frame: Frame,
    bounded: bool,
    offset: Vec3IntLike | None,
    size: Vec3IntLike | None,
    relative_offset: Vec3IntLike | None,
    absolute_offset: Vec3IntLike | None,
    relative_bounding_box: NDBoundingBox | None,
    absolute_bounding_box: NDBoundingBox | None,
) -> VoxelBox:
    """Return the box that the arguments of a read name.

    Parameters
    ----------
    frame : Frame
        The view's.
    bounded : bool
        Whether the region must lie inside the view.
    offset, size, relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box
        As the caller of the view gave them.

    Returns
    -------
    VoxelBox
        First voxel and shape ``(x, y, z)`` in the view's own mag.

    Raises
    ------
    RegionError
        For two regions, an offset without a size, a size below 1, a negative top left, or borders that lie between
        two voxels of the mag. It names the arguments.
    OutOfBoundsError
        For a region that leaves the view.

    Examples
    --------
    >>> frame = Frame.of(BoundingBox((64, 64, 64), (512, 512, 512)), Mag(2), legacy_from_dataset=False)
    >>> resolve(frame, True, None, (128, 128, 128), (32, 32, 32), None, None, None)
    VoxelBox(topleft=(48, 48, 48), shape=(64, 64, 64))
    """
    try:
        region = _resolve(
            frame, offset, size, relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box
        )
        _check(frame, region, bounded)
    except RegionError as error:
        raise _naming(
            error,
            offset=offset,
            relative_offset=relative_offset,
            absolute_offset=absolute_offset,
            size=size,
            relative_bounding_box=relative_bounding_box,
            absolute_bounding_box=absolute_bounding_box,
        ) from error.__cause__
    return region


def resolve_many(frame: Frame, bounded: bool, boxes: Iterable[NDBoundingBox]) -> tuple[list[Triple], Triple]:
    """Return the first voxels of boxes, which are in Mag(1), and their shape.

    Raises
    ------
    ShapeError
        If they differ in shape, or there is not one.
    RegionError, OutOfBoundsError
        As for `resolve`.
    """
    found = [resolve(frame, bounded, None, None, None, None, None, box) for box in boxes]
    if not found:
        raise ShapeError("read_many() needs at least one box, got none.")
    shape = found[0].shape
    for position, (_, other) in enumerate(found):
        if other != shape:
            raise ShapeError(
                f"boxes[{position}] has {other} voxels in mag {_named(frame.mag)}, boxes[0] has {shape}; give boxes of "
                "one shape, or read them one by one."
            )
    return [topleft for topleft, _ in found], shape


def resolve_for_data(
    frame: Frame,
    bounded: bool,
    shape: Triple,
    offset: Vec3IntLike | None,
    relative_offset: Vec3IntLike | None,
    absolute_offset: Vec3IntLike | None,
    relative_bounding_box: NDBoundingBox | None,
    absolute_bounding_box: NDBoundingBox | None,
) -> VoxelBox:
    """Return the box that the arguments of a write name, for data of this shape ``(x, y, z)``.

    Without a region the data go to the view's top left. The arguments and errors are those of `resolve`.

    Raises
    ------
    ShapeError
        If the data do not have the shape of the given box.
    """
    corner = relative_offset
    if relative_bounding_box is not None or absolute_bounding_box is not None:
        size = None
    elif offset is not None:
        size = shape
    else:
        (width, height, depth), (mx, my, mz) = shape, frame.mag
        size = (width * mx, height * my, depth * mz)
        if relative_offset is None and absolute_offset is None:
            corner = _ORIGIN
    try:
        region = _resolve(frame, offset, size, corner, absolute_offset, relative_bounding_box, absolute_bounding_box)
        _check(frame, region, bounded)
    except RegionError as error:
        raise _naming(
            error,
            data_shape=shape,
            offset=offset,
            relative_offset=relative_offset,
            absolute_offset=absolute_offset,
            relative_bounding_box=relative_bounding_box,
            absolute_bounding_box=absolute_bounding_box,
        ) from error.__cause__
    if region.shape != shape:
        raise ShapeError(
            f"The data have the shape {shape} (x, y, z), but the bounding box has {region.shape} voxels in "
            f"mag {_named(frame.mag)}. Give data of its shape, or an offset instead of the box."
        )
    return region


def _resolve(
    frame: Frame,
    offset: Vec3IntLike | None,
    size: Vec3IntLike | None,
    relative_offset: Vec3IntLike | None,
    absolute_offset: Vec3IntLike | None,
    relative_bounding_box: NDBoundingBox | None,
    absolute_bounding_box: NDBoundingBox | None,
) -> VoxelBox:
    regions = (
        (offset is not None)
        + (relative_offset is not None)
        + (absolute_offset is not None)
        + (relative_bounding_box is not None)
        + (absolute_bounding_box is not None)
    )
    if regions > 1:
        raise RegionError("these are several regions; give at most one offset or one bounding box.")
    if regions == 0 or offset is not None:
        return _legacy_region(frame, offset, size)

    if absolute_bounding_box is not None:
        corner, extent = _corners(absolute_bounding_box)
    elif relative_bounding_box is not None:
        corner, extent = _corners(relative_bounding_box)
    else:
        if size is None:
            raise RegionError("an offset needs a size; give size=(x, y, z) in Mag(1).")
        corner = _triple(relative_offset if absolute_offset is None else absolute_offset)
        extent = _triple(size)
        size = None
    if size is not None:
        raise RegionError("a bounding box has a size of its own; leave out size.")
    if frame.mag != _FINEST:
        corner, extent = _in_mag(corner, extent, frame.mag)
    if relative_offset is not None or relative_bounding_box is not None:
        (x, y, z), (left, top, front) = corner, frame.topleft
        corner = (x + left, y + top, z + front)
    return VoxelBox(corner, extent)


def _legacy_region(frame: Frame, offset: Vec3IntLike | None, size: Vec3IntLike | None) -> VoxelBox:
    """Return the whole view, or the region of the arguments that are in voxels of the view's mag."""
    if size is None:
        if offset is not None:
            raise RegionError(f"an offset needs a size; give size=(x, y, z) in mag {_named(frame.mag)}.")
        return VoxelBox(frame.topleft, frame.shape)
    if offset is None:
        warn_deprecated(
            f"A size alone is deprecated. It was taken in mag {_named(frame.mag)}, from the view's top left; use "
            "relative_offset=(0, 0, 0) and a size in Mag(1)."
        )
        return VoxelBox(frame.topleft, _triple(size))
    (x, y, z), (left, top, front) = _triple(offset), frame.legacy_origin
    return VoxelBox((x + left, y + top, z + front), _triple(size))


def _check(frame: Frame, region: VoxelBox, bounded: bool) -> None:
    (x, y, z), (width, height, depth) = region
    if width < 1 or height < 1 or depth < 1:
        raise RegionError(
            f"the region has the size {region.shape} in mag {_named(frame.mag)}; each axis needs at least 1 voxel."
        )
    if x < 0 or y < 0 or z < 0:
        raise RegionError(
            f"the region begins at {region.topleft} in mag {_named(frame.mag)}; its top left must not be negative."
        )
    if x + width > FARTHEST or y + height > FARTHEST or z + depth > FARTHEST:
        raise RegionError(
            f"the region begins at {region.topleft} and has the size {region.shape}, beyond all coordinates."
        )
    if bounded:
        (left, top, front), (columns, rows, slices) = frame.topleft, frame.shape
        if (
            x < left
            or y < top
            or z < front
            or x + width > left + columns
            or y + height > top + rows
            or z + depth > front + slices
        ):
            view = frame.bounding_box(frame.box)
            raise OutOfBoundsError(
                f"the region {frame.bounding_box(region)} leaves the view, {view} (both in Mag(1)). Give a region "
                "inside it, or take a larger view; to reach beyond Layer.bounding_box, a view has to be read-only."
            )


def _in_mag(corner: Triple, extent: Triple, mag: Triple) -> tuple[Triple, Triple]:
    (x, y, z), (width, height, depth), (mx, my, mz) = corner, extent, mag
    if x % mx or y % my or z % mz or width % mx or height % my or depth % mz:
        raise RegionError(
            f"the region begins at {corner} and has the size {extent}, in Mag(1). Both must be multiples of "
            f"mag {_named(mag)}, {mag}; use BoundingBox.align_with_mag()."
        )
    return (x // mx, y // my, z // mz), (width // mx, height // my, depth // mz)


def _corners(box: NDBoundingBox) -> tuple[Triple, Triple]:
    """Return the first voxel and the size of a box, in the units of the box."""
    if type(box) is BoundingBox:
        return box.topleft.to_tuple(), box.size.to_tuple()
    try:
        axes, corner, extent = box.axes, tuple(box.topleft), tuple(box.size)
    except AttributeError:
        raise RegionError(
            f"{box!r} is no bounding box; give a BoundingBox((x, y, z), (width, height, depth))."
        ) from None
    by_name = {axis: (first, length) for axis, first, length in zip(axes, corner, extent, strict=True)}
    others = {axis: found for axis, found in by_name.items() if axis not in XYZ_AXES}
    if any(found != (0, 1) for found in others.values()) or len(by_name) - len(others) != 3:
        raise RegionError(
            f"{box!r} does not fit the axes x, y, z of the view; other axes must begin at 0 and have the length 1."
        )
    (x, width), (y, height), (z, depth) = (by_name[axis] for axis in XYZ_AXES)
    return _triple((x, y, z)), _triple((width, height, depth))


def _naming(error: RegionError, **arguments: Any) -> RegionError:
    """Return the error with the arguments that it is about."""
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value is not None)
    return type(error)(f"{given or 'the whole view'}: {error}")


def _triple(value: Any) -> Triple:
    try:
        x, y, z = value
        return index(x), index(y), index(z)
    except (TypeError, ValueError):
        return _converted(value)


def _converted(value: Any) -> Triple:
    """Read what is no sequence of three integers as the geometry does, which takes whole floats."""
    try:
        return Vec3Int(value).to_tuple()
    except (TypeError, ValueError, OverflowError, AssertionError) as error:
        raise RegionError(f"{value!r} is not three integers (x, y, z); round fractions yourself.") from error


def _named(mag: Triple) -> str:
    return Mag(mag).to_layer_name()
