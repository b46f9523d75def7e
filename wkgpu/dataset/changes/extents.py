"""The ends of the arrays of a layer, which follow its bounding box.

A write of wkgpu makes an array as large as it needs to be. Other programs, such as the WEBKNOSSOS library, write up to
the layer's box in every mag, and expect that the arrays have room for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import add
from typing import TYPE_CHECKING

from wkgpu.dataset.box_axes import further_axes, in_space
from wkgpu.dataset.changes.groups import forget_copies
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.voxel_box import Triple, triple
from wkgpu.storage.formats import known_format

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


def extent_of(box: NDBoundingBox, mag: Mag, shard_shape: Triple = (1, 1, 1)) -> Triple | None:
    """Return how many voxels ``(x, y, z)`` an array of a mag has room for, if it ends with a box in Mag(1).

    Of a box without voxels nothing is known.

    Parameters
    ----------
    shard_shape : tuple of int
        What the extent is rounded up to; new arrays end with a shard, as those of the WEBKNOSSOS library do.
    """
    box = in_space(box)
    if box.is_empty():
        return None
    own = box.align_with_mag(mag, ceil=True).in_mag(mag)
    ends = map(add, own.topleft_xyz, own.size_xyz)
    return triple(-(-max(end, 1) // edge) * edge for end, edge in zip(ends, shard_shape, strict=True))


def make_room(layer: Layer, box: NDBoundingBox | None = None) -> None:
    """Let the arrays of a layer that may be written have room for a box, as far as they can be changed.

    Arrays are never made smaller.

    Parameters
    ----------
    box : NDBoundingBox, optional
        In Mag(1); by default that of the layer.
    """
    known = known_format(layer.data_format.value)
    if known is None or not known.has_ends:
        return
    box = layer.bounding_box if box is None else box
    extra_axes = [(axis, max(at.stop, 1)) for axis, at in further_axes(box).items()]
    for mag_view in layer.mags.values():
        end = extent_of(box, mag_view.mag)
        if end is not None:
            mag_view._make_room(end, extra_axes)
    forget_copies(layer.dataset, layer)  # a write may have made its array larger before


@contextmanager
def changing_box(layer: Layer, box: NDBoundingBox) -> Iterator[LayerProperties]:
    """Yield the properties of a layer for a change of its box, and save them; the arrays get room for a box before.

    So a crash leaves no box that arrays have no room for.
    """
    layer.dataset._check_writable()
    make_room(layer, box)
    mags = set(layer.mags)
    with layer.dataset._changing() as properties:
        yield properties.layer(layer.name)
    if not mags.issuperset(layer.mags):  # another process has added one that it made for the old box
        make_room(layer)
