"""Reads and writes of NumPy arrays on any engine, so that one test serves all of them.

An engine whose arrays are NumPy's gets and gives them as they are. For another one they are copied: to memory of the
device with the same strides, at an address that is a multiple of the same powers of two, and back with all that lies
around them, so that a test sees what was written where it should not be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy
from numpy.lib.array_utils import byte_bounds

from wkgpu.engines.cpu.engine import CpuEngine
from wkgpu.engines.cuda.engine import CudaEngine
from wkgpu.operations import transfer

_ALIGNMENT = 256  # of a device's allocations


def read_box(array, engine, topleft, shape, out=None):
    """`transfer.read_box`, as a NumPy array."""
    if out is None:
        return on_host(engine, transfer.read_box(array, engine, topleft, shape))
    with filled(engine, out) as target:
        assert transfer.read_box(array, engine, topleft, shape, out=target) is target
    return out


def read_boxes(array, engine, toplefts, shape, out=None):
    """`transfer.read_boxes`, as a NumPy array."""
    if out is None:
        return on_host(engine, transfer.read_boxes(array, engine, toplefts, shape))
    with filled(engine, out) as target:
        assert transfer.read_boxes(array, engine, toplefts, shape, out=target) is target
    return out


def write_box(array, engine, topleft, data):
    """`transfer.write_box` of an array of the engine's own."""
    transfer.write_box(array, engine, topleft, on_device(engine, data))


def tune(monkeypatch, **values):
    """Let all engines cut their work otherwise: see `wkgpu.engines.tuning.Tuning`."""
    for kind in (CpuEngine, CudaEngine):
        own = kind.tuning.fget
        monkeypatch.setattr(kind, "tuning", property(lambda engine, own=own: own(engine)._replace(**values)))


def is_simulated(engine) -> bool:
    """Whether every thread of a kernel is a Python thread, so that boxes had better be small."""
    return type(getattr(engine, "device", None)).__name__ == "SimulatedDevice"


def given_on_engine(*strategies, examples=100, simulated=30):
    """`given`, for a test of the fixture `engine`, with fewer and smaller examples where CUDA is simulated.

    Parameters
    ----------
    strategies
        Strategies, or functions that make one, whose argument says whether examples must be small.
    examples, simulated : int
        How many examples there are, and how many of them in the simulator.
    """

    def decorate(test):
        full, small = (
            settings(max_examples=max_examples)(
                given(*(part if isinstance(part, SearchStrategy) else part(is_small) for part in strategies))(test)
            )
            for max_examples, is_small in ((examples, False), (simulated, True))
        )

        @wraps(full)
        def run(engine, **fixtures):
            (small if is_simulated(engine) else full)(engine=engine, **fixtures)

        return run

    return decorate


# ---- Memory of an engine


def on_host(engine, found):
    """What an engine has returned, as a NumPy array with the same order of its axes in memory."""
    assert isinstance(found, engine.xp.ndarray), f"{engine.name} returned a {type(found)}"
    if isinstance(found, np.ndarray):
        return found
    axes = sorted(range(found.ndim), key=lambda axis: -abs(found.strides[axis]))
    return engine.xp.asnumpy(found.transpose(axes)).transpose(np.argsort(axes))


def on_device(engine, data):
    """A copy of a NumPy array in memory of the engine, with the same strides; what the engine takes is not copied."""
    if engine.xp is np or not isinstance(data, np.ndarray) or data.size == 0:
        return data
    return _copied(engine, data)[0]


@contextmanager
def filled(engine, out) -> Iterator:
    """An output of the engine instead of a NumPy array, which is filled, with all around it, in the end."""
    if engine.xp is np or not isinstance(out, np.ndarray) or out.size == 0:
        yield out
        return
    target, block, memory = _copied(engine, out)
    try:
        yield target
    finally:
        if memory.flags.writeable:
            memory[...] = engine.xp.asnumpy(block)


def _copied(engine, array):
    """A copy on the device of an array and of all the memory that it is a part of: its bytes, and those here."""
    cupy = engine.xp
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    bounds = [byte_bounds(one) for one in (array, owner)]
    begin, end = min(low for low, _ in bounds), max(high for _, high in bounds)
    memory = _bytes_at(begin, end - begin, array)
    shift = begin % _ALIGNMENT
    with cupy.cuda.Device(int(engine.name.partition(":")[2])):
        room = cupy.zeros(shift + len(memory), np.uint8)
        block = room[shift:]
        block.set(np.ascontiguousarray(memory))
        first = array.__array_interface__["data"][0] - begin
        copy = cupy.ndarray(array.shape, array.dtype, memptr=block.data + first, strides=array.strides)
    return copy, block, memory


def _bytes_at(address, nbytes, owner):
    """The bytes at an address, which belong to an array."""

    interface = {"data": (address, not owner.flags.writeable), "shape": (nbytes,), "typestr": "|u1", "version": 3}
    return np.asarray(SimpleNamespace(__array_interface__=interface, owner=owner))
