"""Decoding the LZ4 chunks of a batch where they lie; a damaged one does no harm.

nvCOMP's decoder does not keep its header's promise of a status for damaged chunks: it ends the process's use of CUDA,
or writes into the targets of other chunks, or takes a chunk that ends too early. So nothing reaches it unchecked: a
kernel of wkgpu looks at all chunks first and replaces a damaged one by an encoded chunk of zeros. The other
decoder is a kernel of wkgpu that checks while it decodes. Both are queued behind the fetch, and the host waits for
neither.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import lz4.block
import numpy as np

from wkgpu.engines.cuda.device import BatchCodec, Bytes, Device
from wkgpu.engines.cuda.slots import BatchTable, Slot
from wkgpu.errors import ConfigurationError
from wkgpu.kernels.cpu import intrinsics
from wkgpu.kernels.failures import OK
from wkgpu.settings import LZ4_DECODERS, config
from wkgpu.storage.codecs import Pipeline
from wkgpu.storage.plans.chunk_lookup import Ints

Failed = tuple[int, int, int]
"""Which chunk, a code of `wkgpu.kernels.failures`, and the bytes that it was decoded to."""

_COLUMNS = 5  # of the table, for each chunk
_RESULT_BYTES = 12  # for each chunk: its decoded bytes (int64) and its status (int32)

# An H100, GB/s of decoded bytes in a full batch, and microseconds of 27 chunks; chunks of 32³ (nvCOMP: with the check):
#
# | chunks          | batch | nvCOMP  | kernel   | 27 chunks: nvCOMP | kernel        |
# |-----------------|-------|---------|----------|-------------------|---------------|
# | EM u8 LZ4       | 16384 |     331 |  723-757 |               268 |            60 |
# | EM u8 LZ4HC     | 16384 |   68-90 |       68 |             1,965 |   1,050-1,120 |
# | EM u16 LZ4      |  8192 |   43-54 |       55 |                   |               |
# | labels u32 LZ4  |  8192 | 164-195 |  305-340 |       2,600-3,320 |     810-1,260 |
# | labels u32 LZ4HC|  8192 | 361-415 |      360 |       1,254-1,482 |       407-526 |
# | labels u64 LZ4  |  4096 |     188 |  380-397 |       3,992-4,503 |   1,406-1,635 |
_MIN_CHUNKS_OF_NVCOMP = 2048
_NONE = np.zeros(0, np.int64)


def chosen_decoder(codec: str, count: int) -> str:
    """Return what decodes a batch fastest, unless `wkgpu.config.cuda_lz4` says what to take.

    Parameters
    ----------
    codec : {"lz4", "lz4hc"}
        That of the mag; a shard in it may have the other one, which costs some speed.
    count : int
        Chunks of the batch.

    Raises
    ------
    ConfigurationError
        For a setting that is none.

    Examples
    --------
    >>> chosen_decoder("lz4", 10_000), chosen_decoder("lz4hc", 10_000), chosen_decoder("lz4hc", 27)
    ('kernel', 'nvcomp', 'kernel')
    """
    setting = config.cuda_lz4
    if setting not in LZ4_DECODERS:
        raise ConfigurationError(f"wkgpu.config.cuda_lz4 is {setting!r}; give one of {', '.join(LZ4_DECODERS)}.")
    if setting != "auto":
        return setting
    return "nvcomp" if codec == "lz4hc" and count >= _MIN_CHUNKS_OF_NVCOMP else "kernel"


def first_refused(lengths: Ints, size: int) -> int | None:
    """Return the first chunk that no decoder is given: it is longer than any that decodes to ``size`` bytes.

    Parameters
    ----------
    lengths : int64 (n,)
        Encoded bytes.
    size : int
        Decoded bytes of each. None is decoded above `machine.LZ4_MAX_INPUT_BYTES`, which no LZ4 encoder takes.
    """
    bound = intrinsics.lz4_bound(size) if size <= intrinsics.LZ4_MAX_INPUT_BYTES else -1
    refused = lengths > bound
    return int(refused.argmax()) if refused.any() else None


class Decoding:
    """LZ4 chunks of a batch to be decoded; made before the batch's table is uploaded, to which it adds columns.

    Parameters
    ----------
    slot : Slot
        Idle.
    codecs : tuple of Codec
        Of the mag: LZ4 or LZ4HC.
    sources, targets : int64 (n,)
        Addresses of the encoded chunks, and of where they are decoded to. Memory can be read in whole blocks of 16
        bytes that hold a byte of a source, and in whole words of 4 bytes that hold one of a target: that of a slot
        begins at a multiple of 256 bytes, and has a multiple of as many.
    lengths : int64 (n,)
        Encoded bytes, of which `first_refused` has found none.
    size : int
        Decoded bytes of each chunk.
    wanted : int64 (n,)
        How many of these are needed. Behind them the decoder may stop, and memory then holds anything. Damage there
        may go unseen, as on the CPU. A chunk that is wanted whole has exactly ``size`` bytes, or fails.
    """

    def __init__(
        self, device: Device, slot: Slot, table: BatchTable, codecs: Pipeline, sources: Ints, lengths: Ints,
        targets: Ints, size: int, wanted: Ints | int,
    ) -> None:  # fmt: skip
        self.count = count = len(sources)
        self.size = size
        self._device = device
        self._slot = slot
        self.decoder = chosen_decoder(codecs[0].name, count)
        self.columns = table.add_chunks(sources, lengths, targets, size, wanted)
        self._results = slot.memory("results", _RESULT_BYTES * count)
        self._host: Bytes | None = None
        if self.decoder == "nvcomp":
            self._zeros = table.add_bytes(_encoded_zeros(size))
            self._found = slot.memory("found", _RESULT_BYTES * count)
            self._temp = slot.memory("temp", self._codec.decode_temp_bytes(count, size))

    min_batch_chunks: ClassVar[int] = 0

    @staticmethod
    def first_refused(lengths: Ints, size: int) -> int | None:
        """See `first_refused`."""
        return first_refused(lengths, size)

    @staticmethod
    def working_bytes(device: Device, codecs: Pipeline, lengths: Ints, size: int) -> dict[str, int]:
        """Return the bytes of each memory of a slot that it takes, by name, besides the table."""
        count = len(lengths)
        if chosen_decoder(codecs[0].name, count) != "nvcomp":
            return {"results": _RESULT_BYTES * count}
        nvcomp = device.codec("lz4")
        assert nvcomp is not None
        results = _RESULT_BYTES * count
        return {"results": results, "found": results, "temp": nvcomp.decode_temp_bytes(count, size)}

    @staticmethod
    def items(count: int, size: int) -> int:
        """Return how many numbers it adds to a table, at most."""
        return _COLUMNS * count + size // 255 // 8 + 8

    @property
    def statuses(self) -> int:
        """Address of the statuses of the chunks (int32)."""
        return self._results.address + 8 * self.count

    @property
    def _codec(self) -> BatchCodec:
        codec = self._device.codec("lz4")
        assert codec is not None
        return codec

    def queue(self) -> None:
        """Queue decoding behind what brings the encoded chunks; sound ones can be decoded again."""
        stream, columns, lz4 = self._slot.stream, self.columns, self._device.lz4
        decoded, statuses = self._results.address, self.statuses
        if self.decoder == "kernel":
            lz4.decode(stream, columns, statuses, decoded)
            return
        lz4.check(stream, columns, *self._zeros, statuses, decoded)
        found = self._found.address
        found_statuses = found + 8 * self.count
        self._codec.decode(
            stream, columns.sources, columns.lengths, columns.capacities, found, self.count, self._temp,
            columns.targets, found_statuses,
        )  # fmt: skip
        lz4.join(stream, columns, found_statuses, found, statuses, decoded)

    def download(self) -> None:
        """Queue telling the host how it went."""
        self._host = self._slot.host("results", _RESULT_BYTES * self.count)
        self._slot.stream.download(self._results, 0, self._host)

    def first_failed(self) -> Failed | None:
        """Return the first chunk that could not be decoded, when the slot has been finished."""
        assert self._host is not None
        statuses = self._host[8 * self.count :].view(np.int32)
        if not statuses.any():
            return None
        first = int((statuses != OK).argmax())
        return first, int(statuses[first]), int(self._host[: 8 * self.count].view(np.int64)[first])

    def left_to_host(self) -> Ints:
        """Return no chunk: the verdict on each is that of liblz4."""
        return _NONE


@lru_cache(maxsize=8)
def _encoded_zeros(nbytes: int) -> bytes:
    """Encode what takes the place of damaged chunks."""
    encoded: bytes = lz4.block.compress(bytes(nbytes), store_size=False)
    return encoded
