"""Ctrl+C at any line of what shares work among threads: nothing is written after the call has ended."""

from __future__ import annotations

import sys
import time

import numpy as np

import wkgpu as wk
from wkgpu.engines.threads import ThreadTeam


class Interruption:
    """A trace function that raises at one line of `ThreadTeam.run`, where CPython would raise what a signal does."""

    def __init__(self, line):
        self.left = line

    def __call__(self, frame, event, _):
        if frame.f_code is not ThreadTeam.run.__code__:
            return None
        if event == "line":
            self.left -= 1
            if self.left < 0:
                sys.settrace(None)
                frame.f_trace = None
                raise KeyboardInterrupt
        return self


def test_nothing_is_written_after_an_interrupt_at_any_line(tmp_path, monkeypatch):
    monkeypatch.setattr(wk.config, "threads", 4)
    layer = wk.Dataset(tmp_path / "ds", voxel_size=(1, 1, 1)).add_layer("c", "color")
    mag = layer.add_mag(1, chunk_shape=16, shard_shape=64)
    mag.write(np.random.default_rng(0).integers(1, 9, (64, 64, 64), dtype="uint8"))
    out = np.zeros((1, 64, 64, 64), "uint8", order="F")
    mag.read(out=out)
    before = sys.gettrace()
    for line in range(16):
        try:
            sys.settrace(Interruption(line))
            mag.read(out=out)
        except KeyboardInterrupt:
            sys.settrace(before)
            out[:] = 0xEE
            time.sleep(0.005)
            assert (out == 0xEE).all(), line
        finally:
            sys.settrace(before)


FIRST_READ = """
import faulthandler, itertools, signal, tempfile, threading
import numpy as np
import wkgpu as wk

def interrupt(*_):
    raise KeyboardInterrupt

def read():
    out = np.ones((1, 8, 8, 8), "uint8", order="F")
    mag.read(absolute_offset=(0, 0, 0), size=(8, 8, 8), out=out)
    assert not out.any()

mag = wk.Dataset(tempfile.mkdtemp() + "/ds", voxel_size=(1, 1, 1)).add_layer("c", "color").add_mag(1)
signal.signal(signal.SIGALRM, interrupt)
faulthandler.dump_traceback_later(90, exit=True)
interrupts = 0
for number in itertools.count():
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05 + 0.07 * number)
        read()
        signal.setitimer(signal.ITIMER_REAL, 0)
        break
    except KeyboardInterrupt:
        interrupts += 1
threads = [threading.Thread(target=read) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
read()
print(interrupts > 1)
"""


def test_interrupts_while_modules_are_loaded_and_kernels_compiled(run_python, tmp_path):
    """Half an import of Numba, or half a compilation, is of no use to the process: both continue without the caller."""
    assert run_python(FIRST_READ, NUMBA_CACHE_DIR=str(tmp_path), WKGPU_DEVICE="cpu") == "True\n"
