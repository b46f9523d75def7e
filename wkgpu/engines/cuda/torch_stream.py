"""PyTorch's current stream, in which a call works where the caller has set one there and none in CuPy.

CuPy's pool has an arena for each stream: what was taken in a stream and goes back is taken again only behind what that
stream has still to do. PyTorch knows nothing of CuPy's current stream. So memory that were taken in CuPy's stream, and
that a tensor in a stream of PyTorch's gives back, could be overwritten while that stream still reads it.
"""

from __future__ import annotations

import sys
from typing import Any

from wkgpu.errors import DeviceError

_DEFAULT_STREAMS = (0, 1, 2)  # null, cudaStreamLegacy and cudaStreamPerThread of driver_types.h


def is_default(handle: int) -> bool:
    """Whether a stream of CuPy is none that a caller has made."""
    return handle in _DEFAULT_STREAMS


def has_torch() -> bool:
    """Whether PyTorch has been imported; it is never imported here."""
    return "torch" in sys.modules


def torch_stream(ordinal: int) -> int | None:
    """Return the handle of PyTorch's current stream of a GPU; None where that is its default one, or PyTorch is idle.

    Raises
    ------
    DeviceError
        While the stream captures a CUDA graph: a call waits, and takes memory, which no graph can hold.
    """
    cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
    if not hasattr(cuda, "current_stream") or not cuda.is_initialized():  # another thread may be importing it
        return None
    handle = int(cuda.current_stream(ordinal).cuda_stream)
    if is_default(handle):
        return None
    if cuda.is_current_stream_capturing():
        raise DeviceError(
            f"PyTorch's current stream of cuda:{ordinal} captures a CUDA graph, in which voxels cannot be read or "
            f"written. Read them before torch.cuda.graph, into a tensor that the graph uses (view.read(out=...))."
        )
    return handle
