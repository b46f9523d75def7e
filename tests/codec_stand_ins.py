"""Codecs of Zarr for the CPU engine by way of numcodecs, where the engine's table has none of that name."""

from __future__ import annotations

import ctypes
import gzip
import struct
import zlib

import google_crc32c
import lz4.block
import numpy as np
from numcodecs import blosc
from numcodecs.zstd import Zstd

from wkgpu.engines.cpu import codecs as cpu_codecs
from wkgpu.engines.cpu.codecs import CpuCodec

_DECODER = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)
_ENCODER = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)
_SHUFFLES = {"noshuffle": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}
_kept = []  # functions that C calls


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


def implementation(codec, nbytes):
    """Return functions that the kernels of the CPU call."""

    @_DECODER
    def decoder(source, nbytes, target, wanted, capacity, parameter, state):
        try:
            content = decode(codec, ctypes.string_at(source, nbytes))
        except ValueError:
            return -1
        ctypes.memmove(target, content, min(len(content), capacity))
        return len(content)

    @_ENCODER
    def encoder(source, nbytes, target, capacity, parameter, state):
        encoded = encode(codec, ctypes.string_at(source, nbytes))
        if len(encoded) > capacity:
            return 0
        ctypes.memmove(target, encoded, len(encoded))
        return len(encoded)

    _kept.append((decoder, encoder))
    address = [ctypes.cast(function, ctypes.c_void_p).value for function in (decoder, encoder)]
    return CpuCodec(*address)


def install(monkeypatch):
    """Give the CPU engine what it lacks."""
    for name in ("zstd", "gzip", "numcodecs.zlib", "numcodecs.lz4", "crc32c", "blosc"):
        if name not in cpu_codecs.CODECS:
            monkeypatch.setitem(cpu_codecs.CODECS, name, implementation)
    cpu_codecs._kernel_pipelines.cache_clear()
    cpu_codecs._implementation.cache_clear()
