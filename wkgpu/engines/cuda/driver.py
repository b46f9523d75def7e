"""The NVIDIA driver, asked through its own C library, so that it answers where no other package is installed.

Nothing here raises: what does not work is a `Driver` with a problem, and what to do about it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import byref, c_char_p, c_int, c_size_t, create_string_buffer
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

LIBRARY = "libcuda.so.1"
MIN_CUDA = 12
"""The oldest major version of CUDA that the packages of the extras are made for."""

_DOWNLOAD = "install the driver from https://www.nvidia.com/drivers"
_UPDATE = "install a newer driver from https://www.nvidia.com/drivers"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_NOT_INITIALIZED, _NO_DEVICE = 3, 100
_MAJOR_CAPABILITY, _MINOR_CAPABILITY = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
_NODES = "nvidia[0-9]*", "nvhost-gpu", "dxg"  # of a GPU in a computer, in a Jetson, and in Windows' Linux

# What most often stands behind a failure of cuInit.
_ADVICE = {
    _NOT_INITIALIZED: "start processes with multiprocessing's 'spawn' or 'forkserver', because one that is forked from "
    "a process that had used CUDA cannot use it",
    34: "remove the folder 'stubs' from LD_LIBRARY_PATH, because the library there is only for linking",
    _NO_DEVICE: "see whether nvidia-smi lists a GPU; a container gets them with `docker run --gpus all`",
    802: "start the service nvidia-fabricmanager, which this machine needs",
    803: "restart the machine, because the driver was updated while it ran",
    804: "remove the package cuda-compat, which hides the driver's own library",
    999: "load the driver's module again (`sudo modprobe -r nvidia_uvm; sudo modprobe nvidia_uvm`), or restart the "
    "machine",
}


class Gpu(NamedTuple):
    """A GPU that this process may use; its position among them is the N of ``"cuda:N"``."""

    name: str
    nbytes: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class Driver:
    """What the driver says.

    Parameters
    ----------
    cuda : (int, int), optional
        The newest version of CUDA that it runs; None where it cannot be asked.
    gpus : tuple of Gpu
        Those that this process may use.
    problem, advice : str
        Why it does not work, and what to do then; both empty where it works, with GPUs or without.
    """

    cuda: tuple[int, int] | None = None
    gpus: tuple[Gpu, ...] = ()
    problem: str = ""
    advice: str = ""


def read_driver(start: bool = True) -> Driver:
    """Ask the driver.

    Parameters
    ----------
    start : bool
        Whether to start CUDA in this process, without which it does not know its GPUs. That takes a while where there
        are many, and keeps processes that are forked later from using CUDA.
    """
    try:
        library = _load()
    except OSError as error:
        if sys.platform == "darwin":
            return Driver(problem="CUDA does not exist for macOS", advice="take a machine with Linux")
        if "No such file" in str(error):
            return Driver(problem=f"not installed ({LIBRARY} is not there)", advice=_DOWNLOAD)
        return Driver(problem=f"cannot be loaded: {error}", advice=_DOWNLOAD)
    try:
        return _ask(library, start)
    except (AttributeError, OSError, ValueError, ctypes.ArgumentError) as error:  # a library that is something else
        return Driver(problem=f"does not answer: {type(error).__name__}: {error}", advice=_UPDATE)


def version() -> str:
    """Return the version of the driver, such as ``"580.95.05"``; empty where the system does not say."""
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:
        return ""


def hidden_gpus(seen: int) -> str:
    """Say how many GPUs the environment keeps from this process, which sees so many; empty where it keeps none."""
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        return ""
    hidden = _count_nodes(_NODES[0]) - seen  # the other nodes do not tell how many there are
    if hidden > 0:
        return f"{_VISIBLE}={visible!r} hides {hidden}"
    return "" if seen else f"{_VISIBLE}={visible!r} may hide some"


def no_gpu_advice() -> str:
    """Return what to do where the driver works and has no GPU for this process."""
    return f"change or unset {_VISIBLE}" if hidden_gpus(0) else _ADVICE[_NO_DEVICE]


def has_gpu() -> bool:
    """Whether there is a driver and a GPU for this process, found out without starting CUDA."""
    if os.environ.get(_VISIBLE) in ("", "-1"):
        return False
    return not read_driver(start=False).problem and any(map(_count_nodes, _NODES))


def _load() -> Any:
    return ctypes.CDLL(LIBRARY)


def _count_nodes(pattern: str) -> int:
    return sum(1 for _ in Path("/dev").glob(pattern))


def _ask(library: Any, start: bool) -> Driver:
    number = c_int()
    cuda = None
    if library.cuDriverGetVersion(byref(number)) == 0:  # which may be asked before cuInit
        cuda = number.value // 1000, number.value % 1000 // 10
        if cuda[0] < MIN_CUDA:
            return Driver(cuda, (), f"runs CUDA only up to {cuda[0]}.{cuda[1]}; {MIN_CUDA} is needed", _UPDATE)
    if not start:
        return Driver(cuda)
    status = library.cuInit(0)
    if status == 0:
        status = library.cuDeviceGetCount(byref(number))
    if status != 0:
        return _failed(library, cuda, status)
    return Driver(cuda, tuple(_gpu(library, ordinal) for ordinal in range(number.value)))


def _failed(library: Any, cuda: tuple[int, int] | None, status: int) -> Driver:
    if status == _NO_DEVICE:
        return Driver(cuda)  # nothing is wrong with the driver
    name = c_char_p()
    library.cuGetErrorName(status, byref(name))
    title = name.value.decode() if name.value else "an unknown error"
    advice = _ADVICE.get(status, "see whether nvidia-smi works, and restart the machine or install the driver again")
    return Driver(cuda, (), f"does not start: cuInit returned {status} ({title})", advice)


def _gpu(library: Any, ordinal: int) -> Gpu:
    device, major, minor, nbytes = c_int(), c_int(), c_int(), c_size_t()
    name = create_string_buffer(256)
    library.cuDeviceGet(byref(device), ordinal)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(byref(nbytes), device)
    library.cuDeviceGetAttribute(byref(major), _MAJOR_CAPABILITY, device)
    library.cuDeviceGetAttribute(byref(minor), _MINOR_CAPABILITY, device)
    return Gpu(name.value.decode(errors="replace"), nbytes.value, (major.value, minor.value))
