"""The kernels of ``lz4.cu`` on a GPU: NVRTC compiles them, and CuPy keeps what it made on disk."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import cupy
import numpy as np
from cupy.cuda import driver

from wkgpu.engines.cuda.cuda_errors import reported
from wkgpu.engines.cuda.device import Columns
from wkgpu.engines.cuda.gpu.streams import CudaStream
from wkgpu.kernels import failures

WARPS = 2  # of a block of the decoder, each with a chunk
WINDOW_BYTES = 1024  # of encoded bytes that a warp has in shared memory
_CHECK_THREADS = 32
_CODES = ("OK", "MALFORMED", "WRONG_LENGTH")


def compile_options() -> tuple[str, ...]:
    """Return what ``lz4.cu`` is compiled with."""
    codes = (f"-D{name}={getattr(failures, name)}" for name in _CODES)
    return ("--std=c++17", f"-DWARPS={WARPS}", f"-DW={WINDOW_BYTES}", *codes)


class CudaLz4:
    """See `wkgpu.engines.cuda.device.Lz4Kernels`; of one GPU, for which they are compiled when they are first used."""

    def __init__(self) -> None:
        self._module: Any = None
        self._functions: dict[str, int] = {}

    def decode(self, stream: CudaStream, columns: Columns, statuses: int, decoded: int) -> None:
        """Queue decoding chunks."""
        c = columns
        numbers = (c.sources, c.lengths, c.targets, c.capacities, c.wanted, c.count, statuses, decoded)
        self._launch("lz4_decode", -(-c.count // WARPS), 32 * WARPS, stream, *numbers)

    def check(
        self, stream: CudaStream, columns: Columns, zeros: int, zeros_bytes: int, statuses: int, decoded: int
    ) -> None:
        """Queue finding damaged chunks, and putting zeros in their place."""
        c = columns
        numbers = (c.sources, c.lengths, c.capacities, c.count, zeros, zeros_bytes, statuses, decoded)
        self._launch("lz4_check", -(-c.count // _CHECK_THREADS), _CHECK_THREADS, stream, *numbers)

    def join(
        self, stream: CudaStream, columns: Columns, found_statuses: int, found_decoded: int, statuses: int, decoded: int
    ) -> None:
        """Queue adding what another decoder has found."""
        numbers = (found_statuses, found_decoded, columns.capacities, columns.count, statuses, decoded)
        self._launch("lz4_join", -(-columns.count // _CHECK_THREADS), _CHECK_THREADS, stream, *numbers)

    @reported("Loading the kernels for LZ4")
    def compile(self) -> None:
        """Compile the kernels for the current GPU, or load what has been compiled before."""
        for name in ("lz4_decode", "lz4_check", "lz4_join"):
            self._function(name)

    def _function(self, name: str) -> int:
        if self._module is None:
            source = (files("wkgpu.kernels.cuda") / "lz4.cu").read_text()
            self._module = cupy.RawModule(code=source, options=compile_options())
        function: int = self._module.get_function(name).kernel.ptr
        self._functions[name] = function
        return function

    @reported("Launching a kernel for LZ4")
    def _launch(self, name: str, blocks: int, threads: int, stream: CudaStream, *numbers: int) -> None:
        """Launch a kernel whose arguments have 8 bytes each; CuPy's own way takes its current stream."""
        function = self._functions.get(name) or self._function(name)
        values = np.array(numbers, np.int64)
        address = values.__array_interface__["data"][0]
        addresses = np.arange(address, address + values.nbytes, 8)
        driver.launchKernel(
            function, blocks, 1, 1, threads, 1, 1, 0, stream.handle, addresses.__array_interface__["data"][0], 0
        )
