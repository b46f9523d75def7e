"""Where the files of a mag or dataset really are: links, and ``..`` in paths, may lead to files of others."""

from __future__ import annotations

import os
from pathlib import Path

from wkgpu.errors import ReadOnlyError
from wkgpu.settings import config

HOW_TO_ALLOW = "open it with Dataset.open(path, allow_foreign_writes=True), or set WKGPU_FOREIGN_WRITES=on"
"""What an error says that refuses to change files outside of a dataset's folder."""


def real_path_outside(path: Path | str, folder: Path | str) -> str | None:
    """Return the real path of a file that lies outside of a folder, and None for one inside.

    Only what is below the folder counts: the folder itself may be reached through links.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> real_path_outside(folder / "color" / "1", folder) is None
    True
    >>> real_path_outside(folder / ".." / "1", folder) == os.path.realpath(folder.parent / "1")
    True
    """
    if _is_plain(str(path), str(folder)):
        return None
    real, root = os.path.realpath(path), os.path.realpath(folder)
    is_inside = os.path.commonpath((real, root)) == root
    return None if is_inside else real


def first_link(path: str, folder: str) -> str | None:
    """Return the first link on the way from a folder to a path below it, the path itself included."""
    step = folder.rstrip("/")
    for part in path[len(folder) :].split("/"):
        if part:
            step = f"{step}/{part}"
            if os.path.islink(step):  # noqa: PTH114 - before each write
                return step
    return None


def check_inside(path: Path, folder: Path, is_allowed: bool) -> None:
    """Raise a `ReadOnlyError` if a path leads out of a dataset's folder, unless files may be changed there."""
    if not (is_allowed or config.foreign_writes) and (real := real_path_outside(path, folder)) is not None:
        raise ReadOnlyError(f"{path} leads to {real}, outside of its dataset {folder}. To change it, {HOW_TO_ALLOW}.")


def _is_plain(path: str, folder: str) -> bool:
    """Whether a path leads below a folder through neither links nor ``..``, which is seen without its real path."""
    root = folder.rstrip("/")
    is_below = path == root or path.startswith(f"{root}/")
    return is_below and ".." not in path[len(root) :].split("/") and first_link(path, root) is None
