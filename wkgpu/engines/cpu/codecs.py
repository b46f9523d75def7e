"""The CPU engine's table of codecs, and pipelines as its kernels take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from wkgpu.errors import UnsupportedError
from wkgpu.kernels.cpu import codec as lz4
from wkgpu.kernels.cpu import intrinsics, pipeline
from wkgpu.storage.codecs import Codec, Pipeline, names_of, pipeline_bound
from wkgpu.storage.plans.chunk_lookup import Ints

_ALIGNMENT = 64


class CpuCodec(NamedTuple):
    """How the kernels decode and encode a codec; see `wkgpu.kernels.cpu.pipeline` for what the functions are.

    Attributes
    ----------
    decode, encode : int
        Addresses of functions, which must stay: of C's, ``ctypes.cast(function, ctypes.c_void_p).value``; of one that
        ``numba.cfunc`` has compiled, its ``address``. 0 where the codec cannot do it.
    parameter : int
        What both are called with.
    decoder_bytes, encoder_bytes : int
        Working memory that they are given.
    number : int
        For codecs that are compiled into the kernels: which one.
    """

    decode: int = 0
    encode: int = 0
    parameter: int = 0
    decoder_bytes: int = 0
    encoder_bytes: int = 0
    number: int = pipeline.CALLED


def _lz4(codec: Codec) -> CpuCodec:
    return CpuCodec(number=lz4.LZ4, encoder_bytes=intrinsics.LZ4_STATE_BYTES)


def _lz4hc(codec: Codec) -> CpuCodec:
    level = int(dict(codec.parameters)["level"])
    return CpuCodec(number=lz4.LZ4HC, parameter=level, encoder_bytes=intrinsics.LZ4HC_STATE_BYTES)


CODECS: dict[str, Callable[[Codec], CpuCodec]] = {"lz4": _lz4, "lz4hc": _lz4hc}
"""By name. A function is called when its codec is first needed, once for each parameters."""


class KernelPipelines(NamedTuple):
    """Pipelines as kernels take them."""

    rows: Ints
    """(pipelines, items); see `wkgpu.kernels.cpu.pipeline`."""
    decoder_bytes: int
    """Working memory to decode."""
    nbytes: int
    """Working memory to decode and to encode."""
    decoders: Ints
    """(pipelines,) The first row that decodes alike."""
    gap: int
    """Bytes to leave free before a decoded chunk, for what lies before one that is stored as it is."""


def kernel_pipelines(
    pipelines: Sequence[Pipeline], size: int, swapped: int, where: Callable[[int], str], *, encodes: bool = False
) -> KernelPipelines:
    """Describe pipelines to kernels.

    Parameters
    ----------
    size : int
        Bytes of a decoded chunk.
    swapped : int
        Bytes of an item whose byte order is not this machine's; 0 if it is.
    where : callable
        Names a file that a pipeline is of, by its number.
    encodes : bool
        Whether chunks are also encoded.

    Raises
    ------
    UnsupportedError
        For a codec that is not in the table, or cannot be encoded; it names the codec and the file.
    """
    try:
        return _kernel_pipelines(tuple(pipelines), size, swapped, encodes)
    except _MissingCodecError as error:
        number, verb = error.pipeline, "encoded" if error.can_decode else "decoded"
        raise UnsupportedError(
            f"{where(number)} has chunks encoded by {names_of(pipelines[number])}; the codec {error.codec!r} cannot be "
            f"{verb} by this version of wkgpu."
        ) from None


def decodes(codec: Codec) -> bool:
    """Whether the table has a codec."""
    return codec.name in CODECS


class _MissingCodecError(Exception):
    def __init__(self, pipeline: int, codec: str, can_decode: bool) -> None:
        super().__init__(codec)
        self.pipeline, self.codec, self.can_decode = pipeline, codec, can_decode


@lru_cache(maxsize=256)
def _kernel_pipelines(pipelines: tuple[Pipeline, ...], size: int, swapped: int, encodes: bool) -> KernelPipelines:
    longest = max((len(codecs) for codecs in pipelines), default=0)
    rows = np.zeros((len(pipelines), pipeline.HEAD + longest * pipeline.STEP), np.int64)
    found = [_codecs_of(number, codecs, encodes) for number, codecs in enumerate(pipelines)]
    # In the working memory: the buffers between codecs, then decoders' states, then encoders'.
    first = max((_between(codecs, size) for codecs in pipelines), default=0)
    end = decoder_end = 2 * first
    for codecs in found:
        decoder_end = max(decoder_end, end + sum(_aligned(codec.decoder_bytes) for codec in codecs))
    encoder_end = decoder_end
    for row, codecs, described in zip(rows, found, pipelines, strict=True):
        row[pipeline.COUNT] = len(codecs)
        row[pipeline.PLAIN] = _plain_header(codecs, size)
        row[pipeline.SWAPPED] = swapped
        row[pipeline.FIRST_BUFFER], row[pipeline.SECOND_BUFFER] = 0, first
        decoder_at, encoder_at, capacity = end, decoder_end, size
        for number, (codec, description) in enumerate(zip(codecs, described, strict=True)):
            step = row[pipeline.HEAD + number * pipeline.STEP :]
            step[: pipeline.STEP] = (
                codec.number, codec.decode, codec.encode, codec.parameter, capacity, decoder_at, encoder_at
            )  # fmt: skip
            decoder_at += _aligned(codec.decoder_bytes)
            encoder_at += _aligned(codec.encoder_bytes)
            capacity = description.bound(capacity)
        encoder_end = max(encoder_end, encoder_at)
    gap = max(_aligned(max(int(row[pipeline.PLAIN]), 0)) for row in rows) if len(rows) else 0
    return KernelPipelines(rows, decoder_end, encoder_end, _decoders(found), gap)


def _codecs_of(number: int, codecs: Pipeline, encodes: bool) -> list[CpuCodec]:
    found = []
    for codec in codecs:
        if not decodes(codec):
            raise _MissingCodecError(number, codec.name, False)
        implementation = _implementation(codec, CODECS[codec.name])
        if encodes and implementation.number == pipeline.CALLED and not implementation.encode:
            raise _MissingCodecError(number, codec.name, True)
        found.append(implementation)
    return found


@lru_cache(maxsize=256)
def _implementation(codec: Codec, make: Callable[[Codec], CpuCodec]) -> CpuCodec:
    return make(codec)


def _between(codecs: Pipeline, size: int) -> int:
    """Return the most bytes between two codecs."""
    return _aligned(max((pipeline_bound(codecs[:count], size) for count in range(1, len(codecs))), default=0))


def _plain_header(codecs: list[CpuCodec], size: int) -> int:
    """Return the bytes before a chunk that may lie in the file as it is, or -1."""
    if not codecs:
        return 0
    if len(codecs) == 1 and codecs[0].number != pipeline.CALLED:
        return int(lz4.literal_header.py_func(size))  # compiled alone it would take a second in each process
    return -1


def _decoders(found: list[list[CpuCodec]]) -> Ints:
    """Return for each pipeline the first one that decodes alike: LZ4HC is LZ4."""
    keys = [
        tuple(
            (codec.number == pipeline.CALLED, codec.decode, codec.parameter if codec.decode else 0) for codec in codecs
        )
        for codecs in found
    ]
    return np.array([keys.index(key) for key in keys], np.int64)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
