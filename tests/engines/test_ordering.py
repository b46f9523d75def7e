"""The waits between streams, files and the host: without one of them, a use of a buffer is an error that names it."""

import re
from contextlib import suppress
from unittest import mock

import numpy as np
import pytest
from arrays import read_box, write_box
from happens_before import watched
from simulated_device import SimulatedDevice
from strategies import voxels

from wkgpu.engines.cuda import fetching, writer
from wkgpu.engines.cuda.engine import CudaEngine
from wkgpu.engines.cuda.ordering import WAITS
from wkgpu.engines.cuda.slots import Slot
from wkgpu.storage.layout import ArrayLayout

SHAPE = (16, 16, 16)


@pytest.fixture
def work(make_array, cpu, config, monkeypatch):
    """Reads and writes that use every buffer, in small batches, with short ranges and with long ones."""
    config.batch_bytes = 2500
    arrays = [make_array(ArrayLayout(np.dtype("uint16"), 1, (8, 8, 8), (2, 2, 2), codec)) for codec in ("lz4", "raw")]
    for array in arrays:
        write_box(array, cpu, (0, 0, 0), voxels(array.layout, SHAPE, 3))

    def run(engine):
        for long_bytes in (0, 1 << 60):
            for module in (fetching, writer):
                monkeypatch.setattr(module, "LONG_BYTES", long_bytes)
            for array in arrays:
                for config.cuda_lz4 in ("kernel", "nvcomp"):
                    read_box(array, engine, (1, 2, 3), (14, 13, 12))
                    write_box(array, engine, (3, 5, 7), voxels(array.layout, (9, 9, 9), 1))
                    write_box(array, engine, (0, 0, 0), voxels(array.layout, SHAPE, 2))

    return run


def test_every_wait_that_is_written_down_orders_something(work):
    device = SimulatedDevice()
    with watched(device) as ledger:
        work(CudaEngine(device))
    assert ledger.waits == {wait.name for wait in WAITS}


def nothing(*arguments):
    pass


def not_arriving(fetch):
    return lambda *arguments: (fetch(*arguments), nothing)[1]


LEFT_OUT = {
    "fence": lambda: mock.patch.object(Slot, "begin", nothing),
    "arrive": lambda: mock.patch.object(fetching.Fetcher, "fetch", not_arriving(fetching.Fetcher.fetch)),
    "stored": lambda: mock.patch.object(writer, "settle_writes", lambda slot, lengths, path: slot.requests.clear()),
    "finish": lambda: mock.patch.object(Slot, "finish", nothing),
}
NAMES = {
    "fence": {"fence"},
    "arrive": {"arrive"},
    "stored": {"stored"},
    "finish": {"done", "reuse", "next tables", "results", "encoded"},
}


@pytest.mark.parametrize("left_out", NAMES)
def test_a_wait_that_is_left_out_is_named(work, left_out):
    device = SimulatedDevice()
    ledgers = []

    def run():
        with watched(device) as ledger:
            ledgers.append(ledger)
            with LEFT_OUT[left_out](), suppress(Exception):
                work(CudaEngine(device))

    with pytest.raises(AssertionError, match="nothing waits"):
        run()
    said = set(re.findall(r"\('(.*)' should\)", "\n".join(ledgers[0].violations)))
    assert said & NAMES[left_out], said
    assert not any("written down" in line for line in ledgers[0].violations)


def test_memory_that_is_handed_out_without_its_wait_is_named(work, monkeypatch):
    class Hasty(SimulatedDevice):
        def fence(self):
            event = super().fence()
            if self.is_hasty:
                event.wait = nothing
            return event

        def memory(self, nbytes):
            self.is_hasty = True
            try:
                return super().memory(nbytes)
            finally:
                self.is_hasty = False

        is_hasty = False

    device = Hasty()

    def run():
        with watched(device):
            work(CudaEngine(device))

    with pytest.raises(AssertionError, match=r"'staging' after the caller's stream: nothing waits \('pool"):
        run()


def test_a_buffer_that_the_table_does_not_know_is_an_error():
    device = SimulatedDevice()

    def run():
        with watched(device):
            slot = Slot(device, device.release)
            slot.stream.clear(slot.memory("of tomorrow", 100), 100)

    with pytest.raises(AssertionError, match="'of tomorrow' after the caller's stream: no wait is written down"):
        run()
