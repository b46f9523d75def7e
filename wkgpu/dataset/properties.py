"""What ``datasource-properties.json`` says, of today's files and of older ones.

The objects here are faces of the JSON document and hold nothing besides it: they read the keys that wkgpu knows, change
them in place, and so leave every other key as it is. A file keeps its generation: a mag is added to ``wkwResolutions``
where a layer lists its mags under this older name.

The generations differ in: ``scale`` (``{factor, unit}``; older: three numbers, in nanometers), a layer's mags (``mags``
with ``mag`` and ``path``; older: ``wkwResolutions`` with ``resolution``, which may be one number), and ``numChannels``
(older: missing, and 3 for the element class "uint24").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from wkgpu.dataset.data_format import DataFormat
from wkgpu.dataset.element_class import default_num_channels, dtype_of, element_class_of
from wkgpu.dataset.layer_category import LayerCategoryType, checked_category
from wkgpu.dataset.voxel_size import LengthUnit, VoxelSize
from wkgpu.errors import LayerNotFoundError, MagNotFoundError, PropertiesError, WkgpuError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox

Document: TypeAlias = dict[str, Any]

PROPERTIES_NAME = "datasource-properties.json"


class MagProperties(NamedTuple):
    """A mag as a layer lists it.

    Attributes
    ----------
    mag : Mag
        The magnification.
    path : str or None
        Folder of its files, absolute or relative to the dataset's; older files leave it out.
    """

    mag: Mag
    path: str | None


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
        layers = _required(document, "dataLayers", f"{file}")
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
        scale = _required(self.document, "scale", f"{self._file}")
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

    def has_layer(self, name: str) -> bool:
        """Whether there is a layer of this name."""
        return any(layer.get("name") == name for layer in self._layers)

    def add_layer(
        self,
        name: str,
        category: LayerCategoryType,
        dtype: np.dtype[np.generic],
        num_channels: int,
        data_format: DataFormat,
        bounding_box: NDBoundingBox,
        largest_segment_id: int | None,
    ) -> LayerProperties:
        """Append a layer without mags."""
        document: Document = {
            "name": name,
            "category": category,
            "boundingBox": bounding_box.to_wkw_dict(),
            "dataFormat": data_format.value,
            "mags": [],
            "numChannels": num_channels,
            "elementClass": element_class_of(dtype, num_channels),
        }
        self._layers.append(document)
        layer = LayerProperties(document, self._file)
        layer.largest_segment_id = largest_segment_id
        return layer

    def remove_layer(self, name: str) -> None:
        """Take a layer out of the list, or raise a `LayerNotFoundError`."""
        self._layers.remove(self.layer(name).document)


class LayerProperties:
    """The properties of a layer, as an entry of ``dataLayers``.

    Parameters
    ----------
    document : dict
        The entry. It is changed in place.
    file : Path
        Where it was read, for messages.
    """

    def __init__(self, document: Document, file: Path) -> None:
        self.document = document
        self._file = file

    @property
    def _where(self) -> str:
        return f"{self._file}: layer {self.document.get('name')!r}"

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(_required(self.document, "name", f"{self._file}: a layer"))

    @property
    def category(self) -> LayerCategoryType:
        """Image or segmentation."""
        try:
            return checked_category(_required(self.document, "category", self._where))
        except WkgpuError as error:
            raise PropertiesError(f"{self._where}: {error}") from error

    @property
    def data_format(self) -> DataFormat:
        """File format of the voxels."""
        return DataFormat.parse(self.document.get("dataFormat", DataFormat.WKW.value))

    @property
    def num_channels(self) -> int:
        """Channels of a voxel."""
        count = self.document.get("numChannels")
        if count is None:
            return default_num_channels(self._element_class)
        if not isinstance(count, int) or count < 1:
            raise PropertiesError(f"{self._where}: numChannels is {count!r}; it must be at least 1.")
        return count

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of one channel."""
        try:
            return dtype_of(self._element_class, self.num_channels)
        except WkgpuError as error:
            raise PropertiesError(f"{self._where}: {error}") from error

    @property
    def _element_class(self) -> str:
        return str(_required(self.document, "elementClass", self._where))

    @property
    def bounding_box(self) -> NDBoundingBox:
        """Box of the voxels that hold data, in Mag(1)."""
        box = _required(self.document, "boundingBox", self._where)
        try:
            return NDBoundingBox.from_wkw_dict(box) if box.get("additionalAxes") else BoundingBox.from_wkw_dict(box)
        except (AttributeError, KeyError, TypeError, ValueError, AssertionError) as error:
            raise PropertiesError(f"{self._where}: boundingBox is {box!r}, which cannot be read: {error!r}") from error

    @bounding_box.setter
    def bounding_box(self, box: NDBoundingBox) -> None:
        self.document["boundingBox"] |= box.to_wkw_dict()

    @property
    def largest_segment_id(self) -> int | None:
        """Largest voxel value of a segmentation, as far as it is known."""
        value = self.document.get("largestSegmentId")
        return None if value is None else int(value)

    @largest_segment_id.setter
    def largest_segment_id(self, value: int | None) -> None:
        if value is None:
            self.document.pop("largestSegmentId", None)
        else:
            self.document["largestSegmentId"] = value

    @property
    def mags(self) -> list[MagProperties]:
        """The mags, in the file's order."""
        key, entries = self._mag_entries
        return [MagProperties(self._mag_of(entry, key), entry.get("path")) for entry in entries]

    def has_mag(self, mag: Mag) -> bool:
        """Whether the layer lists this mag."""
        return any(listed.mag == mag for listed in self.mags)

    def add_mag(self, mag: Mag, path: str, shard_shape: Sequence[int]) -> None:
        """Append a mag whose files lie in this folder."""
        key, entries = self._mag_entries
        entry: Document = {key: mag.to_list()}
        if key == "mag":
            entry["path"] = path
        if self.data_format is DataFormat.WKW:
            entry["cubeLength"] = shard_shape[0]
        if key == "mag":
            entry["axisOrder"] = {"c": 0, "x": 1, "y": 2, "z": 3}
        entries.append(entry)

    def remove_mag(self, mag: Mag) -> None:
        """Take a mag out of the list, or raise a `MagNotFoundError`."""
        key, entries = self._mag_entries
        for entry in entries:
            if self._mag_of(entry, key) == mag:
                entries.remove(entry)
                return
        raise MagNotFoundError(f"Layer {self.name!r} has no mag {mag}.")

    @property
    def _mag_entries(self) -> tuple[str, list[Document]]:
        """The list of mags, and under which key an entry says its mag."""
        if "mags" not in self.document and "wkwResolutions" in self.document:
            return "resolution", self.document["wkwResolutions"]
        return "mag", self.document.setdefault("mags", [])

    def _mag_of(self, entry: Document, key: str) -> Mag:
        value = _required(entry, key, self._where)
        try:
            return Mag(value)
        except (TypeError, ValueError, AssertionError) as error:
            raise PropertiesError(f"{self._where}: {key} is {value!r}, which is no mag: {error}") from error


def _required(document: Document, key: str, where: str) -> Any:
    try:
        return document[key]
    except KeyError:
        raise PropertiesError(f"{where} has no {key!r} in {PROPERTIES_NAME}.") from None
