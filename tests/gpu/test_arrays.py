"""Arrays of CuPy and PyTorch, streams, and several devices."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from arrays import on_device, on_host, read_box
from reference import Exporter
from strategies import voxels

import wkgpu as wk
from wkgpu.errors import DeviceError, ShapeError
from wkgpu.operations import transfer
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

pytestmark = pytest.mark.gpu

SHAPE = (70, 64, 50)
LAYOUT = ArraySpec(np.dtype("int16"), 2, (16, 16, 16), (4, 4, 4), pipeline_of("lz4"))


@pytest.fixture
def data():
    return voxels(LAYOUT, SHAPE, 3)


@pytest.fixture
def array(make_array):
    return make_array(LAYOUT)


@pytest.fixture
def view(tmp_path, gpu, data):
    """A view on the GPU, of a mag that holds the data."""
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1), device=gpu.name)
    layer = dataset.add_layer("color", "color", dtype="int16", num_channels=2)
    made = layer.add_mag(1, chunk_shape=16, shard_shape=64)
    made.write(data, absolute_offset=(0, 0, 0))
    return made


# ---- CuPy


def test_results_are_cupy_arrays_on_the_device(view, gpu, cupy, data):
    found = view.read()
    assert isinstance(found, cupy.ndarray)
    assert found.device.id == 0
    assert found.flags.f_contiguous
    np.testing.assert_array_equal(on_host(gpu, found), data)


def test_a_cupy_array_is_taken_as_it_is(gpu, cupy):
    mine = cupy.zeros((1, 2, 3, 4))
    assert gpu.asarray(mine).data.ptr == mine.data.ptr
    assert gpu.asarray(Exporter(mine)).data.ptr == mine.data.ptr
    assert isinstance(gpu.asarray(np.zeros(3)), cupy.ndarray)


def test_the_current_device_and_stream_stay(view, cupy):
    with cupy.cuda.Stream(non_blocking=True) as stream:
        view.write(view.read())
        assert cupy.cuda.get_current_stream().ptr == stream.ptr
    assert cupy.cuda.Device().id == 0


@pytest.mark.computes
def test_what_the_caller_has_queued_is_waited_for(array, gpu, cupy):
    """Data that are still being computed, and an output that something else is still written to."""
    shape = (2, 256, 256, 128)
    with cupy.cuda.Stream(non_blocking=True):
        for repeats in (20, 40):
            values = cupy.zeros(shape, np.int16, order="F")
            out = cupy.zeros(shape, np.int16, order="F")
            for _ in range(repeats):
                values += 1
            transfer.write_box(array, gpu, (0, 0, 0), values)
            for _ in range(repeats):
                out += 7
            transfer.read_box(array, gpu, (0, 0, 0), shape[1:], out=out)
            assert bool((out == repeats).all())


def test_threads_with_streams_of_their_own(array, gpu, cupy, data):
    transfer.write_box(array, gpu, (0, 0, 0), data)

    def is_right(number):
        with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True):
            parts = [transfer.read_box(array, gpu, (number, 2, 3), (40, 41, 42)) for _ in range(20)]
            return all((cupy.asnumpy(part) == data[:, number : number + 40, 2:43, 3:45]).all() for part in parts)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(is_right, range(6)))


def test_host_arrays_of_other_libraries_are_written(array, gpu, data):
    transfer.write_box(array, gpu, (0, 0, 0), Exporter(data))
    np.testing.assert_array_equal(read_box(array, gpu, (0, 0, 0), SHAPE), data)


# ---- PyTorch


def test_torch_takes_what_is_read_without_a_copy(view, torch, data):
    found = view.read()
    tensor = torch.from_dlpack(found)
    assert tensor.is_cuda
    assert tensor.data_ptr() == found.data.ptr
    np.testing.assert_array_equal(tensor.cpu().numpy(), data)


def test_a_patch_that_a_side_stream_still_reads_is_not_overwritten_by_the_next(view, torch, data):
    """As in the loop of a loader: the patch is copied on a stream that is busy, and dropped before the copy is made."""
    side = torch.cuda.Stream()
    for _ in range(10):
        view.read()  # everything is compiled and allocated
        with torch.cuda.stream(side):
            torch.cuda._sleep(200_000_000)  # the step before this one
            batch = torch.from_dlpack(view.read()).clone()
        view.read(absolute_offset=(7, 5, 3), size=SHAPE)  # as many other voxels
        side.synchronize()
        np.testing.assert_array_equal(batch.cpu().numpy(), data)


def test_what_cupy_still_reads_is_not_overwritten_from_a_side_stream(view, torch, cupy, data):
    """CuPy works in its own stream there, on memory that was taken in PyTorch's."""
    expected = int(data.sum(dtype=np.int64))
    busy = cupy.zeros((1 << 28,), np.uint8)
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(10):
            patch = view.read()
            for _ in range(20):
                busy += 1
            total = cupy.sum(patch, dtype=np.int64)
            del patch
            view.read(absolute_offset=(7, 5, 3), size=SHAPE)
            assert int(total) == expected


def test_what_is_computed_in_a_side_stream_is_ready_for_both(view, torch, cupy, data):
    with torch.cuda.stream(torch.cuda.Stream()):
        tensor = torch.zeros((2, *SHAPE), dtype=torch.int16, device="cuda")
        torch.cuda._sleep(100_000_000)
        tensor += torch.from_dlpack(view.read())
        view.write(tensor, absolute_offset=(0, 0, 0))
        lowest, highest = view.min_max()
        assert (int(lowest), int(highest)) == (data.min(), data.max())
        np.testing.assert_array_equal(cupy.asnumpy(view.read()), data)


