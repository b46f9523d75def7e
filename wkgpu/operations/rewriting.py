"""Rewriting a mag in another layout: raw, LZ4 or LZ4HC, with other chunks and shards.

The box of a job is one of whole target shards: no two jobs write the same file, and within a job the engine already
uses all threads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from wkgpu.engines import Engine, get_engine
from wkgpu.errors import HeaderError, MismatchError, UnsupportedError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.voxel_box import Triple, VoxelBox, bisected
from wkgpu.operations.coordinates import at_each, ranges_of
from wkgpu.operations.jobs import Executor, run_jobs
from wkgpu.operations.streaming import has_data
from wkgpu.operations.tiling import boxes_around, common_chunk, job_shape, shard_number, shards_in
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.formats import create_array, open_array
from wkgpu.storage.shard_index import shard_indexes
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.local.file_swap import FileSwap
from wkgpu.storage.stores.local.hidden import holds_hidden_folders
from wkgpu.storage.stores.local.links import first_link
from wkgpu.storage.stores.local.local_store import location_of

_MAX_READ_BYTES = 1 << 30  # voxels in memory: a default shard of uint8, which is then encoded and written once


class RewriteJob(NamedTuple):
    """A box of target shards to write.

    Attributes
    ----------
    source, target : Path
        Folders of two mags.
    device : str
        Name of the engine.
    box : VoxelBox
        Whole target shards.
    filled : VoxelBox, optional
        What is also written where the source stores nothing, because the target has another fill value.
    coordinates : tuple
        Of the source and of the target along their extra axes; see `StoredArray.at`.
    """

    source: Path
    target: Path
    device: str
    box: VoxelBox
    filled: VoxelBox | None = None
    coordinates: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


def rewrite(
    source: StoredArray,
    target: StoredArray,
    mag: Mag,
    device: str,
    executor: Executor | None = None,
    progress_desc: str | None = None,
    region: VoxelBox | None = None,
) -> None:
    """Write all voxels of a stored mag into another one, which is empty, at each coordinate along further axes.

    With one format and one spec, files that have its codecs are copied as they are.

    Shards that do not exist are not made. If both have the same shards, each that exists gets its counterpart;
    otherwise target shards that would hold only the fill value are left out. If the fill values differ, all voxels of a
    region are written, whether they are stored or not.

    Parameters
    ----------
    mag : Mag
        Magnification of both, to name boxes in Mag(1).
    device : str
        Name of the engine that decodes and encodes.
    region : VoxelBox, optional
        Which voxels belong to the mag; those that are stored beyond it are written, too.

    Raises
    ------
    MismatchError
        If the fill values differ and no region says where, or the target lacks coordinates of the source.
    """
    filled = None if source.spec.memory_fill_bytes == target.spec.memory_fill_bytes else region
    if filled is None and source.spec.memory_fill_bytes != target.spec.memory_fill_bytes:
        raise MismatchError(
            f"{source.path} has the fill_value {source.spec.fill_value}, and {target.path} {target.spec.fill_value}; "
            "give a region, in which the voxels are written that are stored nowhere."
        )
    jobs = [
        RewriteJob(one.path, other.path, device, box, filled, (one.coordinates, other.coordinates))
        for one, other in at_each((source, target), ranges_of(source))
        for box in _job_boxes(one, target.spec, filled)
    ]
    boxes = [BoundingBox(job.box.topleft, job.box.shape).from_mag_to_mag1(mag) for job in jobs]
    run_jobs(rewrite_box, jobs, executor=executor, boxes=boxes, progress_desc=progress_desc)


def rewrite_in_place(
    path: Path,
    mag: Mag,
    spec: ArraySpec,
    device: str,
    executor: Executor | None,
    progress_desc: str | None,
    save: Callable[[], None] = lambda: None,
) -> None:
    """Give a mag another layout. New shards are made in a hidden folder of the mag, and then swapped with the old ones.

    Only shards and the header are swapped; all else in the folder stays. Whatever fails, and whenever the process ends,
    the old voxels or the new ones are there, whole; see `wkgpu.storage.stores.local.file_swap`.

    Parameters
    ----------
    save : callable, optional
        Lets the properties file say what the header says now. If a crash comes before, `settle_rewrite` does it.

    Raises
    ------
    MismatchError
        If another process has written to the mag since; it then stays as it is.
    StorageAccessError
        If a folder of shards is a link: files are only swapped in folders of the mag itself.
    UnsupportedError
        If the array lacks one of the axes x, y and z.
    """
    path = path.resolve()
    found = open_array(path)
    with FileSwap(found.lock_file, found.is_shard, save) as swap:
        source = open_array(path)
        if source.has_spec(spec):  # another process was faster
            return
        if missing := [axis for axis in "xyz" if axis not in source.axes]:
            raise UnsupportedError(  # files would get names that are folders of the old ones, or the other way round
                f"{path} lacks the axes {missing}, which new arrays have, and is not rewritten in place; give a "
                "target_path, or copy it."
            )
        before = _state(source)
        old = [Path(shard).relative_to(path).as_posix() for shard in before]
        swap.check_folders(old)
        target = create_array(swap.building, spec, source.data_format, source.extent, source.axes, source.extra_axes)
        target.take_over(source)
        rewrite(source, target, mag, device, executor, progress_desc)
        with swap.exclusive():
            if source.is_outdated() or _state(source) != before:
                raise MismatchError(f"{path} was written to while it was rewritten. It stays as it is; try again.")
            swap.commit(old)
        for shard in before:
            shard_indexes.discard(shard)


def settle_rewrite(path: Path, save: Callable[[], None]) -> None:
    """Finish or undo a rewrite of a mag that a crash has interrupted, unless another process is at work there.

    Parameters
    ----------
    path : Path
        The mag's folder.
    save : callable
        As for `rewrite_in_place`.
    """
    if holds_hidden_folders(path):
        found = open_array(path.resolve())
        with suppress(BlockingIOError), FileSwap(found.lock_file, found.is_shard, save, wait=False):
            pass


def rewrite_box(job: RewriteJob) -> None:
    """Write the shards of one job, in this process or another one."""
    arrays = open_array(job.source), open_array(job.target)
    source, target = (array.at(at) for array, at in zip(arrays, job.coordinates, strict=True))
    stored = [VoxelBox(*box) for box in source.shard_boxes(job.box)]
    if _kind_of_files(source) == _kind_of_files(target):
        stored = [box for box in stored if not _copy_shard(source, target, shard_number(source, box))]
    filled = None if job.filled is None else job.filled.intersection(job.box)
    wanted = [*_before_the_end(source, stored), *([] if filled is None else [filled])]
    if not wanted:  # all are copied, or another process has deleted files; detected when the folders are swapped
        return
    engine = get_engine(job.device)
    kept = set(stored) if source.spec.shard_shape == target.spec.shard_shape else set()
    with engine.active():
        for part in _parts(_around(wanted, job.box), source.spec, target.spec):
            _rewrite_part(source, target, engine, part, kept)


def _kind_of_files(array: StoredArray) -> tuple[str, ArraySpec, Hashable]:
    """Return what is equal where files can be copied as they are."""
    return array.data_format, array.spec, array.file_layout


def _copy_shard(source: StoredArray, target: StoredArray, shard: Triple) -> bool:
    """Copy a file as it is, if it has the target's codecs; tells whether it was copied."""
    if not _is_copied(source, shard, target.spec.codecs):
        return False
    copy = location_of(Path(target.shard_path(shard)))
    copy.store.copy(location_of(Path(source.shard_path(shard))), copy.key)
    if source.is_rewritten():  # the file may be one of another spec
        copy.store.delete(copy.key)
        return False
    return True


