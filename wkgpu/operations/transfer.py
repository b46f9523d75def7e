"""Boxes of voxels between a stored mag and arrays: storage plans, an engine executes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from wkgpu.engines import Engine
from wkgpu.engines.host_memory import LARGE_BYTES
from wkgpu.errors import DtypeError, ShapeError
from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.plans.comparison import chunk_grids_coincide, comparison_plan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray


def read_box(array: StoredArray, engine: Engine, topleft: Triple, shape: Triple, out: Any = None) -> Any:
    """Read one box.

    Parameters
    ----------
    topleft, shape : tuple of int
        First voxel and voxels ``(x, y, z)`` in the array's own grid.
    out : array (channel, x, y, z), optional
        Is filled and returned. Fastest where it is in Fortran order.

    Returns
    -------
    array (channel, x, y, z)
        In Fortran order, of the engine; what is not stored has the fill value.
    """
    if out is None:
        return _read(array, engine, [topleft], shape)[..., 0]
    target = _output(array, engine, out, (array.spec.num_channels, *shape))
    _fill(array, engine, [topleft], shape, target[..., None])
    return out


def read_boxes(array: StoredArray, engine: Engine, toplefts: Sequence[Triple], shape: Triple, out: Any = None) -> Any:
    """Read boxes of one shape in one plan.

    Parameters
    ----------
    toplefts : sequence of (x, y, z)
        First voxels in the array's own grid.
    shape : tuple of int
        Voxels ``(x, y, z)`` of each box.
    out : array (box, channel, x, y, z), optional
        Is filled and returned. Fastest where each box is in Fortran order.

    Returns
    -------
    array (box, channel, x, y, z)
        Each box in Fortran order.
    """
    if out is None:
        return engine.xp.moveaxis(_read(array, engine, toplefts, shape), -1, 0)
    target = _output(array, engine, out, (len(toplefts), array.spec.num_channels, *shape))
    _fill(array, engine, toplefts, shape, engine.xp.moveaxis(target, 0, -1))
    return out


def read_stack(array: StoredArray, engine: Engine, toplefts: Sequence[Triple], shape: Triple) -> Any:
    """Read boxes of one shape, for `StoredArray.stack_writes`.

    Returns
    -------
    array (channel, x, y, z * boxes)
        In Fortran order: the first box in front, the last one behind.
    """
    voxels = _read(array, engine, toplefts, shape).T  # (box, z, y, x, channel), one block of memory
    return voxels.reshape(-1, *voxels.shape[2:]).T


def write_box(array: StoredArray, engine: Engine, topleft: Triple, data: Any) -> None:
    """Write one box.

    Parameters
    ----------
    data : array (channel, x, y, z)
        Of the array's dtype and channels, with any strides.
    """
    spec = array.spec
    voxels = engine.as_input(data)
    if voxels.ndim != 4 or voxels.shape[0] != spec.num_channels:
        raise ShapeError(f"data has shape {voxels.shape}; a write needs ({spec.num_channels}, x, y, z).")
    if voxels.dtype != spec.memory_dtype:
        raise DtypeError(f"data has dtype {voxels.dtype}; the voxels are {spec.memory_dtype}.")
    x, y, z = voxels.shape[1:]
    for shard_write in array.shard_writes(topleft, (x, y, z)):
        with shard_write as plan:
            engine.write(plan, in_storage_order(spec, voxels))


def in_storage_order(spec: ArraySpec, voxels: Any) -> Any:
    """Return an array ``(channel, x, y, z, ...)`` with the axes that plans have: the fastest one of a chunk first."""
    if spec.is_in_xyz_order:
        return voxels
    first, second, third = spec.axis_order
    return voxels.transpose(0, 1 + first, 1 + second, 1 + third, *range(4, voxels.ndim))


def boxes_are_equal(
    one: StoredArray, other: StoredArray, engine: Engine, toplefts: tuple[Triple, Triple], shape: Triple
) -> bool:
    """Whether a box of one mag has the same voxels as one of another mag.

    Where chunks face each other, they are compared chunk by chunk; elsewhere both boxes are read.

    Parameters
    ----------
    toplefts : tuple of (x, y, z)
        First voxel of each box in its mag's own grid.
    shape : tuple of int
        Voxels ``(x, y, z)`` of both boxes.
    """
    if chunk_grids_coincide((one.spec, other.spec), (one.pieces, other.pieces), toplefts):
        equal = _compared_by_chunks(one, other, engine, toplefts, shape)
        if equal is not None:
            return equal
    voxels = (read_box(array, engine, topleft, shape) for array, topleft in zip((one, other), toplefts, strict=True))
    with engine.active():
        return bool(engine.xp.array_equal(*voxels))


def _compared_by_chunks(
    one: StoredArray, other: StoredArray, engine: Engine, toplefts: tuple[Triple, Triple], shape: Triple
) -> bool | None:
    """Compare two boxes chunk by chunk; None where their chunks do not face each other, or need several plans."""
    mine, my_files = next(one.read_plans([toplefts[0]], shape))
    with my_files:
        others, other_files = next(other.read_plans([toplefts[1]], shape))
        with other_files:
            plan = comparison_plan(mine, others)
            if plan is None or not (my_files.are_open and other_files.are_open):
                return None
            return engine.compare(plan, (my_files, other_files))


def _read(array: StoredArray, engine: Engine, toplefts: Sequence[Triple], shape: Triple) -> Any:
    """Read into new memory ``(channel, x, y, z, box)``, which is not touched before it is filled."""
    spec = array.spec
    full_shape = (spec.num_channels, *shape, len(toplefts))
    nbytes = prod(full_shape) * spec.dtype.itemsize
    if nbytes >= LARGE_BYTES:
        boxes = f"The box at {toplefts[0]}" if len(toplefts) == 1 else f"{len(toplefts)} boxes"
        engine.check_room(nbytes, f"{boxes} of {shape} voxels of {array.path}")
    out = None

    def fill(plan: ReadPlan, sources: Sources) -> None:
        nonlocal out
        if out is None:
            # Where nothing is stored, untouched zero pages are the fastest answer.
            is_zero = not plan.files and spec.has_zero_fill
            out = (engine.zeros if is_zero else engine.empty)(full_shape, spec.memory_dtype)
            if is_zero:
                return
        engine.read(plan, sources, in_storage_order(array.spec, out))  # which may be another one after a rewrite

    array.read(toplefts, shape, fill)
    return engine.zeros(full_shape, spec.memory_dtype) if out is None else out  # without boxes there is no plan


def _fill(array: StoredArray, engine: Engine, toplefts: Sequence[Triple], shape: Triple, out: Any) -> None:
    """Fill an array ``(channel, x, y, z, box)`` of the engine."""
    array.read(
        toplefts, shape, lambda plan, sources: engine.read(plan, sources, in_storage_order(array.spec, out))
    )  # fmt: skip


def _output(array: StoredArray, engine: Engine, out: Any, expected: tuple[int, ...]) -> Any:
    target = engine.as_output(out)
    if target.shape != expected:
        raise ShapeError(f"out has shape {target.shape}; this read needs {expected}.")
    if target.dtype != array.spec.memory_dtype:
        raise DtypeError(f"out has dtype {target.dtype}; the voxels are {array.spec.memory_dtype}.")
    return target
