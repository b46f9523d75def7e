"""Maps that come with wkgpu, for `View.map_voxels`: as `wkgpu.maps`, they are compiled once for all processes.

Each can also be called with NumPy arrays or numbers. Results are equal on every machine, bit for bit.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wkgpu.engines.kernel import NamedKernel
from wkgpu.engines.kernel import add as add
from wkgpu.engines.kernel import multiply as multiply
from wkgpu.errors import ArgumentError, DtypeError
from wkgpu.operations.voxel_map import PreparedMap, VoxelMap

Dtype: TypeAlias = np.dtype[np.generic]
Real: TypeAlias = int | float

_MAX_EXACT = 1 << 53  # integers up to here are exact in float64

# ---- What a caller makes


def threshold(at: Real, below: Real = 0, above: Real = 1) -> VoxelMap:
    """Return a map to ``above`` for voxels from ``at`` on, and to ``below`` for others and for NaN.

    Examples
    --------
    >>> threshold(128)(np.array([0, 127, 128, 255]))
    array([0, 0, 1, 1])
    >>> view.map_voxels(threshold(128), target)  # doctest: +SKIP
    """
    if math.isnan(at):
        raise ArgumentError("threshold() at NaN; give a number.")
    return Threshold(at, below, above)


def clip(low: Real, high: Real) -> VoxelMap:
    """Return a map to the nearest value from ``low`` to ``high``; NaN stays.

    Examples
    --------
    >>> clip(10, 20)(np.array([0, 15, 30]))
    array([10, 15, 20])
    """
    if not low <= high:
        raise ArgumentError(f"clip() from {low} to {high}; give a lower and a higher number.")
    return Clip(low, high)


def rescale(source_range: tuple[Real, Real], target_range: tuple[Real, Real]) -> VoxelMap:
    """Return a linear map from one range to another, computed in float64 and clipped to the second one.

    Where the target has integers, the result is rounded to the nearest one, and to the even one of two that are as
    near; NaN becomes the least one. Where it has floats, NaN stays.

    Parameters
    ----------
    source_range : (first, last)
        These become the first and last value of the other range.
    target_range : (first, last)
        The second one may be less than the first one: then the contrast is inverted.

    Examples
    --------
    >>> rescale((0, 1000), (0, 255))(np.array([0, 100, 70000]))
    array([  0. ,  25.5, 255. ])
    """
    ranges = *source_range, *target_range
    if not all(map(math.isfinite, ranges)) or source_range[0] == source_range[1]:
        raise ArgumentError(f"rescale() from {source_range} to {target_range}; give two ranges of finite numbers.")
    return Rescale(source_range, target_range)


def relabel(table: ArrayLike | MappingType[int, int], default: int | None = None) -> VoxelMap:
    """Return a map that replaces ids.

    Parameters
    ----------
    table : array (n,), or mapping
        The new id of each id from 0 to n - 1; or new ids by old ones, which may then be anything.
    default : int, optional
        The new id of all ids that are not in the table. By default they stay as they are.

    Raises
    ------
    ArgumentError
        If something in the table is not an integer.

    Examples
    --------
    >>> relabel([0, 20, 10])(np.array([2, 1, 7]))
    array([10, 20,  7])
    >>> relabel({1 << 40: 5}, default=0)(np.array([1 << 40, 3]))
    array([5, 0])
    """
    if isinstance(table, MappingType):
        odd = [number for pair in table.items() for number in pair if not isinstance(number, (int, np.integer))]
        if odd:
            raise ArgumentError(f"relabel() with {odd[0]!r} in its table; ids are integers.")
        keys = sorted(table)
        return SparseRelabel(_integers(keys), _integers([table[key] for key in keys]), default)
    ids = np.asarray(table)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ArgumentError(f"relabel() with a table of {ids.dtype} {ids.shape}; give one axis of integers, or a dict.")
    return Relabel(ids, default)


def mask(outside: Real = 0) -> VoxelMap:
    """Return a map of two views that sets voxels to ``outside`` where the second view, a mask, is 0.

    Examples
    --------
    >>> mask()(np.array([5, 6, 7]), np.array([0, 1, 9]))
    array([0, 6, 7])
    >>> view.map_voxels(mask(), target, mask_view)  # doctest: +SKIP
    """
    return Mask(outside)


# ---- What they are


class BuiltinMap(VoxelMap):
    """A map that comes with wkgpu, of one view by default."""

    count = 1

    @abstractmethod
    def bind(self, source: Dtype, target: Dtype) -> tuple[str, tuple[Any, ...]]:
        """Return the kernel's name, and its constants in the types of the voxels, so that nothing is widened."""

    def prepared(self, sources: Sequence[Dtype], target: Dtype, constants: tuple[Any, ...]) -> PreparedMap:
        """See `VoxelMap.prepared`."""
        if len(sources) != self.count or constants:
            raise ArgumentError(
                f"{self!r} maps voxels of {self.count} view(s), without constants; it got {len(sources)} view(s) and "
                f"{len(constants)} constant(s)."
            )
        name, bound = self.bind(sources[0], target)
        return PreparedMap(NamedKernel("mapping", name), bound)


