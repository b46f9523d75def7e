"""Files that KvikIO reads into, and writes from, the memory of a GPU."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import kvikio
import kvikio.defaults

from wkgpu.engines.cuda.device import Memory
from wkgpu.settings import config

_DIRECT_WRITES = "KVIKIO_AUTO_DIRECT_IO_WRITE"
_PAGE = 4096
_LEAST_TASK_BYTES = 256 << 10  # of a request, that one of KvikIO's threads works on


def set_defaults() -> None:
    """Give KvikIO threads, of which it begins with a single one, where nobody has chosen another number.

    On its POSIX path it would write past the page cache, so that the next read had to wait for the disk: not with us,
    unless ``KVIKIO_AUTO_DIRECT_IO_WRITE`` says so.
    """
    if kvikio.defaults.get("num_threads") == 1:
        kvikio.defaults.set({"num_threads": max(config.threads, 1)})
    if _DIRECT_WRITES not in os.environ:
        kvikio.defaults.set({"auto_direct_io_write": False})


class KvikioFile:
    """A file that KvikIO reads into, and writes from, the memory of a GPU.

    With GPUDirect Storage the bytes never touch the host's memory; elsewhere KvikIO's POSIX path copies them through
    pinned buffers of its own threads.
    """

    def __init__(self, path: str, flags: str) -> None:
        try:
            self._file = kvikio.CuFile(path, flags)
        except Exception as error:
            raise OSError(errno.EIO, f"KvikIO cannot open the file: {error}") from error

    def read(self, memory: Memory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
        """Begin to read; see `wkgpu.engines.cuda.device.DeviceFile`."""
        return _result(self._file.pread, memory, begin, nbytes, offset)

    def write(self, memory: Memory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
        """Begin to write."""
        return _result(self._file.pwrite, memory, begin, nbytes, offset)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _result(request: Any, memory: Memory, begin: int, nbytes: int, offset: int) -> Callable[[], int]:
    """Make a request, and return what waits for it; KvikIO's errors, of whatever class, become an `OSError`."""
    # KvikIO's tasks of 4 MiB would leave most of its threads without work for what a small batch has fetched.
    share = -(-nbytes // max(int(kvikio.defaults.get("num_threads")), 1))
    task = min(max(-(-share // _PAGE) * _PAGE, _LEAST_TASK_BYTES), int(kvikio.defaults.get("task_size")))
    try:
        future = request(memory.array[begin : begin + nbytes], nbytes, offset, task)
    except Exception as error:
        raise OSError(errno.EIO, str(error)) from error

    def settle() -> int:
        try:
            return int(future.get())
        except Exception as error:
            raise OSError(errno.EIO, str(error)) from error

    return settle
