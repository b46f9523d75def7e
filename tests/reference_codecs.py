"""Codecs of Zarr as other libraries have them, by their descriptions."""

from __future__ import annotations

import gzip
import struct
import zlib

import google_crc32c
import lz4.block
import numpy as np
from numcodecs import blosc
from numcodecs.zstd import Zstd

_SHUFFLES = {"noshuffle": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}


def encode(codec, content):
    """Encode bytes as a description says."""
    given = dict(codec.parameters)
    if codec.name == "zstd":
        return bytes(Zstd(given["level"], checksum=given["checksum"]).encode(content))
    if codec.name == "gzip":
        return gzip.compress(content, given["level"], mtime=0)
    if codec.name == "numcodecs.zlib":
        return zlib.compress(content, given["level"])
    if codec.name == "numcodecs.lz4":
        return struct.pack("<I", len(content)) + lz4.block.compress(content, store_size=False)
    if codec.name == "crc32c":
        return content + struct.pack("<I", google_crc32c.value(content))
    size = given["typesize"]
    voxels = np.frombuffer(content, f"V{size}" if len(content) % size == 0 else "u1")
    return bytes(
        blosc.compress(
            voxels, given["cname"].encode(), given["clevel"], _SHUFFLES[given["shuffle"]], given["blocksize"], size
        )
    )


def decode(codec, encoded):
    """Decode bytes; a ValueError for what is damaged."""
    try:
        if codec.name == "zstd":
            return bytes(Zstd().decode(encoded))
        if codec.name == "gzip":
            return gzip.decompress(encoded)
        if codec.name == "numcodecs.zlib":
            return zlib.decompress(encoded)
        if codec.name == "numcodecs.lz4":
            (size,) = struct.unpack("<I", encoded[:4])
            return lz4.block.decompress(encoded[4:], uncompressed_size=min(size, 1 << 24))
        if codec.name == "crc32c":
            content = encoded[:-4]
            if struct.pack("<I", google_crc32c.value(content)) != encoded[-4:]:
                raise ValueError("another checksum")
            return content
        return bytes(blosc.decompress(encoded))
    except (RuntimeError, OSError, EOFError, zlib.error, struct.error, lz4.block.LZ4BlockError) as error:
        raise ValueError(str(error)) from error
