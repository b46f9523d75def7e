"""The chunks that are worked on one by one: their shapes, and their boxes in Mag(1)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from typing import NamedTuple, overload

from wkgpu.errors import ShapeError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES, Vec3Int, Vec3IntLike
from wkgpu.geometry.vec_int import VecInt, VecIntLike
from wkgpu.geometry.voxel_box import Triple, triple
from wkgpu.storage.spec import ArraySpec

_COMPARED_BYTES = 1 << 26  # of each view at a time: many chunks, and little beside what a worker holds anyway


class ChunkBoxes(Sequence[NDBoundingBox]):
    """The boxes of the chunks of a box, the last axis fastest.

    Each is made when it is asked for, because a large box may have more chunks than fit into memory.

    Raises
    ------
    ShapeError
        If the shape or the alignments are not positive, or the alignments do not divide the shape.

    Examples
    --------
    >>> from wkgpu.geometry.bounding_box import BoundingBox
    >>> [chunk.topleft.z for chunk in ChunkBoxes(BoundingBox((0, 0, 5), (9, 9, 9)), (9, 9, 8), None)]
    [5, 13]
    """

    def __init__(self, box: NDBoundingBox, shape: Vec3IntLike, alignments: Vec3IntLike | None) -> None:
        try:
            grid = box._chunk_grid(_with_channels(box, shape), _with_channels(box, alignments))
        except (AssertionError, TypeError, ValueError) as error:
            raise ShapeError(f"chunk_shape={shape}, chunk_border_alignments={alignments}: {error}") from error
        self._box = box
        self._shape = grid.shape
        spans = zip(box.topleft, box.bottomright, grid.origin, grid.shape, strict=True)
        self._starts = [range(low - (low - origin) % step, high, step) for low, high, origin, step in spans]
        self._count = 0 if box.is_empty() else prod(map(len, self._starts))
        if self._count > sys.maxsize:
            raise ShapeError(f"{box} has {self._count} chunks of {self._shape.to_tuple()} voxels; choose larger ones.")

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, position: int) -> NDBoundingBox: ...
    @overload
    def __getitem__(self, position: slice) -> list[NDBoundingBox]: ...
    def __getitem__(self, position: int | slice) -> NDBoundingBox | list[NDBoundingBox]:
        if isinstance(position, slice):
            return [self[at] for at in range(self._count)[position]]
        rest = range(self._count)[position]
        starts = []
        for along in reversed(self._starts):
            rest, at = divmod(rest, len(along))
            starts.append(along[at])
        corner = self._box.topleft._like(reversed(starts))
        topleft, end = corner.pairmax(self._box.topleft), (corner + self._shape).pairmin(self._box.bottomright)
        return self._box.with_topleft(topleft).with_size(end - topleft)


@overload
def _with_channels(box: NDBoundingBox, shape: Vec3IntLike) -> VecIntLike: ...
@overload
def _with_channels(box: NDBoundingBox, shape: None) -> None: ...
def _with_channels(box: NDBoundingBox, shape: Vec3IntLike | None) -> VecIntLike | None:
    """Return the shape of chunks of a box, which have all its channels."""
    if shape is None or "c" not in box.axes:
        return shape
    lengths = dict(zip(XYZ_AXES, Vec3Int(shape), strict=True)) | {"c": box.get_shape("c")}
    return VecInt((lengths.get(axis, 1) for axis in box.axes), axes=box.axes)


class ChunkRule(NamedTuple):
    """What the shapes of a view's chunks must be multiples of.

    Attributes
    ----------
    spec : ArraySpec
        Of the mag.
    mag : Mag
        Magnification.
    read_only : bool
        Whether chunks are only read: then several may share a file.
    name : str
        What messages call the view.
    """

    spec: ArraySpec
    mag: Mag
    read_only: bool
    name: str

    @property
    def shard_shape(self) -> Vec3Int:
        """Shape of a file in Mag(1)."""
        return Vec3Int(self.spec.shard_shape) * self.mag.to_vec3_int()

    def chosen(self, chunk_shape: Vec3IntLike | None) -> Vec3Int:
        """Return the chunk shape, in Mag(1), that a caller chose; by default one shard.

        Raises
        ------
        ShapeError
            If it is not positive, or not a multiple of the view's shards (of its chunks, if it is read-only).
        """
        return self.shard_shape if chunk_shape is None else self.checked(chunk_shape)

    def checked(self, chunk_shape: Vec3IntLike | None) -> Vec3Int:
        """Return the chunk shape, in Mag(1), that a caller chose; see `chosen`."""
        shape, mag = _positive(chunk_shape), self.mag.to_vec3_int()
        unit, name = (self.spec.chunk_shape, "chunks") if self.read_only else (self.spec.shard_shape, "shards")
        if any(shape % (mag * unit)):
            raise ShapeError(
                f"The chunk shape {shape.to_tuple()} must be a multiple of the {name} of {self.name}, which are "
                f"{(mag * unit).to_tuple()} in Mag(1)"
                + (
                    "."
                    if self.read_only
                    else ", so that no two chunks share a file. A read-only view takes smaller ones."
                )
            )
        return shape


def matching_shapes(
    source: ChunkRule, target: ChunkRule, source_shape: Vec3IntLike | None, target_shape: Vec3IntLike | None
) -> tuple[Vec3Int, Vec3Int]:
    """Return the chunk shapes of two views, in Mag(1); by default the larger of both views' shards.

    Raises
    ------
    ShapeError
        If one of them is missing, or does not fit its view.
    """
    if (source_shape is None) != (target_shape is None):
        raise ShapeError(f"source_chunk_shape={source_shape} and target_chunk_shape={target_shape}: give both or none.")
    if source_shape is None:
        source_shape = target_shape = Vec3Int(map(max, source.shard_shape, target.shard_shape))
    return source.checked(source_shape), target.checked(target_shape)


def matching_boxes(
    source: NDBoundingBox, target: NDBoundingBox, source_shape: Vec3Int, target_shape: Vec3Int
) -> list[tuple[NDBoundingBox, NDBoundingBox]]:
    """Return the chunks of two boxes that match: whose places relative to the boxes have the ratio of the shapes.

    Parameters
    ----------
    source, target : NDBoundingBox
        Of two views, in Mag(1).
    source_shape, target_shape : Vec3Int
        Chunk shapes. The borders between chunks of the target are multiples of the target's chunk shape.

    Raises
    ------
    ShapeError
        If the sizes of the boxes have another ratio than the chunk shapes, or a border of the target's chunks matches
        no voxel of the source.

    Examples
    --------
    >>> from wkgpu.geometry.bounding_box import BoundingBox
    >>> fine, coarse = BoundingBox((0, 0, 0), (16, 16, 16)), BoundingBox((0, 0, 0), (8, 8, 8))
    >>> pairs = matching_boxes(fine, coarse, Vec3Int(8, 16, 16), Vec3Int(4, 8, 8))
    >>> [(one.topleft.x, other.topleft.x) for one, other in pairs]
    [(0, 0), (8, 4)]
    """
    if source.size_xyz * target_shape != target.size_xyz * source_shape:
        raise ShapeError(
            f"The sizes of the views, {source.size_xyz.to_tuple()} and {target.size_xyz.to_tuple()}, must have the "
            f"ratio of the chunk shapes, {source_shape.to_tuple()} and {target_shape.to_tuple()} (all in Mag(1)); give "
            "source_chunk_shape and target_chunk_shape."
        )
    pairs = []
    for box in ChunkBoxes(target, target_shape, target_shape):
        first, extent = (box.topleft_xyz - target.topleft_xyz) * source_shape, box.size_xyz * source_shape
        if any(first % target_shape) or any(extent % target_shape):
            raise ShapeError(
                f"The target's chunk {box} matches no whole voxels of the source, {source}, where "
                f"{source_shape.to_tuple()} match {target_shape.to_tuple()}; "
                "choose views that begin at multiples of these."
            )
        topleft = source.topleft_xyz + first // target_shape
        facing = source.with_topleft_xyz(topleft).with_size_xyz(extent // target_shape)
        pairs.append((_at_same_coordinates(facing, source, box, target), box))
    return pairs


def _at_same_coordinates(
    facing: NDBoundingBox, source: NDBoundingBox, box: NDBoundingBox, target: NDBoundingBox
) -> NDBoundingBox:
    """Return a box of a source at the coordinates, from its first ones on, that a box of a target has there."""
    for axis in {*source.axes, *target.axes} - {*XYZ_AXES, "c"}:
        lengths = [found.get_shape(axis) if axis in found.axes else 1 for found in (source, target)]
        if lengths[0] != lengths[1]:
            raise ShapeError(f"The views, {source} and {target}, must have as many coordinates along {axis!r}.")
        if axis in source.axes and axis in target.axes:
            first = source.get_bounds(axis)[0] + box.get_bounds(axis)[0] - target.get_bounds(axis)[0]
            facing = facing.with_bounds(axis, first, box.get_shape(axis))
    return facing


def compared_shape(spec: ArraySpec, mag: Mag, chunk_shape: Vec3IntLike | None) -> Triple:
    """Return how much to compare at a time, in voxels of the mag, where a chunk shape was chosen in Mag(1).

    Raises
    ------
    ShapeError
        If it is not positive, or not a multiple of the mag.
    """
    if chunk_shape is None:
        return comparison_shape(spec)
    shape, factors = _positive(chunk_shape), mag.to_vec3_int()
    if any(shape % factors):
        raise ShapeError(f"The chunk shape {shape.to_tuple()}, in Mag(1), must be a multiple of mag {mag}.")
    return triple(shape // factors)


def comparison_shape(spec: ArraySpec) -> Triple:
    """Return how much of a mag to compare at a time, in its voxels: a shard, halved until it fits memory easily."""
    shape, smallest = list(spec.shard_shape), spec.chunk_shape
    while prod(shape) * spec.voxel_bytes > _COMPARED_BYTES:
        # The longest axis; of equal ones the last, along which voxels lie farthest apart. Only whole chunks are read.
        axis = max(range(3), key=lambda axis: (shape[axis] // smallest[axis], axis))
        if shape[axis] <= smallest[axis]:
            break
        shape[axis] = -(-shape[axis] // (2 * smallest[axis])) * smallest[axis]
    return triple(shape)


def _positive(chunk_shape: Vec3IntLike | None) -> Vec3Int:
    try:
        shape = Vec3Int(chunk_shape)
    except (AssertionError, TypeError, ValueError) as error:
        raise ShapeError(f"The chunk shape {chunk_shape!r} is not three integers (x, y, z).") from error
    if min(shape) < 1:
        raise ShapeError(f"The chunk shape {shape.to_tuple()} must be at least 1 along each axis.")
    return shape
