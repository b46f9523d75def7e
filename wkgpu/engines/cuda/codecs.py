"""The CUDA engine's table of codecs. What is not in it is decoded and encoded by the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np

from wkgpu.engines.cuda.decoding import Decoding, Failed
from wkgpu.engines.cuda.device import BatchCodec, Device
from wkgpu.engines.cuda.slots import BatchTable, Slot
from wkgpu.storage.codecs import Pipeline, names_of
from wkgpu.storage.plans.chunk_lookup import Ints
from wkgpu.storage.spec import ArraySpec

_logger = logging.getLogger("wkgpu")


class BatchDecoding(Protocol):
    """Chunks of a batch that are to be decoded; `Decoding` is that of LZ4, and says what the arguments are.

    A damaged chunk does no harm to others, and fails.
    """

    def __init__(
        self, device: Device, slot: Slot, table: BatchTable, codec: str, sources: Ints, lengths: Ints, targets: Ints,
        size: int, wanted: Ints | int,
    ) -> None: ...  # fmt: skip

    @staticmethod
    def items(count: int, size: int) -> int:
        """Return how many numbers it adds to a table, at most."""
        ...

    @staticmethod
    def working_bytes(device: Device, codec: str, count: int, size: int) -> dict[str, int]:
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


class CudaCodec(NamedTuple):
    """How a device decodes and encodes a codec.

    Attributes
    ----------
    decoding : type
        Decodes the chunks of a batch.
    encoder : callable, optional
        Returns what encodes chunks on a device; without it the CPU does.
    """

    decoding: type[BatchDecoding]
    encoder: Callable[[Device], BatchCodec | None] | None


CODECS: dict[str, CudaCodec] = {
    "lz4": CudaCodec(Decoding, lambda device: device.codec("lz4")),
    "lz4hc": CudaCodec(Decoding, None),  # nvCOMP has no encoder that searches as long
}
"""By name."""


def is_placed_as_fetched(codecs: Pipeline, dtype: np.dtype[np.generic]) -> bool:
    """Whether chunks lie in the file as arrays want them."""
    return not codecs and dtype.isnative


def codec_of(codecs: Pipeline, dtype: np.dtype[np.generic]) -> CudaCodec | None:
    """Return what decodes chunks on a device.

    None where the CPU has to, because the codec is not in the table, because there are several of them, or because
    numbers lie in another byte order. The user is told so, once for each pipeline.
    """
    if len(codecs) == 1 and dtype.isnative:
        codec = CODECS.get(codecs[0].name)
        if codec is not None:
            return codec
    _say_once(codecs, dtype.isnative)
    return None


def encoder_of(spec: ArraySpec, device: Device) -> BatchCodec | None:
    """Return what encodes the chunks of a plan on a device; None where the CPU has to."""
    codec = codec_of(spec.codecs, spec.dtype)
    return None if codec is None or codec.encoder is None else codec.encoder(device)


@lru_cache(maxsize=256)
def _say_once(codecs: Pipeline, is_native: bool) -> None:
    order = "" if is_native else ", in another byte order than this machine's,"
    _logger.warning(
        "Chunks that are stored as %s%s are decoded and encoded by the CPU; wkgpu has no decoder of them for GPUs.",
        names_of(codecs), order,
    )  # fmt: skip
