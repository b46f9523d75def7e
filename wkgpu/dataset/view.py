"""A box of a stored mag, to read, to write and to cut smaller views from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wkgpu.absent_names import TellsWhatIsAbsent
from wkgpu.dataset.array_info import ArrayInfo
from wkgpu.dataset.box_axes import Boxes, lengths_along, normalized, ranges_in
from wkgpu.dataset.html import table
from wkgpu.dataset.legacy import accepts_legacy, warn_deprecated
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.more_axes import AxesWrite, Offsets, array_of, flat_boxes, read_axes, read_one, select
from wkgpu.dataset.regions import Frame, resolve, resolve_for_data, resolve_many
from wkgpu.dataset.slices.slice_arguments import accepts_earlier_order, checked_axis, checked_buffer_size
from wkgpu.dataset.slices.slice_reader import BufferedSliceReader
from wkgpu.dataset.slices.slice_writer import BufferedSliceWriter, first_voxel
from wkgpu.engines import Engine, get_engine
from wkgpu.errors import ArgumentError, HandleError, ReadOnlyError, RegionError, WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.geometry.voxel_box import Triple, VoxelBox
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.chunk_shapes import ChunkBoxes, ChunkRule, matching_boxes, matching_shapes
from wkgpu.operations.comparison import regions_are_equal
from wkgpu.operations.coordinates import Ranges, at_each
from wkgpu.operations.histogram import histogram_of
from wkgpu.operations.jobs import Executor, run_jobs
from wkgpu.operations.map_transformation import map_regions
from wkgpu.operations.reductions import check_integers, label_counts_of, min_max_of
from wkgpu.operations.transfer import read_box, read_boxes, write_box
from wkgpu.operations.voxel_map import VoxelMap, voxel_map
from wkgpu.operations.voxels import Array, as_voxels
from wkgpu.settings import config
from wkgpu.storage.formats import open_array
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.local.links import HOW_TO_ALLOW, real_path_outside
from wkgpu.storage.stores.local.paths import is_remote

_Result = TypeVar("_Result")


class View(TellsWhatIsAbsent):
    """A box of voxels of a mag. Views come from `MagView.get_view`.

    Regions are given in Mag(1), by one of ``relative_offset`` (to the view's top left), ``absolute_offset`` (each with
    a ``size``), ``relative_bounding_box`` and ``absolute_bounding_box``, and none of them means the whole view. Their
    borders must be multiples of the view's mag. A view refuses regions that leave it.

    Views are cheap, may be used by several threads at once, and can be pickled: a view is its path and its region, and
    opens again where it is unpickled.

    Parameters
    ----------
    path : Path
        The mag's folder.
    bounding_box : NDBoundingBox
        In Mag(1), aligned with the mag.
    mag : Mag
        Magnification.
    read_only : bool
        Whether writing is refused.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``: where arrays live and chunks are decoded. Without it,
        `wkgpu.config.device`.

    Examples
    --------
    >>> view = mag_view.get_view(absolute_offset=(0, 0, 0), size=(256, 256, 64))  # doctest: +SKIP
    >>> view.read(relative_offset=(64, 0, 0), size=(64, 64, 64)).shape  # doctest: +SKIP
    (1, 64, 64, 64)
    """

    _pads: ClassVar[bool] = False  # whether a read may leave the view
    _legacy_from_dataset: ClassVar[bool] = False  # whether a legacy offset counts from the dataset's origin

    _root: Path | None = None  # the dataset's folder; of a mag that was opened by its own path there is none
    _allow_foreign_writes: bool = False

    # What is found on the first use, and is left behind when a view is pickled
    _opened: StoredArray | None = None
    _engine_in_use: Engine | None = None
    _framed: tuple[NDBoundingBox, Frame] | None = None
    _has_handle: bool = False
    _transient: ClassVar[frozenset[str]] = frozenset({"_opened", "_engine_in_use", "_framed", "_has_handle"})

    def __init__(
        self,
        path: Path,
        bounding_box: NDBoundingBox,
        mag: Mag,
        *,
        read_only: bool = False,
        device: str | None = None,
    ) -> None:
        self._path = path
        self._bounding_box = bounding_box
        self._mag = mag
        self._read_only = read_only
        self._device = device

    # ---- What it is

    @property
    def path(self) -> Path:
        """Folder of the mag."""
        return self._path

    @property
    def bounding_box(self) -> NDBoundingBox:
        """The view's box in Mag(1)."""
        return self._bounding_box

    @property
    def normalized_bounding_box(self) -> NDBoundingBox:
        """The view's box in Mag(1), with an axis ``c`` of the channels."""
        return normalized(self.bounding_box, self.num_channels)

    @property
    def mag(self) -> Mag:
        """Magnification of the voxels."""
        return self._mag

    @property
    def name(self) -> str:
        """Name of the mag: "1", "2-2-1"."""
        return self._mag.to_layer_name()

    @property
    def read_only(self) -> bool:
        """Whether writing is refused, also because the files are those of another dataset."""
        return self._read_only or self._foreign_path() is not None

    @property
    def device(self) -> str:
        """Where the view reads to: "cpu", "cuda:0"; `to` takes it elsewhere."""
        return self._engine.name

    @property
    def info(self) -> ArrayInfo:
        """How the mag is stored."""
        return ArrayInfo.of(self._array.current())

    @property
    def data_format(self) -> DataFormat:
        """File format of the mag."""
        return self.info.data_format

    @property
    def num_channels(self) -> int:
        """Channels of a voxel."""
        return self._array.spec.num_channels

    def get_dtype(self) -> np.dtype[np.generic]:
        """Return the dtype of one channel."""
        return self._array.spec.memory_dtype

    # ---- Reading

    @accepts_legacy("offset", "size", current=("size",))
    def read(
        self,
        *,
        size: Vec3IntLike | None = None,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
        out: Array | None = None,
        offset: Vec3IntLike | None = None,
    ) -> Array:
        """Read the voxels of a region.

        Parameters
        ----------
        size : (x, y, z), optional
            Size of the region in Mag(1), with an offset.
        relative_offset, absolute_offset : (x, y, z), optional
            First voxel of the region in Mag(1), from the view's top left or from the dataset's origin.
        relative_bounding_box, absolute_bounding_box : NDBoundingBox, optional
            The region in Mag(1), from the view's top left or from the dataset's origin.
        out : array, optional
            Is filled and returned, instead of new memory. Fastest in Fortran order.
        offset : (x, y, z), optional
            Deprecated: first voxel in the view's mag, with a `size` in the view's mag.

        Returns
        -------
        array (channel, x, y, z)
            In Fortran order and of the mag's dtype, on the view's device. What is not stored has the fill value: 0,
            unless a Zarr array says otherwise. Where the bounding box of the layer is an `NDBoundingBox`, as of Zarr
            arrays with other axes or another order of them, the array has the axes of that box instead; `read_cxyz`
            returns the usual ones.

        Raises
        ------
        RegionError, OutOfBoundsError
            For regions that contradict each other, are empty, negative or not aligned with the mag, or leave the view;
            for boxes that say nothing of a further axis of the view, such as time.
        ShapeError, DtypeError
            If `out` does not fit.
        NotFoundError, FormatError, StorageAccessError
            If files are missing, damaged or not readable.

        Examples
        --------
        >>> view.read(absolute_offset=(0, 0, 0), size=(64, 64, 64)).shape  # doctest: +SKIP
        (1, 64, 64, 64)
        """
        frame = self._frame
        if frame.more is not None:
            offsets, boxes = (offset, relative_offset, absolute_offset), (relative_bounding_box, absolute_bounding_box)
            selection = select(frame, not self._pads, offsets, size, boxes)
            return read_axes(self._array, self._engine, frame, selection, out)
        topleft, shape = resolve(
            frame, not self._pads, offset, size,
            relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box,
        )  # fmt: skip
        return read_box(self._array, self._engine, topleft, shape, out)

    def read_many(self, boxes: Iterable[NDBoundingBox], out: Array | None = None) -> Array:
        """Read boxes of one shape at once, which is faster than one after another.

        Parameters
        ----------
        boxes : iterable of NDBoundingBox
            In Mag(1), from the dataset's origin; they may overlap and repeat.
        out : array (n, channel, x, y, z), optional
            Is filled and returned, instead of new memory.

        Returns
        -------
        array (n, channel, x, y, z)
            In the order of the boxes; each box in Fortran order.

        Raises
        ------
        ShapeError
            If the boxes differ in shape or there is none, or if `out` does not fit.
        RegionError, OutOfBoundsError, DtypeError, NotFoundError, FormatError, StorageAccessError
            As for `read`.

        Examples
        --------
        >>> boxes = [BoundingBox((x, 0, 0), (64, 64, 64)) for x in (0, 64, 128)]  # doctest: +SKIP
        >>> view.read_many(boxes).shape  # doctest: +SKIP
        (3, 1, 64, 64, 64)
        """
        frame = self._frame
        if frame.more is not None:
            boxes = [flat_boxes(frame, (None, box))[1] or box for box in boxes]
        toplefts, shape = resolve_many(frame, not self._pads, boxes)
        return read_boxes(self._flat_array, self._engine, toplefts, shape, out)

    def read_xyz(
        self,
        *,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
    ) -> Array:
        """Read a region with the axes channel, x, y, z; see `read_cxyz`."""
        return self.read_cxyz(relative_bounding_box=relative_bounding_box, absolute_bounding_box=absolute_bounding_box)

    def read_cxyz(
        self,
        size: Vec3IntLike | None = None,
        *,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
    ) -> Array:
        """Read a region with the axes channel, x, y, z, whatever the axes of the layer are; see `read`.

        Raises
        ------
        RegionError
            A `ValueError`, if the region has several coordinates along another axis; and as for `read`.
        """
        frame = self._frame
        offsets, boxes = (None, relative_offset, absolute_offset), (relative_bounding_box, absolute_bounding_box)
        if frame.more is None:
            region = resolve(frame, not self._pads, None, size, *offsets[1:], *boxes)
            return read_box(self._array, self._engine, *region)
        return read_one(self._array, self._engine, select(frame, not self._pads, offsets, size, boxes))

    # ---- Writing

    @accepts_legacy("offset")
    def write(
        self,
        data: Array,
        *,
        allow_unaligned: bool = False,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
        offset: Vec3IntLike | None = None,
    ) -> None:
        """Write voxels.

        Every region can be written, aligned with chunks or not, and by several threads and processes at once.

        Parameters
        ----------
        data : array (x, y, z) or (channel, x, y, z)
            Of the mag's dtype and channels: NumPy, CuPy, or anything with DLPack, with any strides. Where the bounding
            box of the layer is an `NDBoundingBox`, the data have the axes of that box; `write_cxyz` takes the usual
            ones.
        relative_offset, absolute_offset : (x, y, z), optional
            Where the first voxel goes, in Mag(1), from the view's top left (the default) or the dataset's origin.
        relative_bounding_box, absolute_bounding_box : NDBoundingBox, optional
            The box in Mag(1) that the data fill, from the view's top left or from the dataset's origin.
        allow_unaligned : bool
            Changes nothing, because every region can be written; the WEBKNOSSOS library asks for it.
        offset : (x, y, z), optional
            Deprecated: where the first voxel goes, in the view's mag.

        Raises
        ------
        ReadOnlyError
            If the view is read-only, its files lie outside of its dataset's folder, or they cannot be written.
        ShapeError, DtypeError
            If the data do not have the mag's channels or dtype, or not the shape of the box.
        RegionError, OutOfBoundsError
            As for `read`.

        Examples
        --------
        >>> view.write(np.zeros((64, 64, 64), "uint8"), relative_offset=(0, 0, 0))  # doctest: +SKIP
        """
        offsets, boxes = (offset, relative_offset, absolute_offset), (relative_bounding_box, absolute_bounding_box)
        self._write(data, offsets, boxes)

    def _write(
        self, data: Array, offsets: Offsets, boxes: Boxes, as_cxyz: bool = False, allow_resize: bool = True
    ) -> None:
        self._check_writable()
        frame = self._frame
        if frame.more is not None:
            AxesWrite.of(self._array, self._engine, frame, True, data, offsets, boxes, as_cxyz).execute()
            return
        voxels = as_voxels(data, self._array.spec, self._engine)
        topleft, _ = resolve_for_data(frame, True, voxels.shape[1:], *offsets, *boxes)
        write_box(self._array, self._engine, topleft, voxels)

    def _write_at(self, data: Array, absolute_offset: Triple) -> None:
        write = self.write if self._frame.more is None else self.write_cxyz
        write(data, absolute_offset=absolute_offset)

    def write_cxyz(
        self,
        data: Array,
        *,
        allow_unaligned: bool = False,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
    ) -> None:
        """Write an array with the axes channel, x, y, z, whatever the axes of the layer are; see `write`.

        Raises
        ------
        RegionError
            If the region has several coordinates along another axis; and as for `write`.
        """
        offsets, boxes = (None, relative_offset, absolute_offset), (relative_bounding_box, absolute_bounding_box)
        self._write(data, offsets, boxes, as_cxyz=True)

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError(f"{self!r} is read-only; write through a view that was made without read_only=True.")
        if (real := self._foreign_path()) is not None:
            raise ReadOnlyError(
                f"{self!r} is read-only: its files lie in {real}, outside of its dataset {self._root}. To change them "
                f"through this dataset, {HOW_TO_ALLOW}."
            )

    def _foreign_path(self) -> str | None:
        """Return the real path of files that lie outside of the dataset's folder and may not be changed; else None."""
        if self._root is None or self._allow_foreign_writes or config.foreign_writes:
            return None
        outside = real_path_outside(self._path, self._root)
        return None if outside is not None and is_remote(self._path) else outside  # of a URL, opening it says more

    # ---- Smaller views

    @accepts_legacy("offset", "size", current=("size",))
    def get_view(
        self,
        *,
        size: Vec3IntLike | None = None,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
        read_only: bool | None = None,
        offset: Vec3IntLike | None = None,
    ) -> View:
        """Return a view of a region.

        Parameters
        ----------
        size, relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box, offset
            The region, as for `read`.
        read_only : bool, optional
            Whether the new view refuses to be written; by default as this one. Only a read-only view may leave this
            one.

        Raises
        ------
        ReadOnlyError
            If this view is read-only and the new one is to be writable.
        RegionError, OutOfBoundsError
            As for `read`.

        Examples
        --------
        >>> view.get_view(relative_offset=(0, 0, 0), size=(64, 64, 64), read_only=True)  # doctest: +SKIP
        """
        if read_only is None:
            read_only = self._read_only
        elif not read_only:
            if self._read_only:
                raise ReadOnlyError(f"{self!r} is read-only, so its views are as well; leave out read_only=False.")
            self._check_writable()
        frame, bounded = self._frame, not (read_only or self.read_only)
        if frame.more is None:
            region = resolve(
                frame, bounded, offset, size,
                relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box,
            )  # fmt: skip
            box = frame.bounding_box(region)
        else:
            offsets, boxes = (offset, relative_offset, absolute_offset), (relative_bounding_box, absolute_bounding_box)
            box = frame.bounding_box(*select(frame, bounded, offsets, size, boxes))
        view = View(self._path, box, self._mag, read_only=read_only, device=self._device)
        view._root, view._allow_foreign_writes = self._root, self._allow_foreign_writes
        view._opened, view._engine_in_use = self._opened, self._engine_in_use
        if view._opened is None:
            with suppress(WkgpuError):  # files that are missing are missed when they are read
                view._opened = self._array  # which the views of a mag share, and which is compared with the properties
        return view

    def to(self, device: str) -> Self:
        """Return the same view on another device.

        Parameters
        ----------
        device : str
            ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``.

        Raises
        ------
        DeviceError
            If the device does not exist here or its libraries do not work.

        Examples
        --------
        >>> on_cpu = view.to("cpu")  # doctest: +SKIP
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._device, view._engine_in_use, view._has_handle = device, get_engine(device), False
        return view

    # ---- Chunk by chunk
    #
    # A function that is called with chunks gets them as views, and may read and write them. With an executor of
    # processes it must be importable by name; views are pickled as their paths and boxes.

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
        boxes = self._chunk_boxes(chunk_shape)
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
        boxes = self._chunk_boxes(chunk_shape)
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
        rules = self._chunk_rule, target_view._chunk_rule
        shapes = matching_shapes(*rules, source_chunk_shape, target_chunk_shape)
        pairs = matching_boxes(self.bounding_box, target_view.bounding_box, *shapes)
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

        Views of different sizes, along further axes as well, mags, channels or dtypes differ. Others are compared chunk
        by chunk until the first difference, on this view's device; what neither of them has stored is skipped. NaN
        equals nothing. Chunks of equal bytes need not be decoded, where those of both mags have one shape and lie alike
        in the views: what is damaged in both alike may not be noticed, and neither is what lies beyond a difference.

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
        sizes = [(view.bounding_box.size_xyz, lengths_along(view._ranges)) for view in (self, other)]
        if sizes[0] != sizes[1] or self.mag != other.mag:
            return False
        regions = list(zip(self._regions(), other._regions(engine=self._engine), strict=True))
        return regions_are_equal(regions, chunk_shape, executor, progress_desc)

    def _chunk_boxes(self, chunk_shape: Vec3IntLike | None) -> ChunkBoxes:
        """Return the boxes that `for_each_chunk` works on."""
        shape = self._chunk_rule.chosen(chunk_shape)
        return ChunkBoxes(self.bounding_box, shape, shape)

    @property
    def _chunk_rule(self) -> ChunkRule:
        return ChunkRule(self._array.current().spec, self._mag, self.read_only, repr(self))

    # ---- Voxel by voxel, by kernels on the view's device

    def map_voxels(
        self,
        function: VoxelMap | Callable[..., Any],
        target: View,
        *others: View,
        constants: tuple[Any, ...] = (),
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Fill another view with what a function makes of each voxel of this one.

        The function is compiled for this view's device. Its results are converted as C does it: floats are
        truncated, and values that the target's dtype cannot hold are undefined; nothing is clipped.

        Parameters
        ----------
        function : VoxelMap or callable
            One of `wkgpu.maps`, or what `wkgpu.voxel_map` takes. It is called with a value of this view, one of each
            other view, and the constants.
        target : View
            Of the same mag, size and channels, in any place of any dataset, with any dtype. It may be this view: then
            voxels are changed in place. A `MagView` means where this view lies, and its layer's bounding box grows as
            in `MagView.write`.
        *others : View
            Up to three more, of the same mag and size, with as many channels or 1, which then goes with all channels. A
            `MagView` means where this view lies.
        constants : tuple
            Numbers, and arrays of which the function gets the whole.
        executor, progress_desc
            As for `for_each_chunk`; jobs are one or more of the target's shards.

        Raises
        ------
        ShapeError
            If mags, sizes or channels do not fit.
        RegionError
            If the target overlaps what is read elsewhere than in place, or a view is empty.
        ReadOnlyError
            If the target is read-only.
        CompilationError
            If the function cannot be compiled; `map_chunk` calls any Python.
        ArgumentError, DtypeError
            If the function takes other arguments, cannot be sent to the executor's processes, or is made for other
            voxels.

        Examples
        --------
        >>> view.map_voxels(wk.maps.threshold(128), mask)  # doctest: +SKIP
        >>> view.map_voxels(lambda value, other: value if other == 3 else 0, target, segments)  # doctest: +SKIP
        """
        target._check_writable()
        source, engine = self._region(self._whole_box()), self._engine
        *sources, goal = (
            view._region(source.box if view._pads else view._whole_box(), engine) for view in (*others, target)
        )
        chosen = function if isinstance(function, VoxelMap) else voxel_map(function)
        map_regions(chosen, [source, *sources], goal, tuple(constants), executor, progress_desc)
        target._grow_to_hold(goal.bounding_box)

    def min_max(
        self, executor: Executor | None = None, progress_desc: str | None = None
    ) -> tuple[int, int] | tuple[float, float]:
        """Return the least and the greatest value of all voxels; what is not stored has the fill value.

        Parameters
        ----------
        executor, progress_desc
            As for `for_each_chunk`.

        Returns
        -------
        tuple of two numbers
            Both NaN if there is a NaN.

        Raises
        ------
        RegionError
            If the view is empty.

        Examples
        --------
        >>> view.min_max()  # doctest: +SKIP
        (3, 251)
        """
        return min_max_of(self._whole(), executor, progress_desc)

    def histogram(
        self,
        bins: int | ArrayLike = 256,
        value_range: tuple[float, float] | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Count how many voxels lie in each of some bins: what `numpy.histogram` returns for all voxels.

        Parameters
        ----------
        bins : int or array
            How many bins of equal width there are, or the ascending edges of bins. A bin begins at its edge and ends
            before the next one; the last one holds its end as well.
        value_range : (first, last), optional
            From where to where bins of equal width lie; by default from the least to the greatest value, which takes
            another look at voxels of more than 16 bits. For uint8, ``(0, 256)`` has a bin for each value.
        executor, progress_desc
            As for `for_each_chunk`.

        Returns
        -------
        int64 (bins,), array (bins + 1,)
            Counts, and edges.

        Raises
        ------
        ArgumentError
            If bins or range are invalid, or if there is a NaN and no range.
        RegionError
            If the view is empty.

        Examples
        --------
        >>> counts, edges = view.histogram(256, (0, 256))  # doctest: +SKIP
        """
        return histogram_of(self._whole(), bins, value_range, executor, progress_desc)

    def count_labels(
        self, executor: Executor | None = None, progress_desc: str | None = None
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return which integers the voxels have, and how many voxels have each; what is not stored has the fill value.

        Parameters
        ----------
        executor, progress_desc
            As for `for_each_chunk`.

        Returns
        -------
        array (n,), int64 (n,)
            The integers, ascending and of the mag's dtype, and their counts.

        Raises
        ------
        DtypeError
            If the voxels are floats.
        RegionError
            If the view is empty.

        Examples
        --------
        >>> ids, voxels = view.count_labels()  # doctest: +SKIP
        >>> dict(zip(ids.tolist(), voxels.tolist()))  # doctest: +SKIP
        {0: 95213, 17: 4187, 18: 600}
        """
        check_integers(self.get_dtype(), "count_labels")
        return label_counts_of(self._whole(), executor, progress_desc)

    def largest_id(self, executor: Executor | None = None, progress_desc: str | None = None) -> int:
        """Return the greatest of all ids, and 0 where there is none.

        Parameters
        ----------
        executor, progress_desc
            As for `for_each_chunk`.

        Raises
        ------
        DtypeError
            If the voxels are floats.
        RegionError
            If the view is empty.

        Examples
        --------
        >>> view.largest_id()  # doctest: +SKIP
        2504697
        """
        check_integers(self.get_dtype(), "largest_id")
        return max(int(self.min_max(executor, progress_desc)[1]), 0)

    # ---- Slices

    @accepts_earlier_order("offset", "size", "buffer_size", "dimension")
    @accepts_legacy()
    def get_buffered_slice_reader(
        self,
        buffer_size: int | None = None,
        dimension: int | str = 2,
        *,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
        use_logging: bool = False,
        offset: Vec3IntLike | None = None,
        size: Vec3IntLike | None = None,
    ) -> BufferedSliceReader:
        """Return an iterator over the slices of a region, which reads many of them at once.

        Parameters
        ----------
        buffer_size : int, optional
            Slices that are read at once, and the most that are held; by default 32.
        dimension : {0, 1, 2, "x", "y", "z"}
            The axis across the slices.
        relative_bounding_box, absolute_bounding_box : NDBoundingBox, optional
            The region in Mag(1), from the view's top left or from the dataset's origin; by default the whole view. It
            may leave the view.
        use_logging : bool
            Whether each read is logged, by ``logging``.
        offset, size : (x, y, z), optional
            Deprecated: the region in the view's mag. They were the first two positional arguments.

        Returns
        -------
        BufferedSliceReader
            A context manager and an iterator over arrays ``(channel, a, b)``.

        Raises
        ------
        RegionError
            As for `read`, and for another dimension.
        ArgumentError
            If `buffer_size` is no positive integer.

        Examples
        --------
        >>> with view.get_buffered_slice_reader(buffer_size=32, dimension="z") as reader:  # doctest: +SKIP
        ...     means = [image.mean() for image in reader]
        """
        frame = self._frame
        boxes = flat_boxes(frame, (relative_bounding_box, absolute_bounding_box))
        box = resolve(frame, False, offset, size, None, None, *boxes)
        slices = checked_buffer_size(buffer_size), checked_axis(dimension)
        return BufferedSliceReader(self._region(box), *slices, use_logging)

    @accepts_earlier_order("offset", "buffer_size", "dimension", "allow_resize")
    @accepts_legacy()
    def get_buffered_slice_writer(
        self,
        buffer_size: int | None = None,
        dimension: int | str = 2,
        *,
        allow_resize: bool = True,
        allow_unaligned: bool = False,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
        use_logging: bool = False,
        json_update_allowed: bool | None = None,
        offset: Vec3IntLike | None = None,
    ) -> BufferedSliceWriter:
        """Return a writer of slices, which writes many of them at once.

        It may hold more than `buffer_size` slices, so that each chunk is encoded once and a compressed shard is not
        copied too often: a chunk's depth of slices, or 256 MiB of slices for compressed shards.

        Parameters
        ----------
        buffer_size : int, optional
            Slices that are written at once; by default 32.
        dimension : {0, 1, 2, "x", "y", "z"}
            The axis across the slices.
        allow_resize : bool
            Whether slices may leave the layer's bounding box, which then grows; only for a `MagView`.
        relative_offset, absolute_offset : (x, y, z), optional
            Where the first voxel of the first slice goes, in Mag(1), from the view's top left (the default) or from the
            dataset's origin.
        relative_bounding_box, absolute_bounding_box : NDBoundingBox, optional
            A box in Mag(1) whose top left is meant. Its size does not matter.
        allow_unaligned : bool
            Changes nothing, because every region can be written; the WEBKNOSSOS library asks for it.
        use_logging : bool
            Whether each write is logged, by ``logging``.
        json_update_allowed : bool, optional
            Another name of `allow_resize`.
        offset : (x, y, z), optional
            Deprecated: where the first voxel goes, in the view's mag. It was the first positional argument.

        Returns
        -------
        BufferedSliceWriter
            A context manager with the method ``send``, which takes slices ``(a, b)`` or ``(channel, a, b)``.

        Raises
        ------
        ReadOnlyError
            If the view is read-only.
        RegionError
            As for `write`, and for another dimension.
        ArgumentError
            If `buffer_size` is no positive integer.

        Examples
        --------
        >>> with view.get_buffered_slice_writer(absolute_offset=(0, 0, 64)) as writer:  # doctest: +SKIP
        ...     for image in images:
        ...         writer.send(image)
        """
        self._check_writable()
        frame = self._frame
        boxes = flat_boxes(frame, (relative_bounding_box, absolute_bounding_box))
        topleft = first_voxel(frame, offset, relative_offset, absolute_offset, *boxes)
        bounded = not (self._pads and allow_resize)
        return BufferedSliceWriter(
            self._flat_array, self._engine, lambda: self._frame, self._write_at, topleft,
            checked_buffer_size(buffer_size), checked_axis(dimension), bounded, use_logging,
        )  # fmt: skip

    # ---- What is opened on the first use

    @property
    def _array(self) -> StoredArray:
        if self._opened is None:
            self._opened = self._open_array()
        return self._opened

    @property
    def _flat_array(self) -> StoredArray:
        """The array at the view's coordinates along axes besides channels, x, y and z."""
        return array_of(self._array, self._frame)

    def _open_array(self) -> StoredArray:
        return open_array(self._path, follows_links=self._allow_foreign_writes)

    @property
    def _engine(self) -> Engine:
        if self._engine_in_use is None:
            self._engine_in_use = get_engine(self._device)
        return self._engine_in_use

    @property
    def _frame(self) -> Frame:
        box = self._region_box()
        framed = self._framed
        if framed is None or framed[0] is not box:
            aligned = box.align_with_mag(self._mag, ceil=True)
            framed = box, Frame.of(aligned, self._mag, legacy_from_dataset=self._legacy_from_dataset)
            self._framed = framed
        return framed[1]

    def _region(self, box: VoxelBox | None = None, engine: Engine | None = None) -> ArrayRegion:
        """Return a box of the mag, by default that of the view, for a function of `wkgpu.operations`."""
        return ArrayRegion.of(self._flat_array, engine or self._engine, self._mag, box or self._frame.box, repr(self))

    def _regions(self, ranges: Ranges | None = None, engine: Engine | None = None) -> list[ArrayRegion]:
        """Return the view's box at each coordinate along further axes; by default at those of the view."""
        box, name, engine = self._frame.box, repr(self), engine or self._engine
        arrays = at_each((self._array,), self._ranges if ranges is None else ranges)
        return [ArrayRegion.of(array, engine, self._mag, box, name) for (array,) in arrays]

    def _whole(self) -> list[ArrayRegion]:
        """Return the view's box at each coordinate along further axes.

        Raises
        ------
        RegionError
            If it is empty.
        """
        self._whole_box()
        regions = self._regions()
        if not regions:
            raise RegionError(f"{self!r} has no coordinates along {sorted(self._ranges)}; give its layer some.")
        return regions

    @property
    def _ranges(self) -> Ranges:
        """The view's coordinates along axes besides channels, x, y and z."""
        return ranges_in(self._frame)

    def _whole_box(self) -> VoxelBox:
        """Return the view's box.

        Raises
        ------
        RegionError
            If it is empty.
        """
        return resolve(self._frame, False, None, None, None, None, None, None)

    def _grow_to_hold(self, box: NDBoundingBox) -> None:
        """Let the view hold a box in Mag(1), which lies in it: only a `MagView` is written beyond its box."""

    def _region_box(self) -> NDBoundingBox:
        """Return the box in Mag(1) that the view covers, aligned or not; the same object as long as it is the same."""
        return self._bounding_box

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in self._transient}
        return state | {"_allow_foreign_writes": self._allow_foreign_writes or config.foreign_writes}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Refuse to be an array of voxels, but for arrays of Python objects, which may be views."""
        if dtype is not None and np.dtype(dtype) == object:
            found = np.empty((), object)
            found[()] = self
            return found
        raise ArgumentError(f"{self!r} is not an array; its read() returns one, of the whole view or of a region.")

    # ---- Earlier generations

    def read_bbox(self, bounding_box: NDBoundingBox | None = None) -> Any:
        """Read a box in voxels of the view's mag; the whole view without one. Deprecated: use `read`."""
        warn_deprecated(
            f"{type(self).__name__}.read_bbox() is deprecated; use read(absolute_bounding_box=...), in Mag(1)."
        )
        if bounding_box is None:
            return self._read_in_mag(None, None)
        return self._read_in_mag(bounding_box.topleft_xyz, bounding_box.size_xyz)

    def open(self) -> Self:
        """Open the mag until `close`; reads and writes do so by themselves.

        Raises
        ------
        HandleError
            If it is open.
        """
        if self._has_handle:
            raise HandleError(f"{self!r} is open already; close() it first.")
        self._opened = self._open_array()
        self._has_handle = True
        return self

    def close(self) -> None:
        """Undo `open`.

        Raises
        ------
        HandleError
            If it is not open.
        """
        if not self._has_handle:
            raise HandleError(f"{self!r} is not open; open() it first.")
        self._opened = None
        self._has_handle = False

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def header(self) -> Any:
        """The WKW header of the mag. Deprecated: use `info`."""
        warn_deprecated(f"{type(self).__name__}.header is deprecated; use info.")
        return self._array.current().legacy_header

    @property
    def size(self) -> Vec3Int:
        """Size of the view in voxels of its mag. Deprecated: use `bounding_box`."""
        warn_deprecated(f"{type(self).__name__}.size is deprecated; use bounding_box.in_mag(mag).size.")
        return Vec3Int(self._frame.shape)

    @property
    def global_offset(self) -> Vec3Int:
        """First voxel of the view in voxels of its mag. Deprecated: use `bounding_box`."""
        warn_deprecated(f"{type(self).__name__}.global_offset is deprecated; use bounding_box.in_mag(mag).topleft.")
        return Vec3Int(self._frame.topleft)

    def _read_in_mag(self, offset: Vec3IntLike | None, size: Vec3IntLike | None) -> Array:
        topleft, shape = resolve(self._frame, not self._pads, offset, size, None, None, None, None)
        return read_box(self._flat_array, self._engine, topleft, shape)

    # ---- Representation

    def __repr__(self) -> str:
        return f"View({self.path!r}, bounding_box={self.bounding_box})"

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {
            "path": self.path,
            "mag": self.name,
            "bounding box in Mag(1)": self.bounding_box,
            "read-only": "yes" if self.read_only else "no",
        }
        with suppress(WkgpuError):  # files that are missing or damaged are no reason to show nothing
            info = self.info
            rows |= {
                "dtype": info.voxel_type,
                "channels": info.num_channels,
                "chunk shape": info.chunk_shape.to_tuple(),
                "shard shape": info.shard_shape.to_tuple(),
                "compressed": "yes" if info.compression_mode else "no",
            }
        return table(type(self).__name__, rows)
