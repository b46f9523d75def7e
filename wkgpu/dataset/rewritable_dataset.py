"""A dataset whose layers can be rewritten all at once, in place or into another dataset."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.properties import DatasetProperties
from wkgpu.dataset.metadata.voxel_size import VoxelSize
from wkgpu.dataset.shapes import Compression, Shape
from wkgpu.dataset.usable import usable_mags
from wkgpu.errors import ReadOnlyError
from wkgpu.operations.jobs import Executor

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer


class RewritableDataset(ABC):
    """What a `Dataset` can do to the files of all its layers."""

    _properties: DatasetProperties

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """The layers by name."""

    @property
    @abstractmethod
    def voxel_size_with_unit(self) -> VoxelSize:
        """Extents of a voxel of Mag(1)."""

    @property
    @abstractmethod
    def device(self) -> str | None:
        """Where the dataset's views are read to."""

    @property
    @abstractmethod
    def read_only(self) -> bool:
        """Whether all changes are refused."""

    def compress(self, executor: Executor | None = None) -> None:
        """Compress all raw mags of all layers in place, with LZ4; see `MagView.compress`.

        Mags whose files lie outside of the dataset's folder belong to another dataset, and are left alone, unless
        `Dataset.open` was told to allow such writes. So are mags at a URL and layers of another format than WKW, which
        a warning names.

        Parameters
        ----------
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process.

        Raises
        ------
        ReadOnlyError
            If the dataset is read-only.
        MismatchError
            If another process has written to a mag meanwhile; that mag stays as it was.

        Examples
        --------
        >>> Dataset.open("cortex").compress()  # doctest: +SKIP
        """
        if self.read_only:
            raise ReadOnlyError(f"{self!r} was opened with read_only=True; open it without to compress it.")
        for layer in self.layers.values():
            for mag_view in usable_mags(layer, "compressed"):
                if not mag_view.read_only:
                    mag_view.compress(executor=executor, progress_desc=f"Compressing {layer.name} {mag_view.name}")

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
        Nobody may write to this dataset meanwhile.

        All that the properties file says about layers is copied, also what wkgpu does not know, and so are the
        attachments that it lists, and files of mags that belong to another dataset. Other files are not. Attachments
        outside of this dataset's folder, mags at a URL, layers of another format than WKW, and layers that the
        properties file does not describe in a way that can be understood, are left out, and a warning names them.

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
            ``"wkw"``, which is all that is written.
        compress : bool or str, optional
            True to LZ4 what is raw, ``"lz4"`` or ``"lz4hc"`` for one codec everywhere, False for raw voxels; by default
            as each mag is.
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
        from wkgpu.dataset.copying import LayerCopy, LayoutOverrides, add_missing
        from wkgpu.dataset.dataset import Dataset

        ignored = {layers_to_ignore} if isinstance(layers_to_ignore, str) else set(layers_to_ignore or ())
        wanted = LayoutOverrides(chunk_shape, shard_shape, chunks_per_shard, data_format, compress)
        copies = [
            copy for name, layer in self.layers.items() if name not in ignored and (copy := LayerCopy.of(layer, wanted))
        ]
        for broken in self._properties.broken_layers:
            if broken.name not in ignored:
                warnings.warn(f"Layer {broken.name!r} is not copied: {broken.reason}", stacklevel=3)
        size = voxel_size_with_unit
        if size is None:
            size = self.voxel_size_with_unit if voxel_size is None else VoxelSize(voxel_size)
        target = Dataset(new_dataset_path, voxel_size_with_unit=size, exist_ok=exists_ok, device=self.device)
        for copy in copies:
            copy.check_room(target)
        with target._changing() as properties:
            add_missing(properties.document, self._properties.document)
        for copy in copies:
            copy.make(target, executor)
        return target
