"""What ``datasource-properties.json`` says about a layer and its mags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from wkgpu.dataset.metadata.data_format import DEFAULT_DATA_FORMAT, DataFormat
from wkgpu.dataset.metadata.element_class import default_num_channels, dtype_named, dtype_of, element_class_of
from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.layer_axes import (
    USUAL_AXES,
    forget_order,
    positions_of,
    set_box,
    set_order,
    stored_axes,
    stored_extra_axes,
    with_stored_axes,
)
from wkgpu.dataset.metadata.layer_category import SEGMENTATION_CATEGORY, LayerCategoryType, checked_category
from wkgpu.dataset.metadata.layer_schema import MAX_CHANNELS, MAX_COORDINATE, check_types
from wkgpu.dataset.metadata.segment_ids import checked_segment_id, segment_id_from_json, segment_id_to_json
from wkgpu.errors import (
    ArgumentError,
    DtypeError,
    InvalidNameError,
    MagError,
    MagNotFoundError,
    PropertiesError,
    ShapeError,
    WkgpuError,
)
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.nd_bounding_box import NDBoundingBox
from wkgpu.settings import config
from wkgpu.storage.formats import format_named, known_format

_LAYER_NAME = re.compile(r"(?!\.)[A-Za-z0-9_$.@-]{1,255}")
_MAX_MAG = 1 << 31


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

    @classmethod
    def new(
        cls,
        name: str,
        category: str,
        dtype: DTypeLike | None,
        num_channels: int | None,
        data_format: str | DataFormat | None,
        bounding_box: NDBoundingBox | None,
        largest_segment_id: int | None,
    ) -> LayerProperties:
        """Return the properties of a layer without mags, the arguments of `Dataset.add_layer` checked.

        Raises
        ------
        InvalidNameError, CategoryError, DtypeError, ShapeError, RegionError, ArgumentError, UnsupportedError
            Naming the argument that cannot be used.
        """
        channels = _checked_num_channels(num_channels)
        voxel_type = dtype_named(dtype)
        is_segmentation = checked_category(category) == SEGMENTATION_CATEGORY
        if is_segmentation and voxel_type.kind == "f":
            raise DtypeError(f"dtype {voxel_type} cannot hold segments; use an integer type, for example 'uint32'.")
        if largest_segment_id is not None and not is_segmentation:
            raise ArgumentError(f"largest_segment_id={largest_segment_id!r} is for segmentation layers; leave it out.")
        stored_as = DataFormat.parse(config.data_format if data_format is None else data_format)
        format_named(stored_as.value)
        document: Document = {
            "name": checked_name(name),
            "category": category,
            "boundingBox": {},
            "dataFormat": stored_as.value,
            "mags": [],
            "numChannels": channels,
            "elementClass": element_class_of(voxel_type, channels),
        }
        layer = cls(document, Path())
        layer.bounding_box = BoundingBox.empty() if bounding_box is None else bounding_box
        layer.largest_segment_id = largest_segment_id
        return layer

    def check(self) -> None:
        """Check everything that wkgpu reads of the layer.

        Raises
        ------
        PropertiesError
            Naming the file, the layer and what is wrong.
        """
        check_types(self.document, self._where)
        try:
            _ = self.name, self.category, self.data_format, self.dtype, self.bounding_box, self.largest_segment_id
            listed = [entry.mag for entry in self.mags]
        except PropertiesError:
            raise
        except (WkgpuError, ValueError, TypeError, KeyError, AssertionError, ArithmeticError) as error:
            raise PropertiesError(f"{self._where}: {error}") from error
        if max(self.bounding_box.bottomright) > MAX_COORDINATE:
            raise PropertiesError(
                f"{self._where}: boundingBox is {self.bounding_box}; it ends beyond {MAX_COORDINATE}."
            )
        axes = [axis["name"] for axis in self.document.get("additionalAxes") or ()]
        if len({"x", "y", "z", *axes}) < 3 + len(axes):
            raise PropertiesError(f"{self._where}: the names of the axes x, y, z and {axes} are not unique.")
        for mag in listed:
            if listed.count(mag) > 1:
                raise PropertiesError(f"{self._where} lists mag {mag} twice; remove one of both from the file.")

    @property
    def _where(self) -> str:
        return f"{self._file}: layer {self.document.get('name')!r:.300}"

    @property
    def name(self) -> str:
        """Name of the layer."""
        name = str(required(self.document, "name", f"{self._file}: a layer"))
        # It becomes a path, and deleting the layer deletes that.
        if "/" in name or "\0" in name or name in ("", ".", "..") or len(name.encode(errors="replace")) > 255:
            raise PropertiesError(f"{self._file}: the layer name {name!r:.300} is no name of a folder; correct it.")
        return name

    @property
    def category(self) -> LayerCategoryType:
        """Image or segmentation."""
        try:
            return checked_category(required(self.document, "category", self._where))
        except WkgpuError as error:
            raise PropertiesError(f"{self._where}: {error}") from error

    @property
    def data_format(self) -> DataFormat:
        """File format of the voxels."""
        try:
            return DataFormat.parse(self.document.get("dataFormat", DEFAULT_DATA_FORMAT.value))
        except WkgpuError as error:
            raise PropertiesError(f"{self._where}: {error}") from error

    @property
    def has_num_channels(self) -> bool:
        """Whether the file says the number of channels; early writers left it out, also for several channels."""
        return self.document.get("numChannels") is not None

    def holds(self, dtype: np.dtype[np.generic], num_channels: int) -> bool:
        """Whether voxels of this type and number of channels are what the file says, as far as it does."""
        if self.has_num_channels:
            return (dtype, num_channels) == (self.dtype, self.num_channels)
        for count in (num_channels, 1):  # the class of a whole voxel, or as some writers have it, of one channel
            with suppress(DtypeError):
                if dtype == dtype_of(self._element_class, count):
                    return True
        return False

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
        return str(required(self.document, "elementClass", self._where))

    @property
    def bounding_box(self) -> NDBoundingBox:
        """Box of the voxels that hold data, in Mag(1), with the additional axes of the layer."""
        box = required(self.document, "boundingBox", self._where)
        try:
            if box.get("additionalAxes"):
                return NDBoundingBox.from_wkw_dict(box)
            found = BoundingBox.from_wkw_dict(box)
            known = known_format(self.data_format.value)
            is_usual = known is None or not known.has_own_axes or self.axes == USUAL_AXES
            if is_usual and not self.document.get("additionalAxes"):
                return found
            return with_stored_axes(found, self.document, self.num_channels)
        except (AttributeError, KeyError, TypeError, ValueError, AssertionError, OverflowError) as error:
            raise PropertiesError(f"{self._where}: boundingBox is {box!r}, which cannot be read: {error!r}") from error

    @bounding_box.setter
    def bounding_box(self, box: NDBoundingBox) -> None:
        is_fixed = bool(self._mag_entries[1]) or not self._has_own_axes
        set_box(self.document, box, self.num_channels, is_fixed)

    @property
    def _has_own_axes(self) -> bool:
        known = known_format(self.data_format.value)
        return known is None or known.has_own_axes

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the stored arrays, in their order."""
        return stored_axes(self.document)

    @property
    def extra_axes(self) -> tuple[tuple[str, int], ...]:
        """Names and ends of the axes of the layer besides channels, x, y and z."""
        return stored_extra_axes(self.document)

    @property
    def largest_segment_id(self) -> int | None:
        """Largest voxel value of a segmentation, as far as it is known."""
        try:
            return segment_id_from_json(self.document.get("largestSegmentId"))
        except ArgumentError as error:
            raise PropertiesError(f"{self._where}: {error}") from error

    @largest_segment_id.setter
    def largest_segment_id(self, value: int | None) -> None:
        found = checked_segment_id(value)
        if found is None:
            self.document.pop("largestSegmentId", None)
        else:
            self.document["largestSegmentId"] = segment_id_to_json(found)

    @property
    def mags(self) -> list[MagProperties]:
        """The mags, in the file's order."""
        key, entries = self._mag_entries
        return [MagProperties(self._mag_of(entry, key), entry.get("path")) for entry in entries]

    @property
    def paths(self) -> list[str]:
        """The folder of the layer, and those of its mags and attachments, absolute or relative to the dataset's."""
        paths = [self.name]
        for listed in self.mags:
            names = (listed.mag.to_layer_name(), listed.mag.to_long_layer_name())
            paths += [f"{self.name}/{name}" for name in names] if listed.path is None else [listed.path]
        return paths + [entry["path"] for _, entry in attachment_entries(self.document.get("attachments"))]

    @property
    def path_entries(self) -> list[Document]:
        """The entries of mags and attachments that say a path."""
        mags = [entry for entry in self._mag_entries[1] if entry.get("path") is not None]
        return mags + [entry for _, entry in attachment_entries(self.document.get("attachments"))]

    def has_mag(self, mag: Mag) -> bool:
        """Whether the layer lists this mag."""
        return any(listed.mag == mag for listed in self.mags)

    def add_mag(self, mag: Mag, path: str, shard_shape: Sequence[int], axes: Sequence[str] = USUAL_AXES) -> None:
        """Append a mag whose files lie in this folder, and have these axes."""
        key, entries = self._mag_entries
        if mag.max_dim > _MAX_MAG:
            raise MagError(f"mag {mag} is too coarse; the largest factor that a mag can have is {_MAX_MAG}.")
        if not entries:  # where the file has no list yet
            self.document.setdefault("mags" if key == "mag" else "wkwResolutions", entries)
        entry: Document = {key: mag.to_list()}
        if key == "mag":
            entry["path"] = path
        if format_named(self.data_format.value).lists_shard_edge:
            entry["cubeLength"] = shard_shape[0]
        if key == "mag":
            entry["axisOrder"] = positions_of(axes)
            forget_order(self.document)
        entries.append(entry)

    def remove_mag(self, mag: Mag) -> None:
        """Take a mag out of the list, or raise a `MagNotFoundError`."""
        entry, entries, axes = self.mag_entry(mag), self._mag_entries[1], self.axes
        entries[:] = [other for other in entries if other is not entry]
        if not entries and self._has_own_axes:
            set_order(self.document, axes)

    def cube_length(self, mag: Mag) -> Any:
        """Edge of the mag's shards in its own voxels, if the file says it; or raise a `MagNotFoundError`."""
        return self.mag_entry(mag).get("cubeLength")

    def change_shard_shape(self, mag: Mag, shard_shape: Sequence[int]) -> None:
        """Say that the files of a mag have another shape ``(x, y, z)`` now, in its own voxels.

        Raises
        ------
        MagNotFoundError
            If the layer does not list the mag.
        """
        self.mag_entry(mag)["cubeLength"] = shard_shape[0]

    def mag_entry(self, mag: Mag) -> Document:
        """Return the entry of a mag, or raise a `MagNotFoundError`."""
        key, entries = self._mag_entries
        for entry in entries:
            if self._mag_of(entry, key) == mag:
                return entry
        raise MagNotFoundError(f"Layer {self.name!r} has no mag {mag}.")

    @property
    def has_mag_paths(self) -> bool:
        """Whether an entry can say where a mag lies; in older files it lies in the layer's folder."""
        return self._mag_entries[0] == "mag"

    @property
    def _mag_entries(self) -> tuple[str, list[Document]]:
        """The list of mags, and under which key an entry says its mag."""
        if "mags" not in self.document and "wkwResolutions" in self.document:
            return "resolution", self.document["wkwResolutions"]
        return "mag", self.document.get("mags", [])

    def _mag_of(self, entry: Document, key: str) -> Mag:
        value = required(entry, key, self._where)
        try:
            mag = Mag(value)
            if mag.max_dim > _MAX_MAG:
                raise ValueError(f"the largest factor that a mag can have here is {_MAX_MAG}")
            return mag
        except (TypeError, ValueError, AssertionError, OverflowError) as error:
            raise PropertiesError(f"{self._where}: {key} is {value!r}, which is no mag: {error}") from error


