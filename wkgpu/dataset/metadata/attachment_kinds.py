"""The kinds of files that belong to a segmentation, and in which formats each may be."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self

from wkgpu.enum_members import member_of
from wkgpu.errors import ArgumentError
from wkgpu.storage.stores.local.paths import is_remote, listed_path, local_path

_ATTACHMENT_NAME = re.compile(r"[A-Za-z0-9_.-]+")


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


KINDS: tuple[type[Attachment], ...] = (
    MeshAttachment,
    AgglomerateAttachment,
    SegmentIndexAttachment,
    SegmentStatisticsAttachment,
    CumsumAttachment,
    ConnectomeAttachment,
)


def attachment_name(name: Any) -> str:
    """Return the name of an attachment, or raise an `ArgumentError` if it cannot be one."""
    if not isinstance(name, str) or not _ATTACHMENT_NAME.fullmatch(name) or set(name) == {"."}:
        raise ArgumentError(f"An attachment cannot have the name {name!r}; take letters (a-z, A-Z), digits and _ - .")
    return name
