"""What is special about the CUDA engine: ways to fetch and to store, batches, bounded memory, and whatever fails."""

import ctypes
import gc
import multiprocessing
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import simulated_codec
import simulated_device as doubles
from strategies import voxels

from wkgpu.engines.cuda import fetching, writer
from wkgpu.errors import ChunkError, DeviceError, DeviceMemoryError, ShapeError, StorageAccessError
from wkgpu.kernels.cuda import packing, placement
from wkgpu.operations.transfer import read_box, read_boxes, write_box
from wkgpu.storage.codecs import pipeline_of, word_of
from wkgpu.storage.spec import ArraySpec

SHAPE = (32, 32, 32)
INNER = (13, 15, 11)


def layout_of(codec="lz4", dtype="uint16", channels=1):
    return ArraySpec(np.dtype(dtype), channels, (8, 8, 8), (4, 4, 4), pipeline_of(codec))


@pytest.fixture(params=["raw", "lz4"])
def codec(request):
    return request.param


@pytest.fixture
def array(make_array, cpu, codec):
    """A mag with one whole shard."""
    array = make_array(layout_of(codec))
    write_box(array, cpu, (0, 0, 0), volume())
    return array


@pytest.fixture
def shard(array):
    return array.path / "z0" / "y0" / "x0.wkw"


lz4_only = pytest.mark.parametrize("codec", ["lz4"], indirect=True)


def volume():
    """Voxels of which some chunks compress well, and others do not at all."""
    data = voxels(layout_of(), SHAPE, 3)
    data[:, :16] = voxels(layout_of(), (16, 32, 32), 1)
    return data


@pytest.fixture
def machine(simulated_device, monkeypatch):
    """What the device has been told to do: names of kernels, and of other operations."""
    made = []
    for kind, names in (
        (type(simulated_device._codecs["lz4"]), ("encode",)),
        (type(simulated_device.lz4), ("decode",)),
        (type(simulated_device), ("open",)),
    ):
        for name in names:
            monkeypatch.setattr(kind, name, recorded(getattr(kind, name), name, made))
    stream = type(simulated_device.new_stream())
    launch = stream.launch
    names = {id(kernel): name for name, kernel in (vars(packing) | vars(placement)).items()}
    monkeypatch.setattr(
        stream,
        "launch",
        lambda self, kernel, *rest: (made.append(names[id(kernel)]), launch(self, kernel, *rest)),
    )
    return made


def recorded(function, name, made):
    def call(*arguments, **options):
        made.append(name)
        return function(*arguments, **options)

    return call


def ways(monkeypatch, long_bytes):
    for module in (fetching, writer):
        monkeypatch.setattr(module, "LONG_BYTES", long_bytes)


@pytest.fixture(params=[0, 1 << 60], ids=["long", "short"])
def is_long(request, monkeypatch):
    """All ranges are fetched and stored in one of both ways."""
    ways(monkeypatch, request.param)
    return request.param == 0


@pytest.fixture
def streams(simulated_device, monkeypatch):
    """The streams of the device."""
    made = []
    new = simulated_device.new_stream
    monkeypatch.setattr(simulated_device, "new_stream", lambda: made.append(new()) or made[-1])
    return made


def is_idle(engine, streams):
    """Whether nothing is queued any more, and no request is on its way."""
    slots = [slot for pair in engine.slots._idle for slot in pair]
    return not any(stream._pending for stream in streams) and not any(slot.requests for slot in slots)


# ---- Ways


def test_both_ways_to_fetch_and_to_store(array, simulated, machine, is_long):
    expected = volume()
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), expected)
    assert ("open" in machine) == is_long
    machine.clear()
    change = voxels(array.spec, INNER, 2)
    write_box(array, simulated, (3, 5, 7), change)
    expected[:, 3:16, 5:20, 7:18] = change
    # Raw chunks that are changed in part are fetched through the host in any case.
    assert ("open" in machine) == is_long
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), expected)
    assert ("decode" in machine) == (word_of(array.spec.codecs) == "lz4")


