"""Boxes of voxels with any number of named axes, and what can be done with a box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar

from wkgpu.geometry.box import DEFAULT_NAME, Box, Color, ordered
from wkgpu.geometry.box_dict import ParsedBox, box_dict
from wkgpu.geometry.chunk_grid import ChunkGrid
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.geometry.vec_int import VecInt, VecIntLike

_AnyBox = TypeVar("_AnyBox", bound="NDBoundingBox")


class NDBoundingBox(Box):
    """An immutable box of voxels with any number of named axes.

    The box is in voxels of ``Mag(1)`` unless said otherwise. A mag scales x, y and z and leaves other axes alone.
    Where a method takes one value per axis, three values stand for x, y and z, and other axes stay as they are.

    Parameters
    ----------
    topleft
        The first voxel.
    size
        The extents in voxels. A negative one counts back from `topleft`; 0 makes the box empty.
    axes
        The names of the axes.
    index
        The position of each axis in the stored array; the axes are sorted by it. Default: the order of `axes`.
    name, is_visible, color
        Labels, which do not take part in comparisons.

    Raises
    ------
    AssertionError
        If the arguments differ in their number of axes.
    ValueError
        If an index is repeated.

    Examples
    --------
    >>> NDBoundingBox((0, 10, 20, 30), (5, 64, 64, 64), axes=("t", "x", "y", "z")).bottomright
    VecInt(5,74,84,94, axes=('t', 'x', 'y', 'z'))
    """

    __slots__ = ()

    def __init__(
        self,
        topleft: VecIntLike,
        size: VecIntLike,
        axes: Iterable[str],
        index: VecIntLike | None = None,
        name: str | None = DEFAULT_NAME,
        is_visible: bool = True,
        color: Color | None = None,
    ) -> None:
        names = tuple(axes)
        corner, extents = VecInt(topleft, axes=names), VecInt(size, axes=names)
        positions = VecInt(range(len(names)) if index is None else index, axes=names)
        if len(set(positions)) != len(names):
            raise ValueError(f"Each axis of {names} needs an index of its own, got {positions.to_tuple()}.")
        self._axes = tuple(sorted(names, key=positions.get))
        self._topleft, self._size = ordered(_sorted_by(self._axes, corner), _sorted_by(self._axes, extents))
        self._index = _sorted_by(self._axes, positions)
        self._name = name
        self._is_visible = is_visible
        self._color = color

    @classmethod
    def from_axes(cls, axes: Iterable[str], sizes: Iterable[int]) -> Self:
        """Make a box that begins at voxel 0 on all axes.

        Examples
        --------
        >>> NDBoundingBox.from_axes(("t", "x"), (3, 64))
        NDBoundingBox(topleft=(0, 0), size=(3, 64), axes={'t': 0, 'x': 1})
        """
        names = tuple(axes)
        return cls((0,) * len(names), sizes, names)

    @classmethod
    def from_wkw_dict(cls, bbox: Mapping[str, Any]) -> Self:
        """Read a box of a properties file.

        Parameters
        ----------
        bbox
            ``topLeft``, ``width``, ``height`` and ``depth`` in voxels, and where there are more axes than x, y and z,
            ``additionalAxes`` (a ``name``, ``bounds`` and an ``index`` each) and ``axisOrder``.

        Raises
        ------
        KeyError
            If a key is missing.
        AssertionError
            If there are additional axes but no order of the axes.
        """
        topleft, size, index = ParsedBox.parse(bbox)
        return cls(topleft.values(), size.values(), axes=topleft, index=index.values())

    def to_wkw_dict(self) -> dict[str, Any]:
        """Return the box as a properties file holds it: see `from_wkw_dict`.

        Raises
        ------
        KeyError
            If the box lacks x, y or z.

        Examples
        --------
        >>> NDBoundingBox((1, 2, 3), (4, 5, 6), axes=("x", "y", "z"), index=(1, 2, 3)).to_wkw_dict()
        {'topLeft': [1, 2, 3], 'width': 4, 'height': 5, 'depth': 6, 'axisOrder': {'x': 1, 'y': 2, 'z': 3}}
        """
        return box_dict(self)

    def with_index(self, new_index: VecIntLike) -> Self:
        """Return the box with its axes at other positions of the stored array, and sorted by them.

        Examples
        --------
        >>> NDBoundingBox((0, 10), (3, 64), axes=("t", "x")).with_index((1, 0)).axes
        ('x', 't')
        """
        return type(self)(self._topleft, self._size, self._axes, new_index, self._name, self._is_visible, self._color)

    # Sets of voxels

    def volume(self) -> int:
        """Return the number of voxels."""
        return self._size.prod()

    def is_empty(self) -> bool:
        """Tell whether the box has no voxel."""
        return not self._size.is_positive(strictly_positive=True)

    def contains(self, coord: Iterable[float]) -> bool:
        """Tell whether a point lies in the box; fractions of voxels count.

        Parameters
        ----------
        coord
            One coordinate per axis.

        Raises
        ------
        AssertionError
            If there are more or fewer.

        Examples
        --------
        >>> box = NDBoundingBox((0, 10), (3, 64), axes=("t", "x"))
        >>> box.contains((2.9, 10)), box.contains((3, 10))
        (True, False)
        """
        point = tuple(coord) if isinstance(coord, Iterable) else ()
        if len(point) != self.ndim:
            raise AssertionError(f"A point in {self!r} needs {self.ndim} coordinates, got {coord!r}.")
        axes = zip(point, self._topleft, self._size, strict=True)
        return all(bool(first <= at < first + extent) for at, first, extent in axes)

    def contains_bbox(self, inner_bbox: NDBoundingBox) -> bool:
        """Tell whether this box cuts nothing off from another one, as `intersected_with` would.

        Raises
        ------
        ValueError
            If the boxes differ in their axes.
        """
        self._check_axes(inner_bbox)
        axes = zip(self._topleft, self._size, inner_bbox._topleft, inner_bbox._size, strict=True)
        return all(
            first <= inner and (inner_extent == 0 or inner + inner_extent <= first + extent)
            for first, extent, inner, inner_extent in axes
        )

    def intersected_with(self, other: NDBoundingBox, dont_assert: bool = False) -> Self:
        """Return the voxels that both boxes have.

        Parameters
        ----------
        other
            A box with the same axes, in the same mag.
        dont_assert
            Answer an empty box, instead of an error, where they have none in common.

        Raises
        ------
        AssertionError
            If the boxes share no voxel.
        ValueError
            If the boxes differ in their axes.

        Examples
        --------
        >>> box = NDBoundingBox((0, 10), (3, 64), axes=("t", "x"))
        >>> box.intersected_with(box.offset((1, 60))).size
        VecInt(2,4, axes=('t', 'x'))
        """
        self._check_axes(other)
        topleft = self._topleft.pairmax(other._topleft)
        size = (self.bottomright.pairmin(other.bottomright) - topleft).pairmax(0)
        common = self._derived(topleft, size)
        if common.is_empty() and not dont_assert:
            raise AssertionError(f"{self} and {other} have no voxel in common. Use dont_assert=True to allow that.")
        return common

    def extended_by(self, other: _AnyBox) -> Self | _AnyBox:
        """Return the smallest box around both; an empty box adds nothing.

        Raises
        ------
        ValueError
            If the boxes differ in their axes.
        """
        self._check_axes(other)
        if self.is_empty():
            return other
        if other.is_empty():
            return self
        topleft = self._topleft.pairmin(other._topleft)
        return self._derived(topleft, self.bottomright.pairmax(other.bottomright) - topleft)

    def offset(self, vector: VecIntLike) -> Self:
        """Return the box moved by a vector: one number per axis, or three for x, y and z.

        Raises
        ------
        ValueError, AssertionError
            If there are more or fewer numbers.
        """
        return self._derived(self._topleft + self._vector_or_xyz(vector, elsewhere=0), self._size)

    def padded_with_margins(self, margins_left: Vec3IntLike, margins_right: Vec3IntLike | None = None) -> Self:
        """Return the box with a margin around it along x, y and z; a negative margin cuts off.

        Parameters
        ----------
        margins_left
            How many voxels to add before the top left.
        margins_right
            How many to add past the bottom right; the same as on the left if not given.

        Examples
        --------
        >>> box = NDBoundingBox((0, 10), (3, 64), axes=("t", "x"))
        >>> box.padded_with_margins((2, 0, 0))
        NDBoundingBox(topleft=(0, 8), size=(3, 68), axes={'t': 0, 'x': 1})
        """
        left = self._along_axes(Vec3Int(margins_left), elsewhere=0)
        right = left if margins_right is None else self._along_axes(Vec3Int(margins_right), elsewhere=0)
        return self._derived(self._topleft - left, self._size + left + right)

    # Magnifications

    def in_mag(self, mag: MagLike) -> Self:
        """Convert a box in voxels of ``Mag(1)`` to voxels of a mag.

        Raises
        ------
        AssertionError
            If a border of the box lies inside a voxel of that mag: align the box first.

        Examples
        --------
        >>> NDBoundingBox((0, 8), (3, 64), axes=("t", "x")).in_mag(Mag(4))
        NDBoundingBox(topleft=(0, 2), size=(3, 16), axes={'t': 0, 'x': 1})
        """
        factors = self._along_axes(Mag(mag).to_vec3_int(), elsewhere=1)
        if any(self._topleft % factors) or any(self._size % factors):
            raise AssertionError(f"{self} is not aligned with mag {Mag(mag)}. Use align_with_mag() before in_mag().")
        return self._derived(self._topleft // factors, self._size // factors)

    def from_mag_to_mag1(self, from_mag: MagLike) -> Self:
        """Convert a box in voxels of a mag to voxels of ``Mag(1)``.

        Examples
        --------
        >>> NDBoundingBox((0, 2), (3, 16), axes=("t", "x")).from_mag_to_mag1(Mag(4))
        NDBoundingBox(topleft=(0, 8), size=(3, 64), axes={'t': 0, 'x': 1})
        """
        factors = self._along_axes(Mag(from_mag).to_vec3_int(), elsewhere=1)
        return self._derived(self._topleft * factors, self._size * factors)

    def align_with_mag(self, mag: MagLike, ceil: bool = False) -> Self:
        """Move the borders of a box in ``Mag(1)`` to borders between voxels of a mag.

        Parameters
        ----------
        mag
            A mag, or any three step lengths in voxels of ``Mag(1)``.
        ceil
            True rounds outwards: the box grows until it is aligned. False rounds inwards.

        Notes
        -----
        Inwards, both corners are rounded towards each other. If no whole voxel of the mag fits between them they pass
        each other, and the result is the box between the corners, which is then larger than the original.

        Examples
        --------
        >>> box = NDBoundingBox((0, 10), (3, 64), axes=("t", "x"))
        >>> box.align_with_mag(Mag(8), ceil=True).get_bounds("x"), box.align_with_mag(Mag(8)).get_bounds("x")
        ((8, 80), (16, 72))
        """
        steps = self._along_axes(_steps(mag), elsewhere=1)
        first, end = self._topleft, self.bottomright
        first, end = (first // steps, end.ceildiv(steps)) if ceil else (first.ceildiv(steps), end // steps)
        return self._derived(first * steps, (end - first) * steps)

    @classmethod
    def group_boxes_with_aligned_mag(
        cls, bounding_boxes: Iterable[_AnyBox], aligning_mag: MagLike
    ) -> dict[_AnyBox, list[_AnyBox]]:
        """Group boxes by the box that each becomes when rounded outwards to a mag.

        With a mag as large as a shard, every group is the work on one box of whole shards.

        Examples
        --------
        >>> box = NDBoundingBox((0, 0), (32, 32), axes=("x", "y"))
        >>> boxes = [box, box.offset((32, 0)), box.offset((64, 0))]
        >>> groups = NDBoundingBox.group_boxes_with_aligned_mag(boxes, Mag(64))
        >>> [len(group) for group in groups.values()]
        [2, 1]
        """
        groups: dict[_AnyBox, list[_AnyBox]] = {}
        for box in bounding_boxes:
            groups.setdefault(box.align_with_mag(aligning_mag, ceil=True), []).append(box)
        return groups

    # Chunks

    def chunk(self, chunk_shape: VecIntLike, chunk_border_alignments: VecIntLike | None = None) -> Iterator[Self]:
        """Cut the box into chunks.

        Parameters
        ----------
        chunk_shape
            The shape of a chunk in voxels, one number per axis, or three for x, y and z, which cut every other axis
            into single voxels. Chunks at the borders of the box are smaller.
        chunk_border_alignments
            Without it the first chunk begins at the top left of the box. With it every border between two chunks is
            a multiple of it. It must divide `chunk_shape`.

        Returns
        -------
        Iterator of boxes, which are disjoint and cover this box. The last axis runs fastest.

        Raises
        ------
        AssertionError
            If the shape or the alignments are not positive, or the shape is no multiple of the alignments.

        Examples
        --------
        >>> box = NDBoundingBox((0, 10), (2, 64), axes=("t", "x"))
        >>> [chunk.get_bounds("x") for chunk in box.chunk((2, 32), (2, 32))]
        [(10, 32), (32, 64), (64, 74)]
        """
        grid = self._chunk_grid(chunk_shape, chunk_border_alignments)
        return (self._derived_from_bounds(bounds) for bounds in grid.clipped(self._topleft, self.bottomright))

    def __repr__(self) -> str:
        axes = dict(zip(self._axes, self._index, strict=True))
        return f"NDBoundingBox(topleft={self._topleft.to_tuple()}, size={self._size.to_tuple()}, axes={axes})"

    def _check_axes(self, other: NDBoundingBox) -> None:
        if other.axes != self._axes:
            raise ValueError(
                f"Two boxes need the same axes in the same order, got {self._axes} and {other.axes}: {self}, {other}."
            )

    def _chunk_grid(self, chunk_shape: VecIntLike, chunk_border_alignments: VecIntLike | None) -> ChunkGrid:
        shape = self._vector_or_xyz(chunk_shape, elsewhere=1)
        if chunk_border_alignments is None:
            return ChunkGrid.covering(self._topleft, shape, None)
        return ChunkGrid.covering(self._topleft, shape, self._vector_or_xyz(chunk_border_alignments, elsewhere=1))

    def _derived_from_bounds(self, bounds: Iterable[tuple[int, int]]) -> Self:
        topleft, size = zip(*bounds, strict=True)
        return self._derived(self._topleft._like(topleft), self._size._like(size))


def _sorted_by(axes: tuple[str, ...], vector: VecInt) -> VecInt:
    return VecInt((vector.get(axis) for axis in axes), axes=axes)


def _steps(mag: MagLike) -> Vec3Int:
    """Return the step lengths of a mag, or any three that are given instead of one."""
    if isinstance(mag, (Mag, str)):
        return Mag(mag).to_vec3_int()
    return Vec3Int.from_vec_or_int(mag)
