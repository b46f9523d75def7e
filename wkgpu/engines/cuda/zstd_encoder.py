"""Frames of zstd from nvCOMP, with a checksum behind, so that they can be verified when they are read."""

from __future__ import annotations

from typing import Any

from wkgpu.engines.cuda.checked_decoding import CHUNKS_OF_XXH64, CRC32C_POLYNOMIAL, has_crc32c
from wkgpu.engines.cuda.device import Device, Memory
from wkgpu.storage.codecs import Pipeline

_CHECKSUM_BYTES = 4


class ZstdEncoder:
    """Encodes chunks with nvCOMP's zstd, and adds what the pipeline asks for behind its frames.

    A frame gets a content checksum, and the flag in its header that says so, if the pipeline has one and nvCOMP has not
    written it. That takes a frame of which a kernel understands all headers; any other one stays as nvCOMP has made it,
    and is valid, since a decoder only compares a checksum that is there. The level is nvCOMP's own.
    """

    def __init__(self, device: Device, codecs: Pipeline) -> None:
        codec, kernels = device.codec("zstd"), device.chunk_kernels
        assert codec is not None
        assert kernels is not None
        self._codec, self._kernels, self._device = codec, kernels, device
        self._has_checksum = bool(dict(codecs[0].parameters)["checksum"])
        self._has_crc = has_crc32c(codecs)

    @property
    def max_encoded_chunk_bytes(self) -> int:
        """The largest chunk that nvCOMP encodes."""
        return self._codec.max_encoded_chunk_bytes

    @property
    def encode_alignment(self) -> int:
        """Of what the addresses of chunks are multiples."""
        return self._codec.encode_alignment

    def bound(self, chunk_bytes: int) -> int:
        """Return the most bytes that a chunk is encoded to."""
        return self._codec.bound(chunk_bytes) + _CHECKSUM_BYTES * (self._has_checksum + self._has_crc)

    def decode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        """Return how many bytes `decode` works in."""
        return self._codec.decode_temp_bytes(count, chunk_bytes)

    def encode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        """Return how many bytes `encode` works in."""
        return self._codec.encode_temp_bytes(count, chunk_bytes)

    def decode(
        self, stream: Any, sources: int, lengths: int, capacities: int, decoded: int, count: int, temp: Memory,
        targets: int, statuses: int,
    ) -> None:  # fmt: skip
        """Queue decoding frames alone; `wkgpu.engines.cuda.frame_decoding` decodes what may be damaged."""
        self._codec.decode(stream, sources, lengths, capacities, decoded, count, temp, targets, statuses)

    def encode(
        self, stream: Any, sources: int, lengths: int, chunk_bytes: int, count: int, temp: Memory, targets: int,
        encoded: int, statuses: int,
    ) -> None:  # fmt: skip
        """Queue encoding."""
        self._codec.encode(stream, sources, lengths, chunk_bytes, count, temp, targets, encoded, statuses)
        room = self.bound(chunk_bytes)
        if self._has_checksum:
            blocks = min(-(-count // CHUNKS_OF_XXH64), self._device.blocks)
            self._kernels.launch(
                stream, "zstd_seal", blocks, 1, targets, encoded, sources, lengths, room, statuses, count
            )  # fmt: skip
        if self._has_crc:
            blocks = min(count, self._device.blocks)
            self._kernels.launch(
                stream, "crc32_append", blocks, 1, targets, encoded, room, statuses, count, CRC32C_POLYNOMIAL
            )  # fmt: skip
