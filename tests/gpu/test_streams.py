"""Calls work in PyTorch's stream where that is a side stream, so that its memory is used again in order."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from arrays import tune
from strategies import voxels
from torch_stand_in import TorchStandIn

from wkgpu.errors import DeviceError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.voxel_box import VoxelBox
from wkgpu.operations import reductions
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.jobs import run_jobs
from wkgpu.operations.transfer import read_box
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

pytestmark = pytest.mark.gpu

SHAPE = (70, 64, 50)
LAYOUT = ArraySpec(np.dtype("int16"), 2, (16, 16, 16), (4, 4, 4), pipeline_of("lz4"))
BUSY = 200_000_000  # cycles: a tenth of a second, in which a stream that is not waited for is overtaken


@pytest.fixture
def read(stored, gpu):
    """Reads the same number of voxels at an x; `data` has them as well."""
    array, _ = stored(LAYOUT, SHAPE)
    return lambda x: read_box(array, gpu, (x, 0, 0), (32, 64, 50))


@pytest.fixture
def data():
    return voxels(LAYOUT, SHAPE, 3)


# ---- CuPy's streams, and a stand-in for PyTorch


def test_cupys_memory_is_taken_in_the_side_stream(read, gpu, cupy, data, monkeypatch):
    torch = TorchStandIn(1).install(monkeypatch)
    side = cupy.cuda.Stream(non_blocking=True)
    with torch.stream(side.ptr):
        found = read(3)
        assert cupy.cuda.get_current_stream().ptr == 0
        with gpu.active():
            assert cupy.cuda.get_current_stream().ptr == side.ptr
            assert gpu.side_streams() == {0: side.ptr}
    np.testing.assert_array_equal(cupy.asnumpy(found), data[:, 3:35])
    address, nbytes = found.data.ptr, found.nbytes
    del found
    assert cupy.empty(nbytes, np.uint8).data.ptr != address
    with side:
        assert cupy.empty(nbytes, np.uint8).data.ptr == address


@pytest.mark.parametrize("copies_in", ["side", "null"])
def test_what_is_still_copied_is_not_overwritten(read, cupy, data, monkeypatch, copies_in):
    torch = TorchStandIn(1).install(monkeypatch)
    side, runtime = cupy.cuda.Stream(non_blocking=True), cupy.cuda.runtime
    stream = side if copies_in == "side" else cupy.cuda.Stream.null
    copies = {x: cupy.empty((2, 32, 64, 50), np.int16, order="F") for x in (0, 5, 20, 38)}
    with torch.stream(side.ptr):
        addresses = set()
        for x, copy in copies.items():
            found = read(x)
            addresses.add(found.data.ptr)
            runtime.memcpyAsync(copy.data.ptr, found.data.ptr, copy.nbytes, runtime.memcpyDeviceToDevice, stream.ptr)
            del found  # the next one gets its memory
        assert len(addresses) == 1
    stream.synchronize()
    for x, copy in copies.items():
        np.testing.assert_array_equal(cupy.asnumpy(copy), data[:, x : x + 32])


def test_a_stream_of_cupys_own_counts_more(read, gpu, cupy, monkeypatch):
    torch = TorchStandIn(1).install(monkeypatch)
    with torch.stream(cupy.cuda.Stream(non_blocking=True).ptr), cupy.cuda.Stream(non_blocking=True) as own:
        read(0)
        with gpu.active():
            assert cupy.cuda.get_current_stream().ptr == own.ptr
        assert gpu.side_streams() == {0: own.ptr}


def test_an_error_leaves_the_stream_and_is_raised(gpu, cupy, monkeypatch):
    torch = TorchStandIn(1).install(monkeypatch)
    with torch.stream(cupy.cuda.Stream(non_blocking=True).ptr):
        with pytest.raises(KeyError), gpu.active():
            raise KeyError
        assert cupy.cuda.get_current_stream().ptr == 0


# ---- PyTorch


def test_what_torch_still_reads_is_not_overwritten_by_the_next(read, torch, data):
    side = torch.cuda.Stream()
    for _ in range(10):
        with torch.cuda.stream(side):
            torch.cuda._sleep(BUSY)
            batch = torch.from_dlpack(read(0)).clone()
            read(35)
        side.synchronize()
        np.testing.assert_array_equal(batch.cpu().numpy(), data[:, :32])


def test_what_cupy_still_reads_is_not_overwritten_by_the_next(read, torch, cupy, data):
    """CuPy's stream is the null stream all the time, in which PyTorch's default one is busy."""
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(10):
            with torch.cuda.stream(torch.cuda.default_stream()):
                torch.cuda._sleep(BUSY)
            found = read(0)
            with torch.cuda.stream(torch.cuda.default_stream()):
                torch.cuda._sleep(BUSY)
            batch = found.copy()
            del found
            read(35)
            np.testing.assert_array_equal(cupy.asnumpy(batch), data[:, :32])


def test_cupy_waits_for_what_is_made_in_the_side_stream(gpu, torch, cupy):
    """An array of zeros, of a mag in which nothing is stored, is returned before it is cleared."""
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(10):
            with gpu.active():
                garbage = cupy.full((1, 64, 64, 64), 7, np.uint8, order="F")
            del garbage
            torch.cuda._sleep(BUSY)
            assert not gpu.zeros((1, 64, 64, 64), np.dtype(np.uint8)).any()


def test_what_threads_have_read_is_not_overwritten_by_the_next(read, torch, data):
    side = torch.cuda.Stream()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(10):
            with torch.cuda.stream(side):
                torch.cuda._sleep(BUSY)
                batch = torch.from_dlpack(run_jobs(read, [0], executor=pool)[0]).clone()
                run_jobs(read, [35], executor=pool)
            side.synchronize()
            np.testing.assert_array_equal(batch.cpu().numpy(), data[:, :32])


def test_what_is_read_ahead_is_right_in_a_side_stream(stored, gpu, torch, cupy, data, monkeypatch):
    tune(monkeypatch, reduced_bytes=16 * 16 * 16 * LAYOUT.voxel_bytes)
    array, _ = stored(LAYOUT, SHAPE)
    with torch.cuda.stream(torch.cuda.Stream()):
        region = ArrayRegion.of(array, gpu, Mag(1), VoxelBox((0, 0, 0), SHAPE))
        for _ in range(5):
            extremes = reductions.reduce_part(reductions.ReduceJob(region, reductions.MinMax()))
            assert (extremes.min(), extremes.max()) == (data.min(), data.max())


def test_nothing_is_read_while_a_graph_is_captured(stored, gpu, torch, data):
    """What is captured stays whole, and computes with what is read between its replays."""
    array, _ = stored(LAYOUT, SHAPE)
    graph = torch.cuda.CUDAGraph()
    tensor = torch.zeros((2, *SHAPE), dtype=torch.int16, device="cuda")
    with torch.cuda.graph(graph):
        result = tensor + 1
        with pytest.raises(DeviceError, match="CUDA graph"):
            read_box(array, gpu, (0, 0, 0), SHAPE)
        with pytest.raises(DeviceError, match="CUDA graph"):
            read_box(array, gpu, (0, 0, 0), SHAPE, out=tensor)
    read_box(array, gpu, (0, 0, 0), SHAPE, out=tensor)
    graph.replay()
    np.testing.assert_array_equal(result.cpu().numpy(), data + np.int16(1))
