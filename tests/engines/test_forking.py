"""Processes that are forked while other threads read for the first time, load modules, or hold locks."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import pytest

import wkgpu as wk
from wkgpu.forking import cached_property, child_safe, loading

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# A thread does the first read of the process; children are forked at the same time, and read the same.
FIRST_READ = """
import os, signal, sys, tempfile, threading, time
import numpy as np
import wkgpu as wk

path = tempfile.mkdtemp() + "/ds"
truth = np.random.default_rng(0).integers(0, 200, (64, 64, 64), dtype="uint8")
writer = os.fork()
if writer == 0:
    mag = wk.Dataset(path, voxel_size=(1, 1, 1)).add_layer("c", "color").add_mag(1, chunk_shape=32, shard_shape=64)
    mag.write(truth)
    os._exit(0)
os.waitpid(writer, 0)
mag = wk.Dataset.open(path).get_layer("c").get_mag(1)
reader = threading.Thread(target=mag.read)
reader.start()
children = []
while True:
    time.sleep(0.03)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(0 if (mag.read()[0] == truth).all() else 3)
    children.append(child)
    if not reader.is_alive() or len(children) == 4:
        break
reader.join()
assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
print("read")
"""


def test_children_that_are_forked_during_the_first_read(run_python):
    assert "read" in run_python(FIRST_READ)


def forked(work):
    """The exit status of a child that does some work, at most 10 s."""
    child = os.fork()
    if child == 0:
        status = 9
        try:
            worker = threading.Thread(target=work, daemon=True)
            worker.start()
            worker.join(10)
            status = int(worker.is_alive())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def held_by_a_thread(lock, seconds):
    locked = threading.Event()

    def hold():
        with lock:
            locked.set()
            time.sleep(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(10)
    return thread


def take(lock):
    with lock:
        pass


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_a_child_finds_locks_of_moments_free(make):
    lock = child_safe(make())
    thread = held_by_a_thread(lock, 1)
    assert forked(lambda: take(lock)) == 0
    assert thread.is_alive()  # it was not waited for
    thread.join()


def test_a_child_computes_attributes_that_another_thread_was_computing():
    """Before Python 3.12, functools locks all instances of a class while it computes an attribute of one."""
    computing, done = threading.Event(), threading.Event()

    class Slow:
        @cached_property
        def number(self):
            if not computing.is_set():
                computing.set()
                done.wait(10)
            return 7

    thread = threading.Thread(target=lambda: Slow().number)
    thread.start()
    computing.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # and not another thread, which may get the number of the one that held the lock
        os._exit(0 if Slow().number == 7 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert thread.is_alive()
    done.set()
    thread.join()
    slow = Slow()
    assert (slow.number, slow.__dict__) == (7, {"number": 7})


def test_no_module_has_the_cached_property_of_functools():
    """It holds a lock on Python 3.11, which a forked child may wait for."""
    package = Path(wk.__file__).parent
    modules = [path for path in package.rglob("*.py") if "import cached_property" in path.read_text()]
    named = {path.relative_to(package).as_posix() for path in modules}
    of_functools = {name for name in named if "from functools import cached_property" in (package / name).read_text()}
    assert of_functools == {"forking.py"} < named


def test_a_fork_waits_for_what_another_thread_loads():
    thread = held_by_a_thread(loading, 0.3)
    begin = time.monotonic()
    assert forked(lambda: take(loading)) == 0
    assert time.monotonic() - begin > 0.2
    thread.join()


@pytest.mark.parametrize(("name", "module"), [("Dataset", "wkgpu.dataset.dataset"), ("maps", "wkgpu.operations.maps")])
def test_names_of_the_package_are_loaded_under_the_lock_that_a_fork_takes(monkeypatch, name, module):
    owned = []
    monkeypatch.setattr(wk, "import_module", lambda module: owned.append(loading._is_owned()) or sys.modules[module])
    import_module(module)
    wk.__getattr__(name)
    assert owned == [True]
