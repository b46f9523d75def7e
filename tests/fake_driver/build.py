"""Compiles the fake driver, and brings the wheels that run on it and that the extra ``test`` lacks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
FOLDER = Path(sys.prefix) / "fake-driver"
PACKAGES, LIBRARIES = FOLDER / "packages", FOLDER / "libraries"
_REQUIREMENTS = HERE / "requirements.txt"
_DRIVER = ("calls.c", "devices.c", "memory.c", "modules.c", "streams.c")
_FLAGS = ("-O1", "-shared", "-fPIC", "-fvisibility=hidden")


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")


def why_not() -> str | None:
    """Return what keeps this machine from running the fake driver; None where nothing does."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the wheels that run on it are for Linux on x86-64"
    if _compiler() is None:
        return "there is no C compiler"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        return "Python's C headers are not installed"
    if sys.prefix == sys.base_prefix:
        return "this Python is not that of a virtual environment, which keeps what is built"
    missing = [name for name in ("numba-cuda", "nvidia-libnvcomp-cu13", "nvidia-cuda-nvrtc") if not _is_installed(name)]
    if missing:
        return f"{', '.join(missing)} is not installed, which come with the extra 'test'"
    return _install()


def _is_installed(name: str) -> bool:
    return any(importlib.metadata.distributions(name=name))


def _install() -> str | None:
    """Install the wheels into a folder of their own, where no other test sees them; return why that failed."""
    wanted, stamp = _REQUIREMENTS.read_text(), PACKAGES / ".installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return None
    shutil.rmtree(PACKAGES, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*pip, "--only-binary=:all:", "--target", str(PACKAGES), "--requirement", str(_REQUIREMENTS)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return f"pip cannot install CuPy and KvikIO: {done.stderr.strip().splitlines()[-1:]}"
    stamp.write_text(wanted)
    return None


def build() -> None:
    """Compile the driver and what stands in for CuPy's CUDA runtime."""
    LIBRARIES.mkdir(parents=True, exist_ok=True)
    driver, cudart = LIBRARIES / "libcuda.so.1", LIBRARIES / "fake_cudart.so"
    sources = [HERE / name for name in _DRIVER]
    _compile(driver, *sources, "-lpthread", "-ldl")
    _compile(cudart, HERE / "cudart.c", f"-I{sysconfig.get_paths()['include']}", f"-L{LIBRARIES}", "-l:libcuda.so.1")


def _compile(target: Path, *arguments: object) -> None:
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    subprocess.run([str(_compiler()), *_FLAGS, "-o", str(temporary), *map(str, arguments)], check=True)
    temporary.replace(target)  # another process may have the one from before


def environment(devices: int = 1) -> dict[str, str]:
    """Return the environment of a process on the fake driver, whose children are on it as well."""
    cufile = next(PACKAGES.glob("nvidia/*/lib/libcufile.so.0")).parent
    return {
        **os.environ,
        "LD_LIBRARY_PATH": _joined(LIBRARIES, cufile, os.environ.get("LD_LIBRARY_PATH", "")),
        "PYTHONPATH": _joined(HERE / "startup", LIBRARIES, TESTS, PACKAGES, os.environ.get("PYTHONPATH", "")),
        "FAKE_DEVICES": str(devices),
        "NUMBA_ENABLE_CUDASIM": "0",
        "WKGPU_DEVICE": "cpu",
    }


def _joined(*folders: object) -> str:
    return os.pathsep.join(str(folder) for folder in folders if str(folder))
