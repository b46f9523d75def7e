"""The ends of the arrays of a layer, which follow its bounding box.

A write of wkgpu makes an array as large as it needs to be. Other programs, such as the WEBKNOSSOS library, write up to
the layer's box in every mag, and expect that the arrays have room for it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from wkgpu.dataset.changes.groups import forget_copies
from wkgpu.errors import WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.voxel_box import Triple, triple
from wkgpu.storage.formats import known_format, open_array

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


def extent_of(box: NDBoundingBox, mag: Mag) -> Triple | None:
    """Return how many voxels ``(x, y, z)`` an array of a mag has room for, if it ends with a box in Mag(1).

    Of a box without voxels nothing is known.
    """
    if box.is_empty():
        return None
    own = box.align_with_mag(mag, ceil=True).in_mag(mag)
    ends = (low + length for low, length in zip(own.topleft_xyz, own.size_xyz, strict=True))
    return triple(max(end, 1) for end in ends)


def make_room(layer: Layer) -> None:
    """Let the arrays of a layer that may be written have room for its box, as far as they can be changed.

    Arrays are never made smaller. Comes after each change of the box, and of the list of mags.
    """
    known = known_format(layer.data_format.value)
    if known is None or not known.has_ends:
        return
    for mag_view in layer.mags.values():
        end = extent_of(layer.bounding_box, mag_view.mag)
        if end is None or mag_view.read_only:
            continue
        with suppress(WkgpuError):  # what is wrong with a mag is said when it is used
            array = mag_view._opened or open_array(mag_view.path, follows_links=mag_view._allow_foreign_writes)
            array.ensure_extent(end)
    forget_copies(layer.dataset, layer)  # a write may have made its array larger before
