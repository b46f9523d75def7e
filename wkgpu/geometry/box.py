"""What every box of voxels is: a corner, a size and named axes, and the same box with one part replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self, TypeAlias, TypeVar

from wkgpu.geometry.vec3_int import XYZ_AXES, Vec3Int, Vec3IntLike
from wkgpu.geometry.vec_int import VecInt, VecIntLike, named_vector

_Vector = TypeVar("_Vector", bound=VecInt)

Color: TypeAlias = tuple[float, float, float, float]

DEFAULT_NAME = "Unnamed Bounding Box"


class Box:
    """The state that `NDBoundingBox` and `BoundingBox` share, and the boxes that differ from one in one part.

    A box is immutable. Two boxes are equal if they cover the same voxels of the same axes: the name, the colour, the
    visibility and the index are labels, which every box that is derived from this one keeps.
    """

    # Read through properties, so that a box is immutable and yet set up by plain, cheap assignments.
    __slots__ = ("_axes", "_color", "_index", "_is_visible", "_name", "_size", "_topleft")

    _topleft: VecInt
    _size: VecInt
    _axes: tuple[str, ...]
    _index: VecInt
    _name: str | None
    _is_visible: bool
    _color: Color | None

    @property
    def topleft(self) -> VecInt:
        """The first voxel of the box."""
        return self._topleft

    @property
    def size(self) -> VecInt:
        """The extents of the box in voxels."""
        return self._size

    @property
    def bottomright(self) -> VecInt:
        """The corner opposite to the top left, just past the last voxel."""
        return self._topleft + self._size

    @property
    def center(self) -> VecInt:
        """The voxel in the middle; of two in the middle, the one further from the top left."""
        return self._topleft + self._size // 2

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes."""
        return self._axes

    @property
    def index(self) -> VecInt:
        """The position of each axis in the stored array."""
        return self._index

    @property
    def name(self) -> str | None:
        """A label for people."""
        return self._name

    @property
    def is_visible(self) -> bool:
        """Whether a viewer shows the box."""
        return self._is_visible

    @property
    def color(self) -> Color | None:
        """The colour in a viewer: red, green, blue and alpha from 0 to 1."""
        return self._color

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._axes)

    def __len__(self) -> int:
        return len(self._axes)

    @property
    def topleft_xyz(self) -> Vec3Int:
        """The first voxel along x, y and z; 0 along an axis that the box lacks."""
        return _xyz(self._topleft)

    @property
    def size_xyz(self) -> Vec3Int:
        """The extents along x, y and z in voxels; 0 along an axis that the box lacks."""
        return _xyz(self._size)

    @property
    def bottomright_xyz(self) -> Vec3Int:
        """The corner opposite to the top left along x, y and z; 0 along an axis that the box lacks."""
        return _xyz(self.bottomright)

    @property
    def index_xyz(self) -> Vec3Int:
        """The positions of x, y and z in the stored array; 0 for an axis that the box lacks."""
        return _xyz(self._index)

    def get_shape(self, axis_name: str) -> int:
        """Return the extent along one axis in voxels.

        Raises
        ------
        KeyError
            If the box lacks this axis.
        """
        return self._size.get(axis_name)

    def get_bounds(self, axis: str) -> tuple[int, int]:
        """Return where the box begins and where it ends along one axis.

        Raises
        ------
        KeyError
            If the box lacks this axis.
        """
        first = self._topleft.get(axis)
        return first, first + self._size.get(axis)

    # The same box with one part replaced

    def with_topleft(self, new_topleft: VecIntLike) -> Self:
        """Return a box of the same size elsewhere."""
        return self._derived(self._vector(new_topleft), self._size)

    def with_size(self, new_size: VecIntLike) -> Self:
        """Return a box of another size with the same top left."""
        return self._derived(self._topleft, self._vector(new_size))

    def with_bottomright(self, new_bottomright: VecIntLike) -> Self:
        """Return a box that ends elsewhere and has the same top left."""
        return self._derived(self._topleft, self._vector(new_bottomright) - self._topleft)

    def with_topleft_xyz(self, new_xyz: Vec3IntLike) -> Self:
        """Return a box of the same size that begins elsewhere along x, y and z."""
        return self._derived(self._with_xyz(self._topleft, new_xyz), self._size)

    def with_size_xyz(self, new_xyz: Vec3IntLike) -> Self:
        """Return a box with the same top left and another size along x, y and z."""
        return self._derived(self._topleft, self._with_xyz(self._size, new_xyz))

    def with_bottomright_xyz(self, new_xyz: Vec3IntLike) -> Self:
        """Return a box with the same top left that ends elsewhere along x, y and z."""
        return self.with_bottomright(self._with_xyz(self.bottomright, new_xyz))

    def with_bounds(self, axis: str, new_topleft: int | None = None, new_size: int | None = None) -> Self:
        """Return a box that begins elsewhere, or has another extent, along one axis.

        Raises
        ------
        KeyError
            If the box lacks this axis.
        """
        first = self._topleft.get(axis)
        extent = self._size.get(axis)
        return self._derived(
            self._topleft.with_replaced(axis, first if new_topleft is None else new_topleft),
            self._size.with_replaced(axis, extent if new_size is None else new_size),
        )

    def with_index(self, new_index: VecIntLike) -> Self:
        """Return the box with its axes at other positions of the stored array."""
        raise NotImplementedError

    def with_index_xyz(self, new_xyz: Vec3IntLike) -> Self:
        """Return the box with x, y and z at other positions of the stored array."""
        return self.with_index(self._with_xyz(self._index, new_xyz))

    def with_name(self, name: str | None) -> Self:
        """Return the box under another name."""
        box = self._derived(self._topleft, self._size)
        box._name = name
        return box

    def with_is_visible(self, is_visible: bool) -> Self:
        """Return the box shown or hidden in a viewer."""
        box = self._derived(self._topleft, self._size)
        box._is_visible = is_visible
        return box

    def with_color(self, color: Color | None) -> Self:
        """Return the box in another colour: red, green, blue and alpha from 0 to 1."""
        box = self._derived(self._topleft, self._size)
        box._color = color
        return box

    # Plain forms of a box

    def to_config_dict(self) -> dict[str, Any]:
        """Return the corner, the size and the axes, ready for JSON."""
        return {"topleft": self._topleft.to_list(), "size": self._size.to_list(), "axes": self._axes}

    def to_checkpoint_name(self) -> str:
        """Return the numbers of the box in a form that fits into a file name.

        Examples
        --------
        >>> from wkgpu.geometry import BoundingBox
        >>> BoundingBox((0, 10, 20), (3, 64, 64)).to_checkpoint_name()
        '0_10_20_3_64_64'
        """
        return "_".join(map(str, (*self._topleft, *self._size)))

    def to_slices(self) -> tuple[slice, ...]:
        """Return the slices that cut the box out of an array which begins at voxel 0.

        Examples
        --------
        >>> from wkgpu.geometry import BoundingBox
        >>> BoundingBox((0, 10, 20), (3, 64, 64)).to_slices()
        (slice(0, 3, None), slice(10, 74, None), slice(20, 84, None))
        """
        return tuple(map(slice, self._topleft, self.bottomright))

    def to_slices_xyz(self) -> tuple[slice, ...]:
        """Return the slices of x, y and z, and ``0:1`` for every other axis.

        Raises
        ------
        AssertionError
            If the box is longer than 1 along another axis than x, y and z.
        """
        for axis in self._axes:
            if axis not in XYZ_AXES and self._size[axis] != 1:
                raise AssertionError(
                    f"{self} must have extent 1 along {axis!r}. Use with_bounds() to choose one voxel."
                )
        slices = zip(self._axes, self.to_slices(), strict=True)
        return tuple(part if axis in XYZ_AXES else slice(0, 1) for axis, part in slices)

    def slice_array(self, array: Any) -> Any:
        """Cut the box out of an array which begins at voxel 0 and has the axes of the box."""
        return array[self.to_slices()]

    # Equality

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Box):
            return NotImplemented
        return self._topleft == other._topleft and self._size == other._size and self._axes == other._axes

    def __hash__(self) -> int:
        return hash((self._topleft, self._size))

    # How boxes and their vectors are made

    def _derived(self, topleft: VecInt, size: VecInt) -> Self:
        """Make a box of this class with these axes and labels, from vectors along these axes."""
        if min(size, default=0) < 0:
            topleft, size = ordered(topleft, size)
        box = object.__new__(type(self))
        box._topleft = topleft
        box._size = size
        box._axes = self._axes
        box._index = self._index
        box._name = self._name
        box._is_visible = self._is_visible
        box._color = self._color
        return box

    def _vector(self, values: VecIntLike) -> VecInt:
        """Make a vector along the axes of this box."""
        return VecInt(values, axes=self._axes)

    def _along_axes(self, xyz: Vec3Int, elsewhere: int) -> VecInt:
        """Give x, y and z their values by name, and every other axis the same one."""
        return named_vector((xyz.get(axis, elsewhere) for axis in self._axes), self._axes)

    def _vector_or_xyz(self, values: VecIntLike, elsewhere: int) -> VecInt:
        """Make a vector of one value per axis, or of three values for x, y and z."""
        if isinstance(values, VecInt) and values.axes == self._axes:
            return values
        if isinstance(values, Iterable) and len(values := tuple(values)) == 3:
            return self._along_axes(Vec3Int(values), elsewhere)
        return self._vector(values)

    def _with_xyz(self, vector: VecInt, new_xyz: Vec3IntLike) -> VecInt:
        """Replace the x, y and z of a vector, as far as it has them."""
        for axis, component in zip(XYZ_AXES, Vec3Int(new_xyz), strict=True):
            if axis in vector.axes:
                vector = vector.with_replaced(axis, component)
        return vector


def _xyz(vector: VecInt) -> Vec3Int:
    return Vec3Int(vector.get("x", 0), vector.get("y", 0), vector.get("z", 0))


def ordered(topleft: _Vector, size: _Vector) -> tuple[_Vector, _Vector]:
    """Let the box begin at its lower corner: a negative extent counts back from the given one."""
    return topleft + size.pairmin(0), size.pairmax(-size)
