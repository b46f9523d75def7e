"""Arrays at each coordinate along axes besides channels, x, y and z, such as time: operations do one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TypeAlias

from wkgpu.errors import MismatchError
from wkgpu.storage.stored_array import StoredArray

Ranges: TypeAlias = Mapping[str, range]
"""Coordinates along axes, by the names of these."""

EVERYWHERE: Ranges = {}


def said(at: range) -> str:
    """Return coordinates as messages have them.

    Examples
    --------
    >>> said(range(3, 5)), said(range(0))
    ('3 to 4', 'none')
    """
    return f"{at.start} to {at.stop - 1}" if at else "none"


def ranges_of(array: StoredArray) -> Ranges:
    """Return all coordinates of an array along its extra axes; where they have been chosen, these."""
    if array.coordinates:
        pairs = zip(array.extra_axes, array.coordinates, strict=True)
        return {axis: range(at, at + 1) for (axis, _), at in pairs}
    return {axis: range(length) for axis, length in array.extra_axes}


def check_ranges(array: StoredArray, ranges: Ranges) -> None:
    """Check that an array has coordinates, and no others where nothing is said of an axis.

    Raises
    ------
    MismatchError
        Naming the file that says which axes there are.
    """
    known = dict(array.extra_axes)
    for axis, at in ranges.items():
        if at.stop > known.get(axis, 1):
            raise MismatchError(
                f"{array.lock_file} has {known.get(axis, 'no')} coordinate(s) along the axis {axis!r}, and the layer "
                f"has {said(at)}; correct additionalAxes of the layer."
            )
    several = {axis: length for axis, length in known.items() if axis not in ranges and length > 1}
    if several and not array.coordinates:
        raise MismatchError(
            f"{array.lock_file} has the axes {several}, of which the layer says nothing; give it a bounding box with "
            "these axes."
        )


def at_each(arrays: Sequence[StoredArray], ranges: Ranges) -> Iterator[tuple[StoredArray, ...]]:
    """Yield arrays at each coordinate, the last axis fastest. Those whose coordinates have been chosen keep them.

    Parameters
    ----------
    ranges : mapping
        The coordinates, which all arrays have; one that lacks an axis has coordinate 0 along it.

    Raises
    ------
    MismatchError
        As from `check_ranges`.
    """
    arrays = [array.current() if array.extra_axes else array for array in arrays]  # another process may lengthen them
    for array in arrays:
        check_ranges(array, ranges)
    if not ranges:
        yield tuple(arrays)
        return
    for coordinates in product(*ranges.values()):
        chosen = dict(zip(ranges, coordinates, strict=True))
        yield tuple(array.at(tuple(chosen.get(axis, 0) for axis, _ in array.extra_axes)) for array in arrays)
