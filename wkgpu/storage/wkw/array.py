"""The WKW format: a mag is a folder with ``header.wkw`` and shards ``z{Z}/y{Y}/x{X}.wkw``.

The chunks ("blocks") of a shard lie in Morton order. Where they are compressed, a jump table of little-endian uint64
follows the shard's header: entry ``n`` is the file offset just past chunk ``n``; chunk 0 begins at the header's data
offset. Source: the WKW format description and its reference implementation's behaviour.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from wkgpu.errors import (
    HeaderError,
    NotFoundError,
    ShardIndexError,
    StorageAccessError,
)
from wkgpu.geometry.voxel_box import FARTHEST, Triple
from wkgpu.storage.codecs import Pipeline, pipeline_bound, word_of
from wkgpu.storage.numbered_entries import numbered
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.shard_index import Extents, ShardIndex, TableIndex, UniformIndex
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.files import Source, Version
from wkgpu.storage.stores.local.open_files import EXHAUSTED
from wkgpu.storage.stores.store import Location
from wkgpu.storage.wkw import morton
from wkgpu.storage.wkw.header import WkwHeader

HEADER_NAME = "header.wkw"
_SHARD = re.compile(r"z[0-9]+/y[0-9]+/x[0-9]+\.wkw")


class WkwArray(StoredArray):
    """A mag of WKW shards.

    Attributes
    ----------
    header : WkwHeader
        What ``header.wkw`` says.
    """

    data_format: ClassVar[str] = "wkw"
    files_say_spec: ClassVar[bool] = True

    def __init__(self, location: Location, header: WkwHeader, version: Version) -> None:
        super().__init__(location, header.spec, version)
        self.header = header

    @classmethod
    def open(cls, location: Location) -> WkwArray:
        """Open the mag in a folder.

        Raises
        ------
        NotFoundError, StorageAccessError, HeaderError
            Where the header does not exist, cannot be read, or is bad.
        """
        file = location / HEADER_NAME
        found = location.store.read_start(file.key, WkwHeader.SIZE)
        if found is None:
            raise NotFoundError(f"{file} does not exist; {location} is not a WKW mag.")
        data, version = found
        return cls(location, WkwHeader.parse(data, str(file)), version)

    @classmethod
    def create(
        cls, location: Location, spec: ArraySpec, extent: Triple | None = None, axes: Sequence[str] | None = None,
        extra_axes: Sequence[tuple[str, int]] = (),
    ) -> WkwArray:  # fmt: skip
        """Make the folder of a mag and write its header; see `wkgpu.storage.formats.create_array`."""
        header = WkwHeader.for_spec(spec)
        location.store.write((location / HEADER_NAME).key, header.pack())
        return cls.open(location)

    @classmethod
    def check_spec(cls, spec: ArraySpec) -> None:
        """See `StoredArray.check_spec`."""
        WkwHeader.for_spec(spec)

    @classmethod
    def adapted_spec(cls, spec: ArraySpec) -> ArraySpec:
        """Of what users do not choose, WKW has one value each."""
        dtype = spec.dtype.newbyteorder("<")
        return replace(spec.of_new_array, dtype=dtype, fill_value=0, axis_order=(0, 1, 2), channel_position=0)

    @property
    def legacy_header(self) -> WkwHeader:
        """The header of the mag as it is stored now."""
        return WkwHeader.for_spec(self.spec)

    @property
    def lock_key(self) -> str:
        """The mag's header."""
        return f"{self._prefix}{HEADER_NAME}"

    def shard_key(self, shard: Triple) -> str:
        """See `StoredArray.shard_key`."""
        return f"{self._prefix}z{shard[2]}/y{shard[1]}/x{shard[0]}.wkw"

    @classmethod
    def is_shard(cls, path: str) -> bool:
        """See `StoredArray.is_shard`."""
        return _SHARD.fullmatch(path) is not None

    def existing_shards(self, box: tuple[Triple, Triple] | None = None) -> list[Triple]:
        """See `StoredArray.existing_shards`."""
        found = []
        (left, top, front), (width, height, depth) = box or ((0, 0, 0), (FARTHEST,) * 3)
        along_x, along_y, along_z = self.spec.shard_shape
        in_x, in_y, in_z = (
            range(first // edge, -(-(first + length) // edge))
            for first, length, edge in ((left, width, along_x), (top, height, along_y), (front, depth, along_z))
        )
        for z, layer in numbered(self.location, "z", "", along_z, in_z, files=False):
            for y, row in numbered(layer, "y", "", along_y, in_y, files=False):
                found += [(x, y, z) for x, _ in numbered(row, "x", ".wkw", along_x, in_x, files=True)]
        return sorted(found, key=lambda shard: shard[::-1])

    def shard_codecs(self, shard: Triple) -> Pipeline | None:
        """See `StoredArray.shard_codecs`."""
        path = self.shard_path(shard)
        try:
            found = self.location.store.read_start(self.shard_key(shard), WkwHeader.SIZE)
            if found is None:
                return None
            header = WkwHeader.parse(found[0], path)
            self.header.check_shard(header, Path(path))
        except (StorageAccessError, HeaderError) as error:
            if isinstance(error, StorageAccessError) and error.errno in EXHAUSTED:
                raise
            return None
        return header.spec.codecs

    @property
    def ordinal_strides(self) -> Triple:
        """Zeros: chunks lie in Morton order."""
        return 0, 0, 0

    def chunk_ordinals(self, chunks: Ints) -> Ints:
        """Morton codes."""
        return morton.codes_of(chunks)

    def changes_in_place(self, codecs: Pipeline) -> bool:
        """Raw shards have no jump table."""
        return not codecs

    def absent_chunks(self, codecs: Pipeline) -> AbsentChunks:
        """WKW has all chunks of a shard."""
        return AbsentChunks.ENCODED if codecs else AbsentChunks.ZERO_BYTES

    def data_offset(self, codecs: Pipeline) -> int:
        """Where chunk 0 begins in a new shard with these codecs."""
        return self.header.in_shard(codecs).data_offset

    def shard_header_and_footer(self, codecs: Pipeline, extents: Extents) -> tuple[bytes, bytes]:
        """The header and, of a compressed shard, the jump table; nothing comes after the chunks."""
        header = self.header.in_shard(codecs).pack()
        return (header + (extents.offset + extents.nbytes).astype("<u8").tobytes() if codecs else header), b""

    def read_index(self, source: Source) -> ShardIndex:
        """Read and check the header and the jump table of an open shard.

        Raises
        ------
        HeaderError, ShardIndexError
            Naming the file, and of a bad jump table the chunk.
        """
        entries, nbytes = self.spec.chunks_in_shard, source.nbytes
        path = self.location.store.url_of(source.key)
        front = WkwHeader.SIZE + 8 * entries
        wanted = min(front if self.header.is_compressed else WkwHeader.SIZE, nbytes)  # as most shards of a mag are
        data = source.read(0, wanted)
        header = WkwHeader.parse(data, path)
        self.header.check_shard(header, Path(path))
        if not header.is_compressed:
            return self._checked_uniform(header.data_offset, nbytes, path)
        if len(data) < front:
            data = source.read(0, front)
        if len(data) < front:
            raise ShardIndexError(
                f"{path}: truncated in its jump table; {entries} chunks need {front} bytes, the file has {nbytes}."
            )
        bounds = np.empty(entries + 1, np.uint64)
        bounds[0] = header.data_offset
        bounds[1:] = np.frombuffer(data, "<u8", entries, WkwHeader.SIZE)
        return _checked_table(bounds, self.spec.chunk_bytes, nbytes, header.spec.codecs, path)

    def _checked_uniform(self, data_offset: int, nbytes: int, path: str) -> UniformIndex:
        if data_offset == WkwHeader.SIZE + 8 * self.spec.chunks_in_shard:  # then the chunks are not what it says
            raise ShardIndexError(
                f"{path}: its header says that it is raw, and its data offset, {data_offset}, leaves room for the jump "
                "table of a compressed shard. One of the two is damaged."
            )
        needed = data_offset + self.spec.chunks_in_shard * self.spec.chunk_bytes
        if data_offset < WkwHeader.SIZE or nbytes < needed:
            raise ShardIndexError(
                f"{path}: truncated; {self.spec.chunks_in_shard} raw chunks of {self.spec.chunk_bytes} bytes from "
                f"offset {data_offset} need {needed} bytes, the file has {nbytes}."
            )
        return UniformIndex(data_offset, self.spec.chunk_bytes)


def _checked_table(
    bounds: NDArray[np.uint64], chunk_bytes: int, nbytes: int, codecs: Pipeline, path: str
) -> TableIndex:
    """Check that chunks follow each other, after the jump table and inside the file, and have lengths that can be."""
    min_offset = WkwHeader.SIZE + 8 * (len(bounds) - 1)
    if not min_offset <= bounds[0] <= nbytes:
        raise ShardIndexError(
            f"{path}: data offset {bounds[0]} does not lie between the jump table's end, {min_offset}, and the file's, "
            f"{nbytes}."
        )
    increases = bounds[1:] > bounds[:-1]  # no differences: damaged entries can be too large for them
    if not increases.all():
        chunk = int(increases.argmin())
        raise ShardIndexError(
            f"{path}: jump table is not strictly increasing at chunk {chunk}, which would go from {bounds[chunk]} to "
            f"{bounds[chunk + 1]}."
        )
    if bounds[-1] > nbytes:
        chunk = int(np.searchsorted(bounds[1:], np.uint64(nbytes), side="right"))
        raise ShardIndexError(
            f"{path}: jump table points outside the file; chunk {chunk} would end at {bounds[chunk + 1]}, the file has "
            f"{nbytes} bytes. It is truncated."
        )
    offsets = bounds.view(np.int64)
    lengths = offsets[1:] - offsets[:-1]
    bound = pipeline_bound(codecs, chunk_bytes)
    if lengths.max() > bound:  # a damaged entry must not decide how much memory is taken
        chunk = int(lengths.argmax())
        raise ShardIndexError(
            f"{path}: jump table gives chunk {chunk} {lengths[chunk]} bytes; of {chunk_bytes} bytes "
            f"{word_of(codecs).upper()} makes at most {bound}."
        )
    return TableIndex(offsets[:-1], offsets[1:], codecs)
