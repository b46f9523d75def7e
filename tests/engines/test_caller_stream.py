"""Calls work in the stream of their caller, PyTorch's or CuPy's, also those of threads that work for it.

`SimulatedStreams` is a device whose callers have streams. What these are given runs as late as it may, and memory that
is given back is used again in the stream in which it was taken, as CuPy's pool does it.
"""

import ctypes
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import ModuleType

import numpy as np
import pytest
from strategies import voxels
from torch_stand_in import TorchStandIn

from wkgpu.engines import device_selection, in_streams, side_streams
from wkgpu.engines.cuda.caller_stream import DEFAULTS, calling_stream, joined, stream_of_call
from wkgpu.engines.cuda.engine import CudaEngine
from wkgpu.errors import DeviceError
from wkgpu.geometry.voxel_box import VoxelBox
from wkgpu.operations import streaming
from wkgpu.operations.jobs import run_jobs
from wkgpu.operations.transfer import boxes_are_equal, read_box, write_box
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

NULL, LEGACY, PER_THREAD = sorted(DEFAULTS)
SIDE, OTHER = 70, 80
LAYOUT = ArraySpec(np.dtype("uint16"), 1, (8, 8, 8), (4, 4, 4), pipeline_of("lz4"))
SHAPE = (24, 16, 20)


@pytest.fixture
def torch(monkeypatch):
    return TorchStandIn().install(monkeypatch)


def never(stream):
    raise AssertionError(f"{stream} was asked about")


def no(stream):
    return False


# ---- The choice


@pytest.mark.parametrize("of_cupy", [NULL, LEGACY, PER_THREAD])
def test_a_side_stream_of_torch_is_worked_in(torch, of_cupy):
    with torch.stream(SIDE):
        assert stream_of_call(0, of_cupy, no) == SIDE
    assert stream_of_call(0, of_cupy, never) == of_cupy


def test_the_stream_is_that_of_the_gpu(torch):
    with torch.stream(SIDE, ordinal=1), torch.stream(OTHER, ordinal=0):
        assert (stream_of_call(0, NULL, no), stream_of_call(1, NULL, no)) == (OTHER, SIDE)


@pytest.mark.parametrize("of_torch", [NULL, LEGACY, PER_THREAD])
@pytest.mark.parametrize("of_cupy", [NULL, LEGACY, PER_THREAD])
def test_default_streams_of_torch_leave_those_of_cupy(torch, of_torch, of_cupy):
    with torch.stream(of_torch):
        assert stream_of_call(0, of_cupy, never) == of_cupy


def test_a_side_stream_of_cupy_counts_more(torch):
    with torch.stream(SIDE), in_streams({0: OTHER}):
        assert stream_of_call(0, 90, no) == 90
    assert torch.asked == 0


def test_a_torch_that_has_not_begun_with_cuda_is_left_alone(torch):
    torch.is_initialized = False
    assert stream_of_call(0, NULL, never) == NULL
    assert side_streams() == {}
    assert torch.asked == 0


@pytest.mark.parametrize("half", [None, ModuleType("torch")])
def test_a_torch_that_is_blocked_or_half_imported_is_left_alone(monkeypatch, half):
    monkeypatch.setitem(sys.modules, "torch", half)
    assert stream_of_call(0, NULL, never) == NULL
    assert side_streams() == {}


