"""Memory of a GPU, and how Numba's kernels take it."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np
from numba import cuda as numba_cuda


class CudaMemory:
    """Bytes of a GPU, held by a CuPy array (uint8)."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.address: int = array.data.ptr
        self.nbytes: int = array.nbytes
        self._words: dict[int, Any] = {}

    def words(self, width: int) -> Any:
        """Return them as an array of Numba, which is made once for each width: that takes longer than a launch."""
        words = self._words.get(width)
        if words is None:
            dtype = np.dtype(np.int64 if width < 0 else f"u{width}")
            array = cupy.ndarray((self.nbytes // dtype.itemsize,), dtype, memptr=self.array.data)
            words = self._words[width] = numba_cuda.as_cuda_array(array, sync=False)
        return words


def for_numba(argument: Any) -> Any:
    """Return an argument of a kernel, its CuPy arrays as those of Numba, which otherwise would wait for the stream."""
    if isinstance(argument, tuple):
        return tuple(map(for_numba, argument))
    return numba_cuda.as_cuda_array(argument, sync=False) if isinstance(argument, cupy.ndarray) else argument
