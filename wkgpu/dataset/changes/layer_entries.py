"""Layers that are added to a dataset: of a kind, with an array, or like another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import TYPE_CHECKING

from numpy.typing import DTypeLike

from wkgpu.dataset.box_axes import in_space
from wkgpu.dataset.folder_change import settle_folder
from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.layer_category import SEGMENTATION_CATEGORY, LayerCategoryType
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.dataset.shapes import Shape
from wkgpu.errors import LayerNotFoundError, MismatchError, NameTakenError, RegionError, ShapeError, UnsupportedError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.geometry.vec3_int import XYZ_AXES
from wkgpu.geometry.vec_int import VecIntLike
from wkgpu.operations.voxels import Array
from wkgpu.storage.stores.local.transaction import check_free

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer

_USUAL_AXES = {3: XYZ_AXES, 4: ("c", *XYZ_AXES)}


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
    if exists and type(bounding_box) is NDBoundingBox:
        bounding_box = None  # which the default format may not have
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
    absolute_offset: VecIntLike | None,
    mag: MagLike,
    axes: Iterable[str] | None,
) -> Layer:
    """Add a layer that holds an array; see `Dataset.write_layer`.

    Parameters
    ----------
    shapes : tuple
        ``chunk_shape``, ``shard_shape`` and ``chunks_per_shard``.
    """
    names, dtype = _axes_of(data, axes), str(data.dtype).removeprefix("torch.")
    channels = data.shape[names.index("c")] if "c" in names else 1
    box = None if axes is None else _box_of(data, names, absolute_offset, Mag(mag))
    listed = LayerProperties.new(name, category, dtype, channels, data_format, box, None)
    if box is not None and isinstance(listed.bounding_box, BoundingBox):  # whose voxels lie in the usual order
        if names not in _USUAL_AXES.values():
            raise UnsupportedError(f"axes is {names}; a {listed.data_format.value} layer has {listed.axes}. Use zarr3.")
        box = in_space(box)
    with new_layer(dataset, listed) as layer:
        chunk_shape, shard_shape, chunks_per_shard = shapes
        mag_view = layer.add_mag(
            mag, chunk_shape=chunk_shape, shard_shape=shard_shape, chunks_per_shard=chunks_per_shard
        )
        if box is None:
            mag_view.write(data, absolute_offset=(0, 0, 0) if absolute_offset is None else absolute_offset)
        else:
            mag_view.write(data, absolute_bounding_box=box)
        if downsample:
            layer.downsample()
    return layer


def _axes_of(data: Array, axes: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of the axes of an array."""
    given = _USUAL_AXES.get(data.ndim) if axes is None else axes
    names = tuple(given) if isinstance(given, Iterable) else ()
    if len(names) != data.ndim or len({*names}) != len(names) or not {*XYZ_AXES} <= {*names}:
        raise ShapeError(
            f"data has the shape {tuple(data.shape)}, and axes is {axes}; give (x, y, z) or (channel, x, y, z), or a "
            "name for each axis, 'x', 'y' and 'z' among them, and 'c' for channels."
        )
    return names


def _box_of(data: Array, axes: tuple[str, ...], offset: VecIntLike | None, mag: Mag) -> NDBoundingBox:
    """Return the box of an array in Mag(1)."""
    box = NDBoundingBox.from_axes(axes, data.shape).from_mag_to_mag1(mag)
    try:
        return box if offset is None else box.offset(offset)
    except (AssertionError, TypeError, ValueError) as error:
        raise RegionError(
            f"absolute_offset is {offset!r}; give a number for each of the axes {axes}, or three for x, y and z."
        ) from error


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
