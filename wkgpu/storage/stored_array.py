"""A stored mag, of any format: from boxes of voxels to read plans and shard writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from wkgpu.errors import FormatError, NotFoundError, ShapeError, UnsupportedError
from wkgpu.settings import config
from wkgpu.storage.access import reporting_as
from wkgpu.storage.chunk_grid import Ints, Pieces, pieces_of, touched_rows, touched_rows_in_slabs
from wkgpu.storage.layout import ArrayLayout, Triple
from wkgpu.storage.read_plan import ReadPlan, read_plans
from wkgpu.storage.shard_file import ShardFile
from wkgpu.storage.shard_write import ShardWrite


class StoredArray(ABC):
    """A folder of shard files with one layout. A file format is a subclass in a file of its own.

    Attributes
    ----------
    path : Path
        The mag's folder.
    layout : ArrayLayout
        What its shards have in common.
    """

    data_format: ClassVar[str]

    def __init__(self, path: Path, layout: ArrayLayout) -> None:
        self.path = path
        self.layout = layout

    # ---- What a format answers

    @property
    @abstractmethod
    def anchor(self) -> Path:
        """A file of the mag that is never replaced; the locks of the shards are on its bytes."""

    @abstractmethod
    def shard_path(self, shard: Triple) -> str:
        """Path of the shard ``(x, y, z)``, in shards."""

    @abstractmethod
    def existing_shards(self) -> list[Triple]:
        """Coordinates ``(x, y, z)``, in shards, of the files that exist, ascending by z, y, x."""

    @abstractmethod
    def open_shard(self, shard: Triple) -> ShardFile | None:
        """Open a shard, its index checked; None where it does not exist."""

    @abstractmethod
    def chunk_ordinals(self, chunks: Ints) -> Ints:
        """Positions in a shard's index of chunks ``(n, 3)``, in chunks from the shard's first."""

    @property
    @abstractmethod
    def data_offset(self) -> int:
        """Where chunk 0 begins in a new shard."""

    @abstractmethod
    def frame_shard(self, ends: Ints) -> tuple[bytes, bytes]:
        """What comes before and after the chunks of a new shard whose chunks end at these file offsets."""

    # ---- What all formats share

    @property
    def pieces(self) -> Pieces:
        """How chunks are cut for reading and writing."""
        return pieces_of(self.layout, config.staging_bytes)

    def read_plans(self, toplefts: Sequence[Triple], shape: Triple) -> Iterator[ReadPlan]:
        """Plan to read boxes of one shape; together the plans cover every voxel of every box once.

        Parameters
        ----------
        toplefts : sequence of (x, y, z)
            First voxels of the boxes in the mag's own grid, not negative.
        shape : tuple of int
            Voxels ``(x, y, z)`` of each box, at least 1.

        Yields
        ------
        ReadPlan
            Each has files open: use it in a ``with`` block.
        """
        pieces = self.pieces
        corners = np.array(toplefts, np.int64).reshape(-1, 3)
        rows = touched_rows_in_slabs(self.layout, pieces, corners, shape)
        return read_plans(
            self.layout, pieces, len(corners), shape, rows, self.open_shard, self.chunk_ordinals, config.coalesce_bytes
        )

    def shard_writes(self, topleft: Triple, shape: Triple) -> Iterator[ShardWrite]:
        """Yield a write for each shard that a box touches; entering one locks its shard.

        Parameters
        ----------
        topleft, shape : tuple of int
            First voxel and voxels ``(x, y, z)`` of the box in the mag's own grid.
        """
        pieces = self.pieces
        for rows in touched_rows(self.layout, pieces, np.array([topleft], np.int64), shape):
            yield ShardWrite(self, rows, pieces, shape)

    def stack_writes(self, toplefts: Sequence[Triple], shape: Triple) -> Iterator[ShardWrite]:
        """Yield a write for each shard that scattered boxes of one shape touch; each chunk of theirs is encoded anew.

        What an engine is to write is one box again: the stack of all boxes, the first one in front, along z. In Fortran
        order that is the memory of an array ``(channel, x, y, z, box)``.

        Parameters
        ----------
        toplefts : sequence of (x, y, z)
            First voxels of the boxes in the mag's own grid: distinct multiples of `shape`, so that boxes are disjoint.
        shape : tuple of int
            Voxels ``(x, y, z)`` of each box, whole chunks.

        Raises
        ------
        ShapeError
            For boxes that are cut out of chunks, or that overlap.
        """
        corners = np.array(toplefts, np.int64).reshape(-1, 3)
        if np.any(np.mod(shape, self.layout.chunk_shape)) or (corners % shape).any():
            raise ShapeError(
                f"Boxes of {shape} voxels are not whole chunks of {self.layout.chunk_shape}, or do not begin at "
                "multiples of their shape; only whole chunks can be written as a stack."
            )
        if len(np.unique(corners, axis=0)) < len(corners):
            raise ShapeError(f"One of {len(corners)} boxes comes twice; give each box that is to be written once.")
        x, y, z = shape
        pieces = self.pieces
        for rows in touched_rows(self.layout, pieces, corners, shape):
            origin = rows.origin.copy()
            origin[:, 2] += rows.box * z
            yield ShardWrite(self, rows._replace(origin=origin), pieces, (x, y, z * len(corners)))

    def shard_boxes(self) -> list[tuple[Triple, Triple]]:
        """First voxel and voxels ``(x, y, z)``, in the mag's own grid, of each shard file that exists."""
        width, height, depth = shape = self.layout.shard_shape
        return [((x * width, y * height, z * depth), shape) for x, y, z in self.existing_shards()]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {self.layout})"


def open_array(path: Path) -> StoredArray:
    """Open the mag in a folder, whatever its format.

    Raises
    ------
    NotFoundError
        Where the folder or its header does not exist.
    StorageAccessError
        Where they cannot be read.
    FormatError
        Where the header is bad.
    """
    from wkgpu.storage.wkw import WkwArray

    with reporting_as(f"Cannot open {path}"):
        if (path / "header.wkw").exists():
            return WkwArray.open(path)
        if not path.exists():
            raise NotFoundError(f"{path} does not exist; there is no mag to open.")
    if not path.is_dir():
        raise FormatError(f"{path} is a file; a mag is a folder with header.wkw and its shards.")
    raise NotFoundError(f"{path} has no header.wkw; it is not the folder of a mag that wkgpu can read.")


def create_array(path: Path, layout: ArrayLayout, data_format: str = "wkw") -> StoredArray:
    """Make the folder of a mag, which may exist if it is empty, and write its header.

    Raises
    ------
    UnsupportedError
        For a format that wkgpu does not write.
    AlreadyExistsError
        Where the folder holds something.
    ShapeError
        Where the format cannot store this layout.
    """
    from wkgpu.storage.wkw import WkwArray

    if data_format != WkwArray.data_format:
        raise UnsupportedError(f"data_format {data_format!r} cannot be written; use 'wkw'.")
    return WkwArray.create(path, layout)
