"""The file formats in which a layer's voxels may be stored."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from wkgpu.enum_members import member_of
from wkgpu.errors import UnsupportedError
from wkgpu.storage.formats import DEFAULT_FORMAT


class DataFormat(StrEnum):
    """How a layer stores its voxels, by its name in the properties file.

    A member equals its name: ``DataFormat.WKW == "wkw"``. What this version reads and writes is WKW and Zarr 3;
    layers of the other formats are listed with their properties.

    Examples
    --------
    >>> DataFormat.parse("wkw")
    <DataFormat.WKW: 'wkw'>
    """

    WKW = "wkw"
    Zarr = "zarr"
    Zarr3 = "zarr3"
    N5 = "n5"
    NeuroglancerPrecomputed = "neuroglancerPrecomputed"

    @classmethod
    def parse(cls, value: Any) -> DataFormat:
        """Read a format from its name, or from the same member of another library's enumeration.

        Raises
        ------
        UnsupportedError
            If there is no such format.
        """
        return member_of(cls, value, "data_format", UnsupportedError)


DEFAULT_DATA_FORMAT = DataFormat(DEFAULT_FORMAT)
"""Of a layer whose entry does not say it. The default of new ones is `wkgpu.config.data_format`."""
