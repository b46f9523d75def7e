"""The Zarr groups of a dataset and its layers, which say to other programs what is in them.

The properties file decides what a dataset holds. Groups follow it: each change of the mags of a layer ends with
`list_mags`, which compares the group with all the mags that are listed then, so that it also makes up for what a crash
has left out.
"""

from __future__ import annotations

import os
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.group_file import GroupFile
from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.dataset.metadata.ome import Multiscales, forget_consolidated, is_group, new_group
from wkgpu.dataset.metadata.properties import DatasetProperties
from wkgpu.errors import LayerNotFoundError, WkgpuError
from wkgpu.geometry.mag import Mag
from wkgpu.storage.formats import Format, known_format
from wkgpu.storage.stores.local.paths import listed_path

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer


def make_dataset_group(dataset: Dataset, data_format: DataFormat) -> None:
    """Let the folder of a dataset be a group, if a layer of this format needs one; one that is there stays."""
    file = GroupFile(dataset.path)
    if _has_groups(data_format) and not file.exists():
        with dataset._file.held():
            if not file.exists():  # another process may be faster
                file.save(new_group())


def check_group(folder: Path, data_format: DataFormat) -> None:
    """Check the group of a layer before something is changed that it has to say.

    Raises
    ------
    PropertiesError, ReadOnlyError
        If it cannot be understood, or is a link; the file is named.
    """
    file = _group_in(folder, data_format)
    if file is not None and (document := file.load()) is not None:
        file.check_writable()
        Multiscales.of(document, file.path)


def list_mags(layer: Layer) -> None:
    """Let the group of a layer list the mags that lie in its folder; all else that it says stays."""
    file = _group_in(layer.path, layer.data_format)
    if file is None:
        return
    make_dataset_group(layer.dataset, layer.data_format)  # a crash may have come before
    with layer.dataset._file.held() as properties:
        try:
            listed = properties.layer(layer.name)
        except LayerNotFoundError:  # another process has just deleted it
            return
        mags, document = _mags_in_folder(listed, layer.path), file.load()
        if (document is None and not mags) or (document is not None and not is_group(document)):
            return
        made = _with_mags(document, file.path, listed, mags, properties)
        if made != document:
            file.save(made)
    forget_copies(layer.dataset)


def forget_copies(dataset: Dataset, layer: Layer | None = None) -> None:
    """Remove the copies of changed metadata that the groups of a dataset and of a layer may have, as far as possible.

    zarr-python makes them when it is asked to consolidate a group, and believes them.
    """
    for folder in (dataset.path, *(() if layer is None else (layer.path,))):
        file = GroupFile(folder)
        with suppress(WkgpuError):
            if not forget_consolidated(file.load() or {}):  # as almost always, without a lock
                continue
            with dataset._file.held():
                document = file.load() or {}
                if forget_consolidated(document):
                    file.save(document)


def _with_mags(
    found: Document | None, file: Path, listed: LayerProperties, mags: dict[str, Mag], properties: DatasetProperties
) -> Document:
    """Return the document of a group whose image has the mags of a layer, and of other arrays those that exist."""
    document = deepcopy(found)
    image = None if document is None else Multiscales.of(document, file)
    if image is None:
        image = Multiscales.new(listed.axes, file, document)
    for known in image.arrays:
        if known.path not in mags and not os.path.lexists(file.parent / known.path):
            image.remove(known.path)
    for name, mag in mags.items():
        image.put(name, mag, properties.voxel_size)
    forget_consolidated(image.document)
    return image.document


def _format_with_groups(data_format: DataFormat) -> Format | None:
    known = known_format(data_format.value)
    return known if known is not None and known.has_groups else None


def _has_groups(data_format: DataFormat) -> bool:
    return _format_with_groups(data_format) is not None


def _group_in(folder: Path, data_format: DataFormat) -> GroupFile | None:
    """Return the file of a layer's group; None for other formats, and for a layer without a folder of its own."""
    is_own = not folder.is_symlink() and folder.is_dir()
    return GroupFile(folder) if is_own and _has_groups(data_format) else None


def _mags_in_folder(listed: LayerProperties, folder: Path) -> dict[str, Mag]:
    """Return the mags of the layer's format that lie in its folder, by the names of theirs, the finest first."""
    known, found = _format_with_groups(listed.data_format), {}
    for mag, path in sorted(listed.mags, key=lambda entry: (entry.mag.max_dim, entry.mag.to_tuple())):
        names = (mag.to_layer_name(), mag.to_long_layer_name())
        places = [folder / name for name in names] if path is None else [listed_path(folder.parent, path)]
        for place in places:
            if place.parent == folder and known is not None and (place / known.marker).is_file():
                found[place.name] = mag
                break
    return found
