"""The kernels of ``lz4.cu`` on a GPU."""

from __future__ import annotations

from wkgpu.engines.cuda.device import Columns
from wkgpu.engines.cuda.gpu.cuda_c import WARPS, CudaModule
from wkgpu.engines.cuda.gpu.streams import CudaStream

_CHECK_THREADS = 32


class CudaLz4:
    """See `wkgpu.engines.cuda.device.Lz4Kernels`; of one GPU, for which they are compiled when they are first used."""

    def __init__(self) -> None:
        self._module = CudaModule("lz4.cu", "lz4_decode", "lz4_check", "lz4_join")

    def decode(self, stream: CudaStream, columns: Columns, statuses: int, decoded: int) -> None:
        """Queue decoding chunks."""
        c = columns
        numbers = (c.sources, c.lengths, c.targets, c.capacities, c.wanted, c.count, statuses, decoded)
        self._module.launch("lz4_decode", -(-c.count // WARPS), 32 * WARPS, stream, *numbers)

    def check(
        self, stream: CudaStream, columns: Columns, zeros: int, zeros_bytes: int, statuses: int, decoded: int
    ) -> None:
        """Queue finding damaged chunks, and putting zeros in their place."""
        c = columns
        numbers = (c.sources, c.lengths, c.capacities, c.count, zeros, zeros_bytes, statuses, decoded)
        self._module.launch("lz4_check", -(-c.count // _CHECK_THREADS), _CHECK_THREADS, stream, *numbers)

    def join(
        self, stream: CudaStream, columns: Columns, found_statuses: int, found_decoded: int, statuses: int, decoded: int
    ) -> None:
        """Queue adding what another decoder has found."""
        numbers = (found_statuses, found_decoded, columns.capacities, columns.count, statuses, decoded)
        self._module.launch("lz4_join", -(-columns.count // _CHECK_THREADS), _CHECK_THREADS, stream, *numbers)

    def compile(self) -> None:
        """Compile the kernels for the current GPU, or load what has been compiled before."""
        self._module.compile()
