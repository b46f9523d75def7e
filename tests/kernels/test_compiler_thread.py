"""Ctrl+C while a kernel is compiled: the call ends, and the kernel can be compiled and used later, in any thread."""

from __future__ import annotations

import importlib.util
import signal
import threading
import time

import pytest

from wkgpu.engines.kernel import FunctionKernel
from wkgpu.kernels.compilation import cached_kernel


@pytest.fixture
def kernel(tmp_path):
    """A kernel that is not compiled yet, and waits to be while `may_end` is not set."""
    path = tmp_path / "small.py"
    path.write_text("def add(a, b):\n    return a + b\n")
    spec = importlib.util.spec_from_file_location("small", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cached_kernel(module.add)


def test_an_interrupt_while_a_kernel_is_compiled(kernel, monkeypatch, interruptible):
    save, may_end, threads = kernel._cache.save_overload, threading.Event(), []

    def save_slowly(*arguments):
        threads.append(threading.get_ident())
        may_end.wait(20)
        save(*arguments)

    monkeypatch.setattr(kernel._cache, "save_overload", save_slowly)
    main = threading.get_ident()

    def press_when_compiling():
        while not threads:
            time.sleep(0.001)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=press_when_compiling).start()
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            kernel(2, 3)
        assert time.monotonic() - begin < 15
    finally:
        may_end.set()
    results = []
    thread = threading.Thread(target=lambda: results.append(kernel(2, 3)))
    thread.start()
    thread.join(20)
    assert results == [5]
    assert kernel(2, 3) == 5
    assert main not in threads
    assert len(threads) == len(kernel.signatures) == 1


# Within Numba and LLVM, some of these interrupts used to leave locks taken, or nothing that could be compiled.
AT_RANDOM_MOMENTS = """
import random, signal, sys, threading, time
from pathlib import Path
import numpy as np
from wkgpu.kernels.compilation import cached_kernel

def fresh(number):
    source = f"def sum_{number}(values):\\n total = {number}\\n"
    source += " for i in range(values.size):\\n  total += values[i]\\n return total"
    path = Path(f"sum_{number}.py")
    path.write_text(source)
    names = {}
    exec(compile(source, str(path), "exec"), names)
    return cached_kernel(names[f"sum_{number}"])

armed = False

def interrupt(*_):
    if armed:
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
random.seed(1)
values = np.arange(5)
fresh(0)(values)
begin = time.time()
fresh(1)(values)
typical, sent = time.time() - begin, 0
for number in range(2, 32):
    kernel = fresh(number)
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, typical))
        kernel(values)
        armed = False
    except KeyboardInterrupt:
        armed = False
        sent += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    results = []
    thread = threading.Thread(target=lambda: results.append(kernel(values)), daemon=True)
    thread.start()
    thread.join(20)
    assert results == [10 + number], results
assert sent > 5
print("compiled")
"""


def test_interrupts_at_random_moments_of_compiling(run_python, tmp_path):
    assert "compiled" in run_python(AT_RANDOM_MOMENTS, NUMBA_CACHE_DIR=str(tmp_path / "cache"))


def test_errors_of_the_compiler_reach_the_caller(kernel):
    with pytest.raises(Exception, match="No implementation of function"):
        kernel(2, None)


def test_the_process_ends_after_the_compilation(run_python, tmp_path):
    script = """
import signal, threading, time
from wkgpu.kernels.compilation import cached_kernel
from small import add
kernel = cached_kernel(add)
signal.signal(signal.SIGINT, signal.default_int_handler)
main = threading.get_ident()
def load(*arguments):
    signal.pthread_kill(main, signal.SIGINT)
    time.sleep(0.5)
    print("ended", flush=True)
kernel._cache.load_overload = load
try:
    kernel(2, 3)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    (tmp_path / "small.py").write_text("def add(a, b):\n    return a + b\n")
    environment = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run_python(script, **environment) == "interrupted\nended\n"


def test_functions_of_users_are_compiled_elsewhere_too(monkeypatch):
    threads = []

    def double(value):
        return value * 2

    kernel = FunctionKernel(double, 1)
    monkeypatch.setattr("numba.core.dispatcher._FunctionCompiler.compile", _noting(threads))
    kernel.check([1])
    assert threads
    assert threading.get_ident() not in threads


def _noting(threads):
    from numba.core.dispatcher import _FunctionCompiler

    compile_here = _FunctionCompiler.compile

    def compile_and_note(self, args, return_type):
        threads.append(threading.get_ident())
        return compile_here(self, args, return_type)

    return compile_and_note
