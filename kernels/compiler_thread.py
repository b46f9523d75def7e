"""Compiling where Ctrl+C does not come; see `uninterrupted`."""

from __future__ import annotations

from functools import partial

from numba.core.compiler_lock import global_compiler_lock

from .uninterrupted import uninterrupted

# Numba's object counts and times in Python what it does with this lock, which is the one that counts.
_lock = getattr(global_compiler_lock, "_lock", None)


def compiled_elsewhere(kernel):
    """Return a dispatcher of Numba's for the CPU that another thread compiles when the main thread needs it.

    Ctrl+C ends the waiting, and the compilation continues: a later call finds it done, or waits for it.
    """
    compile_here = kernel.compile

    def compile_elsewhere(signature):
        if _is_compiling_here():
            return compile_here(signature)
        return uninterrupted(partial(compile_here, signature))

    kernel.compile = compile_elsewhere
    return kernel


def _is_compiling_here():
    """Whether this thread needs the kernel for another one, whose lock it holds, or whether that cannot be known."""
    is_owned = getattr(_lock, "_is_owned", None)
    return is_owned is None or is_owned()
