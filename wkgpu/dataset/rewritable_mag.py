"""A mag that can be compressed and cut into other chunks and shards."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wkgpu.dataset.folder_swap import discard, restore
from wkgpu.dataset.jobs import Executor
from wkgpu.dataset.layer_properties import LayerProperties
from wkgpu.dataset.legacy import warn_deprecated
from wkgpu.dataset.rewriting import renew, rewrite, rewrite_in_place
from wkgpu.dataset.shapes import Compression, Shape, codec_of, new_layout
from wkgpu.dataset.view import View
from wkgpu.errors import AlreadyExistsError, ArgumentError, NameTakenError, NotFoundError, UnsupportedError
from wkgpu.geometry.mag import Mag
from wkgpu.storage.access import refusal
from wkgpu.storage.layout import ArrayLayout, Triple
from wkgpu.storage.stored_array import StoredArray, create_array

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer

_ANCHOR = "header.wkw"


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

        In place, a mag that is compressed already stays as it is. The new files are made in a hidden folder beside the
        mag's, which then takes its place at once: whatever fails, the old mag or the new one is there, whole. Needs
        room for both. Others may read meanwhile, but nobody may write; if somebody did, the mag stays as it was.

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
            ``True`` for LZ4, or whatever codec the mag has already; ``"lz4"``; or ``"lz4hc"``, which is slower and
            takes less room.
        progress_desc : str, optional
            Shows a progress bar with this text.

        Raises
        ------
        ReadOnlyError
            If this mag is to change and is read-only.
        UnsupportedError
            If this mag is to change and belongs to another dataset.
        NameTakenError, AlreadyExistsError, MismatchError
            If the target has this mag already, or does not fit; or if somebody has written meanwhile.

        Examples
        --------
        >>> mag_view.compress()  # doctest: +SKIP
        >>> mag_view.compress("archive", codec="lz4hc")  # doctest: +SKIP
        """
        if args is not None:
            warn_deprecated("MagView.compress(): args is deprecated and changes nothing; pass an executor.")
        wanted = codec_of(codec)
        if wanted == "raw":
            raise ArgumentError(f"codec is {codec!r}; use True, 'lz4' or 'lz4hc', or rechunk(compress=False).")
        layout = self._array.layout
        if codec is not True or layout.codec == "raw":
            layout = replace(layout, codec=wanted)
        self._rewrite(layout, target_path, executor, progress_desc)

    def rechunk(
        self,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        chunks_per_shard: Shape | None = None,
        compress: Compression = True,
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
        compress : bool or str
            True or ``"lz4"`` for LZ4, ``"lz4hc"`` for LZ4HC, False for raw voxels.
        target_path, executor, progress_desc
            As for `compress`.

        Raises
        ------
        ShapeError, ArgumentError
            For shapes that do not fit each other or the format.
        ReadOnlyError, UnsupportedError, NameTakenError, AlreadyExistsError, MismatchError
            As for `compress`.

        Examples
        --------
        >>> mag_view.rechunk(chunk_shape=32, shard_shape=1024)  # doctest: +SKIP
        """
        found = self._array.layout
        layout = new_layout(found.dtype, found.num_channels, chunk_shape, shard_shape, chunks_per_shard, compress)
        self._rewrite(layout, target_path, executor, progress_desc)

    def _rewrite(
        self,
        layout: ArrayLayout,
        target_path: str | os.PathLike[str] | None,
        executor: Executor | None,
        progress_desc: str | None,
    ) -> None:
        if target_path is not None:
            self._rewrite_to(Path(target_path).absolute(), layout, executor, progress_desc)
            return
        self._check_writable()
        layer = self._own_layer
        if layer is not None and not self._path.resolve().is_relative_to(layer.dataset.path.resolve()):
            raise UnsupportedError(
                f"The files of {self!r} lie in {self._path.resolve()}, outside of its dataset; rewrite them where they "
                "belong, or give a target_path."
            )
        if layout == self._array.layout:
            return
        saving = self._saving_shard_shape(layout.shard_shape)
        try:
            rewrite_in_place(self._path, self._mag, layout, self._engine.name, executor, progress_desc, saving)
        finally:
            self._renew_files()

    def _rewrite_to(
        self, root: Path, layout: ArrayLayout, executor: Executor | None, progress_desc: str | None
    ) -> None:
        """Write a copy with a layout into the dataset at a path; without a layer, into a folder of mags there."""
        layer = self._own_layer
        twin = None if layer is None else _twin(layer, root, self._mag)
        path = (root / self._path.parent.name if twin is None else twin.path) / self.name
        if path.exists() and any(path.iterdir()):
            raise AlreadyExistsError(f"{path} exists and is not empty; choose another target_path or remove it.")
        building = path.with_name(f".{path.name}.{secrets.token_hex(6)}.rewriting")
        try:
            target = create_array(building, layout, self._array.data_format)
            rewrite(self._array, target, self._mag, self._engine.name, executor, progress_desc)
            if layer is None or twin is None:
                _rename(building, path)
                return
            with twin.dataset._changing() as properties:
                listed = properties.layer(twin.name)
                _check_free(listed, self._mag, root)
                box, more = listed.bounding_box, layer.bounding_box
                listed.add_mag(self._mag, f"./{twin.name}/{self.name}", layout.shard_shape)
                listed.bounding_box = more if box.is_empty() else box if more.is_empty() else box.extended_by(more)
                _rename(building, path)
        finally:
            discard(building)

    @property
    def _own_layer(self) -> Layer | None:
        """The mag's layer; a mag that was opened without its dataset has none."""
        return getattr(self, "_layer", None)

    @contextmanager
    def _saving_shard_shape(self, shard_shape: Triple) -> Iterator[None]:
        """Save the new shape of shards when a block has put files of this shape in place."""
        layer = self._own_layer
        if layer is None or shard_shape == self._array.layout.shard_shape:
            yield
            return
        with layer.dataset._changing() as properties:
            yield
            _set_shard_shape(properties.layer(layer.name), self._mag, shard_shape)

    def _renew_files(self) -> None:
        """Let all views that share this mag's files see the new ones."""
        layer = self._own_layer
        others = [] if layer is None else [mag for mag in layer.mags.values() if mag.path == self._path]
        for array in {id(view._opened): view._opened for view in (self, *others)}.values():
            if array is not None:
                renew(array)

    @property
    def _array(self) -> StoredArray:
        try:
            return super()._array
        except NotFoundError:
            if restore(self._path, _ANCHOR):  # a crash in the middle of rewriting it
                return super()._array
            raise


def _twin(layer: Layer, root: Path, mag: Mag) -> Layer:
    """Return the layer of the same name in the dataset at a path; both are made if they do not exist."""
    from wkgpu.dataset.dataset import Dataset

    dataset = Dataset(root, voxel_size_with_unit=layer.dataset.voxel_size_with_unit, exist_ok=True)
    twin = dataset.get_or_add_layer(
        layer.name,
        layer.category,
        dtype=layer.dtype,
        num_channels=layer.num_channels,
        data_format=layer.data_format,
        largest_segment_id=layer._properties.largest_segment_id,
    )
    _check_free(twin._properties, mag, root)
    return twin


def _check_free(listed: LayerProperties, mag: Mag, root: Path) -> None:
    if listed.has_mag(mag):
        raise NameTakenError(
            f"Layer {listed.name!r} of {root} has a mag {mag} already; delete it with delete_mag(), or choose another "
            "target_path."
        )


def _set_shard_shape(listed: LayerProperties, mag: Mag, shard_shape: Triple) -> None:
    key, entries = listed._mag_entries
    for entry in entries:
        if Mag(entry[key]) == mag:
            entry["cubeLength"] = shard_shape[0]


def _rename(building: Path, path: Path) -> None:
    try:
        building.rename(path)
    except OSError as error:
        raise refusal(f"Cannot move {building} to {path}", error) from error
