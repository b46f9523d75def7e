"""What the CUDA engine asks of a device: the seam between its own work and CuPy, KvikIO, nvCOMP and Numba's launcher.

`wkgpu.engines.cuda.gpu` has it for GPUs. The tests have one of host memory and Numba's simulator, in which every
queued operation runs as late as it may, so a missing synchronisation reads stale data.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wkgpu.engines.cuda.caller_stream import Streams

Bytes: TypeAlias = NDArray[np.uint8]


class Memory(Protocol):
    """Bytes of a device."""

    @property
    def array(self) -> Any:
        """The bytes as an array (uint8) of `Device.xp`."""
        ...

    @property
    def address(self) -> int:
        """Where they begin."""
        ...

    @property
    def nbytes(self) -> int:
        """How many there are."""
        ...

    def words(self, width: int) -> Any:
        """Return them as kernels take them: words of 1, 2, 4 or 8 bytes, or for -8 signed ones of 8."""
        ...


class Event(Protocol):
    """A point in what a stream has been given to do."""

    def wait(self) -> None:
        """Wait until all before it is done, and raise what went wrong."""
        ...


class Stream(Protocol):
    """Operations that run one after another, beside those of other streams and of the calling thread.

    What they use must live, and host memory must stay as it is, until an event after them has been waited for.
    """

    def after(self, event: Any) -> None:
        """Let all further operations wait for an event of another stream of the device."""
        ...

    def record(self) -> Event:
        """Return the event that is reached when all operations so far are done."""
        ...

    def upload(self, source: Bytes, target: Memory, begin: int = 0) -> None:
        """Copy host memory of `Device.host_memory` into a device's, from the byte ``begin`` on."""
        ...

    def download(self, source: Memory, begin: int, target: Bytes) -> None:
        """Copy a device's memory from the byte ``begin`` on into host memory of `Device.host_memory`."""
        ...

    def clear(self, memory: Memory, nbytes: int) -> None:
        """Zero the first bytes."""
        ...

    def launch(self, kernel: Any, grid: tuple[int, int], threads: int, *arguments: Any) -> None:
        """Run a kernel of `wkgpu.kernels.cuda` on a grid ``(x, y)`` of blocks of ``threads`` threads."""
        ...


@dataclass(frozen=True)
class Columns:
    """Chunks to decode: addresses of device memory that holds an int64 for each."""

    sources: int
    """Addresses of the encoded chunks."""
    lengths: int
    """Encoded bytes."""
    targets: int
    """Addresses of where they are decoded to."""
    capacities: int
    """Decoded bytes; what a target holds."""
    wanted: int
    """How many of the decoded bytes are needed."""
    count: int


class Lz4Kernels(Protocol):
    """The kernels of ``lz4.cu``. They look at every bound: no chunk makes them touch what is not its own.

    ``statuses`` (int32) and ``decoded`` (int64) are addresses of what they say of each chunk: a code of
    `wkgpu.kernels.failures`, and the bytes that it was decoded to.
    """

    def decode(self, stream: Any, columns: Columns, statuses: int, decoded: int) -> None:
        """Queue decoding chunks; behind the wanted bytes of a target there is anything."""
        ...

    def check(self, stream: Any, columns: Columns, zeros: int, zeros_bytes: int, statuses: int, decoded: int) -> None:
        """Queue finding the chunks that are damaged, and putting the encoded chunk ``zeros`` in their place.

        Their sources and lengths are replaced in the columns; their status and decoded bytes are those that they have.
        """
        ...

    def join(
        self, stream: Any, columns: Columns, found_statuses: int, found_decoded: int, statuses: int, decoded: int
    ) -> None:
        """Queue adding what another decoder has found, of chunks whose status was good before."""
        ...


class ChunkKernels(Protocol):
    """The kernels of ``frames.cu`` and ``blosc.cu``, which say what their arguments are."""

    @property
    def warps_of_blosc(self) -> int:
        """How many warps a block of ``blosc_decode`` has; all others take any number."""
        ...

    def launch(self, stream: Any, name: str, blocks: int, warps: int, *numbers: int) -> None:
        """Queue a kernel by its name on a grid of blocks; arguments are addresses and numbers."""
        ...