def test_torch_is_never_imported(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert stream_of_call(0, NULL, never) == NULL
    assert side_streams() == {}
    assert "torch" not in sys.modules


def test_a_stream_that_captures_is_refused(torch):
    with torch.stream(SIDE):
        with pytest.raises(DeviceError, match=r"cuda:0 captures a CUDA graph.*view\.read\(out=tensor\)"):
            stream_of_call(0, NULL, {SIDE}.__contains__)
        assert stream_of_call(0, NULL, {OTHER}.__contains__) == SIDE
        assert calling_stream(0, NULL) == SIDE, "what another thread is given is not used yet"
    with pytest.raises(DeviceError, match="captures"):
        stream_of_call(0, OTHER, {OTHER}.__contains__)


# ---- What is handed to other threads


def test_a_thread_works_in_the_streams_that_it_is_given(torch):
    def inside():
        with in_streams(given):
            first = calling_stream(0, NULL), calling_stream(1, NULL), side_streams()
            with torch.stream(OTHER):
                own = calling_stream(0, NULL)
        return first, own, calling_stream(0, NULL)

    with torch.stream(SIDE):
        given = side_streams()
        assert given == {0: SIDE}
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(inside).result() == ((SIDE, NULL, given), OTHER, NULL)


def test_given_streams_end_with_an_error():
    with pytest.raises(KeyError), in_streams({0: SIDE}):
        raise KeyError
    assert calling_stream(0, NULL) == NULL


# ---- Two streams in one order


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_both_streams_wait_for_each_other(simulated_kind, error):
    device = simulated_kind()
    own, stream = device.new_stream(), device.new_stream()
    ran = []
    own.queue(lambda: ran.append("before"))
    with pytest.raises(error) if error else nullcontext(), joined(own, stream, follow):
        stream.queue(lambda: ran.append("inside"))
        if error:
            raise error
    own.queue(lambda: ran.append("after"))
    own.record().wait()
    assert ran == ["before", "inside", "after"]


def test_what_goes_wrong_first_is_raised():
    def broken(stream, other):
        if (stream, other) == ("own", "stream"):
            raise DeviceError("broken")

    with pytest.raises(KeyError), joined("own", "stream", broken):
        raise KeyError
    with pytest.raises(DeviceError), joined("own", "stream", broken):
        pass


def follow(stream, other):
    stream.after(other.record())


# ---- Reads and writes


class Block:
    """Memory of an array, which goes back to the pool when the last view of it is gone."""

    def __init__(self, memory):
        self.__array_interface__ = memory.__array_interface__
        self._memory = memory


@pytest.fixture
def device(simulated_kind):
    """A simulated device whose callers have streams, and CuPy's pool."""

    class SimulatedStreams(simulated_kind):
        def __init__(self):
            super().__init__()
            self.streams = {handle: self.new_stream() for handle in (NULL, SIDE, OTHER)}
            self.arenas = {handle: [] for handle in self.streams}
            self.taken = []
            """Of each array: its stream and the thread that took it."""
            self.capturing = set()
            self._local = threading.local()

        @property
        def current(self):
            return getattr(self._local, "stream", NULL)

        @contextmanager
        def stream(self, handle):
            before, self._local.stream = self.current, handle
            try:
                yield
            finally:
                self._local.stream = before

        def active(self):
            own = self.current
            handle = stream_of_call(0, own, self.capturing.__contains__)
            return nullcontext() if handle == own else self._in_stream(own, handle)

        @contextmanager
        def _in_stream(self, own, handle):
            with self.stream(handle), joined(self.streams[own], self.streams[handle], follow):
                yield

        def side_streams(self):
            handle = calling_stream(0, self.current)
            return {} if handle in DEFAULTS else {0: handle}

        def record_event(self):
            return self.streams[self.current].record()

        def empty(self, shape, dtype):
            arena, nbytes = self.arenas[self.current], int(np.prod(shape)) * dtype.itemsize
            fits = [memory for memory in arena if memory.nbytes == nbytes]
            if fits:
                memory = fits[0]
                arena[:] = [other for other in arena if other is not memory]
            else:
                memory = np.full(nbytes, 0xA5, np.uint8)
            block = Block(memory)
            weakref.finalize(block, arena.append, memory)
            self.taken.append((self.current, threading.get_ident()))
            return np.asarray(block).view(dtype).reshape(shape, order="F")

    return SimulatedStreams()


@pytest.fixture
def engine(device, config, monkeypatch):
    config.batch_bytes = 5000
    engine = CudaEngine(device)
    monkeypatch.setattr(device_selection, "_engines", {engine.name: engine})
    return engine


@pytest.fixture
def stored(make_array, cpu):
    array, data = make_array(LAYOUT), voxels(LAYOUT, SHAPE, 3)
    write_box(array, cpu, (0, 0, 0), data)
    return array, data


class Reader:
    """What a stream is given to do with an array that is dropped before it is done."""

    def __init__(self, device, handle, array):
        self.address, nbytes = array.__array_interface__["data"][0], array.nbytes
        self._stream = device.streams[handle]
        self._stream.queue(lambda: self._seen.append(ctypes.string_at(self.address, nbytes)))
        self._seen = []

    def saw(self, data):
        self._stream.record().wait()
        return self._seen == [data.tobytes(order="F")]


@pytest.mark.parametrize("reads_in", [SIDE, NULL])
def test_what_either_stream_still_reads_is_not_overwritten(torch, device, engine, stored, reads_in):
    """PyTorch copies a tensor and drops it, or CuPy sums an array and drops it: with the tensor goes the memory."""
    array, data = stored
    with torch.stream(SIDE):
        for corner in range(3):
            first = read_box(array, engine, (corner, 0, 0), (8, 8, 8))
            reader = Reader(device, reads_in, first)
            del first
            second = read_box(array, engine, (16, 8, 12), (8, 8, 8))
            assert second.__array_interface__["data"][0] == reader.address, "the same memory"
            assert reader.saw(data[:, corner : corner + 8, :8, :8])
            np.testing.assert_array_equal(second, data[:, 16:24, 8:16, 12:20])
            del second
    assert {stream for stream, _ in device.taken} == {SIDE}
    assert device.current == NULL


def test_memory_of_slots_is_taken_behind_both_streams(torch, device, engine, stored):
    """It may be what an array had that one of them still reads."""
    ran = []
    for stream in (NULL, SIDE):
        device.streams[stream].queue(lambda stream=stream: ran.append(stream))
    take, before = device.memory, []

    def memory(nbytes):
        device.record_event().wait()  # as that of a GPU does
        before.append(list(ran))
        return take(nbytes)

    device.memory = memory
    with torch.stream(SIDE):
        read_box(stored[0], engine, (0, 0, 0), (8, 8, 8))
    assert before
    assert all(done == [NULL, SIDE] or done == [SIDE, NULL] for done in before)


def test_writes_and_comparisons_work_in_the_stream(torch, device, engine, stored):
    """Voxels that are still being computed in either stream when they are given away."""
    array, _ = stored
    with torch.stream(SIDE):
        for stream, number in ((NULL, 7), (SIDE, 8)):
            computed = np.zeros((1, 9, 9, 9), np.uint16, order="F")
            device.streams[stream].queue(lambda target=computed, number=number: target.fill(number))
            write_box(array, engine, (3, 2, 1), computed)
            found = read_box(array, engine, (3, 2, 1), (9, 9, 9))
            assert (found == number).all()
        assert boxes_are_equal(array, array, engine, ((0, 0, 0), (0, 0, 0)), (8, 8, 8))
        assert not boxes_are_equal(array, array, engine, ((0, 0, 0), (1, 0, 0)), (8, 8, 8))
    assert {stream for stream, _ in device.taken} == {SIDE}


def test_nothing_is_read_while_a_graph_is_captured(torch, device, engine, stored):
    array, data = stored
    device.capturing.add(SIDE)
    with torch.stream(SIDE):
        for call in (read_box, lambda *box: write_box(*box[:3], data)):
            with pytest.raises(DeviceError, match="CUDA graph"):
                call(array, engine, (0, 0, 0), (8, 8, 8))
    assert device.taken == []
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), SHAPE), data)


