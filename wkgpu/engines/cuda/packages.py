"""Which of the packages that CUDA needs are installed, found out without importing one, and how to install them."""

from __future__ import annotations

import sys
from ctypes import CDLL
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from wkgpu.engines.cuda.driver import MIN_CUDA, Driver
from wkgpu.engines.cuda.nvcomp import MAJOR
from wkgpu.extras import install_command

_NEWEST_CUDA = 13  # of which there is an extra


def missing_packages() -> list[str]:
    """Name those that are not installed."""
    if sys.platform == "darwin":
        return []  # for which there are none
    found = {
        "CuPy": _is_importable("cupy"),
        "KvikIO": _is_importable("kvikio"),
        "nvCOMP": _has_nvcomp(),
        "numba-cuda": _is_importable("numba_cuda"),
    }
    return [name for name, is_there in found.items() if not is_there]


def install_advice(driver: Driver) -> str:
    """Return the command that installs all of them, for the CUDA of the driver, or of the CuPy that is there."""
    installed = built_for("cupy-cuda{}x")
    if driver.cuda is not None:
        max_cuda = min(max(driver.cuda[0], MIN_CUDA), _NEWEST_CUDA)
        return _install(max((major for major in installed if major <= max_cuda), default=max_cuda))
    if installed:
        return _install(max(installed))
    return f"{_install(13)} (drivers from 580 on), or {_install(12)} (older ones)"


def built_for(distribution: str) -> list[int]:
    """Return for which versions of CUDA a distribution, whose name has them at ``{}``, is installed."""
    return [
        major
        for major in range(MIN_CUDA, _NEWEST_CUDA + 1)
        if any(metadata.distributions(name=distribution.format(major)))
    ]


def _install(cuda: int) -> str:
    return install_command(f"cuda{cuda}")


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # something odd goes by this name, of which its probe will have more to say
        return True


def _has_nvcomp() -> bool:
    spec = find_spec("nvidia")  # of the folder above it, because finding a module imports what it is in
    folders = (spec and spec.submodule_search_locations) or ()
    if any((Path(folder) / "libnvcomp").is_dir() for folder in folders):
        return True
    try:
        CDLL(f"libnvcomp.so.{MAJOR}")
    except OSError:
        return False
    return True
