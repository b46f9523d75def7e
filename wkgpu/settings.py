"""Settings of this process, read by the engines and the storage at each call.

Each has an environment variable, ``WKGPU_`` and its name in capitals, that gives its first value.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from wkgpu.errors import ConfigurationError

_Value = TypeVar("_Value")

LZ4_DECODERS = ("auto", "kernel", "nvcomp")
"""What `Config.cuda_lz4` may be."""

NEW_FORMATS = ("wkw", "zarr3")
"""What `Config.data_format` may be."""


def _from_environment(name: str, parse: Callable[[str], _Value], default: _Value) -> _Value:
    variable = f"WKGPU_{name.upper()}"
    text = os.environ.get(variable, "")
    if not text:
        return default
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigurationError(
            f"The environment variable {variable} is {text!r}: {error}. Correct or unset it."
        ) from error


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(f"{value} is negative")
    return value


def _truth(text: str) -> bool:
    if text.lower() not in ("0", "1", "false", "true", "no", "yes", "off", "on"):
        raise ValueError("give on or off")
    return text.lower() in ("1", "true", "yes", "on")


def _lz4_decoder(text: str) -> str:
    if text not in LZ4_DECODERS:
        raise ValueError(f"give one of {', '.join(LZ4_DECODERS)}")
    return text


def _data_format(text: str) -> str:
    if text not in NEW_FORMATS:
        raise ValueError(f"give one of {', '.join(NEW_FORMATS)}")
    return text


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _setting(name: str, parse: Callable[[str], _Value], default: Callable[[], _Value]) -> _Value:
    made: _Value = field(default_factory=lambda: _from_environment(name, parse, default()))
    return made


@dataclass
class Config:
    """The settings; `wkgpu.config` is the one in force.

    Parameters
    ----------
    device : str
        Where views are read to by default: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"`` for a GPU where one
        works. Default: the CPU, because a script that computes with NumPy works on it.
    data_format : {"wkw", "zarr3"}
        File format of new layers where none is given. Default: WKW, whose LZ4 is the fastest everywhere.
    threads : int
        Threads of the CPU engine; by default the cores that this process may use.
    staging_bytes : int
        Encoded bytes that one thread fetches before it decodes them (more, where a single chunk is larger).
    gpu_bytes : int
        Bytes of a GPU's memory that all calls of a process take together, besides outputs: a CUDA engine cuts its work
        into batches, and operations theirs into pieces, that fit in. 0, the default, stands for a quarter of what is
        free when the engine first works, and 8 GiB at most. A call that begins beside others works with smaller
        batches; it never waits for their memory.
    batch_bytes : int
        Most bytes that a batch of a CUDA engine fetches, and that it decodes, while the next one is fetched. A write
        of a NumPy array takes up to about as much of the host's memory.
    cuda_lz4 : {"auto", "kernel", "nvcomp"}
        What decodes LZ4 on a GPU: a kernel of wkgpu, or nvCOMP behind a kernel that looks for damage; by default the
        one that is faster, see `wkgpu.engines.cuda.decoding`. LZ4 inside of Blosc is always decoded by the kernel.
    cuda_decode_unchecked : bool
        Whether nvCOMP also decodes zstd chunks that no checksum vouches for, neither of their voxels (zstd's own) nor
        of their encoded bytes (crc32c). By default the CPU does. nvCOMP takes chunks for sound: a damaged one may
        change the voxels of other chunks that are decoded with it, unseen where these have no checksum either, or end
        the process's use of CUDA. Headers of all chunks are checked first, which finds truncated files and bytes that
        are no zstd, but not a bit that has changed in compressed data. So set it for files whose bytes are known to be
        right. What remains without it: a damaged chunk of zstd, gzip or zlib, without crc32c, is always an error, but
        it may still end the process's use of CUDA, or change memory of the GPU beside the chunks of its batch.
    pool_bytes : int
        Most bytes of released outputs that are kept for the next reads, which then need no fresh pages of memory;
        0 keeps none.
    coalesce_bytes : int
        Largest gap between two wanted byte ranges of a shard that is read through.
    durable_writes : bool
        Wait until the disk has a shard before it replaces the old one. Without it a crash of a process leaves the old
        or the new shard whole; with it a power failure does as well.
    foreign_writes : bool
        Whether files outside of a dataset's folder, to which links or paths in it lead, may be changed through it.
    locking : bool
        Whether writers lock files, so that no other process writes to the same shard or properties at the same time.
        Some file systems have no locks; where it is off, only the threads of one process exclude each other.

    Examples
    --------
    >>> import wkgpu
    >>> wkgpu.config.threads = 2
    """

    device: str = _setting("device", str, lambda: "cpu")
    data_format: str = _setting("data_format", _data_format, lambda: "wkw")
    threads: int = _setting("threads", _count, _usable_cores)
    staging_bytes: int = _setting("staging_bytes", _count, lambda: 1 << 20)
    gpu_bytes: int = _setting("gpu_bytes", _count, lambda: 0)
    batch_bytes: int = _setting("batch_bytes", _count, lambda: 1 << 30)
    cuda_lz4: str = _setting("cuda_lz4", _lz4_decoder, lambda: "auto")
    cuda_decode_unchecked: bool = _setting("cuda_decode_unchecked", _truth, lambda: False)
    pool_bytes: int = _setting("pool_bytes", _count, lambda: 2 << 30)
    coalesce_bytes: int = _setting("coalesce_bytes", _count, lambda: 8 << 10)
    durable_writes: bool = _setting("durable_writes", _truth, lambda: False)
    foreign_writes: bool = _setting("foreign_writes", _truth, lambda: False)
    locking: bool = _setting("locking", _truth, lambda: True)


config = Config()
