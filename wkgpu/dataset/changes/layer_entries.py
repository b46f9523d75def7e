"""Layers that are added to a dataset: of a kind, with an array, or like another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import TYPE_CHECKING

from numpy.typing import DTypeLike

from wkgpu.dataset.folder_change import settle_folder
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.layer_category import SEGMENTATION_CATEGORY, LayerCategoryType
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.dataset.shapes import Shape
from wkgpu.errors import LayerNotFoundError, MismatchError, NameTakenError, ShapeError
from wkgpu.geometry.mag import MagLike
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import Vec3IntLike
from wkgpu.operations.voxels import Array
from wkgpu.storage.stores.local.transaction import check_free

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer


def get_or_add_layer(
    dataset: Dataset,
    name: str,
    category: LayerCategoryType,
    dtype: DTypeLike | None,
    num_channels: int | None,
    data_format: str | DataFormat | None,
    bounding_box: NDBoundingBox | None,
    largest_segment_id: int | None,
) -> Layer:
    """Return a layer of a kind, and add it before if there is none; see `Dataset.get_or_add_layer`."""
    wanted_format = None if data_format is None else DataFormat.parse(data_format)
    exists = name in dataset.layers
    listed = LayerProperties.new(
        name, category, dtype, num_channels, None if exists else wanted_format, bounding_box,
        largest_segment_id,
    )  # fmt: skip
    if not exists:
        with suppress(NameTakenError):  # another process may be faster
            return dataset._add_layer(listed)
    found = dataset.get_layer(name)
    asked = {
        "category": (category, found.category),
        "dtype": (None if dtype is None else listed.dtype, found.dtype),
        "num_channels": (num_channels, found.num_channels),
        "data_format": (wanted_format, found.data_format),
    }
    for argument, (wanted, existing) in asked.items():
        if wanted is not None and wanted != existing:
            raise MismatchError(f"Layer {name!r} exists with {argument}={existing}, not {wanted}.")
    return found


def write_layer(
    dataset: Dataset,
    name: str,
    category: LayerCategoryType,
    data: Array,
    data_format: str | DataFormat | None,
    downsample: bool,
    shapes: tuple[Shape | None, Shape | None, Shape | None],
    absolute_offset: Vec3IntLike | None,
    mag: MagLike,
) -> Layer:
    """Add a layer that holds an array; see `Dataset.write_layer`.

    Parameters
    ----------
    shapes : tuple
        ``chunk_shape``, ``shard_shape`` and ``chunks_per_shard``.
    """
    if data.ndim not in (3, 4):
        raise ShapeError(f"data has the shape {tuple(data.shape)}; give (x, y, z) or (channel, x, y, z).")
    dtype = str(data.dtype).removeprefix("torch.")
    channels = 1 if data.ndim == 3 else data.shape[0]
    with new_layer(dataset, LayerProperties.new(name, category, dtype, channels, data_format, None, None)) as layer:
        chunk_shape, shard_shape, chunks_per_shard = shapes
        mag_view = layer.add_mag(
            mag, chunk_shape=chunk_shape, shard_shape=shard_shape, chunks_per_shard=chunks_per_shard
        )
        mag_view.write(data, absolute_offset=(0, 0, 0) if absolute_offset is None else absolute_offset)
        if downsample:
            layer.downsample()
    return layer


@contextmanager
def new_layer(dataset: Dataset, listed: LayerProperties) -> Iterator[Layer]:
    """Add a layer, which is deleted with its folder if the ``with`` block raises.

    Raises
    ------
    NameTakenError
        If the dataset has a layer of this name.
    AlreadyExistsError
        If there are files in the folder, which would be deleted as well.
    """
    dataset._check_writable()
    dataset._refresh()
    is_new = listed.name not in dataset.layers
    if is_new:
        folder = dataset.path / listed.name
        settle_folder(folder, dataset._file)
        check_free(folder)
    try:
        layer = dataset._add_layer(listed)
    except KeyboardInterrupt:  # it may have been listed just before
        if is_new and listed.name in dataset.layers and not dataset.layers[listed.name].mags:
            dataset.delete_layer(listed.name)
        raise
    try:
        yield layer
    except BaseException:
        with suppress(LayerNotFoundError):
            dataset.delete_layer(listed.name)
        raise


def properties_like(layer: Layer, name: str) -> LayerProperties:
    """Return the properties of a new layer that is like another one; see `Dataset.add_layer_like`."""
    listed = layer._properties
    made = LayerProperties.new(
        name,
        layer.category,
        layer.dtype,
        layer.num_channels,
        layer.data_format,
        layer.bounding_box,
        listed.largest_segment_id if layer.category == SEGMENTATION_CATEGORY else None,
    )
    if (configuration := listed.document.get("defaultViewConfiguration")) is not None:
        made.document["defaultViewConfiguration"] = deepcopy(configuration)
    return made
