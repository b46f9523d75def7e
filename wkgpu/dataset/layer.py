"""A layer of a dataset: an image or a segmentation in several mags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from wkgpu.absent_names import TellsWhatIsAbsent
from wkgpu.dataset.downsampled_layer import DownsampledLayer
from wkgpu.dataset.folder_change import FolderRemoval, NewFolder, settle_folder
from wkgpu.dataset.html import table
from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.mag_view import MagView
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.layer_category import LayerCategoryType
from wkgpu.dataset.metadata.layer_properties import LayerProperties, MagProperties
from wkgpu.dataset.shapes import Compression, Shape, check_spec, new_spec
from wkgpu.errors import MagNotFoundError, MismatchError, NameTakenError, WkgpuError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray, create_array
from wkgpu.storage.stores.local.links import check_inside
from wkgpu.storage.stores.local.paths import listed_path

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset


class Layer(DownsampledLayer, TellsWhatIsAbsent):
    """An image or a segmentation, in one or more mags. It comes from `Dataset.get_layer` and `Dataset.add_layer`.

    Parameters
    ----------
    dataset : Dataset
        The dataset of the layer.
    properties : LayerProperties
        What the properties file says about the layer.

    Examples
    --------
    >>> layer = dataset.add_layer("color", "color", dtype="uint8")  # doctest: +SKIP
    >>> mag_view = layer.add_mag(1)  # doctest: +SKIP
    """

    def __init__(self, dataset: Dataset, properties: LayerProperties) -> None:
        self._dataset = dataset
        self._properties = properties
        self._bounding_box = properties.bounding_box
        self._mags: dict[Mag, MagView] = {}
        self._adopt(properties)

    # ---- What it is

    @property
    def dataset(self) -> Dataset:
        """The dataset of the layer."""
        return self._dataset

    @property
    def name(self) -> str:
        """Name of the layer, and of its folder."""
        return self._properties.name

    @property
    def path(self) -> Path:
        """Folder of the layer."""
        return self._dataset.path / self.name

    @property
    def category(self) -> LayerCategoryType:
        """``"color"`` or ``"segmentation"``."""
        return self._properties.category

    @property
    def data_format(self) -> DataFormat:
        """File format of the mags."""
        return self._properties.data_format

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of one channel of a voxel."""
        return self._voxel_type[0]

    @property
    def dtype_per_channel(self) -> np.dtype[np.generic]:
        """Type of one channel of a voxel, under its earlier name."""
        return self.dtype

    @property
    def num_channels(self) -> int:
        """Channels of a voxel; where the properties file does not say how many, those of the finest mag."""
        return self._voxel_type[1]

    @property
    def _voxel_type(self) -> tuple[np.dtype[np.generic], int]:
        listed = self._properties
        for mag_view in () if listed.has_num_channels else self._mags.values():
            with suppress(WkgpuError):  # a mag that cannot be opened does not say it
                spec = mag_view._array.spec
                if listed.holds(spec.dtype, spec.num_channels):
                    return spec.dtype, spec.num_channels
        return listed.dtype, listed.num_channels

    @property
    def read_only(self) -> bool:
        """Whether the dataset was opened to be read only."""
        return self._dataset.read_only

    @property
    def bounding_box(self) -> NDBoundingBox:
        """Box of the voxels that hold data, in Mag(1). Set it to save another one.

        Raises
        ------
        RegionError
            When it is set to a box with a negative top left.
        """
        return self._bounding_box

    @bounding_box.setter
    def bounding_box(self, box: NDBoundingBox) -> None:
        with self._dataset._changing() as properties:
            properties.layer(self.name).bounding_box = box

    # ---- Mags

    @property
    def mags(self) -> Mapping[Mag, MagView]:
        """The mags, from the finest to the coarsest."""
        return MappingProxyType(self._mags)

    def get_mag(self, mag: MagLike) -> MagView:
        """Return a mag.

        Raises
        ------
        MagNotFoundError
            If the layer has no such mag.
        MagError
            If `mag` is no mag.

        Examples
        --------
        >>> layer.get_mag("2-2-1")  # doctest: +SKIP
        MagView(name='2-2-1', bounding_box=BoundingBox(topleft=(0, 0, 0), size=(1024, 1024, 1024)))
        """
        wanted = Mag(mag)
        if wanted not in self._mags:
            self._dataset._refresh()  # another process may have added it
        try:
            return self._mags[wanted]
        except KeyError:
            known = ", ".join(map(str, self._mags)) or "no mags"
            raise MagNotFoundError(f"Layer {self.name!r} has no mag {wanted}; it has {known}.") from None

    def get_finest_mag(self) -> MagView:
        """Return the mag with the smallest voxels.

        Raises
        ------
        MagNotFoundError
            If the layer has no mags.
        """
        if not self._mags:
            raise MagNotFoundError(f"Layer {self.name!r} has no mags; add one with add_mag().")
        return next(iter(self._mags.values()))

    @accepts_legacy("chunk_shape", "chunks_per_shard", "compress")
    def add_mag(
        self,
        mag: MagLike,
        *,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        compress: Compression = True,
    ) -> MagView:
        """Add an empty mag and make its files.

        Parameters
        ----------
        mag : Mag, int, str or (x, y, z)
            The magnification.
        chunk_shape : int or (x, y, z), optional
            Voxels of the mag that are encoded at once; 32³ by default. WKW takes cubes with powers of two as edges.
        shard_shape : int or (x, y, z), optional
            Voxels of the mag in one file; by default 32³ chunks, which are 1024³ voxels.
        chunks_per_shard : int or (x, y, z), optional
            Deprecated: chunks in one file, instead of `shard_shape`.
        compress : bool or str
            True or ``"lz4"`` for LZ4, ``"lz4hc"`` for LZ4HC, False for raw voxels.

        Raises
        ------
        NameTakenError, AlreadyExistsError
            If the layer has this mag, or there are files where the new ones would be.
        ShapeError, ArgumentError
            For shapes that do not fit each other or the format.
        ReadOnlyError
            If the dataset is read-only, or the layer's folder is a link that leads out of it.

        Examples
        --------
        >>> layer.add_mag("2-2-1", chunk_shape=32, shard_shape=1024, compress="lz4hc")  # doctest: +SKIP
        """
        spec = new_spec(self.dtype, self.num_channels, chunk_shape, shard_shape, chunks_per_shard, compress)
        self._check_folder()
        return self._add_mag(Mag(mag), spec)

    def _check_folder(self) -> None:
        """Raise a `ReadOnlyError` if the layer's folder is a link that leads out of the dataset."""
        check_inside(self.path, self._dataset.path, self._dataset._allow_foreign_writes)

    def _add_mag(self, mag: Mag, spec: ArraySpec) -> MagView:
        self._dataset._check_writable()
        self._settle()
        self._check_headers()
        self._check_free(self._properties, mag)  # before there are files in the way
        name = mag.to_layer_name()
        with NewFolder(self.path / name, self._dataset._file) as folder:
            create_array(folder.building, spec, self.data_format.value)
            with self._dataset._changing() as properties:
                layer = properties.layer(self.name)
                self._check_free(layer, mag)
                layer.add_mag(mag, f"./{self.name}/{name}", spec.shard_shape)
                folder.place()
        return self.get_mag(mag)

    def _check_free(self, properties: LayerProperties, mag: Mag) -> None:
        if properties.has_mag(mag):
            raise NameTakenError(f"Layer {self.name!r} has a mag {mag} already; use get_or_add_mag().")

    @accepts_legacy("chunk_shape", "chunks_per_shard", "compress")
    def get_or_add_mag(
        self,
        mag: MagLike,
        *,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        compress: Compression | None = None,
    ) -> MagView:
        """Return a mag, and add it before if there is none; see `add_mag`.

        Raises
        ------
        MismatchError
            If the mag exists with other shapes or another compression than were given.
        """
        mag = Mag(mag)
        if mag not in self._mags:
            spec = new_spec(
                self.dtype, self.num_channels, chunk_shape, shard_shape, chunks_per_shard, compress is None or compress
            )
            self._check_folder()
            with suppress(NameTakenError):  # another process may be faster
                return self._add_mag(mag, spec)
        mag_view = self.get_mag(mag)
        check_spec(mag_view._array.spec, chunk_shape, shard_shape, chunks_per_shard, compress)
        return mag_view

    def delete_mag(self, mag: MagLike) -> None:
        """Delete a mag with its files; files outside of the layer's folder are left alone.

        Links are not followed: of a linked mag the link is deleted, and nothing in the linked folder of a layer is.

        Raises
        ------
        MagNotFoundError
            If the layer has no such mag.
        """
        mag_view = self.get_mag(mag)
        self._dataset._check_writable()
        self._settle()
        owned = FolderRemoval(mag_view.path, self._dataset._file) if self._owns(mag_view) else nullcontext()
        with owned, self._dataset._changing() as properties:
            properties.layer(self.name).remove_mag(mag_view.mag)

    def _owns(self, mag_view: MagView) -> bool:
        """Whether the mag's files, or the link to them, lie in this layer's own folder, and not where a link leads."""
        path = mag_view.path
        return path.parent == self.path and path.name != ".." and not self.path.is_symlink()

    def _settle(self) -> None:
        """Finish or undo what an interrupt or a crash has left of other changes, and take over what is new.

        Raises
        ------
        LayerNotFoundError
            If another process has deleted the layer.
        """
        self._dataset._refresh()
        listed = self._dataset._properties.layer(self.name)
        inside = {(self._dataset.path / path).parent for path in listed.paths if path.startswith(f"./{self.name}/")}
        for folder in {self.path, *inside}:
            settle_folder(folder, self._dataset._file)
        for mag_view in self._mags.values():
            if not mag_view.is_remote_to_dataset:
                mag_view._settle()

    # ---- What headers and the properties file say

    def _difference_to(self, array: StoredArray) -> str | None:
        """Return a sentence that says how a mag's header and the properties file disagree on voxels, if they do."""
        spec, listed = array.spec, self._properties
        if listed.holds(spec.dtype, spec.num_channels):
            return None
        return (
            f"{array.lock_file} says that a voxel has {spec.num_channels} channel(s) of {spec.dtype}, but "
            f"{self._dataset._file.path} says {listed.num_channels} of {listed.dtype} for layer {self.name!r}; correct "
            "elementClass and numChannels there."
        )

    def _check_headers(self) -> None:
        """Check that all mags hold what the properties file says, before anything new is made of both.

        Raises
        ------
        MismatchError
            Naming the header and the properties file that disagree. Mags that cannot be opened are passed over.
        """
        expected = self._voxel_type
        for mag_view in self._mags.values():
            try:
                array = mag_view._array
            except WkgpuError:
                continue
            if (difference := self._difference_to(array)) is not None:
                raise MismatchError(difference)
            if (found := (array.spec.dtype, array.spec.num_channels)) != expected:
                raise MismatchError(
                    f"{array.lock_file} says that a voxel has {found[1]} channel(s) of {found[0]}, but other mags of "
                    f"layer {self.name!r} have {expected[1]} of {expected[0]}; the mags of a layer are alike."
                )

    # ---- What the properties file says

    def _extend_bounding_box(self, box: BoundingBox) -> None:
        """Let the bounding box hold another box as well, whatever other processes do to it meanwhile."""
        with self._dataset._changing() as properties:
            layer = properties.layer(self.name)
            layer.bounding_box = layer.bounding_box.extended_by(box)

    def _adopt(self, properties: LayerProperties) -> None:
        """Take over what the properties file says now."""
        self._properties = properties
        box = properties.bounding_box
        if box != self._bounding_box:
            self._bounding_box = box
        mags = {}
        for listed in sorted(properties.mags, key=lambda listed: (listed.mag.max_dim, listed.mag.to_tuple())):
            path = self._mag_path(listed)
            known = self._mags.get(listed.mag)
            mags[listed.mag] = known if known and known.path == path else MagView(self, listed.mag, path=path)
        for mag, mag_view in self._mags.items():
            if mags.get(mag) is not mag_view:
                mag_view._forget_files()
        self._mags = mags

    def _forget_files(self) -> None:
        """Let the mags open their files anew: the layer was deleted."""
        for mag_view in self._mags.values():
            mag_view._forget_files()

    def _mag_path(self, listed: MagProperties) -> Path:
        if listed.path is not None:
            return listed_path(self._dataset.path, listed.path)
        short, long = self.path / listed.mag.to_layer_name(), self.path / listed.mag.to_long_layer_name()
        # Path.exists raises where a folder cannot be looked into; such a mag is an error when it is used.
        return long if os.path.exists(long) and not os.path.exists(short) else short  # noqa: PTH110

    # ---- How it shows itself, and travels

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dtype={self.dtype}, num_channels={self.num_channels})"

    def _repr_html_(self) -> str:
        rows = {
            "category": self.category,
            "dtype": self.dtype,
            "channels": self.num_channels,
            "format": self.data_format,
            "bounding box in Mag(1)": self.bounding_box,
            "mags": ", ".join(map(str, self._mags)) or "none",
        }
        return table(f"{type(self).__name__} {self.name}", rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._dataset, self.name)


def _reopened(dataset: Dataset, name: str) -> Layer:
    """Return a layer of a dataset that was just unpickled."""
    return dataset.get_layer(name)
