"""A stored mag, of any format: from boxes of voxels to read plans and shard writes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from operator import add
from typing import NamedTuple, Self

import numpy as np

from wkgpu.errors import (
    HeaderError,
    MismatchError,
    OutdatedFileError,
    ShapeError,
    WkgpuError,
)
from wkgpu.geometry.voxel_box import Triple, triple
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import (
    Pieces,
    ShardRows,
    chunks_by_shard,
    chunks_in_boxes,
)
from wkgpu.storage.plans.read import ReadPlan
from wkgpu.storage.plans.sources import Sources
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.shard_folder import ShardFolder
from wkgpu.storage.shard_write import MAX_OVERTAKEN, ShardWrite
from wkgpu.storage.spec import ArraySpec

_MAX_ATTEMPTS = 32  # a mag that is rewritten more often during one read or write is not waited for


class ArrayPart(NamedTuple):
    """Some channels of an array, which lie in chunks of their own."""

    array: StoredArray
    """Whose chunks have these channels."""
    channels: slice
    """Which channels of the whole array they are."""
    selected: slice
    """Which channels of the chunks they are; mostly all."""
    is_alone: bool = True
    """Whether the chunks hold nothing else of the array."""


class StoredArray(ShardFolder):
    """A folder of shard files, read and written. A file format is a subclass in a file of its own.

    The mag may be rewritten concurrently, by another object or another process, in other chunks and shards. Plans are
    made for the files that are there: each begins with `current`, and where the files change while it is made, it is
    made again.
    """

    @property
    def parts(self) -> tuple[ArrayPart, ...]:
        """The array itself, or where its channels lie in several chunks, an array for each of these."""
        return (ArrayPart(self, slice(None), slice(None)),)

    def at(self, coordinates: tuple[int, ...]) -> Self:
        """Return the array at one coordinate along each of its extra axes.

        Raises
        ------
        ShapeError
            For other numbers of coordinates than there are extra axes, and for those outside of the array.
        """
        if coordinates:
            raise ShapeError(f"{self.path} has no axes besides channels, x, y and z; {coordinates} are too many.")
        return self

    # ---- Files that another process rewrites

    def current(self) -> Self:
        """Return the mag as it is stored now, which stays as it is when this object is reloaded by another thread.

        Raises
        ------
        NotFoundError
            If the mag does not exist any more.
        MismatchError
            If it has another dtype or number of channels than the mag that was opened.
        """
        if self.is_outdated():
            self.location.store.finish_swap(self._lock_key, self.is_shard)
            self._reload()
        snapshot: Self = object.__new__(type(self))
        snapshot.__dict__ = self.__dict__  # of which reloading makes a new one
        return snapshot

    def _reload(self) -> None:
        """Open the mag again in the same object, which views share."""
        fresh = self._opened_again()
        ours, theirs = self.spec, fresh.spec
        if (ours.dtype, ours.num_channels) != (theirs.dtype, theirs.num_channels):
            raise MismatchError(
                f"{self.lock_file} now says {theirs.num_channels} channels of {theirs.dtype}, and said "
                f"{ours.num_channels} of {ours.dtype} when it was opened: another mag has taken its place. Open its "
                "dataset again."
            )
        self.__dict__ = fresh.__dict__  # one step: another thread sees the old spec or the new one

    def check_is_one_part(self) -> None:
        """Check that the channels of a voxel lie in one chunk, so that one plan is that of the array.

        Raises
        ------
        HeaderError
            If another program has made such a mag of it.
        """
        if self.spec.channels_per_chunk is not None:
            raise HeaderError(f"{self.path} has its channels in several chunks by now; open it again.")

    def _opened_again(self) -> Self:
        return type(self).open(self.location)

    def _attempts(self) -> Iterator[Self]:
        """Yield the mag as it is stored now, until that has been used without a change."""
        for _ in range(_MAX_ATTEMPTS):
            yield self.current()
        raise self._restless()

    def _restless(self) -> HeaderError:
        return HeaderError(
            f"{self.path} was rewritten {_MAX_ATTEMPTS} times during one read or write; try again later."
        )

    # ---- What all formats share

    def read_plans(self, toplefts: Sequence[Triple], shape: Triple) -> Iterator[tuple[ReadPlan, Sources]]:
        """Plan to read boxes of one shape; together the plans cover every voxel of every box once.

        Parameters
        ----------
        toplefts : sequence of (x, y, z)
            First voxels of the boxes in the mag's own grid, not negative.
        shape : tuple of int
            Voxels ``(x, y, z)`` of each box, at least 1.

        Yields
        ------
        plan, sources : ReadPlan, Sources
            What to read, and the files, which are open: close them, by using them in a ``with`` block, before the next
            plan. If the mag is rewritten before the last plan is made, they start again, with plans of the new files.
        """
        corners = np.array(toplefts, np.int64).reshape(-1, 3)
        for array in self._attempts():
            array.check_is_one_part()
            spec, at, lengths, open_shard = array.spec, corners, shape, array.open_shard
            if not spec.is_in_xyz_order:
                at, lengths = corners[:, list(spec.axis_order)], spec.in_storage_order(shape)
                open_shard = partial(array._open_in_storage_order, spec)
            try:
                yield from array._planner.plans(at, lengths, array.location.store, open_shard, array._check_opened)
            except WkgpuError:
                if not array.is_rewritten():
                    raise
            else:
                return

    def _check_opened(self, files: Sequence[ShardFile | None]) -> None:
        """Check that files are those of the spec, and not of one that the mag has got since.

        What they do not say themselves, and where one is missing, its voxels may be in a file of another name.
        """
        if (None in files or not self.files_say_spec) and self.is_rewritten():
            raise HeaderError(f"{self.path} was rewritten or deleted while its files were opened; read again.")

    def _open_in_storage_order(self, spec: ArraySpec, shard: Triple, wait: bool) -> ShardFile | None:
        return self.open_shard(spec.from_storage_order(shard), wait)

    def read(self, toplefts: Sequence[Triple], shape: Triple, execute: Callable[[ReadPlan, Sources], None]) -> None:
        """Plan to read boxes, and execute plan after plan.

        Parameters
        ----------
        toplefts, shape
            As `read_plans` takes them.
        execute : callable
            Reads what a plan says from its open files.
        """
        for plan, sources in self.read_plans(toplefts, shape):
            with sources:
                execute(plan, sources)

    def shard_writes(self, topleft: Triple, shape: Triple) -> Iterator[ShardWrite]:
        """Yield a write for each shard that a box touches, locked. One that is overtaken comes again.

        Parameters
        ----------
        topleft, shape : tuple of int
            First voxel and voxels ``(x, y, z)`` of the box in the mag's own grid.
        """

        def rows_of(array: StoredArray, pieces: Pieces) -> Iterator[ShardRows]:
            in_order = array.spec.in_storage_order
            return chunks_by_shard(array.spec.in_own_axes, pieces, in_order(topleft), in_order(shape))

        return self._shard_writes(rows_of, shape, triple(map(add, topleft, shape)))

    def _shard_writes(
        self, rows_of: Callable[[StoredArray, Pieces], Iterator[ShardRows]], shape: Triple, end: Triple
    ) -> Iterator[ShardWrite]:
        """Yield locked writes; if the mag is rewritten before the last one, begin again with its new shards.

        Parameters
        ----------
        end : tuple of int
            What is written lies before it.
        """
        self.ensure_extent(end)
        for array in self._attempts():
            array.check_is_one_part()
            pieces = array.pieces  # once: they depend on settings
            for rows in rows_of(array, pieces):
                if not (yield from _until_written(array, rows, pieces, array.spec.in_storage_order(shape))):
                    break
            else:
                self.ensure_extent(end)  # which another program may have written back as it was
                return

    def stack_writes(self, toplefts: Sequence[Triple], shape: Triple) -> Iterator[ShardWrite]:
        """Yield a write for each shard that scattered boxes of one shape touch; every chunk in them is re-encoded.

        What an engine is to write is one box again: the stack of all boxes, the first one in front, along z. In Fortran
        order that is the memory of an array ``(channel, x, y, z, box)``.

        Parameters
        ----------
        toplefts : sequence of (x, y, z)
            First voxels of the boxes in the mag's own grid: distinct multiples of `shape`, so that boxes are disjoint.
        shape : tuple of int
            Voxels ``(x, y, z)`` of each box, whole chunks.

        Raises
        ------
        ShapeError
            For boxes that are cut out of chunks, or that overlap.
        """
        corners = np.array(toplefts, np.int64).reshape(-1, 3)
        x, y, z = shape

        def rows_of(array: StoredArray, pieces: Pieces) -> Iterator[ShardRows]:
            if np.any(np.mod(shape, array.spec.chunk_shape)) or (corners % shape).any():
                raise ShapeError(
                    f"Boxes of {shape} voxels are not whole chunks of {array.spec.chunk_shape}, or do not begin at "
                    "multiples of their shape; only whole chunks can be written as a stack."
                )
            if len(np.unique(corners, axis=0)) < len(corners):
                raise ShapeError(f"Boxes must be distinct; one of the {len(corners)} boxes is repeated.")
            spec = array.spec
            in_order = corners[:, list(spec.axis_order)]
            for rows in chunks_in_boxes(spec.in_own_axes, pieces, in_order, spec.in_storage_order(shape)):
                origin = rows.origin.copy()
                origin[:, spec.axis_order.index(2)] += rows.box * z
                yield rows._replace(origin=origin)

        end = triple((corners.max(axis=0) + shape).tolist()) if len(corners) else (0, 0, 0)
        return self._shard_writes(rows_of, (x, y, z * len(corners)), end)

    def shard_boxes(self, box: tuple[Triple, Triple] | None = None) -> list[tuple[Triple, Triple]]:
        """First voxel and voxels ``(x, y, z)``, in the mag's own grid, of each shard file that exists.

        Parameters
        ----------
        box : tuple of (x, y, z), optional
            As for `existing_shards`.
        """
        for array in self._attempts():
            shards = array.existing_shards(box)
            if not array.is_rewritten():
                break
        width, height, depth = shape = array.spec.shard_shape
        return [((x * width, y * height, z * depth), shape) for x, y, z in shards]

    def has_spec(self, spec: ArraySpec) -> bool:
        """Whether the header has this spec, and each shard has its codecs."""
        return self.current().spec == spec and self.pipelines() <= {spec.codecs}

    def pipelines(self) -> set[Pipeline]:
        """Return the codecs of the shard files, leaving out files whose header does not tell."""
        found = {self.shard_codecs(shard) for shard in self.existing_shards()}
        return {codecs for codecs in found if codecs is not None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.location)!r}, {self.spec})"


def _until_written(
    array: StoredArray, rows: ShardRows, pieces: Pieces, shape: Triple
) -> Generator[ShardWrite, None, bool]:
    """Yield the locked write of a shard, and again where a program that takes no locks has changed the shard meanwhile.

    Returns
    -------
    bool
        False if nothing was written, because the mag has been rewritten.
    """
    for _ in range(MAX_OVERTAKEN):
        write = ShardWrite(array, rows, pieces, shape)
        if not write.lock():
            return False
        try:
            yield write
        finally:
            write.unlock()
        if not write.is_overtaken:
            return True
    raise OutdatedFileError(
        f"{write.path} was changed {MAX_OVERTAKEN} times by another program while it was written; try again later."
    )
