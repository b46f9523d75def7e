"""What an engine says that a read will take is what it takes."""

import tracemalloc

import numpy as np
import pytest
from arrays import write_box

from wkgpu.engines.cpu.engine import CpuEngine
from wkgpu.engines.cuda.engine import CudaEngine
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

SHAPE = (100, 70, 60)
SMALL_BYTES = 32 << 10  # arrays of a few numbers, Python's objects


@pytest.fixture
def make(make_array, naive):
    """Makes a mag in a part of which voxels are stored."""

    def stored(codec, dtype="uint16", chunk=16):
        array = make_array(ArraySpec(np.dtype(dtype), 1, (chunk,) * 3, (4,) * 3, pipeline_of(codec)))
        random = np.random.default_rng(0)
        write_box(array, naive, (0, 0, 0), random.integers(0, 9, (1, 60, 70, 50)).astype(dtype))
        return array

    return stored


def measured(engine, array, order="F"):
    """The bytes that a read takes at its peak, and those that were projected."""
    ((plan, sources),) = array.read_plans([(3, 2, 1)], SHAPE)
    assert len(plan.missing)
    out = np.zeros((1, *SHAPE, 1), array.spec.dtype, order=order)
    with sources:
        projected = engine.projected_nbytes(plan)
        tracemalloc.start()
        try:
            engine.read(plan, sources, out)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    return peak, projected


@pytest.mark.parametrize("order", "FC")
@pytest.mark.parametrize("codec", ["raw", "lz4", "lz4hc"])
def test_memory_of_the_cpu(make, config, codec, order):
    array = make(codec)
    measured(CpuEngine(), array, order)  # compiles
    config.threads = 1
    peak, projected = measured(CpuEngine(), array, order)
    assert 0.4 * projected < peak <= projected + SMALL_BYTES
    config.threads = 3
    peak, projected = measured(CpuEngine(), array, order)
    assert peak <= projected + SMALL_BYTES


@pytest.mark.parametrize("codec", ["raw", "lz4", "lz4hc"])
@pytest.mark.parametrize("batch_bytes", [20_000, 1 << 28])
def test_memory_of_a_device(simulated_device, make, config, codec, batch_bytes):
    config.batch_bytes = batch_bytes
    engine, array = CudaEngine(simulated_device), make(codec)
    ((plan, sources),) = array.read_plans([(3, 2, 1)], SHAPE)
    out = engine.zeros((1, *SHAPE, 1), array.spec.dtype)
    with sources:
        engine.read(plan, sources, out)
        assert 0.7 * engine.projected_nbytes(plan) <= engine.nbytes_kept <= engine.projected_nbytes(plan)