def test_no_descriptor_stays_open(array, simulated, is_long):
    read_box(array, simulated, (0, 0, 0), SHAPE)
    write_box(array, simulated, (3, 5, 7), voxels(array.spec, INNER, 2))
    before = len(os.listdir("/proc/self/fd"))
    read_box(array, simulated, (0, 0, 0), SHAPE)
    write_box(array, simulated, (3, 5, 7), voxels(array.spec, INNER, 2))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("batch_bytes", [0, 1024, 5000, 1 << 30])
def test_batches_of_any_size(array, simulated, config, machine, batch_bytes):
    """Of 1 chunk, of 1, of 4, and of all 64."""
    config.batch_bytes = batch_bytes
    expected = volume()
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), expected)
    batches = machine.count("place_chunks")
    assert batches == {0: 64, 1024: 64, 5000: batches, 1 << 30: 1}[batch_bytes]
    assert batches in range(16, 25) or batch_bytes != 5000
    change = voxels(array.spec, INNER, 2)
    write_box(array, simulated, (3, 5, 7), change)
    expected[:, 3:16, 5:20, 7:18] = change
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), expected)


def test_a_chunk_that_several_boxes_want_is_decoded_once(array, simulated, config, monkeypatch):
    config.batch_bytes = 1 << 30
    decoded = []
    kind = type(simulated.device.lz4)
    decode = kind.decode
    monkeypatch.setattr(
        kind, "decode", lambda self, *arguments: (decoded.append(arguments[1].count), decode(self, *arguments))
    )
    corners = [(0, 0, 0), (1, 2, 3), (4, 4, 4), (0, 0, 0)]
    for (x, y, z), box in zip(corners, read_boxes(array, simulated, corners, (4, 4, 4)), strict=True):
        np.testing.assert_array_equal(box, volume()[:, x : x + 4, y : y + 4, z : z + 4])
    assert decoded == ([1] if word_of(array.spec.codecs) == "lz4" else [])


@pytest.mark.parametrize("turn", [lambda data: data, np.ascontiguousarray, lambda data: data[..., ::-1]])
@pytest.mark.parametrize(("dtype", "channels"), [("uint16", 1), ("uint8", 3), ("float64", 2)])
def test_voxels_on_the_host(make_array, cpu, simulated, config, codec, dtype, channels, turn):
    """They change chunks that exist, chunks that do not, and parts of both."""
    spec = layout_of(codec, dtype, channels)
    array, config.batch_bytes = make_array(spec), 8 * spec.chunk_bytes
    expected = np.zeros((channels, *SHAPE), dtype)
    for corner, shape in (((1, 2, 3), INNER), ((8, 0, 5), (24, 17, 20)), ((0, 0, 0), SHAPE), ((7, 9, 1), INNER)):
        change = turn(voxels(spec, shape, sum(corner)))
        write_box(array, simulated, corner, change.view(doubles.HostArray))
        inside = tuple(slice(low, low + length) for low, length in zip(corner, shape, strict=True))
        expected[:, *inside] = change
        np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), SHAPE), expected)


@lz4_only
def test_untouched_chunks_are_copied_and_not_decoded(array, simulated, machine, shard):
    before = shard.read_bytes()
    ends = np.frombuffer(before[16 : 16 + 8 * 64], "<u8").astype(int)
    write_box(array, simulated, (8, 8, 8), voxels(array.spec, (8, 8, 8), 2))
    assert "decode" not in machine
    assert machine.count("encode") == 1
    after = shard.read_bytes()
    assert after[16 + 8 * 64 : ends[6]] == before[16 + 8 * 64 : ends[6]]
    assert after[-(ends[63] - ends[7]) :] == before[ends[7] :]


# ---- What the device cannot encode


@pytest.mark.parametrize("codec", ["lz4hc"], indirect=True)
def test_lz4hc_is_encoded_by_the_cpu(array, simulated, machine):
    expected = volume()
    change = voxels(array.spec, INNER, 2)
    write_box(array, simulated, (3, 5, 7), change)
    expected[:, 3:16, 5:20, 7:18] = change
    assert machine == []
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), expected)
    assert "decode" in machine


