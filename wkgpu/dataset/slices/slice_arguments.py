"""Arguments of the methods that read and write slices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from operator import index
from typing import Any, ParamSpec, TypeVar

from wkgpu.errors import ArgumentError, RegionError
from wkgpu.geometry.vec3_int import XYZ_AXES

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_BUFFER_SIZE = 32


def accepts_earlier_order(
    *earlier: str,
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Let a method that begins with two numbers take the positional arguments of earlier generations.

    Those began with an offset, and there were more of them.
    """

    def decorate(method: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        @functools.wraps(method)
        def accepting(*args: Any, **keywords: Any) -> _Result:
            view, *values = args
            if len(values) <= 2 and not any(
                isinstance(value, Iterable) and not isinstance(value, str) for value in values
            ):
                return method(*args, **keywords)
            names = earlier[: len(values)]
            if len(names) < len(values) or not keywords.keys().isdisjoint(names):
                raise ArgumentError(
                    f"{method.__qualname__}() got an argument twice or one too many; pass them by name."
                )
            named = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            return method(view, **named, **keywords)

        return accepting

    return decorate


def checked_buffer_size(buffer_size: int | None) -> int:
    """Return how many slices to hold.

    Raises
    ------
    ArgumentError
        If it is not a positive integer.
    """
    try:
        size = _BUFFER_SIZE if buffer_size is None else index(buffer_size)
    except TypeError:
        size = 0
    if size < 1:
        raise ArgumentError(f"buffer_size is {buffer_size!r}; give the number of slices to hold, at least 1.")
    return size


def checked_axis(dimension: int | str) -> int:
    """Return the axis across the slices: 0, 1 or 2.

    Raises
    ------
    RegionError
        For another dimension.
    """
    if isinstance(dimension, str) and dimension in XYZ_AXES:
        return XYZ_AXES.index(dimension)
    try:
        axis = index(dimension)  # type: ignore[arg-type]  # a string has none, and then raises
    except TypeError:
        axis = -1
    if axis not in (0, 1, 2):
        raise RegionError(f'dimension is {dimension!r}; give 0, 1, 2 or "x", "y", "z": the axis across the slices.')
    return axis
