"""Compiling kernels so that the next process finds them on disk."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import lz4
import numpy.ma  # noqa: F401 - Numba loads it with the first array; then a fork could find it half loaded
from numba import njit, types
from numba.core import event
from numba.core.ccallback import CFunc
from numba.extending import register_jitable

from .bodies.registration import for_each_body
from .compile_listeners import announce
from .compiler_thread import compiled_elsewhere
from .kernel_files import report_no_folder, use_kernel_files
from .numpy_names import complete_numba_cuda


def _sources() -> tuple[object, ...]:
    """What compiled kernels depend on: all Python files of this folder, and the liblz4 whose sizes they contain."""
    folder = Path(__file__).parent
    files = sorted(folder.rglob("*.py"))
    return (
        lz4.__version__,
        *((str(file.relative_to(folder)), file.stat().st_mtime, file.stat().st_size) for file in files),
    )


_STAMP = _sources()


class _Compilations(event.Listener):
    """Passes on what Numba compiles, and what it finds on disk not."""

    def on_start(self, event):
        announce(event.data["dispatcher"].py_func.__name__, True)

    def on_end(self, event):
        announce(event.data["dispatcher"].py_func.__name__, False)


event.register("numba:compile", _Compilations())
for_each_body(register_jitable)


def cached_kernel(function):
    """Compile a function without the GIL, and cache it on disk.

    Numba by itself compiles again when the function's own file has changed. Kernels here are put together from several
    files, so that the cache is made to look at all of them; see `kernel_files`. Where nothing can be cached, as with an
    installation and a home that are both read-only, the kernel is compiled by every process. Ctrl+C does not reach the
    compiler; see `compiler_thread`.
    """
    return compiled_elsewhere(_cached(partial(njit, nogil=True), function, _STAMP))


def cached_c_function(function):
    """Compile a function of int64, which returns one, as a C function, whose address is ``.address``; and cache it.

    It is called without the GIL. It is compiled at once, in the thread that imports its module.
    """
    count = function.__code__.co_argcount

    def jit(cache=False):
        def made(function):
            compiled = CFunc(function, ((types.int64,) * count, types.int64), {}, {})
            if cache:
                compiled.enable_caching()
            return compiled

        return made

    compiled = _cached(jit, function, _STAMP)
    compiled.compile()
    return compiled


def cached_cuda_kernel(function):
    """Do the same for a kernel that is launched on a CUDA device, or run by Numba's simulator of one."""
    from numba import cuda  # here, because the CPU does without it

    complete_numba_cuda()
    version = getattr(sys.modules.get("numba_cuda"), "__version__", None)  # it takes the place of `numba.cuda`
    return _cached(cuda.jit, function, (*_STAMP, version))


def _cached(jit, function, stamp):
    try:
        kernel = jit(cache=True)(function)
    except (RuntimeError, OSError) as error:  # "cannot cache function: no locator available"
        report_no_folder(error)
        return jit()(function)
    use_kernel_files(kernel, stamp)
    return kernel
