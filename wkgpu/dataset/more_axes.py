"""Regions of layers whose arrays have other axes than channel, x, y and z, or these in another order.

The bounding box of such a layer, and of its views, is an `NDBoundingBox` with the axes of the arrays, that of the
channels among them. `View.read` returns arrays with these axes, and `View.write` takes them, as in the WEBKNOSSOS
library. Voxels are stored at one coordinate along each further axis, such as time: a region that has several of them is
read and written one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any, NamedTuple, TypeAlias

from wkgpu.dataset.regions import Frame, resolve, resolve_for_data
from wkgpu.engines import Engine
from wkgpu.engines.host_memory import LARGE_BYTES
from wkgpu.errors import DtypeError, MismatchError, OutOfBoundsError, RegionError, ShapeError, UnsupportedError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES, Vec3IntLike
from wkgpu.geometry.voxel_box import VoxelBox
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.operations.voxels import Array, as_voxels
from wkgpu.storage.stored_array import StoredArray

_VOXEL_AXES = ("c", *XYZ_AXES)

Offsets: TypeAlias = tuple[Vec3IntLike | None, Vec3IntLike | None, Vec3IntLike | None]
Boxes: TypeAlias = tuple[NDBoundingBox | None, NDBoundingBox | None]


class Selection(NamedTuple):
    """A region.

    Attributes
    ----------
    box : VoxelBox
        First voxel and shape ``(x, y, z)`` in the view's own mag.
    ranges : mapping
        The coordinates along each further axis, by its name.
    """

    box: VoxelBox
    ranges: Mapping[str, range]


def further_axes(box: NDBoundingBox) -> dict[str, range]:
    """Return the coordinates of a box along its axes besides channels, x, y and z.

    Examples
    --------
    >>> further_axes(NDBoundingBox((0, 3, 8, 8, 8), (1, 2, 4, 4, 4), ("c", "t", "x", "y", "z")))
    {'t': range(3, 5)}
    """
    return {axis: range(*box.get_bounds(axis)) for axis in box.axes if axis not in _VOXEL_AXES}


def in_space(box: NDBoundingBox) -> BoundingBox:
    """Return a box along x, y and z alone."""
    return box if isinstance(box, BoundingBox) else BoundingBox(box.topleft_xyz, box.size_xyz)


def normalized(box: NDBoundingBox, num_channels: int) -> NDBoundingBox:
    """Return a box with an axis of channels, unless it has the axes of arrays already."""
    if not isinstance(box, BoundingBox):
        return box
    return NDBoundingBox((0, *box.topleft), (num_channels, *box.size), _VOXEL_AXES)


def extended(known: NDBoundingBox, box: NDBoundingBox) -> NDBoundingBox:
    """Return the smallest box around both, which has the axes of the first one."""
    if known.axes == box.axes:
        return known.extended_by(box)
    both = in_space(known).extended_by(in_space(box))
    return known.with_topleft_xyz(both.topleft).with_size_xyz(both.size)


def select(frame: Frame, bounded: bool, offsets: Offsets, size: Vec3IntLike | None, boxes: Boxes) -> Selection:
    """Return the region that the arguments of a read name.

    Parameters
    ----------
    frame, bounded
        As for `resolve`.
    offsets : tuple
        ``offset``, ``relative_offset`` and ``absolute_offset``. Regions with an offset, and those that are not given,
        have all coordinates of the view along its further axes.
    size : (x, y, z), optional
        As for `resolve`.
    boxes : tuple
        ``relative_bounding_box`` and ``absolute_bounding_box``.

    Raises
    ------
    RegionError, OutOfBoundsError
        As from `resolve`; and for a box that says nothing of a further axis with several coordinates, or has others
        than the view.
    """
    legacy, relative, absolute = offsets
    box = resolve(frame, bounded, legacy, size, relative, absolute, *map(_in_space, boxes))
    return Selection(box, _ranges(frame, boxes))


def read_axes(array: StoredArray, engine: Engine, frame: Frame, selection: Selection, out: Any = None) -> Array:
    """Read a region with the axes of the view's box; see `View.read`."""
    names = tuple(selection.ranges)
    shape = (array.spec.num_channels, *selection.box.shape, *map(len, selection.ranges.values()))
    own = _VOXEL_AXES + names
    if out is None:
        nbytes = prod(shape) * array.spec.dtype.itemsize
        if nbytes >= LARGE_BYTES:
            engine.check_room(nbytes, f"A region of {dict(zip(own, shape, strict=True))} voxels of {array.path}")
        target = engine.empty(shape, array.spec.memory_dtype)
    else:
        target = _in_own_order(engine.as_output(out), own, frame)
        if target is None or target.shape != shape:
            wanted = [dict(zip(own, shape, strict=True))[axis] for axis in _axes(frame)]
            raise ShapeError(f"out has shape {tuple(out.shape)}; this read needs {tuple(wanted)}, {_axes(frame)}.")
        if target.dtype != array.spec.memory_dtype:
            raise DtypeError(f"out has dtype {target.dtype}; the voxels are {array.spec.memory_dtype}.")
    for place, part in _parts(array, selection):
        read_box(part, engine, *selection.box, target[(..., *place)])
    return _in_order_of(target, own, frame) if out is None else out


