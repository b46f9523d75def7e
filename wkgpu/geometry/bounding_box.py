"""Boxes of voxels in x, y and z."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeAlias

from wkgpu.geometry.box import DEFAULT_NAME, Color, ordered
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES, Vec3Int, Vec3IntLike
from wkgpu.geometry.vec_int import VecInt, VecIntLike

_DEFAULT_INDEX = Vec3Int(1, 2, 3)  # the stored array begins with the channels
_CHECKPOINT_NAME = re.compile(r"((?<![0-9A-Za-z])-)?\d+_-?\d+_-?\d+_\d+_\d+_\d+")
_REPR = re.compile(r"\s*BoundingBox\(topleft=\(([^()]*)\), size=\(([^()]*)\)\)\s*")


class BoundingBox(NDBoundingBox):
    """An immutable box of voxels in x, y and z.

    The box is in voxels of ``Mag(1)`` unless said otherwise. Everything an `NDBoundingBox` does, it does as well, with
    three numbers where that takes one per axis.

    Parameters
    ----------
    topleft
        The first voxel.
    size
        The extents in voxels. A negative one counts back from `topleft`; 0 makes the box empty.
    axes
        Always x, y, z.
    index
        The position of x, y and z in the stored array, which has the channels at 0.
    name, is_visible, color
        Labels, which do not take part in comparisons.

    Raises
    ------
    AssertionError
        If the corner or the size are not three numbers each.
    ValueError
        If the axes are others than x, y, z: use an `NDBoundingBox`.

    Examples
    --------
    >>> box = BoundingBox((16, 16, 16), (64, 64, 32))
    >>> box.bottomright, box.volume(), box.contains((79, 79, 47))
    (Vec3Int(80,80,48), 131072, True)
    >>> box.in_mag(2)
    BoundingBox(topleft=(8, 8, 8), size=(32, 32, 16))
    """

    __slots__ = ()

    _topleft: Vec3Int
    _size: Vec3Int
    _index: Vec3Int

    def __init__(
        self,
        topleft: Vec3IntLike,
        size: Vec3IntLike,
        axes: Iterable[str] = XYZ_AXES,
        index: Vec3IntLike = _DEFAULT_INDEX,
        name: str | None = DEFAULT_NAME,
        is_visible: bool = True,
        color: Color | None = None,
    ) -> None:
        # Boxes are made on the path of every patch, so nothing is checked twice here.
        topleft, size = Vec3Int(topleft), Vec3Int(size)
        if min(size) < 0:
            topleft, size = ordered(topleft, size)
        if axes is not XYZ_AXES and tuple(axes) != XYZ_AXES:
            raise ValueError(f"A BoundingBox has the axes x, y, z, got {axes!r}. Use an NDBoundingBox for others.")
        self._topleft = topleft
        self._size = size
        self._axes = XYZ_AXES
        self._index = Vec3Int(index)
        self._name = name
        self._is_visible = is_visible
        self._color = color

    # Other forms of a box

    @classmethod
    def empty(cls) -> BoundingBox:
        """Return the box without voxels at the origin."""
        return cls((0, 0, 0), (0, 0, 0))

    @classmethod
    def from_points(cls, points: Iterable[Vec3IntLike]) -> BoundingBox:
        """Return the smallest box that contains all points.

        Raises
        ------
        ValueError
            If there is no point.

        Examples
        --------
        >>> BoundingBox.from_points([(1, 2, 3), (4, 5, 0)])
        BoundingBox(topleft=(1, 2, 0), size=(4, 4, 4))
        """
        voxels = [Vec3Int(point) for point in points]
        if not voxels:
            raise ValueError("A box around points needs at least one point, got none.")
        lower, upper = (Vec3Int(map(pick, zip(*voxels, strict=True))) for pick in (min, max))
        return cls(lower, upper - lower + 1)

    @classmethod
    def from_ndbbox(cls, bbox: NDBoundingBox) -> BoundingBox:
        """Return the x, y and z of a box that has other axes, too.

        Examples
        --------
        >>> BoundingBox.from_ndbbox(NDBoundingBox((0, 1, 2, 3), (9, 4, 5, 6), axes=("t", "x", "y", "z")))
        BoundingBox(topleft=(1, 2, 3), size=(4, 5, 6))
        """
        return cls(bbox.topleft_xyz, bbox.size_xyz, name=bbox.name, is_visible=bbox.is_visible, color=bbox.color)

    @classmethod
    def from_tuple2(cls, tuple2: Sequence[Vec3IntLike]) -> BoundingBox:
        """Read ``(topleft, size)``."""
        topleft, size = _parts(tuple2, 2, "topleft and size")
        return cls(topleft, size)

    def to_tuple2(self) -> tuple[Vec3Int, Vec3Int]:
        """Return ``(topleft, size)``."""
        return self._topleft, self._size

    @classmethod
    def from_tuple6(cls, tuple6: Sequence[int]) -> BoundingBox:
        """Read ``(x, y, z, width, height, depth)``."""
        numbers = _parts(tuple6, 6, "x, y, z, width, height and depth")
        return cls(numbers[:3], numbers[3:])

    def to_tuple6(self) -> tuple[int, int, int, int, int, int]:
        """Return ``(x, y, z, width, height, depth)``."""
        return *self._topleft.to_tuple(), *self._size.to_tuple()

    @classmethod
    def from_csv(cls, csv_bbox: str) -> BoundingBox:
        """Read ``"x,y,z,width,height,depth"``.

        Raises
        ------
        ValueError
            If a part is no integer.
        AssertionError
            If there are more or fewer than six.

        Examples
        --------
        >>> BoundingBox.from_csv("1, 2, 3, 4, 5, 6").to_csv()
        '1,2,3,4,5,6'
        """
        return cls.from_tuple6([int(number) for number in csv_bbox.split(",")])

    def to_csv(self) -> str:
        """Return ``"x,y,z,width,height,depth"``."""
        return ",".join(map(str, self.to_tuple6()))

    @classmethod
    def from_checkpoint_name(cls, checkpoint_name: str) -> BoundingBox:
        """Find ``x_y_z_width_height_depth`` in a file name.

        Raises
        ------
        AssertionError
            If the name holds no box.

        Examples
        --------
        >>> BoundingBox.from_checkpoint_name("chunk-1_2_3_4_5_6.npy").to_checkpoint_name()
        '1_2_3_4_5_6'
        """
        match = _CHECKPOINT_NAME.search(checkpoint_name)
        if match is None:
            raise AssertionError(f"No box in the name {checkpoint_name!r}. It should look like '0_0_0_64_64_64'.")
        return cls.from_tuple6([int(number) for number in match[0].split("_")])

    @classmethod
    def from_config_dict(cls, bbox: Mapping[str, Any]) -> BoundingBox:
        """Read a mapping with ``topleft`` and ``size``; a KeyError where one is missing."""
        return cls(bbox["topleft"], bbox["size"])

    def to_config_dict(self) -> dict[str, Any]:
        """Return ``topleft`` and ``size``, ready for JSON."""
        return {"topleft": self._topleft.to_list(), "size": self._size.to_list()}

    @classmethod
    def from_wkw_dict(cls, bbox: Mapping[str, Any]) -> BoundingBox:
        """Read the box of a properties file: ``topLeft``, ``width``, ``height`` and ``depth`` in voxels.

        Raises
        ------
        KeyError
            If a key is missing.
        """
        return cls(bbox["topLeft"], (bbox["width"], bbox["height"], bbox["depth"]))

    def to_wkw_dict(self) -> dict[str, Any]:
        """Return the box as a properties file holds it.

        Examples
        --------
        >>> BoundingBox((1, 2, 3), (4, 5, 6)).to_wkw_dict()
        {'topLeft': [1, 2, 3], 'width': 4, 'height': 5, 'depth': 6}
        """
        width, height, depth = self._size
        return {"topLeft": self._topleft.to_list(), "width": width, "height": height, "depth": depth}

    @classmethod
    def from_named_tuple(cls, bbox: Any) -> BoundingBox:
        """Read whatever has a ``topleft`` and a ``size``, like a named tuple."""
        return cls(bbox.topleft, bbox.size)

    @classmethod
    def from_auto(cls, obj: BoundingBoxLike) -> BoundingBox:
        """Read a box in any of its forms: a box, a mapping, two or six parts, JSON, CSV, or what ``str(box)`` prints.

        Raises
        ------
        ValueError
            If the object has none of these forms.
        KeyError
            If a mapping lacks a part of the box.

        Examples
        --------
        >>> BoundingBox.from_auto("1,2,3,4,5,6") == BoundingBox.from_auto([[1, 2, 3], [4, 5, 6]])
        True
        """
        if isinstance(obj, BoundingBox):
            return obj
        if isinstance(obj, str):
            if match := _REPR.fullmatch(obj):
                return cls.from_csv(",".join(match.groups()))
            return cls.from_auto(json.loads(obj)) if obj.lstrip()[:1] in ("{", "[") else cls.from_csv(obj)
        if isinstance(obj, Mapping):
            return cls.from_config_dict(obj) if "topleft" in obj else cls.from_wkw_dict(obj)
        if isinstance(obj, Sequence) and len(obj) in (2, 6):
            parts: Sequence[Any] = obj
            return cls.from_tuple2(parts) if len(parts) == 2 else cls.from_tuple6(parts)
        raise ValueError(
            f"Cannot read a box from {obj!r}. Give (topleft, size), six numbers, 'x,y,z,width,height,depth' or a "
            "mapping with topleft and size."
        )

    # What is simpler, or more precisely typed, with three axes

    @property
    def topleft(self) -> Vec3Int:
        """The first voxel of the box."""
        return self._topleft

    @property
    def size(self) -> Vec3Int:
        """The extents of the box in voxels."""
        return self._size

    @property
    def bottomright(self) -> Vec3Int:
        """The corner opposite to the top left, just past the last voxel."""
        return self._topleft + self._size

    @property
    def center(self) -> Vec3Int:
        """The voxel in the middle; of two in the middle, the one further from the top left."""
        return self._topleft + self._size // 2

    @property
    def index(self) -> Vec3Int:
        """The position of x, y and z in the stored array, which has the channels at 0."""
        return self._index

    @property
    def topleft_xyz(self) -> Vec3Int:
        """The first voxel of the box."""
        return self._topleft

    @property
    def size_xyz(self) -> Vec3Int:
        """The extents of the box in voxels."""
        return self._size

    def with_index(self, new_index: VecIntLike) -> Self:
        """Return the box with x, y and z at other positions of the stored array."""
        box = self._derived(self._topleft, self._size)
        box._index = Vec3Int(new_index)
        return box

    def with_bounds_x(self, new_topleft_x: int | None = None, new_size_x: int | None = None) -> Self:
        """Return a box that begins elsewhere, or has another extent, along x."""
        return self.with_bounds("x", new_topleft_x, new_size_x)

    def with_bounds_y(self, new_topleft_y: int | None = None, new_size_y: int | None = None) -> Self:
        """Return a box that begins elsewhere, or has another extent, along y."""
        return self.with_bounds("y", new_topleft_y, new_size_y)

    def with_bounds_z(self, new_topleft_z: int | None = None, new_size_z: int | None = None) -> Self:
        """Return a box that begins elsewhere, or has another extent, along z."""
        return self.with_bounds("z", new_topleft_z, new_size_z)

    def iter_chunk_toplefts(
        self,
        chunk_shape: Vec3IntLike,
        chunk_border_alignments: Vec3IntLike | None = None,
        clip_to: BoundingBox | None = None,
    ) -> Iterator[tuple[int, int, int]]:
        """Iterate over the first voxels of the chunks that `chunk` yields, before they are cut off at the box.

        Parameters
        ----------
        chunk_shape, chunk_border_alignments
            As for `chunk`.
        clip_to
            Leave out the chunks that have no voxel in this part of the box.

        Examples
        --------
        >>> box = BoundingBox((10, 0, 0), (64, 1, 1))
        >>> list(box.iter_chunk_toplefts((32, 32, 32), (32, 32, 32)))
        [(0, 0, 0), (32, 0, 0), (64, 0, 0)]
        """
        part = self if clip_to is None else self.intersected_with(clip_to, dont_assert=True)
        grid = self._chunk_grid(chunk_shape, chunk_border_alignments)
        return ((x, y, z) for x, y, z in grid.toplefts(part.topleft, part.bottomright))

    def __repr__(self) -> str:
        return f"BoundingBox(topleft={self._topleft.to_tuple()}, size={self._size.to_tuple()})"

    def _vector(self, values: VecIntLike) -> Vec3Int:
        return Vec3Int(values)

    def _along_axes(self, xyz: Vec3Int, elsewhere: int) -> Vec3Int:
        return xyz

    def _vector_or_xyz(self, values: VecIntLike, elsewhere: int) -> Vec3Int:
        return Vec3Int(values)

    def _with_xyz(self, vector: VecInt, new_xyz: Vec3IntLike) -> Vec3Int:
        return Vec3Int(new_xyz)


BoundingBoxLike: TypeAlias = BoundingBox | str | Mapping[str, Any] | Sequence[Any]
"""What `BoundingBox.from_auto` takes."""


def _parts(values: Sequence[Any], count: int, names: str) -> Sequence[Any]:
    if len(values) != count:
        raise AssertionError(f"A box needs {count} parts, {names}. Got {len(values)}: {values!r}.")
    return values
