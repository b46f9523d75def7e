"""nvCOMP, NVIDIA's library that decodes and encodes batches of chunks on a CUDA device, bound with ctypes.

Only what wkgpu calls is bound, and nothing is loaded before `load` is called. Addresses and the handle of a CUDA stream
are plain integers, 0 for none. All arrays that a batch consists of lie in memory that the device can access.

The names of C functions, structs and values are those of the headers in the wheel of version 6 (``nvcomp.h``,
``nvcomp/lz4.h``, ``nvcomp/zstd.h``, ``nvcomp/deflate.h``, ``nvcomp/shared_types.h``); the tests compare them with this
file.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Iterator
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from wkgpu.errors import DeviceError

MAJOR = 6
"""The only major version that is used: structs and prototypes differ between majors."""

_INSTALL = f"pip install 'nvidia-nvcomp-cu13=={MAJOR}.*' (CUDA 12: 'nvidia-nvcomp-cu12=={MAJOR}.*')"


class Status(IntEnum):
    """What a function returns, and what it stores for each chunk (``nvcompStatus_t``, an int32)."""

    SUCCESS = 0
    INVALID_VALUE = 10
    NOT_SUPPORTED = 11
    CANNOT_DECOMPRESS = 12
    BAD_CHECKSUM = 13
    CANNOT_VERIFY_CHECKSUMS = 14
    OUTPUT_BUFFER_TOO_SMALL = 15
    WRONG_HEADER_LENGTH = 16
    ALIGNMENT = 17
    CHUNK_SIZE_TOO_LARGE = 18
    CANNOT_COMPRESS = 19
    WRONG_INPUT_LENGTH = 20
    BATCH_SIZE_TOO_LARGE = 21
    SUB_CHUNK_COUNT_TOO_LARGE = 22
    SUB_CHUNK_COUNT_TOO_SMALL = 23
    OUTPUT_BUFFER_ALIGNMENT_TOO_SMALL = 24
    CUDA_ERROR = 1000
    INTERNAL = 10000


BACKEND_CUDA = 2  # NVCOMP_DECOMPRESS_BACKEND_CUDA
TYPE_CHAR = 0  # NVCOMP_TYPE_CHAR
BITSHUFFLE_NONE = 0  # NVCOMP_BITSHUFFLE_NONE


class Alignments(NamedTuple):
    """The bytes of which an address must be a multiple: of each chunk that is read or written, and of ``temp``."""

    input: int
    output: int
    temp: int


class Lz4EncodeOptions(Structure):
    """``nvcompBatchedLZ4CompressOpts_t``."""

    _fields_ = (("data_type", c_int), ("bitshuffle_mode", c_int), ("reserved", c_char * 56))


class Lz4DecodeOptions(Structure):
    """``nvcompBatchedLZ4DecompressOpts_t``."""

    _fields_ = (
        ("backend", c_int), ("sort_before_hw_decompress", c_int), ("data_type", c_int), ("bitshuffle_mode", c_int),
        ("reserved", c_char * 48),
    )  # fmt: skip


class ZstdEncodeOptions(Structure):
    """``nvcompBatchedZstdCompressOpts_t``."""

    _fields_ = (("reserved", c_char * 64),)


class ZstdDecodeOptions(Structure):
    """``nvcompBatchedZstdDecompressOpts_t``."""

    _fields_ = (("backend", c_int), ("reserved", c_char * 60))


class DeflateEncodeOptions(Structure):
    """``nvcompBatchedDeflateCompressOpts_t``."""

    _fields_ = (("algorithm", c_int), ("reserved", c_char * 60))


class DeflateDecodeOptions(Structure):
    """``nvcompBatchedDeflateDecompressOpts_t``."""

    _fields_ = (("backend", c_int), ("sort_before_hw_decompress", c_int), ("reserved", c_char * 56))


class _Function:
    """A function of the library that raises what it returns; its parameters have our names and are in its order."""

    def __init__(self, library: ctypes.CDLL, name: str, **parameters: Any) -> None:
        self.name = name
        self.parameters = parameters
        self.call: Any = getattr(library, name)
        self.call.argtypes = tuple(parameters.values())
        self.call.restype = c_int
        self._sentence: Any = library.nvcompGetStatusString
        self._sentence.argtypes = (c_int,)
        self._sentence.restype = c_char_p

    def __call__(self, *arguments: Any) -> None:
        status = self.call(*arguments)
        if status == Status.SUCCESS:
            return
        given = ", ".join(
            f"{name}={value:#x}" if kind is c_void_p else f"{name}={value}"
            for (name, kind), value in zip(self.parameters.items(), arguments, strict=True)
            if isinstance(value, int)
        )
        title = Status(status).name if status in set(Status) else "an unknown status"
        advice = ". nvidia-smi tells whether a device works, and with which CUDA" if status == Status.CUDA_ERROR else ""
        sentence = self._sentence(status).decode() + advice
        raise DeviceError(f"nvCOMP's {self.name}({given}) returned {title} ({status}): {sentence}.")


class Batched:
    """The batched functions of one codec; a subclass gives its name, options and limits.

    A batch has 1 to 2^31 - 1 chunks. Its arrays have an entry for each: addresses and sizes have 8 bytes, statuses 4,
    and an array is aligned to its entries. `decode` and `encode` enqueue work on the stream and return before it is
    done; all memory must stay until then. To break these rules is undefined behaviour, says the header; some breaches
    are noticed, and raise a `DeviceError`.
    """

    codec: ClassVar[str]
    encode_options: ClassVar[Structure]
    decode_options: ClassVar[Structure]
    max_encoded_chunk_bytes: ClassVar[int]
    max_decoded_chunk_bytes: ClassVar[int]

    def __init__(self, library: ctypes.CDLL) -> None:
        def bind(function: str, **parameters: Any) -> _Function:
            return _Function(library, f"nvcompBatched{self.codec}{function}", **parameters)

        size, address, encode, decode = c_size_t, c_void_p, type(self.encode_options), type(self.decode_options)
        temp = {"temp_bytes": POINTER(size), "total_bytes": size, "stream": address}
        alignments = POINTER(size * 3)  # nvcompAlignmentRequirements_t
        self._decode = bind(
            "DecompressAsync", sources=address, source_bytes=address, capacities=address, decoded_bytes=address,
            count=size, temp=address, temp_bytes=size, targets=address, options=decode, statuses=address,
            stream=address,
        )  # fmt: skip
        self._encode = bind(
            "CompressAsync", sources=address, source_bytes=address, chunk_bytes=size, count=size, temp=address,
            temp_bytes=size, targets=address, encoded_bytes=address, options=encode, statuses=address, stream=address,
        )  # fmt: skip
        self._decode_temp = bind("DecompressGetTempSize", count=size, chunk_bytes=size, options=decode, **temp)
        self._encode_temp = bind("CompressGetTempSize", count=size, chunk_bytes=size, options=encode, **temp)
        self._bound = bind("CompressGetMaxOutputChunkSize", chunk_bytes=size, options=encode, bound=POINTER(size))
        self._decode_alignments = bind("DecompressGetRequiredAlignments", options=decode, alignments=alignments)
        self._encode_alignments = bind("CompressGetRequiredAlignments", options=encode, alignments=alignments)

    def decode(
        self, sources: int, source_bytes: int, capacities: int, decoded_bytes: int, count: int,
        temp: int, temp_bytes: int, targets: int, statuses: int, stream: int,
    ) -> None:  # fmt: skip
        """Decode a batch of chunks (``DecompressAsync``).

        Parameters
        ----------
        sources, source_bytes : addresses of arrays of addresses and of sizes in bytes
            The encoded chunks. They are only read, as are both arrays.
        capacities : address of an array of sizes in bytes
            What each target holds; only read. A chunk that decodes to more fails with ``CANNOT_DECOMPRESS``.
        decoded_bytes : address of an array of sizes in bytes
            Receives what each chunk decoded to. The library refuses 0 here, though its header does not say so.
        count : int
            The number of chunks.
        temp, temp_bytes : address, size in bytes
            Memory of the device to work in, of `decode_temp_bytes`; both 0 where that is 0.
        targets : address of an array of addresses
            Where the decoded chunks go; the array itself is only read.
        statuses : address of an array of int32
            Receives the `Status` of each chunk, for the caller to check; 0 is refused as for ``decoded_bytes``.
        stream : int
            The handle of the CUDA stream.

        Raises
        ------
        DeviceError
            Where nothing could be launched. What becomes of single chunks is in ``statuses``.
        """
        chunks = (sources, source_bytes, capacities, decoded_bytes, count)
        self._decode(*chunks, temp, temp_bytes, targets, self.decode_options, statuses, stream)

    def encode(
        self, sources: int, source_bytes: int, chunk_bytes: int, count: int, temp: int, temp_bytes: int,
        targets: int, encoded_bytes: int, statuses: int, stream: int,
    ) -> None:  # fmt: skip
        """Encode a batch of chunks (``CompressAsync``); parameters and errors are those of `decode` but for these.

        Parameters
        ----------
        chunk_bytes : int
            The size of the largest chunk in bytes, at most `max_encoded_chunk_bytes`.
        temp, temp_bytes : address, size in bytes
            Memory of the device to work in, of `encode_temp_bytes`. Too little of it need not be noticed.
        targets : address of an array of addresses
            Where the encoded chunks go, each with `bound` bytes of memory.
        encoded_bytes : address of an array of sizes in bytes
            Receives what each chunk was encoded to. The library refuses 0.
        statuses : address of an array of int32
            Receives the `Status` of each chunk, for the caller to check; 0 where it is not wanted.
        """
        chunks = (sources, source_bytes, chunk_bytes, count)
        self._encode(*chunks, temp, temp_bytes, targets, encoded_bytes, self.encode_options, statuses, stream)

    def decode_temp_bytes(self, count: int, chunk_bytes: int, total_bytes: int) -> int:
        """Return the bytes that `decode` works in, where chunks decode to at most so many bytes, each and together."""
        temp_bytes = c_size_t()
        self._decode_temp(count, chunk_bytes, self.decode_options, byref(temp_bytes), total_bytes, 0)
        return temp_bytes.value

    def encode_temp_bytes(self, count: int, chunk_bytes: int, total_bytes: int) -> int:
        """Return the bytes that `encode` works in, where chunks have at most so many bytes, each and together."""
        temp_bytes = c_size_t()
        self._encode_temp(count, chunk_bytes, self.encode_options, byref(temp_bytes), total_bytes, 0)
        return temp_bytes.value

    def bound(self, chunk_bytes: int) -> int:
        """Return the bytes that a chunk of at most ``chunk_bytes`` is encoded to at worst."""
        bound = c_size_t()
        self._bound(chunk_bytes, self.encode_options, byref(bound))
        return bound.value

    def decode_alignments(self) -> Alignments:
        """Return what chunks and ``temp`` must be aligned to for `decode`, in bytes."""
        found = (c_size_t * 3)()
        self._decode_alignments(self.decode_options, byref(found))
        return Alignments(*found)

    def encode_alignments(self) -> Alignments:
        """Return what chunks and ``temp`` must be aligned to for `encode`, in bytes."""
        found = (c_size_t * 3)()
        self._encode_alignments(self.encode_options, byref(found))
        return Alignments(*found)


class BatchedLz4(Batched):
    """LZ4 blocks without a frame or a size, as liblz4's block functions read and write them.

    The header says that a damaged chunk, or one that its target cannot hold, gets the status ``CANNOT_DECOMPRESS``, and
    that the others of its batch are decoded. On an H100 that was not so: such a chunk ended the process's use of CUDA,
    or was written beyond its target. So only chunks that have been checked may be decoded. Of the hardware engine the
    header does not even promise a status.
    """

    codec = "LZ4"
    # Sizes must be multiples of the data type, and any number of bytes is one of CHAR. Shuffled bits are no plain LZ4.
    encode_options = Lz4EncodeOptions(TYPE_CHAR, BITSHUFFLE_NONE)
    decode_options = Lz4DecodeOptions(BACKEND_CUDA, 0, TYPE_CHAR, BITSHUFFLE_NONE)
    max_encoded_chunk_bytes = 1 << 24  # nvcompLZ4CompressionMaxAllowedChunkSize
    max_decoded_chunk_bytes = (1 << 32) - 1  # nvcompLZ4DecompressionMaxAllowedChunkSize, encoded and decoded


class BatchedZstd(Batched):
    """Frames of zstd, RFC 8878. A damaged one is undefined behaviour, says the header: only checked ones are decoded.

    Nothing in the header says whether the frames that it makes end with a checksum; its decoder compares none. How much
    memory the encoder works in depends on the device, and is not told without one.
    """

    codec = "Zstd"
    encode_options = ZstdEncodeOptions()
    decode_options = ZstdDecodeOptions(BACKEND_CUDA)
    # The text beside the encoder says 16 MB, the constant beside it more: nvcompZstdCompressionMaxAllowedChunkSize.
    max_encoded_chunk_bytes = 1 << 24
    max_decoded_chunk_bytes = (1 << 31) - 1  # nvcompZstdDecompressionMaxAllowedChunkSize, encoded and decoded


class BatchedDeflate(Batched):
    """Deflate data, RFC 1951, without a header or a checksum; as for zstd, only checked ones may be decoded.

    That of gzip and zlib, too: its own decoder of gzip takes data at any address, this one at multiples of 4 alone, but
    this one needs no choice of an algorithm (one of those of gzip takes 4 MiB for each chunk) and no trust in headers.
    """

    codec = "Deflate"
    encode_options = DeflateEncodeOptions(1)
    decode_options = DeflateDecodeOptions(BACKEND_CUDA, 0)
    max_encoded_chunk_bytes = 1 << 31  # nvcompDeflateCompressionMaxAllowedChunkSize
    max_decoded_chunk_bytes = (1 << 32) - 1  # nvcompDeflateDecompressionMaxAllowedChunkSize, encoded and decoded


class Nvcomp:
    """The loaded library: its version, such as "6.0.0", the path of its file, and its codecs."""

    def __init__(self, library: ctypes.CDLL, path: str, version: str) -> None:
        self.path = path
        self.version = version
        self.lz4 = BatchedLz4(library)
        self.zstd = BatchedZstd(library)
        self.deflate = BatchedDeflate(library)


@functools.cache
def load() -> Nvcomp:
    """Load nvCOMP: that of the package ``nvidia.libnvcomp``, otherwise that which the system's loader finds.

    Raises
    ------
    DeviceError
        Where there is none, or none of this major version.
    """
    refused = []
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            path, version = _identify(library, name)
            if version.partition(".")[0] == str(MAJOR):
                return Nvcomp(library, path, version)
            refused.append(f"{path} is version {version}")
        except (OSError, AttributeError) as error:  # not there or not loadable; a function is missing
            refused.append(str(error))
    raise DeviceError(f"No nvCOMP {MAJOR} was found: {'; '.join(refused)}. To install it: {_INSTALL}.")


def _candidates() -> Iterator[str]:
    try:
        package = importlib.util.find_spec("nvidia.libnvcomp")  # found, but not imported
    except ModuleNotFoundError:  # there is no folder "nvidia" either
        package = None
    for folder in (package and package.submodule_search_locations) or ():
        yield from sorted(map(str, Path(folder).glob("lib64/libnvcomp.so.*")))
    yield f"libnvcomp.so.{MAJOR}"


def _identify(library: ctypes.CDLL, name: str) -> tuple[str, str]:
    """Return the file and the version of a library of any major version."""
    properties = (c_uint32 * 64)()  # nvcompProperties_t, and room for what another version may add to it
    library.nvcompGetProperties(byref(properties))
    number = properties[0]  # major * 1000 + minor * 100 + patch
    version = f"{number // 1000}.{number % 1000 // 100}.{number % 100}"
    if "/" in name:
        return name, version
    symbol = (c_char_p * 4)()  # Dl_info of dlfcn.h, whose first field names the file
    found = ctypes.CDLL(None).dladdr(ctypes.cast(library.nvcompGetProperties, c_void_p), byref(symbol))
    return os.fsdecode(symbol[0]) if found and symbol[0] else name, version
