"""Building the kernels in CUDA C with a C++ compiler, where there is one.

`load_library` gives their launches as functions of a shared library, to be called in this process with the addresses of
columns in host memory. `program` gives the path of a program that runs them under AddressSanitizer; see
`lz4_program.cpp`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path

from wkgpu.kernels import failures

HERE = Path(__file__).parent
KERNELS = Path(failures.__file__).parent / "cuda"
WINDOWS = (64, 1024)  # bytes of the window of lz4_decode: the smallest, which moves all the time, and what a GPU takes

_OPTIONS = ("-std=c++17", "-O1", "-g1", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Wno-unknown-pragmas")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_STATUSES = {name: getattr(failures, name) for name in ("OK", "MALFORMED", "WRONG_LENGTH", "UNCHECKED")}
_SECONDS = 300
_lock = threading.Lock()


class CannotBuildError(Exception):
    """This machine has no C++ compiler, or it lacks what a build needs; the message is the reason to skip a test."""


def build(source: Path, target: Path, *options: str, kernels: Path = KERNELS, **macros: int) -> Path:
    """Compile a file of this folder, and return ``target``.

    Parameters
    ----------
    kernels : Path
        The folder of the CUDA C that it includes.
    **macros : int
        Macros besides those of the statuses, such as ``W`` (bytes of the window) and ``WARPS`` (warps in a block).

    Raises
    ------
    CannotBuildError
        If there is no compiler, or it cannot build or run even an empty program with these options.
    RuntimeError
        If it does not compile this file.
    """
    compiler = _compiler()
    defined = [f"-D{name}={value}" for name, value in (_STATUSES | macros).items()]
    folders = f"-I{HERE}", f"-I{kernels}"
    command = [compiler, *_OPTIONS, *options, *defined, *folders, "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        check_options(*options)
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return target


@cache
def check_options(*options: str) -> None:
    """Raise a `CannotBuildError` unless an empty program can be built and run with options of the compiler."""
    compiler = _compiler()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "empty.cpp", Path(folder) / "empty"
        source.write_text("int main() { return 0; }\n", encoding="utf-8")
        for command in ([compiler, *options, "-o", str(target), str(source)], [str(target)]):
            if "-shared" in options and command == [str(target)]:
                continue
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
            if done.returncode != 0:
                said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
                raise CannotBuildError(f"{compiler} {' '.join(options)} does not work here: {said}")


def program(window: int) -> Path:
    """The path of `lz4_program.cpp`, built once in a process for each number of bytes of the window.

    Raises
    ------
    CannotBuildError
        If that cannot be done on this machine.
    """
    with _lock:
        return _program(window)


def load_library(**macros: int) -> ctypes.CDLL:
    """The kernels of ``lz4.cu`` as functions that return when all is done; built once in a process.

    ``run_lz4_decode``, ``run_lz4_check`` and ``run_lz4_join`` take the arguments of ``lz4_decode``, ``lz4_check`` and
    ``lz4_join``: columns as addresses in host memory, numbers as they are. They may be called in any thread.

    Parameters
    ----------
    **macros : int
        ``W`` and ``WARPS``, unless they are as for a GPU.

    Raises
    ------
    CannotBuildError
        If there is no C++ compiler on this machine.
    """
    with _lock:
        return _library(tuple(sorted(macros.items())))


def load_chunk_kernels() -> ctypes.CDLL:
    """The kernels of ``frames.cu`` and ``blosc.cu``, as a function that returns when all is done; built once.

    ``run_chunk_kernel(name, blocks, warps, order, arguments)`` runs one on a grid of blocks of so many warps, with the
    lanes in order 0 (ascending) or 1; ``arguments`` is the address of numbers of 8 bytes. It returns 0 for a name that
    is none.

    Raises
    ------
    CannotBuildError
        If there is no C++ compiler on this machine.
    """
    with _lock:
        return _chunk_kernels()


def chunk_kernels_program() -> Path:
    """The path of `chunk_kernels.cpp` as a program under AddressSanitizer, built once in a process.

    Raises
    ------
    CannotBuildError
        If that cannot be done on this machine.
    """
    with _lock:
        return _chunk_kernels_program()


@cache
def _program(window: int) -> Path:
    check_options(*SANITIZERS)
    return build(HERE / "lz4_program.cpp", _folder() / f"lz4_program_{window}", *SANITIZERS, W=window)


@cache
def _library(macros: tuple[tuple[str, int], ...]) -> ctypes.CDLL:
    name = "_".join(["lz4", *(f"{name}{value}" for name, value in macros)])
    path = build(HERE / "lz4_library.cpp", _folder() / f"{name}.so", "-shared", "-fPIC", **dict(macros))
    library = ctypes.CDLL(str(path))
    column, number = ctypes.c_void_p, ctypes.c_longlong
    library.run_lz4_decode.argtypes = [column] * 5 + [number, column, column]
    library.run_lz4_check.argtypes = [column] * 3 + [number, ctypes.c_ulonglong, number, column, column]
    library.run_lz4_join.argtypes = [column] * 3 + [number, column, column]
    for function in (library.run_lz4_decode, library.run_lz4_check, library.run_lz4_join):
        function.restype = None
    return library


@cache
def _chunk_kernels() -> ctypes.CDLL:
    path = build(HERE / "chunk_kernels.cpp", _folder() / "chunk_kernels.so", "-shared", "-fPIC", "-O2")
    library = ctypes.CDLL(str(path))
    library.run_chunk_kernel.argtypes = [ctypes.c_char_p, *[ctypes.c_uint] * 2, ctypes.c_int, ctypes.c_void_p]
    return library


@cache
def _chunk_kernels_program() -> Path:
    check_options(*SANITIZERS)
    return build(HERE / "chunk_kernels.cpp", _folder() / "chunk_kernels", *SANITIZERS, PROGRAM=1, W=64)


@cache
def _folder() -> Path:
    """A folder for what is built, until the process ends."""
    folder = tempfile.TemporaryDirectory()
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _compiler() -> str:
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        if name and (path := shutil.which(name)) is not None:
            return path
    raise CannotBuildError("there is no C++ compiler (c++, g++ or clang++)")
