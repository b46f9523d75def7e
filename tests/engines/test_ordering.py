"""The waits between streams, files and the host: without one of them, a use of a buffer is an error that names it."""

import re
from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest
from arrays import read_box, write_box
from simulated_device import SimulatedDevice, SimulatedStream
from strategies import voxels
from watching import watched

from wkgpu.engines.cuda import fetching, writer
from wkgpu.engines.cuda.decoding import Decoding
from wkgpu.engines.cuda.engine import CudaEngine
from wkgpu.engines.cuda.ordering import WAITS
from wkgpu.engines.cuda.slots import Slot
from wkgpu.storage.codecs import pipeline_of, word_of
from wkgpu.storage.spec import ArraySpec

SHAPE = (16, 16, 16)


@pytest.fixture
def work(make_array, cpu, config, monkeypatch):
    """Reads and writes that use every buffer, in small batches, with short ranges and with long ones."""
    config.batch_bytes = 2500
    arrays = [
        make_array(ArraySpec(np.dtype("uint16"), 1, (8, 8, 8), (2, 2, 2), pipeline_of(codec)))
        for codec in ("lz4", "raw")
    ]
    for array in arrays:
        write_box(array, cpu, (0, 0, 0), voxels(array.spec, SHAPE, 3))

    def run(engine, written=("lz4", "raw")):
        for long_bytes in (0, 1 << 60):
            for module in (fetching, writer):
                monkeypatch.setattr(module, "LONG_BYTES", long_bytes)
            for array in arrays:
                for config.cuda_lz4 in ("kernel", "nvcomp"):
                    read_box(array, engine, (1, 2, 3), (14, 13, 12))
                    if word_of(array.spec.codecs) in written:
                        write_box(array, engine, (3, 5, 7), voxels(array.spec, (9, 9, 9), 1))
                        write_box(array, engine, (0, 0, 0), voxels(array.spec, SHAPE, 2))

    return run


@pytest.fixture
def work_without(work, monkeypatch):
    """Does the work with something left out; what is queued then does not run, because its addresses may be wrong."""

    def run(device, what=nullcontext):
        monkeypatch.setattr(SimulatedStream, "run_to", nothing)
        monkeypatch.setattr(Decoding, "first_failed", nothing)
        with watched(device), what():
            work(CudaEngine(device), written=("raw",))

    return run


def test_every_wait_that_is_written_down_orders_something(work):
    device = SimulatedDevice()
    with watched(device) as ledger:
        work(CudaEngine(device))
    assert ledger.waits == {wait.name for wait in WAITS}


@pytest.mark.gpu
def test_every_wait_is_seen_on_the_fake_driver(work, gpu):
    if gpu.device.ledger is None:
        pytest.skip("this GPU is not the fake driver's, and works too fast to be looked at")
    work(gpu)
    assert gpu.device.ledger.waits == {wait.name for wait in WAITS}


def nothing(*arguments, **options):
    pass


def not_arriving(fetch):
    def begin(self, segments, staging, nbytes, slot, on_failure):
        fetch(self, segments, staging, nbytes, slot, on_failure)
        return slot.requests.clear

    return begin


LEFT_OUT = {
    "begin": lambda: mock.patch.object(Slot, "begin", nothing),
    "arrive": lambda: mock.patch.object(fetching.Fetcher, "fetch", not_arriving(fetching.Fetcher.fetch)),
    "stored": lambda: mock.patch.object(writer, "complete_writes", lambda slot, lengths, path: slot.requests.clear()),
    "finish": lambda: mock.patch.object(Slot, "finish", nothing),
}
NAMES = {
    "begin": {"begin"},
    "arrive": {"arrive"},
    "stored": {"stored"},
    "finish": {"done", "reuse", "next tables", "results", "encoded"},
}


@pytest.mark.parametrize("left_out", NAMES)
def test_a_wait_that_is_left_out_is_named(work_without, left_out):
    with pytest.raises(AssertionError, match="nothing waits") as caught:
        work_without(SimulatedDevice(), LEFT_OUT[left_out])
    said = set(re.findall(r"\('(.*)' should\)", str(caught.value)))
    assert said == NAMES[left_out]
    assert "written down" not in str(caught.value)


def test_memory_that_is_handed_out_without_its_wait_is_named(work_without):
    class Hasty(SimulatedDevice):
        is_hasty = False

        def record_event(self):
            event = super().record_event()
            if self.is_hasty:
                event.wait = nothing
            return event

        def memory(self, nbytes):
            self.is_hasty = True
            try:
                return super().memory(nbytes)
            finally:
                self.is_hasty = False

    with pytest.raises(AssertionError, match=r"'staging' after the caller's stream: nothing waits \('pool"):
        work_without(Hasty())


def test_a_buffer_that_the_table_does_not_know_is_an_error():
    device = SimulatedDevice()

    def run():
        with watched(device):
            slot = Slot(device, device.release)
            slot.stream.clear(slot.memory("of tomorrow", 100), 100)

    with pytest.raises(AssertionError, match="'of tomorrow' after the caller's stream: no wait is written down"):
        run()
