"""What compiled code touches, checked before it runs: it looks at no bounds itself.

`check_launch` compares the arrays of a launch with what the kernel says that it touches, which `kernel_table` declares.
The other functions do the same for the plans and arrays that `Engine.read`, `write` and `compare` are called with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from wkgpu.engines.failures import write_error
from wkgpu.errors import LaunchError
from wkgpu.forking import loading
from wkgpu.kernels.failures import WRONG_LENGTH
from wkgpu.storage.plans.comparison import ComparisonPlan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.write import WritePlan


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


class Launched(Protocol):
    """What is asked of a kernel before it is launched."""

    @property
    def name(self) -> str:
        """Its name, for messages."""
        ...

    def uses(self, rows: int, *arguments: Any) -> Iterable[Use]:
        """Return what it touches."""
        ...


def check_launch(kernel: Launched, rows: int, arguments: Sequence[Any]) -> None:
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
    if out.shape != expected or out.dtype != spec.memory_dtype:
        raise LaunchError(f"{plan} fills {expected} of {spec.dtype}; out has {out.shape} of {out.dtype}. {_BUG}")
    _check_tables(plan)


def check_write_plan(plan: WritePlan, data: Any) -> None:
    """Check that an array ``(channel, x, y, z)`` is what a plan stores; see `check_read_plan`."""
    spec, touched = plan.spec, plan.touched
    expected = (spec.num_channels, *plan.shape)
    if data.shape != expected or data.dtype != spec.memory_dtype:
        raise LaunchError(f"{plan}: it stores {expected} of {spec.dtype}; data has {data.shape} of {data.dtype}.")
    count = len(touched.ordinal)
    if not count == len(touched.offset) == len(touched.nbytes) == len(touched.origin):
        raise LaunchError(f"{plan}: the columns of its table have several lengths. {_BUG}")
    _check_rows(plan, "chunks of the shard", touched.ordinal, spec.chunks_in_shard)
    if not spec.codecs:
        is_bad = (touched.nbytes != 0) & (touched.nbytes != plan.pieces.nbytes)
        if is_bad.any():
            row = int(is_bad.argmax())
            raise write_error(plan, WRONG_LENGTH, row, int(touched.nbytes[row]))
    if {len(column) for column in plan.stored} not in ({0}, {spec.chunks_in_shard}):
        raise LaunchError(f"{plan}: its table of stored chunks has not one row for each. {_BUG}")


def check_comparison_plan(plan: ComparisonPlan) -> None:
    """Check that both sides of a comparison have the chunks that it pairs; see `check_read_plan`."""
    one, other = plan.one, plan.other
    for side, rows in (one, plan.rows_of_one), (other, plan.rows_of_other):
        _check_tables(side)
        if len(rows) != len(plan.origin):
            raise LaunchError(f"{side}: {len(rows)} rows face {len(plan.origin)} origins. {_BUG}")
        _check_rows(side, "chunks", rows + 1, len(side.chunks) + 1)  # -1 is no row
    for name in ("shape", "pieces"):
        if getattr(one, name) != getattr(other, name):
            raise LaunchError(f"{one} cannot be compared with {other}: each has another {name}. {_BUG}")
    kinds = [(side.spec.dtype, side.spec.num_channels) for side in (one, other)]
    if kinds[0] != kinds[1]:
        raise LaunchError(f"{one} cannot be compared with {other}: they have the voxels {kinds}. {_BUG}")


def _check_tables(plan: ReadPlan) -> None:
    counts = len(plan.files), plan.boxes, len(plan.pipelines)
    raw = plan.pipelines.index(()) if () in plan.pipelines else -1
    bad = _checks().find_bad_column(
        plan.segments.columns, plan.chunks.columns, plan.missing.columns, counts, plan.max_chunk_nbytes, raw,
        plan.pieces.nbytes,
    )  # fmt: skip
    if bad >= 0:
        what = (
            "columns", "files", "more bytes than its largest chunk", "boxes", "pipelines", "chunks", "boxes",
            "raw chunks of a length",
        )[bad]  # fmt: skip
        raise LaunchError(f"{plan}: its tables name {what} that it does not have. {_BUG}")


@cache
def _checks() -> ModuleType:
    with loading:
        from wkgpu.kernels.cpu import plan_check  # at the first plan: Numba takes long to import

    module: ModuleType = plan_check
    return module


def check_sources(plan: ReadPlan, descriptors: Any) -> None:
    """Check that there is a descriptor for each file of a plan."""
    if len(descriptors) != len(plan.files):
        raise LaunchError(f"{plan}: there are {len(descriptors)} descriptors. {_BUG}")


def _check_rows(plan: object, name: str, rows: Any, count: int) -> None:
    """Check that numbers are places in a table; a negative one is a very large unsigned one."""
    if len(rows) and rows.view(np.uint64).max() >= count:
        raise LaunchError(f"{plan}: its tables name {name} of which it has only {count}. {_BUG}")
