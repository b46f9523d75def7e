"""The table of kernels: all that `Engine.launch` runs by name, what each touches, and for which types it is checked.

A kernel is written in ``wkgpu.kernels.bodies``, in the module of its topic, for all machines. Engines, the tests and
`benchmarks.kernels` take the list of kernels from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np

from wkgpu.engines.footprint import Footprint, Use
from wkgpu.errors import LaunchError
from wkgpu.kernels.bodies.reductions import MAX_LANES

_INT64 = np.dtype(np.int64)


class Types(NamedTuple):
    """Types of a kernel's arguments, for which it is compiled where no engine launches it.

    Attributes
    ----------
    label : str
        Distinguishes them from others of the same kernel.
    arguments : str
        In Numba's notation, without the two numbers that every kernel begins with.
    """

    label: str
    arguments: str


class KernelEntry(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    footprint : callable
        See `footprint.Footprint`.
    types : sequence of Types
        Typical ones: each makes other code.
    """

    footprint: Footprint
    types: Sequence[Types]


def _require(fits: bool, message: str, *values: Any) -> None:
    if not fits:
        raise LaunchError(message.format(*values))


# ---- Pooling: see `wkgpu.kernels.bodies.pooling`


def _pooled(rows: int, source: Any, target: Any, geometry: Any, kinds: str = "uif") -> list[Use]:
    channels, lines, factors, start, strides, begin, target_strides = geometry
    x, y, z = lines
    fits = rows == y * z and min(channels, *lines, *factors) >= 1 and min(start, begin, *strides, *target_strides) >= 0
    _require(fits, "its geometry is {}", geometry)
    line = channels * x
    last = start + (y * factors[1] - 1) * strides[0] + (z * factors[2] - 1) * strides[1]
    last_target = begin + (y - 1) * target_strides[0] + (z - 1) * target_strides[1]
    return [
        Use("source", source, last + line * factors[0], None, kinds),
        Use("target", target, last_target + line, source.dtype),
    ]


def _pooled_kinds(kinds: str, itemsizes: Sequence[int] = (1, 2, 4, 8)) -> Footprint:
    def footprint(rows: int, source: Any, target: Any, geometry: Any) -> list[Use]:
        _require(source.dtype.itemsize in itemsizes, "source has the dtype {}", source.dtype)
        return _pooled(rows, source, target, geometry, kinds)

    return footprint


def _ranked(kinds: str) -> Footprint:
    def footprint(rows: int, source: Any, target: Any, geometry: Any, memory: Any, width: int) -> list[Use]:
        channels, lines, factors, *_ = geometry
        fewest = channels * lines[0]
        _require(width >= fewest, "width is {}, and a line has {} items", width, fewest)
        x, y, z = factors
        in_pairs = channels == 1 and x == y == 2 and z <= 2  # those are not sorted in memory
        items = 0 if in_pairs else rows * width * x * y * z
        return [*_pooled(rows, source, target, geometry, kinds), Use("memory", memory, items, source.dtype)]

    return footprint


def _picked(
    rows: int, source: Any, target: Any, geometry: Any, x_indexes: Any, y_indexes: Any, z_indexes: Any
) -> list[Use]:
    channels, lines, _, start, strides, _, _ = geometry
    indexes = {"x_indexes": x_indexes, "y_indexes": y_indexes, "z_indexes": z_indexes}
    uses = [Use(name, array, length, _INT64) for (name, array), length in zip(indexes.items(), lines, strict=True)]
    _require(all(array.dtype == _INT64 for array in indexes.values()), "its indexes are no int64")
    _require(all(array.size for array in indexes.values()), "there are no indexes")
    _require(min(int(array.min()) for array in indexes.values()) >= 0, "an index is negative")
    x, y, z = (int(array.max()) for array in indexes.values())
    end = start + z * strides[1] + y * strides[0] + (x + 1) * channels
    _, used_target = _pooled(rows, source, target, geometry)
    return [*uses, Use("source", source, end), used_target]


# ---- Mapping: see `wkgpu.kernels.bodies.mapping`


