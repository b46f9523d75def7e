"""The types that a layer of ``datasource-properties.json`` has, of current files and of older ones.

Keys that are not listed here may hold anything. What takes several forms, such as mags and segment ids, is checked
where it is read: msgspec 0.22 reads beyond its own memory for unions of numbers with limits and arrays of fixed length.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec

from wkgpu.dataset.metadata.data_format import DEFAULT_DATA_FORMAT
from wkgpu.errors import PropertiesError

MAX_COORDINATE = 1 << 53  # what every reader of JSON holds exactly; and sums of some of them fit 64 bits
MAX_CHANNELS = 1 << 31

# Whole numbers may be written as 64.0. `float` takes integers as well.
_Coordinate: TypeAlias = Annotated[float, msgspec.Meta(ge=-MAX_COORDINATE, le=MAX_COORDINATE, multiple_of=1)]
_Length: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MAX_COORDINATE, multiple_of=1)]
_Text: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[^\x00\ud800-\udfff]*\Z")]  # part of a path


class _AxisEntry(msgspec.Struct):
    name: _Text
    bounds: tuple[_Coordinate, _Coordinate]
    index: _Length


class _BoxEntry(msgspec.Struct, rename="camel"):
    top_left: tuple[_Coordinate, _Coordinate, _Coordinate]
    width: _Length
    height: _Length
    depth: _Length
    additional_axes: list[_AxisEntry] | None = None
    axis_order: dict[str, _Length] | None = None


class _MagEntry(msgspec.Struct, rename="camel"):
    mag: Any
    path: _Text | None = None
    cube_length: _Length | None = None
    axis_order: dict[str, _Length] | None = None


class _ResolutionEntry(msgspec.Struct, rename="camel"):
    resolution: Any
    path: _Text | None = None
    cube_length: _Length | None = None


class _LayerEntry(msgspec.Struct, rename="camel"):
    name: _Text
    category: str
    bounding_box: _BoxEntry
    element_class: str
    data_format: str = DEFAULT_DATA_FORMAT.value
    mags: list[_MagEntry] | msgspec.UnsetType = msgspec.UNSET
    wkw_resolutions: list[_ResolutionEntry] | msgspec.UnsetType = msgspec.UNSET
    num_channels: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHANNELS)] | None = None
    additional_axes: list[_AxisEntry] | None = None


def check_types(layer: Any, where: str) -> None:
    """Check that an entry of ``dataLayers`` has the types that wkgpu reads.

    Raises
    ------
    PropertiesError
        Which begins with `where`, and names the key.
    """
    try:
        msgspec.convert(layer, _LayerEntry)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise PropertiesError(f"{where}: {error}. Correct it, or restore the file from a backup.") from error
