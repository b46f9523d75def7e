"""How work on a box of voxels is cut into tiles along shards and chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from math import lcm, prod

from wkgpu.geometry.voxel_box import Triple, VoxelBox, triple
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray

_JOB_BYTES = 16 << 20  # small shards are one job up to this, so that it is worth its overhead


def cells(box: VoxelBox, shape: Triple) -> Iterator[Triple]:
    """Yield the first voxels of the cells of a grid that a box touches, with z running fastest."""
    axes = (range(low // step * step, end, step) for low, end, step in zip(box.topleft, box.end, shape, strict=True))
    yield from product(*axes)


def shards_in(array: StoredArray, box: VoxelBox) -> list[VoxelBox]:
    """Return the boxes of a mag's shards that a box touches, whether they exist or not."""
    return [VoxelBox(corner, array.spec.shard_shape) for corner in cells(box, array.spec.shard_shape)]


def shard_number(array: StoredArray, shard: VoxelBox) -> Triple:
    """Return which shard of a mag has a box: ``(x, y, z)``, in shards."""
    return triple(low // length for low, length in zip(shard.topleft, array.spec.shard_shape, strict=True))


def job_shape(spec: ArraySpec, minimum: Triple) -> Triple:
    """Return the voxels of one job, a multiple of the shards: small ones together, and at least ``minimum`` voxels."""
    shape = list(spec.shard_shape)
    for axis, length in enumerate(minimum):
        while shape[axis] < length:
            shape[axis] *= 2
    while 2 * prod(shape) * spec.voxel_bytes <= _JOB_BYTES:
        shape[shape.index(min(shape))] *= 2
    return triple(shape)


def common_chunk(chunk_shape: Triple, others: Iterable[Triple], max_voxels: int) -> Triple:
    """Return the fewest voxels that cut no chunk of a target and, if that is not too many, none of others.

    Examples
    --------
    >>> common_chunk((32, 32, 32), [(64, 64, 64), (8, 8, 24)], 1 << 30)
    (64, 64, 192)
    >>> common_chunk((32, 32, 32), [(127, 127, 127)], 1 << 30)  # (4064, 4064, 4064) would be too many
    (32, 32, 32)
    """
    common = chunk_shape
    for other in others:
        found = triple(map(lcm, common, other))
        common = found if prod(found) <= max_voxels else common
    return common


def boxes_around(boxes: Iterable[VoxelBox], shape: Triple, region: VoxelBox | None = None) -> list[VoxelBox]:
    """Return the cells of a grid that boxes touch, ascending by z, y, x; of a region, the parts that lie in it."""
    inside = boxes if region is None else [part for box in boxes if (part := box.intersection(region))]
    corners = {corner for box in inside for corner in cells(box, shape)}
    found = [VoxelBox(corner, shape) for corner in sorted(corners, key=lambda corner: corner[::-1])]
    return found if region is None else [part for box in found if (part := box.intersection(region))]
