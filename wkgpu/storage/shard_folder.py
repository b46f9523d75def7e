"""A folder of shard files: what a format answers about the mags that it stores."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from wkgpu.errors import ReadOnlyError, UnsupportedError
from wkgpu.geometry.voxel_box import Triple
from wkgpu.settings import config
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces
from wkgpu.storage.plans.read_planner import ReadPlanner
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.shard_index import Extents
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stores.local.file_swap import holds_earlier_swap, journal_of
from wkgpu.storage.stores.local.links import HOW_TO_ALLOW, first_link


class ShardFolder(ABC):
    """A folder of shard files with one spec, in the format of a subclass of `StoredArray`.

    Parameters
    ----------
    identity : tuple of int
        Of the lock file that the spec was read from: what `identity_of` returns.

    Attributes
    ----------
    path : Path
        The mag's folder.
    spec : ArraySpec
        What its shards have in common. The codecs are those of new shards; those that exist may have others.
    follows_links : bool
        Whether shards are written that are links, or lie in linked folders; without it, as the settings say.
    """

    data_format: ClassVar[str]
    follows_links: bool = False

    def __init__(self, path: Path, spec: ArraySpec, identity: Identity) -> None:
        self.path = path
        self.spec = spec
        self._planner = ReadPlanner(spec.in_own_axes, spec.in_storage_order(self.ordinal_strides))
        self._identity = () if holds_earlier_swap(self.lock_file) else identity  # that one is finished first
        self._lock_path = str(self.lock_file)
        self._journal_path = str(journal_of(self.lock_file))

    @classmethod
    @abstractmethod
    def open(cls, path: Path) -> Self:
        """Open the mag in a folder."""

    @classmethod
    @abstractmethod
    def create(cls, path: Path, spec: ArraySpec) -> Self:
        """Make the folder of a mag and write its header; see `wkgpu.storage.formats.create_array`."""

    @classmethod
    @abstractmethod
    def check_spec(cls, spec: ArraySpec) -> None:
        """Raise an error for a layout that the format cannot store."""

    # ---- What a format answers

    @property
    @abstractmethod
    def lock_file(self) -> Path:
        """The file with the layout. The locks of the shards are on its bytes; it is replaced with the layout alone."""

    @abstractmethod
    def shard_path(self, shard: Triple) -> str:
        """Path of the shard ``(x, y, z)``, in shards."""

    @abstractmethod
    def is_shard(self, path: str) -> bool:
        """Whether a path relative to the mag's folder is that of a shard, whatever the shape of shards."""

    @abstractmethod
    def existing_shards(self, box: tuple[Triple, Triple] | None = None) -> list[Triple]:
        """Coordinates ``(x, y, z)``, in shards, of the files that exist, ascending by z, y, x.

        Parameters
        ----------
        box : tuple of (x, y, z), optional
            First voxel and voxels of a box; the shards that it does not touch are left out.
        """

    @abstractmethod
    def open_shard(self, shard: Triple) -> ShardFile | None:
        """Open a shard, its index checked; None where it does not exist."""

    @property
    @abstractmethod
    def ordinal_strides(self) -> Triple:
        """By which a chunk's position in its shard's index grows along x, y and z; zeros for Morton order."""

    def chunk_ordinals(self, chunks: Ints) -> Ints:
        """Positions in a shard's index of chunks ``(n, 3)``: ``(x, y, z)``, in chunks from the shard's first."""
        ordinals: Ints = chunks @ np.array(self.ordinal_strides, np.int64)
        return ordinals

    @abstractmethod
    def shard_codecs(self, shard: Triple) -> Pipeline | None:
        """How the chunks of a shard are encoded; None where it does not exist, or its header does not tell."""

    @abstractmethod
    def changes_in_place(self, codecs: Pipeline) -> bool:
        """Whether chunks of shards with these codecs are changed where they are; their numbers say where that is."""

    @abstractmethod
    def absent_chunks(self, codecs: Pipeline) -> AbsentChunks:
        """What a new shard with these codecs has where a chunk is stored nowhere."""

    @abstractmethod
    def data_offset(self, codecs: Pipeline) -> int:
        """Where chunk 0 begins in a new shard with these codecs."""

    @abstractmethod
    def shard_header_and_footer(self, codecs: Pipeline, extents: Extents) -> tuple[bytes, bytes]:
        """What comes before and after the chunks of a new shard whose chunks lie there."""

    @property
    def legacy_header(self) -> Any:
        """What `View.header` returns.

        Raises
        ------
        UnsupportedError
            If the format has no header that users of earlier versions know.
        """
        raise UnsupportedError(f"{self.path} has no header as mags of WKW have; use info.")

    # ---- What all formats share

    def is_outdated(self) -> bool:
        """Whether the mag has been rewritten since its header was read, or its files are being swapped just now."""
        if os.path.exists(self._journal_path):  # noqa: PTH110 - before the header, which is swapped last
            return True
        try:
            status = os.stat(self._lock_path)  # noqa: PTH116 - for each plan: this takes a third of Path.stat
        except OSError:
            return True
        return identity_of(status) != self._identity

    def writable_path(self, shard: Triple) -> Path:
        """Return the real path of a shard that is to be written.

        Raises
        ------
        ReadOnlyError
            If a link inside the mag leads to it, and `follows_links` is False: the file may belong to another dataset,
            and may be a shard of several mags, whose writers do not know of each other.
        """
        path = self.shard_path(shard)
        link = first_link(path, str(self.path))
        if link is None:
            return Path(path)
        if not (self.follows_links or config.foreign_writes):
            raise ReadOnlyError(
                f"{link} is a link inside a mag, so the shard {path} is only read. To change it, replace the link by a "
                f"copy of what it leads to; or {HOW_TO_ALLOW}."
            )
        return Path(os.path.realpath(path))

    @property
    def pieces(self) -> Pieces:
        """How chunks are cut for reading and writing."""
        return self.pieces_of(self.spec.codecs)

    def pieces_of(self, codecs: Pipeline) -> Pieces:
        """How the chunks of shards with these codecs are cut for reading and writing."""
        return self._planner.pieces_of(codecs)


Identity: TypeAlias = tuple[int, ...]


def identity_of(status: os.stat_result) -> Identity:
    """Return what tells a file from another one that takes its place."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
