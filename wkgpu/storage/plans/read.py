"""A read as data: which bytes of which files to fetch, and where each decoded chunk goes."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints, Pieces
from wkgpu.storage.shard_file import FileKey
from wkgpu.storage.spec import ArraySpec


class Segments(NamedTuple):
    """Byte ranges to fetch, one request each, ascending in the staging space. All int64 (n,)."""

    file: Ints
    """Position in the plan's files."""
    offset: Ints
    """Where the range begins in the file."""
    nbytes: Ints
    staging_offset: Ints
    """Where its first byte goes in the staging space."""


class Chunks(NamedTuple):
    """Encoded chunks (of raw ones: pieces) in the staging space, ascending. All int64."""

    staging_offset: Ints
    """(n,) Where the chunk begins in the staging space."""
    nbytes: Ints
    """(n,) Its encoded bytes."""
    box: Ints
    """(n,) Which of the plan's boxes it is for."""
    codec: Ints
    """(n,) Which of the plan's pipelines encodes it."""
    origin: Ints
    """(n, 3) Its first voxel in that box; negative where the chunk begins before the box."""
    placement_order: Ints
    """(n,) The rows of this table by shard, box, z, y, x: x-neighbours of a shard follow each other."""


class MissingChunks(NamedTuple):
    """Chunks that are stored nowhere and read as the fill value, by shard, box, z, y, x. All int64."""

    box: Ints
    """(n,) Which box."""
    origin: Ints
    """(n, 3) First voxel in that box."""


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
        return len(self.chunks.box) * self.pieces.nbytes

    def locate(self, row: int) -> tuple[str, int]:
        """Return the path of the file that the chunk in a row comes from, and its offset there."""
        place, (file, offset, _, staging_offset) = self.chunks.staging_offset[row], self.segments
        segment = int(np.searchsorted(staging_offset, place, side="right")) - 1
        return self.files[int(file[segment])].path, int(place - staging_offset[segment] + offset[segment])

    def file_encoded_by(self, pipeline: int) -> str:
        """Return the path of a file whose chunks one of the plan's pipelines encodes."""
        return self.locate(int((self.chunks.codec == pipeline).argmax()))[0]

    def describe(self, row: int) -> str:
        """Name the file of the chunk in a row, and where the chunk lies there and in its box, for messages."""
        path, offset = self.locate(row)
        voxel = tuple(self.chunks.origin[row].tolist())
        box = f"box {self.chunks.box[row]}" if self.boxes > 1 else "the box"
        return f"{path}: the chunk at voxel {voxel} of {box}, at file offset {offset},"

    def __str__(self) -> str:
        return (
            f"{self.boxes} x {self.shape} voxels from {len(self.files)} files: {len(self.chunks.box)} chunks in "
            f"{len(self.segments.file)} segments of {self.nbytes_staged} bytes, {len(self.missing.box)} missing"
        )


def nbytes_box(spec: ArraySpec, shape: Triple) -> int:
    """Bytes of a decoded box of ``(x, y, z)`` voxels."""
    return prod(shape) * spec.voxel_bytes
