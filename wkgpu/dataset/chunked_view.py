"""Work on a view chunk by chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from wkgpu.dataset.array_info import ArrayInfo
from wkgpu.dataset.legacy import accepts_legacy, warn_deprecated
from wkgpu.engines import Engine
from wkgpu.errors import ShapeError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.geometry.voxel_box import VoxelBox, triple
from wkgpu.operations.chunk_shapes import (
    ChunkBoxes,
    checked_chunk_shape,
    compared_shape,
    matching_boxes,
    shard_shape_in_mag1,
)
from wkgpu.operations.comparison import are_equal, stored_pairs
from wkgpu.operations.jobs import Executor, finished_jobs, run_jobs

if TYPE_CHECKING:
    from wkgpu.dataset.view import View

_Result = TypeVar("_Result")


class ChunkedView(ABC):
    """What a view does chunk by chunk.

    A function that is called with chunks gets them as views, and may read and write them. With an executor of
    processes it must be importable by name; views are pickled as their paths and boxes. If a chunk fails, no further
    one begins, and its exception is raised as it is, with a note that names the chunk's box.
    """

    @property
    @abstractmethod
    def bounding_box(self) -> NDBoundingBox:
        """The view's box in Mag(1)."""

    @property
    @abstractmethod
    def mag(self) -> Mag:
        """Magnification of the voxels."""

    @property
    @abstractmethod
    def read_only(self) -> bool:
        """Whether writing is refused."""

    @property
    @abstractmethod
    def info(self) -> ArrayInfo:
        """How the mag is stored."""

    @property
    @abstractmethod
    def _engine(self) -> Engine: ...

    get_view: Callable[..., View]  # of the class that inherits this one

    def chunk(
        self,
        chunk_shape: Vec3IntLike,
        chunk_border_alignments: Vec3IntLike | None = None,
        read_only: bool | None = None,
    ) -> Iterator[View]:
        """Cut the view into chunks.

        Parameters
        ----------
        chunk_shape : (x, y, z)
            In Mag(1), a multiple of the mag. Chunks at the view's borders are smaller.
        chunk_border_alignments : (x, y, z), optional
            In Mag(1): every border between two chunks is a multiple of it, and it must divide the chunk shape. Without
            it the first chunk begins at the view's top left.
        read_only : bool, optional
            Whether the chunks refuse to be written; by default as this view.

        Returns
        -------
        iterator of View
            Disjoint views that cover this one; z runs fastest.

        Raises
        ------
        ShapeError
            If the shapes are not positive, or the chunk shape is no multiple of the alignments.
        RegionError
            If the borders between chunks are not aligned with the mag.
        ReadOnlyError
            If this view is read-only and the chunks are to be writable.

        Examples
        --------
        >>> for chunk in view.chunk((64, 64, 64), chunk_border_alignments=(64, 64, 64)):  # doctest: +SKIP
        ...     print(chunk.bounding_box, chunk.read().max())
        """
        boxes = ChunkBoxes(self.bounding_box, chunk_shape, chunk_border_alignments)
        return (self.get_view(absolute_bounding_box=box, read_only=read_only) for box in boxes)

    @accepts_legacy()
    def for_each_chunk(
        self,
        func_per_chunk: Callable[[tuple[View, int]], object],
        chunk_shape: Vec3IntLike | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Call ``func_per_chunk((view, number))`` for each chunk.

        Parameters
        ----------
        func_per_chunk : callable
            Gets one tuple: the chunk's view and its number, from 0.
        chunk_shape : (x, y, z), optional
            In Mag(1). Borders between chunks are multiples of it. It must be a multiple of the mag's shards, or, if
            this view is read-only, of its chunks. By default one shard.
        executor : Executor, optional
            Of `wkgpu.get_executor`, or anything with the interface of `concurrent.futures.Executor`. Without it the
            chunks are worked on one after another in this process.
        progress_desc : str, optional
            Shows a progress bar with this text on stderr, if that is a terminal.

        Raises
        ------
        ShapeError
            If the chunk shape does not fit.

        Examples
        --------
        >>> def brighten(arguments):
        ...     chunk, number = arguments
        ...     chunk.write(chunk.read() + 1)
        >>> view.for_each_chunk(brighten, progress_desc="Brightening")  # doctest: +SKIP
        """
        boxes = self._boxes(chunk_shape)
        views = ((self.get_view(absolute_bounding_box=box), number) for number, box in enumerate(boxes))
        run_jobs(func_per_chunk, views, executor=executor, boxes=boxes, progress_desc=progress_desc)

    @accepts_legacy()
    def map_chunk(
        self,
        func_per_chunk: Callable[[View], _Result],
        chunk_shape: Vec3IntLike | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> list[_Result]:
        """Return ``func_per_chunk(view)`` of each chunk, in the order of the chunks.

        Parameters
        ----------
        func_per_chunk : callable
            Gets the chunk's view.
        chunk_shape, executor, progress_desc
            As for `for_each_chunk`.

        Raises
        ------
        ShapeError
            If the chunk shape does not fit.

        Examples
        --------
        >>> def brightest(chunk):
        ...     return int(chunk.read().max())
        >>> max(view.map_chunk(brightest))  # doctest: +SKIP
        255
        """
        boxes = self._boxes(chunk_shape)
        views = (self.get_view(absolute_bounding_box=box) for box in boxes)
        return run_jobs(func_per_chunk, views, executor=executor, boxes=boxes, progress_desc=progress_desc)

    @accepts_legacy()
    def for_zipped_chunks(
        self,
        func_per_chunk: Callable[[tuple[View, View, int]], object],
        target_view: View,
        source_chunk_shape: Vec3IntLike | None = None,
        target_chunk_shape: Vec3IntLike | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Call ``func_per_chunk((source, target, number))`` for chunks of this view and the matching ones of another.

        Parameters
        ----------
        func_per_chunk : callable
            Gets one tuple: the chunk of this view, that of `target_view`, and their number, from 0.
        target_view : View
            Of any mag and place. Borders between its chunks are multiples of the target's chunk shape; the chunks of
            this view are those that match them.
        source_chunk_shape, target_chunk_shape : (x, y, z), optional
            In Mag(1), both or none; for each view as in `for_each_chunk`. Their ratio must be that of the views'
            sizes. By default the larger of both views' shards.
        executor, progress_desc
            As for `for_each_chunk`.

        Raises
        ------
        ShapeError
            If the chunk shapes do not fit the views or each other.

        Examples
        --------
        >>> def halve(arguments):
        ...     source, target, number = arguments
        ...     target.write(source.read()[:, ::2, ::2, ::2])
        >>> fine.for_zipped_chunks(halve, coarse)  # doctest: +SKIP
        """
        if (source_chunk_shape is None) != (target_chunk_shape is None):
            raise ShapeError(
                f"source_chunk_shape={source_chunk_shape} and target_chunk_shape={target_chunk_shape}: "
                "give both or none."
            )
        if source_chunk_shape is None:
            source_shards, target_shards = shard_shape_in_mag1(self), shard_shape_in_mag1(target_view)
            source_chunk_shape = target_chunk_shape = Vec3Int(map(max, source_shards, target_shards))
        source_shape = checked_chunk_shape(self, source_chunk_shape)
        target_shape = checked_chunk_shape(target_view, target_chunk_shape)
        pairs = matching_boxes(self.bounding_box, target_view.bounding_box, source_shape, target_shape)
        jobs = (
            (self.get_view(absolute_bounding_box=source), target_view.get_view(absolute_bounding_box=target), number)
            for number, (source, target) in enumerate(pairs)
        )
        boxes = [source for source, _ in pairs]
        run_jobs(func_per_chunk, jobs, executor=executor, boxes=boxes, progress_desc=progress_desc)

    def content_is_equal(
        self,
        other: View,
        args: Any = None,
        executor: Executor | None = None,
        *,
        chunk_shape: Vec3IntLike | None = None,
        progress_desc: str | None = None,
    ) -> bool:
        """Whether another view has the same voxels, wherever and however it is stored.

        Views of different sizes, mags, channels or dtypes differ. Others are compared chunk by chunk until the first
        difference, on this view's device; what neither of them has stored takes no time. NaN equals nothing. Chunks of
        equal bytes need not be decoded, where those of both mags have one shape and lie alike in the views: what is
        damaged in both alike may not be noticed, and neither is what lies beyond a difference.

        Parameters
        ----------
        other : View
            On any device.
        args
            Deprecated and without meaning.
        executor, progress_desc
            As for `for_each_chunk`.
        chunk_shape : (x, y, z), optional
            What is compared at a time, in Mag(1), a multiple of the mag; by default a share of a shard that fits
            memory easily.

        Raises
        ------
        ShapeError
            If the chunk shape is not positive, or no multiple of the mag.
        NotFoundError, FormatError, StorageAccessError
            If files are missing, damaged or not readable.

        Examples
        --------
        >>> view.content_is_equal(view)  # doctest: +SKIP
        True
        """
        if args is not None:
            warn_deprecated(f"{type(self).__name__}.content_is_equal(): args is deprecated; use executor.")
        mine, others = self.bounding_box, other.bounding_box
        if mine.size_xyz != others.size_xyz or self.mag != other.mag:
            return False
        if _voxel(self.info) != _voxel(other.info):
            return False
        one = cast("View", self)
        parts = stored_pairs((one, other), triple(compared_shape(one, chunk_shape)))
        pairs = ((_part(one, part), _part(other, facing)) for part, facing in parts)
        boxes = [one._frame.bounding_box(part) for part, _ in parts]
        outcomes = finished_jobs(are_equal, pairs, executor=executor, boxes=boxes, progress_desc=progress_desc)
        with closing(outcomes):  # at a difference, the chunks that have not begun are cancelled
            return all(equal for _, equal in outcomes)

    def _boxes(self, chunk_shape: Vec3IntLike | None) -> ChunkBoxes:
        """Return the boxes that `for_each_chunk` works on."""
        shape = shard_shape_in_mag1(self) if chunk_shape is None else checked_chunk_shape(self, chunk_shape)
        return ChunkBoxes(self.bounding_box, shape, shape)


def _part(view: View, box: VoxelBox) -> View:
    return view.get_view(absolute_bounding_box=view._frame.bounding_box(box), read_only=True)


def _voxel(info: ArrayInfo) -> tuple[object, int]:
    return info.voxel_type, info.num_channels
