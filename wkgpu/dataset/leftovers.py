"""What interrupts and crashes have left in a dataset, to be named."""

from __future__ import annotations

import os
from pathlib import Path

from wkgpu.storage.stores.local.hidden import is_hidden


def leftovers(folder: Path) -> list[Path]:
    """Return the hidden files and folders in a dataset's folder, or in a mag's, that wkgpu works in.

    Other processes may be at work in them. What is left over is removed, or put to its place, by the next change in the
    folder that it lies in.

    Parameters
    ----------
    folder : Path
        Where to look, also in the folders in it; links are not followed.
    """
    found = []
    for parent, names, files in os.walk(folder):
        hidden = {name for name in (*names, *files) if is_hidden(name)}
        found += [Path(parent, name) for name in hidden]
        names[:] = [name for name in names if name not in hidden]
    return sorted(found)