def attachment_entries(attachments: Any) -> Iterator[tuple[str, Document]]:
    """Yield the kind and the entry of each attachment; what looks otherwise than webknossos writes it is left alone."""
    for kind, entries in list(attachments.items()) if isinstance(attachments, dict) else ():
        for entry in list(entries) if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict) and isinstance(entry.get("path"), str):
                yield kind, entry


def required(document: Document, key: str, where: str) -> Any:
    """Return the value of a key, or raise a `PropertiesError` that says where it is missing."""
    try:
        return document[key]
    except KeyError:
        raise PropertiesError(f"{where} has no {key!r}; restore the properties file from a backup.") from None


def _checked_num_channels(value: Any) -> int:
    try:
        count = 1 if value is None else index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ShapeError(f"num_channels is {value!r}; a layer has at least 1 channel.")
    if count > MAX_CHANNELS:
        raise ShapeError(f"num_channels is {value!r}; a layer has at most {MAX_CHANNELS} channels.")
    return count


def checked_name(name: Any) -> str:
    """Return the name of a new layer, or raise an `InvalidNameError`."""
    if not isinstance(name, str) or not _LAYER_NAME.fullmatch(name):
        raise InvalidNameError(
            f"The layer name {name!r} cannot be used; take up to 255 letters (a-z, A-Z), digits and _ - . $ @, and "
            "begin with none of the dots."
        )
    return name
