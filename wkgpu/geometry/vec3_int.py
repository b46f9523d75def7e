"""Integer vectors in x, y, z: positions, sizes and offsets of voxels."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import Any, Self, TypeAlias

from wkgpu.geometry.vec_int import VecInt
from wkgpu.geometry.whole_numbers import integers

XYZ_AXES = ("x", "y", "z")

_INTEGER = r"\s*([-+]?\d+)\s*"
_THREE_INTEGERS = re.compile(rf"\s*(?:Vec3Int)?\s*[(\[]?{_INTEGER},{_INTEGER},{_INTEGER}[)\]]?\s*")

_new_tuple = tuple.__new__


class Vec3Int(VecInt):
    """An immutable vector of three integers, x, y and z.

    Parameters
    ----------
    *args
        Three integers, or one iterable of three: a tuple, a list, a NumPy array, a string like ``"1,2,3"``.
        Floats must be whole. The order of the axes may follow the iterable.
    axes
        The order in which the components are given, if not x, y, z.
    **components
        The other way to say it: ``x=1, y=2, z=3``.

    Raises
    ------
    AssertionError
        If there are not exactly three components.
    NumberError, ArgumentError
        If a component is not a whole number; the former is a ValueError, the latter a TypeError.

    Examples
    --------
    >>> position = Vec3Int(1, 2, 3)
    >>> position + (10, 10, 10), position * 2, position.z
    (Vec3Int(11,12,13), Vec3Int(2,4,6), 3)
    >>> position == (1, 2, 3)
    True
    """

    __slots__ = ()

    axes = XYZ_AXES

    def __new__(cls, *args: Any, axes: Iterable[str] = XYZ_AXES, **components: int) -> Vec3Int:
        """Read the components in any of their forms."""
        # Vectors are made on the path of every patch, so what is most common comes first and pays for nothing else.
        if len(args) == 1:
            (values,) = args
            if type(values) is Vec3Int and axes is XYZ_AXES:
                return values
        else:
            values = args
        if type(values) is tuple and len(values) == 3 and axes is XYZ_AXES and not components:
            x, y, z = values
            if type(x) is int and type(y) is int and type(z) is int:
                return _new_tuple(cls, values)
        return _new_tuple(cls, _three_integers(args, axes, components))

    @staticmethod
    def from_xyz(x: int, y: int, z: int) -> Vec3Int:
        """Make a vector of three numbers."""
        return Vec3Int(x, y, z)

    @staticmethod
    def from_vec3_float(vec: tuple[float, float, float]) -> Vec3Int:
        """Make a vector of three numbers whose fractions are cut off.

        Examples
        --------
        >>> Vec3Int.from_vec3_float((1.9, -1.9, 0.0))
        Vec3Int(1,-1,0)
        """
        try:
            return Vec3Int([int(number) for number in vec])
        except (TypeError, ValueError, OverflowError):
            return Vec3Int(vec)  # which says what is wrong

    @staticmethod
    def from_vec_or_int(vec_or_int: Vec3IntLike | int) -> Vec3Int:
        """Make a vector of one number, which serves all axes, or of three.

        Examples
        --------
        >>> Vec3Int.from_vec_or_int(32), Vec3Int.from_vec_or_int((32, 32, 1))
        (Vec3Int(32,32,32), Vec3Int(32,32,1))
        """
        try:
            number = operator.index(vec_or_int)  # type: ignore[arg-type]  # asked of anything, to find the numbers
        except TypeError:
            return Vec3Int(vec_or_int)
        return Vec3Int(number, number, number)

    @staticmethod
    def from_str(string: str) -> Vec3Int:
        """Parse three numbers between commas, with brackets or without, or what ``str(vector)`` prints.

        Raises
        ------
        ValueError
            If the string is anything else.

        Examples
        --------
        >>> Vec3Int.from_str("1, 2, 3") == Vec3Int.from_str("Vec3Int(1,2,3)")
        True
        """
        match = _THREE_INTEGERS.fullmatch(string)
        if match is None:
            raise ValueError(f"Cannot read three integers from {string!r}. Write them as '1,2,3'.")
        return Vec3Int(*map(int, match.groups()))

    def to_uri_str(self) -> str:
        """Print the numbers alone, as an address or a file name may hold them.

        Examples
        --------
        >>> Vec3Int(1, 2, 3).to_uri_str()
        '1,2,3'
        """
        x, y, z = self
        return f"{x},{y},{z}"

    @classmethod
    def full(cls, an_int: int, axes: tuple[str, ...] = XYZ_AXES) -> Vec3Int:
        """Make a vector with the same number on all axes."""
        return Vec3Int(an_int, an_int, an_int, axes=axes)

    @classmethod
    def zeros(cls, axes: tuple[str, ...] = XYZ_AXES) -> Vec3Int:
        """Make the vector (0, 0, 0)."""
        return cls.full(0, axes)

    @classmethod
    def ones(cls, axes: tuple[str, ...] = XYZ_AXES) -> Vec3Int:
        """Make the vector (1, 1, 1)."""
        return cls.full(1, axes)

    # The three components are at hand here, so the searches by name are overruled.

    @property
    def x(self) -> int:
        """The first component."""
        x, _, _ = self
        return x

    @property
    def y(self) -> int:
        """The second component."""
        _, y, _ = self
        return y

    @property
    def z(self) -> int:
        """The third component."""
        _, _, z = self
        return z

    @property
    def xyz(self) -> Vec3Int:
        """The vector itself."""
        return self

    def to_tuple(self) -> tuple[int, int, int]:
        """Return a plain tuple."""
        x, y, z = self
        return x, y, z

    def __repr__(self) -> str:
        return f"Vec3Int({self.to_uri_str()})"

    def _like(self, components: Iterable[int]) -> Self:
        return _new_tuple(type(self), components)

    def __reduce__(self) -> tuple[Any, ...]:
        return Vec3Int, self.to_tuple()


Vec3IntLike: TypeAlias = Vec3Int | tuple[int, int, int] | Iterable[int]
"""What a vector of three integers can be made of."""


def _three_integers(args: tuple[Any, ...], axes: Iterable[str], components: dict[str, int]) -> tuple[int, ...]:
    """Read the arguments of a vector in any of their forms, for those that are not simply three integers."""
    if components and not args and sorted(components) == ["x", "y", "z"]:
        return integers([components[axis] for axis in XYZ_AXES])
    values: Any = args[0] if len(args) == 1 else args
    if len(args) == 2 and axes is XYZ_AXES and not hasattr(args[0], "__index__"):
        values, axes = args
    if isinstance(values, str):
        return Vec3Int.from_str(values)
    names = tuple(axes)
    if components or not isinstance(values, Iterable) or sorted(names) != ["x", "y", "z"]:
        raise _not_three(args, axes, components)
    numbers = integers(values)
    if len(numbers) != 3:
        raise _not_three(args, axes, components)
    return numbers if names == XYZ_AXES else tuple(numbers[names.index(axis)] for axis in XYZ_AXES)


VecInt._in_space = Vec3Int


def _not_three(args: tuple[Any, ...], axes: Iterable[str], components: dict[str, int]) -> AssertionError:
    given = ", ".join([*map(repr, args), *(f"{axis}={value!r}" for axis, value in components.items())])
    order = "" if axes is XYZ_AXES else f" with the axes {axes!r}"
    return AssertionError(
        f"Three integers are needed for x, y and z, as in Vec3Int(1, 2, 3) or Vec3Int((1, 2, 3)). Got ({given}){order}."
    )
