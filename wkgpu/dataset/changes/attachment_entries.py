"""Attachments of a layer as the properties file lists them, and their files where they are copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wkgpu.dataset.changes.attachment_copies import copy_files, linked_folder
from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.metadata.json_document import Document
from wkgpu.dataset.metadata.layer_properties import LayerProperties, attachment_entries
from wkgpu.errors import NameTakenError, NotFoundError, PropertiesError, UnsupportedError
from wkgpu.storage.stores.local.links import check_inside
from wkgpu.storage.stores.local.paths import entry_path, is_remote, listed_path, url_of

if TYPE_CHECKING:
    from wkgpu.dataset.metadata.attachment_kinds import Attachment
    from wkgpu.dataset.segmentation_layer import SegmentationLayer

_SUFFIXES = {"hdf5": ".hdf5", "json": ".json"}  # of formats that are one file


def entries_of(properties: LayerProperties, key: str) -> list[Document]:
    """Return the entries of a kind of attachments, by its key in the properties file."""
    return [entry for kind, entry in attachment_entries(properties.document.get("attachments")) if kind == key]


def add_entry(layer: SegmentationLayer, attachment: Attachment) -> None:
    """List an attachment where it lies, and save that."""
    dataset = layer.dataset
    path = entry_path(dataset.path, dataset.path, str(attachment.path))
    with dataset._changing() as properties:
        listed = properties.layer(layer.name)
        _check_free(listed, attachment)
        _append(listed, attachment, path)


def copy_attachment(layer: SegmentationLayer, attachment: Attachment) -> None:
    """Copy the file or the folder of an attachment, and list it when it is whole."""
    dataset, source = layer.dataset, attachment.path
    dataset._check_writable()
    if is_remote(source):
        raise UnsupportedError(
            f"{url_of(source)} is no local file, and cannot be copied; add_attachment_as_ref() lists it where it is."
        )
    if not source.exists():
        raise NotFoundError(f"{source} does not exist; there is no {attachment.type_name} to copy.")
    if (link := linked_folder(source)) is not None:
        raise UnsupportedError(
            f"{link} is a link to a folder, which is not followed. Replace it by a copy of that folder."
        )
    dataset._refresh()
    _check_free(layer._properties, attachment)
    key = attachment.key()
    file = f"{attachment.name}{_SUFFIXES.get(attachment.data_format.value, '')}"
    place = layer.path / key / file
    check_inside(place.parent, dataset.path, dataset._allow_foreign_writes)
    if dataset._properties.lists(place):
        raise NameTakenError(f"{place} is listed already; give the attachment another name.")
    with NewFolder(place, dataset._file) as folder:
        copy_files(source, folder.building)
        with dataset._changing() as properties:
            listed = properties.layer(layer.name)
            _check_free(listed, attachment)
            _append(listed, attachment, f"./{layer.name}/{key}/{file}")
            folder.place()


def rename_entry(layer: SegmentationLayer, attachment: Attachment, name: str) -> None:
    """Give an attachment that a layer lists another name."""
    with layer.dataset._changing() as properties:
        listed = properties.layer(layer.name)
        entry = _found(layer, listed, attachment)
        if name != attachment.name:
            _check_name(listed, attachment, name)
            entry["name"] = name


def remove_entry(layer: SegmentationLayer, attachment: Attachment) -> None:
    """Take an attachment out of the list of a layer."""
    key = attachment.key()
    with layer.dataset._changing() as properties:
        listed = properties.layer(layer.name)
        removed = _found(layer, listed, attachment)
        attachments = listed.document["attachments"]
        if isinstance(attachments[key], list):
            attachments[key] = [entry for entry in attachments[key] if entry is not removed]
        if attachments[key] is removed or attachments[key] == []:
            del attachments[key]
        if not attachments:
            del listed.document["attachments"]


def _append(listed: LayerProperties, attachment: Attachment, path: str) -> None:
    attachments = listed.document.get("attachments")
    if attachments is None:
        attachments = listed.document["attachments"] = {}
    if not isinstance(attachments, dict):
        raise PropertiesError(
            f"attachments of layer {listed.name!r} is {attachments!r:.60}, and no object; correct it."
        )
    entry = {"name": attachment.name, "path": path, "dataFormat": attachment.data_format.value}
    key = attachment.key()
    if attachment.is_single:
        attachments[key] = entry
    else:
        known = attachments.get(key) or []
        attachments[key] = [*(known if isinstance(known, list) else [known]), entry]


def _check_free(listed: LayerProperties, attachment: Attachment) -> None:
    if not attachment.is_single:
        _check_name(listed, attachment, attachment.name)


def _check_name(listed: LayerProperties, attachment: Attachment, name: str) -> None:
    if any(entry.get("name") == name for entry in entries_of(listed, attachment.key())):
        raise NameTakenError(
            f"Layer {listed.name!r} has an attachment {name!r} in {attachment.key()} already; give another name, or "
            "remove it with delete_attachment()."
        )


def _found(layer: SegmentationLayer, listed: LayerProperties, attachment: Attachment) -> Document:
    """Return the entry of an attachment, or raise a `NotFoundError`."""
    for entry in entries_of(listed, attachment.key()):
        if entry.get("name") == attachment.name and _path_of(layer, entry) == attachment.path:
            return entry
    raise NotFoundError(
        f"Layer {listed.name!r} has no {attachment.type_name} {attachment.name!r} at {attachment.path}; it has "
        f"{', '.join(_names(listed, attachment.key())) or 'none'}."
    )


def _path_of(layer: SegmentationLayer, entry: Document) -> Path:
    return listed_path(layer.dataset.path, entry["path"])


def _names(listed: LayerProperties, key: str) -> Iterator[str]:
    return (repr(entry.get("name")) for entry in entries_of(listed, key))
