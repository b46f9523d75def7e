"""Files that a layer lists besides its mags, as meshes and agglomerates, copied into another dataset."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

from wkgpu.dataset.file_copy import copy_file
from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.layer_properties import attachment_entries
from wkgpu.errors import AlreadyExistsError, NotFoundError, PropertiesError


def copied_attachments(attachments: Any, dataset: Path, layer: Path) -> Any:
    """Copy the attachments of a layer, and return how the copy lists them.

    Parameters
    ----------
    attachments : dict
        Lists of entries with a ``path``, by kind, as in the properties file. What is at a URL stays there.
    dataset : Path
        Folder to which paths are relative.
    layer : Path
        Folder of the copied layer; each kind gets a folder in it.

    Raises
    ------
    NotFoundError
        If one does not exist.
    AlreadyExistsError
        If there is something in the place of a copy.
    PropertiesError
        If a kind or a file has a name that leads elsewhere.
    """
    copied = deepcopy(attachments)
    for kind, entry in attachment_entries(copied):
        if "://" in entry["path"]:
            continue
        source = dataset / entry["path"]
        if not kind.isidentifier() or source.name in ("", ".."):
            raise PropertiesError(f"{dataset} lists an attachment {kind!r} at {entry['path']!r}; correct its name.")
        if not source.exists():
            raise NotFoundError(f"{source} does not exist, but is an attachment of a layer; remove it from the list.")
        _copy(source, layer / kind / source.name)
        entry["path"] = f"./{layer.name}/{kind}/{source.name}"
    return copied


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        with NewFolder(target, None) as folder:
            folder.building.mkdir()
            for parent, _, files in os.walk(source):
                for file in files:
                    path = Path(parent, file)
                    copy_file(path, folder.building / path.relative_to(source))
            folder.place()
        return
    if target.exists():
        raise AlreadyExistsError(f"{target} exists; move it, or leave its layer out with layers_to_ignore.")
    copy_file(source, target)
