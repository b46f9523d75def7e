"""Calling the functions of a CPU codec as kernels do, with bytes around what they may write that must stay."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import numpy as np

from wkgpu.engines.cpu.codecs import CODECS

_MARGIN = 4096
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
            _Room(size) for size in (self.functions.decoder_bytes, self.functions.encoder_bytes)
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
    """Aligned memory, before and after which bytes are looked after."""

    def __init__(self, nbytes):
        self._memory = np.full(nbytes + 2 * _MARGIN + 64, _GUARD, np.uint8)
        self._begin = _MARGIN + -(self._memory.ctypes.data + _MARGIN) % 64
        self.nbytes = nbytes
        self.address = self._memory.ctypes.data + self._begin
        self._inside[:] = 0xA5

    @classmethod
    def of(cls, data):
        room = cls(len(data))
        room._inside[:] = np.frombuffer(data, np.uint8)
        return room

    @property
    def _inside(self):
        return self._memory[self._begin : self._begin + self.nbytes]

    @property
    def bytes(self):
        return self._inside.tobytes()

    def is_guarded(self):
        outside = self._memory[: self._begin], self._memory[self._begin + self.nbytes :]
        return all((part == _GUARD).all() for part in outside)


@lru_cache
def _function(address, count):
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * count)(address)


def _call(address, *arguments):
    return _function(address, len(arguments))(*arguments) if address else 0
