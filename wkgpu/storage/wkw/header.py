"""The 16-byte header of WKW files.

Bytes: ``WKW``, version (1), the binary logarithms of the block length (low nibble) and of the blocks along a shard's
edge (high nibble), block type, voxel type, bytes of a voxel with all its channels, and the offset of block 0 as a
little-endian uint64. Source: the WKW format description; the reference implementation knows ten voxel types.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from wkgpu.errors import HeaderError, ShapeError, UnsupportedError
from wkgpu.forking import cached_property
from wkgpu.storage.codecs import LZ4, LZ4HC, Pipeline, word_of
from wkgpu.storage.spec import ArraySpec

_STRUCT = struct.Struct("<3sBBBBBQ")
_BLOCK_TYPES: dict[int, Pipeline] = {1: (), 2: (LZ4,), 3: (LZ4HC,)}
_VOXEL_TYPES = dict(
    enumerate(("uint8", "uint16", "uint32", "uint64", "float32", "float64", "int8", "int16", "int32", "int64"), start=1)
)
_MAX_LZ4_BYTES = LZ4.max_input_bytes or 0
_MAX_TABLE_BYTES = 1 << 30  # of a jump table, which is read and written whole with each shard
_MAX_FILE_BYTES = (1 << 63) - 1  # file offsets have 63 bits


@dataclass(frozen=True)
class WkwHeader:
    """Header of a mag (``header.wkw``, data offset 0) or of one of its shards.

    Parameters
    ----------
    block_len : int
        Voxels along the edge of a chunk ("block"), a power of two up to 32,768.
    file_len : int
        Chunks along the edge of a shard, a power of two up to 32,768.
    block_type : int
        1 raw, 2 LZ4, 3 LZ4HC.
    voxel_type_code : int
        1 to 10: see `voxel_type`.
    voxel_size : int
        Bytes of a voxel, all channels together.
    data_offset : int
        Where chunk 0 begins in the file.
    version : int
        1.

    Examples
    --------
    >>> header = WkwHeader(block_len=32, file_len=32, block_type=2, voxel_type_code=1, voxel_size=1)
    >>> WkwHeader.parse(header.pack()) == header
    True
    """

    SIZE: ClassVar[int] = _STRUCT.size

    block_len: int
    file_len: int
    block_type: int
    voxel_type_code: int
    voxel_size: int
    data_offset: int = 0
    version: int = 1

    @classmethod
    def parse(cls, data: bytes, path: Path | str = "<bytes>") -> WkwHeader:
        """Read a header from a file's first bytes.

        Raises
        ------
        HeaderError
            Naming the file and the value: truncated, wrong magic, version, block type or voxel type, or a voxel size
            that is not a multiple of the voxel type's.
        """
        if len(data) < cls.SIZE:
            raise HeaderError(f"{path}: truncated; a WKW header has {cls.SIZE} bytes, this file only {len(data)}.")
        magic, version, lengths, block_type, voxel_type, voxel_size, data_offset = _STRUCT.unpack_from(data)
        if magic != b"WKW":
            raise HeaderError(f"{path}: begins with {magic!r} instead of b'WKW'; this is not a WKW file.")
        if version != 1:
            raise HeaderError(f"{path}: WKW version {version} is unknown; wkgpu reads version 1.")
        if block_type not in _BLOCK_TYPES:
            raise HeaderError(f"{path}: block type {block_type} is unknown; 1 (raw), 2 (LZ4) and 3 (LZ4HC) exist.")
        if voxel_type not in _VOXEL_TYPES:
            raise HeaderError(f"{path}: voxel type {voxel_type} is unknown; 1 to {len(_VOXEL_TYPES)} exist.")
        header = cls(1 << (lengths & 15), 1 << (lengths >> 4), block_type, voxel_type, voxel_size, data_offset)
        itemsize = header.voxel_type.itemsize
        if voxel_size == 0 or voxel_size % itemsize:
            raise HeaderError(
                f"{path}: a voxel of {voxel_size} bytes cannot hold whole channels of {header.voxel_type.name}, "
                f"of {itemsize} bytes each."
            )
        if header.is_compressed and header.spec.chunk_bytes > _MAX_LZ4_BYTES:
            raise HeaderError(
                f"{path}: chunks of {header.block_len}³ voxels of {voxel_size} bytes are larger than LZ4 can encode, "
                f"{_MAX_LZ4_BYTES} bytes; its lengths or its voxel size are damaged."
            )
        if not header.has_possible_shards:
            raise HeaderError(
                f"{path}: shards of {header.file_len}³ chunks of {header.block_len}³ voxels are larger than any file, "
                "or their jump tables than memory; its lengths are damaged."
            )
        return header

    @classmethod
    def for_spec(cls, spec: ArraySpec) -> WkwHeader:
        """Return the header of a mag with this spec.

        Raises
        ------
        ShapeError
            For shapes that are not cubes with a power of two up to 32,768 as their edge, voxels of more than 255
            bytes, compressed chunks of more than 2,113,929,216 bytes, which LZ4 does not take, and shards that are
            larger than any file, or whose jump tables are larger than 1 GiB.
        UnsupportedError
            For codecs, dtypes, byte orders, fill values and orders of axes that WKW does not know.
        """
        block_type = _block_type(spec.codecs)
        _check_layout(spec)
        for name in ("chunk_shape", "chunks_per_shard"):
            shape = getattr(spec, name)
            edge = shape[0]
            if shape != (edge,) * 3 or edge & (edge - 1) or not 1 <= edge <= 1 << 15:
                raise ShapeError(f"{name} is {shape}; WKW takes a cube whose edge is a power of two from 1 to 32768.")
        if spec.voxel_bytes > 255:
            raise ShapeError(
                f"{spec.num_channels} channels of {spec.dtype.name} make voxels of {spec.voxel_bytes} bytes; "
                "WKW takes at most 255. Use fewer channels or a smaller dtype."
            )
        if spec.codecs and spec.chunk_bytes > _MAX_LZ4_BYTES:
            raise ShapeError(
                f"Chunks of {spec.chunk_shape} voxels have {spec.chunk_bytes} bytes; LZ4 takes at most "
                f"{_MAX_LZ4_BYTES}. Use a smaller chunk_shape or compress=False."
            )
        code = next(number for number, name in _VOXEL_TYPES.items() if name == spec.dtype.name)
        header = cls(spec.chunk_shape[0], spec.chunks_per_shard[0], block_type, code, spec.voxel_bytes)
        fitting = header
        while not fitting.has_possible_shards:
            fitting = replace(fitting, file_len=fitting.file_len // 2)
        if fitting != header:
            raise ShapeError(
                f"Shards of {spec.shard_shape} voxels have {spec.chunks_in_shard} chunks of {spec.chunk_shape}: "
                + ("their jump tables" if header.is_compressed else "they")
                + f" would be larger than memory or files can be. With these chunks, shard_shape={_edge(fitting)} and "
                f"chunks_per_shard={fitting.file_len} are the most; {min(_edge(fitting), 1024)} voxels are usual."
            )
        return header

    def pack(self) -> bytes:
        """Return the 16 bytes of the header."""
        lengths = (self.block_len.bit_length() - 1) | (self.file_len.bit_length() - 1) << 4
        return _STRUCT.pack(
            b"WKW", self.version, lengths, self.block_type, self.voxel_type_code, self.voxel_size, self.data_offset
        )

    @property
    def voxel_type(self) -> np.dtype[np.generic]:
        """Type of one channel."""
        return np.dtype(_VOXEL_TYPES[self.voxel_type_code])

    @property
    def num_channels(self) -> int:
        """Channels of a voxel."""
        return self.voxel_size // self.voxel_type.itemsize

    @property
    def is_compressed(self) -> bool:
        """Whether a shard has a jump table: its chunks have different lengths."""
        return self.block_type != 1

    @property
    def has_possible_shards(self) -> bool:
        """Whether a file can have the voxels of a shard, and memory a shard's jump table."""
        chunks = self.file_len**3
        voxel_bytes = chunks * self.block_len**3 * self.voxel_size
        table = 8 * chunks if self.is_compressed else 0
        return table <= _MAX_TABLE_BYTES and voxel_bytes + table + self.SIZE <= _MAX_FILE_BYTES

    @cached_property
    def spec(self) -> ArraySpec:
        """The header as a spec, which no format is named in."""
        return ArraySpec(
            self.voxel_type,
            self.num_channels,
            (self.block_len,) * 3,
            (self.file_len,) * 3,
            _BLOCK_TYPES[self.block_type],
        )

    def in_shard(self, codecs: Pipeline | None = None) -> WkwHeader:
        """Return this header as a new shard begins with it: the data follow the header and the jump table.

        Parameters
        ----------
        codecs : tuple of Codec, optional
            The shard's, where they are not the mag's.
        """
        block_type = self.block_type if codecs is None else _block_type(codecs)
        table = 8 * self.file_len**3 if block_type != 1 else 0
        return replace(self, block_type=block_type, data_offset=self.SIZE + table)

    def check_shard(self, shard: WkwHeader, path: Path) -> None:
        """Check the header of a shard against this one, its mag's.

        The codec is a fact of each file, so that a shard may have any.

        Raises
        ------
        HeaderError
            Naming the file and both values.
        """
        for name in ("block_len", "file_len", "voxel_type", "num_channels"):
            wanted, found = getattr(self, name), getattr(shard, name)
            if wanted != found:
                raise HeaderError(
                    f"{path}: its header says {name} = {found}, but header.wkw of its mag says {wanted}. "
                    "One of the two files belongs to another mag."
                )


