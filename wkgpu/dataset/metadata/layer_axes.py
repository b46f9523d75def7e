"""The box of a layer and the axes of its arrays, as its entry in the properties file says them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.layer_schema import MAX_COORDINATE
from wkgpu.errors import RegionError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.nd_bounding_box import NDBoundingBox

USUAL_AXES = ("c", "x", "y", "z")


def stored_axes(layer: Document) -> tuple[str, ...]:
    """Return the axes of the arrays, in their order.

    Examples
    --------
    >>> stored_axes({"mags": [{"axisOrder": {"c": 0, "x": 4, "y": 3, "z": 2}}],
    ...              "additionalAxes": [{"name": "t", "bounds": [0, 7], "index": 1}]})
    ('c', 't', 'z', 'y', 'x')
    """
    positions = _positions(layer)
    return tuple(sorted(positions, key=positions.__getitem__))


def with_stored_axes(box: BoundingBox, layer: Document, num_channels: int) -> NDBoundingBox:
    """Return a box with the axes of the arrays, in their order."""
    positions, axes = _positions(layer), stored_axes(layer)
    bounds = further_bounds(layer)
    bounds["c"] = (0, num_channels)
    bounds |= {axis: box.get_bounds(axis) for axis in "xyz"}
    first, end = zip(*(bounds[axis] for axis in axes), strict=True)
    sizes = [high - low for low, high in zip(first, end, strict=True)]
    return NDBoundingBox(first, sizes, axes, [positions[axis] for axis in axes])


def stored_extra_axes(layer: Document) -> tuple[tuple[str, int], ...]:
    """Return names and ends of the axes besides channels, x, y and z.

    Examples
    --------
    >>> stored_extra_axes({"additionalAxes": [{"name": "t", "bounds": [5, 7], "index": 1}]})
    (('t', 7),)
    """
    return tuple((axis, max(end, 1)) for axis, (_, end) in further_bounds(layer).items())


def set_box(layer: Document, box: Any, num_channels: int, is_fixed: bool) -> None:
    """Give a layer another box in Mag(1), and with it axes; a box along x, y and z says nothing of other ones.

    Parameters
    ----------
    is_fixed : bool
        Whether the layer keeps the axes that it has, because there are mags, or because its format has no others.

    Raises
    ------
    RegionError
        For what cannot be the box of the layer.
    """
    found, is_plain = checked_bounding_box(box), isinstance(box, BoundingBox)
    if not is_plain:
        _check_axes(layer, found, num_channels, is_fixed)
    layer["boundingBox"] |= BoundingBox(found.topleft_xyz, found.size_xyz).to_wkw_dict()
    if is_fixed:
        for axis in _additional_axes(layer):
            if axis["name"] in found.axes:
                axis["bounds"] = list(found.get_bounds(axis["name"]))
    elif not is_plain:
        _set_axes(layer, found)


def _set_axes(layer: Document, box: NDBoundingBox) -> None:
    """Give a layer without mags the axes of a box, in its order; the mags that are made have them."""
    axes = _with_channels(box)
    added = [
        {"name": axis, "bounds": list(box.get_bounds(axis)), "index": at}
        for at, axis in enumerate(axes)
        if axis not in USUAL_AXES
    ]
    layer.pop("additionalAxes", None)
    layer["boundingBox"].pop("additionalAxes", None)
    if added:
        layer["additionalAxes"] = added
    set_order(layer, axes)


def set_order(layer: Document, axes: Sequence[str]) -> None:
    """Let the box of a layer say the order of axes, unless it is the usual one: there are no mags that say it."""
    if tuple(axes) == USUAL_AXES:
        forget_order(layer)
    else:
        layer["boundingBox"]["axisOrder"] = positions_of(axes)


def forget_order(layer: Document) -> None:
    """Let the box of a layer say nothing of the order of axes, unless it has further ones itself."""
    if "additionalAxes" not in layer["boundingBox"]:
        layer["boundingBox"].pop("axisOrder", None)


def _with_channels(box: NDBoundingBox) -> tuple[str, ...]:
    """Return the axes of a box; that of channels comes first if the box lacks it, and leaves room for it there."""
    return box.axes if "c" in box.axes or 0 in box.index else ("c", *box.axes)


def positions_of(axes: Sequence[str]) -> dict[str, int]:
    """Return where channels, x, y and z are among the axes of an array.

    Examples
    --------
    >>> positions_of(("c", "t", "z", "y", "x"))
    {'c': 0, 'z': 2, 'y': 3, 'x': 4}
    """
    return {axis: at for at, axis in enumerate(axes) if axis in USUAL_AXES}


def further_bounds(layer: Document) -> dict[str, tuple[int, int]]:
    """Return first coordinates and ends along the additional axes of a layer."""
    return {axis["name"]: (int(axis["bounds"][0]), int(axis["bounds"][1])) for axis in _additional_axes(layer)}


def _additional_axes(layer: Document) -> list[Document]:
    """Return the entries of additional axes, which are in the box in files of some writers."""
    return layer.get("additionalAxes") or layer.get("boundingBox", {}).get("additionalAxes") or []


def _positions(layer: Document) -> dict[str, int]:
    return _usual_positions(layer) | {axis["name"]: int(axis["index"]) for axis in _additional_axes(layer)}


def _usual_positions(layer: Document) -> dict[str, int]:
    """Return the positions of channels, x, y and z: as mags say, or without them the box. Older files do not say it."""
    for entry in layer.get("mags") or ():
        if order := _order_in(entry):
            return order
    taken = [int(axis["index"]) for axis in _additional_axes(layer)]
    first = 1 + max(taken, default=0)
    order = _order_in(layer.get("boundingBox") or {}) or {axis: first + at for at, axis in enumerate("xyz")}
    return order if 0 in (*taken, *order.values()) else {"c": 0} | order


def _order_in(entry: Document) -> dict[str, int]:
    """Return what an entry says of the order of axes; a z that it lacks is the last one."""
    order = entry.get("axisOrder") or {}
    if not {"x", "y"} <= order.keys():
        return {}
    return {axis: int(at) for axis, at in ({"z": max(order.values()) + 1} | order).items()}


# ---- Checks


def checked_bounding_box(box: Any) -> NDBoundingBox:
    """Return the box of a layer, or raise a `RegionError` for what cannot be one."""
    if not isinstance(box, NDBoundingBox):
        raise RegionError(f"bounding_box is {box!r}; give a BoundingBox((x, y, z), (width, height, depth)) in Mag(1).")
    others = [axis for axis in box.axes if axis not in USUAL_AXES]
    if not {"x", "y", "z"} <= {*box.axes} or not all(map(_is_name, others)):
        raise RegionError(
            f"bounding_box is {box}; it needs the axes x, y and z, and others must have names of their own."
        )
    if min(box.topleft) < 0:
        raise RegionError(f"bounding_box is {box}; its top left must not be negative.")
    if max(box.bottomright) > MAX_COORDINATE:
        raise RegionError(f"bounding_box is {box}; it must end at {MAX_COORDINATE} at most.")
    return box


def _is_name(axis: Any) -> bool:
    """Whether an axis can have a name, which no reader takes for that of channels, x, y or z."""
    taken = "", "c", "channel", "channels", "x", "y", "z"
    return isinstance(axis, str) and axis.isprintable() and axis.lower() not in taken


def _check_axes(layer: Document, box: NDBoundingBox, num_channels: int, is_fixed: bool) -> None:
    """Check that a layer can have the axes of a box; see `set_box`."""
    theirs = {axis: box.get_bounds(axis) for axis in box.axes if axis not in USUAL_AXES}
    known = further_bounds(layer)
    strange = [axis for axis in known.keys() ^ theirs.keys() if (known | theirs)[axis] != (0, 1)]
    if is_fixed and strange:
        raise RegionError(
            f"bounding_box is {box}, and layer {layer['name']!r} has the axes {stored_axes(layer)}; they differ in "
            f"{sorted(strange)}. Further axes need data_format='zarr3', and are chosen before the first mag is added."
        )
    if not is_fixed and num_channels > 1 and "c" not in _with_channels(box):
        raise RegionError(
            f"bounding_box is {box}, and layer {layer['name']!r} has {num_channels} channels; give it an axis 'c'."
        )
