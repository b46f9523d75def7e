"""Chunks whose codecs wkgpu lacks: zarr-python decodes and encodes them, one after another.

Each thread has an array of one chunk, whose store is a dictionary: what is encoded is put there and read, and what is
decoded is written and taken from there. So this needs nothing of zarr-python but its public interface.
"""

from __future__ import annotations

import ctypes
import json
import logging
import threading
from _thread import interrupt_main
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from wkgpu.errors import UnsupportedError
from wkgpu.storage.codecs import Codec

_logger = logging.getLogger("wkgpu")
_DAMAGED = -1
_DOES_NOT_FIT = 0
_DECODE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)
_ENCODE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)


class _Chunk(threading.local):
    """An array of one chunk, of which each thread has its own."""

    def __init__(self, codec: Codec) -> None:
        given = dict(codec.parameters)
        shape = [int(length) for length in str(given["shape"]).split(",") if length]
        metadata = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": given["dtype"],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": json.loads(str(given["fill_value"])),
            "codecs": json.loads(str(given["codecs"])),
        }
        self._files: dict[str, Any] = {"zarr.json": Buffer.from_bytes(json.dumps(metadata).encode())}
        self._key = "/".join(["c", *["0"] * len(shape)])
        with zarr.config.set({"array.write_empty_chunks": True}):  # the array keeps it
            self._array: Any = zarr.open_array(MemoryStore(self._files), mode="r+")

    def decode(self, encoded: bytes) -> NDArray[Any]:
        """Return the voxels as zarr-python counts them."""
        self._files[self._key] = Buffer.from_bytes(encoded)
        found = np.asarray(self._array[...])
        return np.ascontiguousarray(found, found.dtype.newbyteorder("="))

    def encode(self, data: bytes) -> bytes:
        """Return the encoded chunk."""
        dtype = np.dtype(self._array.dtype).newbyteorder("=")
        self._array[...] = np.frombuffer(data, dtype).reshape(self._array.shape)
        return bytes(self._files.pop(self._key).to_bytes())


def functions(codec: Codec) -> tuple[Any, Any]:
    """Return a decoder and an encoder as `wkgpu.kernels.cpu.pipeline` calls them: C functions that take the GIL.

    Parameters
    ----------
    codec : Codec
        ``"zarr"``, with the parameters ``codecs`` (JSON of all codecs of a chunk), ``dtype`` (zarr's name), ``shape``
        (lengths with commas between them) and ``fill_value`` (JSON).

    Raises
    ------
    UnsupportedError
        Where zarr-python cannot make them either.
    """
    try:
        chunk = _Chunk(codec)
    except Exception as error:
        raise UnsupportedError(
            f"The codecs {', '.join(_names(codec))} are unknown to wkgpu, and zarr-python cannot make them: {error}"
        ) from error
    _say_once(codec)

    def decode(source: int, nbytes: int, target: int, wanted: int, capacity: int, parameter: int, state: int) -> int:
        data = chunk.decode(ctypes.string_at(source, nbytes))
        if data.nbytes <= capacity:
            ctypes.memmove(target, data.ctypes.data, data.nbytes)
        return data.nbytes if data.nbytes == capacity or wanted == capacity else _DAMAGED

    def encode(source: int, nbytes: int, target: int, capacity: int, parameter: int, state: int) -> int:
        encoded = chunk.encode(ctypes.string_at(source, nbytes))
        if len(encoded) > capacity:
            return _DOES_NOT_FIT
        ctypes.memmove(target, encoded, len(encoded))
        return len(encoded)

    return _DECODE(_guarded(decode, "decoded", _DAMAGED)), _ENCODE(_guarded(encode, "encoded", _DOES_NOT_FIT))


def _guarded(function: Callable[..., int], verb: str, failed: int) -> Callable[..., int]:
    """Return a function that logs what it cannot raise through C."""

    def call(*arguments: int) -> int:
        try:
            return function(*arguments)
        except KeyboardInterrupt:
            interrupt_main()  # comes again when the kernel has returned
        except BaseException as error:
            _logger.warning("zarr-python has not %s a chunk: %s: %s", verb, type(error).__name__, error)
        return failed

    return call


@lru_cache(maxsize=256)
def _say_once(codec: Codec) -> None:
    _logger.warning(
        "Chunks that are stored as %s are decoded and encoded by zarr-python, one at a time, which is slow; wkgpu has "
        "not all of these codecs.",
        ", ".join(_names(codec)),
    )  # fmt: skip


def _names(codec: Codec) -> list[str]:
    codecs = json.loads(str(dict(codec.parameters)["codecs"]))
    return [str(one.get("name") if isinstance(one, dict) else one) for one in codecs]
