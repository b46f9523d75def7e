"""The fake driver's own functions: faults on request, counts of calls, and work that Python does in a stream.

``pattern`` is a name of the driver's functions as a shell would match it: ``"cuMemAlloc*"``, ``"cuMemHostAlloc"``,
``"cuLaunchKernel*"``, ``"cuMemcpy*"``, ``"*"``. CuPy's CUDA runtime comes by these names as well.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

OUT_OF_MEMORY = 2
INVALID_VALUE = 1
ILLEGAL_ADDRESS = 700
LAUNCH_FAILED = 719


@functools.cache
def library() -> Any:
    """The fake driver; raises an `OSError` in a process that has another one, or none."""
    found = ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
    if not hasattr(found, "fake_fail"):
        raise OSError("libcuda.so.1 is not the fake driver")
    found.fake_fail.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    found.fake_calls.restype = ctypes.c_long
    found.fake_set_capacity.argtypes = (ctypes.c_size_t,)
    found.fake_device_of.argtypes = (ctypes.c_uint64, ctypes.POINTER(ctypes.c_size_t))
    found.fake_queue.argtypes = (ctypes.c_void_p, _Task, ctypes.c_long)
    return found


_Task = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long)


def is_there() -> bool:
    """Whether this process runs on the fake driver."""
    try:
        return library() is not None
    except OSError:
        return False


# ---- Faults and counts


@contextmanager
def failing(pattern: str, status: int, *, skip: int = 0, times: int = -1) -> Iterator[None]:
    """Let calls fail: after the first ``skip`` ones so many, or with -1 all of them.

    A failed launch or copy is one that is not queued. What goes wrong later, in a stream, loses the device.
    """
    library().fake_fail(pattern.encode(), status, skip, times)
    try:
        yield
    finally:
        library().fake_mend()


@contextmanager
def lost(status: int = ILLEGAL_ADDRESS) -> Iterator[None]:
    """Lose all devices: every call fails, as after an illegal address, until the block ends.

    With a real driver it would be until the process ends; memory and streams are those of before.
    """
    library().fake_lose(status)
    try:
        yield
    finally:
        library().fake_mend()


@contextmanager
def capacity(nbytes: int) -> Iterator[None]:
    """Give each device so much memory; what is taken already counts."""
    library().fake_set_capacity(nbytes)
    try:
        yield
    finally:
        library().fake_set_capacity(0)


def calls(pattern: str) -> int:
    """Count the calls since the process began."""
    return int(library().fake_calls(pattern.encode()))


# ---- Memory


def at(address: int, dtype: Any, count: int, device: int | None = None) -> np.ndarray:
    """Return memory of a device as an array; raises an `IndexError` where that is not all its own.

    Parameters
    ----------
    device : int, optional
        Of whose memory it has to be.
    """
    dtype = np.dtype(dtype)
    nbytes = count * dtype.itemsize
    if not nbytes:
        return np.empty(0, dtype)
    room = ctypes.c_size_t()
    owner = library().fake_device_of(address, ctypes.byref(room))
    if room.value < nbytes or owner < 0 or device not in (None, owner):
        raise IndexError(f"{nbytes} bytes at {address:#x} of cuda:{owner}, which has {room.value}, used on {device}")
    if address % dtype.itemsize:
        raise IndexError(f"{dtype} at {address:#x}")
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)).view(dtype)


# ---- Work in a stream

_tasks: dict[int, Callable[[], int | None]] = {}
_numbers = itertools.count(1)


def queue(stream: int, task: Callable[[], int | None]) -> None:
    """Queue a Python function in a stream; a status that it returns loses the devices, and so does an error."""
    number = next(_numbers)
    _tasks[number] = task
    status = library().fake_queue(stream, _do, number)
    if status:
        raise RuntimeError(f"the fake driver does not queue: {status}")


def played(play: Callable[..., int | None], *arguments: Any) -> int:
    """Call what plays work of a device; an error is printed, and becomes that of an illegal address."""
    try:
        return play(*arguments) or 0
    except BaseException as error:
        traceback.print_exception(error, file=sys.stderr)
        return ILLEGAL_ADDRESS


@_Task
def _do(number: int) -> int:
    return played(_tasks.pop(number))
