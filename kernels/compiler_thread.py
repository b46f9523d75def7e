"""Compiling where Ctrl+C does not come.

`KeyboardInterrupt` is raised in the main thread, between any two calls of Python code. Within Numba and LLVM it leaves
locks taken, so that all other threads wait for good, or a half-made state with which nothing can be compiled any more.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from _thread import start_new_thread
from queue import SimpleQueue

from numba.core.compiler_lock import global_compiler_lock

# Numba's object counts and times in Python what it does with this lock, which is the one that counts.
_lock = getattr(global_compiler_lock, "_lock", None)

_running = []


def uninterrupted(kernel):
    """Return a dispatcher of Numba's for the CPU that another thread compiles when the main thread needs it.

    Ctrl+C ends the waiting, and the compilation goes on: a later call finds it done, or waits for it.
    """
    compile_here = kernel.compile

    def compile_elsewhere(signature):
        if threading.get_ident() != threading.main_thread().ident or _is_compiling_here():
            return compile_here(signature)
        outcomes = SimpleQueue()
        try:
            start_new_thread(_compile, (compile_here, signature, outcomes))
        except RuntimeError:  # "can't start new thread"
            return compile_here(signature)
        compiled, error = outcomes.get()
        if error is not None:
            raise error
        return compiled

    kernel.compile = compile_elsewhere
    return kernel


def _compile(compile_here, signature, outcomes):
    _running.append(compile_here)
    try:
        outcome = compile_here(signature), None
    except BaseException as error:
        outcome = None, error
    _running.pop()
    outcomes.put(outcome)


def _is_compiling_here():
    """Whether this thread needs the kernel for another one, whose lock it holds, or whether that cannot be known."""
    is_owned = getattr(_lock, "_is_owned", None)
    return is_owned is None or is_owned()


@atexit.register
def _end_compiling():
    """Let compilations end before the process does: LLVM may crash otherwise."""
    while _running:
        time.sleep(0.01)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)