@dataclass(frozen=True)
class Threshold(BuiltinMap):
    """See `threshold`."""

    at: Real
    below: Real
    above: Real

    def __call__(self, *voxels: Any) -> Any:
        """Do it with NumPy."""
        return np.where(np.greater_equal(voxels[0], self.at), self.above, self.below)

    def bind(self, source: Dtype, target: Dtype) -> tuple[str, tuple[Any, ...]]:
        """See `BuiltinMap.bind`."""
        below, above = _as(target, self.below), _as(target, self.above)
        at = _ceil_in(source, self.at)
        return "threshold", (source.type(0), below, below) if at is None else (at, below, above)


@dataclass(frozen=True)
class Clip(BuiltinMap):
    """See `clip`."""

    low: Real
    high: Real

    def __call__(self, *voxels: Any) -> Any:
        """Do it with NumPy."""
        return np.clip(voxels[0], self.low, self.high)

    def bind(self, source: Dtype, target: Dtype) -> tuple[str, tuple[Any, ...]]:
        """See `BuiltinMap.bind`."""
        low, high = _ceil_in(source, self.low), _floor_in(source, self.high)
        if low is None or high is None or low > high:
            raise ArgumentError(f"No {source} lies from {self.low} to {self.high}; clip() to numbers that do.")
        if target.kind != "f" and not (_bounds(target)[0] <= low and high <= _bounds(target)[1]):
            raise DtypeError(
                f"Voxels from {low} to {high} do not fit {target}; clip() to less, or map to wider voxels."
            )
        return "clip", (low, high)


@dataclass(frozen=True)
class Rescale(BuiltinMap):
    """See `rescale`."""

    source_range: tuple[Real, Real]
    target_range: tuple[Real, Real]

    def __call__(self, *voxels: Any) -> Any:
        """Do it with NumPy; the result is float64, and not rounded."""
        scaled = (np.asarray(voxels[0]).astype(np.float64) - self.source_range[0]) * self._factor + self.target_range[0]
        return np.clip(scaled, min(self.target_range), max(self.target_range))

    @property
    def _factor(self) -> float:
        (first, last), (begin, end) = self.source_range, self.target_range
        return (end - begin) / (last - first)

    def bind(self, source: Dtype, target: Dtype) -> tuple[str, tuple[Any, ...]]:
        """See `BuiltinMap.bind`."""
        low, high = sorted(self.target_range)
        if target.kind != "f":
            low, high = math.ceil(low), math.floor(high)
            _as(target, low), _as(target, high)
            if max(-low, high) > _MAX_EXACT or low > high:
                raise ArgumentError(f"rescale() to {self.target_range} is not exact in float64; give smaller numbers.")
        name = "rescale_to_float" if target.kind == "f" else "rescale_to_integer"
        numbers = self.source_range[0], self._factor, self.target_range[0], low, high
        return name, tuple(map(float, numbers))


@dataclass(frozen=True, eq=False)
class Relabel(BuiltinMap):
    """See `relabel`: through a dense table."""

    table: NDArray[Any]
    default: int | None

    def __call__(self, *voxels: Any) -> Any:
        """Do it with NumPy."""
        ids = np.asarray(voxels[0])
        inside = (ids >= 0) & (ids < len(self.table))
        found = self.table[np.where(inside, ids, 0).astype(np.intp)]
        if np.result_type(found, ids).kind == "f":  # a type that would round ids
            found, ids = found.astype(object), ids.astype(object)
        return np.where(inside, found, ids if self.default is None else self.default)

    def bind(self, source: Dtype, target: Dtype) -> tuple[str, tuple[Any, ...]]:
        """See `BuiltinMap.bind`."""
        _check_ids(source, target, keeps=self.default is None)
        table = _ids_as(target, self.table[: _bounds(source)[1] + 1])
        if self.default is None:
            return "look_up_or_keep", (table,)
        return "look_up", (table, _as(target, self.default))


