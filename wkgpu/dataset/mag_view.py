"""A whole mag of a layer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from wkgpu.dataset.legacy import accepts_legacy, warn_deprecated
from wkgpu.dataset.mergeable_mag import MergeableMag
from wkgpu.dataset.regions import resolve_for_data
from wkgpu.dataset.rewritable_mag import RewritableMag
from wkgpu.dataset.shapes import Compression, Shape, new_spec
from wkgpu.dataset.view import View
from wkgpu.errors import OutOfBoundsError, UnsupportedError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3Int, Vec3IntLike
from wkgpu.operations.transfer import write_box
from wkgpu.operations.voxels import Array, as_voxels
from wkgpu.storage.stored_array import StoredArray, create_array
from wkgpu.storage.stores.local.links import real_path_outside
from wkgpu.storage.stores.local.paths import is_remote

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


class MagView(RewritableMag, MergeableMag):
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
            spec = new_spec(layer.dtype, layer.num_channels, chunk_shape, None, chunks_per_shard, compression_mode)
            self._opened = create_array(path, spec, layer.data_format.value)
            self._opened.follows_links = self._allow_foreign_writes

    @property
    def layer(self) -> Layer:
        """The layer of the mag."""
        return self._layer

    @property
    def bounding_box(self) -> NDBoundingBox:
        """The layer's box in Mag(1), rounded out to this mag."""
        return self._region_box().align_with_mag(self._mag, ceil=True)

    @property
    def is_remote_to_dataset(self) -> bool:
        """Whether the mag's files lie outside of the dataset's folder, or at a URL: they belong to another one."""
        return is_remote(self._path) or real_path_outside(self._path, self.layer.dataset.path) is not None

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
            Whether the write may leave the layer's bounding box, which then grows and is saved to the properties file.
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
        self._check_writable()
        voxels = as_voxels(data, self._array.spec, self._engine)
        frame = self._frame
        region = resolve_for_data(
            frame, False, voxels.shape[1:], offset,
            relative_offset, absolute_offset, relative_bounding_box, absolute_bounding_box,
        )  # fmt: skip
        box = frame.bounding_box(region)
        grows = not self.bounding_box.contains_bbox(box)
        if grows and not allow_resize:
            raise OutOfBoundsError(
                f"Writing {box} would leave the bounding box {self.bounding_box} (both in Mag(1)); set "
                "Layer.bounding_box before, or write with allow_resize=True."
            )
        write_box(self._array, self._engine, region[0], voxels)
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
        """Write an array with the axes channel, x, y, z, which is what `write` takes for WKW; see there."""
        self.write(
            data,
            allow_resize=allow_resize,
            relative_offset=relative_offset,
            absolute_offset=absolute_offset,
            relative_bounding_box=relative_bounding_box,
            absolute_bounding_box=absolute_bounding_box,
        )

    def get_bounding_boxes_on_disk(self) -> Iterator[BoundingBox]:
        """Iterate over the boxes of the files that exist, in Mag(1), ascending by z, y, x.

        Examples
        --------
        >>> list(mag_view.get_bounding_boxes_on_disk())  # doctest: +SKIP
        [BoundingBox(topleft=(0, 0, 0), size=(1024, 1024, 1024))]
        """
        frame = self._frame
        return (frame.bounding_box(region) for region in self._array.shard_boxes())

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
        """Return the mag's ``zarr.Array``.

        Raises
        ------
        UnsupportedError
            A `ValueError`, for a WKW mag, which is none.
        """
        raise UnsupportedError(f"{self!r} is stored as {self.data_format.value}, not as Zarr; use read() and write().")

    @property
    def _array(self) -> StoredArray:
        if self._opened is None:
            array = super()._array
            if (difference := self._layer._difference_to(array)) is not None:
                warnings.warn(f"{difference} The voxels are read as the header says.", stacklevel=3)
            return array
        return self._opened

    def _region_box(self) -> NDBoundingBox:
        return self._layer.bounding_box

    def _grow(self, box: BoundingBox) -> None:
        self._layer._extend_bounding_box(box)

    def _forget_files(self) -> None:
        """Open the files anew at the next use: these are gone, or are others."""
        self._opened = None

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

    # ---- How it shows itself, and travels

    def __repr__(self) -> str:
        return f"MagView(name={self.name!r}, bounding_box={self.bounding_box})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.layer, self._mag, self._device)


def _reopened(layer: Layer, mag: Mag, device: str | None) -> MagView:
    """Return a mag of a layer that was just unpickled."""
    mag_view = layer.get_mag(mag)
    return mag_view if device == mag_view._device or device is None else mag_view.to(device)
