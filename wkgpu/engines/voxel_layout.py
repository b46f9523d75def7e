"""How the voxels of a chunk and of an array lie to each other, as kernels want to be told."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.plans.chunk_lookup import Pieces

Quadruple: TypeAlias = tuple[int, int, int, int]
VoxelLayout: TypeAlias = tuple[Quadruple, Quadruple, Quadruple, Quadruple, Quadruple, int]
"""Chunk shape, box shape, strides of the box, strides of a chunk, axes in the order to walk them, bytes of an item."""


def voxel_layout(pieces: Pieces, shape: Triple, array: NDArray[Any]) -> VoxelLayout:
    """Describe a walk over the voxels that chunks and an array of a box share.

    The innermost axis is the one along which the array's items are nearest to each other, since the chunk is small
    and lies in the cache.

    Parameters
    ----------
    shape : tuple of int
        Voxels ``(x, y, z)`` of the box.
    array : array (channel, x, y, z)
        With any strides.
    """
    item, channels = array.itemsize, array.shape[0]
    x, y, z = pieces.shape
    voxel = item * channels
    c, *others = array.strides
    if channels == 1 or c == item:  # a voxel's channels are neighbours: they move together
        item, channels = voxel, 1
    lengths = (channels, *shape)
    a0, a1, a2, a3 = sorted(range(4), key=lambda axis: (lengths[axis] > 1, -abs(array.strides[axis]), -axis))
    return (
        (channels, x, y, z),
        (channels, *shape),
        (c, others[0], others[1], others[2]),
        (array.itemsize, voxel, voxel * x, voxel * x * y),
        (a0, a1, a2, a3),
        item,
    )


def has_lines(array: NDArray[Any]) -> bool:
    """Whether channels and x of an array ``(channel, x, y, z, ...)`` are neighbours: then whole lines can be copied."""
    channel, x, *others = array.strides
    return (
        (channel == array.itemsize or array.shape[0] == 1)
        and (x == array.itemsize * array.shape[0] or array.shape[1] == 1)
        and min(others) >= 0
    )