@dataclass(frozen=True, eq=False)
class SparseRelabel(BuiltinMap):
    """See `relabel`: by sorted ids, each with its new one."""

    keys: NDArray[Any]
    values: NDArray[Any]
    default: int | None

    def __call__(self, *voxels: Any) -> Any:
        """Do it number by number."""
        new_ids = dict(zip(self.keys.tolist(), self.values.tolist(), strict=True))
        ids = np.asarray(voxels[0])
        found = [new_ids.get(old, old if self.default is None else self.default) for old in ids.ravel().tolist()]
        return _integers(found).reshape(ids.shape)

    def bind(self, source: Dtype, target: Dtype) -> tuple[str, tuple[Any, ...]]:
        """See `BuiltinMap.bind`."""
        _check_ids(source, target, keeps=self.default is None)
        lowest, highest = _bounds(source)
        possible = ((self.keys >= lowest) & (self.keys <= highest)).astype(bool)
        keys = self.keys[possible].astype(source)
        values = _ids_as(target, self.values[possible])
        if self.default is None:
            return "search_or_keep", (keys, values)
        return "search", (keys, values, _as(target, self.default))


@dataclass(frozen=True)
class Mask(BuiltinMap):
    """See `mask`."""

    outside: Real

    count = 2

    def __call__(self, *voxels: Any) -> Any:
        """Do it with NumPy."""
        return np.where(np.asarray(voxels[1]) != 0, voxels[0], self.outside)

    def bind(self, source: Dtype, target: Dtype) -> tuple[str, tuple[Any, ...]]:
        """See `BuiltinMap.bind`."""
        return "mask", (_as(source, self.outside),)


# ---- Numbers in the types of voxels


def _bounds(dtype: Dtype) -> tuple[int, int]:
    """Return the least and the greatest value of a dtype of integers."""
    bounds = np.iinfo(np.dtype(dtype).type)  # type: ignore[type-var]
    return int(bounds.min), int(bounds.max)


def _as(dtype: Dtype, number: Real) -> Any:
    """Return a number in a dtype that must hold it."""
    if dtype.kind != "f":
        lowest, highest = _bounds(dtype)
        if not lowest <= number <= highest or number != math.floor(number):
            raise DtypeError(f"{number} cannot be represented as {dtype}; give a number that the voxels can have.")
        return dtype.type(int(number))
    return dtype.type(number)


def _ceil_in(dtype: Dtype, number: Real) -> Any:
    """Return the smallest value of a dtype that is not less than a number, if there is one; of floats the nearest."""
    if dtype.kind == "f":
        return dtype.type(number)
    lowest, highest = _bounds(dtype)
    return None if number > highest else dtype.type(lowest if number <= lowest else math.ceil(number))


def _floor_in(dtype: Dtype, number: Real) -> Any:
    """Return the largest value of a dtype that is not more than a number, if there is one; of floats the nearest."""
    if dtype.kind == "f":
        return dtype.type(number)
    lowest, highest = _bounds(dtype)
    return None if number < lowest else dtype.type(highest if number >= highest else math.floor(number))


def _integers(numbers: Sequence[int]) -> NDArray[Any]:
    """Return integers of any size."""
    array = np.array(numbers, dtype=None if len(numbers) else np.int64)
    return array if array.dtype.kind in "iu" else np.array(numbers, dtype=object)


def _ids_as(dtype: Dtype, ids: NDArray[Any]) -> NDArray[Any]:
    """Return ids in a dtype that must hold them."""
    lowest, highest = _bounds(dtype)
    if len(ids) and (int(ids.min()) < lowest or int(ids.max()) > highest):
        raise DtypeError(f"New ids from {ids.min()} to {ids.max()} do not fit {dtype}; map to wider voxels.")
    return np.require(ids.astype(dtype), requirements=["C", "W"])


def _check_ids(source: Dtype, target: Dtype, *, keeps: bool) -> None:
    if source.kind not in "iu" or target.kind not in "iu":
        raise DtypeError(f"relabel() from {source} to {target}; ids are integers.")
    if keeps and np.result_type(source, target).kind == "f":  # no type holds what both do, so that ids could be rounded
        raise DtypeError(f"relabel() cannot keep ids of {source} in {target}; give a default, or a target of {source}.")
