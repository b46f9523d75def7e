"""What ``datasource-properties.json`` says, of current files and of older ones.

The objects here and in `layer_properties` are views of the JSON document: they read the keys that wkgpu knows, change
them in place, and so leave every other key as it is. A layer that cannot be understood is set aside: it stays in the
file as it is, and does not keep the others from being used. A file keeps its generation: a mag is added to
``wkwResolutions`` where a layer lists its mags under this older name.

The generations differ in: ``scale`` (``{factor, unit}``; older: three numbers, in nanometers), a layer's mags (``mags``
with ``mag`` and ``path``; older: ``wkwResolutions`` with ``resolution``, which may be one number), and ``numChannels``
(older: missing, and 3 for the element class "uint24").
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from wkgpu.dataset.metadata.json_document import (
    Document,
    document_to_bytes,
    objects_with_path,
    parse_document,
    strings_in,
)
from wkgpu.dataset.metadata.layer_properties import LayerProperties, required
from wkgpu.dataset.metadata.ome import GROUP_NAME
from wkgpu.dataset.metadata.view_configuration import rename_in_view_configuration
from wkgpu.dataset.metadata.voxel_size import LengthUnit, VoxelSize
from wkgpu.errors import (
    ArgumentError,
    InvalidNameError,
    LayerNotFoundError,
    NameTakenError,
    PropertiesError,
    WkgpuError,
)
from wkgpu.storage.stores.local.paths import listed_path, path_below

PROPERTIES_NAME = "datasource-properties.json"
_FILES = frozenset({PROPERTIES_NAME, GROUP_NAME})  # of a dataset's folder, which must not be taken for a layer's folder


class BrokenLayer(NamedTuple):
    """An entry of ``dataLayers`` that cannot be understood, and is kept as it is.

    Attributes
    ----------
    name : str or None
        As far as it has one.
    reason : str
        What is wrong, with the file and the layer.
    entry : Any
        What the file holds.
    """

    name: str | None
    reason: str
    entry: Any


class DatasetProperties:
    """The properties of a dataset.

    Parameters
    ----------
    document : dict
        The JSON object of the file. It is changed in place.
    file : Path
        Where it was read, for messages.
    """

    def __init__(self, document: Document, file: Path) -> None:
        self.document = document
        self._file = file
        layers = required(document, "dataLayers", f"{file}")
        if not isinstance(layers, list):
            raise PropertiesError(f"{file}: dataLayers must be a list of objects, not {type(layers).__name__}.")
        self._entries = layers
        self._layers: list[LayerProperties] = []
        self._broken: list[BrokenLayer] = []
        for position, entry in enumerate(layers):
            self._sort(entry, position)

    def _sort(self, entry: Any, position: int) -> None:
        """Put an entry of ``dataLayers`` with the layers, or with those that cannot be used."""
        name = entry.get("name") if isinstance(entry, dict) else None
        try:
            if not isinstance(entry, dict):
                raise PropertiesError(f"{self._file}: layer {position} is {entry!r:.60}, and no object.")
            layer = LayerProperties(entry, self._file)
            layer.check()
            if layer.name.lower() in _FILES:
                raise PropertiesError(f"{self._file}: the layer name {name!r} is that of a file; correct it.")
            if any(layer.name == known.name for known in self._layers):
                raise PropertiesError(f"{self._file} lists the layer {name!r} twice; only the first one is used.")
        except PropertiesError as error:
            self._broken.append(BrokenLayer(name if isinstance(name, str) else None, str(error), entry))
        else:
            self._layers.append(layer)

    @classmethod
    def new(cls, file: Path, name: str, voxel_size: VoxelSize) -> DatasetProperties:
        """Return the properties of a dataset without layers, or raise an `ArgumentError` for what is no name."""
        scale = {"factor": list(voxel_size.factor), "unit": voxel_size.unit.value}
        document = {"id": {"name": _checked_name(name), "team": ""}, "scale": scale, "dataLayers": [], "version": 1}
        return cls(document, file)

    @classmethod
    def parse(cls, data: bytes, file: Path) -> DatasetProperties:
        """Read the bytes of a properties file.

        Raises
        ------
        PropertiesError
            If they are not a JSON object with ``dataLayers``.
        """
        return cls(parse_document(data, file), file)

    def to_bytes(self) -> bytes:
        """Return the bytes of the properties file.

        Raises
        ------
        PropertiesError
            If a layer could not be understood when it is read again.
        """
        for layer in self._layers:
            layer.check()
        return document_to_bytes(self.document)

    @property
    def name(self) -> str:
        """Name of the dataset; that of its folder where the file has none."""
        identifier = self.document.get("id")
        name = identifier.get("name") if isinstance(identifier, dict) else None
        return self._file.parent.name if name is None else str(name)

    @name.setter
    def name(self, name: str) -> None:
        name = _checked_name(name)
        identifier = self.document.get("id")
        if identifier is None:
            identifier = self.document["id"] = {"team": ""}
        if not isinstance(identifier, dict):
            raise PropertiesError(f"{self._file}: id is {identifier!r:.60}, and no object; correct it.")
        identifier["name"] = name

    @property
    def voxel_size(self) -> VoxelSize:
        """Extents of a voxel of Mag(1)."""
        key = "voxelSize" if "scale" not in self.document and "voxelSize" in self.document else "scale"
        scale = required(self.document, key, f"{self._file}")
        try:
            if isinstance(scale, dict):
                return VoxelSize(scale["factor"], scale.get("unit", LengthUnit.NANOMETER))
            return VoxelSize(scale)
        except (KeyError, WkgpuError) as error:
            raise PropertiesError(f"{self._file}: {key} is {scale!r}, which cannot be read: {error}") from error

    @property
    def layers(self) -> list[LayerProperties]:
        """The layers, in the file's order."""
        return list(self._layers)

    @property
    def broken_layers(self) -> list[BrokenLayer]:
        """The entries that cannot be used, in the file's order."""
        return list(self._broken)

    def layer(self, name: str) -> LayerProperties:
        """Return a layer's properties.

        Raises
        ------
        LayerNotFoundError
            If there is no such layer.
        PropertiesError
            If there is, and it cannot be understood.
        """
        for layer in self._layers:
            if layer.name == name:
                return layer
        for broken in self._broken:
            if name is not None and broken.name == name:
                raise PropertiesError(broken.reason)
        known = ", ".join(repr(layer.name) for layer in self._layers) or "no layers"
        raise LayerNotFoundError(f"{self._file.parent} has no layer {name!r}; it has {known}.")

    def lists(self, path: Path) -> bool:
        """Whether a folder or file is that of a layer, a mag or an attachment, or holds one.

        Paths are compared as they are written; links are not followed. Of a layer that cannot be understood, all is
        listed that could be: every string that it holds, and what lies in its folder.
        """
        wanted = Path(os.path.normpath(path))
        listed = [self._place(path) for layer in self._layers for path in layer.paths]
        listed += [self._place(text) for broken in self._broken for text in strings_in(broken.entry)]
        folders = [self._place(broken.name) for broken in self._broken if broken.name]
        return any(place.is_relative_to(wanted) for place in listed) or any(map(wanted.is_relative_to, folders))

    def _place(self, path: str) -> Path:
        return Path(os.path.normpath(listed_path(self._file.parent, path)))

    def add_layer(self, layer: LayerProperties) -> None:
        """Append a layer.

        Raises
        ------
        NameTakenError, InvalidNameError
            If there is a layer of this name, or a file of the dataset.
        """
        self.check_name_is_free(layer.name)
        added = LayerProperties(layer.document, self._file)
        self._entries.append(added.document)
        self._layers.append(added)

    def check_name_is_free(self, name: str, advice: str = "use get_or_add_layer()") -> None:
        """Raise an error if there is a layer of a name, also one that cannot be understood, or a file of the dataset.

        Raises
        ------
        NameTakenError, InvalidNameError
            For a layer, and for a file.
        """
        if name.lower() in _FILES:
            raise InvalidNameError(f"The layer name {name!r} cannot be used; a file of the dataset has it.")
        if name in [*(known.name for known in self._layers), *(broken.name for broken in self._broken)]:
            raise NameTakenError(f"{self._file.parent} has a layer {name!r} already; {advice}.")

    def rename_layer(self, name: str, new_name: str) -> None:
        """Give a layer another name; all paths into its folder, of whichever layer, and the configuration follow.

        Raises
        ------
        NameTakenError, LayerNotFoundError, PropertiesError
            If there is a layer of the new name, none of the old one, or one that cannot be understood.
        """
        renamed, dataset = self.layer(name), self._place(".")
        self.check_name_is_free(new_name, "choose another name")
        entries = [entry for layer in self._layers for entry in layer.path_entries]
        entries += [entry for broken in self._broken for entry in objects_with_path(broken.entry)]
        for entry in entries:
            place = path_below(self._place(entry["path"]), dataset)
            if place is not None and place.is_relative_to(name):
                entry["path"] = f"./{(Path(new_name) / place.relative_to(name)).as_posix()}"
        renamed.document["name"] = new_name
        rename_in_view_configuration(self.document, name, new_name)

    def remove_layer(self, name: str) -> None:
        """Take a layer out of the list, or raise the error of `layer`."""
        removed = self.layer(name)
        self._layers.remove(removed)
        self._entries[:] = [entry for entry in self._entries if entry is not removed.document]


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise ArgumentError(f"name is {name!r}; give the name of the dataset as a string.")
    return name
