"""What interrupts and crashes have left in a dataset, to be named."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Folders that come or go, mags that are rewritten, files that are written, and what earlier versions called them.
_HIDDEN = re.compile(r"\.(.+\.wkgpu|rewriting|.+\.(tmp|partial)|.+\.[0-9a-f]{12}\.(new|deleted)|.+\.replaced)")


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
        hidden = {name for name in (*names, *files) if _HIDDEN.fullmatch(name)}
        found += [Path(parent, name) for name in hidden]
        names[:] = [name for name in names if name not in hidden]
    return sorted(found)