@lz4_only
def test_chunks_that_are_too_large_are_encoded_by_the_cpu(array, simulated, machine, monkeypatch):
    kind = type(simulated.device._codecs["lz4"])
    expected = volume()
    for max_bytes, is_encoded in ((1023, False), (1024, True)):
        monkeypatch.setattr(kind, "max_encoded_chunk_bytes", max_bytes)
        change = voxels(array.spec, INNER, max_bytes)
        write_box(array, simulated, (3, 5, 7), change)
        expected[:, 3:16, 5:20, 7:18] = change
        assert ("encode" in machine) == is_encoded
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), expected)


# ---- Memory


class CountingDevice(doubles.SimulatedDevice):
    """Knows how much of its memory is in use, and has no more than its capacity."""

    in_use = peak = 0

    def memory(self, nbytes):
        if self.in_use + nbytes > self.capacity:
            raise DeviceMemoryError(f"{nbytes} bytes more than {self.in_use} are more than {self.capacity}.")
        memory = super().memory(nbytes)
        self.in_use += nbytes
        self.peak = max(self.peak, self.in_use)
        weakref.finalize(memory, self._free, nbytes)
        return memory

    def _free(self, nbytes):
        self.in_use -= nbytes


@pytest.fixture
def counting(simulated):
    """An engine whose device counts."""
    return type(simulated)(CountingDevice())


def uploaded_whole(data):
    pytest.fail(f"{data.nbytes} bytes are uploaded at once")


@pytest.mark.parametrize("place", [np.ndarray, doubles.HostArray])
@pytest.mark.parametrize("dtype", ["uint8", "uint64"])
def test_memory_of_a_large_volume_is_bounded(make_array, cpu, counting, config, codec, dtype, place):
    """Also that of voxels on the host, which are uploaded batch by batch."""
    spec = ArraySpec(np.dtype(dtype), 1, (16, 16, 16), (4, 4, 4), pipeline_of(codec))
    array, data = make_array(spec), voxels(spec, (60, 60, 60), 1)
    config.gpu_bytes = 40 * spec.chunk_bytes
    config.staging_bytes = spec.chunk_bytes
    assert data.nbytes > config.gpu_bytes
    counting.device.asarray = uploaded_whole if place is doubles.HostArray else counting.device.asarray
    write_box(array, counting, (2, 2, 2), data.view(place))
    assert 0 < counting.device.peak <= config.gpu_bytes
    counting.release()
    gc.collect()
    assert counting.nbytes_kept == counting.device.in_use == 0
    counting.device.peak = 0
    np.testing.assert_array_equal(read_box(array, counting, (2, 2, 2), (60, 60, 60)), data)
    assert 0 < counting.device.peak <= config.gpu_bytes
    assert counting.nbytes_kept <= counting.device.peak
    np.testing.assert_array_equal(read_box(array, cpu, (2, 2, 2), (60, 60, 60)), data)


@pytest.mark.parametrize(("gpu_bytes", "pieces"), [(1 << 20, 0), (0, 0), (1 << 20, 4 << 20), (150_000, 4 << 20)])
def test_many_threads_stay_within_the_budget(make_array, counting, config, codec, gpu_bytes, pieces):
    """None waits for another one's memory: all have theirs at the same time, also when operations hold pieces."""
    spec = ArraySpec(np.dtype("uint16"), 1, (8, 8, 8), (4, 4, 4), pipeline_of(codec))
    array, data, barrier = make_array(spec), voxels(spec, (60, 60, 60), 1), threading.Barrier(12, timeout=60)
    config.gpu_bytes, counting.device.capacity = gpu_bytes, 1 << 40 if gpu_bytes else 4 << 20
    write_box(array, counting, (0, 0, 0), data)
    counting.release()
    gc.collect()
    counting.device.peak = 0
    shares = []

    def work(number):
        corner = (number, 2 * number, 3 * number)
        with counting.share(pieces) as given:
            shares.append(given)
            barrier.wait()
            found = read_box(array, counting, corner, (20, 10, 12))
            barrier.wait()
        np.testing.assert_array_equal(found, data[:, *map(slice, corner, np.add(corner, (20, 10, 12)))])

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert counting.budget.nbytes == (gpu_bytes or 1 << 20)
    assert len(shares) == 12
    assert sum(shares) < counting.budget.nbytes
    assert 0 < counting.device.peak <= counting.budget.nbytes
    assert counting.budget.rest == counting.budget.nbytes


