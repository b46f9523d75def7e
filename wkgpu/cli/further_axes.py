"""Coordinates along axes besides channels, x, y and z: what tables show of them, and the ones that a command reads."""

from __future__ import annotations

from collections.abc import Mapping

from wkgpu import NDBoundingBox
from wkgpu.dataset.box_axes import further_axes
from wkgpu.errors import RegionError
from wkgpu.operations.coordinates import said


def format_axes(box: NDBoundingBox) -> str:
    """Return the coordinates of a box along further axes, for people.

    Examples
    --------
    >>> format_axes(NDBoundingBox((0, 3, 8, 8, 8), (1, 2, 4, 4, 4), ("c", "t", "x", "y", "z")))
    't: 3 to 4'
    """
    return ", ".join(f"{axis}: {said(at)}" for axis, at in further_axes(box).items()) or "-"


def check_coordinates(box: NDBoundingBox, chosen: Mapping[str, int]) -> None:
    """Raise a `RegionError` unless there is one coordinate along each further axis of a box that has several."""
    axes = further_axes(box)
    for axis, at in axes.items():
        if axis in chosen and chosen[axis] not in at:
            raise RegionError(f"--at '{axis}={chosen[axis]}': along {axis!r} there are the coordinates {said(at)}")
        if axis not in chosen and len(at) != 1:
            raise RegionError(f"along {axis!r} there are the coordinates {said(at)}, and --at names none")
    for axis in chosen.keys() - axes.keys():
        raise RegionError(f"--at '{axis}={chosen[axis]}': there is no such axis; those besides x, y and z: {[*axes]}")
