"""Ctrl+C at any moment of a read or a write: nothing hangs, and nothing is written after the call has ended."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.engines.threads import ThreadTeam

# Sends interrupts at random moments for some seconds; a hang ends the process with an error.
INTERRUPTS = """
import faulthandler, random, signal, sys, tempfile, time
import numpy as np
import wkgpu as wk

wk.config.threads = 4
sys.unraisablehook = lambda _: None
layer = wk.Dataset(tempfile.mkdtemp() + "/ds", voxel_size=(1, 1, 1)).add_layer("c", "color")
mag = layer.add_mag(1, chunk_shape=16, shard_shape=128)
voxels = np.asfortranarray(np.random.default_rng(0).integers(0, 9, (128, 128, 128), dtype="uint8"))
mag.write(voxels)
boxes = [wk.BoundingBox((x, 3, 3), (40, 40, 40)) for x in range(0, 80, 4)]
call = {
    "read": mag.read,
    "write": lambda: mag.write(voxels[3:99, 3:99, 3:99], absolute_offset=(3, 3, 3)),
    "read_many": lambda: mag.read_many(boxes),
    "compare": lambda: mag.content_is_equal(mag),
}[sys.argv[1]]
call()  # compiles
begin = time.time()
for _ in range(5):
    call()
typical = (time.time() - begin) / 5
armed = False

def interrupt(*_):
    if armed:
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
random.seed(1)
sent, end = 0, time.time() + 2
while time.time() < end:
    faulthandler.dump_traceback_later(20, exit=True)
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1.3 * typical))
        call()
        armed = False
    except KeyboardInterrupt:
        armed = False
        sent += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
faulthandler.cancel_dump_traceback_later()
assert sent > 10 and (mag.read()[0] == voxels).all()
print("interrupted")
"""


@pytest.mark.parametrize("operation", ["read", "write", "read_many", "compare"])
def test_interrupts_at_random_moments(run_python, operation):
    assert "interrupted" in run_python(INTERRUPTS, operation)


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
