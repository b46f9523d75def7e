"""The folder that `wkgpu demo` fills, and replaces only if all that it holds is what an earlier demo left there.

A demo notes its files in the folder, with their sizes and times of change. Whatever is not noted, or has changed since,
is the user's work. A demo that was interrupted has noted nothing; then the names tell.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wkgpu import LayerCategoryType
from wkgpu.dataset.metadata.ome import GROUP_NAME
from wkgpu.dataset.metadata.properties import PROPERTIES_NAME
from wkgpu.errors import AlreadyExistsError
from wkgpu.storage.formats import is_mag_file
from wkgpu.storage.stores.local.hidden import hidden_place

LAYERS: dict[str, LayerCategoryType] = {"image": "color", "segmentation": "segmentation"}
ZARR_LAYERS = {name: f"{name}-zarr3" for name in LAYERS}
"""The same layers once more, in the other format."""
PICTURE_NAME = "picture.png"
_MARKER_NAME = ".made-by-wkgpu-demo"
_MAX_MARKER_BYTES = 16 << 20
_MAG = re.compile(rf"(?:{'|'.join([*LAYERS, *ZARR_LAYERS.values()])})/\d+(?:-\d+-\d+)?/(?P<file>(?!\d).+)")
"""A file of a mag; a chunk whose key begins with a number is none of a demo."""


def check_demo_folder(folder: Path) -> None:
    """Check that a demo may fill a folder: that it does not exist, is empty, or is as an earlier demo left it.

    Raises
    ------
    AlreadyExistsError
        If there is anything else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise AlreadyExistsError(f"{folder} is a file; choose another folder with --out.")
    if not any(folder.iterdir()):
        return
    noted = _noted(folder)
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            raise _not_made(folder, name)
        if name == _MARKER_NAME:
            continue
        if noted is None and not _is_made_by_name(name):
            raise _not_made(folder, name)
        if noted is not None and name not in noted:
            raise _not_made(folder, name)
        if noted is not None and noted[name] != _state(path):
            raise AlreadyExistsError(
                f"{folder} holds {name!r}, which has changed since `wkgpu demo` made it; move it, or choose another "
                "folder with --out."
            )


def clear_demo_folder(folder: Path) -> None:
    """Remove what an earlier demo made, after `check_demo_folder`: its files one by one, and folders that are empty."""
    check_demo_folder(folder)
    if not folder.exists():
        return
    for path in list(_walk(folder)):
        if path.name != _MARKER_NAME:
            path.unlink(missing_ok=True)
    for place, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            (Path(place) / name).rmdir()
    (folder / _MARKER_NAME).unlink(missing_ok=True)  # last, should this be interrupted


def mark_demo_folder(folder: Path) -> None:
    """Say in the folder that a demo is about to fill it."""
    _write_marker(folder, None)


def note_demo_folder(folder: Path) -> None:
    """Note in the folder what the demo has made."""
    _write_marker(
        folder,
        {path.relative_to(folder).as_posix(): _state(path) for path in _walk(folder) if path.name != _MARKER_NAME},
    )


def _write_marker(folder: Path, files: dict[str, list[int]] | None) -> None:
    about = "`wkgpu demo` replaces this folder when it runs again, unless something else is here, or has changed."
    (folder / _MARKER_NAME).write_text(json.dumps({"about": about, "files": files}, indent=1) + "\n")


def _noted(folder: Path) -> dict[str, Any] | None:
    """Return the files that a demo has noted; None for one that was interrupted, or of an earlier version."""
    marker = folder / _MARKER_NAME
    if marker.is_symlink() or not marker.is_file() or marker.stat().st_size > _MAX_MARKER_BYTES:
        raise AlreadyExistsError(f"{folder} was not made by `wkgpu demo`; choose another folder with --out.")
    try:
        files = json.loads(marker.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return files if isinstance(files, dict) else None


def _is_made_by_name(name: str) -> bool:
    """Whether a demo makes files of this name, or a hidden one for it, in its folder."""
    name = "/".join(hidden_place(part) or part for part in name.split("/"))
    of_mag = _MAG.fullmatch(name)
    if of_mag is None:
        is_group = name.rpartition("/")[2] == GROUP_NAME and name.count("/") <= 1
        return is_group or name in (PROPERTIES_NAME, PICTURE_NAME)
    file = of_mag["file"]
    return file == "journal" or is_mag_file(file.removeprefix("content/"))


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all that is no folder; links are not followed."""
    for place, folders, files in os.walk(folder):
        for name in (*files, *(one for one in folders if (Path(place) / one).is_symlink())):
            yield Path(place) / name


def _state(path: Path) -> list[int]:
    status = path.stat(follow_symlinks=False)
    return [status.st_size, status.st_mtime_ns]


def _not_made(folder: Path, name: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"{folder} holds {name!r}, which `wkgpu demo` has not made; move it, or choose another folder with --out."
    )