def test_out_of_memory(array, simulated, simulated_device, config, streams):
    config.gpu_bytes = config.batch_bytes = 1 << 30
    expected = volume()
    before = {path: path.read_bytes() for path in array.path.rglob("*.wkw")}
    out = np.full((1, *SHAPE), 7, np.uint16, order="F")
    for capacity in (0, 300, 10_000):
        simulated_device.capacity = capacity
        with pytest.raises(DeviceMemoryError, match="cuda:0"):
            read_box(array, simulated, (0, 0, 0), SHAPE, out=out)
        with pytest.raises(DeviceMemoryError):
            write_box(array, simulated, (0, 0, 0), voxels(array.spec, SHAPE, 2))
        assert is_idle(simulated, streams)
    assert {path: path.read_bytes() for path in array.path.rglob("*.wkw")} == before
    config.gpu_bytes = 2000
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), expected)


def test_what_idle_slots_keep_is_given_up_before_memory_runs_out(array, counting, config):
    """The slots of two calls at the same time are kept; then one call needs as much as all of them."""
    config.batch_bytes = 1 << 20
    device, slots = counting.device, counting.slots
    with slots.borrow() as one, slots.borrow() as other:
        for slot in (*one, *other):
            slot.memory("something", 50_000)
    del one, other, slot
    assert counting.nbytes_kept >= 200_000
    device.capacity = 180_000
    np.testing.assert_array_equal(read_box(array, counting, (0, 0, 0), SHAPE), volume())
    assert device.released > 0


@lz4_only
def test_smaller_batches_work_after_memory_has_run_out(array, counting, config):
    """What the failed call had taken must not be in the way."""
    counting.device.capacity = 66_000
    config.gpu_bytes = config.batch_bytes = 1 << 30
    with pytest.raises(DeviceMemoryError):
        read_box(array, counting, (0, 0, 0), SHAPE)
    config.gpu_bytes = 30_000
    np.testing.assert_array_equal(read_box(array, counting, (0, 0, 0), SHAPE), volume())


def test_outputs_that_find_no_memory_get_what_slots_keep(simulated, simulated_device, monkeypatch):
    with simulated.slots.borrow() as pair:
        pair[0].memory("something", 1000)
    del pair
    empty = simulated_device.empty

    def scarce(shape, dtype):
        if simulated.nbytes_kept:
            raise DeviceMemoryError("cuda:0 is full.")
        return empty(shape, dtype)

    monkeypatch.setattr(simulated_device, "empty", scarce)
    assert simulated.empty((1, 2, 3, 4), np.dtype("uint8")).shape == (1, 2, 3, 4)


# ---- Files that fail


@pytest.fixture
def broken_reads(simulated_device, monkeypatch):
    """Lets the third read of files come short, or fail at once, or fail when it is waited for."""

    def breaks(how):
        ways(monkeypatch, 0)
        count = iter(range(1000))
        kind = doubles.SimulatedFile
        read = kind.read

        def third(self, memory, begin, nbytes, offset):
            number = next(count)
            if number == 2 and how == "raises":
                raise OSError(5, "the disk fails")
            complete = read(self, memory, begin, nbytes, offset)
            if number != 2:
                return complete
            return (lambda: complete() - 3) if how == "is short" else fail

        monkeypatch.setattr(kind, "read", third)

    return breaks


