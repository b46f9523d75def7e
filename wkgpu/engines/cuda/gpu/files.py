"""Files that KvikIO reads into, and writes from, the memory of a GPU."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

import kvikio
import kvikio.defaults

from wkgpu.engines.cuda.cuda_errors import is_lost, lost
from wkgpu.engines.cuda.device import Memory
from wkgpu.settings import config

_DIRECT_WRITES = "KVIKIO_AUTO_DIRECT_IO_WRITE"
_COMPAT_MODE = "KVIKIO_COMPAT_MODE"
_PAGE = 4096
_MIN_TASK_BYTES = 256 << 10  # of a request, that one of KvikIO's threads works on


_opening = threading.Lock()  # whether a file is opened for the POSIX path is a setting of the process
_draining = threading.Lock()  # a pool that two threads reset at once would break


def set_defaults() -> None:
    """Set what KvikIO chooses badly, where the environment does not say otherwise.

    Threads: it begins with a single one. Its POSIX path writes past the page cache, so that the next read would have to
    wait for the disk (``KVIKIO_AUTO_DIRECT_IO_WRITE``). And wherever libcufile can be loaded, which its package
    brings, it hands files to cuFile; without GPUDirect Storage that reads past the page cache, registers each file
    and waits for the default stream, so that the POSIX path is several times as fast (``KVIKIO_COMPAT_MODE``).
    """
    if kvikio.defaults.get("num_threads") == 1:
        kvikio.defaults.set({"num_threads": max(config.threads, 1)})
    if _DIRECT_WRITES not in os.environ:
        kvikio.defaults.set({"auto_direct_io_write": False})
    if _COMPAT_MODE not in os.environ and not kvikio.defaults.is_compat_mode_preferred() and not _has_direct_storage():
        kvikio.defaults.set({"compat_mode": kvikio.CompatMode.ON})


def drain() -> None:
    """Wait for all that KvikIO's threads have been given: their pool does so before it gets new threads."""
    with _draining:
        kvikio.defaults.set({"num_threads": int(kvikio.defaults.get("num_threads"))})


def _has_direct_storage() -> bool:
    try:
        return bool(import_module("kvikio.cufile_driver").get("is_gds_available"))
    except Exception:  # of cuFile, of whatever class: it does not work
        return False


def _opened(path: str, flags: str) -> Any:
    """Open a file; for writing always on the POSIX path.

    Encoded chunks begin anywhere. GPUDirect Storage writes whole blocks of 4 KiB, of which it reads the rest before,
    and nothing says that neighbouring requests, or other writes of the same block, are safe then.
    """
    with _opening:
        if flags == "r" or kvikio.defaults.is_compat_mode_preferred():
            return kvikio.CuFile(path, flags)
        before = kvikio.defaults.get("compat_mode")
        try:
            kvikio.defaults.set({"compat_mode": kvikio.CompatMode.ON})
            return kvikio.CuFile(path, flags)
        finally:
            kvikio.defaults.set({"compat_mode": before})


class KvikioFile:
    """A file that KvikIO reads into, and writes from, the memory of a GPU.

    With GPUDirect Storage the bytes that are read never touch the host's memory; elsewhere, and for writes, KvikIO's
    POSIX path copies them through pinned buffers of its own threads.

    The streams of those copies are KvikIO's own and *blocking* ones: each copy waits for what the legacy default stream
    has been given, and that stream for the copy. So reads of long ranges in a loader thread take turns with work on the
    default stream, PyTorch's among it. Work beside them belongs on a stream that does not wait for the default one,
    such as ``torch.cuda.Stream()`` or ``cupy.cuda.Stream(non_blocking=True)``.
    """

    def __init__(self, path: str, flags: str) -> None:
        try:
            self._file = _opened(path, flags)
        except Exception as error:
            raise _reported(error, "KvikIO cannot open the file: ") from error

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
    task = min(max(-(-share // _PAGE) * _PAGE, _MIN_TASK_BYTES), int(kvikio.defaults.get("task_size")))
    try:
        future = request(memory.array[begin : begin + nbytes], nbytes, offset, task)
    except Exception as error:
        raise _reported(error) from error

    def complete() -> int:
        try:
            return int(future.get())
        except Exception as error:
            raise _reported(error) from error

    return complete


def _reported(error: Exception, what: str = "") -> Exception:
    """Return KvikIO's error as one of a file, or of the GPU where that is lost."""
    return lost(error, "A request to KvikIO") if is_lost(error) else OSError(errno.EIO, f"{what}{error}")
