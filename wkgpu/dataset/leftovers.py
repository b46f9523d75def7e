"""What interrupts and crashes have left in a dataset, to be named."""

from __future__ import annotations

from pathlib import Path

from wkgpu.storage.stores.local.local_store import LocalStore


def leftovers(folder: Path) -> list[Path]:
    """Return the hidden files and folders in a dataset's folder, or in a mag's, that wkgpu works in.

    Other processes may be at work in them. What is left over is removed, or put to its place, by the next change in the
    folder that it lies in.

    Parameters
    ----------
    folder : Path
        Where to look, also in the folders in it; links are not followed.
    """
    return [folder / key for key in LocalStore(folder).leftovers()]