def read_one(array: StoredArray, engine: Engine, selection: Selection) -> Array:
    """Read a region with one coordinate along each further axis as an array ``(channel, x, y, z)``.

    Raises
    ------
    RegionError
        If it has several.
    """
    return read_box(_only_part(array, selection), engine, *selection.box)


class AxesWrite(NamedTuple):
    """Data that are about to be written to a region.

    Attributes
    ----------
    selection : Selection
        Where to.
    data : array
        ``(channel, x, y, z, *further)``, of the engine.
    """

    array: StoredArray
    engine: Engine
    selection: Selection
    data: Array

    @classmethod
    def of(
        cls, array: StoredArray, engine: Engine, frame: Frame, bounded: bool, data: Any, offsets: Offsets, boxes: Boxes,
        as_cxyz: bool,
    ) -> AxesWrite:  # fmt: skip
        """Check the arguments of a write.

        Parameters
        ----------
        data : array
            With the axes of the view's box, of which that of one channel may be left out; or if `as_cxyz`, ``(channel,
            x, y, z)`` for one coordinate along each further axis.
        frame, bounded, offsets, boxes
            As for `select`.

        Raises
        ------
        ShapeError, DtypeError, RegionError, OutOfBoundsError
            If the data do not have the axes or the shape of the region, and as from `select`.
        """
        ranges = _ranges(frame, boxes)
        voxels = engine.as_input(data)
        if as_cxyz:
            _check_single(ranges, array)
            voxels = as_voxels(voxels, array.spec, engine)
            voxels = voxels.reshape(voxels.shape + (1,) * len(ranges))
        else:
            ordered = _in_own_order(voxels, _VOXEL_AXES + tuple(ranges), frame)
            if ordered is None:
                raise ShapeError(f"The data have the shape {tuple(voxels.shape)}; give the axes {_axes(frame)}.")
            voxels = ordered
        lengths = tuple(map(len, ranges.values()))
        if voxels.shape[0] != array.spec.num_channels or voxels.shape[4:] != lengths:
            wanted = {"c": array.spec.num_channels} | {axis: len(found) for axis, found in ranges.items()}
            raise ShapeError(
                f"The data have the shape {tuple(data.shape)}, with the axes {_axes(frame)}; this region has {wanted}."
            )
        box = resolve_for_data(frame, bounded, voxels.shape[1:4], *offsets, *map(_in_space, boxes))
        return cls(array, engine, Selection(box, ranges), voxels)

    def execute(self) -> None:
        """Write the data."""
        for place, part in _parts(self.array, self.selection):
            voxels = as_voxels(self.data[(..., *place)], part.spec, self.engine)
            write_box(part, self.engine, self.selection.box.topleft, voxels)


def array_of(array: StoredArray, frame: Frame) -> StoredArray:
    """Return the array at the coordinates of a view, for what works on x, y and z alone.

    Raises
    ------
    UnsupportedError
        If the view has several coordinates along a further axis.
    """
    if frame.more is None:
        return array
    ranges = further_axes(frame.more)
    if any(len(found) != 1 for found in ranges.values()):
        raise UnsupportedError(
            f"A view of {array.path} has several coordinates along {_several(ranges)}; only read() and write() take "
            "that. Cut out a view with one coordinate along each, with get_view() and an NDBoundingBox."
        )
    return _only_part(array, Selection(frame.box, ranges))


