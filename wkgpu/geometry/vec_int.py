"""Integer vectors whose components are named by axes."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, overload

from wkgpu.geometry.vector_text import parsed_vector
from wkgpu.geometry.whole_numbers import integers

if TYPE_CHECKING:
    import numpy as np

    from wkgpu.geometry.vec3_int import Vec3Int


class VecInt(tuple[int, ...]):
    """An immutable vector of integers with a name for each axis.

    It is a tuple (it indexes, iterates, compares, hashes and unpacks like one), but ``+``, ``-``, ``*``, ``//`` and
    ``%`` work component by component, with a number or with a vector of the same length.

    Parameters
    ----------
    *args
        One integer per axis, or one iterable of them, which the names of the axes may follow.
    axes
        One name per axis.
    **components
        The other way to say it: one integer per axis, by its name.

    Raises
    ------
    AssertionError
        If the axes are missing, repeated, or not as many as the components.
    NumberError, ArgumentError
        If a component is not a whole number; the former is a ValueError, the latter a TypeError.

    Examples
    --------
    >>> VecInt(t=5, x=1, y=2, z=3)
    VecInt(5,1,2,3, axes=('t', 'x', 'y', 'z'))
    >>> VecInt((1, 2), ("t", "x")) * 2 + (0, 1)
    VecInt(2,5, axes=('t', 'x'))
    """

    axes: tuple[str, ...]
    _in_space: ClassVar[type[Vec3Int]]  # which is built on this class, and sets it

    def __new__(cls, *args: Any, axes: Iterable[str] | None = None, **components: int) -> VecInt:
        """Read the components in any of their forms."""
        if components:
            if args or axes is not None:
                raise AssertionError(
                    f"Name the components {components} or give {args} with axes={axes!r}, but not both at once."
                )
            args, axes = (components.values(),), components
        values: Iterable[Any] = args
        if args and isinstance(args[0], Iterable) and not isinstance(args[0], str):
            values = args[0]
            if len(args) == 2 and axes is None:
                axes = args[1]
        if axes is None:
            axes = getattr(values, "axes", None)
            if axes is None:
                raise AssertionError(
                    f"The components {args} have no axes. Name them, as in VecInt(1, 2, axes=('t', 'x')) or "
                    "VecInt(t=1, x=2)."
                )
        names = tuple(axes)
        if isinstance(values, VecInt) and values.axes == names:
            return values
        numbers = integers(values)
        if len(numbers) != len(names) or len(set(names)) != len(names):
            raise AssertionError(f"Each component needs one axis of its own, got {numbers} for the axes {names}.")
        return named_vector(numbers, names)

    @staticmethod
    def from_str(string: str) -> VecInt:
        """Parse what ``str(vector)`` prints, or ``"t=5, x=1"``.

        Raises
        ------
        ValueError
            If the string is neither.

        Examples
        --------
        >>> VecInt.from_str("t=5, x=1")
        VecInt(5,1, axes=('t', 'x'))
        """
        numbers, axes = parsed_vector(string)
        return VecInt(numbers, axes=axes)

    @classmethod
    def full(cls, an_int: int, axes: tuple[str, ...]) -> VecInt:
        """Make a vector with the same number on all axes.

        Examples
        --------
        >>> VecInt.full(7, axes=("t", "x"))
        VecInt(7,7, axes=('t', 'x'))
        """
        return VecInt(repeat(an_int, len(axes)), axes=axes)

    @classmethod
    def zeros(cls, axes: tuple[str, ...]) -> VecInt:
        """Make a vector of zeros."""
        return cls.full(0, axes)

    @classmethod
    def ones(cls, axes: tuple[str, ...]) -> VecInt:
        """Make a vector of ones."""
        return cls.full(1, axes)

    # Components by name

    @property
    def x(self) -> int:
        """The component of axis ``"x"``; a KeyError where there is none."""
        return self.get("x")

    @property
    def y(self) -> int:
        """The component of axis ``"y"``; a KeyError where there is none."""
        return self.get("y")

    @property
    def z(self) -> int:
        """The component of axis ``"z"``; a KeyError where there is none."""
        return self.get("z")

    @property
    def c(self) -> int:
        """The component of axis ``"c"`` (channels); a KeyError where there is none."""
        return self.get("c")

    @property
    def xyz(self) -> Vec3Int:
        """The x, y and z components, in this order; a KeyError where one is missing."""
        return self._in_space(self.x, self.y, self.z)

    def get(self, axis: str, default: int | None = None) -> int:
        """Return the component of one axis, or the default where the vector lacks this axis.

        Raises
        ------
        KeyError
            If the axis is missing and there is no default.
        """
        if axis in self.axes:
            return tuple.__getitem__(self, self.axes.index(axis))
        if default is None:
            raise KeyError(f"{self!r} has no axis {axis!r}, only {self.axes}. Use get(axis, default) to allow that.")
        return default

    @overload  # type: ignore[override]  # a tuple knows no names
    def __getitem__(self, index: str) -> int: ...
    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[int, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.get(index) if type(index) is str else tuple.__getitem__(self, index)

    # Vectors that differ in one part

    def with_replaced(self, axis: str | int, new_element: int) -> Self:
        """Return the vector with another component on one axis, given by its name or its position.

        Raises
        ------
        ValueError
            If no axis has this name.
        AssertionError
            If the position is out of range.

        Examples
        --------
        >>> VecInt(t=5, x=1).with_replaced("x", 9)
        VecInt(5,9, axes=('t', 'x'))
        """
        if isinstance(axis, str):
            if axis not in self.axes:
                raise ValueError(f"{self!r} has no axis {axis!r} to replace, only {self.axes}.")
            axis = self.axes.index(axis)
        if not -len(self) <= axis < len(self):
            raise AssertionError(f"Position {axis} is out of range: {self!r} has {len(self)} components.")
        components = list(self)
        components[axis] = new_element
        return self._like(integers(components))

    def with_x(self, new_x: int) -> Self:
        """Return the vector with another x component."""
        return self._with_named("x", new_x)

    def with_y(self, new_y: int) -> Self:
        """Return the vector with another y component."""
        return self._with_named("y", new_y)

    def with_z(self, new_z: int) -> Self:
        """Return the vector with another z component."""
        return self._with_named("z", new_z)

    def with_c(self, new_c: int) -> Self:
        """Return the vector with another channel component."""
        return self._with_named("c", new_c)

    def with_xyz(self, new_xyz: VecIntLike) -> Self:
        """Return the vector with other x, y and z components, given in this order."""
        x, y, z = new_xyz
        return self.with_x(x).with_y(y).with_z(z)

    def _with_named(self, axis: str, component: int) -> Self:
        self.get(axis)  # a missing axis is a KeyError here, as it is when read
        return self.with_replaced(axis, component)

    def moveaxis(self, source: int | list[int], target: int | list[int]) -> VecInt:
        """Move axes to other positions, each with its name and its component, as `numpy.moveaxis` does.

        Raises
        ------
        ValueError
            If the two lists differ in length or name a position twice.
        IndexError
            If a position is out of range.

        Examples
        --------
        >>> VecInt(t=5, x=1, y=2).moveaxis(0, 2)
        VecInt(1,2,5, axes=('x', 'y', 't'))
        """
        sources = [source] if isinstance(source, int) else source
        targets = [target] if isinstance(target, int) else target
        positions = range(len(self))
        moves = {positions[t]: positions[s] for s, t in zip(sources, targets, strict=True)}
        if not len(moves) == len(set(moves.values())) == len(sources):
            raise ValueError(f"Cannot move the axes {sources} to {targets}: a position is repeated.")
        staying = iter(sorted(set(positions) - set(moves.values())))
        order = [moves[position] if position in moves else next(staying) for position in positions]
        return named_vector((self[position] for position in order), tuple(self.axes[position] for position in order))

    # Arithmetic. A tuple has + and * as well, for joining and repeating, hence the ignored overrides; the reflected
    # operators must exist because a tuple's own would answer ``2 * vector`` with a repetition.

    def __add__(self, other: int | VecIntLike) -> Self:  # type: ignore[override]
        return self._like(map(operator.add, self, self._operand(other)))

    def __radd__(self, other: int | VecIntLike) -> Self:
        return self._like(map(operator.add, self, self._operand(other)))

    def __sub__(self, other: int | VecIntLike) -> Self:
        return self._like(map(operator.sub, self, self._operand(other)))

    def __rsub__(self, other: int | VecIntLike) -> Self:
        return self._like(map(operator.sub, self._operand(other), self))

    def __mul__(self, other: int | VecIntLike) -> Self:  # type: ignore[override]
        return self._like(map(operator.mul, self, self._operand(other)))

    def __rmul__(self, other: int | VecIntLike) -> Self:  # type: ignore[override]
        return self._like(map(operator.mul, self, self._operand(other)))

    def __floordiv__(self, other: int | VecIntLike) -> Self:
        return self._like(map(operator.floordiv, self, self._operand(other)))

    def __mod__(self, other: int | VecIntLike) -> Self:
        return self._like(map(operator.mod, self, self._operand(other)))

    def __neg__(self) -> Self:
        return self._like(map(operator.neg, self))

    def ceildiv(self, other: int | VecIntLike) -> Self:
        """Divide and round up, component by component.

        Examples
        --------
        >>> VecInt(t=5, x=4).ceildiv(4)
        VecInt(2,1, axes=('t', 'x'))
        """
        return -(-self // other)

    def pairmax(self, other: int | VecIntLike) -> Self:
        """Take the larger of both components on each axis."""
        return self._like(map(max, self, self._operand(other)))

    def pairmin(self, other: int | VecIntLike) -> Self:
        """Take the smaller of both components on each axis."""
        return self._like(map(min, self, self._operand(other)))

    def add_or_none(self, other: VecIntLike | None) -> Self | None:
        """Add, or answer None where there is nothing to add."""
        return None if other is None else self + other

    def _operand(self, other: int | VecIntLike) -> Iterable[int]:
        """Return one integer per axis of the other side of an operator; a single number serves all axes."""
        if isinstance(other, VecInt):
            if len(other) != len(self):
                raise ValueError(f"{other!r} and {self!r} differ in their number of axes. Use vectors of one length.")
            return other
        if isinstance(other, int):
            return repeat(other)
        return self._foreign_operand(other)

    def _foreign_operand(self, other: Any) -> Iterable[int]:
        try:
            return repeat(operator.index(other))  # a NumPy integer
        except TypeError:
            pass
        if isinstance(other, (float, str)):
            raise AssertionError(  # noqa: TRY004  # what callers of the WEBKNOSSOS library catch here
                f"Cannot combine {self!r} with {other!r}. Use an integer, or one per axis."
            )
        numbers = integers(other)
        if len(numbers) != len(self):
            raise AssertionError(f"Cannot combine {self!r} with {other!r}: it needs {len(self)} numbers, or just one.")
        return numbers

    # Questions and conversions

    def contains(self, needle: int) -> bool:
        """Tell whether a component equals this number."""
        return needle in self

    def is_positive(self, strictly_positive: bool = False) -> bool:
        """Tell whether all components are at least 0, or, if strictly positive, at least 1."""
        return min(self, default=1) >= (1 if strictly_positive else 0)

    def is_uniform(self) -> bool:
        """Tell whether all components are equal."""
        return len(set(self)) <= 1

    def prod(self, axis: Any = None, dtype: Any = None, out: Any = None, **others: Any) -> int:
        """Multiply all components; 1 if there are none.

        Parameters
        ----------
        axis, dtype, out, **others
            Those of `numpy.prod`, which calls this method. Without them the result is an integer of Python.
        """
        if others or (axis, dtype, out) != (None, None, None):
            of_numpy: int = self.to_np().prod(axis, dtype, out, **others)
            return of_numpy
        product = 1
        for component in self:
            product *= component
        return product

    def to_tuple(self) -> tuple[int, ...]:
        """Return a plain tuple."""
        return tuple(self)

    def to_list(self) -> list[int]:
        """Return a list, as JSON wants it."""
        return list(self)

    def to_np(self) -> np.ndarray[Any, Any]:
        """Return a one-dimensional NumPy array of integers."""
        import numpy as np  # geometry works without NumPy until an array is wanted

        return np.array(tuple(self))

    def __repr__(self) -> str:
        return f"VecInt({','.join(map(str, self))}, axes={self.axes})"

    # How vectors are made, kept and pickled

    def _like(self, components: Iterable[int]) -> Self:
        """Make a vector of this class and with these axes from numbers that are known to be integers."""
        vector = tuple.__new__(type(self), components)
        vector.__dict__["axes"] = self.axes
        return vector

    def __reduce__(self) -> tuple[Any, ...]:
        return VecInt, (tuple(self), self.axes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Cannot set {name!r}: vectors are immutable. Use a method like with_replaced().")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Cannot delete {name!r}: vectors are immutable.")


VecIntLike: TypeAlias = VecInt | tuple[int, ...] | Iterable[int]
"""What a vector can be made of."""


def named_vector(components: Iterable[int], axes: tuple[str, ...]) -> VecInt:
    """Make a vector from numbers that are known to be integers, one for each axis."""
    vector = tuple.__new__(VecInt, components)
    vector.__dict__["axes"] = axes
    return vector
