"""A layer of a dataset: an image or a segmentation in several mags."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from wkgpu.absent_names import TellsWhatIsAbsent
from wkgpu.dataset.box_axes import extended, normalized
from wkgpu.dataset.changes.copying import LayoutOverrides
from wkgpu.dataset.changes.extents import changing_box
from wkgpu.dataset.changes.mag_entries import add_mag, check_headers, delete_mag, header_difference
from wkgpu.dataset.changes.mag_pyramid import MagPyramid, source_and_mags, source_mag
from wkgpu.dataset.changes.references import add_mag_copy, add_mag_reference, mag_of
from wkgpu.dataset.changes.renaming import rename_layer
from wkgpu.dataset.html import table
from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.mag_view import MagView
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.layer_axes import checked_bounding_box
from wkgpu.dataset.metadata.layer_category import LayerCategoryType
from wkgpu.dataset.metadata.layer_properties import LayerProperties, MagProperties
from wkgpu.dataset.metadata.view_configuration import LayerViewConfiguration
from wkgpu.dataset.shapes import Compression, Shape, check_existing_spec, new_spec
from wkgpu.errors import ArgumentError, MagNotFoundError, NameTakenError, WkgpuError
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.operations.downsampling.interpolation import InterpolationMode
from wkgpu.operations.downsampling.sampling_modes import SamplingModes, ascending, check_step
from wkgpu.operations.jobs import Executor
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.local.paths import listed_path

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.segmentation_layer import SegmentationLayer


class Layer(TellsWhatIsAbsent):
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
        """Name of the layer, and of its folder. Set it to rename both.

        Folder and properties file change together: whatever fails, and whenever the process dies, the layer is found
        whole under the old name or under the new one. All paths into the folder follow, and so do this object and its
        mags. Smaller views, and objects of other processes, do not: they raise an error when they are used. No process
        may write to the layer concurrently.

        Raises
        ------
        NameTakenError, AlreadyExistsError
            When it is set to the name of another layer, or there are files where the folder would be.
        InvalidNameError
            When it is set to what cannot be the name of a folder everywhere.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> dataset.get_layer("cells").name = "nuclei"  # doctest: +SKIP
        """
        return self._properties.name

    @name.setter
    def name(self, name: str) -> None:
        rename_layer(self, name)

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
                if listed.holds(spec.memory_dtype, spec.num_channels):
                    return spec.memory_dtype, spec.num_channels
        return listed.dtype, listed.num_channels

    @property
    def read_only(self) -> bool:
        """Whether the dataset was opened to be read only."""
        return self._dataset.read_only

    @property
    def bounding_box(self) -> NDBoundingBox:
        """Box of the voxels that hold data, in Mag(1). Set it to save another one.

        Zarr arrays get room for a larger box, and stay as they are for a smaller one.

        Where Zarr arrays have other axes than channel, x, y and z, or these in another order, it is an `NDBoundingBox`
        with the axes of the arrays. Which axes they are can be set as long as there are no mags.

        Raises
        ------
        RegionError
            When it is set to a box with a negative top left, or with other axes than the layer can have.
        """
        return self._bounding_box

    @bounding_box.setter
    def bounding_box(self, box: NDBoundingBox) -> None:
        with changing_box(self, checked_bounding_box(box)) as listed:
            listed.bounding_box = box

    @property
    def normalized_bounding_box(self) -> NDBoundingBox:
        """Box of the voxels that hold data, in Mag(1), with an axis ``c`` of the channels."""
        return normalized(self.bounding_box, self.num_channels)

    @property
    def default_view_configuration(self) -> LayerViewConfiguration | None:
        """How WEBKNOSSOS shows the layer at first; None where nothing is said. Set it to save another one.

        What is saved replaces all that wkgpu knows of the configuration; keys of the file that it does not know stay.
        None removes the configuration.

        Raises
        ------
        PropertiesError
            If the file holds values of the wrong type.
        ArgumentError
            When it is set to something else than a `LayerViewConfiguration`, or to one with values of the wrong type.

        Examples
        --------
        >>> layer.default_view_configuration = LayerViewConfiguration(color=(255, 0, 0))  # doctest: +SKIP
        """
        where = f"{self._dataset._file.path}: layer {self.name!r}"
        return LayerViewConfiguration.saved_in(self._properties.document, where)

    @default_view_configuration.setter
    def default_view_configuration(self, configuration: LayerViewConfiguration | None) -> None:
        with self._dataset._changing() as properties:
            LayerViewConfiguration.save_in(properties.layer(self.name).document, configuration)

    def as_segmentation_layer(self) -> SegmentationLayer:
        """Return this layer, as what a type checker knows for a segmentation.

        Raises
        ------
        ArgumentError
            A `TypeError`, if it is not a segmentation.

        Examples
        --------
        >>> dataset.get_layer("cells").as_segmentation_layer().largest_segment_id  # doctest: +SKIP
        2504697
        """
        raise ArgumentError(
            f"Layer {self.name!r} is a {self.category} layer; add a layer with category='segmentation' for segments."
        )

    def as_color_layer(self) -> Layer:
        """Return this layer, if it is an image.

        Raises
        ------
        ArgumentError
            A `TypeError`, if it is a segmentation.

        Examples
        --------
        >>> dataset.get_layer("color").as_color_layer()  # doctest: +SKIP
        Layer('color', dtype=uint8, num_channels=1)
        """
        return self

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
            How chunks are encoded; what each word means in each format:

            ===============  =======================  ========================================
            word             WKW                      Zarr 3
            ===============  =======================  ========================================
            True             LZ4                      zstd, level 5, with a checksum
            ``"lz4"``        LZ4                      Blosc: LZ4, one block a chunk
            ``"lz4hc"``      LZ4HC: smaller, slower   Blosc: LZ4HC, one block a chunk
            ``"zstd"``       is refused               zstd, level 5, with a checksum
            False, ``"raw"`` as they are              as they are, in shards
            ===============  =======================  ========================================

        Raises
        ------
        NameTakenError, AlreadyExistsError
            If the layer has this mag, or there are files where the new ones would be.
        ShapeError, ArgumentError, UnsupportedError
            For shapes that do not fit each other or the format, and for a codec that the format lacks.
        ReadOnlyError
            If the dataset is read-only, or the layer's folder is a link that leads out of it.

        Examples
        --------
        >>> layer.add_mag("2-2-1", chunk_shape=32, shard_shape=1024, compress="lz4hc")  # doctest: +SKIP
        """
        spec = new_spec(
            self.dtype, self.num_channels, chunk_shape, shard_shape, chunks_per_shard, compress, self.data_format.value
        )
        return add_mag(self, Mag(mag), spec)

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
                self.dtype, self.num_channels, chunk_shape, shard_shape, chunks_per_shard,
                compress is None or compress, self.data_format.value,
            )  # fmt: skip
            with suppress(NameTakenError):  # another process may be faster
                return add_mag(self, mag, spec)
        mag_view = self.get_mag(mag)
        array = mag_view._array
        check_existing_spec(array.spec, array.data_format, chunk_shape, shard_shape, chunks_per_shard, compress)
        return mag_view

    @accepts_legacy()
    def add_mag_as_copy(
        self,
        foreign_mag_view_or_path: MagView | str | os.PathLike[str],
        *,
        mag: MagLike | None = None,
        extend_layer_bounding_box: bool = True,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        compress: Compression | None = None,
        exists_ok: bool = False,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> MagView:
        """Copy a mag of another layer, in the layout that it has or in another one.

        Where the layout stays the same, files are copied as they are, without decoding them. The mag is listed when it
        is whole.

        Parameters
        ----------
        foreign_mag_view_or_path : MagView or path
            The mag, or the path of its folder, in a dataset or in none.
        mag : Mag, int, str or (x, y, z), optional
            Which mag of this layer it becomes; by default the one that it is.
        extend_layer_bounding_box : bool
            Whether this layer's bounding box grows to hold that of the other layer.
        chunk_shape, shard_shape, chunks_per_shard, compress
            As for `Dataset.copy_dataset`.
        exists_ok : bool
            Accepted for compatibility and ignored: a mag that the layer has is always an error.
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process.
        progress_desc : str, optional
            Text of the progress bar.

        Raises
        ------
        NameTakenError, AlreadyExistsError
            If the layer has this mag, or there are files where the new ones would be.
        MismatchError
            If the mag has another dtype, number of channels, format or other axes than this layer.
        UnsupportedError
            If the mag is at a URL.
        NotFoundError, ShapeError, ArgumentError, ReadOnlyError
            For a path that holds no mag, shapes that do not fit, and a read-only dataset.

        Examples
        --------
        >>> layer.add_mag_as_copy(other_layer.get_mag(1), shard_shape=1024)  # doctest: +SKIP
        """
        source = mag_of(self, foreign_mag_view_or_path)
        wanted = LayoutOverrides(chunk_shape, shard_shape, chunks_per_shard, None, compress)
        return add_mag_copy(self, source, mag, extend_layer_bounding_box, wanted, executor, progress_desc)

    def add_mag_as_ref(
        self,
        foreign_mag_view_or_path: MagView | str | os.PathLike[str],
        *,
        mag: MagLike | None = None,
        extend_layer_bounding_box: bool = True,
    ) -> MagView:
        """List a mag of another layer, whose files stay where they are.

        If they lie outside of this dataset's folder, the mag is foreign: it is read-only here, unless the dataset is
        opened with ``allow_foreign_writes``. Its files are never deleted.

        Parameters
        ----------
        foreign_mag_view_or_path, mag, extend_layer_bounding_box
            As for `add_mag_as_copy`. Of a dataset, the mag may also be at a URL; it is an error when it is read.

        Raises
        ------
        NameTakenError
            If the layer has this mag.
        MismatchError
            If the mag has another dtype, number of channels, format or other axes than this layer.
        UnsupportedError
            If the path is a URL, or the properties file is so old that its mags have no paths.
        NotFoundError, ArgumentError, ReadOnlyError
            For a path that holds no mag, and a read-only dataset.

        Examples
        --------
        >>> layer.add_mag_as_ref("archive/cortex/color/2-2-1").is_remote_to_dataset  # doctest: +SKIP
        True
        """
        source = mag_of(self, foreign_mag_view_or_path)
        return add_mag_reference(self, source, mag, extend_layer_bounding_box)

    def delete_mag(self, mag: MagLike) -> None:
        """Delete a mag with its files; files outside of the layer's folder are left alone.

        Links are not followed: of a linked mag the link is deleted, and nothing in the linked folder of a layer is.

        Raises
        ------
        MagNotFoundError
            If the layer has no such mag.
        """
        delete_mag(self, self.get_mag(mag))

    # ---- Coarser mags

    @accepts_legacy(
        "from_mag", "coarsest_mag", "interpolation_mode", "compress", "sampling_mode", "align_with_other_layers",
        "buffer_shape", "force_sampling_scheme", "args", "allow_overwrite", "only_setup_mags", "executor",
    )  # fmt: skip
    def downsample(
        self,
        *,
        from_mag: MagLike | None = None,
        coarsest_mag: MagLike | None = None,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        sampling_mode: str | SamplingModes = SamplingModes.ANISOTROPIC,
        align_with_other_layers: bool | Dataset = True,
        buffer_shape: Shape | None = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        force_sampling_scheme: bool = False,
        allow_overwrite: bool = False,
        only_setup_mags: bool = False,
        from_mag_view: MagView | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Add a pyramid of coarser mags, each downsampled from the previous one.

        A voxel of a coarser mag is made of the voxels that lie in it, channel by channel, and along further axes, such
        as time, coordinate by coordinate. Blocks that are cut by the border of the layer's bounding box are padded by
        reflection.

        A mag becomes part of the layer when it is whole: if one fails, finished mags are kept and the failed one is
        removed.

        Parameters
        ----------
        from_mag : Mag, int, str or (x, y, z), optional
            The mag to begin with; by default that of `from_mag_view`, or else the layer's coarsest.
        coarsest_mag : Mag, int, str or (x, y, z), optional
            The mag to end with: no factor gets larger than in it, and its largest one is reached. By default the layer
            has at most 100 voxels along x and y in it, and it is at least 4.
        interpolation_mode : str
            ``"median"``, ``"mode"`` (the most frequent value), ``"nearest"`` (one of the voxels), ``"bilinear"`` (the
            mean), ``"max"`` or ``"min"``; ``"default"`` is the median for images and the mode for segmentations.
        compress : bool or str
            As for `add_mag`.
        sampling_mode : str or SamplingModes
            Which axes get coarser. A layer with one slice keeps its z.
        align_with_other_layers : bool or Dataset
            Whether to take the mags that layers of this dataset, or of that one, have, rather than others with the same
            largest factor.
        buffer_shape : int or (x, y, z), optional
            Tile of voxels of the coarser mag that is computed independently: ``"nearest"`` spreads the voxels that it
            takes in it, and reflection does not cross its border. By default it is made of at most 1024 voxels along
            each axis, and is not more than a shard. How much memory is used does not depend on it.
        chunk_shape, shard_shape : int or (x, y, z), optional
            Voxels of a new mag that are encoded at once, and in one file; by default 32³ and 1024³.
        force_sampling_scheme : bool
            Whether several mags may have the same largest factor, which WEBKNOSSOS cannot show.
        allow_overwrite : bool
            Whether mags that exist get new voxels. They keep their layout, and if this fails they hold old and new
            voxels.
        only_setup_mags : bool
            Whether to make mags without voxels.
        from_mag_view : MagView, optional
            The mag to begin with, if it is one of another layer or dataset. This layer's bounding box counts: what the
            mag holds beyond it is left out, and where it holds nothing there is its fill value, in WKW 0.
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process, on all cores.
        progress_desc : str, optional
            Text of the progress bars; by default they name the layer and the mags.

        Raises
        ------
        MagNotFoundError
            If there is no mag to begin with.
        NameTakenError
            If one of the mags exists and must not be overwritten; then nothing is made.
        SamplingError
            If mags do not follow from each other; see `wkgpu.operations.downsampling.sampling_modes.downsampling_mags`.
        InterpolationError, ArgumentError, ShapeError, MismatchError
            For other arguments that mean nothing or do not fit each other.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.downsample(coarsest_mag=16, sampling_mode="isotropic")  # doctest: +SKIP
        >>> list(layer.mags)  # doctest: +SKIP
        [Mag(1), Mag(2), Mag(4), Mag(8), Mag(16)]
        """
        source, mags = source_and_mags(
            self, from_mag, from_mag_view, coarsest_mag, sampling_mode, align_with_other_layers, force_sampling_scheme
        )
        MagPyramid.of(
            self, source, interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape, allow_overwrite,
            only_setup_mags, executor, progress_desc,
        ).make(mags)  # fmt: skip

    @accepts_legacy(
        "interpolation_mode", "compress", "buffer_shape", "args", "allow_overwrite", "only_setup_mag", "executor"
    )
    def downsample_mag(
        self,
        from_mag: MagLike,
        target_mag: MagLike,
        *,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        buffer_shape: Shape | None = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        allow_overwrite: bool = False,
        only_setup_mag: bool = False,
        from_mag_view: MagView | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Make one mag of another one; see `downsample`.

        Parameters
        ----------
        from_mag, target_mag : Mag, int, str or (x, y, z)
            The finer mag, and the coarser one to make.
        only_setup_mag : bool
            Whether to make the mag without voxels.
        interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape
            As for `downsample`.
        allow_overwrite, from_mag_view, executor, progress_desc
            As for `downsample`.

        Raises
        ------
        MagNotFoundError, NameTakenError, SamplingError, InterpolationError, ArgumentError, ShapeError, MismatchError
            As for `downsample`.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.downsample_mag(1, "4-4-2", interpolation_mode="max")  # doctest: +SKIP
        """
        source, target = source_mag(self, from_mag, from_mag_view), Mag(target_mag)
        check_step(source.mag, target)
        MagPyramid.of(
            self, source, interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape, allow_overwrite,
            only_setup_mag, executor, progress_desc,
        ).make([target])  # fmt: skip

    @accepts_legacy(
        "interpolation_mode", "compress", "buffer_shape", "args", "allow_overwrite", "only_setup_mags", "executor"
    )
    def downsample_mag_list(
        self,
        from_mag: MagLike,
        target_mags: Iterable[MagLike],
        *,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        buffer_shape: Shape | None = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        allow_overwrite: bool = False,
        only_setup_mags: bool = False,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Make several mags, each of the next finer one; see `downsample`.

        Parameters
        ----------
        from_mag : Mag, int, str or (x, y, z)
            The mag to begin with.
        target_mags : iterable of Mag, int, str or (x, y, z)
            The mags to make, in any order.
        interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape
            As for `downsample`.
        allow_overwrite, only_setup_mags, executor, progress_desc
            As for `downsample`.

        Raises
        ------
        MagNotFoundError, NameTakenError, SamplingError, InterpolationError, ArgumentError, ShapeError
            As for `downsample`.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.downsample_mag_list(1, ["2-2-1", "4-4-2", 8])  # doctest: +SKIP
        """
        source = self.get_mag(from_mag)
        mags = ascending(source.mag, map(Mag, target_mags))
        MagPyramid.of(
            self, source, interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape, allow_overwrite,
            only_setup_mags, executor, progress_desc,
        ).make(mags)  # fmt: skip

    @accepts_legacy("interpolation_mode", "compress", "buffer_shape", "args", "executor")
    def redownsample(
        self,
        *,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        buffer_shape: Shape | None = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Recompute all coarser mags from the finest, after that was changed; each from the next finer one.

        Parameters
        ----------
        compress, chunk_shape, shard_shape
            Accepted for compatibility and ignored: the mags keep their layout. `MagView.rechunk` gives them another
            one.
        interpolation_mode, buffer_shape, executor, progress_desc
            As for `downsample`.

        Raises
        ------
        SamplingError
            If a mag is finer along an axis than the one before it.
        InterpolationError, ShapeError
            As for `downsample`.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.get_mag(1).write(voxels, absolute_offset=(0, 0, 0))  # doctest: +SKIP
        >>> layer.redownsample()  # doctest: +SKIP
        """
        mags = list(self.mags)
        if mags:
            self.downsample_mag_list(
                mags[0],
                mags[1:],
                interpolation_mode=interpolation_mode,
                compress=compress,
                buffer_shape=buffer_shape,
                chunk_shape=chunk_shape,
                shard_shape=shard_shape,
                allow_overwrite=True,
                executor=executor,
                progress_desc=progress_desc,
            )

    # ---- What headers and the properties file say

    def _difference_to(self, array: StoredArray) -> str | None:
        """Return how a mag's header and the properties file disagree, if they do."""
        return header_difference(self, array)

    def _check_headers(self) -> None:
        """Raise a `MismatchError` if the header of a mag and the properties file disagree."""
        check_headers(self)

    def _extend_bounding_box(self, box: NDBoundingBox) -> None:
        """Let the bounding box hold another box as well, whatever other processes do to it concurrently."""
        with changing_box(self, extended(self.bounding_box, box)) as listed:
            listed.bounding_box = extended(listed.bounding_box, box)

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
        """Let the mags open their files again: the layer was deleted."""
        for mag_view in self._mags.values():
            mag_view._forget_files()

    def _mag_path(self, listed: MagProperties) -> Path:
        if listed.path is not None:
            return listed_path(self._dataset.path, listed.path)
        short, long = self.path / listed.mag.to_layer_name(), self.path / listed.mag.to_long_layer_name()
        # Path.exists raises where a folder cannot be looked into; such a mag is an error when it is used.
        return long if os.path.exists(long) and not os.path.exists(short) else short  # noqa: PTH110

    # ---- Representation and pickling

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
