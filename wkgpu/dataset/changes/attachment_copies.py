"""Files that a layer lists besides its mags, such as meshes and agglomerates, copied into another dataset."""

from __future__ import annotations

import os
from contextlib import ExitStack
from copy import deepcopy
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.legacy import warn_caller
from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.layer_properties import attachment_entries
from wkgpu.dataset.metadata.properties_file import PropertiesFile
from wkgpu.errors import NotFoundError, PropertiesError
from wkgpu.storage.stores.local.links import check_inside, real_path_outside
from wkgpu.storage.stores.local.local_store import LocalStore, location_of


class CopiedAttachments:
    """Copies of the attachments of a layer, which get their places when the properties file of the copy lists them.

    Of those that lie outside of the dataset, or hold a link that leads there, nothing is copied or listed, and a
    warning names them: such a file could be private, and the copy is for others. So it is with those that hold a link
    to a folder, which is not followed: it could lead to a folder that it lies in.

    Parameters
    ----------
    attachments : dict
        Lists of entries with a ``path``, by kind, as in the properties file. What is at a URL stays there.
    dataset : Path
        Folder to which paths are relative.
    layer : Path
        Folder of the copied layer; each kind gets a folder in it. Where two attachments of a kind have one name, the
        second one gets a number.
    file : PropertiesFile
        The properties file of the copy.

    Attributes
    ----------
    listed : dict
        How the copy lists its attachments.

    Raises
    ------
    NotFoundError
        If one does not exist.
    AlreadyExistsError
        If there is something where a copy would be.
    PropertiesError
        If a kind or a file has a name that leads elsewhere.
    ReadOnlyError
        If the folder of a kind exists and is a link that leads out of the copy.
    StorageAccessError
        If one is neither a file nor a folder, or cannot be read.
    """

    def __init__(self, attachments: Any, dataset: Path, layer: Path, file: PropertiesFile) -> None:
        self.listed = deepcopy(attachments)
        self._dataset = dataset
        self._layer = layer
        self._file = file
        self._names: dict[tuple[str, str], str] = {}  # in the copy, by kind and real path
        self._copies: list[NewFolder] = []
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as self._held:
            for kind, entry in attachment_entries(self.listed):
                if "://" not in entry["path"]:
                    self._add(kind, entry)
            self._held = self._held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, traceback)

    def place(self) -> None:
        """Move the copies, which are whole, to their places while the properties are locked."""
        for copy in self._copies:
            copy.place()

    def _add(self, kind: str, entry: Document) -> None:
        path, dataset = entry["path"], self._dataset
        source = dataset / path
        if not kind.isidentifier() or source.name in ("", "..") or source == dataset:
            raise PropertiesError(f"{dataset} lists an attachment {kind!r} at {path!r}; correct its name.")
        if not source.exists():
            raise NotFoundError(f"{source} does not exist, but is an attachment of a layer; remove it from the list.")
        outside, link = _path_outside(source, dataset), linked_folder(source)
        if outside is not None or link is not None:
            reason = f"{link} is a link to a folder" if outside is None else f"{outside} lies outside of the dataset"
            warn_caller(
                f"The attachment {source} is not copied: {reason}. To have it in the copy, copy it by hand, and list "
                "it there."
            )
            _remove(self.listed, kind, entry)
            return
        found = kind, os.path.realpath(source)
        if found not in self._names:
            check_inside(self._layer / kind, self._layer.parent, False)
            name = _free_name(source.name, {name for (other, _), name in self._names.items() if other == kind})
            copy = self._held.enter_context(NewFolder(self._layer / kind / name, self._file))
            copy_files(source, copy.building)
            self._copies.append(copy)
            self._names[found] = name
        entry["path"] = f"./{self._layer.name}/{kind}/{self._names[found]}"


def _remove(attachments: dict[str, Any], kind: str, entry: dict[str, Any]) -> None:
    """Take an entry out of what `attachment_entries` goes through."""
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


def linked_folder(source: Path) -> Path | None:
    """Return a link to a folder that lies in a folder, if there is one."""
    found = (Path(parent, name) for parent, folders, _ in os.walk(source) for name in folders)
    return next((path for path in found if path.is_symlink()), None)


def copy_files(source: Path, target: Path) -> None:
    """Copy a file, or a folder with all files in it; see `linked_folder` for what is not copied."""
    if not source.is_dir():
        LocalStore(target.parent).copy(location_of(source), target.name)
        return
    for parent, _, files in os.walk(source):
        (target / Path(parent).relative_to(source)).mkdir(exist_ok=True)  # also an empty one
        for file in files:
            path = Path(parent, file)
            LocalStore(target).copy(location_of(path), path.relative_to(source).as_posix())
