"""A mag that can be compressed and cut into other chunks and shards."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.legacy import warn_deprecated
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.dataset.shapes import Shape, new_spec
from wkgpu.dataset.view import View
from wkgpu.errors import ArgumentError, NameTakenError, WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.operations.jobs import Executor
from wkgpu.operations.rewriting import rewrite, rewrite_in_place, settle_rewrite
from wkgpu.storage.codecs import Compression, pipeline_of
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import create_array
from wkgpu.storage.stores.local.links import check_inside
from wkgpu.storage.stores.local.paths import local_path

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


class RewritableMag(View):
    """What a `MagView` can do to its files as a whole."""

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
        become compressed. The new shards are made in a hidden folder inside the mag's, and then take the places of the
        old ones; nothing else in the folder is touched. Whatever fails, the old voxels or the new ones are there: a
        swap that a crash has interrupted is finished by the next access. Needs room for both. Others may read
        meanwhile: views that are open, in this process and in others, notice the new files, and each read returns
        the voxels of the old ones or of the new ones. Others may not write; if they did, the mag stays as it was.

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
            ``True`` for LZ4, or whatever codec the mag has already; ``"lz4"`` or ``"lz4hc"``, which is slower and
            takes less room, for exactly this codec in every file.
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
        wanted = pipeline_of(codec)
        if not wanted:
            raise ArgumentError(f"codec is {codec!r}; use True, 'lz4' or 'lz4hc', or rechunk(compress=False).")
        spec = self._array.current().spec
        if codec is not True or not spec.codecs:
            spec = replace(spec, codecs=wanted)
        elif target_path is None and () not in self._array.pipelines():  # LZ4 and LZ4HC may be mixed
            self._check_writable()
            self._settle()
            return
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
            True or ``"lz4"`` for LZ4 (the default, whatever the mag has now), ``"lz4hc"`` for LZ4HC, False for raw
            voxels.
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
        found = self._array.current().spec
        compress = True if compress is None else compress
        spec = new_spec(found.dtype, found.num_channels, chunk_shape, shard_shape, chunks_per_shard, compress)
        self._rewrite(spec, target_path, executor, progress_desc)

    def _rewrite(
        self,
        spec: ArraySpec,
        target_path: str | os.PathLike[str] | None,
        executor: Executor | None,
        progress_desc: str | None,
    ) -> None:
        if target_path is not None:
            root, layer = local_path(target_path), self._own_layer
            check_inside(root / (self._path.parent.name if layer is None else layer.name), root, False)
            self._rewrite_to(root, spec, executor, progress_desc)
            return
        self._check_writable()
        if self._array.has_spec(spec):
            self._settle()
            self._save_shard_shape()
            return
        device, save = self._engine.name, self._save_shard_shape
        rewrite_in_place(self._path, self._mag, spec, device, executor, progress_desc, save)

    def _rewrite_to(self, root: Path, spec: ArraySpec, executor: Executor | None, progress_desc: str | None) -> None:
        """Write a copy with a layout into the dataset at a path; without a layer, into a folder of mags there."""
        layer = self._own_layer
        if layer is not None:
            self._add_copy(_twin(layer, root), spec, layer.bounding_box, executor, progress_desc)
            return
        with NewFolder(root / self._path.parent.name / self.name, None) as folder:
            self._write_copy(folder, spec, executor, progress_desc)
            folder.place()

    def _add_copy(
        self,
        twin: Layer,
        spec: ArraySpec,
        box: NDBoundingBox,
        executor: Executor | None,
        progress_desc: str | None,
    ) -> None:
        """Add a copy to a layer of another dataset. When it is whole it is listed, and the layer holds the box."""
        _check_free(twin._properties, self._mag, twin.dataset.path)
        with NewFolder(twin.path / self.name, twin.dataset._file) as folder:
            self._write_copy(folder, spec, executor, progress_desc)
            with twin.dataset._changing() as properties:
                listed = properties.layer(twin.name)
                _check_free(listed, self._mag, twin.dataset.path)
                listed.add_mag(self._mag, f"./{twin.name}/{self.name}", spec.shard_shape)
                if not box.is_empty():
                    known = listed.bounding_box
                    listed.bounding_box = box if known.is_empty() else known.extended_by(box)
                folder.place()

    def _write_copy(
        self, folder: NewFolder, spec: ArraySpec, executor: Executor | None, progress_desc: str | None
    ) -> None:
        target = create_array(folder.building, spec, self._array.data_format)
        rewrite(self._array, target, self._mag, self._engine.name, executor, progress_desc)

    @property
    def _own_layer(self) -> Layer | None:
        """The mag's layer; a mag that was opened without its dataset has none."""
        return getattr(self, "_layer", None)

    def _save_shard_shape(self) -> None:
        """Let the properties file say which shape shards have, also if a crash came before an earlier rewrite did."""
        layer = self._own_layer
        if layer is None:
            return
        shard_shape = self._array.current().spec.shard_shape
        if layer._properties.cube_length(self._mag) != shard_shape[0]:
            with layer.dataset._changing() as properties:
                properties.layer(layer.name).change_shard_shape(self._mag, shard_shape)

    def _settle(self) -> None:
        """Finish or undo a rewrite that a crash has interrupted, as far as that can be done."""
        with suppress(WkgpuError):
            settle_rewrite(self._path, self._save_shard_shape)


def _twin(layer: Layer, root: Path) -> Layer:
    """Return the layer of the same name in the dataset at a path; both are made if they do not exist."""
    from wkgpu.dataset.dataset import Dataset

    layer._check_headers()
    dataset = Dataset(root, voxel_size_with_unit=layer.dataset.voxel_size_with_unit, exist_ok=True)
    return dataset.get_or_add_layer(
        layer.name,
        layer.category,
        dtype=layer.dtype,
        num_channels=layer.num_channels,
        data_format=layer.data_format,
        largest_segment_id=layer._properties.largest_segment_id,
    )


def _check_free(listed: LayerProperties, mag: Mag, dataset: Path) -> None:
    if listed.has_mag(mag):
        raise NameTakenError(
            f"Layer {listed.name!r} of {dataset} has a mag {mag} already; delete it with delete_mag(), or choose "
            "another target."
        )
