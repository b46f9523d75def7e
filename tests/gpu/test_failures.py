"""Damaged files, memory that runs out, and processes that fork: errors that say what happened, and nothing broken."""

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from arrays import on_device, on_host, read_box
from strategies import voxels

from wkgpu.engines.cuda import fetching, writer
from wkgpu.errors import ChunkError, DeviceError, DeviceMemoryError, ShapeError, ShardIndexError
from wkgpu.operations import transfer
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

pytestmark = pytest.mark.gpu

SHAPE = (128, 128, 128)
LAYOUT = ArraySpec(np.dtype("uint8"), 1, (32, 32, 32), (4, 4, 4), pipeline_of("lz4"))
TABLE_END = 16 + 8 * 64


@pytest.fixture
def array(stored):
    return stored(LAYOUT, SHAPE)[0]


@pytest.fixture
def shard(array):
    return array.path / "z0" / "y0" / "x0.wkw"


@pytest.fixture(params=[0, 1 << 60], ids=["long ranges", "short ranges"])
def ways(request, monkeypatch):
    for module in (fetching, writer):
        monkeypatch.setattr(module, "LONG_BYTES", request.param)


def ends_of(shard):
    return [TABLE_END, *np.frombuffer(shard.read_bytes()[16:TABLE_END], "<u8").tolist()]


# ---- Damage; what becomes of single chunks is in tests/engines/test_decoding.py


@pytest.mark.own_process
@pytest.mark.parametrize("decoder", ["kernel", "nvcomp"])
@pytest.mark.usefixtures("ways")
def test_any_damage_is_an_error_or_other_voxels_and_never_a_crash(array, shard, gpu, cpu, config, random, decoder):
    """A flipped byte that still decodes cannot be seen; whatever happens, the next read works."""
    config.cuda_lz4 = decoder
    intact = shard.read_bytes()
    for _ in range(40):
        content = np.frombuffer(intact, np.uint8).copy()
        content[random.integers(TABLE_END, len(content), 5)] ^= random.integers(1, 256, 5).astype(np.uint8)
        shard.write_bytes(content)
        found = []
        for engine in (cpu, gpu):
            try:
                found.append(read_box(array, engine, (0, 0, 0), SHAPE).tobytes())
            except ChunkError as error:
                assert str(shard) in str(error)  # noqa: PT017 - that there is an error is not promised
                found.append(None)
        assert found[0] == found[1]
    shard.write_bytes(intact)
    np.testing.assert_array_equal(read_box(array, gpu, (0, 0, 0), SHAPE), read_box(array, cpu, (0, 0, 0), SHAPE))


def test_a_truncated_chunk(array, shard, gpu):
    os.truncate(shard, ends_of(shard)[40] + 5)
    with pytest.raises(ShardIndexError, match=str(shard)):
        read_box(array, gpu, (0, 0, 0), SHAPE)


@pytest.mark.usefixtures("ways")
def test_a_file_that_shrinks_while_it_is_read(array, shard, gpu):
    ((plan, sources),) = array.read_plans([(0, 0, 0)], SHAPE)
    out = gpu.empty((1, *SHAPE, 1), LAYOUT.dtype)
    with sources:
        os.truncate(shard, ends_of(shard)[40] + 5)
        with pytest.raises(ChunkError, match=rf"{shard}: the chunk at voxel .* is truncated"):
            gpu.read(plan, sources, out)


# ---- Memory


@pytest.fixture
def capped(gpu, cupy):
    """Limits CuPy's pool to what is in use now and so many bytes more."""
    pool = cupy.get_default_memory_pool()
    before = pool.get_limit()

    def cap(nbytes):
        gpu.release()
        pool.free_all_blocks()
        pool.set_limit(size=pool.total_bytes() + nbytes)

    yield cap
    pool.set_limit(size=before)


def test_an_output_that_finds_no_memory(array, gpu, cupy, capped):
    capped(1 << 20)
    with pytest.raises(DeviceMemoryError, match=r"cuda:0.*limited") as caught:
        read_box(array, gpu, (0, 0, 0), SHAPE)
    assert isinstance(caught.value, MemoryError)
    capped(64 << 20)
    assert read_box(array, gpu, (0, 0, 0), SHAPE).shape == (1, *SHAPE)


def test_room_is_asked_for(gpu, cupy, capped):
    _, total = cupy.cuda.runtime.memGetInfo()
    assert 0 < gpu.device.free_bytes() <= total
    gpu.check_room(1 << 20, "A box")
    with pytest.raises(DeviceMemoryError, match=r"A box needs .* cuda:0 can take"):
        gpu.check_room(total + 1, "A box")
    capped(1 << 20)
    with pytest.raises(DeviceMemoryError, match="A box needs"):
        gpu.check_room(1 << 30, "A box")


