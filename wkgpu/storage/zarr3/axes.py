"""Which axes of a Zarr array are x, y, z and the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wkgpu.errors import UnsupportedError

_ROLES = "cxyz"
_WITHOUT_NAMES = {1: "x", 2: "xy", 3: "xyz", 4: "cxyz"}


@dataclass(frozen=True)
class Axes:
    """Positions of axes among those of a Zarr array.

    Parameters
    ----------
    space : tuple of int or None
        Of x, y and z; None for one that the array does not have, as if its length were 1.
    channel : int or None
        Of the channels; None where there is one channel.
    extra : tuple of int
        Of all others, such as time.
    names : tuple of str
        Of all axes.
    """

    space: tuple[int | None, int | None, int | None]
    channel: int | None
    extra: tuple[int, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str | None] | None, ndim: int, path: str) -> Axes:
        """Find the axes by their names; without names the last ones are x, y and z, as in arrays of WEBKNOSSOS.

        Raises
        ------
        UnsupportedError
            If the axes have no names that tell which they are.
        """
        given = list(names or [])
        if not any(given):
            given = list(_WITHOUT_NAMES.get(ndim, ""))
        lowered = [(name or "").lower() for name in given]
        roles = ["c" if name in ("channel", "channels") else name for name in lowered]
        if len(roles) != ndim or any(roles.count(role) > 1 for role in _ROLES) or not {"x", "y", "z"} & {*roles}:
            raise UnsupportedError(
                f"{path}: dimension_names are {list(names) if names else None} for {ndim} axes; name them, three of "
                "them 'x', 'y' and 'z', and that of the channels 'c'."
            )
        found = {role: roles.index(role) if role in roles else None for role in _ROLES}
        extra = tuple(axis for axis, role in enumerate(roles) if role not in _ROLES or not role)
        labels = tuple(name or f"axis {axis}" for axis, name in enumerate(given))
        return cls((found["x"], found["y"], found["z"]), found["c"], extra, labels)

    @property
    def others(self) -> tuple[int, ...]:
        """All axes that are not x, y or z, ascending."""
        return tuple(sorted((*self.extra, *(() if self.channel is None else (self.channel,)))))
