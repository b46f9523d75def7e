"""The files of a mag as a whole: rewritten in another layout, in place or as a copy in another dataset."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.dataset.shapes import Compression, codec_of
from wkgpu.errors import ArgumentError, NameTakenError, WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.jobs import Executor
from wkgpu.operations.rewriting import rewrite, rewrite_in_place, settle_rewrite
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray, create_array, open_array
from wkgpu.storage.stores.local.links import check_inside

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


def compressed_spec(array: StoredArray, codec: Compression, *, in_place: bool) -> ArraySpec | None:
    """Return the layout that `MagView.compress` gives a mag; None if its files are compressed already.

    Raises
    ------
    ArgumentError
        If the codec does not compress.
    """
    wanted = codec_of(codec)
    if wanted == "raw":
        raise ArgumentError(f"codec is {codec!r}; use True, 'lz4' or 'lz4hc', or rechunk(compress=False).")
    spec = array.current().spec
    if codec is not True or spec.codec == "raw":
        return replace(spec, codec=wanted)
    if in_place and "raw" not in array.codecs():  # LZ4 and LZ4HC may be mixed
        return None
    return spec


def rewrite_mag(
    mag: ArrayRegion, layer: Layer | None, spec: ArraySpec, executor: Executor | None, progress_desc: str | None
) -> None:
    """Give a mag another layout in place, and list the shape of its shards; see `MagView.rechunk`."""
    save = _save_of(mag.path, mag.mag, layer)
    if mag.array.has_spec(spec):
        settle_mag(mag.path, mag.mag, layer)
        save()
        return
    rewrite_in_place(mag.path, mag.mag, spec, mag.device, executor, progress_desc, save)


def copy_to_dataset(
    mag: ArrayRegion,
    layer: Layer | None,
    root: Path,
    spec: ArraySpec,
    executor: Executor | None,
    progress_desc: str | None,
) -> None:
    """Write a copy of a mag into the dataset at a path; without a layer, into a folder of mags there."""
    name = mag.path.parent.name if layer is None else layer.name
    check_inside(root / name, root, False)
    if layer is not None:
        add_copy(mag, _twin(layer, root), spec, layer.bounding_box, executor, progress_desc)
        return
    with NewFolder(root / name / mag.mag.to_layer_name(), None) as folder:
        _write_copy(mag, folder, spec, executor, progress_desc)
        folder.place()


def add_copy(
    mag: ArrayRegion,
    twin: Layer,
    spec: ArraySpec,
    box: NDBoundingBox,
    executor: Executor | None,
    progress_desc: str | None,
) -> None:
    """Add a copy of a mag to a layer of another dataset. When it is whole it is listed, and the layer holds the box.

    Raises
    ------
    NameTakenError
        If the layer has this mag.
    """
    _check_free(twin._properties, mag.mag, twin.dataset.path)
    name = mag.mag.to_layer_name()
    with NewFolder(twin.path / name, twin.dataset._file) as folder:
        _write_copy(mag, folder, spec, executor, progress_desc)
        with twin.dataset._changing() as properties:
            listed = properties.layer(twin.name)
            _check_free(listed, mag.mag, twin.dataset.path)
            listed.add_mag(mag.mag, f"./{twin.name}/{name}", spec.shard_shape)
            if not box.is_empty():
                known = listed.bounding_box
                listed.bounding_box = box if known.is_empty() else known.extended_by(box)
            folder.place()


def settle_mag(path: Path, mag: Mag, layer: Layer | None) -> None:
    """Finish or undo a rewrite that a crash has interrupted, as far as that can be done."""
    with suppress(WkgpuError):
        settle_rewrite(path, _save_of(path, mag, layer))


def _save_of(path: Path, mag: Mag, layer: Layer | None) -> Callable[[], None]:
    """Return what lets the properties file say which shape shards have, also after a crash of an earlier rewrite."""
    return partial(_save_shard_shape, path, mag, layer)


def _save_shard_shape(path: Path, mag: Mag, layer: Layer | None) -> None:
    if layer is None:
        return
    shard_shape = open_array(path).spec.shard_shape
    if layer._properties.cube_length(mag) != shard_shape[0]:
        with layer.dataset._changing() as properties:
            properties.layer(layer.name).change_shard_shape(mag, shard_shape)


def _write_copy(
    mag: ArrayRegion, folder: NewFolder, spec: ArraySpec, executor: Executor | None, progress_desc: str | None
) -> None:
    target = create_array(folder.building, spec, mag.array.data_format)
    rewrite(mag.array, target, mag.mag, mag.device, executor, progress_desc)


def _twin(layer: Layer, root: Path) -> Layer:
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
    )


def _check_free(listed: LayerProperties, mag: Mag, dataset: Path) -> None:
    if listed.has_mag(mag):
        raise NameTakenError(
            f"Layer {listed.name!r} of {dataset} has a mag {mag} already; delete it with delete_mag(), or choose "
            "another target."
        )
