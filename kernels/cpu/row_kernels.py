"""The kernels of `bodies` over rows, on the CPU; each call works on the rows ``first`` to ``last``."""

from __future__ import annotations

from functools import cache

from numba import njit

from ..bodies.mapping import user_kernel
from ..bodies.registration import find_kernel
from ..bodies.workers import share
from ..compilation import cached_kernel
from ..compiler_thread import compiled_elsewhere


@cache
def named_kernel(topic, name):
    """Return a kernel that comes with wkgpu; see `registration.find_kernel`."""
    return cached_kernel(find_kernel(topic, name))


def function_kernel(function, count):
    """Return the kernel that maps values of ``count`` sources by a user function.

    Divisions by zero raise nothing, as on a GPU. Numba cannot keep it on disk: it is compiled in each process.
    """
    function = njit(nogil=True, error_model="numpy")(function)
    return compiled_elsewhere(njit(nogil=True, error_model="numpy")(user_kernel(share, function, count)))