def _edge(header: WkwHeader) -> int:
    return header.block_len * header.file_len


def _check_layout(spec: ArraySpec) -> None:
    """Refuse what is not written in a header, because WKW has one value of it."""
    facts = {
        "dtype": (spec.dtype.name in _VOXEL_TYPES.values(), spec.dtype.name, f"one of {list(_VOXEL_TYPES.values())}"),
        "byte order": (spec.dtype == spec.dtype.newbyteorder("<"), "big-endian", "little-endian numbers"),
        "fill_value": (spec.has_zero_fill, spec.fill_value, "0"),
        "axis_order": (spec.axis_order == (0, 1, 2), spec.axis_order, "(0, 1, 2), in which x is fastest"),
        "order of channels": (spec.are_channels_neighbours, "apart", "as neighbours"),
        "channels_per_chunk": (spec.of_part == spec, spec.channels_per_chunk, "all channels in each chunk"),
    }
    for name, (fits, found, wanted) in facts.items():
        if not fits:
            raise UnsupportedError(f"WKW cannot store this {name}: {found}; it takes {wanted}.")


def _block_type(codecs: Pipeline) -> int:
    for number, known in _BLOCK_TYPES.items():
        if known == codecs:
            return number
    words = [word_of(known) for known in _BLOCK_TYPES.values()]
    raise UnsupportedError(f"WKW cannot store chunks as {word_of(codecs)!r}; use one of {words}.")
