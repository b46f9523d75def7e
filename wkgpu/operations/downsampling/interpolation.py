"""How the voxels of a block become one voxel of a coarser mag."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any

from wkgpu.errors import InterpolationError


class InterpolationMode(StrEnum):
    """How a block of voxels is reduced to one, for each channel alone.

    Attributes
    ----------
    MEDIAN
        The median; of an even count the mean of the two in the middle, for integers towards zero.
    MODE
        The most frequent value; of equally frequent ones that which comes first, with z as the fastest axis.
    NEAREST
        One of the voxels.
    BILINEAR
        The mean; for integers rounded to the nearest one, halves up.
    MAX, MIN
        The largest or the smallest value.

    Examples
    --------
    >>> InterpolationMode.parse("Median", InterpolationMode.MODE)
    <InterpolationMode.MEDIAN: 'median'>
    """

    MEDIAN = "median"
    MODE = "mode"
    NEAREST = "nearest"
    BILINEAR = "bilinear"
    MAX = "max"
    MIN = "min"

    @classmethod
    def parse(cls, value: Any, default: InterpolationMode) -> InterpolationMode:
        """Read a mode from its name in any case, or from the same member of another library's enumeration.

        Parameters
        ----------
        value : str or Enum
            The name of a member, or ``"default"``.
        default : InterpolationMode
            What ``"default"`` means.

        Raises
        ------
        InterpolationError
            If there is no such mode.
        """
        name = value.name if isinstance(value, Enum) else value
        if isinstance(name, str):
            if name.lower() == "default":
                return default
            if name.upper() in cls.__members__:
                return cls[name.upper()]
        known = ", ".join(repr(member.value) for member in cls)
        offered = "not offered" if isinstance(name, str) and name.lower() == "bicubic" else "unknown"
        raise InterpolationError(f"interpolation_mode {name!r} is {offered}; use 'default' or one of {known}.")
