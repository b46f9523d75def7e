"""Layers and mags of other datasets: taken from paths, and listed without a copy of their files."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wkgpu.dataset.changes.copying import LayoutOverrides, copy_mag, extend_box
from wkgpu.dataset.changes.extents import make_room
from wkgpu.dataset.changes.further_axes import check_further_axes
from wkgpu.dataset.changes.groups import check_group, list_mags
from wkgpu.dataset.changes.mag_entries import check_layer_folder, check_mag_is_free, settle_layer
from wkgpu.dataset.mag_view import MagView
from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.layer_properties import LayerProperties, attachment_entries, checked_name
from wkgpu.dataset.metadata.properties import PROPERTIES_NAME
from wkgpu.dataset.open_mag import open_mag
from wkgpu.dataset.readable import remote_problem
from wkgpu.errors import ArgumentError, MismatchError, NotFoundError, UnsupportedError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.operations.jobs import Executor
from wkgpu.storage.formats import format_named, is_supported
from wkgpu.storage.stores.local.paths import entry_path, is_remote, listed_path, local_path

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer


def layer_at(dataset: Dataset, path: Any) -> Layer:
    """Return the layer whose folder in another dataset a caller gives instead of a `Layer`.

    Raises
    ------
    ArgumentError, NotFoundError, LayerNotFoundError, UnsupportedError
        For what is no path, a folder that is in no dataset, one that is not a layer there, and URLs.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"foreign_layer is {path!r}; give a Layer, or the path of its folder.")
    folder = local_path(path)
    return type(dataset).open(folder.parent, device=dataset.device).get_layer(folder.name)


def mag_of(layer: Layer, mag_or_path: Any) -> MagView:
    """Return the mag that a caller means: a `MagView`, or the path of its folder, in another dataset or in none.

    Raises
    ------
    ArgumentError, NotFoundError, UnsupportedError
        For what is neither, a folder that holds no mag, and URLs.
    """
    if isinstance(mag_or_path, MagView):
        return mag_or_path
    if not isinstance(mag_or_path, str | os.PathLike):
        raise ArgumentError(
            f"foreign_mag_view_or_path is {mag_or_path!r}; give a MagView, or the path of a mag's folder."
        )
    path, dataset = local_path(mag_or_path), layer.dataset
    root = path.parent.parent
    if (root / PROPERTIES_NAME).exists():
        listed = type(dataset).open(root, device=dataset.device).layers.get(path.parent.name)
        for mag_view in () if listed is None else listed.mags.values():
            if mag_view.path == path:
                return mag_view
    return open_mag(path, device=dataset.device)


def add_layer_reference(dataset: Dataset, layer: Layer, name: str) -> Layer:
    """List a layer of another dataset; see `Dataset.add_layer_as_ref`."""
    if layer.dataset.path == dataset.path:
        raise MismatchError(
            f"Layer {layer.name!r} is one of {dataset.path} itself; a reference is to a layer of another dataset. "
            "Use add_layer_as_copy() to have it twice."
        )
    document = deepcopy(layer._properties.document)
    document["name"] = checked_name(name)
    document.pop("wkwResolutions", None)  # which have no paths
    document["mags"] = [_entry(dataset, mag_view, mag_view.mag) for mag_view in layer.mags.values()]
    for _, entry in attachment_entries(document.get("attachments")):
        entry["path"] = entry_path(dataset.path, layer.dataset.path, entry["path"])
    return dataset._add_layer(LayerProperties(document, Path()))


