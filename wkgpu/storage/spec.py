"""What all the shards of one mag have in common, whatever their file format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

from wkgpu.errors import DtypeError, ShapeError
from wkgpu.geometry.voxel_box import Triple

Codec: TypeAlias = Literal["raw", "lz4", "lz4hc"]


@dataclass(frozen=True)
class ArraySpec:
    """Voxel type, shapes and codec of a stored mag.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of one channel of one voxel: an unsigned or signed integer of 8 to 64 bits, float32 or float64.
    num_channels : int
        Channels of a voxel, stored next to each other.
    chunk_shape : tuple of int
        ``(x, y, z)`` voxels, in the mag's own grid, that are encoded at once.
    chunks_per_shard : tuple of int
        ``(x, y, z)`` chunks in one file.
    codec : {"raw", "lz4", "lz4hc"}
        How the bytes of a chunk are encoded in a new shard. A shard that exists may have another codec.

    Examples
    --------
    >>> layout = ArraySpec(np.dtype("uint8"), 1, (32, 32, 32), (32, 32, 32), "lz4")
    >>> layout.shard_shape, layout.chunk_bytes
    ((1024, 1024, 1024), 32768)
    """

    dtype: np.dtype[np.generic]
    num_channels: int
    chunk_shape: Triple
    chunks_per_shard: Triple
    codec: Codec

    def __post_init__(self) -> None:
        if self.num_channels < 1:
            raise ShapeError(f"num_channels is {self.num_channels}; a mag has at least 1 channel.")
        for name in ("chunk_shape", "chunks_per_shard"):
            shape = getattr(self, name)
            if len(shape) != 3 or min(shape) < 1:
                raise ShapeError(f"{name} is {shape}; give three lengths (x, y, z) of at least 1.")

    @cached_property
    def shard_shape(self) -> Triple:
        """``(x, y, z)`` voxels of the mag's own grid in one file."""
        cx, cy, cz = self.chunk_shape
        nx, ny, nz = self.chunks_per_shard
        return cx * nx, cy * ny, cz * nz

    @cached_property
    def chunks_in_shard(self) -> int:
        """How many chunks one file holds."""
        return prod(self.chunks_per_shard)

    @cached_property
    def voxel_bytes(self) -> int:
        """Bytes of one voxel, all its channels together."""
        return self.dtype.itemsize * self.num_channels

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of one decoded chunk."""
        return prod(self.chunk_shape) * self.voxel_bytes

    def encoded_as(self, codec: Codec) -> ArraySpec:
        """Return this layout with another codec."""
        return self if codec == self.codec else replace(self, codec=codec)


def voxel_dtype(dtype: DTypeLike) -> np.dtype[np.generic]:
    """Check that voxels can have this dtype, and return it in the byte order of this machine.

    Raises
    ------
    DtypeError
        For everything but integers of 8 to 64 bits, float32 and float64.

    Examples
    --------
    >>> voxel_dtype(">u2")
    dtype('uint16')
    """
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise DtypeError(f"dtype {dtype!r} is not a NumPy dtype; use for example 'uint8' or 'uint32'.") from error
    if found.kind not in "iuf" or found.itemsize > 8 or found == np.float16:
        raise DtypeError(
            f"dtype {found.name} cannot be stored; use uint8 to uint64, int8 to int64, float32 or float64."
        )
    return found.newbyteorder("=")
