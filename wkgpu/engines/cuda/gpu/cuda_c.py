"""Kernels in CUDA C on a GPU: NVRTC compiles them, and CuPy keeps what it made on disk."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import cupy
import numpy as np
from cupy.cuda import driver

from wkgpu.engines.cuda.cuda_errors import reported
from wkgpu.engines.cuda.gpu.streams import CudaStream
from wkgpu.kernels import failures
from wkgpu.kernels.cuda.sources import whole_text

WARPS = 2  # of a block of kernels that decode LZ4
WINDOW_BYTES = 1024  # of encoded bytes that a warp of them has in shared memory
_CODES = ("OK", "MALFORMED", "WRONG_LENGTH", "UNCHECKED")


def compile_options() -> tuple[str, ...]:
    """Return what a file is compiled with."""
    codes = (f"-D{name}={getattr(failures, name)}" for name in _CODES)
    return ("--std=c++17", f"-DWARPS={WARPS}", f"-DW={WINDOW_BYTES}", *codes)


class CudaModule:
    """The kernels of one file, for one GPU; they are compiled when one is first used.

    Parameters
    ----------
    name : str
        Of the file, in ``wkgpu.kernels.cuda``.
    kernels : str
        Their names.
    """

    def __init__(self, name: str, *kernels: str) -> None:
        self.kernels = kernels
        self._name = name
        self._module: Any = None
        self._functions: dict[str, int] = {}

    @reported("Loading kernels in CUDA C")
    def compile(self) -> None:
        """Compile the kernels for the current GPU, or load what has been compiled before."""
        for name in self.kernels:
            self._function(name)

    def _function(self, name: str) -> int:
        if self._module is None:
            source = whole_text(files("wkgpu.kernels.cuda"), self._name)
            self._module = cupy.RawModule(code=source, options=compile_options())
        function: int = self._module.get_function(name).kernel.ptr
        self._functions[name] = function
        return function

    @reported("Launching a kernel in CUDA C")
    def launch(self, name: str, blocks: int, threads: int, stream: CudaStream, *numbers: int) -> None:
        """Launch a kernel whose arguments have 8 bytes each; CuPy's own way takes its current stream."""
        function = self._functions.get(name) or self._function(name)
        values = np.array(numbers, np.int64)
        address = values.__array_interface__["data"][0]
        addresses = np.arange(address, address + values.nbytes, 8)
        driver.launchKernel(
            function, blocks, 1, 1, threads, 1, 1, 0, stream.handle, addresses.__array_interface__["data"][0], 0
        )


class CudaChunkKernels:
    """See `wkgpu.engines.cuda.device.ChunkKernels`."""

    warps_of_blosc = WARPS

    def __init__(self) -> None:
        frames = CudaModule(
            "frames.cu", "xxh64_verify", "crc32_verify", "adler32_verify", "checksum_split", "crc32_append",
            "zstd_walk", "zstd_seal", "deflate_walk", "deflate_align", "decoder_join", "sized_lz4_join",
        )  # fmt: skip
        blosc = CudaModule("blosc.cu", "blosc_decode", "blosc_unshuffle")
        self._modules = {name: module for module in (frames, blosc) for name in module.kernels}

    def launch(self, stream: CudaStream, name: str, blocks: int, warps: int, *numbers: int) -> None:
        """Queue a kernel."""
        self._modules[name].launch(name, blocks, 32 * warps, stream, *numbers)
