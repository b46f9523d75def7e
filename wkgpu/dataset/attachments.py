"""What belongs to a segmentation besides its voxels: meshes, agglomerates, connectomes, and indexes of segments."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from wkgpu.choices import member_of
from wkgpu.dataset.changes.attachment_entries import (
    add_entry,
    attachment_name,
    copy_attachment,
    entries_of,
    remove_entry,
    rename_entry,
)
from wkgpu.errors import ArgumentError, NotFoundError, PropertiesError
from wkgpu.storage.stores.local.paths import is_remote, listed_path, local_path

if TYPE_CHECKING:
    from wkgpu.dataset.segmentation_layer import SegmentationLayer


class AttachmentDataFormat(StrEnum):
    """How an attachment is stored, by its name in the properties file. A member equals its name.

    Examples
    --------
    >>> AttachmentDataFormat.parse("hdf5")
    <AttachmentDataFormat.HDF5: 'hdf5'>
    """

    HDF5 = "hdf5"
    JSON = "json"
    NeuroglancerPrecomputed = "neuroglancerPrecomputed"
    Zarr3 = "zarr3"

    @classmethod
    def parse(cls, value: Any) -> AttachmentDataFormat:
        """Read a format from its name, or from the same member of another library's enumeration.

        Raises
        ------
        ArgumentError
            If there is no such format.
        """
        return member_of(cls, value, "data_format", ArgumentError)


@dataclass(frozen=True)
class Attachment:
    """A file or a folder that belongs to a segmentation; each kind is a class of its own.

    Parameters
    ----------
    name : str
        Letters, digits, and ``_ - .``.
    path : Path
        Where it lies; of a URL, what a `Path` makes of it.
    data_format : AttachmentDataFormat
        How it is stored.

    Attributes
    ----------
    type_name, container_name : str
        What one of the kind is called, and what holds all of them.
    is_single : bool
        Whether a layer has at most one of the kind.
    data_formats : tuple of AttachmentDataFormat
        How the kind may be stored.
    """

    type_name: ClassVar[str] = ""
    container_name: ClassVar[str] = ""
    is_single: ClassVar[bool] = False
    data_formats: ClassVar[tuple[AttachmentDataFormat, ...]] = (AttachmentDataFormat.Zarr3, AttachmentDataFormat.HDF5)

    name: str
    path: Path
    data_format: AttachmentDataFormat

    @classmethod
    def key(cls) -> str:
        """The kind's key in the properties file, and the name of the folder for copies."""
        return cls.type_name if cls.is_single else cls.container_name

    @classmethod
    def from_path_and_name(
        cls,
        path: str | os.PathLike[str],
        name: str,
        *,
        data_format: str | AttachmentDataFormat,
        dataset_path: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Describe an attachment that lies somewhere, for `Attachments.add_attachment_as_copy` or `_as_ref`.

        Parameters
        ----------
        path : path
            A file, a folder, or a URL. It need not exist.
        name : str
            Letters, digits, and ``_ - .``.
        data_format : AttachmentDataFormat or str
            How it is stored.
        dataset_path : path, optional
            What a relative path counts from; by default the working directory.

        Raises
        ------
        ArgumentError
            For a name or a format that the kind does not have, and on `Attachment` itself.

        Examples
        --------
        >>> MeshAttachment.from_path_and_name("/data/skin.hdf5", "skin", data_format="hdf5")
        MeshAttachment(name='skin', path=PosixPath('/data/skin.hdf5'), data_format=<AttachmentDataFormat.HDF5: 'hdf5'>)
        """
        if not cls.container_name:
            raise ArgumentError(f"{cls.__name__} is no kind of attachment; use one of its classes: MeshAttachment, ...")
        found = AttachmentDataFormat.parse(data_format)
        if found not in cls.data_formats:
            allowed = ", ".join(repr(known.value) for known in cls.data_formats)
            raise ArgumentError(f"data_format {found.value!r} is none of a {cls.__name__}; use one of {allowed}.")
        text = os.fspath(path)
        if is_remote(text):
            place = Path(text)
        else:
            place = local_path(path if dataset_path is None else listed_path(local_path(dataset_path), text))
        return cls(attachment_name(name), place, found)


class MeshAttachment(Attachment):
    """The surfaces of segments. See `Attachment`."""

    type_name = "mesh"
    container_name = "meshes"
    data_formats = (*Attachment.data_formats, AttachmentDataFormat.NeuroglancerPrecomputed)


class AgglomerateAttachment(Attachment):
    """Which segments belong together. See `Attachment`."""

    type_name = "agglomerate"
    container_name = "agglomerates"


class ConnectomeAttachment(Attachment):
    """Which agglomerates are connected by synapses. See `Attachment`."""

    type_name = "connectome"
    container_name = "connectomes"


class SegmentIndexAttachment(Attachment):
    """In which chunks a segment lies. See `Attachment`."""

    type_name = "segmentIndex"
    container_name = "segment_index"
    is_single = True


class CumsumAttachment(Attachment):
    """Where the edges of an agglomerate begin. See `Attachment`."""

    type_name = "cumsum"
    container_name = "cumsum"
    is_single = True
    data_formats = (AttachmentDataFormat.Zarr3, AttachmentDataFormat.JSON)


class SegmentStatisticsAttachment(Attachment):
    """Volumes and boxes of segments. See `Attachment`."""

    type_name = "segmentStatistics"
    container_name = "segment_statistics"
    is_single = True
    data_formats = (AttachmentDataFormat.Zarr3,)


_KINDS: tuple[type[Attachment], ...] = (
    MeshAttachment,
    AgglomerateAttachment,
    SegmentIndexAttachment,
    SegmentStatisticsAttachment,
    CumsumAttachment,
    ConnectomeAttachment,
)
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
        return not any(map(self._all, _KINDS))

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
            If it is at a URL; `add_attachment_as_ref` lists it.
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
        found: Iterable[Attachment] = (attachment for kind in _KINDS for attachment in self._all(kind))
        return f"Attachments({list(found)})"


def _checked(attachment: _Kind) -> _Kind:
    if not isinstance(attachment, Attachment) or not attachment.container_name:
        raise ArgumentError(f"{attachment!r} is no attachment; make one with MeshAttachment.from_path_and_name().")
    return attachment
