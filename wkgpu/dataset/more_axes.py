"""Regions of layers whose arrays have other axes than channel, x, y and z, or these in another order.

The bounding box of such a layer, and of its views, is an `NDBoundingBox` with the axes of the arrays, that of the
channels among them. `View.read` returns arrays with these axes, and `View.write` takes them, as in the WEBKNOSSOS
library. Voxels are stored at one coordinate along each further axis, such as time: a region that has several of them is
read and written one after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from operator import add
from typing import Any, NamedTuple, TypeAlias

from wkgpu.dataset.box_axes import VOXEL_AXES, Boxes, further_axes, in_space, lengths_along, ranges_of_region
from wkgpu.dataset.regions import Frame, resolve, resolve_for_data
from wkgpu.engines import Engine
from wkgpu.engines.host_memory import LARGE_BYTES
from wkgpu.errors import DtypeError, RegionError, ShapeError, UnsupportedError
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES, Vec3IntLike
from wkgpu.geometry.voxel_box import VoxelBox, triple
from wkgpu.operations.coordinates import Ranges, at_each
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.operations.voxels import Array, as_voxels
from wkgpu.storage.stored_array import StoredArray

Offsets: TypeAlias = tuple[Vec3IntLike | None, Vec3IntLike | None, Vec3IntLike | None]


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
    ranges: Ranges


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
    return Selection(box, ranges_of_region(frame, boxes))


def read_axes(array: StoredArray, engine: Engine, frame: Frame, selection: Selection, out: Any = None) -> Array:
    """Read a region with the axes of the view's box; see `View.read`."""
    names = tuple(selection.ranges)
    shape = (array.spec.num_channels, *selection.box.shape, *map(len, selection.ranges.values()))
    own = VOXEL_AXES + names
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
        ranges = ranges_of_region(frame, boxes, bounded)
        voxels = engine.as_input(data)
        if as_cxyz:
            _check_single(ranges, array)
            voxels = as_voxels(voxels, array.spec, engine)
            voxels = voxels.reshape(voxels.shape + (1,) * len(ranges))
        else:
            ordered = _in_own_order(voxels, VOXEL_AXES + tuple(ranges), frame)
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
        """Write the data; the array becomes as long as they need it along each axis."""
        box, ranges = self.selection
        end = triple(map(add, box.topleft, box.shape))
        self.array.ensure_extent(end, [(axis, at.stop) for axis, at in ranges.items()])
        for place, part in _parts(self.array, self.selection):
            voxels = as_voxels(self.data[(..., *place)], part.spec, self.engine)
            write_box(part, self.engine, box.topleft, voxels)


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
            f"A view of {array.path} has several coordinates along {_several(ranges)}, and this works on x, y and z "
            "alone. Cut out a view with one coordinate along each, with get_view() and an NDBoundingBox."
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
    own, found = further_axes(frame.more), ranges_of_region(frame, boxes)
    if found != own:
        raise RegionError(f"The region has the coordinates {found}, and the view {own}; cut out a view of them first.")
    relative, absolute = boxes
    return _in_space(relative), _in_space(absolute)


# ---- Axes besides channels, x, y and z


def _parts(array: StoredArray, selection: Selection) -> Iterator[tuple[tuple[int, ...], StoredArray]]:
    """Yield the array at each coordinate, and where it is in an array of the region along the further axes."""
    places = product(*(range(len(at)) for at in selection.ranges.values()))
    for place, (part,) in zip(places, at_each((array,), selection.ranges), strict=True):
        yield place, part


def _only_part(array: StoredArray, selection: Selection) -> StoredArray:
    _check_single(selection.ranges, array)
    return next(_parts(array, selection))[1]


def _check_single(ranges: Ranges, array: StoredArray) -> None:
    if several := _several(ranges):
        raise RegionError(
            f"A region of {array.path} with the axes channel, x, y and z has one coordinate along each other axis, and "
            f"not several along {several}. Give an NDBoundingBox with one, or use read() and write()."
        )


def _several(ranges: Ranges) -> str:
    return ", ".join(f"{axis!r} ({length})" for axis, length in lengths_along(ranges).items())


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
