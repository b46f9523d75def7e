"""Boxes of voxels between a stored mag and arrays: storage plans, an engine executes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from wkgpu.engines import Engine
from wkgpu.engines.host_memory import LARGE_BYTES
from wkgpu.errors import DtypeError, ShapeError
from wkgpu.geometry.voxel_box import Triple, VoxelBox, bisected, triple
from wkgpu.operations.tiling import shards_in
from wkgpu.storage.plans.comparison import chunk_grids_coincide, comparison_plan
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import ArrayPart, StoredArray


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
    for part in with_its_end(array).parts:
        _write_part(part, engine, topleft, voxels)


def _write_part(part: ArrayPart, engine: Engine, topleft: Triple, voxels: Any) -> None:
    box = VoxelBox(topleft, triple(voxels.shape[1:]))
    if part.is_alone:
        own = channels_of_part(part, engine, voxels)
        for shard_write in part.array.shard_writes(*box):
            with shard_write as plan:
                engine.write(plan, in_storage_order(part.array.spec, own))  # which a rewrite may just have changed
        return
    for shard in shards_in(part.array, box):
        inside = shard.intersection(box)
        assert inside is not None
        for shard_write in part.array.shard_writes(*inside):
            with shard_write as plan:  # what else its chunks hold is read under the shard's lock
                own = read_box(part.array, engine, *inside)
                with engine.active():
                    own[part.selected] = engine.asarray(voxels[part.channels, *inside.slices_in(box)])
                engine.write(plan, in_storage_order(part.array.spec, own))


def channels_of_part(part: ArrayPart, engine: Engine, voxels: Any) -> Any:
    """Return which of the channels ``(channel, x, y, z)`` of an array are written to a part that is alone.

    A chunk may have more channels than there are: those behind the last one get the fill value.
    """
    own, spec = voxels[part.channels], part.array.spec
    if own.shape[0] == spec.num_channels:
        return own
    _check_room(engine, (spec.num_channels, *own.shape[1:]), part.array, "A write")
    with engine.active():
        padded = engine.xp.full((spec.num_channels, *own.shape[1:]), _fill_value(spec), own.dtype, order="F")
        padded[part.selected] = own
    return padded


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
    is_plain = all(_is_one_part(array) for array in (one, other)) and all(
        _is_inside(array, [topleft], shape) for array, topleft in zip((one, other), toplefts, strict=True)
    )
    if is_plain and chunk_grids_coincide((one.spec, other.spec), (one.pieces, other.pieces), toplefts):
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
    if not (_is_one_part(array) and _is_inside(array, toplefts, shape)):
        out = engine.empty(full_shape, spec.memory_dtype)
        _fill(array, engine, toplefts, shape, out)
        return out
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
    array = with_its_end(array)
    for part, channels, selected, _ in array.parts:
        own, wanted = out[channels], part.spec.num_channels
        if own.shape[0] == wanted:
            _fill_part(part, engine, toplefts, shape, own)
            continue
        for corners, lengths, where in _tiles(toplefts, shape, part.spec):
            _check_room(engine, (wanted, *lengths, len(corners)), part, "A read")
            voxels = engine.empty((wanted, *lengths, len(corners)), out.dtype)
            _fill_part(part, engine, corners, lengths, voxels)
            with engine.active():
                own[where] = voxels[selected]
    if not _is_inside(array, toplefts, shape):
        _fill_outside(array, engine, toplefts, shape, out)


def _fill_part(part: StoredArray, engine: Engine, toplefts: Sequence[Triple], shape: Triple, out: Any) -> None:
    part.read(
        toplefts, shape, lambda plan, sources: engine.read(plan, sources, in_storage_order(part.spec, out))
    )  # fmt: skip


def _tiles(
    toplefts: Sequence[Triple], shape: Triple, spec: ArraySpec
) -> Iterator[tuple[Sequence[Triple], Triple, tuple[slice, ...]]]:
    """Cut boxes where all channels of a chunk are read and only some are wanted, so that this takes little memory.

    Yields
    ------
    toplefts, shape : sequence of (x, y, z), tuple of int
        Boxes to read together.
    where : tuple of slice
        Of an array ``(channel, x, y, z, box)`` of all boxes, the part that they are.
    """
    max_voxels = max(LARGE_BYTES // spec.voxel_bytes, 1)
    if prod(shape) * len(toplefts) <= max_voxels:
        yield toplefts, shape, (slice(None),) * 5
        return
    for number, topleft in enumerate(toplefts):
        box = VoxelBox(topleft, shape)
        for tile in bisected(box, spec.chunk_shape, max_voxels):
            yield [tile.topleft], tile.shape, (slice(None), *tile.slices_in(box), slice(number, number + 1))


def _check_room(engine: Engine, shape: tuple[int, ...], part: StoredArray, what: str) -> None:
    """See that there is room for all channels of a chunk, where a read or a write needs only some."""
    nbytes = prod(shape) * part.spec.dtype.itemsize
    if nbytes >= LARGE_BYTES:
        what = f"{what} of {shape[1:4]} voxels of {part.path}, which has {shape[0]} channels in a chunk,"
        engine.check_room(nbytes, what, "Take a smaller box, or store fewer channels in a chunk.")


def with_its_end(array: StoredArray) -> StoredArray:
    """Return an array as it is stored now, if it has an end: other objects may have moved that, such as its parts."""
    return array if array.extent is None else array.current()


def _is_one_part(array: StoredArray) -> bool:
    return len(array.parts) == 1 and array.spec.channels_per_chunk is None


def _is_inside(array: StoredArray, toplefts: Sequence[Triple], shape: Triple) -> bool:
    """Whether boxes lie in an array whole."""
    extent = array.extent
    if extent is None:
        return True
    x, y, z = (end - length for end, length in zip(extent, shape, strict=True))
    return all(left <= x and top <= y and front <= z for left, top, front in toplefts)


def _fill_outside(array: StoredArray, engine: Engine, toplefts: Sequence[Triple], shape: Triple, out: Any) -> None:
    """Give what lies behind the end of an array the fill value: its last chunks may hold anything there."""
    extent, fill_value = array.extent, _fill_value(array.spec)
    assert extent is not None
    with engine.active():
        for box, topleft in enumerate(toplefts):
            x, y, z = (max(end - low, 0) for end, low in zip(extent, topleft, strict=True))
            for outside in (np.s_[:, x:], np.s_[:, :x, y:], np.s_[:, :x, :y, z:]):
                out[..., box][outside] = fill_value


def _fill_value(spec: ArraySpec) -> np.generic:
    value: np.generic = np.frombuffer(spec.memory_fill_bytes, spec.memory_dtype)[0]
    return value


def _output(array: StoredArray, engine: Engine, out: Any, expected: tuple[int, ...]) -> Any:
    target = engine.as_output(out)
    if target.shape != expected:
        raise ShapeError(f"out has shape {target.shape}; this read needs {expected}.")
    if target.dtype != array.spec.memory_dtype:
        raise DtypeError(f"out has dtype {target.dtype}; the voxels are {array.spec.memory_dtype}.")
    return target
