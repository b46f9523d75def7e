"""What belongs to a segmentation besides its voxels: meshes, agglomerates, connectomes, and indexes of segments."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from wkgpu.dataset.changes.attachment_entries import (
    add_entry,
    copy_attachment,
    entries_of,
    remove_entry,
    rename_entry,
)
from wkgpu.dataset.metadata.attachment_kinds import (
    KINDS,
    AgglomerateAttachment,
    Attachment,
    AttachmentDataFormat,
    ConnectomeAttachment,
    CumsumAttachment,
    MeshAttachment,
    SegmentIndexAttachment,
    SegmentStatisticsAttachment,
    attachment_name,
)
from wkgpu.errors import ArgumentError, NotFoundError, PropertiesError
from wkgpu.storage.stores.local.paths import listed_path

if TYPE_CHECKING:
    from wkgpu.dataset.segmentation_layer import SegmentationLayer


_Kind = TypeVar("_Kind", bound=Attachment)
PathLike = str | os.PathLike[str]


class Attachments:
    """The attachments of a segmentation layer, as the properties file lists them. See `SegmentationLayer.attachments`.

    Parameters
    ----------
    layer : SegmentationLayer
        The layer.

    Examples
    --------
    >>> mesh = MeshAttachment.from_path_and_name("/data/skin.hdf5", "skin", data_format="hdf5")  # doctest: +SKIP
    >>> layer.attachments.add_attachment_as_copy(mesh).path  # doctest: +SKIP
    PosixPath('/data/cortex/cells/meshes/skin.hdf5')
    """

    def __init__(self, layer: SegmentationLayer) -> None:
        self._layer = layer

    # ---- What there is

    @property
    def meshes(self) -> tuple[MeshAttachment, ...]:
        """The meshes, in the order of the file."""
        return self._all(MeshAttachment)

    @property
    def agglomerates(self) -> tuple[AgglomerateAttachment, ...]:
        """The agglomerates, in the order of the file."""
        return self._all(AgglomerateAttachment)

    @property
    def connectomes(self) -> tuple[ConnectomeAttachment, ...]:
        """The connectomes, in the order of the file."""
        return self._all(ConnectomeAttachment)

    @property
    def segment_index(self) -> SegmentIndexAttachment | None:
        """The segment index, if there is one."""
        return next(iter(self._all(SegmentIndexAttachment)), None)

    @property
    def cumsum(self) -> CumsumAttachment | None:
        """The cumsum file, if there is one."""
        return next(iter(self._all(CumsumAttachment)), None)

    @property
    def segment_statistics(self) -> SegmentStatisticsAttachment | None:
        """The segment statistics, if there are some."""
        return next(iter(self._all(SegmentStatisticsAttachment)), None)

    @property
    def is_empty(self) -> bool:
        """Whether the layer has no attachments."""
        return not any(map(self._all, KINDS))

    def _all(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        listed = entries_of(self._layer._properties, kind.key())
        return tuple(self._read(kind, entry) for entry in listed)

    def _read(self, kind: type[_Kind], entry: dict[str, Any]) -> _Kind:
        path = listed_path(self._layer.dataset.path, entry["path"])
        try:
            data_format = AttachmentDataFormat.parse(entry.get("dataFormat"))
        except ArgumentError as error:
            raise PropertiesError(
                f"{self._layer.dataset._file.path}: layer {self._layer.name!r}: {kind.type_name} {path}: {error}"
            ) from error
        return kind(str(entry.get("name", path.stem)), path, data_format)

    # ---- Changes

    def add_attachment_as_ref(self, attachment: _Kind, *, new_name: str | None = None) -> _Kind:
        """List an attachment where it lies; of a kind of which there is only one, instead of that.

        Its path is written relative to the dataset's folder if it lies in it. It need not exist, and may be a URL.

        Parameters
        ----------
        attachment : Attachment
            Of another layer, or from `Attachment.from_path_and_name`.
        new_name : str, optional
            Its name here.

        Returns
        -------
        Attachment
            As this layer lists it.

        Raises
        ------
        NameTakenError
            If the layer has one of this kind and name.
        ArgumentError, ReadOnlyError
            For what is no attachment, a name that cannot be used, and a read-only dataset.

        Examples
        --------
        >>> layer.attachments.add_attachment_as_ref(other.attachments.meshes[0])  # doctest: +SKIP
        """
        attachment = _checked(attachment)
        if new_name is not None:
            attachment = replace(attachment, name=attachment_name(new_name))
        add_entry(self._layer, attachment)
        return self._listed(attachment)

    def add_attachment_as_copy(self, attachment: _Kind) -> _Kind:
        """Copy an attachment into the folder of its kind in the layer's folder, and list it.

        The copy has the name of the attachment, with the suffix of its format. It is listed when it is whole.

        Parameters
        ----------
        attachment : Attachment
            Of another layer, or from `Attachment.from_path_and_name`.

        Returns
        -------
        Attachment
            The copy.

        Raises
        ------
        NameTakenError, AlreadyExistsError
            If the layer has one of this kind and name, or there is a file where the copy would be.
        NotFoundError
            If it does not exist.
        UnsupportedError
            If it is at a URL, or holds a link to a folder; `add_attachment_as_ref` lists it.
        ArgumentError, ReadOnlyError
            For what is no attachment, and a read-only dataset.

        Examples
        --------
        >>> layer.attachments.add_attachment_as_copy(other.attachments.meshes[0])  # doctest: +SKIP
        """
        copy_attachment(self._layer, _checked(attachment))
        return self._listed(attachment)

    def add_attachments(self, *other: Attachment) -> list[Attachment]:
        """List attachments where they lie; see `add_attachment_as_ref`."""
        return [self.add_attachment_as_ref(attachment) for attachment in other]

    def add_copy_attachments(self, *other: Attachment) -> list[Attachment]:
        """Copy attachments; see `add_attachment_as_copy`."""
        return [self.add_attachment_as_copy(attachment) for attachment in other]

    def add_mesh(self, path: PathLike, *, name: str, data_format: str | AttachmentDataFormat) -> MeshAttachment:
        """List a mesh where it lies; a relative path counts from the dataset. See `add_attachment_as_ref`."""
        return self._add(MeshAttachment, path, name, data_format)

    def add_agglomerate(
        self, path: PathLike, *, name: str, data_format: str | AttachmentDataFormat
    ) -> AgglomerateAttachment:
        """List an agglomerate where it lies; a relative path counts from the dataset. See `add_attachment_as_ref`."""
        return self._add(AgglomerateAttachment, path, name, data_format)

    def add_connectome(
        self, path: PathLike, *, name: str, data_format: str | AttachmentDataFormat
    ) -> ConnectomeAttachment:
        """List a connectome where it lies; a relative path counts from the dataset. See `add_attachment_as_ref`."""
        return self._add(ConnectomeAttachment, path, name, data_format)

    def set_segment_index(
        self, path: PathLike, *, name: str, data_format: str | AttachmentDataFormat
    ) -> SegmentIndexAttachment:
        """List the segment index; a relative path counts from the dataset. See `add_attachment_as_ref`."""
        return self._add(SegmentIndexAttachment, path, name, data_format)

    def set_cumsum(self, path: PathLike, *, name: str, data_format: str | AttachmentDataFormat) -> CumsumAttachment:
        """List the cumsum file; a relative path counts from the dataset. See `add_attachment_as_ref`."""
        return self._add(CumsumAttachment, path, name, data_format)

    def rename_attachment(self, attachment: _Kind, *, new_name: str) -> _Kind:
        """Give an attachment of this layer another name; its file keeps its own.

        Raises
        ------
        NotFoundError
            If the layer does not list it.
        NameTakenError, ArgumentError, ReadOnlyError
            If the layer has one of this name, for a name that cannot be used, and a read-only dataset.
        """
        renamed = replace(_checked(attachment), name=attachment_name(new_name))
        rename_entry(self._layer, attachment, renamed.name)
        return self._listed(renamed)

    def delete_attachment(self, attachment: Attachment) -> None:
        """Remove an attachment from the list; its file stays.

        Raises
        ------
        NotFoundError
            If the layer does not list it.
        ReadOnlyError
            If the dataset is read-only.
        """
        remove_entry(self._layer, _checked(attachment))

    def _add(self, kind: type[_Kind], path: PathLike, name: str, data_format: str | AttachmentDataFormat) -> _Kind:
        dataset = self._layer.dataset.path
        return self.add_attachment_as_ref(
            kind.from_path_and_name(path, name, data_format=data_format, dataset_path=dataset)
        )

    def _listed(self, attachment: _Kind) -> _Kind:
        """Return an attachment as this layer lists it now."""
        for listed in self._all(type(attachment)):
            if listed.name == attachment.name:
                return listed
        raise NotFoundError(f"Layer {self._layer.name!r} has no {attachment.type_name} {attachment.name!r} any more.")

    def __repr__(self) -> str:
        found: Iterable[Attachment] = (attachment for kind in KINDS for attachment in self._all(kind))
        return f"Attachments({list(found)})"


def _checked(attachment: _Kind) -> _Kind:
    if not isinstance(attachment, Attachment) or not attachment.container_name:
        raise ArgumentError(f"{attachment!r} is no attachment; make one with MeshAttachment.from_path_and_name().")
    return attachment
