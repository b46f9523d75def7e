"""Whether two views have the same voxels."""

from __future__ import annotations

from operator import add, sub
from typing import TYPE_CHECKING

from wkgpu.geometry.voxel_box import Triple, VoxelBox, triple
from wkgpu.operations.chunk_shapes import comparison_shape
from wkgpu.operations.tiling import blocks_around
from wkgpu.operations.transfer import boxes_are_equal

if TYPE_CHECKING:
    from wkgpu.dataset.view import View


def are_equal(views: tuple[View, View]) -> bool:
    """Whether two views of one mag and size have the same voxels; what is read at once fits memory easily."""
    one, other = views
    shape = triple(comparison_shape(one) // one.mag.to_vec3_int())
    return all(
        boxes_are_equal(one._array, other._array, one._engine, (part.topleft, facing.topleft), part.shape)
        for part, facing in stored_pairs(views, shape)
    )


def stored_pairs(views: tuple[View, View], shape: Triple) -> list[tuple[VoxelBox, VoxelBox]]:
    """Return the parts of two views of one mag and size that can differ, because one of them has a shard there.

    Parameters
    ----------
    shape : tuple of int
        Voxels ``(x, y, z)`` of a part; borders between parts of the first view are multiples of it.

    Returns
    -------
    list of (VoxelBox, VoxelBox)
        Each part in the own grids of both.
    """
    one, other = views
    mine, others = (VoxelBox(view._frame.topleft, view._frame.shape) for view in views)
    if min(mine.shape) < 1:
        return []
    shift = triple(map(sub, others.topleft, mine.topleft))
    stored = [VoxelBox(*shard) for shard in one._array.shard_boxes(mine)]
    stored += [
        VoxelBox(triple(map(sub, topleft, shift)), extent) for topleft, extent in other._array.shard_boxes(others)
    ]
    return [
        (part, VoxelBox(triple(map(add, part.topleft, shift)), part.shape))
        for part in blocks_around(stored, shape, mine)
    ]