@pytest.mark.parametrize("whose", ["torch", "CuPy"])
def test_threads_of_an_executor_work_in_the_stream_of_the_caller(torch, device, engine, stored, whose):
    """What they return is then used and dropped there."""
    array, data = stored

    def read(corner):
        return read_box(array, engine, (corner, 0, 0), (8, 8, 8))

    with torch.stream(SIDE) if whose == "torch" else device.stream(SIDE), ThreadPoolExecutor(1) as pool:
        for corner in range(3):
            reader = Reader(device, SIDE, run_jobs(read, [corner], executor=pool)[0])
            again = run_jobs(read, [16], executor=pool)[0]
            assert again.__array_interface__["data"][0] == reader.address, "the same memory"
            assert reader.saw(data[:, corner : corner + 8, :8, :8])
            del again
        assert pool.submit(calling_stream, 0, NULL).result() == NULL
    assert {stream for stream, _ in device.taken} == {SIDE}
    assert threading.get_ident() not in {thread for _, thread in device.taken}


def test_the_thread_that_reads_ahead_works_in_the_stream_of_the_caller(torch, device, engine, stored):
    array, data = stored
    tiles = [VoxelBox((x, 0, 0), (8, 16, 20)) for x in (0, 8, 16)]
    readers = []
    with torch.stream(SIDE), engine.active():
        for _, (found,) in streaming.prefetched([array], engine, lambda tile: (tile,), tiles):
            readers.append(Reader(device, SIDE, found))
            del found
    assert all(reader.saw(data[:, x : x + 8]) for reader, x in zip(readers, (0, 8, 16), strict=True))
    assert {stream for stream, _ in device.taken} == {SIDE}
    assert threading.get_ident() not in {thread for _, thread in device.taken}
