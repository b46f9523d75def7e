"""Decoding chunks with decoders that trust them, between two looks at headers and checksums.

nvCOMP's decoders of zstd and deflate take it for granted that a chunk is sound: a damaged one is undefined behaviour,
and may change the voxels of other chunks of its batch. So kernels of wkgpu look at each chunk before, and let only
those through whose headers agree with their encoded and decoded sizes and that a checksum vouches for; and compare the
checksums of all chunks afterwards. A chunk that another one has written into is among those that are found then.

All that are found, before and after, are decoded once more, by the host: its verdict is the one that counts, and its
error the one that is raised. A read does not end before their voxels have been placed over what was there. A chunk
whose bytes were right before (CRC-32C) needs no other checksum: sound chunks harm none.

What remains: a chunk that is damaged behind its headers does reach nvCOMP. It may end the process's use of CUDA, which
is an error. Or it may change memory that is no target of its batch, such as arrays of the process; the call that met
the chunk fails then, because the chunk is damaged, but nothing tells of the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from wkgpu.engines.cuda.decoding import Failed
from wkgpu.engines.cuda.device import BatchCodec, Bytes, ChunkKernels, Device, Memory
from wkgpu.engines.cuda.slots import BatchTable, Slot
from wkgpu.settings import config
from wkgpu.storage.codecs import CRC32C, Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints

CRC32_POLYNOMIAL, CRC32C_POLYNOMIAL = 0xEDB88320, 0x82F63B78  # the lowest power in the highest bit
_COLUMNS = 4  # of the table, for each chunk
_VERDICT_BYTES, _CHECKSUM_BYTES, _REPORT_BYTES = 4, 8, 12  # for each chunk
CHUNKS_OF_XXH64 = 8  # that a warp takes at a time
_LANES = 32


def needs_checksum(codecs: Pipeline) -> bool:
    """Whether chunks are decoded by the device only if a checksum of their decoded bytes vouches for them."""
    return not (has_crc32c(codecs) or config.cuda_decode_unchecked)


def has_crc32c(codecs: Pipeline) -> bool:
    """Whether the encoded bytes of a chunk end with their checksum."""
    return len(codecs) > 1 and codecs[-1].name == CRC32C.name


class CheckedDecoding(ABC):
    """Chunks of a batch that are to be decoded, with an optional CRC-32C of their encoded bytes.

    See `wkgpu.engines.cuda.decoding.Decoding` for the parameters. A subclass queues the decoder. Chunks are decoded
    whole, whatever is wanted of them, because a checksum is that of the whole chunk.
    """

    nvcomp: ClassVar[str | None] = None
    """Which of nvCOMP's codecs decodes; None for kernels of wkgpu."""
    min_batch_chunks: ClassVar[int] = 0
    """How many chunks a batch should have, if there are as many, because fewer take about as long."""

    def __init__(
        self, device: Device, slot: Slot, table: BatchTable, codecs: Pipeline, sources: Ints, lengths: Ints,
        targets: Ints, size: int, wanted: Ints | int,
    ) -> None:  # fmt: skip
        self.count = len(sources)
        self.codecs = codecs
        self._device = device
        self._slot = slot
        self._table = table
        self.columns = table.add_chunks(sources, lengths, targets, size, None)
        memory = self.working_bytes(device, codecs, lengths, size)
        self.memory: dict[str, Memory] = {name: slot.memory(name, nbytes) for name, nbytes in memory.items()}
        self._host: Bytes | None = None
        self._describe(lengths, size)

    def _describe(self, lengths: Ints, size: int) -> None:  # noqa: B027 - many have nothing more
        """Add to the table what else the decoder has to know."""

    @abstractmethod
    def _decode(self) -> None:
        """Queue decoding the chunks whose verdict is OK, and finding those that it has not decoded rightly."""

    # ---- What the engine asks

    @classmethod
    def items(cls, count: int, size: int) -> int:
        """Return how many numbers it adds to a table, at most."""
        return _COLUMNS * count

    @classmethod
    def working_bytes(cls, device: Device, codecs: Pipeline, lengths: Ints, size: int) -> dict[str, int]:
        """Return the bytes of each memory of a slot that it takes, by name, besides the table."""
        count = len(lengths)
        own = {"verdicts": _VERDICT_BYTES * count, "expected": _CHECKSUM_BYTES * count}
        if cls.nvcomp is None:
            return own
        codec = device.codec(cls.nvcomp)
        assert codec is not None
        return own | {"found": _REPORT_BYTES * count, "temp": codec.decode_temp_bytes(count, size)}

    @staticmethod
    def first_refused(lengths: Ints, size: int) -> int | None:
        """Return None: the host says what is wrong with a chunk."""
        return None

    def queue(self) -> None:
        """Queue decoding behind what brings the encoded chunks."""
        columns, verdicts = self.columns, self.memory["verdicts"]
        if has_crc32c(self.codecs):
            self._by_threads(
                "checksum_split", columns.sources, columns.lengths, self.count, self.expected, self.verdicts
            )
            self._by_warps("crc32_verify", columns.sources, columns.lengths, more=(CRC32C_POLYNOMIAL,))
        else:
            self._slot.stream.clear(verdicts, _VERDICT_BYTES * self.count)
        self._decode()

    def download(self) -> None:
        """Queue telling the host how it went."""
        self._host = self._slot.host("verdicts", _VERDICT_BYTES * self.count)
        self._slot.stream.download(self.memory["verdicts"], 0, self._host)

    def first_failed(self) -> Failed | None:
        """Return None: what has failed is left to the host."""
        return None

    def left_to_host(self) -> Ints:
        """Return the chunks that the host has to decode, when the slot has been finished."""
        assert self._host is not None
        left: Ints = self._host.view(np.int32).nonzero()[0]
        return left

    # ---- What subclasses queue

    @property
    def verdicts(self) -> int:
        """Address of the statuses of the chunks (int32): OK, or anything else for what is left to the host."""
        return self.memory["verdicts"].address

    @property
    def expected(self) -> int:
        """Address of the checksums of the decoded chunks (int64), -1 where there is none."""
        return self.memory["expected"].address

    @property
    def kernels(self) -> ChunkKernels:
        """Those of the device."""
        kernels = self._device.chunk_kernels
        assert kernels is not None
        return kernels

    def _by_threads(self, name: str, *numbers: int) -> None:
        """Queue a kernel of which each thread takes a chunk."""
        self.kernels.launch(self._slot.stream, name, -(-self.count // _LANES), 1, *numbers)

    def _by_warps(self, name: str, addresses: int, sizes: int, *, more: tuple[int, ...] = (), at_once: int = 1) -> None:
        """Queue a kernel that compares checksums, of which each warp takes one or more chunks at a time."""
        blocks = min(-(-self.count // at_once), self._device.blocks)
        numbers = (addresses, sizes, self.expected, self.count, *more, self.verdicts)
        self.kernels.launch(self._slot.stream, name, blocks, 1, *numbers)

    def _decode_with_nvcomp(self) -> None:
        """Queue nvCOMP's decoder for all chunks, and join what it reports."""
        codec = self._codec
        columns, count, found = self.columns, self.count, self.memory["found"].address
        statuses = found + 8 * count
        codec.decode(
            self._slot.stream, columns.sources, columns.lengths, columns.capacities, found, count, self.memory["temp"],
            columns.targets, statuses,
        )  # fmt: skip
        self._by_threads("decoder_join", statuses, found, columns.capacities, count, self.verdicts)

    @property
    def _codec(self) -> BatchCodec:
        assert self.nvcomp is not None
        codec = self._device.codec(self.nvcomp)
        assert codec is not None
        return codec

    def _verify(self, kernel: str, *more: int, at_once: int = 1) -> None:
        """Queue comparing the checksums of decoded chunks."""
        self._by_warps(kernel, self.columns.targets, self.columns.capacities, more=more, at_once=at_once)

    def _verify_xxh64(self) -> None:
        self._verify("xxh64_verify", at_once=CHUNKS_OF_XXH64)
