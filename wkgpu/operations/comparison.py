"""Whether two regions have the same voxels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from operator import add, sub
from typing import TypeAlias

from wkgpu.geometry.vec3_int import Vec3IntLike
from wkgpu.geometry.voxel_box import Triple, VoxelBox, triple
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.chunk_shapes import compared_shape, comparison_shape
from wkgpu.operations.jobs import Executor, finished_jobs
from wkgpu.operations.tiling import boxes_around
from wkgpu.operations.transfer import boxes_are_equal

RegionPair: TypeAlias = tuple[ArrayRegion, ArrayRegion]


def regions_are_equal(
    regions: Sequence[RegionPair],
    chunk_shape: Vec3IntLike | None,
    executor: Executor | None,
    progress_desc: str | None,
) -> bool:
    """Whether two regions of one mag and size have the same voxels; see `View.content_is_equal`.

    Parameters
    ----------
    regions : sequence of (ArrayRegion, ArrayRegion)
        Both regions, at each coordinate along further axes.
    chunk_shape : (x, y, z), optional
        What is compared at a time, in Mag(1).
    """
    if not regions:  # without coordinates there are no voxels
        return True
    specs = [region.array.current().spec for region in regions[0]]
    if len({(spec.memory_dtype, spec.num_channels) for spec in specs}) > 1:
        return False
    shape = compared_shape(specs[0], regions[0][0].mag, chunk_shape)
    parts = [(one, part, other, facing) for one, other in regions for part, facing in stored_pairs((one, other), shape)]
    jobs = ((one.part(part), other.part(facing)) for one, part, other, facing in parts)
    boxes = [one.part(part).bounding_box for one, part, _, _ in parts]
    outcomes = finished_jobs(parts_are_equal, jobs, executor=executor, boxes=boxes, progress_desc=progress_desc)
    with closing(outcomes):  # at a difference, the chunks that have not begun are cancelled
        return all(equal for _, equal in outcomes)


def parts_are_equal(regions: RegionPair) -> bool:
    """Whether two regions of one mag and size have the same voxels; what is read at once fits memory easily."""
    one, other = regions
    return all(
        boxes_are_equal(one.array, other.array, one.engine, (part.topleft, facing.topleft), part.shape)
        for part, facing in stored_pairs(regions, comparison_shape(one.array.current().spec))
    )


def stored_pairs(regions: RegionPair, shape: Triple) -> list[tuple[VoxelBox, VoxelBox]]:
    """Return the parts of two regions of one mag and size that can differ, because one of them has a shard there.

    With different fill values they can differ everywhere.

    Parameters
    ----------
    shape : tuple of int
        Voxels ``(x, y, z)`` of a part; borders between parts of the first region are multiples of it.

    Returns
    -------
    list of (VoxelBox, VoxelBox)
        Each part in the own grids of both.
    """
    one, other = regions
    if min(one.box.shape) < 1:
        return []
    shift = triple(map(sub, other.box.topleft, one.box.topleft))
    if one.array.spec.memory_fill_bytes != other.array.spec.memory_fill_bytes:
        stored = [one.box]
    else:
        stored = _stored_boxes(one, other, shift)
    return [
        (part, VoxelBox(triple(map(add, part.topleft, shift)), part.shape))
        for part in boxes_around(stored, shape, one.box)
    ]


def _stored_boxes(one: ArrayRegion, other: ArrayRegion, shift: Triple) -> list[VoxelBox]:
    """Return where two regions have shards, in the grid of the first one."""
    stored = [VoxelBox(*shard) for shard in one.array.shard_boxes(one.box)]
    return stored + [
        VoxelBox(triple(map(sub, topleft, shift)), extent) for topleft, extent in other.array.shard_boxes(other.box)
    ]
