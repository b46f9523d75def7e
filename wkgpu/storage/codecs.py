"""Descriptions of codecs: what they are called, and how long what they make can be. No implementation.

A *pipeline* is a tuple of codecs, each of which makes bytes of bytes: the first one encodes a chunk, the next one what
that made, and so on. The empty pipeline stores chunks as they are. How a codec encodes and decodes is in the tables of
the engines (`wkgpu.engines.cpu.codecs`, `wkgpu.engines.cuda.codecs`), under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from wkgpu.errors import ArgumentError, UnsupportedError

Parameter: TypeAlias = int | float | str | bool


@dataclass(frozen=True)
class Codec:
    """A codec that makes bytes of bytes.

    Parameters
    ----------
    name : str
        By which the engines and formats know it.
    bound : callable
        Most encoded bytes of so many bytes; a function at module level, so that it can be pickled.
    parameters : tuple of (str, value)
        What else an encoder, or a decoder, has to know.
    max_input_bytes : int, optional
        How many bytes it encodes at most.

    Examples
    --------
    >>> LZ4.bound(32_768)
    32912
    """

    name: str
    bound: Callable[[int], int] = field(repr=False, compare=False)
    parameters: tuple[tuple[str, Parameter], ...] = ()
    max_input_bytes: int | None = field(default=None, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash(self.name)  # the one of dataclasses is made of all fields, and asked for several times in a read


Pipeline: TypeAlias = tuple[Codec, ...]
Compression: TypeAlias = bool | Literal["raw", "lz4", "lz4hc", "zstd"] | Pipeline
"""What users say: True is what a format compresses with by default, False is raw."""

_REGISTERED: dict[str, Codec] = {}


def register_codec(codec: Codec) -> Codec:
    """Make a codec known by its name, with these parameters where others are not given; returns it."""
    _REGISTERED[codec.name] = codec
    return codec


def codec_named(name: str, **parameters: Parameter) -> Codec:
    """Return the codec of a name, with other parameters than it has been registered with.

    Raises
    ------
    UnsupportedError
        Where no codec has this name, or it has no such parameter.

    Examples
    --------
    >>> codec_named("lz4hc", level=12)
    Codec(name='lz4hc', parameters=(('level', 12),))
    """
    codec = _REGISTERED.get(name)
    if codec is None:
        raise UnsupportedError(f"The codec {name!r} is unknown; wkgpu knows {', '.join(sorted(_REGISTERED))}.")
    known = dict(codec.parameters)
    if not parameters.keys() <= known.keys():
        raise UnsupportedError(f"The codec {name!r} has the parameters {list(known)}, not {list(parameters)}.")
    return replace(codec, parameters=tuple((known | parameters).items())) if parameters else codec


def pipeline_bound(codecs: Pipeline, nbytes: int) -> int:
    """Return the most bytes that a pipeline makes of ``nbytes``."""
    for codec in codecs:
        nbytes = codec.bound(nbytes)
    return nbytes


def lz4_bound(nbytes: int) -> int:
    """``LZ4_COMPRESSBOUND`` of lz4.h."""
    return nbytes + nbytes // 255 + 16


_LZ4_MAX_INPUT_BYTES = 0x7E000000  # LZ4_MAX_INPUT_SIZE of lz4.h

LZ4 = register_codec(Codec("lz4", lz4_bound, max_input_bytes=_LZ4_MAX_INPUT_BYTES))
LZ4HC = register_codec(Codec("lz4hc", lz4_bound, (("level", 9),), _LZ4_MAX_INPUT_BYTES))  # LZ4HC_CLEVEL_DEFAULT


# ---- Codecs of Zarr, with the parameters that WEBKNOSSOS gives them, or else Zarr


def zstd_bound(nbytes: int) -> int:
    """``ZSTD_COMPRESSBOUND`` of zstd.h, and the content checksum."""
    return nbytes + (nbytes >> 8) + max((128 << 10) - nbytes, 0) // 2048 + 4


def blosc_bound(nbytes: int) -> int:
    """``BLOSC_MAX_OVERHEAD`` of blosc.h: what does not shrink is copied behind a header."""
    return nbytes + 16


def deflate_bound(nbytes: int) -> int:
    """``libdeflate_gzip_compress_bound`` of libdeflate: stored blocks of at least 5,000 bytes, RFC 1951, in a frame."""
    return nbytes + 5 * (nbytes // 5000 + 1) + 32


def sized_lz4_bound(nbytes: int) -> int:
    """An LZ4 block behind four bytes that say how long it gets."""
    return lz4_bound(nbytes) + 4


def checksum_bound(nbytes: int) -> int:
    """Four bytes more."""
    return nbytes + 4


ZSTD = register_codec(Codec("zstd", zstd_bound, (("level", 5), ("checksum", True))))
BLOSC = register_codec(
    Codec(
        "blosc",
        blosc_bound,
        (("cname", "lz4"), ("clevel", 5), ("shuffle", "noshuffle"), ("typesize", 1), ("blocksize", 0)),
        0x7FFFFFFF - 16,  # BLOSC_MAX_BUFFERSIZE
    )
)
GZIP = register_codec(Codec("gzip", deflate_bound, (("level", 5),)))
ZLIB = register_codec(Codec("numcodecs.zlib", deflate_bound, (("level", 1),)))
SIZED_LZ4 = register_codec(Codec("numcodecs.lz4", sized_lz4_bound, (("acceleration", 1),), _LZ4_MAX_INPUT_BYTES))
CRC32C = register_codec(Codec("crc32c", checksum_bound))


# ---- Users' words

_LZ4_WORDS: dict[str, Pipeline] = {"raw": (), "lz4": (LZ4,), "lz4hc": (LZ4HC,)}
_KNOWN_WORDS = ("raw", "lz4", "lz4hc", "zstd")


def pipeline_of(compress: Compression) -> Pipeline:
    """Return the pipeline that a ``compress`` argument asks for where chunks are bare LZ4 blocks, as in WKW.

    True and "lz4" are LZ4, False and "raw" are raw, a pipeline is itself. Other formats have other answers: see
    `wkgpu.storage.formats.pipeline_of`.

    Raises
    ------
    UnsupportedError
        For "zstd".
    ArgumentError
        For anything else but a bool, "raw", "lz4", "lz4hc" and codecs.

    Examples
    --------
    >>> pipeline_of("raw")
    ()
    """
    return pipeline_by_word(compress, _LZ4_WORDS, "lz4", "WKW")


def pipeline_by_word(compress: Compression, words: Mapping[str, Pipeline], default: str, title: str) -> Pipeline:
    """Return the pipeline that a ``compress`` argument asks for.

    Parameters
    ----------
    compress : bool, str or tuple of Codec
        True, False ("raw"), a word, or the pipeline itself.
    words : mapping
        What a format has.
    default : str
        What True is in it.
    title : str
        Of the format, for messages.

    Raises
    ------
    UnsupportedError, ArgumentError
        For a word that the format lacks, and for what means nothing.
    """
    if isinstance(compress, tuple) and all(isinstance(codec, Codec) for codec in compress):
        return compress
    word: Any = compress
    if isinstance(compress, bool):
        word = default if compress else "raw"
    if isinstance(word, str) and word in words:
        return words[word]
    advice = f"use True ({default}), {', '.join(repr(known) for known in words if known != 'raw')}, or False (raw)"
    if isinstance(word, str) and word in _KNOWN_WORDS:
        raise UnsupportedError(f"{title} cannot store compress={word!r}; {advice}.")
    raise ArgumentError(f"compress is {compress!r}; {advice}.")


def word_of(codecs: Pipeline) -> str:
    """Return what users call a pipeline: "raw", "zstd", "lz4", "lz4hc"; else the names of its codecs.

    "lz4" and "lz4hc" also mean Blosc with nothing but these.

    Examples
    --------
    >>> word_of(()), word_of((LZ4HC,)), word_of((BLOSC,)), word_of((ZSTD, CRC32C))
    ('raw', 'lz4hc', 'lz4', 'zstd+crc32c')
    """
    return "+".join(map(_word_of_codec, codecs)) or "raw"


def _word_of_codec(codec: Codec) -> str:
    if codec.name != "blosc":
        return codec.name
    said = dict(codec.parameters)
    is_plain = said["cname"] in ("lz4", "lz4hc") and said["shuffle"] == "noshuffle"
    return str(said["cname"]) if is_plain else f"blosc-{said['cname']}"


def names_of(codecs: Pipeline) -> str:
    """Return the names of the codecs, for engines and their messages: "raw", "lz4", "blosc", "zstd+crc32c"."""
    return "+".join(codec.name for codec in codecs) or "raw"
