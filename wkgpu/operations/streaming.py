"""Apply a kernel to the voxels of one or more mags and write the result to another, while the next voxels are read.

The box of a job is one of whole target shards: no two jobs write the same file. What a job writes at once is a *part*,
mostly a whole shard, because each write to a compressed shard writes all of it. A part is computed in *tiles*, as many
source voxels as are held at a time: while one is computed, the next one is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import gcd, prod
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from wkgpu.engines import Engine, get_engine, in_streams, side_streams
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.voxel_box import Triple, VoxelBox, bisected, triple
from wkgpu.operations.coordinates import EVERYWHERE, Ranges, at_each
from wkgpu.operations.jobs import Executor, run_jobs
from wkgpu.operations.prefetch import Ahead
from wkgpu.operations.tiling import boxes_around, common_chunk, job_shape, shard_number, shards_in
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.operations.voxels import Array
from wkgpu.settings import config
from wkgpu.storage.formats import open_array
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray

_PART_BYTES = 1 << 30  # of target voxels: a default shard of uint8, which is then encoded and written once
_MAX_TILE_BYTES = 1 << 30  # what one target chunk may be made of; above it, rather chunks are decoded twice


class Transformation(Protocol):
    """What is computed. It is sent to other processes, so that it must be possible to pickle it.

    Boxes are in the own grids of the target and of the sources.
    """

    @property
    def preserves_zero(self) -> bool:
        """Whether zeros are made of zeros, so that nothing needs to be done where nothing is stored."""
        ...

    @property
    def ratio(self) -> Triple:
        """Source voxels ``(x, y, z)`` that a target voxel is made of."""
        ...

    def source_boxes(self, target: VoxelBox) -> tuple[VoxelBox, ...]:
        """Return the box of each source that target voxels are made of."""
        ...

    def target_box(self, source: int, box: VoxelBox) -> VoxelBox | None:
        """Return the target box that is made of a box of one source."""
        ...

    def apply(self, engine: Engine, target: VoxelBox, arrays: Sequence[Array], out: Array, inside: VoxelBox) -> None:
        """Compute a box.

        Parameters
        ----------
        target : VoxelBox
            What is computed.
        arrays : sequence of array (channel, x, y, z)
            The voxels of the `source_boxes`, in Fortran order. They may be changed.
        out, inside : array (channel, x, y, z), VoxelBox
            Memory in Fortran order of a box that holds `target`, and that box.
        """
        ...


class StreamJob(NamedTuple):
    """A box of target shards to write.

    Attributes
    ----------
    sources, target : Path
        Folders of mags.
    device : str
        Name of the engine.
    box : VoxelBox
        The part of whole target shards that is to be written.
    follows_links : bool
        As for the target's `StoredArray`.
    coordinates : tuple
        Of the sources and of the target along their extra axes; see `StoredArray.at`.
    """

    sources: tuple[Path, ...]
    target: Path
    device: str
    transformation: Transformation
    box: VoxelBox
    follows_links: bool = False
    coordinates: tuple[tuple[int, ...], ...] = ()


def stream(
    sources: Sequence[StoredArray],
    target: StoredArray,
    region: VoxelBox,
    transformation: Transformation,
    mag: Mag,
    device: str,
    executor: Executor | None = None,
    progress_desc: str | None = None,
    ranges: Ranges = EVERYWHERE,
) -> None:
    """Compute all voxels of a region and write them.

    Shards in which all voxels have the fill value are not made, and overwritten where they exist.

    Parameters
    ----------
    region : VoxelBox
        In the target's own grid.
    mag : Mag
        Of the target, to name boxes in Mag(1).
    device : str
        Name of the engine that does it.
    ranges : mapping
        The coordinates along further axes at which it is done; without them, at those that have been chosen.
    """
    paths = tuple(source.path for source in sources)
    follows_links = target.follows_links or config.foreign_writes
    jobs = [
        StreamJob(paths, target.path, device, transformation, box, follows_links, tuple(map(_coordinates, arrays)))
        for arrays in at_each((*sources, target), ranges)
        for box in _job_boxes(arrays[:-1], arrays[-1], region, transformation)
    ]
    boxes = [BoundingBox(job.box.topleft, job.box.shape).from_mag_to_mag1(mag) for job in jobs]
    run_jobs(stream_box, jobs, executor=executor, boxes=boxes, progress_desc=progress_desc)


def stream_box(job: StreamJob) -> None:
    """Compute and write the box of one job, in this process or another one."""
    *sources, target = (*map(open_array, job.sources), open_array(job.target, follows_links=job.follows_links))
    if any(job.coordinates):
        pairs = zip((*sources, target), job.coordinates, strict=True)
        *sources, target = (array.at(coordinates) for array, coordinates in pairs)
    engine = get_engine(job.device)
    units = _units(sources, target, job.transformation)
    voxel_bytes = sum(source.spec.voxel_bytes for source in sources) * prod(job.transformation.ratio)
    voxels = prod(job.box.shape)
    part_bytes = min(_PART_BYTES, voxels * target.spec.voxel_bytes)
    tile_bytes = min(engine.tuning.streamed_bytes, voxels * voxel_bytes)
    wanted = part_bytes + 2 * tile_bytes  # one tile is computed, and the next one read
    with engine.active(), engine.share(wanted) as given:
        for part in bisected(job.box, units, part_bytes * given // wanted // target.spec.voxel_bytes):
            out = engine.empty((target.spec.num_channels, *part.shape), target.spec.memory_dtype)
            tiles = _tiles(part, units, voxel_bytes, tile_bytes * given // wanted)
            for tile, arrays in prefetched(sources, engine, job.transformation.source_boxes, tiles):
                job.transformation.apply(engine, tile, arrays, out, part)
                del arrays  # before the one after the next tile is read
            _write(target, engine, part, out)
            del out  # before the memory of the next part is taken


def _coordinates(array: StoredArray) -> tuple[int, ...]:
    return array.coordinates


def prefetched(
    sources: Sequence[StoredArray],
    engine: Engine,
    source_boxes: Callable[[VoxelBox], tuple[VoxelBox, ...]],
    tiles: list[VoxelBox],
) -> Iterator[tuple[VoxelBox, list[Array]]]:
    """Yield the voxels that each tile is made of, while those of the next one are read.

    No more than two tiles are held, if the consumer drops each before requesting the next.

    Parameters
    ----------
    source_boxes : callable
        Returns the box of each source for a tile.
    """

    def fetch(tile: VoxelBox) -> list[Array]:
        return [read_box(source, engine, *box) for source, box in zip(sources, source_boxes(tile), strict=True)]

    if len(tiles) == 1:
        yield tiles[0], fetch(tiles[0])
        return
    streams = side_streams()

    def fetch_ahead(tile: VoxelBox) -> list[Array]:
        with in_streams(streams):
            return fetch(tile)

    coming = [Ahead(partial(fetch_ahead, tile)) for tile in tiles]
    try:
        coming[0].start()
        for number, tile in enumerate(tiles):
            arrays = coming[number].result()
            if number + 1 < len(tiles):
                coming[number + 1].start()
            yield tile, arrays
            engine.wait()  # the thread that reads ahead knows nothing of kernels that still use this memory
            del arrays
    finally:
        for ahead in coming:
            ahead.wait()


def _write(target: StoredArray, engine: Engine, part: VoxelBox, out: Array) -> None:
    """Write a part shard by shard, if it holds data, or something else is stored there."""
    for shard in shards_in(target, part):
        inside = shard.intersection(part)
        assert inside is not None
        voxels = out[:, *inside.slices_in(part)]
        if has_data(voxels, target.spec) or target.has_shard(shard_number(target, shard)):
            write_box(target, engine, inside.topleft, voxels)


def has_data(voxels: Any, spec: ArraySpec | None = None) -> bool:
    """Whether any bit is set in an array in Fortran order, or in a part of one: -0.0 is data, too.

    Parameters
    ----------
    spec : ArraySpec, optional
        Of a mag: then whether any bit is another one than in its fill value.
    """
    if spec is not None and not spec.has_zero_fill:
        bits = f"u{voxels.dtype.itemsize}"
        return bool((voxels.view(bits) != np.frombuffer(spec.memory_fill_bytes, bits)[0]).any())
    if isinstance(voxels, np.ndarray):
        # As truth values the bytes are looked at many at a time, and only up to the first that is not 0.
        return bool(voxels.T.view(bool).any())
    # CuPy's bools are not safe for this: it takes the sign of a -0.0 alone for False. Integers have no such value.
    return bool(voxels.view(f"u{voxels.dtype.itemsize}").any())


# ---- How the work is cut


def _job_boxes(
    sources: Sequence[StoredArray], target: StoredArray, region: VoxelBox, transformation: Transformation
) -> list[VoxelBox]:
    """Return the boxes of the jobs that must be done, ascending by z, y, x."""
    shape = job_shape(target.spec, _units(sources, target, transformation))
    touched = [region]
    if transformation.preserves_zero and all(array.spec.has_zero_fill for array in (*sources, target)):
        stored = [VoxelBox(*shard) for shard in target.shard_boxes(region)]
        for number, source in enumerate(sources):
            stored += [
                box for shard in source.shard_boxes() if (box := transformation.target_box(number, VoxelBox(*shard)))
            ]
        touched = stored
    return boxes_around(touched, shape, region)


def _units(sources: Sequence[StoredArray], target: StoredArray, transformation: Transformation) -> Triple:
    """Return the fewest target voxels that are computed without decoding or encoding a chunk twice."""
    made_of_chunks = (
        triple(length // gcd(length, ratio) for length, ratio in zip(shape, transformation.ratio, strict=True))
        for shape in (source.spec.chunk_shape for source in sources)
    )
    return common_chunk(target.spec.chunk_shape, made_of_chunks, _PART_BYTES // target.spec.voxel_bytes)


def _tiles(part: VoxelBox, units: Triple, voxel_bytes: int, tile_bytes: int) -> list[VoxelBox]:
    """Cut a part into tiles of whole chunks; only chunks of very many source voxels are cut as well.

    Parameters
    ----------
    voxel_bytes : int
        Bytes of the source voxels that a target voxel is made of.
    tile_bytes : int
        Bytes of source voxels that a tile has, if one of whole chunks has no more.
    """
    max_voxels = max(_MAX_TILE_BYTES // voxel_bytes, 1)
    uncut = bisected(part, units, tile_bytes // voxel_bytes)
    return [tile for box in uncut for tile in bisected(box, (1, 1, 1), max_voxels)]
