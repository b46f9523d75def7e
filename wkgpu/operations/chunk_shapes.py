"""The chunks that a view is worked on in: their shapes, and their boxes in Mag(1)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, overload

from wkgpu.errors import ShapeError
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike

if TYPE_CHECKING:
    from wkgpu.dataset.chunked_view import ChunkedView

_COMPARED_BYTES = 1 << 26  # of each view at a time: many chunks, and little beside what a worker holds anyway


class ChunkBoxes(Sequence[NDBoundingBox]):
    """The boxes of the chunks of a box, the last axis fastest.

    Each is made when it is asked for, because a large box may have more chunks than memory has room for.

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
            grid = box._chunk_grid(shape, alignments)
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


def shard_shape_in_mag1(view: ChunkedView) -> Vec3Int:
    """Return the shape of a file of the view's mag, in Mag(1)."""
    return view.info.shard_shape * view.mag.to_vec3_int()


def checked_chunk_shape(view: ChunkedView, chunk_shape: Vec3IntLike | None) -> Vec3Int:
    """Return the chunk shape, in Mag(1), that somebody chose for a view.

    Raises
    ------
    ShapeError
        If it is not positive, or no multiple of the view's shards (of its chunks, if it is read-only).
    """
    shape = _positive(chunk_shape)
    info, mag = view.info, view.mag.to_vec3_int()
    unit, name = (info.chunk_shape, "chunks") if view.read_only else (info.shard_shape, "shards")
    if any(shape % (unit * mag)):
        raise ShapeError(
            f"The chunk shape {shape.to_tuple()} must be a multiple of the {name} of {view!r}, which are "
            f"{(unit * mag).to_tuple()} in Mag(1)"
            + ("." if view.read_only else ", so that no two chunks share a file. A read-only view takes smaller ones.")
        )
    return shape


def matching_boxes(
    source: NDBoundingBox, target: NDBoundingBox, source_shape: Vec3Int, target_shape: Vec3Int
) -> list[tuple[NDBoundingBox, NDBoundingBox]]:
    """Return the chunks of two boxes that match: whose places relative to the boxes have the ratio of the shapes.

    Parameters
    ----------
    source, target : NDBoundingBox
        Of two views, in Mag(1).
    source_shape, target_shape : Vec3Int
        Chunk shapes. The borders between chunks of the target are multiples of its one.

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
        pairs.append((source.with_topleft_xyz(topleft).with_size_xyz(extent // target_shape), box))
    return pairs


def compared_shape(view: ChunkedView, chunk_shape: Vec3IntLike | None) -> Vec3Int:
    """Return how much of a view to compare at a time, in voxels of its mag, where a chunk shape was chosen in Mag(1).

    Raises
    ------
    ShapeError
        If it is not positive, or no multiple of the view's mag.
    """
    shape, mag = comparison_shape(view) if chunk_shape is None else _positive(chunk_shape), view.mag.to_vec3_int()
    if any(shape % mag):
        raise ShapeError(f"The chunk shape {shape.to_tuple()}, in Mag(1), must be a multiple of mag {view.mag}.")
    return shape // mag


def _positive(chunk_shape: Vec3IntLike | None) -> Vec3Int:
    try:
        shape = Vec3Int(chunk_shape)
    except (AssertionError, TypeError, ValueError) as error:
        raise ShapeError(f"The chunk shape {chunk_shape!r} is not three integers (x, y, z).") from error
    if min(shape) < 1:
        raise ShapeError(f"The chunk shape {shape.to_tuple()} must be at least 1 along each axis.")
    return shape


def comparison_shape(view: ChunkedView) -> Vec3Int:
    """Return how much of a view to compare at a time, in Mag(1): a shard, or a part of one that fits memory easily."""
    info = view.info
    shape, smallest = list(info.shard_shape), info.chunk_shape
    while prod(shape) * info.voxel_type.itemsize * info.num_channels > _COMPARED_BYTES:
        # The longest axis, and of equal ones the last, along which voxels lie farthest apart. Only whole
        # chunks are read.
        axis = max(range(3), key=lambda axis: (shape[axis] // smallest[axis], axis))
        if shape[axis] <= smallest[axis]:
            break
        shape[axis] = -(-shape[axis] // (2 * smallest[axis])) * smallest[axis]
    return Vec3Int(shape) * view.mag.to_vec3_int()