def mapped(count: int) -> Footprint:
    """Return the footprint of a map of ``count`` sources."""

    def footprint(rows: int, target: Any, geometry: Any, sources: Any, constants: Any) -> list[Use]:
        (width, y, z), begin, strides = geometry
        fits = rows == y * z and min(width, y, z) >= 1 and min(begin, *strides) >= 0
        _require(fits, "its geometry is {}", geometry)
        _require(len(sources) == count, "it has {} sources instead of {}", len(sources), count)
        end = begin + (y - 1) * strides[0] + (z - 1) * strides[1] + width
        return [Use("target", target, end), *(Use("a source", source, width * rows) for source in sources)]

    return footprint


def _looked_up(rows: int, target: Any, geometry: Any, sources: Any, constants: Any) -> list[Use]:
    return [*mapped(1)(rows, target, geometry, sources, constants), Use("table", constants[0], 0)]


def _searched(rows: int, target: Any, geometry: Any, sources: Any, constants: Any) -> list[Use]:
    keys, values = constants[:2]
    uses = mapped(1)(rows, target, geometry, sources, constants)
    return [*uses, Use("keys", keys, 0), Use("values", values, keys.size)]


# ---- Reductions: see `wkgpu.kernels.bodies.reductions`


def _reduced(rows: int, source: Any, width: int, kinds: str = "uif") -> Use:
    fits = width >= 1 and (rows - 1) * width < source.size <= rows * width
    _require(fits, "source has {} items in rows of {}", source.size, width)
    return Use("source", source, 0, None, kinds)


def _extremes(rows: int, source: Any, width: int, lowest: Any, highest: Any) -> list[Use]:
    items = rows * MAX_LANES
    return [
        _reduced(rows, source, width),
        Use("lowest", lowest, items, source.dtype),
        Use("highest", highest, items, source.dtype),
    ]


def _counted_values(rows: int, source: Any, width: int, counters: Any, minimum: int, kinds: int) -> list[Use]:
    used = _reduced(rows, source, width, "ui")
    _require(source.dtype.kind in "ui", "source has the dtype {}", source.dtype)
    limits = np.iinfo(source.dtype)
    fits = minimum <= limits.min and limits.max < minimum + kinds
    _require(
        fits, "source has values from {} to {}, and {} from {} are counted", limits.min, limits.max, kinds, minimum
    )
    return [used, Use("counters", counters, kinds, _INT64)]


def _histogram(rows: int, source: Any, width: int, counters: Any, edges: Any, factor: float) -> list[Use]:
    _require(0 <= factor < inf, "factor is {}", factor)
    bins = edges.size - 1
    return [
        _reduced(rows, source, width),
        Use("edges", edges, 2, None, "f"),
        Use("counters", counters, max(bins, 1), _INT64),
    ]


def _counted_runs(rows: int, source: Any, width: int, runs: Any) -> list[Use]:
    return [_reduced(rows, source, width), Use("runs", runs, rows, _INT64)]


def _counted_labels(rows: int, source: Any, width: int, ends: Any, labels: Any, counts: Any) -> list[Use]:
    used = _reduced(rows, source, width, "ui")
    _require(ends.ndim == 1 and ends.size == rows + 1, "ends has {} items for {} rows", ends.size, rows)
    _require(ends.dtype == _INT64, "ends has the dtype {}", ends.dtype)
    lengths = ends[1:] - ends[:-1]
    powers = bool(((lengths > 0) & (lengths & (lengths - 1) == 0)).all())
    _require(powers and int(ends[0]) >= 0, "its tables have lengths that are no powers of two")
    end = int(ends[-1])
    return [
        used,
        Use("ends", ends, rows + 1, _INT64),
        Use("labels", labels, end, source.dtype),
        Use("counts", counts, end, _INT64),
    ]


# ---- Types


_POOLED = "Tuple((int64, UniTuple(int64, 3), UniTuple(int64, 3), int64, UniTuple(int64, 2), int64, UniTuple(int64, 2)))"
_MAPPED = "Tuple((UniTuple(int64, 3), int64, UniTuple(int64, 2)))"


