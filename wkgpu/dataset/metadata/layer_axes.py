"""The axes of the arrays of a layer, as its entry in the properties file says them."""

from __future__ import annotations

from wkgpu.dataset.metadata.json_document import Document
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
    bounds = {axis["name"]: (int(axis["bounds"][0]), int(axis["bounds"][1])) for axis in _additional_axes(layer)}
    bounds["c"] = (0, num_channels)
    bounds |= {axis: box.get_bounds(axis) for axis in "xyz"}
    first, end = zip(*(bounds[axis] for axis in axes), strict=True)
    sizes = [high - low for low, high in zip(first, end, strict=True)]
    return NDBoundingBox(first, sizes, axes, [positions[axis] for axis in axes])


def _additional_axes(layer: Document) -> list[Document]:
    return layer.get("additionalAxes") or []


def _positions(layer: Document) -> dict[str, int]:
    return _usual_positions(layer) | {axis["name"]: int(axis["index"]) for axis in _additional_axes(layer)}


def _usual_positions(layer: Document) -> dict[str, int]:
    """Return the positions of channels, x, y and z, which the mags of current files say."""
    for entry in layer.get("mags") or ():
        order = entry.get("axisOrder") or {}
        if {"x", "y"} <= order.keys():
            return {axis: int(at) for axis, at in ({"z": max(order.values()) + 1} | order).items()}
    taken = [int(axis["index"]) for axis in _additional_axes(layer)]
    first = 1 + max(taken, default=0)
    order = {axis: first + position for position, axis in enumerate("xyz")}
    return order if 0 in taken else {"c": 0} | order
