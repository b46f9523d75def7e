"""Calling the functions of a CPU codec as kernels do, with bytes around what they may write that must stay."""

from __future__ import annotations

import ctypes
import mmap
from functools import lru_cache

import numpy as np

from wkgpu.engines.cpu.codecs import CODECS

_libc = ctypes.CDLL(None, use_errno=True)
_GUARD = 0xC3


class CalledCodec:
    """The decoder and the encoder of a codec for chunks of at most so many bytes.

    Parameters
    ----------
    codec : Codec
        Not one of those that are compiled into kernels.
    nbytes : int
        The most bytes that it is given to encode.
    """

    def __init__(self, codec, nbytes):
        self.codec, self._nbytes = codec, nbytes
        self.functions = CODECS[codec.name](codec, nbytes)
        self._decoder, self._encoder = (
            _Room(size, 64) for size in (self.functions.decoder_bytes, self.functions.encoder_bytes)
        )
        for begin, parameter, room in (
            (self.functions.begin_decoding, self.functions.decode_parameter, self._decoder),
            (self.functions.begin_encoding, self.functions.encode_parameter, self._encoder),
        ):
            _call(begin, parameter, room.address, room.nbytes)

    def encode(self, data, capacity=None):
        """The encoded bytes, empty where they do not fit."""
        functions = self.functions
        target = _Room(self.codec.bound(len(data)) if capacity is None else capacity)
        source = _Room.of(data)
        written = _call(
            functions.encode, source.address, len(data), target.address, target.nbytes, functions.encode_parameter,
            self._encoder.address,
        )  # fmt: skip
        assert 0 <= written <= target.nbytes
        assert target.is_guarded()
        assert self._encoder.is_guarded()
        return target.bytes[:written]

    def decode(self, encoded, capacity=None, wanted=None):
        """The number that the decoder returns, and the bytes that it has decoded."""
        functions = self.functions
        capacity = self._nbytes if capacity is None else capacity
        target, source = _Room(capacity), _Room.of(encoded)
        decoded = _call(
            functions.decode, source.address, len(encoded), target.address, capacity if wanted is None else wanted,
            capacity, functions.decode_parameter, self._decoder.address,
        )  # fmt: skip
        assert target.is_guarded()
        assert source.is_guarded()
        assert self._decoder.is_guarded()
        return decoded, target.bytes[: max(min(decoded, capacity), 0)]


class _Room:
    """Memory that ends where no memory is, and is looked after before its begin."""

    def __init__(self, nbytes, alignment=1):
        pages = -(-nbytes // mmap.PAGESIZE) + 1
        self._memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
        everything = np.frombuffer(self._memory, np.uint8)
        end = pages * mmap.PAGESIZE
        if _libc.mprotect(ctypes.c_void_p(everything.ctypes.data + end), ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        begin = (end - nbytes) // alignment * alignment
        self._before, self._inside, self._after = (
            everything[:begin],
            everything[begin:][:nbytes],
            everything[begin + nbytes : end],
        )
        self._before[:], self._inside[:], self._after[:] = _GUARD, 0xA5, _GUARD
        self.nbytes = nbytes
        self.address = everything.ctypes.data + begin

    @classmethod
    def of(cls, data):
        room = cls(len(data))
        room._inside[:] = np.frombuffer(data, np.uint8)
        return room

    @property
    def bytes(self):
        return self._inside.tobytes()

    def is_guarded(self):
        return all((part == _GUARD).all() for part in (self._before, self._after))


@lru_cache
def _function(address, count):
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * count)(address)


def _call(address, *arguments):
    return _function(address, len(arguments))(*arguments) if address else 0
