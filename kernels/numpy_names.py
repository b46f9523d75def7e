"""What numba-cuda needs of NumPy and newer versions of it lack."""

from __future__ import annotations

from importlib import import_module
from threading import Lock

import numpy as np
from numba import config

_lock = Lock()
_is_done = False


def complete_numba_cuda():
    """Import the module of numba-cuda that overloads ``numpy.row_stack``, also with a NumPy that has no such name.

    NumPy 2.5 removed it. numba-cuda up to 0.30.4 asks for it when the first kernel of a process is compiled, or loaded
    from the disk, and does not intend to follow NumPy. There is a stand-in while that module is imported, and none
    afterwards: it is never called, and a program that looks for the name finds what its NumPy has.
    """
    global _is_done
    with _lock:
        if _is_done or config.ENABLE_CUDASIM or hasattr(np, "row_stack"):
            return
        np.row_stack = _row_stack
        try:
            import_module("numba.cuda.np.arrayobj")
        finally:
            del np.row_stack
        _is_done = True


def _row_stack(arrays):
    """Do what ``numpy.row_stack`` did; not `numpy.vstack` itself, which has an overload already."""
    return np.vstack(arrays)
