"""How the voxels of a chunk and of an array lie to each other, as kernels want to be told."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from numpy.typing import NDArray

from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.plans.chunk_lookup import Pieces
from wkgpu.storage.spec import ArraySpec

Quadruple: TypeAlias = tuple[int, int, int, int]
VoxelLayout: TypeAlias = tuple[Quadruple, Quadruple, Quadruple, Quadruple, Quadruple, int]
"""Chunk shape, box shape, strides of the box, strides of a chunk, axes in the order to walk them, bytes of an item."""


def voxel_layout(pieces: Pieces, shape: Triple, array: NDArray[Any], channel_position: int = 0) -> VoxelLayout:
    """Describe a walk over the voxels that chunks and an array of a box share.

    The innermost axis is the one along which the array's items are nearest to each other, since the chunk is small
    and lies in the cache.

    Parameters
    ----------
    shape : tuple of int
        Voxels ``(x, y, z)`` of the box.
    array : array (channel, x, y, z)
        With any strides.
    channel_position : int
        As in `ArraySpec`.
    """
    item, channels = array.itemsize, array.shape[0]
    x, y, z = pieces.shape
    c, *others = array.strides
    of_chunk = chunk_strides(pieces, item, channels, channel_position)
    if channels == 1 or (c == item and channel_position == 0):  # a voxel's channels are neighbours: they move together
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


def chunk_strides(pieces: Pieces, item: int, channels: int, channel_position: int = 0) -> Quadruple:
    """Return the strides ``(channel, x, y, z)`` of a decoded chunk in bytes."""
    lengths = list(pieces.shape)
    lengths.insert(channel_position, channels)
    strides = [item * prod(lengths[:axis]) for axis in range(4)]
    channel = strides.pop(channel_position)
    return channel, strides[0], strides[1], strides[2]


def has_lines(array: NDArray[Any], channel_position: int = 0) -> bool:
    """Whether channels and x of an array ``(channel, x, y, z, ...)`` are neighbours, as in chunks.

    Then whole lines can be copied.
    """
    if channel_position > 0 and array.shape[0] > 1:
        return False
    channel, x, *others = array.strides
    return (
        (channel == array.itemsize or array.shape[0] == 1)
        and (x == array.itemsize * array.shape[0] or array.shape[1] == 1)
        and min(others) >= 0
    )


def are_channels_apart(spec: ArraySpec) -> bool:
    """Whether the channels of a voxel lie apart in a chunk, so that its planes along z are no runs of bytes."""
    return not spec.are_channels_neighbours
