"""The mag that the name of a folder says."""

from __future__ import annotations

from pathlib import PurePath

from wkgpu.geometry.mag import Mag


def mag_named(folder: PurePath) -> Mag | None:
    """Return the mag that a folder's name says, if it says one.

    Examples
    --------
    >>> mag_named(PurePath("color/2-2-1")), mag_named(PurePath("color/0"))
    (Mag(2-2-1), None)
    """
    try:
        return Mag(folder.name)
    except (ValueError, AssertionError):
        return None
