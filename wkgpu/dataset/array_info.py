"""What a view tells about its stored mag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wkgpu.dataset.metadata.data_format import DataFormat
from wkgpu.geometry.vec3_int import Vec3Int
from wkgpu.storage.codecs import Pipeline, word_of
from wkgpu.storage.stored_array import StoredArray


@dataclass(frozen=True)
class ArrayInfo:
    """How a mag is stored.

    Attributes
    ----------
    data_format : DataFormat
        File format.
    num_channels : int
        Channels of a voxel.
    voxel_type : numpy.dtype
        Type of one channel.
    chunk_shape : Vec3Int
        Voxels of the mag that are encoded at once.
    chunks_per_shard : Vec3Int
        Chunks in one file.
    shard_shape : Vec3Int
        Voxels of the mag in one file.
    compression_mode : bool
        Whether the chunks are compressed.
    codec : str
        How: "raw", "lz4", "lz4hc" or "zstd", as ``compress`` arguments take it; or the names of other codecs.
    codecs : tuple of Codec
        The same with all parameters, as ``compress`` arguments take it.
    """

    data_format: DataFormat
    num_channels: int
    voxel_type: np.dtype[np.generic]
    chunk_shape: Vec3Int
    chunks_per_shard: Vec3Int
    shard_shape: Vec3Int
    compression_mode: bool
    codec: str
    codecs: Pipeline

    @classmethod
    def of(cls, array: StoredArray) -> ArrayInfo:
        """Return what a stored mag is like."""
        spec = array.spec
        return cls(
            data_format=DataFormat.parse(array.data_format),
            num_channels=spec.num_channels,
            voxel_type=spec.memory_dtype,
            chunk_shape=Vec3Int(spec.chunk_shape),
            chunks_per_shard=Vec3Int(spec.chunks_per_shard),
            shard_shape=Vec3Int(spec.shard_shape),
            compression_mode=bool(spec.codecs),
            codec=word_of(spec.codecs),
            codecs=spec.codecs,
        )
