"""Files that a layer lists besides its mags, as meshes and agglomerates, copied into another dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain, count
from pathlib import Path
from typing import Any

from wkgpu.dataset.file_copy import copy_file
from wkgpu.dataset.new_folder import NewFolder
from wkgpu.errors import AlreadyExistsError, NotFoundError, PropertiesError
from wkgpu.storage.links import check_inside, real_path_outside


def copied_attachments(attachments: Any, dataset: Path, layer: Path) -> Any:
    """Copy the attachments of a layer, and return how the copy lists them.

    Of those that lie outside of the dataset, or hold a link that leads there, nothing is copied or listed, and a
    warning names them: such a file could be private, and the copy is for others.

    Parameters
    ----------
    attachments : dict
        Lists of entries with a ``path``, by kind, as in the properties file. What is at a URL stays there.
    dataset : Path
        Folder to which paths are relative.
    layer : Path
        Folder of the copied layer; each kind gets a folder in it. Where two attachments of a kind have one name, the
        second one gets a number.

    Raises
    ------
    NotFoundError
        If one does not exist.
    AlreadyExistsError
        If there is something in the place of a copy.
    PropertiesError
        If a kind or a file has a name that leads elsewhere.
    ReadOnlyError
        If the folder of a kind exists and is a link that leads out of the copy.
    StorageAccessError
        If one is neither a file nor a folder, or cannot be read.
    """
    copied = deepcopy(attachments)
    placed: dict[tuple[str, str], str] = {}  # kind and real path of each that is copied: its name in the copy
    for kind, entry in _entries(copied):
        if "://" in entry["path"]:
            continue
        source = dataset / entry["path"]
        if not kind.isidentifier() or source.name in ("", "..") or source == dataset:
            raise PropertiesError(f"{dataset} lists an attachment {kind!r} at {entry['path']!r}; correct its name.")
        if not source.exists():
            raise NotFoundError(f"{source} does not exist, but is an attachment of a layer; remove it from the list.")
        if (outside := _path_outside(source, dataset)) is not None:
            warnings.warn(
                f"The attachment {source} is not copied: {outside} lies outside of the dataset. To have it in the "
                "copy, copy it by hand, and list it there.",
                stacklevel=2,
            )
            _remove(copied, kind, entry)
            continue
        found = kind, os.path.realpath(source)
        if found not in placed:
            check_inside(layer / kind, layer.parent, False)
            name = _free_name(source.name, {name for (other, _), name in placed.items() if other == kind})
            _copy(source, layer / kind / name)
            placed[found] = name
        entry["path"] = f"./{layer.name}/{kind}/{placed[found]}"
    return copied


def _entries(attachments: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the kind and the entry of each attachment; what looks otherwise is left alone."""
    for kind, entries in list(attachments.items()) if isinstance(attachments, dict) else ():
        for entry in list(entries) if isinstance(entries, list) else [entries]:
            if isinstance(entry, dict) and isinstance(entry.get("path"), str):
                yield kind, entry


def _remove(attachments: dict[str, Any], kind: str, entry: dict[str, Any]) -> None:
    """Take an entry out of what `_entries` goes through."""
    if isinstance(attachments[kind], list):
        attachments[kind] = [other for other in attachments[kind] if other is not entry]
    else:
        del attachments[kind]


def _path_outside(source: Path, dataset: Path) -> str | None:
    """Return the real path of a file or a folder outside of the dataset that an attachment leads to."""
    outside = real_path_outside(source, dataset)
    for parent, folders, files in os.walk(source) if outside is None else ():
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() and (outside := real_path_outside(path, dataset)) is not None:
                return outside
    return outside


def _free_name(name: str, taken: set[str]) -> str:
    """Return a name, with a number if another attachment of its kind has it, whatever the case of its letters."""
    known = {other.casefold() for other in taken}
    path = Path(name)
    names = chain([name], (f"{path.stem}-{number}{path.suffix}" for number in count(2)))
    return next(free for free in names if free.casefold() not in known)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        with NewFolder(target) as folder:
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