def _pool(footprint: Footprint, *voxels: str, further: str = "") -> KernelEntry:
    """Return the row of a kernel of `pooling`; ``{}`` in the types of further arguments is the voxels' one."""
    types = (f"{voxel}[::1], {voxel}[::1], {_POOLED}{further.format(voxel)}" for voxel in voxels)
    return KernelEntry(footprint, [Types(voxel, arguments) for voxel, arguments in zip(voxels, types, strict=True)])


def _rank(kinds: str, *voxels: str) -> KernelEntry:
    return _pool(_ranked(kinds), *voxels, further=", {}[::1], int64")


def _map(footprint: Footprint, sources: Sequence[str], target: str, *constants: str) -> KernelEntry:
    """Return the row of a kernel of `mapping`."""
    taken, known = ("".join(f"{kind}, " for kind in kinds) for kinds in ([f"{s}[::1]" for s in sources], constants))
    arguments = f"{target}[::1], {_MAPPED}, Tuple(({taken})), Tuple(({known}))"
    return KernelEntry(footprint, [Types(f"{', '.join(sources)} to {target}", arguments)])


def _reduce(footprint: Footprint, voxel: str, further: str) -> KernelEntry:
    """Return the row of a kernel of `reductions`."""
    return KernelEntry(footprint, [Types(voxel, f"{voxel}[::1], int64, {further}")])


KERNELS: dict[tuple[str, str], KernelEntry] = {
    ("pooling", "median_unsigned"): _rank("u", "uint8", "uint64"),
    ("pooling", "median_signed"): _rank("i", "int16"),
    ("pooling", "median_float"): _rank("f", "float32"),
    ("pooling", "mode"): _rank("uif", "uint32"),
    ("pooling", "maximum"): _pool(_pooled, "float64"),
    ("pooling", "minimum"): _pool(_pooled, "int8"),
    ("pooling", "mean_integer"): _pool(_pooled_kinds("ui", (1, 2, 4)), "uint16"),
    ("pooling", "mean_float"): _pool(_pooled_kinds("f"), "float32"),
    ("pooling", "mean_signed"): _pool(_pooled_kinds("i"), "int64"),
    ("pooling", "mean_unsigned"): _pool(_pooled_kinds("u"), "uint64"),
    ("pooling", "nearest"): _pool(_picked, "uint8", further=", int64[::1], int64[::1], int64[::1]"),
    ("mapping", "threshold"): _map(mapped(1), ["uint16"], "uint8", "uint16", "uint8", "uint8"),
    ("mapping", "clip"): _map(mapped(1), ["float32"], "float32", "float32", "float32"),
    ("mapping", "rescale_to_integer"): _map(mapped(1), ["uint16"], "uint8", *["float64"] * 5),
    ("mapping", "rescale_to_float"): _map(mapped(1), ["float32"], "float32", *["float64"] * 5),
    ("mapping", "look_up"): _map(_looked_up, ["uint64"], "uint32", "uint32[::1]", "uint32"),
    ("mapping", "look_up_or_keep"): _map(_looked_up, ["uint32"], "uint32", "uint32[::1]"),
    ("mapping", "search"): _map(_searched, ["uint64"], "uint32", "uint64[::1]", "uint32[::1]", "uint32"),
    ("mapping", "search_or_keep"): _map(_searched, ["uint64"], "uint64", "uint64[::1]", "uint64[::1]"),
    ("mapping", "mask"): _map(mapped(2), ["uint32", "uint8"], "uint32", "uint32"),
    ("reductions", "find_extremes"): _reduce(_extremes, "float32", "float32[::1], float32[::1]"),
    ("reductions", "count_values"): _reduce(_counted_values, "uint8", "int64[::1], int64, int64"),
    ("reductions", "histogram"): _reduce(_histogram, "float32", "int64[::1], float32[::1], float64"),
    ("reductions", "count_runs"): _reduce(_counted_runs, "uint32", "int64[::1]"),
    ("reductions", "count_labels"): _reduce(_counted_labels, "uint64", "int64[::1], uint64[::1], int64[::1]"),
}
"""By topic and name of the kernel."""
