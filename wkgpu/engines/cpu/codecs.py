"""The CPU engine's table of codecs, and pipelines as its kernels take them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from wkgpu.errors import UnsupportedError
from wkgpu.forking import loading
from wkgpu.kernels.cpu import codec as lz4
from wkgpu.kernels.cpu import intrinsics, pipeline
from wkgpu.kernels.uninterrupted import uninterrupted
from wkgpu.storage.codecs import Codec, Pipeline, names_of, pipeline_bound
from wkgpu.storage.plans.chunk_lookup import Ints

_ALIGNMENT = 64


class CpuCodec(NamedTuple):
    """How the kernels decode and encode a codec; see `wkgpu.kernels.cpu.pipeline` for what the functions are.

    Attributes
    ----------
    decode, encode : int
        Addresses of functions, which must stay: of C's, ``ctypes.cast(function, ctypes.c_void_p).value``; of one that
        `wkgpu.kernels.compilation.cached_c_function` has compiled, its ``address``. 0 where the codec cannot do it.
    encode_parameter, decode_parameter : int
        What they are called with. Codecs with the same decoder and parameter of it decode alike.
    decoder_bytes, encoder_bytes : int
        Working memory that they are given.
    begin_decoding, begin_encoding : int
        Addresses of functions that prepare it; 0 where there is nothing to prepare.
    plain_header, is_plain : int
        Of a codec that may store chunks as they are: the bytes before them, and the address of a function that tells
        by these.
    number : int
        For codecs that are compiled into the kernels: which one.
    kept : object
        What the addresses need to stay valid.
    """

    decode: int = 0
    encode: int = 0
    encode_parameter: int = 0
    decode_parameter: int = 0
    decoder_bytes: int = 0
    encoder_bytes: int = 0
    begin_decoding: int = 0
    begin_encoding: int = 0
    plain_header: int = -1
    is_plain: int = 0
    number: int = pipeline.CALLED
    kept: object = None


# ---- Codecs. What they need is imported when one of them is first used.


def _lz4(codec: Codec, nbytes: int) -> CpuCodec:
    return CpuCodec(number=lz4.LZ4, encoder_bytes=intrinsics.LZ4_STATE_BYTES)


def _lz4hc(codec: Codec, nbytes: int) -> CpuCodec:
    level = int(dict(codec.parameters)["level"])
    return CpuCodec(number=lz4.LZ4HC, encode_parameter=level, encoder_bytes=intrinsics.LZ4HC_STATE_BYTES)


def _zstd(codec: Codec, nbytes: int) -> CpuCodec:
    from wkgpu.kernels.cpu import zstd

    parameters = dict(codec.parameters)
    level = int(parameters["level"])
    return CpuCodec(
        zstd.decode.address, zstd.encode.address,
        encode_parameter=zstd.encode_parameter(level, bool(parameters["checksum"])),
        decoder_bytes=zstd.decoder_bytes(), encoder_bytes=zstd.encoder_bytes(level, nbytes),
        begin_decoding=zstd.begin_decoding.address, begin_encoding=zstd.begin_encoding.address,
    )  # fmt: skip


def _blosc(codec: Codec, nbytes: int) -> CpuCodec:
    from wkgpu.kernels.cpu import blosc

    parameter = blosc.encode_parameter(**dict(codec.parameters))
    if parameter is None:
        return CpuCodec()
    return CpuCodec(
        blosc.decode.address, blosc.encode.address, parameter, encoder_bytes=blosc.ENCODER_BYTES,
        begin_encoding=blosc.begin_encoding.address, plain_header=blosc.HEADER_BYTES, is_plain=blosc.is_plain.address,
    )  # fmt: skip


def _gzip(codec: Codec, nbytes: int) -> CpuCodec:
    from wkgpu.kernels.cpu import deflate

    level = deflate.encode_parameter(int(dict(codec.parameters)["level"]))
    return CpuCodec(
        deflate.decode_gzip.address, deflate.encode_gzip.address, level, decoder_bytes=deflate.DECODER_BYTES
    )  # fmt: skip


def _zlib(codec: Codec, nbytes: int) -> CpuCodec:
    from wkgpu.kernels.cpu import deflate

    level = deflate.encode_parameter(int(dict(codec.parameters)["level"]))
    return CpuCodec(
        deflate.decode_zlib.address, deflate.encode_zlib.address, level, decoder_bytes=deflate.DECODER_BYTES
    )  # fmt: skip


def _sized_lz4(codec: Codec, nbytes: int) -> CpuCodec:
    from wkgpu.kernels.cpu import sized_lz4

    acceleration = int(dict(codec.parameters)["acceleration"])
    return CpuCodec(
        sized_lz4.decode.address, sized_lz4.encode.address, acceleration, encoder_bytes=intrinsics.LZ4_STATE_BYTES,
        begin_encoding=sized_lz4.begin_encoding.address,
    )  # fmt: skip


def _zarr(codec: Codec, nbytes: int) -> CpuCodec:
    from wkgpu.engines.cpu import zarr_codecs

    kept = zarr_codecs.functions(codec)
    decode, encode = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in kept)
    return CpuCodec(decode, encode, kept=kept)


def _crc32c(codec: Codec, nbytes: int) -> CpuCodec:
    from wkgpu.kernels.cpu import crc32c

    return CpuCodec(crc32c.decode.address, crc32c.encode.address)


CODECS: dict[str, Callable[[Codec, int], CpuCodec]] = {
    "lz4": _lz4, "lz4hc": _lz4hc, "zstd": _zstd, "blosc": _blosc, "gzip": _gzip, "numcodecs.zlib": _zlib,
    "numcodecs.lz4": _sized_lz4, "crc32c": _crc32c, "zarr": _zarr,
}  # fmt: skip
"""By name. A function is called with a codec and the most bytes that it is given to encode when it is first needed."""


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
    codecs: tuple[tuple[CpuCodec, ...], ...]
    """Whose addresses are in the rows."""


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
    found = tuple(_codecs_of(number, codecs, size, encodes) for number, codecs in enumerate(pipelines))
    # In the working memory: the buffers between codecs, then decoders' states, then encoders'.
    between = max((_between(codecs, size) for codecs in pipelines), default=0)
    decoders = _States(2 * between)
    for row, codecs in zip(rows, found, strict=True):
        row[pipeline.COUNT] = len(codecs)
        row[pipeline.PLAIN] = _plain_header(codecs, size)
        row[pipeline.IS_PLAIN] = codecs[0].is_plain if len(codecs) == 1 else 0
        row[pipeline.SWAPPED] = swapped
        row[pipeline.FIRST_BUFFER], row[pipeline.SECOND_BUFFER] = 0, between
        for step, codec in zip(_steps(row), codecs, strict=False):
            step[pipeline.NUMBER], step[pipeline.DECODE] = codec.number, codec.decode
            step[pipeline.DECODE_PARAMETER], step[pipeline.DECODER_BYTES] = codec.decode_parameter, codec.decoder_bytes
            step[pipeline.DECODER_STATE], is_new = decoders.place(_decoder(codec), codec.decoder_bytes)
            step[pipeline.BEGIN_DECODING] = codec.begin_decoding if is_new else 0
    encoders = _States(decoders.end)
    for row, codecs, described in zip(rows, found, pipelines, strict=True):
        capacity = size
        for step, codec, description in zip(_steps(row), codecs, described, strict=False):
            step[pipeline.CAPACITY] = capacity
            step[pipeline.ENCODE], step[pipeline.ENCODE_PARAMETER] = codec.encode, codec.encode_parameter
            step[pipeline.ENCODER_STATE], is_new = encoders.place(_encoder(codec), codec.encoder_bytes)
            step[pipeline.BEGIN_ENCODING] = codec.begin_encoding if is_new else 0
            step[pipeline.ENCODER_BYTES] = codec.encoder_bytes
            capacity = description.bound(capacity)
    gap = max(_aligned(max(int(row[pipeline.PLAIN]), 0)) for row in rows) if len(rows) else 0
    return KernelPipelines(rows, decoders.end, encoders.end, _decoders(found), gap, found)


def _steps(row: Ints) -> Ints:
    """Return the items of each codec in a row."""
    return row[pipeline.HEAD :].reshape(-1, pipeline.STEP)


class _States:
    """Places of states in the working memory; equal codecs share one, and do not work at the same time."""

    def __init__(self, begin: int) -> None:
        self.end = begin
        self._places: dict[object, int] = {}

    def place(self, key: object, nbytes: int) -> tuple[int, bool]:
        """Return where a state is, and whether it has been placed now."""
        if key in self._places:
            return self._places[key], False
        self._places[key] = self.end
        self.end += _aligned(nbytes)
        return self._places[key], True


def _codecs_of(number: int, codecs: Pipeline, nbytes: int, encodes: bool) -> tuple[CpuCodec, ...]:
    found = []
    for codec in codecs:
        if not decodes(codec):
            raise _MissingCodecError(number, codec.name, False)
        implementation = _implementation(codec, nbytes, CODECS[codec.name])
        needed = (implementation.decode, implementation.encode) if encodes else (implementation.decode,)
        if implementation.number == pipeline.CALLED and not all(needed):
            raise _MissingCodecError(number, codec.name, implementation.decode != 0)
        found.append(implementation)
        nbytes = codec.bound(nbytes)
    return tuple(found)


@lru_cache(maxsize=256)
def _implementation(codec: Codec, nbytes: int, make: Callable[[Codec, int], CpuCodec]) -> CpuCodec:
    def load() -> CpuCodec:
        with loading:
            return make(codec, nbytes)

    # It may import and compile. A thread that is loading already is no main thread, or holds what another would need.
    return load() if loading._is_owned() else uninterrupted(load)  # type: ignore[attr-defined]


def _between(codecs: Pipeline, size: int) -> int:
    """Return the most bytes between two codecs."""
    return _aligned(max((pipeline_bound(codecs[:count], size) for count in range(1, len(codecs))), default=0))


def _plain_header(codecs: Sequence[CpuCodec], size: int) -> int:
    """Return the bytes before a chunk that may lie in the file as it is, or -1."""
    if not codecs:
        return 0
    if len(codecs) > 1:
        return -1
    if codecs[0].number != pipeline.CALLED:
        return int(lz4.literal_header.py_func(size))  # compiled alone it would take a second in each process
    return codecs[0].plain_header


def _decoder(codec: CpuCodec) -> tuple[bool, int, int]:
    """Return the same for all codecs that decode alike: LZ4HC is LZ4."""
    return codec.number == pipeline.CALLED, codec.decode, codec.decode_parameter


def _encoder(codec: CpuCodec) -> tuple[int, int, int, int]:
    """Return the same for all codecs whose encoders have the same state."""
    return codec.number, codec.encode, codec.encode_parameter, codec.encoder_bytes


def _decoders(found: Sequence[Sequence[CpuCodec]]) -> Ints:
    """Return for each pipeline the first one that decodes alike."""
    keys = [tuple(map(_decoder, codecs)) for codecs in found]
    return np.array([keys.index(key) for key in keys], np.int64)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