def fail():
    raise OSError(5, "the disk fails")


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("is short", ChunkError, "truncated"),
        ("raises", StorageAccessError, "cannot be read at file offset"),
        ("fails later", StorageAccessError, "cannot be read at file offset"),
    ],
)
def test_a_read_that_fails_names_the_file(array, shard, simulated, broken_reads, streams, how, error, message):
    broken_reads(how)
    with pytest.raises(error, match=rf"{shard}: the chunk at voxel \(.*{message}"):
        read_box(array, simulated, (0, 0, 0), SHAPE)
    assert is_idle(simulated, streams)
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())


def test_a_file_that_the_device_cannot_open(array, shard, simulated, simulated_device, monkeypatch, streams):
    ways(monkeypatch, 0)
    monkeypatch.setattr(simulated_device, "open", lambda descriptor, *, writable=False: fail())
    with pytest.raises(StorageAccessError, match=str(shard)):
        read_box(array, simulated, (0, 0, 0), SHAPE)
    with pytest.raises(StorageAccessError, match=str(shard)):
        write_box(array, simulated, (1, 1, 1), voxels(array.spec, (30, 30, 30), 2))
    assert is_idle(simulated, streams)


@pytest.mark.parametrize(("how", "error"), [("is short", ChunkError), ("fails later", StorageAccessError)])
@lz4_only
def test_an_old_chunk_that_cannot_be_read(array, shard, simulated, broken_reads, streams, how, error):
    before = shard.read_bytes()
    broken_reads(how)
    with pytest.raises(error, match=rf"{shard}: chunk \d+ of the shard"):
        write_box(array, simulated, (1, 1, 1), voxels(array.spec, (30, 30, 30), 2))
    assert is_idle(simulated, streams)
    assert shard.read_bytes() == before


def test_a_file_that_shrinks_while_it_is_read(array, shard, simulated, is_long, streams):
    ((plan, sources),) = array.read_plans([(0, 0, 0)], SHAPE)
    out = simulated.empty((1, *SHAPE, 1), array.spec.dtype)
    with sources:
        os.truncate(shard, shard.stat().st_size - 700)
        with pytest.raises(ChunkError, match=rf"{shard}: the chunk at voxel .* is truncated"):
            simulated.read(plan, sources, out)
    assert is_idle(simulated, streams)


# ---- Writes that fail


@pytest.mark.parametrize("how", ["is short", "raises", "fails later"])
@lz4_only
def test_a_write_that_fails_leaves_the_old_shard(array, shard, simulated, simulated_device, monkeypatch, streams, how):
    ways(monkeypatch, 0)
    before = shard.read_bytes()
    count = iter(range(1000))
    kind = doubles.SimulatedFile
    write = kind.write

    def third(self, memory, begin, nbytes, offset):
        if next(count) != 2:
            return write(self, memory, begin, nbytes, offset)
        if how == "raises":
            raise OSError(28, "No space left on device")
        return (lambda: nbytes - 1) if how == "is short" else fail

    monkeypatch.setattr(kind, "write", third)
    with pytest.raises(StorageAccessError, match=str(shard)):
        write_box(array, simulated, (0, 0, 0), voxels(array.spec, SHAPE, 2))
    assert is_idle(simulated, streams)
    assert shard.read_bytes() == before
    assert sorted(path.name for path in shard.parent.iterdir()) == [shard.name]
    data = voxels(array.spec, SHAPE, 2)
    write_box(array, simulated, (0, 0, 0), data)
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), data)


@lz4_only
def test_a_chunk_that_cannot_be_encoded(array, shard, simulated, monkeypatch, streams):
    before = shard.read_bytes()
    kind = type(simulated.device._codecs["lz4"])
    encode = kind.encode

    def broken(self, stream, *arguments):
        encode(self, stream, *arguments)
        count, statuses = arguments[3], arguments[-1]
        stream.queue(lambda: numbers(statuses, count).__setitem__(count - 1, 3))

    def numbers(address, count):
        return simulated_codec.numbers(address, count, ctypes.c_int32)

    monkeypatch.setattr(kind, "encode", broken)
    with pytest.raises(ChunkError, match=rf"{shard}: chunk \d+ of the shard cannot be encoded"):
        write_box(array, simulated, (0, 0, 0), voxels(array.spec, SHAPE, 2))
    assert is_idle(simulated, streams)
    assert shard.read_bytes() == before


