"""The folder that `wkgpu demo` fills, and replaces only if an earlier demo filled it."""

from __future__ import annotations

import shutil
from pathlib import Path

from wkgpu import LayerCategoryType
from wkgpu.dataset.properties import PROPERTIES_NAME
from wkgpu.errors import AlreadyExistsError

LAYERS: dict[str, LayerCategoryType] = {"image": "color", "segmentation": "segmentation"}
PICTURE_NAME = "picture.png"
_MARKER_NAME = ".made-by-wkgpu-demo"
_MADE = frozenset({_MARKER_NAME, PROPERTIES_NAME, PICTURE_NAME, *LAYERS})


def check_demo_folder(folder: Path) -> None:
    """Check that a demo may fill a folder: that it does not exist, is empty, or was filled by an earlier demo.

    Raises
    ------
    AlreadyExistsError
        If there is anything else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise AlreadyExistsError(f"{folder} is a file; choose another folder with --out.")
    names = {path.name for path in folder.iterdir()}
    if names and _MARKER_NAME not in names:
        raise AlreadyExistsError(f"{folder} was not made by `wkgpu demo`; choose another folder with --out.")
    if strangers := sorted(names - _MADE):
        raise AlreadyExistsError(
            f"{folder} holds {strangers[0]!r}, which `wkgpu demo` has not made; move it, or choose another folder with "
            "--out."
        )


def clear_demo_folder(folder: Path) -> None:
    """Remove what an earlier demo made, after `check_demo_folder`."""
    check_demo_folder(folder)
    for name in (*sorted(_MADE - {_MARKER_NAME}), _MARKER_NAME):  # the marker last, should somebody interrupt this
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def mark_demo_folder(folder: Path) -> None:
    """Say in the folder that a demo made it."""
    (folder / _MARKER_NAME).write_text("`wkgpu demo` replaces this folder when it runs again.\n")
