"""Files as the system serves them: out of the page cache, and after they were dropped from it."""

from __future__ import annotations

import ctypes
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.gpu.volumes import shards

_PIECE = 4 << 20
_MOSTLY = 0.02


def read_files(path: Path, threads: int) -> None:
    """Read the shards of a dataset into memory that is used again and again, on some threads."""
    pieces = [
        (file, offset, min(_PIECE, size - offset))
        for file, size in ((file, file.stat().st_size) for file in shards(path))
        for offset in range(0, size, _PIECE)
    ]

    def read(first: int) -> None:
        buffer = memoryview(bytearray(_PIECE))
        opened: dict[Path, int] = {}
        try:
            for file, offset, nbytes in pieces[first::threads]:
                descriptor = opened.get(file)
                if descriptor is None:
                    descriptor = opened[file] = os.open(file, os.O_RDONLY)
                os.preadv(descriptor, [buffer[:nbytes]], offset)
        finally:
            for descriptor in opened.values():
                os.close(descriptor)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(threads)))


def drop_from_page_cache(path: Path) -> str:
    """Drop the shards of a dataset from the page cache; return why they are still there, where they are."""
    if not hasattr(os, "posix_fadvise"):
        return "this system has no posix_fadvise"
    cached = []
    for file in shards(path):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            cached.append(cached_share(descriptor))
        finally:
            os.close(descriptor)
    share = max(cached, default=0.0)
    if share > _MOSTLY:
        return f"posix_fadvise(DONTNEED) leaves {share * 100:.0f} % of a file in the page cache"
    return ""


def cached_share(descriptor: int) -> float:
    """Return which share of a file's pages is in the page cache, as mincore says."""
    nbytes = os.fstat(descriptor).st_size
    if nbytes == 0:
        return 0.0
    pages = -(-nbytes // mmap.PAGESIZE)
    resident = np.zeros(pages, np.uint8)
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    size, address = ctypes.c_size_t, ctypes.c_void_p
    library.mmap.argtypes = (address, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong)
    library.mincore.argtypes = (address, size, address)
    library.munmap.argtypes = (address, size)
    begin = library.mmap(None, nbytes, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if begin in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap failed")
    try:
        if library.mincore(begin, nbytes, resident.ctypes.data) != 0:
            raise OSError(ctypes.get_errno(), "mincore failed")
    finally:
        library.munmap(begin, nbytes)
    return float((resident & 1).mean())
