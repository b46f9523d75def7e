"""A folder of shard files: what a format answers about the mags that it stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from wkgpu.errors import UnsupportedError
from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.codecs import Compression, Pipeline, pipeline_of
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces
from wkgpu.storage.plans.read_planner import ReadPlanner
from wkgpu.storage.shard_file import ShardFile, open_shard
from wkgpu.storage.shard_index import Extents, ShardIndex
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stores.files import Source, Version
from wkgpu.storage.stores.store import Location


class ShardFolder(ABC):
    """A folder of shard files with one spec, in the format of a subclass of `StoredArray`.

    Parameters
    ----------
    version : Version
        Of the lock file that the spec was read from.

    Attributes
    ----------
    location : Location
        The mag's folder in its store, through which all its files are reached.
    path : Path
        The folder, as users know it.
    spec : ArraySpec
        What its shards have in common. The codecs are those of new shards; those that exist may have others.
    """

    data_format: ClassVar[str]
    files_say_spec: ClassVar[bool] = False
    """Whether each file says how its chunks are stored, so that one of another spec is never read as if it had this."""

    def __init__(self, location: Location, spec: ArraySpec, version: Version) -> None:
        self.location = location
        self.path = Path(str(location))
        self.spec = spec
        strides = spec.in_storage_order(self.ordinal_strides)
        self._planner = ReadPlanner(spec.of_part.in_own_axes, strides, self.first_ordinal)
        self._prefix = f"{location.key}/" if location.key else ""
        self._lock_key = self.lock_key
        self._index_layout = self.index_layout
        is_interrupted = location.store.is_swapping(self._lock_key, also_earlier=True)
        self._version = None if is_interrupted else version  # the swap is finished first

    @classmethod
    @abstractmethod
    def open(cls, location: Location) -> Self:
        """Open the mag in a folder."""

    @classmethod
    @abstractmethod
    def create(
        cls, location: Location, spec: ArraySpec, extent: Triple | None = None, axes: Sequence[str] | None = None,
        extra_axes: Sequence[tuple[str, int]] = (),
    ) -> Self:  # fmt: skip
        """Make the folder of a mag and write its header; see `wkgpu.storage.formats.create_array`."""

    @classmethod
    def is_other_marker(cls, file: Path) -> bool:
        """Whether a file has the name that tells the format, and its folder is no mag; for formats that register so."""
        return False

    @classmethod
    @abstractmethod
    def check_spec(cls, spec: ArraySpec) -> None:
        """Raise an error for a spec that the format cannot store."""

    @classmethod
    def adapted_spec(cls, spec: ArraySpec) -> ArraySpec:
        """Return how the format stores voxels of another spec, which may be that of a mag of another format.

        It differs at most in what users do not choose: byte order, order of axes and of channels, fill value. What the
        format cannot store of all else is left to `check_spec`.
        """
        return spec

    @classmethod
    def pipeline_of(cls, compress: Compression, chunk_bytes: int) -> Pipeline:
        """Return the codecs of chunks that a ``compress`` argument asks for.

        Parameters
        ----------
        compress : bool, str or tuple of Codec
            True for what the format compresses with by default, False for raw, or a word that it knows.
        chunk_bytes : int
            Of a decoded chunk.

        Raises
        ------
        UnsupportedError, ArgumentError
            For a word that the format lacks, and for what means nothing.
        """
        return pipeline_of(compress)

    # ---- What a format answers

    @property
    @abstractmethod
    def lock_key(self) -> str:
        """Key of the file with the spec, which has the locks of the shards, and is replaced only with another spec."""

    @abstractmethod
    def shard_key(self, shard: Triple) -> str:
        """Key in the store of the shard ``(x, y, z)``, in shards."""

    @classmethod
    @abstractmethod
    def is_shard(cls, path: str) -> bool:
        """Whether a path relative to a mag's folder is that of a shard, whatever the mag's spec."""

    @abstractmethod
    def existing_shards(self, box: tuple[Triple, Triple] | None = None) -> list[Triple]:
        """Coordinates ``(x, y, z)``, in shards, of the files that exist, ascending by z, y, x.

        Parameters
        ----------
        box : tuple of (x, y, z), optional
            First voxel and voxels of a box; the shards that it does not touch are left out.
        """

    @abstractmethod
    def read_index(self, source: Source) -> ShardIndex:
        """Read and check where the chunks of an open shard lie.

        Raises
        ------
        FormatError
            Naming the file, and of a bad index the chunk.
        """

    @property
    def index_layout(self) -> Hashable:
        """What the index of a file is made of besides the file; it stays the same while this object says the same."""
        return self.spec.of_part

    @property
    @abstractmethod
    def ordinal_strides(self) -> Triple:
        """By which a chunk's position in its shard's index grows along x, y and z; zeros for Morton order."""

    @property
    def first_ordinal(self) -> int:
        """Position of the first chunk in a shard's index; not 0 where the shard has the chunks of other parts, too."""
        return 0

    def chunk_ordinals(self, chunks: Ints) -> Ints:
        """Positions in a shard's index of chunks ``(n, 3)``: ``(x, y, z)``, in chunks from the shard's first."""
        ordinals: Ints = chunks @ np.array(self.ordinal_strides, np.int64) + self.first_ordinal
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
    def extent(self) -> Triple | None:
        """Voxels ``(x, y, z)`` of the array, behind which nothing is read; None where it has no end."""
        return None

    def ensure_extent(self, end: Triple, extra_axes: Sequence[tuple[str, int]] = ()) -> None:  # noqa: B027 - see extent
        """Make the array as large as voxels up to an end ``(x, y, z)`` need, if it has an extent.

        Parameters
        ----------
        extra_axes : sequence of (str, int), optional
            Names of extra axes, and how long the array has to be along them.

        Raises
        ------
        ShapeError
            If it lacks an axis.
        """

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of all axes in the order of the files, "c", "x", "y" and "z" among them, as far as there are such."""
        return "c", "x", "y", "z"

    @property
    def extra_axes(self) -> tuple[tuple[str, int], ...]:
        """Names and lengths of the axes besides channels, x, y and z, of which `StoredArray.at` takes coordinates."""
        return ()

    def take_over(self, other: Self) -> None:  # noqa: B027 - only some formats say more than a spec
        """Say what the lock file of another mag says besides its spec, such as attributes of users."""

    @property
    def legacy_header(self) -> Any:
        """What `View.header` returns.

        Raises
        ------
        UnsupportedError
            If the format has no header that users of earlier versions know.
        """
        raise UnsupportedError(f"{self.path} has no header as mags of WKW have; use info.")

    @property
    def file_layout(self) -> Hashable:
        """What has to be equal, besides the spec, where a file of one array can be one of another array as it is."""
        return None

    @property
    def coordinates(self) -> tuple[int, ...]:
        """The coordinates along the extra axes that have been chosen; none where none have been."""
        return ()

    def zarr_array(self, mode: str) -> Any:
        """Return what the zarr package makes of the mag, opened in a mode: "r" or "r+".

        Raises
        ------
        UnsupportedError
            If the format is none of Zarr's.
        """
        raise UnsupportedError(f"{self.path} is stored as {self.data_format}, not as Zarr; use read() and write().")

    # ---- What all formats share

    def open_shard(self, shard: Triple, wait: bool = False) -> ShardFile | None:
        """Open a shard, its index checked; None where it does not exist.

        Parameters
        ----------
        wait : bool
            Whether to wait until other threads have closed files, where there are too many.
        """
        store = self.location.store
        return open_shard(store, self.shard_key(shard), self.read_index, self._index_layout, wait)

    @property
    def follows_links(self) -> bool:
        """Whether shards are written that are links, or lie in linked folders; without it, as the settings say."""
        return self.location.store.follows_links

    @follows_links.setter
    def follows_links(self, value: bool) -> None:
        self.location.store.follows_links = value

    @property
    def lock_file(self) -> Path:
        """The file with the spec, as a path."""
        return Path(self.location.store.url_of(self._lock_key))

    def shard_path(self, shard: Triple) -> str:
        """Path or URL of the shard ``(x, y, z)``, as users know it."""
        return self.location.store.url_of(self.shard_key(shard))

    def has_shard(self, shard: Triple) -> bool:
        """Whether there is a file of the shard ``(x, y, z)``, in shards."""
        return self.location.store.exists(self.shard_key(shard))

    def is_outdated(self) -> bool:
        """Whether the mag has been rewritten since its header was read, or its files are being swapped just now."""
        return self.location.store.has_changed(self._lock_key, self._version)

    def is_rewritten(self) -> bool:
        """Whether the mag has other files than when its header was read, or gets them just now.

        One that has only been made larger has not: this object then says how large it is.
        """
        return self.is_outdated()

    @property
    def pieces(self) -> Pieces:
        """How chunks are cut for reading and writing."""
        return self.pieces_of(self.spec.codecs)

    def pieces_of(self, codecs: Pipeline) -> Pieces:
        """How the chunks of shards with these codecs are cut for reading and writing."""
        return self._planner.pieces_of(codecs)
