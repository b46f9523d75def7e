"""The physical size of a voxel of Mag(1), in any unit of length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from math import isfinite
from typing import Any, TypeAlias

from wkgpu.errors import ArgumentError

Factor: TypeAlias = tuple[float, float, float]


class LengthUnit(StrEnum):
    """A unit of length, by its name in the properties file; symbols are read as well.

    Examples
    --------
    >>> LengthUnit.MICROMETER.nanometers, LengthUnit("nm")
    (1000.0, <LengthUnit.NANOMETER: 'nanometer'>)
    """

    YOCTOMETER = "yoctometer"
    ZEPTOMETER = "zeptometer"
    ATTOMETER = "attometer"
    FEMTOMETER = "femtometer"
    PICOMETER = "picometer"
    NANOMETER = "nanometer"
    MICROMETER = "micrometer"
    MILLIMETER = "millimeter"
    CENTIMETER = "centimeter"
    DECIMETER = "decimeter"
    METER = "meter"
    HECTOMETER = "hectometer"
    KILOMETER = "kilometer"
    MEGAMETER = "megameter"
    GIGAMETER = "gigameter"
    TERAMETER = "terameter"
    PETAMETER = "petameter"
    EXAMETER = "exameter"
    ZETTAMETER = "zettameter"
    YOTTAMETER = "yottameter"
    ANGSTROM = "angstrom"
    INCH = "inch"
    FOOT = "foot"
    YARD = "yard"
    MILE = "mile"
    PARSEC = "parsec"

    @property
    def nanometers(self) -> float:
        """How many nanometers the unit has."""
        return _NANOMETERS[self.value]

    @classmethod
    def _missing_(cls, value: object) -> LengthUnit | None:
        return cls(_SYMBOLS[value]) if isinstance(value, str) and value in _SYMBOLS else None


_NANOMETERS: dict[str, float] = {
    "yoctometer": 1e-15,
    "zeptometer": 1e-12,
    "attometer": 1e-9,
    "femtometer": 1e-6,
    "picometer": 1e-3,
    "nanometer": 1.0,
    "micrometer": 1e3,
    "millimeter": 1e6,
    "centimeter": 1e7,
    "decimeter": 1e8,
    "meter": 1e9,
    "hectometer": 1e11,
    "kilometer": 1e12,
    "megameter": 1e15,
    "gigameter": 1e18,
    "terameter": 1e21,
    "petameter": 1e24,
    "exameter": 1e27,
    "zettameter": 1e30,
    "yottameter": 1e33,
    "angstrom": 0.1,
    "inch": 2.54e7,
    "foot": 3.048e8,
    "yard": 9.144e8,
    "mile": 1.609344e12,
    "parsec": 3.085677581491367e25,
}

_SYMBOLS: dict[str, str] = {
    "ym": "yoctometer",
    "zm": "zeptometer",
    "am": "attometer",
    "fm": "femtometer",
    "pm": "picometer",
    "nm": "nanometer",
    "\u00b5m": "micrometer",  # the micro sign, which WEBKNOSSOS writes
    "\u03bcm": "micrometer",  # the Greek letter, which looks the same
    "um": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "dm": "decimeter",
    "m": "meter",
    "hm": "hectometer",
    "km": "kilometer",
    "Mm": "megameter",
    "Gm": "gigameter",
    "Tm": "terameter",
    "Pm": "petameter",
    "Em": "exameter",
    "Zm": "zettameter",
    "Ym": "yottameter",
    "\u00c5": "angstrom",
    "\u212b": "angstrom",  # the sign for the unit, which looks the same
    "in": "inch",
    "ft": "foot",
    "yd": "yard",
    "mi": "mile",
    "pc": "parsec",
}


@dataclass(frozen=True)
class VoxelSize:
    """Extents of a voxel of Mag(1) along x, y and z, in a unit.

    Parameters
    ----------
    factor : tuple of float
        ``(x, y, z)`` extents in the unit, each above 0.
    unit : LengthUnit or str
        Default: nanometers.

    Raises
    ------
    ArgumentError
        For other than three numbers above 0, or an unknown unit.

    Examples
    --------
    >>> VoxelSize((0.5, 0.5, 1.0), LengthUnit.MICROMETER).to_nanometer()
    (500.0, 500.0, 1000.0)
    """

    factor: Factor
    unit: LengthUnit = LengthUnit.NANOMETER

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", _checked_factor(self.factor))
        object.__setattr__(self, "unit", _checked_unit(self.unit))

    def to_nanometer(self) -> Factor:
        """Return the extents ``(x, y, z)`` in nanometers."""
        x, y, z = self.factor
        scale = self.unit.nanometers
        return x * scale, y * scale, z * scale


def _checked_factor(factor: Iterable[float]) -> Factor:
    try:
        x, y, z = map(float, factor)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(
            f"voxel size {factor!r} is not three numbers; give (x, y, z), as (11.24, 11.24, 25)."
        ) from error
    if not all(isfinite(extent) and extent > 0 for extent in (x, y, z)):
        raise ArgumentError(f"voxel size {(x, y, z)} must be above 0 along each axis.")
    return x, y, z


def _checked_unit(unit: Any) -> LengthUnit:
    name = unit.value if isinstance(unit, Enum) else unit
    try:
        return LengthUnit(name)
    except ValueError:
        raise ArgumentError(f"unit {name!r} is not a known unit of length; use for example 'nanometer'.") from None