def test_an_allocator_of_another_library_that_finds_no_memory(gpu, cupy):
    """It is asked again when the engine has given back what it keeps."""
    asked = []

    def full(nbytes):
        asked.append(nbytes)
        raise MemoryError("std::bad_alloc: out_of_memory")

    with cupy.cuda.using_allocator(full), pytest.raises(DeviceMemoryError, match="smaller boxes"):
        gpu.empty((1, 10, 10, 10), np.dtype("uint8"))
    assert asked == [1000, 1000]


def test_batches_that_find_no_memory(array, shard, gpu, cpu, cupy, capped, config):
    """Smaller batches then work under the same limit."""
    expected = read_box(array, cpu, (0, 0, 0), SHAPE)
    before = shard.read_bytes()
    out = cupy.zeros((1, *SHAPE), np.uint8, order="F")
    data = on_device(gpu, voxels(LAYOUT, SHAPE, 1))
    config.gpu_bytes = 1 << 30
    capped(1 << 20)
    with pytest.raises(DeviceMemoryError):
        transfer.read_box(array, gpu, (0, 0, 0), SHAPE, out=out)
    with pytest.raises(DeviceMemoryError):
        transfer.write_box(array, gpu, (0, 0, 0), data)
    assert shard.read_bytes() == before
    config.gpu_bytes = 1 << 19
    transfer.read_box(array, gpu, (0, 0, 0), SHAPE, out=out)
    np.testing.assert_array_equal(on_host(gpu, out), expected)


def test_memory_beside_the_output_is_bounded(stored, gpu, cupy, capped, config):
    array, data = stored(ArraySpec(np.dtype("uint32"), 1, (32,) * 3, (8,) * 3, pipeline_of("lz4")), (256, 256, 128))
    out = cupy.zeros(data.shape, np.uint32, order="F")
    config.gpu_bytes = 5 << 20
    assert data.nbytes >= 6 * config.gpu_bytes
    capped(config.gpu_bytes)
    transfer.read_box(array, gpu, (0, 0, 0), data.shape[1:], out=out)
    np.testing.assert_array_equal(on_host(gpu, out), data)


@pytest.mark.parametrize("pieces", [0, 1 << 40])
def test_many_threads_stay_within_the_budget(stored, gpu, cupy, capped, config, pieces):
    """Also where operations have taken nearly all of it for their pieces, and reads work chunk by chunk."""
    array, data = stored(ArraySpec(np.dtype("uint32"), 1, (32,) * 3, (4,) * 3, pipeline_of("lz4")), (128, 128, 128))
    outs = [cupy.zeros(data.shape, np.uint32, order="F") for _ in range(12)]
    barrier = threading.Barrier(len(outs), timeout=60)
    config.gpu_bytes = 32 << 20
    capped(config.gpu_bytes + (4 << 20))  # tables and single chunks of the last ones

    def read(out):
        with gpu.share(pieces):
            barrier.wait()
            for _ in range(3):
                transfer.read_box(array, gpu, (0, 0, 0), data.shape[1:], out=out)
        return on_host(gpu, out)

    with ThreadPoolExecutor(len(outs)) as pool:
        for found in pool.map(read, outs):
            np.testing.assert_array_equal(found, data)
    assert gpu.budget.rest == gpu.budget.nbytes
    assert gpu.nbytes_kept <= config.gpu_bytes


def test_release_gives_memory_back(array, gpu, cupy):
    read_box(array, gpu, (0, 0, 0), SHAPE)
    assert gpu.nbytes_kept > 0
    gpu.release()
    assert gpu.nbytes_kept == 0
    assert cupy.get_default_memory_pool().free_bytes() == 0


# ---- Outputs


def test_outputs_elsewhere_are_refused(array, gpu):
    with pytest.raises(ShapeError, match="host"):
        transfer.read_box(array, gpu, (0, 0, 0), SHAPE, out=np.zeros((1, *SHAPE), np.uint8))


# ---- Processes


def in_a_child(array, engine, data, pipe):
    errors = []
    for call in (
        lambda: transfer.read_box(array, engine, (0, 0, 0), SHAPE),
        lambda: transfer.write_box(array, engine, (0, 0, 0), np.zeros((1, *SHAPE), np.uint8)),
        lambda: transfer.write_box(array, engine, (0, 0, 0), data),
        lambda: transfer.read_box(array, engine, (0, 0, 0), SHAPE, out=data),
    ):
        try:
            call()
        except DeviceError as error:
            errors.append(str(error))
        except BaseException as error:
            errors.append(repr(error))
    pipe.send(errors)
    os._exit(0)


def test_a_forked_child_is_told_so(array, gpu, cupy):
    data = cupy.zeros((1, *SHAPE), np.uint8)
    read_box(array, gpu, (0, 0, 0), SHAPE)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=in_a_child, args=(array, gpu, data, there))
    child.start()
    assert here.poll(60)
    errors = here.recv()
    child.join(60)
    assert len(errors) == 4
    for error in errors:
        assert "spawn" in error, errors
    assert read_box(array, gpu, (0, 0, 0), SHAPE).any()
