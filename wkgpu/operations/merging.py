"""Files of a volume annotation merged into the shards of another mag: their voxels replace those of the shards.

A file of an annotation holds one chunk. The work on one shard is cut into *cells*: boxes of whole chunks of the target
that hold whole files, where the shapes allow it, so that no file is decoded twice and no chunk encoded twice. Of the
target, only cells are read that the files do not fill.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import gcd, lcm, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines import Engine
from wkgpu.errors import DtypeError, MismatchError, RegionError, ShapeError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.voxel_box import Triple, VoxelBox, triple
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.jobs import Executor, run_jobs
from wkgpu.operations.transfer import channels_of_part, in_storage_order, read_stack, with_its_end
from wkgpu.storage.plans.chunk_lookup import Ints, cells_in_boxes
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import ArrayPart, StoredArray

_MAX_VOXEL_BYTES = 1 << 30  # new voxels in memory: a default shard of uint8, which is then encoded and written once


class FileCells(NamedTuple):
    """Boxes of one shape in one shard that files lie in."""

    shape: Triple
    """``(x, y, z)`` voxels of each."""
    topleft: Ints
    """(n, 3) First voxel ``(x, y, z)`` in the mag's own grid."""
    is_new: NDArray[np.bool_]
    """(n, z, y, x) Which parts of the cell the files hold; parts are as large as fits cells and files."""

    def batches(self, count: int) -> Iterator[FileCells]:
        """Cut the table into others of at most ``count`` rows, in which the cells that are not filled come first."""
        for first in range(0, len(self.topleft), count):
            topleft, is_new = self.topleft[first : first + count], self.is_new[first : first + count]
            order = is_new.all(axis=(1, 2, 3)).argsort(kind="stable")
            yield FileCells(self.shape, topleft[order], is_new[order])


class MergeJob(NamedTuple):
    """A shard to change.

    Attributes
    ----------
    target, source : ArrayRegion
        The shard, and the mag whose files are merged.
    files : int64 (n, 3)
        First voxels ``(x, y, z)`` of these files.
    """

    target: ArrayRegion
    source: ArrayRegion
    files: Ints


def merge_regions(
    regions: Sequence[tuple[ArrayRegion, ArrayRegion]], executor: Executor | None, progress_desc: str | None
) -> VoxelBox | None:
    """Overlay all files of another mag; see `MagView.merge_with_view`.

    Parameters
    ----------
    regions : sequence of (ArrayRegion, ArrayRegion)
        The mag that is changed and the other one, at each coordinate along further axes.

    Returns
    -------
    VoxelBox
        What holds the boxes of all files; None if there are no files.
    """
    for target, source in regions:
        check_mergeable(target, source)
    jobs = [job for target, source in regions for job in _merge_jobs(target, source)]
    shard_boxes = [job.target.bounding_box for job in jobs]
    run_jobs(merge_shard, jobs, executor=executor, boxes=shard_boxes, progress_desc=progress_desc)
    if not jobs:
        return None
    files, file_shape = np.concatenate([job.files for job in jobs]), jobs[0].source.array.spec.shard_shape
    return VoxelBox.from_corners(files.min(axis=0).tolist(), (files.max(axis=0) + file_shape).tolist())


def _merge_jobs(target: ArrayRegion, source: ArrayRegion) -> Iterator[MergeJob]:
    """Yield a job for each shard that files reach into."""
    boxes = source.array.shard_boxes()
    if not boxes:
        return
    files = np.array([topleft for topleft, _ in boxes], np.int64)
    shard_shape = target.array.spec.shard_shape
    for shard, inside in files_by_shard(files, source.array.spec.shard_shape, shard_shape):
        yield MergeJob(target.part(VoxelBox(shard, shard_shape)), source, files[inside])


def merge_shard(job: MergeJob) -> None:
    """Change the shard of one job, in this process or another one."""
    target = job.target
    merge_files(target.array, job.source.array, target.engine, target.box.topleft, job.files)


