"""The Zarr 3 format: a mag is a folder with ``zarr.json`` and files of chunks, or of shards of chunks.

Source: the Zarr 3 specification, https://zarr-specs.readthedocs.io.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import zarr

from wkgpu.errors import (
    NotFoundError,
    OutdatedFileError,
    ShapeError,
    ShardIndexError,
    UnsupportedError,
    WkgpuError,
)
from wkgpu.forking import cached_property
from wkgpu.geometry.voxel_box import FARTHEST, Triple, triple
from wkgpu.storage.codecs import Compression, Pipeline, word_of
from wkgpu.storage.shard_index import Extents, ShardIndex, UniformIndex
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stored_array import ArrayPart, StoredArray
from wkgpu.storage.stores.files import Source, Version
from wkgpu.storage.stores.local.regular_file import read_regular
from wkgpu.storage.stores.store import Location
from wkgpu.storage.zarr3 import chunk_keys
from wkgpu.storage.zarr3.compression import zarr_pipeline
from wkgpu.storage.zarr3.metadata import MAX_BYTES, ZarrMetadata, new_metadata, with_further_keys
from wkgpu.storage.zarr3.shard_table import max_encoded_bytes

METADATA_NAME = "zarr.json"
_MAX_GROWTHS = 32
_USUAL_AXES = ("c", "x", "y", "z")


class Zarr3Array(StoredArray):
    """A mag that is a Zarr 3 array.

    Parameters
    ----------
    metadata : ZarrMetadata
        What ``zarr.json`` says.
    coordinates : tuple of int, optional
        One along each axis besides channels, x, y and z; not needed where these have a length of 1.
    group : int, optional
        Where the channels lie in several chunks, the chunks that this is the part of.
    """

    data_format: ClassVar[str] = "zarr3"

    def __init__(
        self, location: Location, metadata: ZarrMetadata, version: Version, coordinates: tuple[int, ...] | None = None,
        group: int | None = None,
    ) -> None:  # fmt: skip
        self.metadata = metadata
        self._found_version = version
        self._extent = metadata.extent
        if coordinates is None and all(length == 1 for _, length in self.extra_axes):
            coordinates = (0,) * len(self.extra_axes)
        self._coordinates = coordinates
        self._group = group
        spec = metadata.spec
        super().__init__(location, spec if group is None else spec.of_part, version)

    @classmethod
    def open(cls, location: Location) -> Self:
        """Open the mag in a folder.

        Raises
        ------
        NotFoundError, StorageAccessError, HeaderError, UnsupportedError
            Where ``zarr.json`` does not exist, cannot be read, is bad, or is that of a group or of an array that is
            not read.
        """
        file = location / METADATA_NAME
        found = location.store.read(file.key, MAX_BYTES)
        if found is None:
            raise NotFoundError(f"{file} does not exist; {location} is not a Zarr 3 array.")
        data, version = found
        return cls(location, ZarrMetadata.parse(data, str(file)), version)

    @classmethod
    def create(
        cls, location: Location, spec: ArraySpec, extent: Triple | None = None, axes: Sequence[str] | None = None,
        extra_axes: Sequence[tuple[str, int]] = (),
    ) -> Self:  # fmt: skip
        """Make the folder of a mag and write its metadata; see `wkgpu.storage.formats.create_array`.

        All channels of a voxel get into one chunk, and nothing else, whatever the spec says.
        """
        metadata = new_metadata(spec, extent or spec.shard_shape, axes or _USUAL_AXES, extra_axes)
        location.store.write((location / METADATA_NAME).key, metadata)
        return cls.open(location)

    @classmethod
    def is_other_marker(cls, file: Path) -> bool:
        """Whether a ``zarr.json`` is that of a group."""
        try:
            said = json.loads(read_regular(file, MAX_BYTES))
        except (OSError, ValueError, RecursionError):  # opening it says what is wrong
            return False
        return isinstance(said, dict) and said.get("node_type") == "group"

    @classmethod
    def check_spec(cls, spec: ArraySpec) -> None:
        """See `StoredArray.check_spec`."""
        new_metadata(spec, spec.shard_shape)

    @classmethod
    def pipeline_of(cls, compress: Compression, chunk_bytes: int) -> Pipeline:
        """See `StoredArray.pipeline_of`."""
        return zarr_pipeline(compress, chunk_bytes)

    # ---- Axes besides x, y and z

    @property
    def extent(self) -> Triple:
        """See `StoredArray.extent`."""
        return self._extent

    @property
    def axes(self) -> tuple[str, ...]:
        """See `StoredArray.axes`."""
        axes = self.metadata.axes
        known = {at: name for name, at in zip("xyzc", (*axes.space, axes.channel), strict=True) if at is not None}
        return tuple(known.get(at, name) for at, name in enumerate(axes.names))

    @property
    def extra_axes(self) -> tuple[tuple[str, int], ...]:
        """See `StoredArray.extra_axes`."""
        axes = self.metadata.axes
        return tuple((axes.names[axis], self.metadata.shape[axis]) for axis in axes.extra)

    @property
    def coordinates(self) -> tuple[int, ...]:
        """See `StoredArray.coordinates`."""
        return self._coordinates or ()

    def at(self, coordinates: tuple[int, ...]) -> Self:
        """See `StoredArray.at`."""
        axes = self.extra_axes
        if len(coordinates) != len(axes) or any(
            not 0 <= coordinate < length for coordinate, (_, length) in zip(coordinates, axes, strict=False)
        ):
            raise ShapeError(f"{self.path} has the axes {dict(axes)} besides channels, x, y and z, not {coordinates}.")
        return self if coordinates == self._coordinates else self._selected(coordinates, self._group)

    def _selected(self, coordinates: tuple[int, ...] | None, group: int | None) -> Self:
        return type(self)(self.location, self.metadata, self._found_version, coordinates, group)

    def _opened_again(self) -> Self:
        return type(self).open(self.location)._selected(self._coordinates, self._group)

    def is_rewritten(self) -> bool:
        """See `StoredArray.is_rewritten`."""
        for _ in range(_MAX_GROWTHS):
            if not self.is_outdated():
                return False
            try:
                fresh = self._opened_again()
            except WkgpuError:
                return True
            if fresh._version is None or fresh._files != self._files:
                return True
            self.__dict__ = fresh.__dict__
        return True

    @property
    def _files(self) -> Hashable:
        """What says which files there are and how they are read, for any extent."""
        metadata = self.metadata
        shapes = metadata.shard_shape, metadata.chunk_shape
        return self.spec, metadata.table, self.axes, metadata.order, shapes, metadata.keys

    @cached_property
    def parts(self) -> tuple[ArrayPart, ...]:
        """See `StoredArray.parts`.

        Raises
        ------
        UnsupportedError
            If the array has several coordinates along an extra axis, and none has been chosen.
        """
        if self._coordinates is None:
            raise UnsupportedError(
                f"{self.path} has the axes {dict(self.extra_axes)} besides channels, x, y and z; choose a "
                "coordinate along each."
            )
        if self._group is not None or self.spec.channels_per_chunk is None:
            return (ArrayPart(self, slice(None), slice(None)),)
        axis, metadata = self.metadata.axes.channel, self.metadata
        at_once = 1 if axis is None else metadata.chunk_shape[axis]
        channels, count = self.spec.num_channels, -(-self.spec.num_channels // at_once)
        return tuple(
            ArrayPart(
                self._selected(self._coordinates, group),
                slice(group * at_once, min((group + 1) * at_once, channels)),
                metadata.channels_in_chunk(min(at_once, channels - group * at_once), self._coordinate),
                all(min(metadata.chunk_shape[extra], metadata.shape[extra]) == 1 for extra in metadata.axes.extra),
            )
            for group in range(count)
        )

    def _coordinate(self, axis: int) -> int:
        """Return the first coordinate of this part along an axis besides x, y and z."""
        axes = self.metadata.axes
        if axis == axes.channel:
            return (self._group or 0) * self.metadata.chunk_shape[axis]
        return 0 if self._coordinates is None else self._coordinates[axes.extra.index(axis)]

    def zarr_array(self, mode: str) -> Any:
        """See `StoredArray.zarr_array`."""
        return zarr.open_array(self.path, mode=mode, zarr_format=3)

    # ---- Files

    @property
    def lock_key(self) -> str:
        """The mag's metadata."""
        return f"{self._prefix}{METADATA_NAME}"

    def shard_key(self, shard: Triple) -> str:
        """See `StoredArray.shard_key`."""
        before, axes = self._keys
        return before % tuple([shard[axis] for axis in axes])

    @cached_property
    def _keys(self) -> tuple[str, tuple[int, ...]]:
        """Keys of shards as a template: what is printed into it are numbers along these axes of ``(x, y, z)``."""
        metadata = self.metadata
        numbers: list[int | str] = [0] * len(metadata.shape)
        for axis in metadata.axes.others:
            numbers[axis] = self._coordinate(axis) // metadata.shard_shape[axis]
        space = {axis: number for number, axis in enumerate(metadata.axes.space) if axis is not None}
        for axis in space:
            numbers[axis] = "%d"
        return self._prefix.replace("%", "%%") + metadata.keys.key(numbers), tuple(
            space[axis] for axis in sorted(space)
        )

    def has_shard(self, shard: Triple) -> bool:
        """See `StoredArray.has_shard`; of an array of several parts, whether one of them has it."""
        if self._coordinates is None or len(self.parts) == 1:
            return super().has_shard(shard)
        return any(part.array.has_shard(shard) for part in self.parts)

    @classmethod
    def is_shard(cls, path: str) -> bool:
        """See `StoredArray.is_shard`."""
        return chunk_keys.is_key(path)

    def existing_shards(self, box: tuple[Triple, Triple] | None = None) -> list[Triple]:
        """See `StoredArray.existing_shards`; those of all parts and of all coordinates that have not been chosen."""
        metadata = self.metadata
        topleft, shape = box or ((0, 0, 0), (FARTHEST,) * 3)
        wanted = [range(1) for _ in metadata.shape]
        for axis, low, length in zip(metadata.axes.space, topleft, shape, strict=True):
            if axis is not None:
                edge = metadata.shard_shape[axis]
                wanted[axis] = range(low // edge, min(-(-(low + length) // edge), -(-metadata.shape[axis] // edge)))
        for axis in metadata.axes.others:
            wanted[axis] = self._shards_along(axis)
        found = metadata.keys.existing(self.location, wanted, metadata.shard_shape)
        shards = {triple(0 if axis is None else chunk[axis] for axis in metadata.axes.space) for chunk in found}
        return sorted(shards, key=lambda shard: shard[::-1])

    def _shards_along(self, axis: int) -> range:
        """Return the shards along an axis besides x, y and z that belong to this array."""
        is_chosen = self._coordinates is not None if axis != self.metadata.axes.channel else self._group is not None
        edge = self.metadata.shard_shape[axis]
        if is_chosen:
            number = self._coordinate(axis) // edge
            return range(number, number + 1)
        return range(-(-self.metadata.shape[axis] // edge))

    @property
    def file_layout(self) -> Hashable:
        """See `StoredArray.file_layout`."""
        metadata = self.metadata
        order = tuple(self.axes[axis] for axis in metadata.order)
        return metadata.table, order, self.ordinal_strides, self.first_ordinal, self.extra_axes

    def shard_codecs(self, shard: Triple) -> Pipeline | None:
        """See `StoredArray.shard_codecs`; all files of an array have the same."""
        return self.spec.codecs if self.has_shard(shard) else None

    def pipelines(self) -> set[Pipeline]:
        """See `StoredArray.pipelines`."""
        return {self.spec.codecs}

    @property
    def index_layout(self) -> Hashable:
        """See `StoredArray.index_layout`."""
        return self.metadata.table, self.spec.of_part

    def read_index(self, source: Source) -> ShardIndex:
        """Read and check the index of a shard, or of a file that is a chunk.

        Raises
        ------
        ShardIndexError
            Naming the file, and of a bad index the chunk.
        """
        metadata, spec = self.metadata, self.spec.of_part
        path = self.location.store.url_of(source.key)
        if metadata.table is not None:
            return metadata.table.read(source, path, spec.chunks_in_shard, spec.chunk_bytes, spec.codecs)
        limit = max_encoded_bytes(spec.codecs, spec.chunk_bytes)
        if not 0 < source.nbytes <= limit or not (spec.codecs or source.nbytes == limit):
            raise ShardIndexError(
                f"{path}: a chunk of {spec.chunk_bytes} bytes, stored as {word_of(spec.codecs)}, cannot have the "
                f"{source.nbytes} bytes of this file. It is damaged or truncated."
            )
        return UniformIndex(0, source.nbytes, spec.codecs, 1)

    # ---- Chunks in a shard

    @property
    def ordinal_strides(self) -> Triple:
        """Chunks lie in the index in C order."""
        return triple(1 if axis is None else self.metadata.ordinal_stride(axis) for axis in self.metadata.axes.space)

    @property
    def first_ordinal(self) -> int:
        """See `StoredArray.first_ordinal`."""
        metadata, first = self.metadata, 0
        for axis in metadata.axes.others:
            chunk = self._coordinate(axis) % metadata.shard_shape[axis] // metadata.chunk_shape[axis]
            first += chunk * metadata.ordinal_stride(axis)
        return first

    # ---- Writing

    def changes_in_place(self, codecs: Pipeline) -> bool:
        """Readers expect files that do not change."""
        return False

    def absent_chunks(self, codecs: Pipeline) -> AbsentChunks:
        """Chunks that hold nothing but the fill value are left out."""
        return AbsentChunks.OMITTED

    def data_offset(self, codecs: Pipeline) -> int:
        """Behind the index, where it lies at the start."""
        table = self.metadata.table
        return table.nbytes(self.spec.chunks_in_shard) if table is not None and table.location == "start" else 0

    def shard_header_and_footer(self, codecs: Pipeline, extents: Extents) -> tuple[bytes, bytes]:
        """The index, on one side or the other."""
        table = self.metadata.table
        if table is None:
            return b"", b""
        index = table.pack(extents)
        return (index, b"") if table.location == "start" else (b"", index)

    def take_over(self, other: Self) -> None:
        """See `StoredArray.take_over`: attributes and keys that wkgpu does not know."""
        own, theirs = (array.location.store.read(array.lock_key, MAX_BYTES) for array in (self, other))
        if own is not None and theirs is not None:
            self.location.store.write(self.lock_key, self._checked_metadata(with_further_keys(own[0], theirs[0])))

    def _checked_metadata(self, data: bytes) -> bytes:
        """Return a new ``zarr.json``, if it is not too long to be read again."""
        if len(data) > MAX_BYTES:
            raise UnsupportedError(
                f"{self.lock_file} would get {len(data)} bytes, and no more than {MAX_BYTES} are read; shorten its "
                "attributes."
            )
        return data

    def ensure_extent(self, end: Triple, extra_axes: Sequence[tuple[str, int]] = ()) -> None:
        """Make the array larger, if voxels up to an end lie beyond it; writers of all shards are waited for."""
        store = self.location.store
        for _ in range(_MAX_GROWTHS):
            if self.current().metadata.has_room(end, extra_axes, self.path):
                return
            with store.all_locks(self._lock_key):
                found = store.read(self._lock_key, MAX_BYTES)
                if found is None or store.is_swapping(self._lock_key):
                    continue
                data, version = found  # which may be larger by now
                resized = ZarrMetadata.parse(data, str(self.lock_file)).resized(data, end, extra_axes)
                try:
                    store.write(self._lock_key, self._checked_metadata(resized), replacing=version, is_locked=True)
                except OutdatedFileError:  # by a program that takes no locks
                    continue
        raise self._restless()
