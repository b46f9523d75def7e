"""A box of a stored mag, to read, to write and to cut smaller views from."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from wkgpu.absent_names import TellsWhatIsAbsent
from wkgpu.dataset.array_info import ArrayInfo
from wkgpu.dataset.chunked_view import ChunkedView
from wkgpu.dataset.html import table
from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.legacy_view import LegacyView
from wkgpu.dataset.mapped_view import MappedView
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.regions import Frame, resolve, resolve_for_data
from wkgpu.dataset.slices.sliced_view import SlicedView
from wkgpu.engines import Engine, get_engine
from wkgpu.errors import ArgumentError, ReadOnlyError, ShapeError, WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3IntLike
from wkgpu.operations.transfer import read_box, read_boxes, write_box
from wkgpu.operations.voxels import Array, as_voxels
from wkgpu.settings import config
from wkgpu.storage.stored_array import StoredArray, open_array
from wkgpu.storage.stores.local.links import HOW_TO_ALLOW, real_path_outside
from wkgpu.storage.stores.local.paths import is_remote


class View(ChunkedView, SlicedView, MappedView, LegacyView, TellsWhatIsAbsent):
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

    @accepts_legacy("offset", "size", today=("size",))
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
        out : array (channel, x, y, z), optional
            Is filled and returned, instead of new memory. Fastest in Fortran order.
        offset : (x, y, z), optional
            Deprecated: first voxel in the view's mag, with a `size` in the view's mag.

        Returns
        -------
        array (channel, x, y, z)
            In Fortran order and of the mag's dtype, on the view's device. What is not stored is 0.

        Raises
        ------
        RegionError, OutOfBoundsError
            For regions that contradict each other, are empty, negative or not aligned with the mag, or leave the view.
        ShapeError, DtypeError
            If `out` does not fit.
        NotFoundError, FormatError, StorageAccessError
            If files are missing, damaged or not readable.

        Examples
        --------
        >>> view.read(absolute_offset=(0, 0, 0), size=(64, 64, 64)).shape  # doctest: +SKIP
        (1, 64, 64, 64)
        """
        topleft, shape = resolve(
            self._frame, not self._pads, offset, size,
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
        frame, bounded = self._frame, not self._pads
        regions = [resolve(frame, bounded, None, None, None, None, None, box) for box in boxes]
        if not regions:
            raise ShapeError("read_many() needs at least one box, got none.")
        shape = regions[0][1]
        for position, (_, other) in enumerate(regions):
            if other != shape:
                raise ShapeError(
                    f"boxes[{position}] has {other} voxels in mag {self.name}, boxes[0] has {shape}; give boxes of one "
                    "shape, or read them one by one."
                )
        return read_boxes(self._array, self._engine, [topleft for topleft, _ in regions], shape, out)

    def read_xyz(
        self,
        *,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
    ) -> Array:
        """Read a region with the axes in the dataset's order; see `read`.

        Returns
        -------
        array (channel, x, y, z)
            As from `read`: WKW has no axes besides.
        """
        return self.read(relative_bounding_box=relative_bounding_box, absolute_bounding_box=absolute_bounding_box)

    def read_cxyz(
        self,
        size: Vec3IntLike | None = None,
        *,
        relative_offset: Vec3IntLike | None = None,
        absolute_offset: Vec3IntLike | None = None,
        relative_bounding_box: NDBoundingBox | None = None,
        absolute_bounding_box: NDBoundingBox | None = None,
    ) -> Array:
        """Read a region with the axes channel, x, y, z, which is what `read` does for WKW; see there."""
        return self.read(
            size=size,
            relative_offset=relative_offset,
            absolute_offset=absolute_offset,
            relative_bounding_box=relative_bounding_box,
            absolute_bounding_box=absolute_bounding_box,
        )

    def _read_in_mag(self, offset: Vec3IntLike | None, size: Vec3IntLike | None) -> Array:
        topleft, shape = resolve(self._frame, not self._pads, offset, size, None, None, None, None)
        return read_box(self._array, self._engine, topleft, shape)

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
            Of the mag's dtype and channels: NumPy, CuPy, or anything with DLPack, with any strides.
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
        self._check_writable()
        voxels = as_voxels(data, self._array.spec, self._engine)
        topleft, _ = resolve_for_data(
            self._frame, True, voxels.shape[1:], offset,
            relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box,
        )  # fmt: skip
        write_box(self._array, self._engine, topleft, voxels)

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
        """Write an array with the axes channel, x, y, z, which is what `write` takes for WKW; see there."""
        self.write(
            data,
            relative_offset=relative_offset,
            absolute_offset=absolute_offset,
            relative_bounding_box=relative_bounding_box,
            absolute_bounding_box=absolute_bounding_box,
        )

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

    @accepts_legacy("offset", "size", today=("size",))
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
        frame = self._frame
        region = resolve(
            frame, not (read_only or self.read_only), offset, size,
            relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box,
        )  # fmt: skip
        view = View(self._path, frame.bounding_box(region), self._mag, read_only=read_only, device=self._device)
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

    # ---- What is opened on the first use

    @property
    def _array(self) -> StoredArray:
        if self._opened is None:
            self._opened = self._open_array()
        return self._opened

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

    # ---- How it shows itself

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
