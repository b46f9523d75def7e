"""The files of a mag as a whole: rewritten with another spec, in place or as a copy in another dataset."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.dataset.metadata.properties import DatasetProperties
from wkgpu.dataset.metadata.properties_file import PropertiesFile
from wkgpu.dataset.shapes import changed_spec
from wkgpu.errors import ArgumentError, WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.vec3_int import XYZ_AXES
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.jobs import Executor
from wkgpu.operations.rewriting import rewrite, rewrite_in_place, settle_rewrite
from wkgpu.storage.codecs import Compression
from wkgpu.storage.formats import create_array, format_named, open_array, pipeline_of
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray


class LayerListing(NamedTuple):
    """A layer, as the properties file of its dataset lists it.

    Attributes
    ----------
    name : str
        Of the layer.
    folder, dataset : Path
        Its folder, and that of its dataset.
    file : PropertiesFile
        Of the dataset.
    properties : callable
        Returns what was read last.
    changing : callable
        Returns a context manager that reads the properties of the dataset, and saves them at its end.
    """

    name: str
    folder: Path
    dataset: Path
    file: PropertiesFile
    properties: Callable[[], LayerProperties]
    changing: Callable[[], AbstractContextManager[DatasetProperties]]


def compressed_spec(array: StoredArray, codec: Compression, data_format: str, *, in_place: bool) -> ArraySpec | None:
    """Return the spec that `MagView.compress` gives a mag; None if its files are compressed already.

    Parameters
    ----------
    data_format : str
        Of the result; a copy has that of its layer.

    Raises
    ------
    ArgumentError
        If the codec does not compress.
    """
    spec = array.current().spec
    wanted = pipeline_of(codec, data_format, spec.chunk_bytes)
    if not wanted:
        raise ArgumentError(
            f"codec is {codec!r}, which compresses nothing; use True or a codec, or rechunk(compress=False)."
        )
    if array.data_format != data_format:
        kept = None if codec is True and spec.codecs else codec
        return changed_spec(spec, array.data_format, compress=kept, data_format=data_format)
    if codec is True and spec.codecs:
        return None if in_place and () not in array.pipelines() else spec  # codecs may be mixed
    if wanted == spec.codecs:
        return spec
    new = spec.of_new_array  # whose chunks may be larger
    return new.encoded_as(array.pipeline_of(codec, new.chunk_bytes))


def rewrite_mag(
    mag: ArrayRegion, layer: LayerListing | None, spec: ArraySpec, executor: Executor | None, progress_desc: str | None
) -> None:
    """Give a mag another spec in place, and list the shape of its shards; see `MagView.rechunk`."""
    save = _save_of(mag.path, mag.mag, layer)
    if mag.array.has_spec(spec):
        settle_mag(mag.path, mag.mag, layer)
        save()
        return
    rewrite_in_place(mag.path, mag.mag, spec, mag.device, executor, progress_desc, save)


def copy_alone(
    mag: ArrayRegion, target: Path, spec: ArraySpec, executor: Executor | None, progress_desc: str | None
) -> None:
    """Write a copy of a mag into a folder of mags that are not listed."""
    with NewFolder(target / mag.mag.to_layer_name(), None) as folder:
        _write_copy(mag, folder, spec, executor, progress_desc)
        folder.place()


def settle_mag(path: Path, mag: Mag, layer: LayerListing | None) -> None:
    """Finish or undo a rewrite that a crash has interrupted, as far as that can be done."""
    with suppress(WkgpuError):
        settle_rewrite(path, _save_of(path, mag, layer))


def _save_of(path: Path, mag: Mag, layer: LayerListing | None) -> Callable[[], None]:
    """Return what lets the properties file say which shape shards have, also after a crash of an earlier rewrite."""
    return partial(_save_shard_shape, path, mag, layer)


def _save_shard_shape(path: Path, mag: Mag, layer: LayerListing | None) -> None:
    if layer is None or not format_named(layer.properties().data_format.value).lists_shard_edge:
        return
    shard_shape = open_array(path).spec.shard_shape
    if layer.properties().cube_length(mag) != shard_shape[0]:
        with layer.changing() as properties:
            properties.layer(layer.name).change_shard_shape(mag, shard_shape)


def _write_copy(
    mag: ArrayRegion, folder: NewFolder, spec: ArraySpec, executor: Executor | None, progress_desc: str | None
) -> None:
    array = mag.array
    axes = [*array.axes, *(axis for axis in XYZ_AXES if axis not in array.axes)]
    target = create_array(folder.building, spec, array.data_format, array.extent, axes, array.extra_axes)
    rewrite(mag.array, target, mag.mag, mag.device, executor, progress_desc, mag.box)
