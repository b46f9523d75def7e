import gc
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest

from wkgpu.engines.cpu.memory import OutputMemory, _Lease

BYTE = np.dtype("uint8")
SIZE = 1 << 20


@pytest.fixture
def memory():
    return OutputMemory()


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("shape", [(1, 128, 128, 64), (3, 7, 5, 2), (2, 200, 200, 40, 2), (1, 0, 5, 5)])
def test_arrays_are_ordinary_ones(memory, shape, dtype):
    array = memory.array(shape, np.dtype(dtype))
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.f_contiguous
    assert array.flags.writeable
    assert array.flags.aligned
    array[...] = 5
    assert (array == 5).all()


def test_large_arrays_begin_at_a_cache_line(memory):
    assert {address(memory.array((1, SIZE + shift), BYTE)) % 64 for shift in range(20)} == {0}


def test_a_block_comes_back_when_the_last_array_dies(memory):
    array = memory.array((1, SIZE), BYTE)
    begin = address(array)
    view = array[:, 5:]
    del array
    assert memory.held == 0
    part = view[:, :1].T
    del view
    assert memory.held == 0
    del part
    assert memory.held >= SIZE
    again = memory.array((1, SIZE), BYTE)
    assert address(again) == begin
    assert memory.held == 0


def test_arrays_do_not_share_memory(memory):
    arrays = [memory.array((1, SIZE), BYTE) for _ in range(3)]
    for number, array in enumerate(arrays):
        array[...] = number
    assert [array.max() for array in arrays] == [array.min() for array in arrays] == [0, 1, 2]


def test_outputs_of_nearly_one_size_share_a_block(memory):
    begin = address(memory.array((1, 10 * SIZE - 1000), BYTE))
    assert address(memory.array((1, 10 * SIZE - 9000), BYTE)) == begin


def test_kept_memory_is_bounded(memory, config):
    config.pool_bytes = 3 * SIZE
    arrays = [memory.array((1, SIZE + 100_000 * number), BYTE) for number in range(8)]
    del arrays
    gc.collect()
    assert 0 < memory.held <= 3 * SIZE


@pytest.mark.parametrize("max_bytes", [0, SIZE // 2])
def test_a_block_larger_than_the_bound_is_not_kept(memory, config, max_bytes):
    config.pool_bytes = max_bytes
    memory.array((1, SIZE), BYTE)
    assert memory.held == 0


def test_clear(memory):
    memory.array((1, SIZE), BYTE)
    memory.clear()
    assert memory.held == 0


def test_arrays_that_outlive_their_memory(memory):
    array = memory.array((1, SIZE), BYTE)
    array[...] = 3
    del memory
    gc.collect()
    assert (array == 3).all()


def test_many_threads(memory):
    errors = []

    def work(number):
        for _ in range(200):
            array = memory.array((1, SIZE), BYTE)
            array[0, ::4096] = number
            if (array[0, ::4096] != number).any():
                errors.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert memory.held <= 6 * 2 * SIZE


# A volume of 64 MiB; the allowance is half of what it measures.
PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.engines import get_engine
from wkgpu.settings import config
from wkgpu.storage.formats import open_array

config.threads = 2
array, engine, shape = open_array(Path(sys.argv[1])), get_engine("cpu"), (512, 512, 256)
if sys.argv[2] == "write":
    data = np.tile(np.random.default_rng(0).integers(0, 256, (1, 512, 512, 1), np.uint8), (1, 1, 1, 256))
    write_box(array, engine, (0, 0, 0), data[:, :40, :40, :40])  # compiles, or loads, the kernels
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_box(array, engine, (0, 0, 0), data)
else:
    read_box(array, engine, (0, 0, 0), (40, 40, 40))
    out = np.ones((1, *shape), np.uint8, order="F")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_box(array, engine, (0, 0, 0), shape, out=out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(("codec", "chunk"), [("lz4", 32), ("raw", 512)])
def test_peak_memory_beyond_the_output(make_array, run_python, codec, chunk):
    from wkgpu.storage.codecs import pipeline_of
    from wkgpu.storage.spec import ArraySpec

    array = make_array(ArraySpec(BYTE, 1, (chunk,) * 3, (512 // chunk,) * 3, pipeline_of(codec)))
    for work in ("write", "read"):
        assert int(run_python(PEAK, array.path, work)) < 32 << 10, work  # in KiB


def test_an_interrupt_loses_no_more_than_a_block(memory, config):
    """What is held is what is there, at whatever line of `give_back` an interrupt comes."""
    config.pool_bytes = 4 * SIZE
    before = sys.gettrace()
    for line in range(6):
        left = [line]

        def trace(frame, event, _, left=left):
            if frame.f_code is not OutputMemory.give_back.__code__:
                return None
            if event == "line":
                left[0] -= 1
                if left[0] < 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return trace

        block = memory._take(SIZE)
        sys.settrace(trace)
        with suppress(KeyboardInterrupt):
            memory.give_back(block)
        sys.settrace(before)
        assert memory.held == sum(block.nbytes for blocks in memory._blocks.values() for block in blocks)
    config.pool_bytes = 0
    memory.give_back(memory._take(SIZE))
    assert memory.held == 0


def test_a_lease_that_an_interrupt_left_half_made():
    _Lease.__new__(_Lease).__del__()