def merge_boxes(
    target: ArrayRegion, source: ArrayRegion, shard_box: NDBoundingBox, boxes: Sequence[NDBoundingBox]
) -> None:
    """Overlay files of another mag, given by their boxes in Mag(1), on one shard; see `MagView.merge_chunk`."""
    check_mergeable(target, source)
    (shard,) = _file_corners([shard_box], target.array.spec.shard_shape, target.mag)
    files = _file_corners(boxes, source.array.spec.shard_shape, target.mag)
    merge_files(target.array, source.array, target.engine, triple(shard.tolist()), files)


def check_mergeable(target: ArrayRegion, source: ArrayRegion) -> None:
    """Check that files of a mag can be merged into another one.

    Raises
    ------
    MismatchError, DtypeError, ShapeError
        If they differ in magnification, dtype or channels, or the source has several chunks in a file.
    """
    ours, theirs = target.array.spec, source.array.spec
    if source.mag != target.mag:
        raise MismatchError(
            f"{source.name} has the mag {source.mag}, {target.name} has {target.mag}; merge mags that are equal."
        )
    if theirs.memory_dtype != ours.memory_dtype:
        raise DtypeError(
            f"{source.name} has voxels of {theirs.dtype}, {target.name} of {ours.dtype}; merge equal dtypes."
        )
    if theirs.num_channels != ours.num_channels:
        raise ShapeError(
            f"{source.name} has {theirs.num_channels} channels, {target.name} has {ours.num_channels}; merge as many."
        )
    if theirs.chunks_in_shard != 1:
        raise ShapeError(
            f"{source.name} has {theirs.chunks_in_shard} chunks in a file, so its files do not tell which voxels are "
            "set; rechunk() it to one chunk in a file, which leaves files of zeros out."
        )


def _file_corners(boxes: Sequence[NDBoundingBox], file_shape: Triple, mag: Mag) -> Ints:
    """Return the first voxels, in the mag's own grid, (n, 3), of boxes in Mag(1) that each are that of a file."""
    found = np.array([(*box.topleft_xyz, *box.size_xyz) for box in boxes], np.int64).reshape(-1, 6)
    shape = np.multiply(file_shape, mag.to_tuple())
    topleft, size = found[:, :3], found[:, 3:]
    is_file = ((topleft >= 0) & (topleft % shape == 0) & (size == shape)).all(axis=1)
    if not is_file.all():
        raise RegionError(
            f"{boxes[int(is_file.argmin())]} is not the box of a file; a box has {shape.tolist()} voxels of Mag(1) "
            "and begins at a multiple of them. Use those of MagView.get_bounding_boxes_on_disk()."
        )
    return topleft // mag.to_tuple()


