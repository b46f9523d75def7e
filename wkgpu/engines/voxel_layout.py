"""How the voxels of a chunk and of an array lie to each other, as kernels want to be told."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.plans.chunk_lookup import Pieces
from wkgpu.storage.spec import ArraySpec

Quadruple: TypeAlias = tuple[int, int, int, int]
VoxelLayout: TypeAlias = tuple[Quadruple, Quadruple, Quadruple, Quadruple, Quadruple, int]
"""Chunk shape, box shape, strides of the box, strides of a chunk, axes in the order to walk them, bytes of an item."""


def voxel_layout(pieces: Pieces, shape: Triple, array: NDArray[Any], channels_first: bool = True) -> VoxelLayout:
    """Describe a walk over the voxels that chunks and an array of a box share.

    The innermost axis is the one along which the array's items are nearest to each other, since the chunk is small
    and lies in the cache.

    Parameters
    ----------
    shape : tuple of int
        Voxels ``(x, y, z)`` of the box.
    array : array (channel, x, y, z)
        With any strides.
    channels_first : bool
        As in `ArraySpec`.
    """
    item, channels = array.itemsize, array.shape[0]
    x, y, z = pieces.shape
    c, *others = array.strides
    of_chunk = chunk_strides(pieces, item, channels, channels_first)
    if channels == 1 or (c == item and channels_first):  # a voxel's channels are neighbours: they move together
        item, channels = item * channels, 1
    lengths = (channels, *shape)
    a0, a1, a2, a3 = sorted(range(4), key=lambda axis: (lengths[axis] > 1, -abs(array.strides[axis]), -axis))
    return (
        (channels, x, y, z),
        (channels, *shape),
        (c, others[0], others[1], others[2]),
        of_chunk,
        (a0, a1, a2, a3),
        item,
    )


def chunk_strides(pieces: Pieces, item: int, channels: int, channels_first: bool = True) -> Quadruple:
    """Return the strides ``(channel, x, y, z)`` of a decoded chunk in bytes."""
    x, y, z = pieces.shape
    if channels_first:
        voxel = item * channels
        return item, voxel, voxel * x, voxel * x * y
    return item * x * y * z, item, item * x, item * x * y


def has_lines(array: NDArray[Any], channels_first: bool = True) -> bool:
    """Whether channels and x of an array ``(channel, x, y, z, ...)`` are neighbours, as in chunks.

    Then whole lines can be copied.
    """
    if not channels_first and array.shape[0] > 1:
        return False
    channel, x, *others = array.strides
    return (
        (channel == array.itemsize or array.shape[0] == 1)
        and (x == array.itemsize * array.shape[0] or array.shape[1] == 1)
        and min(others) >= 0
    )


def are_channels_apart(spec: ArraySpec) -> bool:
    """Whether a chunk has one channel after another, so that its planes along z are no runs of bytes."""
    return not spec.channels_first and spec.num_channels > 1
