"""The CUDA engine's table of codecs. What is not in it is decoded and encoded by the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from wkgpu.engines.cuda.checked_decoding import has_crc32c, needs_checksum
from wkgpu.engines.cuda.decoding import Decoding, Failed
from wkgpu.engines.cuda.device import BatchCodec, Device
from wkgpu.engines.cuda.frame_decoding import DeflateDecoding, ZstdDecoding
from wkgpu.engines.cuda.slots import BatchTable, Slot
from wkgpu.engines.cuda.zarr_lz4_decoding import BloscDecoding, SizedLz4Decoding, is_lz4_of_blosc
from wkgpu.engines.cuda.zstd_encoder import ZstdEncoder
from wkgpu.storage.codecs import Pipeline, names_of
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.spec import ArraySpec

_logger = logging.getLogger("wkgpu")


class BatchDecoding(Protocol):
    """Chunks of a batch that are to be decoded; `Decoding` is that of LZ4, and says what the arguments are.

    A damaged chunk does no harm to others, and fails, or is left to the host.
    """

    min_batch_chunks: ClassVar[int]
    """How many chunks a batch should have, if there are as many, because fewer take about as long."""

    def __init__(
        self, device: Device, slot: Slot, table: BatchTable, codecs: Pipeline, sources: Ints, lengths: Ints,
        targets: Ints, size: int, wanted: Ints | int,
    ) -> None: ...  # fmt: skip

    @staticmethod
    def items(count: int, size: int) -> int:
        """Return how many numbers it adds to a table, at most."""
        ...

    @staticmethod
    def working_bytes(device: Device, codecs: Pipeline, lengths: Ints, size: int) -> dict[str, int]:
        """Return the bytes of each memory of a slot that it takes, by name, besides the table."""
        ...

    @staticmethod
    def first_refused(lengths: Ints, size: int) -> int | None:
        """Return the first chunk, by its encoded bytes, that cannot be one of ``size`` decoded bytes."""
        ...

    def queue(self) -> None:
        """Queue decoding behind what brings the encoded chunks."""
        ...

    def download(self) -> None:
        """Queue telling the host how it went."""
        ...

    def first_failed(self) -> Failed | None:
        """Return the first chunk that could not be decoded, when the slot has been finished."""
        ...

    def left_to_host(self) -> Ints:
        """Return the chunks that the host has to decode, when the slot has been finished."""
        ...


def _always(codecs: Pipeline) -> bool:
    return True


class CudaCodec(NamedTuple):
    """How a device decodes and encodes a codec.

    Attributes
    ----------
    decoding : type
        Decodes the chunks of a batch.
    encoder : callable, optional
        Returns what encodes chunks on a device; without it the CPU does.
    is_of_zarr : bool
        Whether it needs the kernels for chunks of Zarr, and may be followed by crc32c.
    nvcomp : str, optional
        Which of nvCOMP's codecs it needs.
    takes : callable
        Whether it decodes chunks of a pipeline that begins with its codec.
    """

    decoding: type[BatchDecoding]
    encoder: Callable[[Device, Pipeline], BatchCodec | None] | None = None
    is_of_zarr: bool = False
    nvcomp: str | None = None
    takes: Callable[[Pipeline], bool] = _always


def _is_vouched_for(codecs: Pipeline) -> bool:
    """Whether frames of zstd are written with a checksum, or need none."""
    return bool(dict(codecs[0].parameters)["checksum"]) or not needs_checksum(codecs)


MAX_CHUNK_BYTES = 256 << 20
"""Decoded, of codecs of Zarr: nvCOMP works in three times as much memory for each chunk of zstd."""

CODECS: dict[str, CudaCodec] = {
    "lz4": CudaCodec(Decoding, lambda device, codecs: device.codec("lz4")),
    "lz4hc": CudaCodec(Decoding),  # nvCOMP has no encoder that searches as long
    "zstd": CudaCodec(ZstdDecoding, ZstdEncoder, is_of_zarr=True, nvcomp="zstd", takes=_is_vouched_for),
    "gzip": CudaCodec(DeflateDecoding, is_of_zarr=True, nvcomp="deflate"),
    "numcodecs.zlib": CudaCodec(DeflateDecoding, is_of_zarr=True, nvcomp="deflate"),
    "blosc": CudaCodec(BloscDecoding, is_of_zarr=True, takes=is_lz4_of_blosc),
    "numcodecs.lz4": CudaCodec(SizedLz4Decoding, is_of_zarr=True),
}
"""By name."""


def is_placed_as_fetched(codecs: Pipeline, dtype: np.dtype[np.generic]) -> bool:
    """Whether chunks lie in the file as arrays want them."""
    return not codecs and dtype.isnative


def codec_of(codecs: Pipeline, dtype: np.dtype[np.generic], device: Device, size: int) -> CudaCodec | None:
    """Return what decodes chunks of ``size`` bytes on a device.

    None where the CPU has to, because the codec is not in the table, because there are several of them, because numbers
    lie in another byte order, because chunks are too large, or because no checksum would show whether nvCOMP has
    decoded chunks rightly. The user is told so, once for each pipeline.
    """
    codec = CODECS.get(codecs[0].name) if codecs else None
    if codec is None or not dtype.isnative or not _is_single(codecs, codec):
        _say_once(codecs, "wkgpu has no decoder of them for GPUs", dtype.isnative)
        return None
    if codec.is_of_zarr and (device.chunk_kernels is None or (codec.nvcomp and device.codec(codec.nvcomp) is None)):
        _say_once(codecs, f"{device.name} has no decoder of them")
        return None
    if codec.is_of_zarr and size > MAX_CHUNK_BYTES:
        _say_once(codecs, f"chunks of more than {MAX_CHUNK_BYTES >> 20} MiB are too large for a GPU's batches")
        return None
    if not codec.takes(codecs):
        unchecked = "they have no checksums, without which damage could reach other chunks: see cuda_decode_unchecked"
        why = unchecked if codec.nvcomp == "zstd" else "wkgpu has no decoder of them for GPUs"
        _say_once(codecs, why)
        return None
    return codec


def _is_single(codecs: Pipeline, codec: CudaCodec) -> bool:
    return len(codecs) == 1 or (len(codecs) == 2 and codec.is_of_zarr and has_crc32c(codecs))


def encoder_of(spec: ArraySpec, device: Device) -> BatchCodec | None:
    """Return what encodes the chunks of a plan on a device; None where the CPU has to."""
    codec = codec_of(spec.codecs, spec.dtype, device, spec.chunk_bytes)
    return None if codec is None or codec.encoder is None else codec.encoder(device, spec.codecs)


@lru_cache(maxsize=256)
def say_left_to_host(codecs: Pipeline) -> None:
    """Tell the user, once for each pipeline, that the device has not decoded some chunks."""
    _logger.warning(
        "Some chunks that are stored as %s are decoded by the CPU: they are damaged, or have no checksum, or are not "
        "what the metadata of their mag says.", names_of(codecs),
    )  # fmt: skip


@lru_cache(maxsize=256)
def _say_once(codecs: Pipeline, why: str, is_native: bool = True) -> None:
    order = "" if is_native else ", in another byte order than this machine's,"
    _logger.warning(
        "Chunks that are stored as %s%s are decoded and encoded by the CPU; %s.", names_of(codecs), order, why
    )
