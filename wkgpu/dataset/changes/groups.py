"""The Zarr groups of a dataset and its layers, which say to other programs what is in them.

The properties file decides what a dataset holds. Groups follow it: each change of the mags of a layer ends with
`list_mags`, which compares the group with all the mags that are listed then, so that it also makes up for what a crash
has left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.dataset.metadata.group_file import GroupFile
from wkgpu.dataset.metadata.layer_properties import LayerProperties
from wkgpu.dataset.metadata.ome import Multiscales, is_group, new_group
from wkgpu.dataset.metadata.properties import DatasetProperties
from wkgpu.errors import LayerNotFoundError
from wkgpu.geometry.mag import Mag
from wkgpu.storage.formats import known_format
from wkgpu.storage.stores.local.paths import listed_path

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer


def make_dataset_group(dataset: Dataset, data_format: DataFormat) -> None:
    """Let the folder of a dataset be a group, if a layer of this format needs one; one that is there stays."""
    file = GroupFile(dataset.path, dataset._allow_foreign_writes)
    if _has_groups(data_format) and not file.exists():
        file.save(new_group())


def check_group(layer: Layer) -> None:
    """Check the group of a layer before something is changed that it has to say.

    Raises
    ------
    PropertiesError
        If it cannot be understood; the file is named.
    """
    file = _group_of(layer)
    if file is not None and (document := file.load()) is not None:
        Multiscales.of(document, file.path)


def list_mags(layer: Layer) -> None:
    """Let the group of a layer list the mags that lie in its folder; all else that it says stays."""
    file = _group_of(layer)
    if file is None:
        return
    with layer.dataset._file.held() as properties:
        try:
            listed = properties.layer(layer.name)
        except LayerNotFoundError:  # another process has just deleted it
            return
        mags = _mags_in_folder(listed, layer.path)
        document = file.load()
        if (document is None and not mags) or (document is not None and not is_group(document)):
            return
        if _update(document, file, listed, mags, properties):
            return
        image = Multiscales.new(listed.axes, file.path)
        for name, mag in mags.items():
            image.add(name, mag, properties.voxel_size)
        if document is None:
            file.save(image.document)
        else:
            file.save(document | {"attributes": (document.get("attributes") or {}) | image.document["attributes"]})


def _update(
    document: dict[str, object] | None,
    file: GroupFile,
    listed: LayerProperties,
    mags: dict[str, Mag],
    properties: DatasetProperties,
) -> bool:
    """Change the image of a group, and return whether it has one."""
    image = None if document is None else Multiscales.of(document, file.path)
    if image is None:
        return False
    known = {array.path for array in image.arrays}
    added = [name for name in mags if name not in known]
    gone = [name for name in known if name not in mags and not os.path.lexists(file.path.parent / name)]
    for name in gone:
        image.remove(name)
    for name in added:
        image.add(name, mags[name], properties.voxel_size)
    if added or gone:
        file.save(image.document)
    return True


def _has_groups(data_format: DataFormat) -> bool:
    known = known_format(data_format.value)
    return known is not None and known.has_groups


def _group_of(layer: Layer) -> GroupFile | None:
    """Return the file of a layer's group; None for other formats, and for a layer without a folder of its own."""
    if not _has_groups(layer.data_format) or layer.path.is_symlink() or not layer.path.is_dir():
        return None
    return GroupFile(layer.path, layer.dataset._allow_foreign_writes)


def _mags_in_folder(listed: LayerProperties, folder: Path) -> dict[str, Mag]:
    """Return the mags that a layer lists and that lie in its folder, by the names of these, the finest first."""
    found = {}
    for mag, path in sorted(listed.mags, key=lambda entry: (entry.mag.max_dim, entry.mag.to_tuple())):
        names = (mag.to_layer_name(), mag.to_long_layer_name())
        places = [folder / name for name in names] if path is None else [listed_path(folder.parent, path)]
        for place in places:
            if place.parent == folder and place.is_dir():
                found[place.name] = mag
                break
    return found
