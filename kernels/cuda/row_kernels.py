"""The kernels of `bodies` over rows, on a CUDA device: ``(rows, lanes, ...)``, launched on any grid.

``lanes`` neighbouring threads share a row, so that accesses are coalesced.
"""

from __future__ import annotations

from functools import cache
from types import FunctionType

from numba import cuda

from ..bodies.mapping import user_kernel
from ..bodies.registration import find_kernel
from ..compilation import cached_cuda_kernel
from .workers import add_to, share


@cache
def named_kernel(topic, name):
    """Return a kernel that comes with wkgpu; see `registration.find_kernel`."""
    return cached_cuda_kernel(_on_cuda(find_kernel(topic, name)))


def function_kernel(function, count):
    """Return the kernel that maps values of ``count`` sources by a user function."""
    return cuda.jit(user_kernel(share, cuda.jit(device=True)(function), count))


def _on_cuda(kernel):
    """Return a kernel that calls what a CUDA device has in place of `bodies.workers`.

    It has the code of the kernel, and no closure, which Numba could not keep on disk.
    """
    names = {**kernel.__globals__, "share": share, "add_to": add_to}
    function = FunctionType(kernel.__code__, names, kernel.__name__)
    function.__qualname__, function.__doc__ = kernel.__qualname__, kernel.__doc__
    return function
