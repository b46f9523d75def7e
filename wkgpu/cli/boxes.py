"""Boxes as the command line writes them: ``x,y,z,w,h,d`` in Mag(1), and coordinates along further axes: ``t=3``."""

from __future__ import annotations

from collections.abc import Iterable

from wkgpu import BoundingBox, Mag, NDBoundingBox
from wkgpu.errors import RegionError


def parse_box(text: str) -> BoundingBox:
    """Return the box that six integers describe.

    Raises
    ------
    ValueError
        If the text is anything else, or an axis has no voxels.

    Examples
    --------
    >>> parse_box("0,0,128,256,256,1")
    BoundingBox(topleft=(0, 0, 128), size=(256, 256, 1))
    """
    try:
        x, y, z, width, height, depth = (int(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not six integers x,y,z,width,height,depth, like 0,0,128,256,256,1") from None
    if min(width, height, depth) < 1 or min(x, y, z) < 0:
        raise ValueError(f"{text!r}: width, height and depth are at least 1, and x, y and z at least 0")
    return BoundingBox((x, y, z), (width, height, depth))


def format_box(box: NDBoundingBox) -> str:
    """Return a box in the form that `parse_box` takes.

    Examples
    --------
    >>> format_box(BoundingBox((0, 0, 128), (256, 256, 1)))
    '0,0,128,256,256,1'
    """
    return ",".join(map(str, (*box.topleft_xyz, *box.size_xyz)))


def parse_coordinates(texts: Iterable[str]) -> dict[str, int]:
    """Return the coordinates along axes that texts name.

    Raises
    ------
    ValueError
        If a text is anything else, or an axis is named twice.

    Examples
    --------
    >>> parse_coordinates(["t=3", "angle=0"])
    {'t': 3, 'angle': 0}
    """
    found: dict[str, int] = {}
    for text in texts:
        axis, _, number = text.rpartition("=")
        if not axis or not (number.isascii() and number.isdigit()):
            raise ValueError(f"{text!r} is not an axis and a coordinate, like t=3")
        if axis in found:
            raise ValueError(f"{text!r} is the second coordinate along {axis!r}; give one")
        found[axis] = int(number)
    return found


def check_alignment(box: BoundingBox, mag: Mag) -> None:
    """Raise a `RegionError` that names the next larger box if the borders of this one lie inside voxels of the mag."""
    aligned = box.align_with_mag(mag, ceil=True)
    if aligned != box:
        raise RegionError(
            f"--box {format_box(box)} is in Mag(1) and begins or ends inside a voxel of mag {mag}; the next larger box "
            f"that does not is --box {format_box(aligned)}"
        )


def middle_slice(box: BoundingBox, mag: Mag) -> BoundingBox:
    """Return the middle one of the slices of a mag in a box that is aligned with it."""
    thickness = mag.z
    x, y, z = box.topleft
    width, height, depth = box.size
    return BoundingBox((x, y, z + depth // thickness // 2 * thickness), (width, height, thickness))
