"""The mags of a layer: their folders, their headers, and their entries in the properties file."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from wkgpu.dataset.changes.extents import extent_of, make_room
from wkgpu.dataset.changes.groups import check_group, list_mags
from wkgpu.dataset.folder_change import FolderRemoval, NewFolder, settle_folder
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.errors import MismatchError, NameTakenError, WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.storage.formats import create_array
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.local.links import check_inside

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer
    from wkgpu.dataset.mag_view import MagView


def add_mag(layer: Layer, mag: Mag, spec: ArraySpec) -> MagView:
    """Add an empty mag; see `Layer.add_mag`."""
    check_layer_folder(layer)
    layer.dataset._check_writable()
    settle_layer(layer)
    check_headers(layer)
    check_group(layer.path, layer.data_format)
    check_mag_is_free(layer._properties, mag)  # before there are files in the way
    name = mag.to_layer_name()
    with NewFolder(layer.path / name, layer.dataset._file) as folder:
        extent, own = extent_of(layer.bounding_box, mag, spec.shard_shape), layer._properties
        made = create_array(folder.building, spec, layer.data_format.value, extent, own.axes, own.extra_axes)
        with layer.dataset._changing() as properties:
            listed = properties.layer(layer.name)
            check_mag_is_free(listed, mag)
            listed.add_mag(mag, f"./{layer.name}/{name}", spec.shard_shape, made.axes)
            folder.place()
    list_mags(layer)
    make_room(layer)  # whose box may have grown since
    return layer.get_mag(mag)


def delete_mag(layer: Layer, mag_view: MagView) -> None:
    """Delete a mag; see `Layer.delete_mag`."""
    layer.dataset._check_writable()
    settle_layer(layer)
    check_group(layer.path, layer.data_format)
    owned = FolderRemoval(mag_view.path, layer.dataset._file) if _owns(layer, mag_view) else nullcontext()
    with owned, layer.dataset._changing() as properties:
        properties.layer(layer.name).remove_mag(mag_view.mag)
    list_mags(layer)


def _owns(layer: Layer, mag_view: MagView) -> bool:
    """Whether the mag's files, or the link to them, lie in the layer's own folder, and not where a link leads."""
    path = mag_view.path
    return path.parent == layer.path and path.name != ".." and not layer.path.is_symlink()


def check_mag_is_free(properties: LayerProperties, mag: Mag) -> None:
    """Raise a `NameTakenError` if a layer lists a mag."""
    if properties.has_mag(mag):
        raise NameTakenError(f"Layer {properties.name!r} has a mag {mag} already; use get_or_add_mag().")


def check_layer_folder(layer: Layer) -> None:
    """Raise a `ReadOnlyError` if the layer's folder is a link that leads out of the dataset."""
    check_inside(layer.path, layer.dataset.path, layer.dataset._allow_foreign_writes)


def settle_layer(layer: Layer) -> None:
    """Finish or undo what an interrupt or a crash has left of other changes, and take over what is new.

    Raises
    ------
    LayerNotFoundError
        If another process has deleted the layer.
    """
    dataset = layer.dataset
    dataset._refresh()
    listed = dataset._properties.layer(layer.name)
    inside = {(dataset.path / path).parent for path in listed.paths if path.startswith(f"./{layer.name}/")}
    for folder in {dataset.path, layer.path, *inside}:
        settle_folder(folder, dataset._file)
    for mag_view in layer.mags.values():
        if not mag_view.is_remote_to_dataset:
            mag_view._settle()


def header_difference(layer: Layer, array: StoredArray) -> str | None:
    """Return a sentence that says how a mag's header and the properties file disagree on voxels, if they do."""
    spec, listed = array.spec, layer._properties
    if listed.holds(spec.memory_dtype, spec.num_channels):
        return None
    return (
        f"{array.lock_file} says that a voxel has {spec.num_channels} channel(s) of {spec.dtype}, but "
        f"{layer.dataset._file.path} says {listed.num_channels} of {listed.dtype} for layer {layer.name!r}; correct "
        "elementClass and numChannels there."
    )


def check_headers(layer: Layer) -> None:
    """Check that all mags hold what the properties file says, before anything new is made of both.

    Raises
    ------
    MismatchError
        Naming the header and the properties file that disagree. Mags that cannot be opened are passed over.
    """
    expected = layer._voxel_type
    for mag_view in layer.mags.values():
        try:
            array = mag_view._array
        except WkgpuError:
            continue
        if (difference := header_difference(layer, array)) is not None:
            raise MismatchError(difference)
        if (found := (array.spec.memory_dtype, array.spec.num_channels)) != expected:
            raise MismatchError(
                f"{array.lock_file} says that a voxel has {found[1]} channel(s) of {found[0]}, but other mags of "
                f"layer {layer.name!r} have {expected[1]} of {expected[0]}; the mags of a layer are alike."
            )
