"""What ``datasource-properties.json`` says, of today's files and of older ones.

The objects here and in `layer_properties` are faces of the JSON document and hold nothing besides it: they read the
keys that wkgpu knows, change them in place, and so leave every other key as it is. A file keeps its generation: a mag
is added to ``wkwResolutions`` where a layer lists its mags under this older name.

The generations differ in: ``scale`` (``{factor, unit}``; older: three numbers, in nanometers), a layer's mags (``mags``
with ``mag`` and ``path``; older: ``wkwResolutions`` with ``resolution``, which may be one number), and ``numChannels``
(older: missing, and 3 for the element class "uint24").
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from wkgpu.dataset.layer_properties import Document, LayerProperties, required
from wkgpu.dataset.voxel_size import LengthUnit, VoxelSize
from wkgpu.errors import LayerNotFoundError, NameTakenError, PropertiesError, WkgpuError

PROPERTIES_NAME = "datasource-properties.json"


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
        if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
            raise PropertiesError(f"{file}: dataLayers must be a list of objects.")
        self._layers = layers

    @classmethod
    def new(cls, file: Path, name: str, voxel_size: VoxelSize) -> DatasetProperties:
        """Return the properties of a dataset without layers."""
        scale = {"factor": list(voxel_size.factor), "unit": voxel_size.unit.value}
        document = {"id": {"name": name, "team": ""}, "scale": scale, "dataLayers": [], "version": 1}
        return cls(document, file)

    @classmethod
    def parse(cls, data: bytes, file: Path) -> DatasetProperties:
        """Read the bytes of a properties file.

        Raises
        ------
        PropertiesError
            If they are not a JSON object with ``dataLayers``.
        """
        try:
            document = json.loads(data)
        except ValueError as error:
            raise PropertiesError(f"{file} is not JSON: {error}. Restore it from a copy.") from error
        if not isinstance(document, dict):
            raise PropertiesError(f"{file} must hold a JSON object, not {type(document).__name__}.")
        return cls(document, file)

    def to_bytes(self) -> bytes:
        """Return the bytes of the properties file."""
        return json.dumps(self.document, indent=4, ensure_ascii=False).encode()

    @property
    def name(self) -> str:
        """Name of the dataset; that of its folder where the file has none."""
        identifier = self.document.get("id")
        name = identifier.get("name") if isinstance(identifier, dict) else None
        return self._file.parent.name if name is None else str(name)

    @name.setter
    def name(self, name: str) -> None:
        self.document.setdefault("id", {"team": ""})["name"] = name

    @property
    def voxel_size(self) -> VoxelSize:
        """Extents of a voxel of Mag(1)."""
        scale = required(self.document, "scale", f"{self._file}")
        try:
            if isinstance(scale, dict):
                return VoxelSize(scale["factor"], scale.get("unit", LengthUnit.NANOMETER))
            return VoxelSize(scale)
        except (KeyError, WkgpuError) as error:
            raise PropertiesError(f"{self._file}: scale is {scale!r}, which cannot be read: {error}") from error

    @property
    def layers(self) -> list[LayerProperties]:
        """The layers, in the file's order."""
        return [LayerProperties(layer, self._file) for layer in self._layers]

    def layer(self, name: str) -> LayerProperties:
        """Return a layer's properties.

        Raises
        ------
        LayerNotFoundError
            If there is no such layer.
        """
        layers = self.layers
        for layer in layers:
            if layer.name == name:
                return layer
        known = ", ".join(repr(layer.name) for layer in layers) or "no layers"
        raise LayerNotFoundError(f"{self._file.parent} has no layer {name!r}; it has {known}.")

    def lists(self, path: Path) -> bool:
        """Whether a folder or file is that of a layer, a mag or an attachment, or holds one.

        Paths are compared as they are written; links are not followed.
        """
        wanted = Path(os.path.normpath(path))
        root = self._file.parent
        return any(
            Path(os.path.normpath(root / listed)).is_relative_to(wanted)
            for layer in self.layers
            for listed in layer.paths
        )

    def add_layer(self, layer: LayerProperties) -> None:
        """Append a layer.

        Raises
        ------
        NameTakenError
            If there is a layer of this name.
        """
        if any(known.get("name") == layer.name for known in self._layers):
            raise NameTakenError(f"{self._file.parent} has a layer {layer.name!r} already; use get_or_add_layer().")
        self._layers.append(layer.document)

    def remove_layer(self, name: str) -> None:
        """Take a layer out of the list, or raise a `LayerNotFoundError`."""
        self._layers.remove(self.layer(name).document)