def test_a_stream_that_captures_a_graph_is_refused(view, torch, data):
    out = torch.zeros((2, *SHAPE), dtype=torch.int16, device="cuda")
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        out += 1
        with pytest.raises(DeviceError, match="captures a CUDA graph"):
            view.read(out=out)
    np.testing.assert_array_equal(view.read(out=out).cpu().numpy(), data)


@pytest.mark.parametrize("place", ["cuda", "cpu"])
def test_tensors_are_written(view, torch, data, place):
    change = np.ascontiguousarray(data[:, ::-1])
    view.write(torch.from_numpy(change).to(place), absolute_offset=(0, 0, 0))
    np.testing.assert_array_equal(view.to("cpu").read(), change)


def test_tensors_that_need_a_gradient_are_refused_or_written(tmp_path, gpu, torch):
    layer = wk.Dataset(tmp_path / "floats", voxel_size=(1, 1, 1), device=gpu.name).add_layer(
        "color", "color", dtype="float32"
    )
    view = layer.add_mag(1, chunk_shape=16, shard_shape=64)
    tensor = torch.ones((1, 9, 9, 9), device="cuda", requires_grad=True)
    with pytest.raises(wk.WkgpuError):
        view.write(tensor, absolute_offset=(0, 0, 0))
    view.write(tensor.detach(), absolute_offset=(0, 0, 0))
    assert bool((view.read() == 1).all())


def test_tensors_are_filled(view, torch, data):
    plain = torch.zeros((2, *SHAPE), dtype=torch.int16, device="cuda")
    assert view.read(out=plain) is plain
    np.testing.assert_array_equal(plain.cpu().numpy(), data)
    fortran = torch.zeros((50, 64, 70, 2), dtype=torch.int16, device="cuda").permute(3, 2, 1, 0)
    assert view.read(out=fortran) is fortran
    np.testing.assert_array_equal(fortran.cpu().numpy(), data)
    boxes = [wk.BoundingBox((x, 1, 2), (16, 16, 16)) for x in (0, 20, 5)]
    many = torch.zeros((3, 2, 16, 16, 16), dtype=torch.int16, device="cuda")
    assert view.read_many(boxes, out=many) is many
    for box, found in zip(boxes, many.cpu().numpy(), strict=True):
        (x, y, z) = box.topleft
        np.testing.assert_array_equal(found, data[:, x : x + 16, y : y + 16, z : z + 16])


def test_tensors_on_the_host_are_not_filled(view, torch):
    with pytest.raises(ShapeError, match="host"):
        view.read(out=torch.zeros((2, *SHAPE), dtype=torch.int16))


def test_a_stream_of_torch_is_waited_for(view, torch):
    """The tensor is still being computed there when it is given away."""
    with torch.cuda.stream(torch.cuda.Stream()):
        tensor = torch.zeros((2, 256, 256, 128), dtype=torch.int16, device="cuda")
        for _ in range(50):
            tensor += 1
        view.write(tensor, absolute_offset=(0, 0, 0))
    assert bool((view.read(absolute_offset=(0, 0, 0), size=(256, 256, 128)) == 50).all())


# ---- Several devices


@pytest.fixture
def other(cupy):
    """The engine of a second GPU."""
    from wkgpu.engines import get_engine

    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")
    return get_engine("cuda:1")


def test_a_second_device_reads_and_writes(array, gpu, other, cupy, data):
    transfer.write_box(array, gpu, (0, 0, 0), data)
    found = transfer.read_box(array, other, (0, 0, 0), SHAPE)
    assert found.device.id == 1
    np.testing.assert_array_equal(on_host(other, found), data)
    change = voxels(LAYOUT, (33, 32, 31), 1)
    transfer.write_box(array, other, (1, 2, 3), on_device(other, change))
    np.testing.assert_array_equal(read_box(array, gpu, (1, 2, 3), (33, 32, 31)), change)
    assert cupy.cuda.Device().id == 0


def test_arrays_of_the_other_device(array, gpu, other, cupy, data):
    """They are copied to be written, and refused to be filled."""
    transfer.write_box(array, other, (0, 0, 0), on_device(gpu, data))
    np.testing.assert_array_equal(read_box(array, other, (0, 0, 0), SHAPE), data)
    with cupy.cuda.Device(0):
        out = cupy.zeros((2, *SHAPE), np.int16)
    with pytest.raises(ShapeError, match=r"cuda:0.*cuda:1"):
        transfer.read_box(array, other, (0, 0, 0), SHAPE, out=out)


@pytest.mark.computes
@pytest.mark.parametrize("part", ["slice", "reversed", "swapped"])
def test_parts_of_arrays_of_the_other_device(array, gpu, other, cupy, data, part):
    with other.active():
        theirs = cupy.asarray(data)
        theirs += 1  # is still being computed when it is copied
        theirs = {"slice": theirs[:, 3:20, :9], "reversed": theirs[..., ::-1], "swapped": theirs.swapaxes(1, 3)}[part]
    with gpu.active():
        found = gpu.asarray(theirs)
        assert found.device.id == 0
    expected = {"slice": data[:, 3:20, :9], "reversed": data[..., ::-1], "swapped": data.swapaxes(1, 3)}[part] + 1
    np.testing.assert_array_equal(cupy.asnumpy(found), expected)


def test_both_devices_at_the_same_time(array, gpu, other, data):
    transfer.write_box(array, gpu, (0, 0, 0), data)

    def is_right(engine):
        return all(np.array_equal(read_box(array, engine, (0, 0, 0), SHAPE), data) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(is_right, (gpu, other) * 2))