def flat_boxes(frame: Frame, boxes: Boxes) -> Boxes:
    """Return boxes, a relative and an absolute one, along x, y and z alone, for what works on these.

    Raises
    ------
    RegionError
        If one of them has other coordinates along further axes than the view.
    """
    if frame.more is None:
        return boxes
    own, found = further_axes(frame.more), _ranges(frame, boxes)
    if found != own:
        raise RegionError(f"The region has the coordinates {found}, and the view {own}; cut out a view of them first.")
    relative, absolute = boxes
    return _in_space(relative), _in_space(absolute)


# ---- Axes besides channels, x, y and z


def _ranges(frame: Frame, boxes: Boxes) -> Mapping[str, range]:
    """Return the coordinates that one of two boxes, the relative or the absolute one, has along further axes."""
    assert frame.more is not None
    own = further_axes(frame.more)
    relative, absolute = boxes
    box = absolute if relative is None else relative
    if not isinstance(box, NDBoundingBox):
        return own
    found = further_axes(box)
    found = {axis: at for axis, at in found.items() if axis in own or at != range(1)}
    if relative is not None:
        found = {axis: range(at.start + own[axis].start, at.stop + own[axis].start) for axis, at in found.items()}
    if strange := sorted(found.keys() - own.keys()):
        raise RegionError(f"{box!r} has the axes {strange}, which the view, {frame.more!r}, does not have.")
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
        if at.start < whole.start or at.stop > whole.stop:
            raise OutOfBoundsError(
                f"{box!r} leaves the view, which has the coordinates {whole.start} to {whole.stop - 1} along {axis!r}."
            )
    return {axis: found[axis] for axis in own}


def _parts(array: StoredArray, selection: Selection) -> Iterator[tuple[tuple[int, ...], StoredArray]]:
    """Yield the array at each coordinate, and where it is in an array of the region along the further axes."""
    ranges = selection.ranges
    known = dict(array.extra_axes)
    for axis, at in ranges.items():
        if at.stop > known.get(axis, 1):
            raise MismatchError(
                f"{array.lock_file} has {known.get(axis, 'no')} coordinate(s) along the axis {axis!r}, and the layer "
                f"has {at.start} to {at.stop - 1}; correct additionalAxes of the layer."
            )
    for coordinates in product(*ranges.values()):
        chosen = dict(zip(ranges, coordinates, strict=True))
        place = tuple(coordinate - ranges[axis].start for axis, coordinate in chosen.items())
        yield place, array.at(tuple(chosen.get(axis, 0) for axis, _ in array.extra_axes))


def _only_part(array: StoredArray, selection: Selection) -> StoredArray:
    _check_single(selection.ranges, array)
    return next(_parts(array, selection))[1]


def _check_single(ranges: Mapping[str, range], array: StoredArray) -> None:
    if several := _several(ranges):
        raise RegionError(
            f"A region of {array.path} with the axes channel, x, y and z has one coordinate along each other axis, and "
            f"not several along {several}. Give an NDBoundingBox with one, or use read() and write()."
        )


def _several(ranges: Mapping[str, range]) -> str:
    return ", ".join(f"{axis!r} ({len(at)})" for axis, at in ranges.items() if len(at) != 1)


# ---- Orders of axes


def _in_space(box: NDBoundingBox | None) -> NDBoundingBox | None:
    if not isinstance(box, NDBoundingBox) or not {*XYZ_AXES} <= {*box.axes}:
        return box  # of which resolving makes an error
    return in_space(box)


def _axes(frame: Frame) -> tuple[str, ...]:
    assert frame.more is not None
    return frame.more.axes


def _in_own_order(data: Array, own: tuple[str, ...], frame: Frame) -> Array | None:
    """Return an array with the axes of a view's box as one with the axes ``(c, x, y, z, *further)``, or None."""
    axes = _axes(frame)
    if data.ndim == len(axes) - 1 and "c" in axes and frame.more is not None and frame.more.get_shape("c") == 1:
        axes = tuple(axis for axis in axes if axis != "c")
    if data.ndim != len(axes):
        return None
    if "c" not in axes:
        axes, data = ("c", *axes), data[None]
    return data.transpose([axes.index(axis) for axis in own])


def _in_order_of(data: Array, own: tuple[str, ...], frame: Frame) -> Array:
    """Return an array with the axes ``(c, x, y, z, *further)`` as one with the axes of a view's box."""
    axes = _axes(frame)
    if "c" not in axes:
        own, data = own[1:], data[0]
    return data.transpose([own.index(axis) for axis in axes])
