"""Arrays of other libraries as CuPy's or NumPy's, on the memory where they lie."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from wkgpu.engines.interchange import from_dlpack

_ON_HOST = (1, 3)  # kDLCPU and kDLCUDAHost of dlpack.h


def is_on_host(data: Any) -> bool:
    """Whether an object that supports DLPack lies in the host's memory."""
    return hasattr(data, "__dlpack_device__") and data.__dlpack_device__()[0] in _ON_HOST


def imported(data: Any) -> Any:
    """Return data of another library as a CuPy or NumPy array, on the memory where they lie."""
    if hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray):
        return from_dlpack(data, np.from_dlpack if is_on_host(data) else cupy.from_dlpack)
    if hasattr(data, "__cuda_array_interface__"):
        return data
    array = np.asarray(data)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
