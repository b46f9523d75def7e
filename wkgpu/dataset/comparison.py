"""Whether two views have the same voxels.

Shards that have the same bytes, as those of a copy have, are not decoded.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from wkgpu.dataset.chunk_shapes import boxes_of, comparison_shape
from wkgpu.storage.file_bytes import have_equal_bytes
from wkgpu.storage.layout import Triple
from wkgpu.storage.stored_array import StoredArray

if TYPE_CHECKING:
    from wkgpu.dataset.view import View


def shards_match(one: View, other: View) -> bool:
    """Whether each shard of a view lies where one of another view does, and equal bytes mean equal voxels.

    Floats can be NaN, which equals nothing.
    """
    layout = one._array.layout
    if layout != other._array.layout or layout.dtype.kind == "f":
        return False
    shift = [a - b for a, b in zip(one._frame.topleft, other._frame.topleft, strict=True)]
    return not any(steps % length for steps, length in zip(shift, layout.shard_shape, strict=True))


def are_equal(views: tuple[View, View]) -> bool:
    """Whether two views of one size have the same voxels; what is read at once fits memory easily."""
    one, other = views
    shape = comparison_shape(one)
    boxes = boxes_of(one.bounding_box, shape, shape)
    shift = other.bounding_box.topleft_xyz - one.bounding_box.topleft_xyz
    engine = one._engine
    with engine.active():
        for box in boxes:  # the engines keep the memory of what was read for the next one
            voxels = one.read(absolute_bounding_box=box)
            others = other.read(absolute_bounding_box=box.offset(shift))
            if not engine.xp.array_equal(voxels, engine.asarray(others)):
                return False
            del voxels, others
    return True


def are_equal_in_a_shard(views: tuple[View, View]) -> bool:
    """Do as `are_equal` for views that lie in one shard each, and whose shards match."""
    one, other = views
    return _have_equal_files(one, other) or are_equal(views)


def _have_equal_files(one: View, other: View) -> bool:
    with ExitStack() as stack:
        files = []
        for view in (one, other):
            file = view._array.open_shard(_shard_of(view._array, view._frame.topleft))
            if file is not None:
                stack.callback(file.close)
            files.append(file)
        mine, others = files
        if mine is None or others is None:
            return mine is others
        return mine.nbytes == others.nbytes and have_equal_bytes(mine.descriptor, others.descriptor, mine.nbytes)


def _shard_of(array: StoredArray, voxel: Triple) -> Triple:
    x, y, z = (place // length for place, length in zip(voxel, array.layout.shard_shape, strict=True))
    return x, y, z
