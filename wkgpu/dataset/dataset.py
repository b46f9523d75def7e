"""A dataset: a folder of layers and the properties file that lists them."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import DTypeLike

from wkgpu.absent_names import TellsWhatIsAbsent
from wkgpu.dataset.changes.copying import DatasetCopy, LayoutOverrides, copy_layer
from wkgpu.dataset.changes.extents import make_room
from wkgpu.dataset.changes.groups import check_group, forget_copies, list_mags, make_dataset_group
from wkgpu.dataset.changes.layer_entries import get_or_add_layer, properties_like, write_layer
from wkgpu.dataset.changes.mag_pyramid import downsample_dataset
from wkgpu.dataset.changes.references import add_layer_reference, layer_at
from wkgpu.dataset.changes.rewriting import compress_dataset
from wkgpu.dataset.discovery import find_layer
from wkgpu.dataset.folder_change import FolderRemoval, settle_folder
from wkgpu.dataset.html import table
from wkgpu.dataset.layer import Layer
from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.image_properties import ImageFile, find_dataset
from wkgpu.dataset.metadata.layer_category import SEGMENTATION_CATEGORY, LayerCategoryType
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.dataset.metadata.properties import DatasetProperties
from wkgpu.dataset.metadata.properties_file import PropertiesFile, create_properties
from wkgpu.dataset.metadata.view_configuration import DatasetViewConfiguration
from wkgpu.dataset.metadata.voxel_size import Factor, VoxelSize
from wkgpu.dataset.segmentation_layer import SegmentationLayer
from wkgpu.dataset.shapes import Compression, Shape
from wkgpu.errors import (
    ArgumentError,
    LayerNotFoundError,
    MismatchError,
    ReadOnlyError,
    WkgpuError,
)
from wkgpu.forking import child_safe
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import MagLike
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec_int import VecIntLike
from wkgpu.operations.downsampling.interpolation import InterpolationMode
from wkgpu.operations.downsampling.sampling_modes import SamplingModes
from wkgpu.operations.jobs import Executor
from wkgpu.operations.voxels import Array
from wkgpu.settings import config
from wkgpu.storage.stores.local.links import check_inside
from wkgpu.storage.stores.local.paths import local_path


class Dataset(TellsWhatIsAbsent):
    """A folder of layers, and ``datasource-properties.json``, which lists them.

    The constructor makes a new dataset; `Dataset.open` opens one. What the properties file says is read when the
    dataset is opened and at each change. A change is made under a lock to the file as it is then, so that several
    processes may add layers and mags and write voxels, and nothing is lost.

    Parameters
    ----------
    dataset_path : path
        Folder of the dataset. It must not exist, or be empty.
    voxel_size : (x, y, z)
        Extents of a voxel of Mag(1) in nanometers.
    name : str, optional
        By default the folder's name.
    exist_ok : bool
        Whether to open the dataset if it exists; it must have this voxel size, and this name if one is given.
    voxel_size_with_unit : VoxelSize, optional
        The voxel size in another unit, instead of `voxel_size`.
    read_only : bool
        Whether all changes are refused.
    path : path, optional
        Another name of `dataset_path`.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``: where its views are read to; without it,
        `wkgpu.config.device`.
    allow_foreign_writes : bool
        As for `Dataset.open`.

    Raises
    ------
    AlreadyExistsError
        If the folder holds something and `exist_ok` is False, or it holds no dataset.
    MismatchError
        If the dataset exists with another voxel size or name.
    ArgumentError
        If there is no voxel size, or it is not three numbers above 0.
    UnsupportedError
        If the path is a URL, such as ``s3://``, other than ``file://``.

    Examples
    --------
    >>> dataset = Dataset("cortex", voxel_size=(11.24, 11.24, 25))  # doctest: +SKIP
    >>> mag_view = dataset.add_layer("color", "color", dtype="uint8").add_mag(1)  # doctest: +SKIP
    """

    @accepts_legacy()
    def __init__(
        self,
        dataset_path: str | os.PathLike[str] | None = None,
        voxel_size: Any = None,
        name: str | None = None,
        exist_ok: bool = False,
        *,
        voxel_size_with_unit: Any = None,
        read_only: bool = False,
        path: str | os.PathLike[str] | None = None,
        device: str | None = None,
        allow_foreign_writes: bool = False,
    ) -> None:
        path = _given(dataset_path)
        size = _voxel_size(voxel_size, voxel_size_with_unit)
        file = create_properties(local_path(path), name, size, exist_ok)
        self._set_up(file, read_only, device, allow_foreign_writes)
        found = self.voxel_size_with_unit
        if found != size:
            raise MismatchError(f"{self.path} exists with voxel size {found}, not {size}; use Dataset.open().")
        if name is not None and self.name != name:
            raise MismatchError(f"{self.path} exists with the name {self.name!r}, not {name!r}; use Dataset.open().")

    @classmethod
    @accepts_legacy()
    def open(
        cls,
        dataset_path: str | os.PathLike[str] | None = None,
        read_only: bool = False,
        *,
        path: str | os.PathLike[str] | None = None,
        device: str | None = None,
        allow_foreign_writes: bool = False,
    ) -> Dataset:
        """Open a dataset.

        The folder of an OME-Zarr image (Zarr 3, with metadata of version 0.4 or 0.5) that has no properties file is
        opened as a read-only dataset: its one layer has the name of the folder, and its mags, its voxel size, its
        bounding box and its axes are those of the image.

        Parameters
        ----------
        dataset_path : path
            Folder with ``datasource-properties.json``, or of an OME-Zarr image.
        read_only : bool
            Whether all changes are refused.
        path : path, optional
            Another name of `dataset_path`.
        device : str, optional
            ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``: where its views are read to.
        allow_foreign_writes : bool
            Whether files outside of the dataset's folder, to which links or paths in the dataset lead, may be changed.
            By default mags that lie there are read-only, and so are shards that are links: they may belong to another
            dataset. Nothing that a link leads to is ever deleted.

        Raises
        ------
        NotFoundError
            If there is neither a properties file nor an image.
        UnsupportedError
            If the path is a URL, such as ``s3://``, other than ``file://``, or the image is not one that wkgpu reads.
        PropertiesError
            If the image has voxels that are not powers of two of its finest ones, or axes or units that are unknown; or
            if the properties file cannot be understood. Where this is so of single layers, a warning names them and
            says what is wrong, and the others can be used.

        Examples
        --------
        >>> Dataset.open("cortex").get_layer("color").get_mag(1)  # doctest: +SKIP
        MagView(name='1', bounding_box=BoundingBox(topleft=(0, 0, 0), size=(512, 512, 512)))
        """
        path = _given(dataset_path)
        dataset = object.__new__(cls)
        file = find_dataset(local_path(path))
        dataset._set_up(file, read_only or isinstance(file, ImageFile), device, allow_foreign_writes)
        return dataset

    def _set_up(self, file: PropertiesFile, read_only: bool, device: str | None, allow_foreign_writes: bool) -> None:
        self._file = file
        self._read_only = read_only
        self._device = device
        self._allow_foreign_writes = allow_foreign_writes
        self._layers: dict[str, Layer] = {}
        self._known_reasons: frozenset[str] = frozenset()
        self._lock = child_safe(threading.RLock())  # between the change of the file and its adoption
        self._refresh()

    # ---- What it is

    @property
    def path(self) -> Path:
        """Folder of the dataset."""
        return self._file.path.parent

    @property
    def name(self) -> str:
        """Name of the dataset. Set it to save another one."""
        return self._properties.name

    @name.setter
    def name(self, name: str) -> None:
        with self._changing() as properties:
            properties.name = name

    @property
    def voxel_size(self) -> Factor:
        """Extents ``(x, y, z)`` of a voxel of Mag(1) in nanometers."""
        return self._properties.voxel_size.to_nanometer()

    @property
    def voxel_size_with_unit(self) -> VoxelSize:
        """Extents of a voxel of Mag(1) in the unit of the properties file."""
        return self._properties.voxel_size

    @property
    def default_view_configuration(self) -> DatasetViewConfiguration | None:
        """How WEBKNOSSOS shows the dataset at first; None where nothing is said. Set it to save another one.

        What is saved replaces all that wkgpu knows of the configuration; keys of the file that it does not know stay.
        None removes the configuration.

        Raises
        ------
        PropertiesError
            If the file holds values of the wrong type.
        ArgumentError
            When it is set to something else than a `DatasetViewConfiguration`, or to one with values of the wrong type.

        Examples
        --------
        >>> dataset.default_view_configuration = DatasetViewConfiguration(zoom=2, position=(8, 8, 8))  # doctest: +SKIP
        """
        return DatasetViewConfiguration.saved_in(self._properties.document, f"{self._file.path}")

    @default_view_configuration.setter
    def default_view_configuration(self, configuration: DatasetViewConfiguration | None) -> None:
        with self._changing() as properties:
            DatasetViewConfiguration.save_in(properties.document, configuration)

    @property
    def read_only(self) -> bool:
        """Whether all changes are refused."""
        return self._read_only

    @property
    def device(self) -> str | None:
        """Where the dataset's views are read to; None is `wkgpu.config.device`."""
        return self._device

    def calculate_bounding_box(self) -> NDBoundingBox:
        """Return the smallest box around those of all layers, in Mag(1); if their axes differ, along x, y and z."""
        boxes = [layer.bounding_box for layer in self._layers.values() if not layer.bounding_box.is_empty()]
        if len({box.axes for box in boxes}) > 1:
            boxes = [BoundingBox(box.topleft_xyz, box.size_xyz) for box in boxes]
        return reduce(lambda one, other: one.extended_by(other), boxes) if boxes else BoundingBox.empty()

    # ---- Layers

    @property
    def layers(self) -> Mapping[str, Layer]:
        """The layers by name, in the properties file's order."""
        return MappingProxyType(self._layers)

    @accepts_legacy()
    def get_layer(self, layer_name: str) -> Layer:
        """Return a layer.

        Raises
        ------
        LayerNotFoundError
            If there is no such layer.
        PropertiesError
            If the properties file lists the layer in a way that cannot be understood.
        """
        if layer_name not in self._layers:
            self._refresh()  # another process may have added it
        try:
            return self._layers[layer_name]
        except KeyError:
            self._properties.layer(layer_name)  # or an error that says why there is no such layer
            raise LayerNotFoundError(f"{self.path} has no layer {layer_name!r} now; open it again.") from None

    @accepts_legacy()
    def get_segmentation_layer(self, layer_name: str) -> SegmentationLayer:
        """Return a segmentation layer.

        Raises
        ------
        LayerNotFoundError
            If there is no such layer.
        ArgumentError
            If the layer is not a segmentation layer.
        """
        layer = self.get_layer(layer_name)
        if not isinstance(layer, SegmentationLayer):
            raise ArgumentError(f"Layer {layer_name!r} is a {layer.category} layer; use get_layer().")
        return layer

    def get_color_layers(self) -> list[Layer]:
        """Return the layers that are images."""
        return [layer for layer in self._layers.values() if not isinstance(layer, SegmentationLayer)]

    def get_segmentation_layers(self) -> list[SegmentationLayer]:
        """Return the layers that are segmentations."""
        return [layer for layer in self._layers.values() if isinstance(layer, SegmentationLayer)]

    @accepts_legacy("dtype_per_layer", "dtype_per_channel", "num_channels", "data_format", "bounding_box")
    def add_layer(
        self,
        layer_name: str,
        category: LayerCategoryType,
        *,
        dtype: DTypeLike | None = None,
        dtype_per_channel: DTypeLike | None = None,
        num_channels: int | None = None,
        data_format: str | DataFormat | None = None,
        bounding_box: NDBoundingBox | None = None,
        largest_segment_id: int | None = None,
    ) -> Layer:
        """Add a layer without mags.

        Parameters
        ----------
        layer_name : str
            Letters, digits, and ``_ - . $ @``; the name of the layer's folder.
        category : {"color", "segmentation"}
            Whether the layer is an image or a segmentation.
        dtype : dtype
            Type of one channel: an integer of 8 to 64 bits, or for images also float32 ("float") and float64. Default:
            uint8.
        dtype_per_channel : dtype
            Another name of `dtype`.
        num_channels : int
            Channels of a voxel. Default: 1.
        data_format : str or DataFormat, optional
            File format of the mags: ``"wkw"`` or ``"zarr3"``. Default: `wkgpu.config.data_format`, which is WKW.
        bounding_box : NDBoundingBox, optional
            Box of the voxels that hold data, in Mag(1). By default empty; it grows with what is written. In Zarr 3, a
            box with other axes than x, y and z gives the layer these axes, in their order: "c" is that of the channels,
            others can be points in time. The layer grows along all but that of the channels.
        largest_segment_id : int, optional
            Of a segmentation: the largest voxel value, if it is known.

        Raises
        ------
        NameTakenError
            If the dataset has a layer of this name.
        InvalidNameError, CategoryError, DtypeError, ShapeError, RegionError, ArgumentError, UnsupportedError
            For arguments that are not as described.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> dataset.add_layer("cells", "segmentation", dtype="uint32")  # doctest: +SKIP
        SegmentationLayer('cells', dtype=uint32, num_channels=1)
        """
        layer = LayerProperties.new(
            layer_name, category, dtype, num_channels, data_format, bounding_box, largest_segment_id
        )
        return self._add_layer(layer)

    def _add_layer(self, layer: LayerProperties) -> Layer:
        self._check_writable()
        settle_folder(self.path, self._file, layer.name)
        with self._changing() as properties:
            properties.add_layer(layer)
        make_dataset_group(self, layer.data_format)
        return self._layers[layer.name]

    @accepts_legacy("dtype_per_layer", "dtype_per_channel", "num_channels", "data_format", "bounding_box")
    def get_or_add_layer(
        self,
        layer_name: str,
        category: LayerCategoryType,
        *,
        dtype: DTypeLike | None = None,
        dtype_per_channel: DTypeLike | None = None,
        num_channels: int | None = None,
        data_format: str | DataFormat | None = None,
        bounding_box: NDBoundingBox | None = None,
        largest_segment_id: int | None = None,
    ) -> Layer:
        """Return a layer, and add it before if there is none; see `add_layer`.

        Raises
        ------
        MismatchError
            If the layer exists with another category, dtype, number of channels or format than were given.
        """
        return get_or_add_layer(
            self, layer_name, category, dtype, num_channels, data_format, bounding_box, largest_segment_id
        )

    def add_layer_like(self, other_layer: Layer, layer_name: str) -> Layer:
        """Add a layer without mags that has category, type, channels, box and view configuration of another one.

        Parameters
        ----------
        other_layer : Layer
            Of this dataset or of another one.
        layer_name : str
            Name of the new layer.

        Raises
        ------
        NameTakenError, InvalidNameError, UnsupportedError, ReadOnlyError
            As for `add_layer`.

        Examples
        --------
        >>> dataset.add_layer_like(dataset.get_layer("color"), "denoised")  # doctest: +SKIP
        Layer('denoised', dtype=uint8, num_channels=1)
        """
        return self._add_layer(properties_like(other_layer, layer_name))

    def write_layer(
        self,
        layer_name: str,
        category: LayerCategoryType,
        data: Array,
        *,
        data_format: str | DataFormat | None = None,
        downsample: bool = True,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        axes: Iterable[str] | None = None,
        absolute_offset: VecIntLike | None = None,
        mag: MagLike = 1,
    ) -> Layer:
        """Add a layer that holds an array, with coarser mags.

        Parameters
        ----------
        layer_name, category, data_format
            As for `add_layer`.
        data : array (x, y, z) or (channel, x, y, z)
            Its type and channels are those of the layer. With `axes` it may have others.
        downsample : bool
            Whether coarser mags are added, as by `Layer.downsample`.
        chunk_shape, shard_shape, chunks_per_shard
            Of the first mag, as for `Layer.add_mag`.
        axes : iterable of str, optional
            The names of the axes of the array, which Zarr 3 stores in this order: "x", "y" and "z", "c" for channels,
            and any others, such as "t".
        absolute_offset : (x, y, z), optional
            Where the first voxel goes, in Mag(1); by default to the origin. With `axes` it may have a number for each.
        mag : Mag, int, str or (x, y, z)
            Magnification of the array.

        Returns
        -------
        Layer
            The new layer. If it cannot be written, there is none.

        Raises
        ------
        NameTakenError, InvalidNameError, CategoryError, DtypeError, ShapeError, RegionError, ReadOnlyError
            As for `add_layer`, `Layer.add_mag` and `MagView.write`.
        AlreadyExistsError
            If there are files in the layer's folder.

        Examples
        --------
        >>> dataset.write_layer("cells", "segmentation", np.ones((64, 64, 64), "uint32"))  # doctest: +SKIP
        SegmentationLayer('cells', dtype=uint32, num_channels=1)
        """
        return write_layer(
            self, layer_name, category, data, data_format, downsample,
            (chunk_shape, shard_shape, chunks_per_shard), absolute_offset, mag, axes,
        )  # fmt: skip

    @accepts_legacy()
    def add_layer_for_existing_files(
        self,
        layer_name: str,
        category: LayerCategoryType,
        *,
        bounding_box: NDBoundingBox | None = None,
        largest_segment_id: int | None = None,
    ) -> Layer:
        """Add a layer whose mags lie in the layer's folder already, like those copied there.

        Parameters
        ----------
        layer_name, category, largest_segment_id
            As for `add_layer`.
        bounding_box : NDBoundingBox, optional
            Box of the voxels that hold data, in Mag(1). By default the box of all files of the finest mag that has
            some.

        Raises
        ------
        NotFoundError
            If the folder does not exist or holds no mag.
        MismatchError
            If the mags differ in dtype or channels.
        PropertiesError, ReadOnlyError
            If the folder is a Zarr group that cannot be understood, or whose ``zarr.json`` is a link.

        Examples
        --------
        >>> dataset.add_layer_for_existing_files("cells", "segmentation")  # doctest: +SKIP
        """
        found = find_layer(self.path, layer_name, category, bounding_box, largest_segment_id)
        check_group(self.path / layer_name, found.data_format)
        layer = self._add_layer(found)
        list_mags(layer)
        make_room(layer)
        return layer

    @accepts_legacy()
    def add_layer_as_copy(
        self,
        foreign_layer: Layer | str | os.PathLike[str],
        new_layer_name: str | None = None,
        *,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        data_format: str | DataFormat | None = None,
        compress: Compression | None = None,
        exists_ok: bool = False,
        executor: Executor | None = None,
        with_attachments: bool = True,
    ) -> Layer:
        """Copy a layer of another dataset, or of this one, in the layout that it has or in another one.

        Where the layout stays the same, files are copied as they are, without decoding them. All that the properties
        file says about the layer is copied, also what wkgpu does not know. Attachments outside of the other dataset's
        folder are left out, and a warning names them; `Attachments.add_attachment_as_copy` copies one of them.

        Parameters
        ----------
        foreign_layer : Layer or path
            The layer, or the path of its folder in a dataset.
        new_layer_name : str, optional
            Name of the copy; by default that of the layer.
        chunk_shape, shard_shape, chunks_per_shard, data_format, compress
            As for `copy_dataset`.
        exists_ok : bool
            Whether the dataset may have a layer of this name, which gets the mags. It must not have any of them.
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process.
        with_attachments : bool
            Whether to copy the attachments of the layer.

        Returns
        -------
        Layer
            The copy. If a new layer cannot be copied whole, there is none.

        Raises
        ------
        NameTakenError
            If the dataset has a layer of this name, or with `exists_ok` one of its mags.
        AlreadyExistsError
            If there are files in the folder of a new layer.
        MismatchError
            If the layer that exists has another category, dtype, number of channels or other axes.
        UnsupportedError
            If the layer has a format that is not read, further axes with several coordinates, such as time, that
            `data_format` lacks, a mag at a URL, or its path is a URL.
        InvalidNameError, NotFoundError, LayerNotFoundError, ShapeError, ArgumentError, ReadOnlyError
            For a name or a path that cannot be used, shapes that do not fit, and a read-only dataset.

        Examples
        --------
        >>> dataset.add_layer_as_copy(other.get_layer("cells"), "cells_v2", compress="lz4hc")  # doctest: +SKIP
        SegmentationLayer('cells_v2', dtype=uint32, num_channels=1)
        """
        layer = foreign_layer if isinstance(foreign_layer, Layer) else layer_at(self, foreign_layer)
        wanted = LayoutOverrides(chunk_shape, shard_shape, chunks_per_shard, data_format, compress)
        name = layer.name if new_layer_name is None else new_layer_name
        return copy_layer(self, layer, name, wanted, exists_ok, executor, with_attachments)

    def add_layer_as_ref(
        self, foreign_layer: Layer | str | os.PathLike[str], new_layer_name: str | None = None
    ) -> Layer:
        """List a layer of another dataset, whose files stay where they are.

        Its mags are foreign: they are read-only here, unless the dataset is opened with ``allow_foreign_writes``, and
        their files are never deleted. Mags at a URL and layers of other formats can be listed like this, too, and are
        errors when they are read.

        Parameters
        ----------
        foreign_layer : Layer or path
            The layer, or the path of its folder in a dataset.
        new_layer_name : str, optional
            Name of the layer here; by default that which it has there.

        Raises
        ------
        NameTakenError
            If the dataset has a layer of this name.
        MismatchError
            If the layer is one of this dataset.
        InvalidNameError, NotFoundError, LayerNotFoundError, UnsupportedError, ArgumentError, ReadOnlyError
            For a name or a path that cannot be used, and a read-only dataset.

        Examples
        --------
        >>> dataset.add_layer_as_ref("archive/cortex/color").get_mag(1).read_only  # doctest: +SKIP
        True
        """
        layer = foreign_layer if isinstance(foreign_layer, Layer) else layer_at(self, foreign_layer)
        return add_layer_reference(self, layer, layer.name if new_layer_name is None else new_layer_name)

    @accepts_legacy()
    def delete_layer(self, layer_name: str) -> None:
        """Delete a layer with its files; files outside of the dataset are left alone.

        Raises
        ------
        LayerNotFoundError
            If there is no such layer.
        """
        layer = self.get_layer(layer_name)
        self._check_writable()
        with FolderRemoval(layer.path, self._file), self._changing() as properties:
            properties.remove_layer(layer_name)
        forget_copies(self)

    # ---- All layers

    def compress(self, executor: Executor | None = None) -> None:
        """Compress all raw mags of all layers in place; see `MagView.compress`.

        Mags whose files lie outside of the dataset's folder belong to another dataset, and are left alone, unless
        `Dataset.open` was told to allow such writes. So are mags at a URL, and layers of formats that are not read;
        warnings name them.

        Parameters
        ----------
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process.

        Raises
        ------
        ReadOnlyError
            If the dataset is read-only.
        MismatchError
            If another process has written to a mag concurrently; that mag stays as it was.

        Examples
        --------
        >>> Dataset.open("cortex").compress()  # doctest: +SKIP
        """
        compress_dataset(self, executor)

    @accepts_legacy("sampling_mode", "coarsest_mag", "executor")
    def downsample(
        self,
        *,
        sampling_mode: str | SamplingModes = SamplingModes.ANISOTROPIC,
        coarsest_mag: MagLike | None = None,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Add to each layer the mags that are coarser than those it has; see `Layer.downsample`.

        A layer continues from its coarsest mag, and mags that exist stay as they are. Layers without mags, and those
        that have one as coarse as asked for, are left alone. So are layers of formats that are not read, and those
        with a mag at a URL, which a warning names.

        Parameters
        ----------
        sampling_mode : str or SamplingModes
            Which axes get coarser.
        coarsest_mag : Mag, int, str or (x, y, z), optional
            The mag to end with; by default each layer has its own, with at most 100 voxels along x and y.
        interpolation_mode : str
            By default the median for images and the mode for segmentations.
        compress : bool or str
            As for `Layer.add_mag`.
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process, on all cores.
        progress_desc : str, optional
            Text of the progress bars; by default they name the layer and the mags.

        Raises
        ------
        ReadOnlyError
            If the dataset is read-only.
        SamplingError, InterpolationError, ArgumentError
            As for `Layer.downsample`.

        Examples
        --------
        >>> Dataset.open("cortex").downsample(coarsest_mag=16)  # doctest: +SKIP
        """
        downsample_dataset(self, sampling_mode, coarsest_mag, interpolation_mode, compress, executor, progress_desc)

    @accepts_legacy()
    def copy_dataset(
        self,
        new_dataset_path: str | os.PathLike[str],
        *,
        voxel_size: Any = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        data_format: str | DataFormat | None = None,
        compress: Compression | None = None,
        exists_ok: bool = False,
        executor: Executor | None = None,
        voxel_size_with_unit: VoxelSize | None = None,
        layers_to_ignore: Iterable[str] | None = None,
    ) -> Dataset:
        """Copy the dataset, in the layout that it has or in another one.

        Where the layout stays the same, files are copied as they are, without decoding them, and share the disk's
        blocks with the old ones where the file system can do that. Each mag is listed in the copy when it is whole.
        No process may write to this dataset concurrently.

        All that the properties file says about layers is copied, also what wkgpu does not know, and so are the
        attachments that it lists, and files of mags that belong to another dataset. Other files are not. Attachments
        outside of this dataset's folder, mags at a URL, layers of formats that are not read, layers with several points
        in time or along other further axes that `data_format` lacks, and layers that the properties file does not
        describe in a way that can be understood, are left out, and a warning names them.

        Parameters
        ----------
        new_dataset_path : path
            Folder of the copy, which gives it its name. It must not exist, or be empty.
        voxel_size : (x, y, z), optional
            Of the copy, in nanometers; by default that of this dataset.
        chunk_shape, shard_shape : int or (x, y, z), optional
            Voxels of a mag that are encoded at once, and in one file; by default as each mag has them.
        chunks_per_shard : int or (x, y, z), optional
            Deprecated: chunks in one file, instead of `shard_shape`.
        data_format : str or DataFormat, optional
            By default that of each layer. The voxels in the boxes of the layers stay the same where it is another one,
            also those that are stored nowhere and have a fill value that it lacks.
        compress : bool or str, optional
            True to compress what is raw, a word for one codec everywhere, as for `Layer.add_mag`, False for raw voxels;
            by default as each mag is. Another format gets the codec of the same word, or else that of True.
        exists_ok : bool
            Whether the copy may be a dataset already. Its layers and mags stay; those of this one join them, and must
            have other names, or be mags that a layer of that name does not have yet. Boxes grow as needed.
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process.
        voxel_size_with_unit : VoxelSize, optional
            The voxel size in another unit; it counts more than `voxel_size`.
        layers_to_ignore : iterable of str, optional
            Names of layers to leave out.

        Returns
        -------
        Dataset
            The copy, on this dataset's device.

        Raises
        ------
        AlreadyExistsError, NameTakenError
            If the folder holds something, or the dataset there has a mag that would be copied.
        MismatchError
            If the dataset there has another voxel size, or a layer there another category, dtype or number of channels.
        ShapeError, ArgumentError, UnsupportedError
            For shapes that do not fit each other or the format, and for other formats.

        Examples
        --------
        >>> dataset.copy_dataset("archive/cortex", compress="lz4hc", layers_to_ignore=["guess"])  # doctest: +SKIP
        """
        wanted = LayoutOverrides(chunk_shape, shard_shape, chunks_per_shard, data_format, compress)
        copy = DatasetCopy(self, wanted, layers_to_ignore)
        size = voxel_size_with_unit
        if size is None:
            size = self.voxel_size_with_unit if voxel_size is None else VoxelSize(voxel_size)
        target = Dataset(new_dataset_path, voxel_size_with_unit=size, exist_ok=exists_ok, device=self.device)
        copy.make(target, executor)
        return target

    # ---- What the properties file says

    @contextmanager
    def _changing(self) -> Iterator[DatasetProperties]:
        """Yield the properties as the file says them now; afterwards they are saved, unless the block raises."""
        self._check_writable()
        with self._lock:
            try:
                with self._file.change() as properties:
                    yield properties
                self._adopt(properties)
            except KeyboardInterrupt:  # the change may have been saved
                with suppress(WkgpuError):
                    self._adopt(self._file.load())
                raise

    def _refuse_if_read_only(self) -> None:
        self._file.check_writable()
        if self._read_only:
            raise ReadOnlyError(f"{self!r} was opened with read_only=True; open it without to change it.")

    def _check_writable(self) -> None:
        self._refuse_if_read_only()
        check_inside(self._file.path, self.path, self._allow_foreign_writes)

    def _refresh(self) -> None:
        """Reload the properties file."""
        with self._lock:
            self._adopt(self._file.load())

    def _adopt(self, properties: DatasetProperties) -> None:
        self._properties = properties
        self._warn_of_broken_layers()
        layers = {}
        for listed in properties.layers:
            kind = SegmentationLayer if listed.category == SEGMENTATION_CATEGORY else Layer
            layer = self._layers.get(listed.name)
            if type(layer) is kind:
                layer._adopt(listed)
            else:
                layer = kind(self, listed)
            layers[listed.name] = layer
        for name in self._layers.keys() - layers.keys():
            self._layers[name]._forget_files()
        self._layers = layers

    def _warn_of_broken_layers(self) -> None:
        """Warn once of each layer that cannot be used."""
        reasons = frozenset(broken.reason for broken in self._properties.broken_layers)
        for reason in sorted(reasons - self._known_reasons):
            warnings.warn(f"A layer is left out: {reason}", stacklevel=2)
        self._known_reasons = reasons

    # ---- Representation and pickling

    def __repr__(self) -> str:
        return f"Dataset({self.path!r})"

    def _repr_html_(self) -> str:
        rows = {"path": self.path, "voxel size": f"{self.voxel_size_with_unit.factor} {self.voxel_size_with_unit.unit}"}
        rows |= {f"layer {name}": f"{layer.category}, {layer.dtype}" for name, layer in self._layers.items()}
        return table(f"Dataset {self.name}", rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (
            self.path,
            self._read_only,
            self._device,
            self._allow_foreign_writes or config.foreign_writes,
        )


def _reopened(path: Path, read_only: bool, device: str | None, allow_foreign_writes: bool) -> Dataset:
    """Open a dataset that was just unpickled."""
    return Dataset.open(path, read_only, device=device, allow_foreign_writes=allow_foreign_writes)


def _given(dataset_path: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    if dataset_path is None:
        raise ArgumentError("Give dataset_path, the folder of the dataset.")
    return dataset_path


def _voxel_size(voxel_size: Any, with_unit: Any) -> VoxelSize:
    """Return the voxel size that one of the constructor's arguments gives."""
    if (voxel_size is None) == (with_unit is None):
        raise ArgumentError("Give the voxel_size of a dataset, (x, y, z) in nanometers, or voxel_size_with_unit.")
    return VoxelSize(voxel_size) if with_unit is None else VoxelSize(with_unit.factor, with_unit.unit)