def add_mag_reference(layer: Layer, source: MagView, mag: MagLike | None, extend_box_of_layer: bool) -> MagView:
    """List a mag of another layer; see `Layer.add_mag_as_ref`."""
    target = source.mag if mag is None else Mag(mag)
    layer.dataset._check_writable()
    settle_layer(layer)
    _check_kind(layer, source)
    if not layer._properties.has_mag_paths:
        raise UnsupportedError(
            f"Layer {layer.name!r} lists its mags under wkwResolutions, which has no paths; use add_mag_as_copy()."
        )
    check_further_axes(layer, _box(source, target), is_reference=True)
    entry = _entry(layer.dataset, source, target)
    if is_own := listed_path(layer.dataset.path, entry["path"]).parent == layer.path:
        check_group(layer.path, layer.data_format)
    box = _box(source, target) if extend_box_of_layer else BoundingBox.empty()
    with layer.dataset._changing() as properties:
        listed = properties.layer(layer.name)
        check_mag_is_free(listed, target)
        listed.document.setdefault("mags", []).append(entry)
        extend_box(listed, box)
    if is_own:
        list_mags(layer)
    make_room(layer)
    return layer.get_mag(target)


def add_mag_copy(
    layer: Layer,
    source: MagView,
    mag: MagLike | None,
    extend_box_of_layer: bool,
    wanted: LayoutOverrides,
    executor: Executor | None,
    progress_desc: str | None,
) -> MagView:
    """Copy a mag of another layer; see `Layer.add_mag_as_copy`."""
    target = source.mag if mag is None else Mag(mag)
    check_layer_folder(layer)
    layer.dataset._check_writable()
    settle_layer(layer)
    if (problem := remote_problem(source)) is not None:
        raise UnsupportedError(f"{problem} It cannot be copied; add_mag_as_ref() lists it where it is.")
    _check_kind(layer, source)
    check_further_axes(layer, _box(source, target))
    spec = wanted.of(source._array.current(), layer.data_format)
    box = _box(source, target) if extend_box_of_layer else BoundingBox.empty()
    text = progress_desc or f"Copying mag {source.mag} to layer {layer.name}"
    return copy_mag(source, layer, target, spec, box, executor, text)


def _check_kind(layer: Layer, source: MagView) -> None:
    """Check that a mag fits a layer: by its own layer where it has one, which may be of a format that is not read."""
    own = _layer_of(source)
    if own is None:
        found = source.get_dtype(), source.num_channels, source.data_format
    else:
        found = own.dtype, own.num_channels, own.data_format
    wanted = layer.dtype, layer.num_channels, layer.data_format
    for argument, theirs, ours in zip(("dtype", "num_channels", "data_format"), found, wanted, strict=True):
        if theirs != ours:
            raise MismatchError(
                f"{source.path} has {argument}={theirs}, and layer {layer.name!r} has {ours}; add it to a layer of its "
                "own kind."
            )


def _entry(dataset: Dataset, source: MagView, mag: Mag) -> Document:
    """Return how a dataset lists a mag that stays where it is."""
    layer = _layer_of(source)
    known = {} if layer is None else deepcopy(layer._properties.mag_entry(source.mag))
    data_format = source.data_format if layer is None else layer.data_format
    lists_edge = is_supported(data_format.value) and format_named(data_format.value).lists_shard_edge
    if lists_edge and "cubeLength" not in known and not is_remote(source.path):
        known["cubeLength"] = source._array.spec.shard_shape[0]
    known.pop("resolution", None)
    path = entry_path(dataset.path, source.path.parent, str(source.path))
    if layer is None:
        axes = source._array.axes
        known["axisOrder"] = {axis: at for at, axis in enumerate(axes) if axis in ("c", "x", "y", "z")}
    return {"mag": None, "path": None, "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3}} | known | {
        "mag": mag.to_list(), "path": path
    }  # fmt: skip


def _layer_of(source: MagView) -> Layer | None:
    """The layer of a mag; one that was opened without its dataset has none."""
    try:
        return source.layer
    except NotFoundError:
        return None


def _box(source: MagView, mag: Mag) -> NDBoundingBox:
    """Return the box of a mag's layer in Mag(1), if the mag's voxels are taken for those of `mag`."""
    layer, box = _layer_of(source), source.bounding_box
    if mag != source.mag:
        return box.in_mag(source.mag).from_mag_to_mag1(mag)
    return box if layer is None else layer.bounding_box  # which the mag's box may exceed by a part of a voxel
