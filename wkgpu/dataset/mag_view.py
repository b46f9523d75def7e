"""A whole mag of a layer, or without one."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

from wkgpu.dataset.box_axes import Boxes, box_of_axes, extended, further_axes, ranges_of_boxes, ranges_within
from wkgpu.dataset.changes.copying import copy_mag
from wkgpu.dataset.changes.extents import extent_of
from wkgpu.dataset.changes.further_axes import check_further_axes
from wkgpu.dataset.changes.groups import forget_copies
from wkgpu.dataset.discovery import FoundMag
from wkgpu.dataset.legacy import accepts_legacy, warn_deprecated
from wkgpu.dataset.mag_files import LayerListing, compressed_spec, copy_alone, rewrite_mag, settle_mag
from wkgpu.dataset.more_axes import AxesWrite, Offsets
from wkgpu.dataset.regions import resolve_for_data
from wkgpu.dataset.shapes import Compression, Shape, new_spec, recut_spec
from wkgpu.dataset.view import View
from wkgpu.errors import ArgumentError, NotFoundError, OutOfBoundsError, WkgpuError
from wkgpu.forking import child_safe
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.geometry.voxel_box import Triple, VoxelBox
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.coordinates import at_each, ranges_of
from wkgpu.operations.jobs import Executor
from wkgpu.operations.merging import merge_boxes, merge_regions
from wkgpu.operations.transfer import write_box
from wkgpu.operations.voxels import Array, as_voxels
from wkgpu.storage.formats import create_array, open_array
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.local.links import check_inside, real_path_outside
from wkgpu.storage.stores.local.paths import is_remote, local_path

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


class MagView(View):
    """A view of a whole mag, with its layer. It comes from `Layer.get_mag` and `Layer.add_mag`.

    Its box is the layer's, rounded out to the mag. A read may leave it, and finds zeros where nothing is stored; a
    write may leave it as well, and then grows the layer's box.

    Parameters
    ----------
    layer : Layer
        The layer of the mag.
    mag : Mag
        Magnification.
    chunk_shape, chunks_per_shard, compression_mode
        Of a new mag; see `Layer.add_mag`.
    create : bool
        Whether to make the mag's files.
    path : Path, optional
        The mag's folder; by default the folder of its name in the layer's.

    Examples
    --------
    >>> mag_view = dataset.get_layer("color").get_mag("2-2-1")  # doctest: +SKIP
    >>> mag_view.read(absolute_offset=(0, 0, 0), size=(128, 128, 64)).shape  # doctest: +SKIP
    (1, 64, 64, 64)
    """

    _pads: ClassVar[bool] = True
    _legacy_from_dataset: ClassVar[bool] = True

    _layer: Layer | None = None  # a mag without a dataset has none
    _unchecked: StoredArray | None = None  # opened to get room, and not compared with the properties file yet
    _transient: ClassVar[frozenset[str]] = View._transient | {"_unchecked"}
    _growing: threading.Lock  # of a mag without a dataset, whose box is its own

    def __init__(
        self,
        layer: Layer,
        mag: Mag,
        chunk_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        compression_mode: Compression = True,
        create: bool = False,
        path: Path | None = None,
    ) -> None:
        path = layer.path / mag.to_layer_name() if path is None else path
        super().__init__(path, BoundingBox.empty(), mag, read_only=layer.read_only, device=layer.dataset.device)
        self._layer = layer
        self._root, self._allow_foreign_writes = layer.dataset.path, layer.dataset._allow_foreign_writes
        if create:
            self._check_writable()
            layer._check_headers()
            data_format = layer.data_format.value
            spec = new_spec(
                layer.dtype, layer.num_channels, chunk_shape, None, chunks_per_shard, compression_mode, data_format
            )
            listed, extent = layer._properties, extent_of(layer.bounding_box, mag, spec.shard_shape)
            self._opened = create_array(path, spec, data_format, extent, listed.axes, listed.extra_axes)
            self._opened.follows_links = self._allow_foreign_writes

    @classmethod
    def _without_dataset(cls, path: Path, mag: Mag, read_only: bool, device: str | None) -> MagView:
        """Return the mag in a folder, for `open_mag`. Its box holds all files, and grows with what is written."""
        mag_view = cls.__new__(cls)
        View.__init__(mag_view, path, BoundingBox.empty(), mag, read_only=read_only, device=device)
        mag_view._opened = open_array(path)
        mag_view._growing = child_safe(threading.Lock())
        mag_view._bounding_box = extended(box_of_axes(mag_view._opened), FoundMag(mag, mag_view._opened).bounding_box)
        return mag_view

    @property
    def layer(self) -> Layer:
        """The layer of the mag."""
        if self._layer is None:
            raise NotFoundError(f"{self.path} was opened without its dataset and has no layer; use Dataset.open().")
        return self._layer

    @property
    def bounding_box(self) -> NDBoundingBox:
        """The layer's box in Mag(1), rounded out to this mag."""
        return self._region_box().align_with_mag(self._mag, ceil=True)

    @property
    def is_remote_to_dataset(self) -> bool:
        """Whether the mag's files lie outside of the dataset's folder, or at a URL: they belong to another one."""
        if self._layer is None:
            return True
        return is_remote(self._path) or real_path_outside(self._path, self._layer.dataset.path) is not None

    @accepts_legacy("offset", "allow_resize")
    def write(
        self,
        data: Array,
        *,
        allow_resize: bool = True,
        allow_unaligned: bool = False,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
        json_update_allowed: bool | None = None,
        offset: Vec3IntLike | None = None,
    ) -> None:
        """Write voxels, and let the layer's bounding box grow to hold them.

        Parameters
        ----------
        data, relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box, allow_unaligned, offset
            As for `View.write`; a legacy `offset` counts from the dataset's origin.
        allow_resize : bool
            Whether the write may leave the layer's bounding box, along x, y, z or a further axis such as time. The box
            then grows, and is saved to the properties file.
        json_update_allowed : bool, optional
            Another name of `allow_resize`.

        Raises
        ------
        OutOfBoundsError
            If the write would leave the layer's bounding box and must not.
        ReadOnlyError, ShapeError, DtypeError, RegionError
            As for `View.write`.

        Examples
        --------
        >>> mag_view.write(np.zeros((64, 64, 64), "uint8"), absolute_offset=(128, 0, 0))  # doctest: +SKIP
        """
        offsets, boxes = (offset, relative_offset, absolute_offset), (relative_bounding_box, absolute_bounding_box)
        self._write(data, offsets, boxes, allow_resize=allow_resize)

    def _write(
        self, data: Array, offsets: Offsets, boxes: Boxes, as_cxyz: bool = False, allow_resize: bool = True
    ) -> None:
        self._check_writable()
        array, engine, frame = self._array, self._engine, self._frame
        write: Callable[[], None]
        if frame.more is None:
            voxels = as_voxels(data, array.spec, engine)
            region = resolve_for_data(frame, False, voxels.shape[1:], *offsets, *boxes)
            box, write = frame.bounding_box(region), partial(write_box, array, engine, region.topleft, voxels)
        else:
            planned = AxesWrite.of(array, engine, frame, False, data, offsets, boxes, as_cxyz)
            box, write = frame.bounding_box(*planned.selection), planned.execute
        grows = not self.bounding_box.contains_bbox(box)
        if grows and not allow_resize:
            raise OutOfBoundsError(
                f"Writing {box} would leave the bounding box {self.bounding_box} (both in Mag(1)); set "
                "Layer.bounding_box before, or write with allow_resize=True."
            )
        write()
        if grows:
            self._grow(box)

    def write_cxyz(
        self,
        data: Array,
        *,
        allow_resize: bool = True,
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
        self._write(data, offsets, boxes, as_cxyz=True, allow_resize=allow_resize)

    def get_bounding_boxes_on_disk(self) -> Iterator[NDBoundingBox]:
        """Iterate over the boxes of the files that exist, in Mag(1), ascending by z, y, x.

        Along further axes, such as time, a box has one coordinate. All boxes of one come before those of the next.

        Examples
        --------
        >>> list(mag_view.get_bounding_boxes_on_disk())  # doctest: +SKIP
        [BoundingBox(topleft=(0, 0, 0), size=(1024, 1024, 1024))]
        """
        frame, ranges = self._frame, self._ranges
        found = [(array, array.shard_boxes()) for (array,) in at_each((self._array,), ranges)]
        return (
            frame.bounding_box(VoxelBox(*shard), {axis: at for axis, at in ranges_of(array).items() if axis in ranges})
            for array, shards in found
            for shard in shards
        )

    def get_views_on_disk(self, read_only: bool | None = None) -> Iterator[View]:
        """Iterate over views of the files that exist; see `get_bounding_boxes_on_disk`.

        Parameters
        ----------
        read_only : bool, optional
            Whether the views refuse to be written; by default as this mag. A file may reach beyond the layer's
            bounding box, and then its view must be read-only.

        Raises
        ------
        ReadOnlyError, OutOfBoundsError
            As for `get_view`.
        """
        return (
            self.get_view(absolute_bounding_box=box, read_only=read_only) for box in self.get_bounding_boxes_on_disk()
        )

    def get_zarr_array(self) -> Any:
        """Return the mag's ``zarr.Array``, of the zarr package.

        It can be read and written, or only read if the mag is read-only. It knows nothing of the locks by which writes
        of wkgpu exclude each other, and its axes are those of the files.

        Raises
        ------
        UnsupportedError
            A `ValueError`: a WKW mag has no Zarr array.

        Examples
        --------
        >>> mag_view.get_zarr_array()  # doctest: +SKIP
        <Array file:///data/cortex/color/1 shape=(1, 1024, 1024, 1024) dtype=uint8>
        """
        return self._array.zarr_array("r" if self.read_only else "r+")

    # ---- Files as a whole

    def compress(
        self,
        target_path: str | os.PathLike[str] | None = None,
        args: Any = None,
        executor: Executor | None = None,
        *,
        codec: Compression = True,
        progress_desc: str | None = None,
    ) -> None:
        """Compress the shards, in place or into another dataset.

        In place, a mag whose files are all compressed stays as it is; of one with raw files and compressed ones, all
        become compressed. The new shards are made in a hidden folder inside the mag's, and then replace the old ones;
        nothing else in the folder is touched. Whatever fails, the old voxels or the new ones are there: a swap that a
        crash has interrupted is finished by the next access. Needs room for both. Reads may run concurrently: views
        that are open, in this process and in others, notice the new files, and each read returns the voxels of the old
        ones or of the new ones. Writes may not; if there was one, the mag stays as it was.

        Parameters
        ----------
        target_path : path, optional
            Folder of a dataset, which is made if it does not exist, in which a compressed copy goes to the same layer
            and mag. This mag is then not changed.
        args : optional
            Deprecated; it changes nothing.
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process, on all cores. A
            job holds up to 1 GiB of voxels.
        codec : bool or str
            True for whatever codec the mag has already, or else that of the format; ``"lz4"``, ``"lz4hc"`` or
            ``"zstd"`` for exactly this codec in every file. What they mean in each format: see `Layer.add_mag`.
        progress_desc : str, optional
            Shows a progress bar with this text.

        Raises
        ------
        ReadOnlyError
            If this mag is to change and is read-only, or its files lie outside of its dataset's folder.
        NameTakenError, AlreadyExistsError, MismatchError
            If the target has this mag already, or does not fit; or if another process has written in the meantime.

        Examples
        --------
        >>> mag_view.compress()  # doctest: +SKIP
        >>> mag_view.compress("archive", codec="lz4hc")  # doctest: +SKIP
        """
        if args is not None:
            warn_deprecated("MagView.compress(): args is deprecated and changes nothing; pass an executor.")
        spec = compressed_spec(self._array, codec, self._format_at(target_path), in_place=target_path is None)
        self._rewrite(spec, target_path, executor, progress_desc)

    def rechunk(
        self,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        compress: Compression | None = None,
        target_path: str | os.PathLike[str] | None = None,
        executor: Executor | None = None,
        *,
        progress_desc: str | None = None,
    ) -> None:
        """Cut the mag into other chunks and shards, in place or into another dataset; see `compress`.

        Parameters
        ----------
        chunk_shape : int or (x, y, z), optional
            Voxels of the mag that are encoded at once; 32³ by default, whatever the mag has now.
        shard_shape : int or (x, y, z), optional
            Voxels of the mag in one file; by default 32³ chunks.
        chunks_per_shard : int or (x, y, z), optional
            Chunks in one file, instead of `shard_shape`.
        compress : bool or str, optional
            As for `Layer.add_mag`; True is the default, whatever the mag has now.
        target_path, executor, progress_desc
            As for `compress`.

        Raises
        ------
        ShapeError, ArgumentError
            For shapes that do not fit each other or the format.
        ReadOnlyError, NameTakenError, AlreadyExistsError, MismatchError
            As for `compress`.

        Examples
        --------
        >>> mag_view.rechunk(chunk_shape=32, shard_shape=1024)  # doctest: +SKIP
        """
        found, compress = self._array.current(), True if compress is None else compress
        shapes = chunk_shape, shard_shape, chunks_per_shard
        spec = recut_spec(found.spec, found.data_format, *shapes, compress, self._format_at(target_path))
        self._rewrite(spec, target_path, executor, progress_desc)

    def _format_at(self, target_path: Any) -> str:
        """Return the format of a copy at a path, which is that of the layer, or without a path that of the files."""
        has_copy = target_path is not None and self._layer is not None
        return self.layer.data_format.value if has_copy else self._array.data_format

    def _rewrite(
        self,
        spec: ArraySpec | None,
        target_path: str | os.PathLike[str] | None,
        executor: Executor | None,
        progress_desc: str | None,
    ) -> None:
        """Give the mag another layout, in place or in another dataset; None only finishes what a crash has left."""
        if target_path is not None and spec is not None:
            root, name = local_path(target_path), self._path.parent.name if self._layer is None else self._layer.name
            check_inside(root / name, root, False)
            if self._layer is None:
                copy_alone(self._all_of_it(), root / name, spec, executor, progress_desc)
            else:
                layer, box = _target_layer(self._layer, root), self._layer.bounding_box
                check_further_axes(layer, box)
                copy_mag(self, layer, self._mag, spec, box, executor, progress_desc)
            return
        self._check_writable()
        if spec is None:
            self._settle()
        else:
            rewrite_mag(self._all_of_it(), _listing(self._layer), spec, executor, progress_desc)
            if self._layer is not None:
                forget_copies(self._layer.dataset, self._layer)

    def _all_of_it(self) -> ArrayRegion:
        """Return the mag with all coordinates along further axes, for what works on its files."""
        return ArrayRegion.of(self._array, self._engine, self._mag, self._frame.box, repr(self))

    def _settle(self) -> None:
        """Finish or undo a rewrite that a crash has interrupted, as far as that can be done."""
        settle_mag(self._path, self._mag, _listing(self._layer))

    def merge_with_view(
        self, other: MagView, executor: Executor | None = None, *, progress_desc: str | None = None
    ) -> None:
        """Overlay another mag, such as a volume annotation, whose files hold one chunk each.

        Each file of the other mag replaces all voxels of its box, with zeros too, and also those beyond the other
        layer's bounding box. All other voxels stay. The layer's bounding box then holds the boxes of these files.
        (webknossos lets it grow to whole shards.) Along further axes, such as time, files replace voxels at their own
        coordinates, which this mag must have.

        Reads and writes may run concurrently: each shard is locked like in any write, and replaces the old one when it
        is whole (a raw shard changes in place). Shards that were merged before a failure stay merged, all
        others are as they were; merging once more completes them.

        Parameters
        ----------
        other : MagView
            Of the same mag, dtype and number of channels; of a dataset or from `open_mag`. Its chunks may have another
            shape and codec.
        executor : Executor, optional
            Runs a job for each shard that changes; without it they run one after another in this process, on all
            cores. A job holds up to 1 GiB of new voxels, and as much again where files fill chunks only in part.
        progress_desc : str, optional
            Shows a progress bar with this text.

        Raises
        ------
        ArgumentError
            If `other` is not a MagView.
        ReadOnlyError
            If this mag is read-only.
        MismatchError, DtypeError, ShapeError
            If the other mag has another magnification, dtype or number of channels, several chunks in a file, or
            coordinates along further axes that this mag does not have.

        Examples
        --------
        >>> annotation = open_mag("annotation/data_Volume/1")  # doctest: +SKIP
        >>> mag_view.merge_with_view(annotation)  # doctest: +SKIP
        """
        if not isinstance(other, View):
            raise ArgumentError(
                f"other is {other!r}; give the MagView to merge, from a layer's get_mag() or open_mag()."
            )
        self._check_writable()
        ranges = ranges_within(self._frame, other._ranges, repr(other))
        regions = zip(self._regions(ranges), other._regions(ranges, self._engine), strict=True)
        merged = merge_regions(list(regions), executor, progress_desc)
        if merged is not None:
            self._grow_to_hold(self._frame.bounding_box(merged))

    def merge_chunk(self, args: tuple[View, NDBoundingBox, Sequence[NDBoundingBox]]) -> None:
        """Overlay files of another mag on one shard; the job of `merge_with_view` for that shard.

        The layer's bounding box does not grow.

        Parameters
        ----------
        args : tuple
            The other mag, or any view of it; the box of a shard of this mag, whether the shard exists or not; and
            the boxes of files of the other mag, of which those parts are used that lie in the shard. A file that does
            not exist holds zeros. All boxes are in Mag(1).

        Raises
        ------
        RegionError
            For a box that is not that of one file.
        ReadOnlyError, MismatchError, DtypeError, ShapeError
            As for `merge_with_view`.

        Examples
        --------
        >>> shard_box = BoundingBox((0, 0, 0), (1024, 1024, 1024))  # doctest: +SKIP
        >>> mag_view.merge_chunk((other, shard_box, [BoundingBox((64, 32, 0), (32, 32, 32))]))  # doctest: +SKIP
        """
        try:
            other, shard_box, boxes = args
        except (TypeError, ValueError):
            raise ArgumentError(f"args is {args!r}; give a view, the box of a shard, and boxes of files.") from None
        if not isinstance(other, View):
            raise ArgumentError(f"args begins with {other!r}; give the MagView to merge, or a view of it.")
        self._check_writable()
        boxes = list(boxes)
        ranges = ranges_of_boxes(self._frame, [shard_box, *boxes])
        (target,), (source,) = self._regions(ranges), other._regions(ranges, self._engine)
        merge_boxes(target, source, shard_box, boxes)

    def _check_writable(self) -> None:
        if self._layer is not None:
            self._layer.dataset._refuse_if_read_only()
        super()._check_writable()

    # ---- What is opened on the first use

    @property
    def _array(self) -> StoredArray:
        if self._opened is None:
            array = super()._array
            if self._layer is not None and (difference := self._layer._difference_to(array)) is not None:
                warnings.warn(f"{difference} The voxels are read as the header says.", stacklevel=3)
            return array
        return self._opened

    def _region_box(self) -> NDBoundingBox:
        return self._bounding_box if self._layer is None else self._layer.bounding_box

    def _grow(self, box: NDBoundingBox) -> None:
        """Let the layer's bounding box hold a box as well, or without a layer that of the mag."""
        if self._layer is not None:
            self._layer._extend_bounding_box(box)
            return
        with self._growing:
            self._bounding_box = extended(self._bounding_box, box)

    def _grow_to_hold(self, box: NDBoundingBox) -> None:
        if extended(self.bounding_box, box) != self.bounding_box:
            self._grow(box)

    def _open_array(self) -> StoredArray:
        found, self._unchecked = self._unchecked, None
        return found or super()._open_array()

    def _make_room(self, end: Triple, extra_axes: Sequence[tuple[str, int]]) -> None:
        """Let the array have room up to an end, if it may be written; what is wrong with it is said when it is used."""
        if self.read_only:
            return
        with suppress(WkgpuError):
            array = self._opened or self._unchecked
            if array is None:
                array = self._unchecked = self._open_array()
            array.ensure_extent(end, extra_axes)

    def _forget_files(self) -> None:
        """Open the files again at the next use: the old files were deleted or replaced."""
        self._opened = self._unchecked = None

    # ---- Earlier generations

    @property
    def size(self) -> Vec3Int:
        """Bottom right of the bounding box in voxels of the mag. Deprecated: use `bounding_box`."""
        warn_deprecated("MagView.size is deprecated; use bounding_box.in_mag(mag).bottomright.")
        return Vec3Int(self._frame.topleft) + self._frame.shape

    @property
    def global_offset(self) -> Vec3Int:
        """Zeros, because legacy offsets into a mag count from the dataset's origin. Deprecated."""
        warn_deprecated("MagView.global_offset is deprecated; it is always (0, 0, 0).")
        return Vec3Int(0, 0, 0)

    # ---- Representation and pickling

    def __repr__(self) -> str:
        return f"MagView(name={self.name!r}, bounding_box={self.bounding_box})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._layer is None:
            return MagView._without_dataset, (self._path, self._mag, self._read_only, self._device)
        return _reopened, (self._layer, self._mag, self._device)


@overload
def _listing(layer: Layer) -> LayerListing: ...
@overload
def _listing(layer: None) -> None: ...
def _listing(layer: Layer | None) -> LayerListing | None:
    if layer is None:
        return None
    dataset = layer.dataset
    return LayerListing(
        layer.name, layer.path, dataset.path, dataset._file, lambda: layer._properties, dataset._changing
    )


def _target_layer(layer: Layer, root: Path) -> Layer:
    """Return the layer of the same name in the dataset at a path; both are made if they do not exist."""
    layer._check_headers()
    dataset = type(layer.dataset)(root, voxel_size_with_unit=layer.dataset.voxel_size_with_unit, exist_ok=True)
    return dataset.get_or_add_layer(
        layer.name,
        layer.category,
        dtype=layer.dtype,
        num_channels=layer.num_channels,
        data_format=layer.data_format,
        largest_segment_id=layer._properties.largest_segment_id,
        bounding_box=layer.bounding_box if further_axes(layer.bounding_box) else None,
    )


def _reopened(layer: Layer, mag: Mag, device: str | None) -> MagView:
    """Return a mag of a layer that was just unpickled."""
    mag_view = layer.get_mag(mag)
    return mag_view if device == mag_view._device or device is None else mag_view.to(device)
