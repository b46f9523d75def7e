"""A read as data: which bytes of which files to fetch, and where each decoded chunk goes."""

from __future__ import annotations

from math import prod
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from wkgpu.geometry.voxel_box import Triple
from wkgpu.kernels import planning as layout
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces
from wkgpu.storage.shard_file import FileKey
from wkgpu.storage.spec import ArraySpec


class PlanTable:
    """Columns of int64 as the rows of one array, so that compiled code takes them at once.

    Attributes
    ----------
    columns : int64 (columns, n)
        In C order; which is which is said in `wkgpu.kernels.planning`.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Ints) -> None:
        self.columns = columns

    @classmethod
    def of(cls, *columns: ArrayLike) -> Self:
        """Put a table together of its columns, in their order; an array ``(n, 3)`` gives three."""
        return cls(np.concatenate([np.atleast_2d(np.asarray(column, np.int64).T) for column in columns]))

    def __len__(self) -> int:
        return len(self.columns[0])


class _Column:
    """Numbers ``(n,)`` of a table."""

    def __init__(self, column: int) -> None:
        self._column = column

    def __get__(self, table: PlanTable, kind: type[PlanTable]) -> Ints:
        numbers: Ints = table.columns[self._column]
        return numbers


class _Vectors(_Column):
    """Vectors ``(n, 3)`` of a table."""

    def __get__(self, table: PlanTable, kind: type[PlanTable]) -> Ints:
        return table.columns[self._column : self._column + 3].T


class Segments(PlanTable):
    """Byte ranges to fetch, one request each, ascending in the staging space."""

    __slots__ = ()
    file = _Column(layout.FILE)
    """Position in the plan's files."""
    offset = _Column(layout.OFFSET)
    """Where the range begins in the file."""
    nbytes = _Column(layout.NBYTES)
    staging_offset = _Column(layout.STAGING_OFFSET)
    """Where its first byte goes in the staging space."""


class Chunks(PlanTable):
    """Encoded chunks (of raw ones: pieces) in the staging space, ascending."""

    __slots__ = ()
    staging_offset = _Column(layout.CHUNK_STAGING_OFFSET)
    """Where the chunk begins in the staging space."""
    nbytes = _Column(layout.CHUNK_NBYTES)
    """Its encoded bytes."""
    codec = _Column(layout.CHUNK_CODEC)
    """Which of the plan's pipelines encodes it."""
    box = _Column(layout.CHUNK_BOX)
    """Which of the plan's boxes it is for."""
    origin = _Vectors(layout.CHUNK_ORIGIN)
    """Its first voxel in that box; negative where the chunk begins before the box."""
    placement_order = _Column(layout.PLACEMENT_ORDER)
    """The rows of this table by shard, box, z, y, x: x-neighbours of a shard follow each other."""


class MissingChunks(PlanTable):
    """Chunks that are stored nowhere and read as the fill value, by shard, box, z, y, x."""

    __slots__ = ()
    box = _Column(layout.MISSING_BOX)
    """Which box."""
    origin = _Vectors(layout.MISSING_ORIGIN)
    """First voxel in that box."""


class ReadPlan(NamedTuple):
    """Tables that an engine executes, in any cut: *fetch* segments, *decode* chunks, *place* them in the boxes.

    The *staging space* is an address space, not memory: the wanted bytes of all the files, consecutively. An engine
    takes chunks in order, as many as it likes at a time, and fetches what the segments say of their addresses.

    A plan is data, and holds no file open: beside it come its `Sources`.
    """

    spec: ArraySpec
    """Of the mag, in its own axes: see `ArraySpec.in_own_axes`."""
    pieces: Pieces
    shape: Triple
    """Voxels of each box, along the fastest axis of a chunk first; so are all coordinates of the plan."""
    boxes: int
    files: tuple[FileKey, ...]
    pipelines: tuple[Pipeline, ...]
    """What encodes the chunks of the files, each once."""
    segments: Segments
    chunks: Chunks
    missing: MissingChunks
    nbytes_staged: int
    """Bytes that are fetched in all."""
    max_chunk_nbytes: int
    """Bytes of the largest encoded chunk: no staging buffer can be smaller."""

    @property
    def nbytes_decoded(self) -> int:
        """Bytes that the chunks decode to in all."""
        return len(self.chunks) * self.pieces.nbytes

    def locate(self, row: int) -> tuple[str, int]:
        """Return the path of the file that the chunk in a row comes from, and its offset there."""
        place, segments = self.chunks.staging_offset[row], self.segments
        segment = int(np.searchsorted(segments.staging_offset, place, side="right")) - 1
        file, offset, _, staging_offset = segments.columns[:, segment].tolist()
        return self.files[file].path, int(place) - staging_offset + offset

    def file_encoded_by(self, pipeline: int) -> str:
        """Return the path of a file whose chunks one of the plan's pipelines encodes; all paths, if none is wanted."""
        (rows,) = (self.chunks.codec == pipeline).nonzero()
        return self.locate(int(rows[0]))[0] if len(rows) else ", ".join(file.path for file in self.files)

    def describe(self, row: int) -> str:
        """Name the file of the chunk in a row, and where the chunk lies there and in its box, for messages."""
        path, offset = self.locate(row)
        voxel = tuple(self.chunks.origin[row].tolist())
        box = f"box {self.chunks.box[row]}" if self.boxes > 1 else "the box"
        return f"{path}: the chunk at voxel {voxel} of {box}, at file offset {offset},"

    def __str__(self) -> str:
        return (
            f"{self.boxes} x {self.shape} voxels from {len(self.files)} files: {len(self.chunks)} chunks in "
            f"{len(self.segments)} segments of {self.nbytes_staged} bytes, {len(self.missing)} missing"
        )


def nbytes_box(spec: ArraySpec, shape: Triple) -> int:
    """Bytes of a decoded box of ``(x, y, z)`` voxels."""
    return prod(shape) * spec.voxel_bytes
