"""What all the shards of one mag have in common, whatever their file format: each fact by its own name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

from wkgpu.errors import DtypeError, ShapeError
from wkgpu.forking import cached_property
from wkgpu.geometry.voxel_box import Triple, triple
from wkgpu.storage.codecs import Pipeline, word_of

Number: TypeAlias = bool | int | float | complex

_XYZ: Triple = (0, 1, 2)


class AbsentChunks(Enum):
    """What a new file has where a chunk is stored nowhere; a fact of a file, which its format tells."""

    ZERO_BYTES = "as many zero bytes as a chunk has"
    ENCODED = "an encoded chunk of the fill value"
    OMITTED = "nothing; its index says so"


@dataclass(frozen=True)
class ArraySpec:
    """Voxel type, shapes and codecs of a stored mag: what an engine may assume of it.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of one channel of one voxel, of 1, 2, 4 or 8 bytes, in the byte order in which it is stored.
    num_channels : int
        Channels of a voxel.
    chunk_shape : tuple of int
        ``(x, y, z)`` voxels, in the mag's own grid, that are encoded at once.
    chunks_per_shard : tuple of int
        ``(x, y, z)`` chunks in one file.
    codecs : tuple of Codec
        What encodes the bytes of a chunk in a new shard, one after another; none of them where chunks are stored as
        they are. A shard that exists may have others.
    fill_value : number
        Each channel of voxels that are stored nowhere.
    axis_order : tuple of int
        The axes of a chunk from the fastest to the slowest, as numbers of ``(x, y, z)``: ``(0, 1, 2)`` is Fortran
        order, ``(2, 1, 0)`` is C order.
    channel_position : int
        How many axes of a chunk are faster than that of its channels: 0 where the channels of a voxel are neighbours, 3
        where one channel follows another.
    channels_per_chunk : int, optional
        Where the channels of a voxel lie in several chunks: how many are in one. The last chunk may have more than
        there are. Such an array is read and written by its parts, each of which has the chunks of some channels.
    parts_per_shard : int
        Of how many parts the chunks are in one file, as of channels that lie in several chunks.

    Examples
    --------
    >>> from wkgpu.storage.codecs import LZ4
    >>> spec = ArraySpec(np.dtype("uint8"), 1, (32, 32, 32), (32, 32, 32), (LZ4,))
    >>> spec.shard_shape, spec.chunk_bytes
    ((1024, 1024, 1024), 32768)
    """

    dtype: np.dtype[np.generic]
    num_channels: int
    chunk_shape: Triple
    chunks_per_shard: Triple
    codecs: Pipeline
    fill_value: Number = field(default=0, compare=False)  # by its bytes: NaN differs from itself, and -0.0 not from 0
    axis_order: Triple = _XYZ
    channel_position: int = 0
    channels_per_chunk: int | None = None
    parts_per_shard: int = 1
    fill_bytes: bytes = field(init=False, repr=False)
    """One channel of the fill value, as it is stored."""

    def __post_init__(self) -> None:
        if self.dtype.kind not in "biufc" or self.dtype.itemsize not in (1, 2, 4, 8):
            raise DtypeError(f"dtype {self.dtype.name} cannot be stored; use a number of 1, 2, 4 or 8 bytes.")
        if self.num_channels < 1:
            raise ShapeError(f"num_channels is {self.num_channels}; a mag has at least 1 channel.")
        for name in ("chunk_shape", "chunks_per_shard"):
            shape = getattr(self, name)
            if len(shape) != 3 or min(shape) < 1:
                raise ShapeError(f"{name} is {shape}; give three lengths (x, y, z) of at least 1.")
        if sorted(self.axis_order) != [0, 1, 2]:
            raise ShapeError(f"axis_order is {self.axis_order}; give 0, 1 and 2 in some order.")
        if self.channel_position not in range(4):
            raise ShapeError(f"channel_position is {self.channel_position}; give 0 to 3.")
        if min(self.channels_per_chunk or 1, self.parts_per_shard) < 1:
            raise ShapeError("channels_per_chunk and parts_per_shard are at least 1.")
        object.__setattr__(self, "fill_bytes", _item_bytes(self.fill_value, self.dtype))

    @cached_property
    def memory_dtype(self) -> np.dtype[np.generic]:
        """The type of one channel in arrays: `dtype` in the byte order of this machine."""
        return self.dtype.newbyteorder("=")

    @cached_property
    def has_zero_fill(self) -> bool:
        """Whether voxels that are stored nowhere are zero in all bits."""
        return not any(self.fill_bytes)

    @cached_property
    def memory_fill_bytes(self) -> bytes:
        """One channel of the fill value in arrays: equal where mags of any byte order have equal fill values."""
        return np.frombuffer(self.fill_bytes, self.dtype).astype(self.memory_dtype).tobytes()

    @cached_property
    def shard_shape(self) -> Triple:
        """``(x, y, z)`` voxels of the mag's own grid in one file."""
        cx, cy, cz = self.chunk_shape
        nx, ny, nz = self.chunks_per_shard
        return cx * nx, cy * ny, cz * nz

    @cached_property
    def chunks_in_shard(self) -> int:
        """How many chunks one file holds."""
        return prod(self.chunks_per_shard) * self.parts_per_shard

    @cached_property
    def voxel_bytes(self) -> int:
        """Bytes of one voxel, all its channels together."""
        return self.dtype.itemsize * self.num_channels

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of one decoded chunk."""
        return prod(self.chunk_shape) * self.dtype.itemsize * (self.channels_per_chunk or self.num_channels)

    @cached_property
    def are_channels_neighbours(self) -> bool:
        """Whether the channels of a voxel are neighbours in a chunk, or there is only one in it."""
        return self.channel_position == 0 or (self.channels_per_chunk or self.num_channels) == 1

    @cached_property
    def of_part(self) -> ArraySpec:
        """The spec of a part, of which a chunk has all channels."""
        if self.channels_per_chunk is None:
            return self
        return replace(self, num_channels=self.channels_per_chunk, channels_per_chunk=None)

    @cached_property
    def of_new_array(self) -> ArraySpec:
        """The same spec with all channels of a voxel in one chunk, and nothing else there, as new arrays have it."""
        position = self.channel_position if self.num_channels > 1 else 0
        return replace(self, channel_position=position, channels_per_chunk=None, parts_per_shard=1)

    def encoded_as(self, codecs: Pipeline) -> ArraySpec:
        """Return this spec with another pipeline."""
        return self if codecs == self.codecs else replace(self, codecs=codecs)

    # ---- Storage axis order

    def in_storage_order(self, numbers: Triple) -> Triple:
        """Sort what belongs to x, y and z by the axes of a chunk, the fastest one first."""
        return triple(numbers[axis] for axis in self.axis_order)

    def from_storage_order(self, numbers: Triple) -> Triple:
        """Sort what belongs to the axes of a chunk, the fastest one first, by x, y and z."""
        return triple(numbers[self.axis_order.index(axis)] for axis in range(3))

    @cached_property
    def is_in_xyz_order(self) -> bool:
        """Whether x is the fastest axis of a chunk and z the slowest."""
        return self.axis_order == _XYZ

    @cached_property
    def in_own_axes(self) -> ArraySpec:
        """The spec of plans, for which x is the fastest axis of a chunk and z its slowest, whatever they are called."""
        if self.is_in_xyz_order:
            return self
        shapes = self.in_storage_order(self.chunk_shape), self.in_storage_order(self.chunks_per_shard)
        return replace(self, chunk_shape=shapes[0], chunks_per_shard=shapes[1], axis_order=_XYZ)

    def __str__(self) -> str:
        voxel = f"{self.num_channels} x {self.dtype.name}"
        return f"{voxel} in chunks of {self.chunk_shape}, {self.chunks_per_shard} in a shard, {word_of(self.codecs)}"


def _item_bytes(value: Any, dtype: np.dtype[np.generic]) -> bytes:
    if np.ndim(value):
        raise DtypeError(f"fill_value {value!r} is no {dtype.name}: it is not one number.")
    try:
        item = np.array([value], dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise DtypeError(f"fill_value {value!r} is no {dtype.name}: {error}") from error
    if item[0] != value and value == value:
        raise DtypeError(f"fill_value {value!r} cannot be represented as {dtype.name}.")
    return item.tobytes()


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