def files_by_shard(files: Ints, file_shape: Triple, shard_shape: Triple) -> Iterator[tuple[Triple, list[int]]]:
    """Yield the first voxel of each shard that files reach into, ascending by z, y, x, and which files these are.

    Parameters
    ----------
    files : int64 (n, 3)
        First voxels ``(x, y, z)`` of the files.
    """
    shards, file = cells_in_boxes(files // shard_shape, (files + file_shape - 1) // shard_shape)
    found, position, counts = np.unique(shards[:, ::-1], axis=0, return_inverse=True, return_counts=True)
    by_shard = file[position.reshape(-1).argsort(kind="stable")]
    corners = (found[:, ::-1] * shard_shape).tolist()
    for (x, y, z), its_files in zip(corners, np.split(by_shard, counts.cumsum()[:-1]), strict=True):
        yield (x, y, z), its_files.tolist()


def merge_files(target: StoredArray, source: StoredArray, engine: Engine, shard: Triple, files: Ints) -> None:
    """Overlay those parts of files that lie in one shard.

    The shard is locked and written once for each GiB of voxels. If that fails, what was written before stays written,
    and the rest of the shard is as it was.

    Parameters
    ----------
    target, source : StoredArray
        Of one dtype and as many channels; a file of the source holds one chunk.
    shard : tuple of int
        First voxel ``(x, y, z)`` of the target's shard.
    files : int64 (n, 3)
        First voxels of the source's files. One that does not exist holds the fill value.
    """
    cells = _cells_of_files(target.spec, source.spec.chunk_shape, shard, files)
    voxel_bytes = max(target.spec.voxel_bytes, target.spec.of_part.voxel_bytes)
    at_once = max(_MAX_VOXEL_BYTES // (prod(cells.shape) * voxel_bytes), 1)
    with engine.active():
        for batch in cells.batches(at_once):
            _merge_cells(target, source, engine, batch)


def _merge_cells(target: StoredArray, source: StoredArray, engine: Engine, cells: FileCells) -> None:
    """Overlay cells of one shard, of which those come first that keep old voxels."""
    corners = cells.topleft.tolist()
    voxels = read_stack(source, engine, corners, cells.shape)
    for part in with_its_end(target).parts:
        own = channels_of_part(part, engine, voxels) if part.is_alone else voxels[part.channels].copy(order="F")
        for shard_write in part.array.stack_writes(corners, cells.shape):
            with shard_write as plan:  # what is kept is read under the shard's lock, so no concurrent write is lost
                stack = _with_old_voxels(part, engine, own, cells)
                engine.write(plan, in_storage_order(part.array.spec, stack))


def _with_old_voxels(part: ArrayPart, engine: Engine, voxels: Any, cells: FileCells) -> Any:
    """Return a stack of whole cells: with old voxels where no file has new ones, and all else that chunks hold."""
    corners, is_old = cells.topleft.tolist(), ~cells.is_new
    if part.is_alone:
        keeping = int(is_old.any(axis=(1, 2, 3)).sum())
        if keeping:
            _keep(engine, voxels, read_stack(part.array, engine, corners[:keeping], cells.shape), is_old[:keeping])
        return voxels
    stack = read_stack(part.array, engine, corners, cells.shape)
    _keep(engine, voxels, stack[part.selected].copy(order="F"), is_old)
    stack[part.selected] = voxels
    return stack


def _keep(engine: Engine, voxels: Any, old: Any, is_old: NDArray[np.bool_]) -> None:
    """Put old voxels back into the parts of a stack of cells that no file holds.

    Parameters
    ----------
    voxels, old : array (channel, x, y, z)
        Stacks in Fortran order; `old` has the first cells of `voxels` only.
    is_old : bool (n, z, y, x)
        Of each cell in `old`, which parts are to be kept.
    """
    channels, x, y, depth = old.shape
    n, parts_z, parts_y, parts_x = is_old.shape
    in_parts = (n, parts_z, -1, parts_y, y // parts_y, parts_x, x // parts_x, channels)
    there = voxels.T[:depth].reshape(in_parts)  # the same memory, seen as parts
    where = engine.asarray(is_old)[:, :, None, :, None, :, None, None]
    engine.xp.copyto(there, old.T.reshape(in_parts), where=where)


def _cells_of_files(spec: ArraySpec, file_shape: Triple, shard: Triple, files: Ints) -> FileCells:
    """Return the cells of a shard that files lie in."""
    cell = _cell_shape(spec, file_shape)
    part = np.array([gcd(length, of_file) for length, of_file in zip(cell, file_shape, strict=True)], np.int64)
    first = np.maximum(files, shard) // part
    last = (np.minimum(files + file_shape, np.add(shard, spec.shard_shape)) - 1) // part
    is_inside = (first <= last).all(axis=1)
    parts, _ = cells_in_boxes(first[is_inside], last[is_inside])
    per_cell = np.array(cell, np.int64) // part
    found, position = np.unique(parts // per_cell, axis=0, return_inverse=True)
    x, y, z = (parts % per_cell).T
    is_new = np.zeros((len(found), *per_cell[::-1]), np.bool_)
    is_new[position.reshape(-1), z, y, x] = True
    return FileCells(cell, found * np.array(cell, np.int64), is_new)


def _cell_shape(spec: ArraySpec, file_shape: Triple) -> Triple:
    """Return the smallest multiple of chunks and of files, or one chunk where that fits no shard, or no memory."""
    x, y, z = map(lcm, spec.chunk_shape, file_shape)
    is_fitting = not any(map(int.__mod__, spec.shard_shape, (x, y, z)))
    if is_fitting and x * y * z * spec.voxel_bytes <= _MAX_VOXEL_BYTES:
        return x, y, z
    return spec.chunk_shape