class BatchCodec(Protocol):
    """Decodes and encodes many chunks at once.

    Arguments named in the plural are addresses of device memory that holds ``count`` int64 each (``statuses``: int32,
    0 where a chunk went well).
    """

    @property
    def max_encoded_chunk_bytes(self) -> int:
        """The largest chunk that can be encoded, decoded bytes."""
        ...

    @property
    def encode_alignment(self) -> int:
        """Of what the address of each chunk that is encoded must be a multiple."""
        ...

    def bound(self, chunk_bytes: int) -> int:
        """Return the most bytes that a chunk is encoded to."""
        ...

    def decode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        """Return how many bytes of working memory `decode` needs."""
        ...

    def encode_temp_bytes(self, count: int, chunk_bytes: int) -> int:
        """Return how many bytes of working memory `encode` needs."""
        ...

    def decode(
        self, stream: Any, sources: int, lengths: int, capacities: int, decoded: int, count: int, temp: Memory,
        targets: int, statuses: int,
    ) -> None:  # fmt: skip
        """Queue decoding chunks that have been checked; ``decoded`` receives their decoded bytes."""
        ...

    def encode(
        self, stream: Any, sources: int, lengths: int, chunk_bytes: int, count: int, temp: Memory, targets: int,
        encoded: int, statuses: int,
    ) -> None:  # fmt: skip
        """Queue encoding chunks of at most ``chunk_bytes``; ``encoded`` receives their encoded bytes."""
        ...


class DeviceFile(Protocol):
    """A file whose bytes go to, and come from, the memory of a device."""

    def read(self, memory: Memory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
        """Begin to read, now and in no stream, to the byte ``begin`` of a memory; the result waits, and says how many.

        Raises
        ------
        OSError
            Here, or when the result is called.
        """
        ...

    def write(self, memory: Memory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
        """Begin to write to a file offset, as `read` does."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Device(Protocol):
    """A machine with memory of its own."""

    @property
    def name(self) -> str:
        """``"cuda:0"``, ..."""
        ...

    @property
    def xp(self) -> ModuleType:
        """The array module of its arrays."""
        ...

    @property
    def threads(self) -> int:
        """Threads of a block; a power of two."""
        ...

    @property
    def blocks(self) -> int:
        """How many blocks keep it busy."""
        ...

    def active(self) -> AbstractContextManager[Any]:
        """Make it the current device of the calling thread for a ``with`` block, in which all else is called.

        The current stream is that of the caller, also where PyTorch has another one than CuPy. What has been given to
        either is before what the block does, and that is before what they are given next.

        Raises
        ------
        DeviceError
            While that stream captures a CUDA graph.
        """
        ...

    def side_streams(self) -> Streams:
        """Return the stream that calls of this thread work in, unless it is a default one."""
        ...

    def record_event(self) -> Event:
        """Return the event that is reached when what the caller has given to the device before is done."""
        ...

    def new_stream(self) -> Stream:
        """Return a stream of the engine's own."""
        ...

    def memory(self, nbytes: int) -> Memory:
        """Take memory that nothing uses any more.

        Raises
        ------
        DeviceMemoryError
            If there is not as much.
        """
        ...

    def host_memory(self, nbytes: int) -> Bytes:
        """Take memory of the host that the device can copy from and to by itself."""
        ...

    def release(self) -> None:
        """Give memory that nothing uses back to the system."""
        ...

    def free_bytes(self) -> int:
        """Return the bytes that an array may have, as far as the device tells."""
        ...

    def span(self, array: Any) -> tuple[Memory, int]:
        """Return the memory from the first to the last byte of an array's items, and where item 0 is in it."""
        ...

    def open(self, descriptor: int, *, writable: bool = False) -> DeviceFile:
        """Open the file of a descriptor once more."""
        ...

    def drain_files(self) -> None:
        """Wait until all requests to files are done, of whatever call: Ctrl+C may have lost one that was just made."""
        ...

    @property
    def lz4(self) -> Lz4Kernels:
        """The kernels for LZ4 chunks that come with wkgpu."""
        ...

    @property
    def chunk_kernels(self) -> ChunkKernels | None:
        """The kernels for chunks of Zarr that come with wkgpu; None where the device has none."""
        ...

    def codec(self, name: str) -> BatchCodec | None:
        """Return what decodes and encodes batches: of "lz4", "zstd" or "deflate"; None where the device has nothing."""
        ...

    def launch(self, kernel: Any, blocks: int, *arguments: Any) -> None:
        """Queue a kernel behind what the caller has given to the device, as CuPy's functions are.

        Parameters
        ----------
        kernel
            Of Numba.
        blocks : int
            How many blocks of `threads` threads it gets, at least.
        arguments
            Arrays of this device, numbers, and tuples of both.
        """
        ...

    # ---- Arrays

    def asarray(self, data: Any) -> Any:
        """Return data as this device's array."""
        ...

    def is_on_host(self, array: Any) -> bool:
        """Whether an array that `as_input` leaves as it is lies in the host's memory, and can be gathered there."""
        ...

    def to_host(self, array: Any) -> NDArray[Any]:
        """Return an array as a NumPy array."""
        ...

    def as_output(self, out: Any) -> Any:
        """See `Engine.as_output`."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """See `Engine.empty`."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Any:
        """See `Engine.zeros`."""
        ...
