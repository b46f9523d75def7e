"""Magnifications: how many voxels of the finest grid one voxel spans."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from wkgpu.errors import MagError
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike

if TYPE_CHECKING:
    import numpy as np

_ONE_NUMBER = re.compile(r"\d+")
_THREE_NUMBERS = re.compile(r"(\d+)-(\d+)-(\d+)")


class Mag:
    """A magnification: the size of a voxel in voxels of ``Mag(1)``, the layer's finest grid.

    Each of its three factors is a power of two. ``Mag(1)`` is the finest; the larger the factors, the coarser.
    Mags are immutable, sort by their largest factor, and equal whatever would make the same mag:
    ``Mag(4) == 4 == (4, 4, 4)``.

    Parameters
    ----------
    mag
        One factor for all axes, three factors, or the name of a mag: ``4``, ``(2, 2, 1)``, ``"4"``, ``"2-2-1"``.

    Raises
    ------
    MagError
        If there are not one or three factors, if one is no power of two or below 1, or if a string is no name of a
        mag. It is a ValueError, an AssertionError and a TypeError.

    Examples
    --------
    >>> Mag(4), Mag("2-2-1"), Mag([2, 2, 1]) * 2
    (Mag(4), Mag(2-2-1), Mag(4-4-2))
    """

    __slots__ = ("_factors",)

    _factors: Vec3Int

    def __new__(cls, mag: MagLike) -> Mag:
        """Read the factors in any of their forms."""
        if type(mag) is Mag:
            return mag
        try:
            factors = Vec3Int(mag, mag, mag) if type(mag) is int else _read_factors(mag)
        except MagError:
            raise
        except (AssertionError, TypeError, ValueError, OverflowError) as error:
            raise MagError(f"Cannot read a mag from {mag!r:.100}: {error}") from error
        for factor in factors:
            if factor & (factor - 1) or factor < 1:
                raise _bad_factor(factor, mag)
        made = object.__new__(cls)
        made._factors = factors
        return made

    @property
    def x(self) -> int:
        """The factor along x."""
        return self._factors.x

    @property
    def y(self) -> int:
        """The factor along y."""
        return self._factors.y

    @property
    def z(self) -> int:
        """The factor along z."""
        return self._factors.z

    @property
    def max_dim(self) -> int:
        """The largest of the three factors."""
        return max(self._factors)

    @property
    def max_dim_log2(self) -> int:
        """The binary logarithm of the largest factor.

        Examples
        --------
        >>> Mag("8-8-2").max_dim_log2
        3
        """
        return self.max_dim.bit_length() - 1

    @property
    def is_isotropic(self) -> bool:
        """Whether the three factors are equal."""
        return self._factors.is_uniform()

    def to_layer_name(self) -> str:
        """Return the name of the folder that holds this mag: one number if it says it all, else three.

        Examples
        --------
        >>> Mag(4).to_layer_name(), Mag((4, 4, 2)).to_layer_name()
        ('4', '4-4-2')
        """
        return str(self._factors.x) if self.is_isotropic else self.to_long_layer_name()

    def to_long_layer_name(self) -> str:
        """Return the name that always has three numbers.

        Examples
        --------
        >>> Mag(4).to_long_layer_name()
        '4-4-4'
        """
        return "-".join(map(str, self._factors))

    def to_list(self) -> list[int]:
        """Return the three factors as a list, as JSON wants them."""
        return list(self._factors)

    def to_tuple(self) -> tuple[int, int, int]:
        """Return the three factors as a plain tuple."""
        return self._factors.to_tuple()

    def to_vec3_int(self) -> Vec3Int:
        """Return the three factors as a vector."""
        return self._factors

    def to_np(self) -> np.ndarray[Any, Any]:
        """Return the three factors as a NumPy array."""
        return self._factors.to_np()

    def __mul__(self, factor: int | Mag | Vec3IntLike) -> Mag:
        return Mag(self._factors * factor)

    def __floordiv__(self, divisor: int | Mag | Vec3IntLike) -> Mag:
        return Mag(self._factors // divisor)

    def __iter__(self) -> Iterator[int]:
        return iter(self._factors)

    def __eq__(self, other: object) -> bool:
        if type(other) is Mag:
            return self._factors == other._factors
        try:
            return self._factors == Mag(other)._factors  # type: ignore[arg-type]  # whether it is a mag is the question
        except MagError:
            return False

    def __hash__(self) -> int:
        return hash(self._factors)

    # Only the largest factor decides: two mags that share it, like 4-4-1 and 4-4-2, are neither less nor greater.

    def __lt__(self, other: MagLike) -> bool:
        return self.max_dim < Mag(other).max_dim

    def __le__(self, other: MagLike) -> bool:
        return self.max_dim <= Mag(other).max_dim

    def __gt__(self, other: MagLike) -> bool:
        return self.max_dim > Mag(other).max_dim

    def __ge__(self, other: MagLike) -> bool:
        return self.max_dim >= Mag(other).max_dim

    def __str__(self) -> str:
        return self.to_layer_name()

    def __repr__(self) -> str:
        return f"Mag({self.to_layer_name()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Mag, (self.to_tuple(),)


MagLike: TypeAlias = Mag | int | str | Vec3IntLike
"""What a mag can be made of."""


def _read_factors(mag: Any) -> Vec3Int:
    """Read the factors of a mag in any of its forms but a plain integer."""
    if isinstance(mag, str):
        if _ONE_NUMBER.fullmatch(mag):
            return Vec3Int.full(int(mag))
        if match := _THREE_NUMBERS.fullmatch(mag):
            return Vec3Int(*map(int, match.groups()))
        raise _not_a_mag(mag)
    try:
        return Vec3Int.full(operator.index(mag))  # a NumPy integer
    except TypeError:
        pass
    if hasattr(mag, "__iter__"):
        return Vec3Int(mag)
    raise _not_a_mag(mag)


def _not_a_mag(mag: object) -> MagError:
    return MagError(
        f"Cannot read a mag from {mag!r:.100}. Give one integer, three integers, or a name like '4' or '2-2-1'."
    )


def _bad_factor(factor: int, mag: object) -> MagError:
    if factor < 1:
        return MagError(f"The factors of a mag are at least 1, got {factor} in {mag!r}. Mag(1) is the finest.")
    return MagError(f"The factors of a mag are powers of two, got {factor} in {mag!r}.")
