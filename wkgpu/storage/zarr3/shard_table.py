"""The index of a ``sharding_indexed`` shard: offset and length of each chunk, in C order of the chunk's position.

Source: the sharding codec of the Zarr 3 specification, https://zarr-specs.readthedocs.io.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from wkgpu.errors import ShardIndexError
from wkgpu.storage.codecs import Pipeline, pipeline_bound, word_of
from wkgpu.storage.shard_index import Extents, TableIndex
from wkgpu.storage.stores.files import Source

Ints = NDArray[np.int64]

_NOT_STORED = np.uint64(0xFFFFFFFFFFFFFFFF)
_CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class ShardTable:
    """How the index of a shard is stored.

    Parameters
    ----------
    location : {"start", "end"}
        Where in the file.
    endian : {"little", "big"}
        Byte order of its numbers.
    has_checksum : bool
        Whether a CRC32C follows them.
    """

    location: Literal["start", "end"] = "end"
    endian: Literal["little", "big"] = "little"
    has_checksum: bool = True

    @property
    def _dtype(self) -> str:
        return "<u8" if self.endian == "little" else ">u8"

    def nbytes(self, chunks: int) -> int:
        """Bytes of the index of so many chunks."""
        return 16 * chunks + (_CHECKSUM_BYTES if self.has_checksum else 0)

    def pack(self, extents: Extents) -> bytes:
        """Return the index of chunks that lie there; those without bytes are not stored."""
        table = np.stack([extents.offset, extents.nbytes], axis=1).astype(self._dtype)
        table[extents.nbytes == 0] = _NOT_STORED
        data = table.tobytes()
        return data + (_checksum(data) if self.has_checksum else b"")

    def read(self, source: Source, path: str, chunks: int, chunk_bytes: int, codecs: Pipeline) -> TableIndex:
        """Read and check the index of an open shard.

        Parameters
        ----------
        chunk_bytes : int
            Of a decoded chunk.

        Raises
        ------
        ShardIndexError
            Naming the file and, for a bad entry, the chunk.
        """
        wanted, nbytes = self.nbytes(chunks), source.nbytes
        if nbytes < wanted:
            raise ShardIndexError(
                f"{path}: truncated; the index of {chunks} chunks needs {wanted} bytes, the file has {nbytes}."
            )
        data = source.read(0 if self.location == "start" else nbytes - wanted, wanted)
        if len(data) < wanted:
            raise ShardIndexError(f"{path}: truncated while its index was read; read again.")
        if self.has_checksum and _checksum(data[:-_CHECKSUM_BYTES]) != data[-_CHECKSUM_BYTES:]:
            raise ShardIndexError(f"{path}: the checksum of its index is wrong; the index is damaged.")
        table = np.frombuffer(data, self._dtype, 2 * chunks).reshape(chunks, 2)
        bounds = _checked_bounds(table, nbytes, path)
        _check_lengths(bounds[1] - bounds[0], chunk_bytes, codecs, path)
        return TableIndex(bounds[0], bounds[1], codecs)


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CHECKSUM_BYTES, "little")


def _checked_bounds(table: NDArray[np.uint64], nbytes: int, path: str) -> Ints:
    """Return where chunks begin and end, int64 (2, n); both 0 for those that are not stored."""
    is_stored = (table != _NOT_STORED).any(axis=1)
    bounds = np.empty((2, len(table)), np.uint64)
    np.multiply(table[:, 0], is_stored, out=bounds[0])
    lengths = np.multiply(table[:, 1], is_stored, out=bounds[1])
    fits = (bounds[0] <= nbytes) & (lengths <= nbytes - np.minimum(bounds[0], np.uint64(nbytes)))
    fits &= (lengths > 0) | ~is_stored
    if not fits.all():
        chunk = int(fits.argmin())
        offset, length = table[chunk].tolist()
        raise ShardIndexError(
            f"{path}: its index gives chunk {chunk} {length} bytes at offset {offset}, the file has {nbytes} bytes. It "
            "is damaged or truncated."
        )
    bounds[1] += bounds[0]
    return bounds.view(np.int64)


def _check_lengths(lengths: Ints, chunk_bytes: int, codecs: Pipeline, path: str) -> None:
    """Check that chunks have lengths that can be: a damaged entry must not decide how much memory is taken."""
    limit = max_encoded_bytes(codecs, chunk_bytes)
    fits = lengths <= limit
    if not codecs:
        fits &= (lengths == chunk_bytes) | (lengths == 0)
    if not fits.all():
        chunk = int(fits.argmin())
        raise ShardIndexError(
            f"{path}: its index gives chunk {chunk} {lengths[chunk]} bytes; a chunk of {chunk_bytes} bytes, stored as "
            f"{word_of(codecs)}, has {f'at most {limit}' if codecs else 'as many'}."
        )


def max_encoded_bytes(codecs: Pipeline, chunk_bytes: int) -> int:
    """Return how long an encoded chunk may be: more than what the encoders known here make, for those of others."""
    return 2 * pipeline_bound(codecs, chunk_bytes) + 4096 if codecs else chunk_bytes
