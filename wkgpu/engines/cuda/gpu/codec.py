"""nvCOMP's codecs on a GPU."""

from __future__ import annotations

from wkgpu.engines.cuda import nvcomp
from wkgpu.engines.cuda.device import Memory
from wkgpu.engines.cuda.gpu.streams import CudaStream
from wkgpu.errors import DeviceError
from wkgpu.forking import cached_property


class NvcompCodec:
    """Batches of nvCOMP; see `wkgpu.engines.cuda.device.BatchCodec`."""

    def __init__(self, batched: nvcomp.Batched) -> None:
        self._batched = batched

    @property
    def max_encoded_chunk_bytes(self) -> int:
        """The largest chunk that nvCOMP encodes."""
        return self._batched.max_encoded_chunk_bytes

    @cached_property
    def encode_alignment(self) -> int:
        """Of what nvCOMP wants the address of each chunk to be a multiple."""
        return self._batched.encode_alignments().input

    def bound(self, chunk_bytes: int) -> int:
        """Return the most bytes that a chunk is encoded to."""
        return self._batched.bound(chunk_bytes)

    def decode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        """Return how many bytes `decode` works in."""
        return self._batched.decode_temp_bytes(count, chunk_bytes, count * chunk_bytes)

    def encode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        """Return how many bytes `encode` works in."""
        return self._batched.encode_temp_bytes(count, chunk_bytes, count * chunk_bytes)

    def decode(
        self, stream: CudaStream, sources: int, lengths: int, capacities: int, decoded: int, count: int,
        temp: Memory, targets: int, statuses: int,
    ) -> None:  # fmt: skip
        """Queue decoding."""
        try:
            self._batched.decode(
                sources, lengths, capacities, decoded, count, temp.address, temp.nbytes, targets, statuses,
                stream.handle,
            )  # fmt: skip
        except DeviceError:
            stream.record().wait()  # nvCOMP does not say whether the GPU is lost
            raise

    def encode(
        self, stream: CudaStream, sources: int, lengths: int, chunk_bytes: int, count: int, temp: Memory,
        targets: int, encoded: int, statuses: int,
    ) -> None:  # fmt: skip
        """Queue encoding."""
        try:
            self._batched.encode(
                sources, lengths, chunk_bytes, count, temp.address, temp.nbytes, targets, encoded, statuses,
                stream.handle,
            )  # fmt: skip
        except DeviceError:
            stream.record().wait()  # as above
            raise
