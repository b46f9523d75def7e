"""Whole numbers, of which vectors are made, in whatever form a caller gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from wkgpu.errors import ArgumentError, NumberError


def integers(values: Iterable[Any]) -> tuple[int, ...]:
    """Return whole numbers as integers.

    Raises
    ------
    NumberError, ArgumentError
        For fractions, NaN and infinity, and for what is no number.

    Examples
    --------
    >>> integers((1, 2.0))
    (1, 2)
    """
    if isinstance(values, Iterator):
        values = tuple(values)
    try:
        numbers = tuple(map(int, values))
        fractions = [value for value, number in zip(values, numbers, strict=True) if not _is_same(value, number)]
    except (ValueError, OverflowError):
        raise NumberError(f"A vector is made of integers, got {values!r}.") from None
    except TypeError:
        raise ArgumentError(f"A vector is made of integers, got {values!r}.") from None
    if fractions:
        raise NumberError(
            f"A vector is made of whole numbers, got {values!r}: {fractions[0]!r} is none. Round it, or cut it off by "
            "Vec3Int.from_vec3_float()."
        )
    return numbers


def _is_same(value: Any, number: int) -> bool:
    return isinstance(value, str) or bool(value == number)