# ---- Threads and processes


def test_many_threads_at_once(array, simulated, config):
    expected = volume()
    corners = np.random.default_rng(0).integers(0, 20, (24, 3)).tolist()

    def check(corner):
        x, y, z = corner
        found = read_box(array, simulated, (x, y, z), (12, 10, 11))
        np.testing.assert_array_equal(found, expected[:, x : x + 12, y : y + 10, z : z + 11])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, corners))
    assert simulated.nbytes_kept <= simulated.budget.nbytes == simulated.budget.rest


def in_a_child(array, engine, pipe):
    errors = []
    for call in (
        lambda: read_box(array, engine, (0, 0, 0), SHAPE),
        lambda: read_box(array, engine, (0, 0, 0), SHAPE, out=np.zeros((1, *SHAPE), np.uint16)),
        lambda: write_box(array, engine, (0, 0, 0), volume()),
        lambda: engine.asarray(volume()),
        lambda: engine.as_output(volume()),
    ):
        try:
            call()
        except DeviceError as error:
            errors.append(str(error))
    pipe.send(errors)
    os._exit(0)


def test_a_forked_child_is_told_so(array, simulated):
    read_box(array, simulated, (0, 0, 0), SHAPE)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=in_a_child, args=(array, simulated, there))
    child.start()
    assert here.poll(30)
    errors = here.recv()
    child.join(30)
    assert len(errors) == 5
    for error in errors:
        assert "spawn" in error
        assert str(os.getpid()) in error
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())


# ---- Arrays of other libraries


def test_results_speak_dlpack(array, simulated):
    np.testing.assert_array_equal(np.from_dlpack(read_box(array, simulated, (0, 0, 0), SHAPE)), volume())


def test_torch_takes_and_gives_voxels(make_array, simulated):
    torch = pytest.importorskip("torch")
    spec = ArraySpec(np.dtype("int16"), 1, (8, 8, 8), (4, 4, 4), pipeline_of("lz4"))
    array, data = make_array(spec), voxels(spec, SHAPE, 1)
    write_box(array, simulated, (0, 0, 0), torch.from_numpy(np.ascontiguousarray(data)))
    np.testing.assert_array_equal(torch.from_dlpack(read_box(array, simulated, (0, 0, 0), SHAPE)).numpy(), data)
    out = torch.zeros((1, *SHAPE), dtype=torch.int16)
    assert read_box(array, simulated, (0, 0, 0), SHAPE, out=out) is out
    np.testing.assert_array_equal(out.numpy(), data)


def test_what_cannot_be_filled_is_refused(array, simulated):
    for out in ([1, 2], "out", None.__class__):
        with pytest.raises(ShapeError):
            read_box(array, simulated, (0, 0, 0), SHAPE, out=out)


@pytest.mark.parametrize("what", ["read", "write"])
def test_an_interrupt_between_a_request_and_its_record(array, simulated, simulated_device, monkeypatch, what):
    """Nothing uses the slot's memory any more when it is lent again, though no slot knows of the request."""
    for module in (fetching, writer):
        monkeypatch.setattr(module, "LONG_BYTES", 0)
    original = getattr(doubles.SimulatedFile, what)

    def interrupted(*arguments):
        original(*arguments)
        assert simulated_device.requests
        raise KeyboardInterrupt

    call, argument = (read_box, SHAPE) if what == "read" else (write_box, volume())
    with monkeypatch.context() as patch:
        patch.setattr(doubles.SimulatedFile, what, interrupted)
        with pytest.raises(KeyboardInterrupt):
            call(array, simulated, (0, 0, 0), argument)
    assert not simulated_device.requests
    assert simulated.nbytes_kept > 0
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())
    write_box(array, simulated, (0, 0, 0), volume())
