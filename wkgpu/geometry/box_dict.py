"""Boxes as a properties file holds them: as dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from wkgpu.geometry.box import Box
from wkgpu.geometry.vec3_int import XYZ_AXES


class ParsedBox(NamedTuple):
    """What a dictionary says of a box, each by the names of the axes."""

    topleft: dict[str, int]
    size: dict[str, int]
    positions: dict[str, int]

    @classmethod
    def parse(cls, bbox: Mapping[str, Any]) -> ParsedBox:
        """Read a dictionary; see `NDBoundingBox.from_wkw_dict`."""
        topleft = dict(zip(XYZ_AXES, bbox["topLeft"], strict=True))
        size = {"x": bbox["width"], "y": bbox["height"], "z": bbox["depth"]}
        index: dict[str, int] = {"x": 1, "y": 2, "z": 3}
        additional = bbox.get("additionalAxes") or []
        if "axisOrder" in bbox:
            index = {axis: bbox["axisOrder"][axis] for axis in XYZ_AXES}
        elif additional:
            raise AssertionError(f"A box with additionalAxes needs an axisOrder as well, got {dict(bbox)}.")
        for axis in additional:
            first, end = axis["bounds"]
            topleft[axis["name"]], size[axis["name"]], index[axis["name"]] = first, end - first, axis["index"]
        return cls(topleft, size, index)


def box_dict(box: Box) -> dict[str, Any]:
    """Return a box as a dictionary; see `NDBoundingBox.to_wkw_dict`."""
    width, height, depth = box.size.xyz
    found = {"topLeft": box.topleft.xyz.to_list(), "width": width, "height": height, "depth": depth}
    order = dict(zip(box.axes, box.index, strict=True))
    additional = [
        {"name": axis, "bounds": list(box.get_bounds(axis)), "index": index}
        for axis, index in order.items()
        if axis not in XYZ_AXES
    ]
    of_space = {axis: index for axis, index in order.items() if axis in XYZ_AXES}
    return found | ({"additionalAxes": additional} if additional else {}) | {"axisOrder": of_space}
