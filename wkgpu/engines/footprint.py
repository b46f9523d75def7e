"""What compiled code touches, checked before it runs: it looks at no bounds itself.

`FOOTPRINTS` declares for each kernel that `Engine.launch` runs which items of which arrays it touches. The other
functions do the same for the plans and arrays that `Engine.read`, `write` and `compare` are called with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wkgpu.errors import LaunchError
from wkgpu.kernels.bodies.reductions import SLOTS
from wkgpu.storage.plans.comparison import ComparisonPlan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.write import WritePlan

if TYPE_CHECKING:
    from wkgpu.engines.kernel import Kernel

_INT64 = np.dtype(np.int64)


class Use(NamedTuple):
    """A flat array that a kernel touches.

    Attributes
    ----------
    name : str
        Of the kernel's argument.
    array : array
        NumPy's or CuPy's.
    items : int
        It is touched before this item.
    dtype : numpy.dtype, optional
        That it must have.
    kinds : str
        Kinds of dtypes that it can have: "u", "i" and "f".
    """

    name: str
    array: Any
    items: int
    dtype: np.dtype[np.generic] | None = None
    kinds: str = "uif"


Footprint = Callable[..., Iterable[Use]]
"""Called with the rows and the arguments of a launch. Raises a `LaunchError` where they contradict each other."""


def check_launch(kernel: Kernel, rows: int, arguments: Sequence[Any]) -> None:
    """Compare the arrays of a launch with what the kernel touches.

    Raises
    ------
    LaunchError
        Naming the kernel, the argument, and both sizes or types.
    """
    if rows <= 0:
        return
    try:
        for name, array, items, dtype, kinds in kernel.uses(rows, *arguments):
            if array.size < items:
                raise LaunchError(f"{name} has {array.size} items, and {items} are touched")
            if array.ndim != 1 or not array.flags.c_contiguous:
                raise LaunchError(f"{name} has the shape {array.shape} and strides {array.strides}; it must be flat")
            if dtype is not None and array.dtype != dtype:
                raise LaunchError(f"{name} has the dtype {array.dtype}, and {dtype} is needed")
            if array.dtype.kind not in kinds:
                raise LaunchError(f"{name} has the dtype {array.dtype}, whose kind is none of {kinds!r}")
    except LaunchError as error:
        raise LaunchError(f"The kernel {kernel.name}, launched on {rows} rows, was not run: {error}. {_BUG}") from None


_BUG = "This is a bug in wkgpu, or the files of a layer contradict each other; nothing was written."


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
    places = {"x_indexes": x_indexes, "y_indexes": y_indexes, "z_indexes": z_indexes}
    uses = [Use(name, array, length, _INT64) for (name, array), length in zip(places.items(), lines, strict=True)]
    _require(all(array.dtype == _INT64 for array in places.values()), "its places are no int64")
    _require(all(array.size for array in places.values()), "there are no places")
    _require(min(int(array.min()) for array in places.values()) >= 0, "a place is negative")
    x, y, z = (int(array.max()) for array in places.values())
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


# ---- Reducing: see `wkgpu.kernels.bodies.reductions`


def _reduced(rows: int, source: Any, width: int, kinds: str = "uif") -> Use:
    fits = width >= 1 and (rows - 1) * width < source.size <= rows * width
    _require(fits, "source has {} items in rows of {}", source.size, width)
    return Use("source", source, 0, None, kinds)


def _extremes(rows: int, source: Any, width: int, lowest: Any, highest: Any) -> list[Use]:
    places = rows * SLOTS
    return [
        _reduced(rows, source, width),
        Use("lowest", lowest, places, source.dtype),
        Use("highest", highest, places, source.dtype),
    ]


def _counted_values(rows: int, source: Any, width: int, counters: Any, least: int, kinds: int) -> list[Use]:
    used = _reduced(rows, source, width, "ui")
    _require(source.dtype.kind in "ui", "source has the dtype {}", source.dtype)
    limits = np.iinfo(source.dtype)
    fits = least <= limits.min and limits.max < least + kinds
    _require(fits, "source has values from {} to {}, and {} from {} are counted", limits.min, limits.max, kinds, least)
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


FOOTPRINTS: dict[tuple[str, str], Footprint] = {
    ("pooling", "median_unsigned"): _ranked("u"),
    ("pooling", "median_signed"): _ranked("i"),
    ("pooling", "median_float"): _ranked("f"),
    ("pooling", "mode"): _ranked("uif"),
    ("pooling", "maximum"): _pooled,
    ("pooling", "minimum"): _pooled,
    ("pooling", "mean_integer"): _pooled_kinds("ui", (1, 2, 4)),
    ("pooling", "mean_float"): _pooled_kinds("f"),
    ("pooling", "mean_signed"): _pooled_kinds("i"),
    ("pooling", "mean_unsigned"): _pooled_kinds("u"),
    ("pooling", "nearest"): _picked,
    ("mapping", "threshold"): mapped(1),
    ("mapping", "clip"): mapped(1),
    ("mapping", "rescale_to_integer"): mapped(1),
    ("mapping", "rescale_to_float"): mapped(1),
    ("mapping", "look_up"): _looked_up,
    ("mapping", "look_up_or_keep"): _looked_up,
    ("mapping", "search"): _searched,
    ("mapping", "search_or_keep"): _searched,
    ("mapping", "mask"): mapped(2),
    ("reductions", "find_extremes"): _extremes,
    ("reductions", "count_values"): _counted_values,
    ("reductions", "histogram"): _histogram,
    ("reductions", "count_runs"): _counted_runs,
    ("reductions", "count_labels"): _counted_labels,
}
"""By topic and name of the kernel."""


# ---- Plans


def check_read_plan(plan: ReadPlan, out: Any) -> None:
    """Check that an array ``(channel, x, y, z, box)`` is what a plan fills, and that the plan's tables agree.

    Raises
    ------
    LaunchError
        Naming both.
    """
    spec = plan.spec
    expected = (spec.num_channels, *plan.shape, plan.boxes)
    if out.shape != expected or out.dtype != spec.dtype:
        raise LaunchError(f"{plan} fills {expected} of {spec.dtype}; out has {out.shape} of {out.dtype}. {_BUG}")
    _check_tables(plan)


def check_write_plan(plan: WritePlan, data: Any) -> None:
    """Check that an array ``(channel, x, y, z)`` is what a plan stores; see `check_read_plan`."""
    spec, touched = plan.spec, plan.touched
    expected = (spec.num_channels, *plan.shape)
    if data.shape != expected or data.dtype != spec.dtype:
        raise LaunchError(f"{plan}: it stores {expected} of {spec.dtype}; data has {data.shape} of {data.dtype}.")
    count = len(touched.ordinal)
    if not count == len(touched.offset) == len(touched.nbytes) == len(touched.origin):
        raise LaunchError(f"{plan}: the columns of its table have several lengths. {_BUG}")
    _check_rows(plan, "chunks of the shard", touched.ordinal, spec.chunks_in_shard)


def check_comparison_plan(plan: ComparisonPlan) -> None:
    """Check that both sides of a comparison have the chunks that it pairs; see `check_read_plan`."""
    one, other = plan.one, plan.other
    for side, rows in (one, plan.rows_of_one), (other, plan.rows_of_other):
        _check_tables(side)
        if len(rows) != len(plan.origin):
            raise LaunchError(f"{side}: {len(rows)} rows face {len(plan.origin)} origins. {_BUG}")
        _check_rows(side, "chunks", rows + 1, len(side.chunks.place) + 1)  # -1 is no row
    for name in ("shape", "pieces"):
        if getattr(one, name) != getattr(other, name):
            raise LaunchError(f"{one} cannot be compared with {other}: each has another {name}. {_BUG}")
    kinds = [(side.spec.dtype, side.spec.num_channels) for side in (one, other)]
    if kinds[0] != kinds[1]:
        raise LaunchError(f"{one} cannot be compared with {other}: they have the voxels {kinds}. {_BUG}")


def _check_tables(plan: ReadPlan) -> None:
    chunks, segments, gaps = plan.chunks, plan.segments, plan.gaps
    count = len(chunks.place)
    if not count == len(chunks.nbytes) == len(chunks.box) == len(chunks.origin) == len(chunks.placement_order):
        raise LaunchError(f"{plan}: the columns of its chunks have several lengths. {_BUG}")
    if not len(segments.file) == len(segments.offset) == len(segments.nbytes) == len(segments.place):
        raise LaunchError(f"{plan}: the columns of its segments have several lengths. {_BUG}")
    if len(gaps.box) != len(gaps.origin):
        raise LaunchError(f"{plan}: the columns of its gaps have several lengths. {_BUG}")
    if count:
        _check_rows(plan, "chunks", chunks.placement_order, count)
        _check_rows(plan, "boxes", chunks.box, plan.boxes)
        _check_rows(plan, "files", segments.file, len(plan.files))
    _check_rows(plan, "boxes", gaps.box, plan.boxes)


def _check_rows(plan: object, name: str, rows: Any, count: int) -> None:
    """Check that numbers are places in a table; a negative one is a very large unsigned one."""
    if len(rows) and rows.view(np.uint64).max() >= count:
        raise LaunchError(f"{plan}: its tables name {name} of which it has only {count}. {_BUG}")