def _is_copied(source: StoredArray, shard: Triple, codecs: Pipeline) -> bool:
    """Whether a file is copied as it is. So is a damaged one, of which nothing else can be kept.

    What a link leads to could be a private file, and the copy is for others. A shard that says so is copied;
    in formats whose files do not, it is decoded and encoded again.

    Raises
    ------
    HeaderError
        For a link to a file that says that it is no shard of this mag.
    """
    found, path = source.shard_codecs(shard), source.shard_path(shard)
    if (link := first_link(path, str(source.path))) is not None:
        if not source.files_say_spec:
            return False
        if found is None:
            raise HeaderError(
                f"{path} is no shard of its mag, and {link} is a link; such a file is not copied. Remove it."
            )
    return found in (None, codecs)


def _rewrite_part(
    source: StoredArray, target: StoredArray, engine: Engine, part: VoxelBox, kept: set[VoxelBox]
) -> None:
    """Write one box, shard by shard; those in `kept` also if they hold only the fill value, once."""
    voxels = read_box(source, engine, part.topleft, part.shape)
    for shard in shards_in(target, part):
        inside = shard.intersection(part)
        assert inside is not None
        in_shard = voxels[:, *inside.slices_in(part)]
        if shard in kept or has_data(in_shard, target.spec):
            write_box(target, engine, inside.topleft, in_shard)
            kept.discard(shard)


# ---- How the work is cut


def _job_boxes(source: StoredArray, spec: ArraySpec, filled: VoxelBox | None) -> list[VoxelBox]:
    """Return the boxes of target shards in which anything is stored or filled, ascending by z, y, x."""
    shape = job_shape(spec, source.spec.chunk_shape)
    wanted = [VoxelBox(*shard) for shard in source.shard_boxes()]
    if filled is not None and min(filled.shape) > 0:
        wanted.append(filled)
    return boxes_around(wanted, shape)


def _before_the_end(array: StoredArray, boxes: list[VoxelBox]) -> list[VoxelBox]:
    """Return those parts of the boxes of files that hold voxels of an array, so that none is written behind its end."""
    if array.extent is None:
        return boxes
    whole = VoxelBox((0, 0, 0), array.extent)
    return [part for box in boxes if (part := box.intersection(whole)) is not None]


def _parts(box: VoxelBox, source: ArraySpec, target: ArraySpec) -> Iterator[VoxelBox]:
    """Cut a box at borders of chunks, until each part may be held in memory."""
    max_voxels = _MAX_READ_BYTES // target.voxel_bytes
    return bisected(box, common_chunk(target.chunk_shape, [source.chunk_shape], max_voxels), max_voxels)


def _around(boxes: list[VoxelBox], outer: VoxelBox) -> VoxelBox:
    """Return the smallest box around those parts of boxes that lie in another one."""
    inside = [part for box in boxes if (part := box.intersection(outer)) is not None]
    begin = (min(part.topleft[axis] for part in inside) for axis in range(3))
    found = VoxelBox.from_corners(begin, (max(part.end[axis] for part in inside) for axis in range(3)))
    assert found is not None
    return found


def _state(array: StoredArray) -> dict[str, tuple[int, int, int]]:
    """Return what changes when a mag is written to: its shard files, and inode, size and time of each."""
    state = {}
    for (at_one,) in at_each((array,), ranges_of(array)):
        for part in at_one.parts:
            for shard in part.array.existing_shards():
                status = Path(path := part.array.shard_path(shard)).stat()
                state[path] = status.st_ino, status.st_size, status.st_mtime_ns
    return state
