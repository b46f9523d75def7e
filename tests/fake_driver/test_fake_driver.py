"""The fake driver is as unfriendly as its README says; the tests run on it: ``make test-fake-gpu``."""

import ctypes

import numpy as np
import pytest

from fake_driver import codec, driver

pytestmark = pytest.mark.gpu

NBYTES = 4096


@pytest.fixture(autouse=True)
def _on_the_fake_driver():
    if not driver.is_there():
        pytest.skip("runs on the fake driver, with `make test-fake-gpu`")


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


@pytest.fixture
def pinned(cupy):
    """Makes pinned memory with one value, which lives until the test ends."""
    kept = []

    def make(value):
        memory = cupy.cuda.alloc_pinned_memory(NBYTES)
        array = np.frombuffer(memory, np.uint8, NBYTES)
        array[...] = value
        kept.append(array)
        return array

    return make


@pytest.fixture
def copy(cupy):
    """Queues a copy of NBYTES bytes between any two arrays."""

    def queue(target, source, stream):
        addresses = [
            array.data.ptr if isinstance(array, cupy.ndarray) else array.__array_interface__["data"][0]
            for array in (target, source)
        ]
        cupy.cuda.runtime.memcpyAsync(*addresses, NBYTES, cupy.cuda.runtime.memcpyDefault, stream.ptr)

    return queue


def test_a_copy_lands_when_its_stream_is_synchronised_and_garbage_is_there_before(cupy, pinned, copy):
    stream, device, back = cupy.cuda.Stream(non_blocking=True), cupy.empty(NBYTES, np.uint8), pinned(1)
    copy(device, pinned(7), stream)
    copy(back, device, stream)
    assert (back == 0xA5).all()
    stream.synchronize()
    assert (back == 7).all()


def test_pinned_memory_is_read_late_and_other_memory_at_once(cupy, pinned, copy):
    stream, device = cupy.cuda.Stream(non_blocking=True), cupy.empty((2, NBYTES), np.uint8)
    changed, pageable = pinned(1), np.full(NBYTES, 1, np.uint8)
    copy(device[0], changed, stream)
    copy(device[1], pageable, stream)
    changed[...] = pageable[...] = 2  # the first is a fault
    stream.synchronize()
    assert cupy.asnumpy(device)[:, 0].tolist() == [2, 1]


def test_a_stream_that_waits_for_an_event_runs_what_is_before_it(cupy, pinned, copy):
    first, second = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    device, back, other = cupy.empty(NBYTES, np.uint8), pinned(1), pinned(1)
    copy(device, pinned(7), first)
    event = first.record()
    copy(other, device, first)  # after the event: nothing waits for it
    second.wait_event(event)
    copy(back, device, second)
    second.synchronize()
    assert (back == 7).all()
    assert (other == 0xA5).all()
    event.synchronize()
    assert (other == 0xA5).all()
    first.synchronize()
    assert (other == 7).all()


@pytest.mark.parametrize("non_blocking", [False, True])
def test_the_default_stream_waits_for_blocking_streams_alone(cupy, pinned, copy, non_blocking):
    stream, device, back = cupy.cuda.Stream(non_blocking=non_blocking), pinned(0), pinned(1)
    cupy.cuda.Stream.null.synchronize()
    copy(device, pinned(7), stream)
    copy(back, pinned(3), cupy.cuda.Stream.null)
    cupy.cuda.Stream.null.synchronize()
    assert (back == 3).all()
    assert (device == (0xA5 if non_blocking else 7)).all()
    stream.synchronize()


def test_a_blocking_stream_waits_for_the_default_one(cupy, pinned, copy):
    stream, ready, back = cupy.cuda.Stream(), pinned(0), pinned(1)
    copy(ready, pinned(7), cupy.cuda.Stream.null)
    copy(back, pinned(3), stream)
    stream.synchronize()
    assert (ready == 7).all()


def test_all_streams_are_done_before_memory_is_freed(cupy, pinned, copy):
    stream, back = cupy.cuda.Stream(non_blocking=True), pinned(1)
    memory = cupy.cuda.runtime.malloc(NBYTES)
    copy(back, pinned(7), stream)
    cupy.cuda.runtime.free(memory)
    assert (back == 7).all()


def test_a_module_of_cuda_c_is_loaded_and_its_arguments_arrive(cupy, monkeypatch):
    """NVRTC compiles it for real; a table says what plays its kernels."""
    from fake_driver import kernels

    source = 'extern "C" __global__ void few(const unsigned long long* a, long long b, int c, double d, bool e) {}'
    launches = []
    monkeypatch.setitem(kernels.PLAYERS, "few", launches.append)
    module = cupy.RawModule(code=source, options=("--std=c++17",))
    array = cupy.zeros(3, np.uint64)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        module.get_function("few")((5, 2), (64,), (array, np.int64(-7), np.int32(9), np.float64(0.5), np.bool_(True)))
    assert launches == []
    stream.synchronize()
    (launch,) = launches
    assert (launch.name, launch.grid, launch.block, launch.device) == ("few", (5, 2, 1), (64, 1, 1), 0)
    assert [len(value) for value in launch.values] == [8, 8, 4, 8, 1]
    kinds = (np.uint64, np.int64, np.int32, np.float64, np.bool_)
    values = [np.frombuffer(value, kind)[0] for value, kind in zip(launch.values, kinds, strict=True)]
    assert values == [array.data.ptr, -7, 9, 0.5, True]
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        module.get_function("none")


def test_kernels_that_are_not_played_are_refused(cupy):
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        cupy.arange(5) + 1


def test_copies_with_gaps_are_played(cupy):
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    array = cupy.empty(values.shape, values.dtype)
    array.set(values)
    part = array[::-1, 1:4, ::2].transpose(2, 0, 1)
    np.testing.assert_array_equal(cupy.asnumpy(part.copy()), values[::-1, 1:4, ::2].transpose(2, 0, 1))


# ---- Faults


def test_calls_are_counted(cupy, pinned, copy):
    before = [driver.calls(name) for name in ("cuMemcpyAsync", "cuMemcpy*", "cuLaunchKernel*")]
    copy(cupy.empty(NBYTES, np.uint8), pinned(7), cupy.cuda.Stream.null)
    after = [driver.calls(name) for name in ("cuMemcpyAsync", "cuMemcpy*", "cuLaunchKernel*")]
    assert [late - early for early, late in zip(before, after, strict=True)] == [1, 1, 0]


def test_memory_runs_out_on_request(cupy):
    runtime = cupy.cuda.runtime
    with (
        driver.failing("cuMemHostAlloc", driver.OUT_OF_MEMORY),
        pytest.raises(runtime.CUDARuntimeError, match="MemoryAllocation"),
    ):
        runtime.hostAlloc(NBYTES, 0)
    with driver.failing("cuMemAlloc*", driver.OUT_OF_MEMORY, skip=1, times=1):
        runtime.free(runtime.malloc(NBYTES))
        with pytest.raises(runtime.CUDARuntimeError, match="MemoryAllocation"):
            runtime.malloc(NBYTES)
        runtime.free(runtime.malloc(NBYTES))
    with driver.capacity(1 << 20), pytest.raises(runtime.CUDARuntimeError, match="MemoryAllocation"):
        runtime.malloc(2 << 20)


def test_a_lost_device_fails_every_call(cupy, pinned, copy):
    device, source = cupy.empty(NBYTES, np.uint8), pinned(7)
    with driver.lost():
        for call in (
            lambda: copy(device, source, cupy.cuda.Stream.null),
            cupy.cuda.Stream.null.synchronize,
            lambda: cupy.cuda.Stream(non_blocking=True),
            cupy.cuda.runtime.memGetInfo,
        ):
            with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="IllegalAddress"):
                call()
    copy(device, source, cupy.cuda.Stream.null)


def test_a_failing_kernel_loses_the_device_when_it_runs(cupy, pinned, copy):
    stream, back = cupy.cuda.Stream(non_blocking=True), pinned(1)
    driver.queue(stream.ptr, lambda: driver.LAUNCH_FAILED)
    try:
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="LaunchFailure"):
            stream.synchronize()
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="LaunchFailure"):
            copy(back, back, stream)
    finally:
        with driver.lost():  # whose end mends
            pass


# ---- nvCOMP


@pytest.mark.parametrize("damage", ["neighbour", "lost"])
def test_a_damaged_chunk_does_what_nvcomp_was_seen_to_do(cupy, monkeypatch, damage):
    from wkgpu.engines.cuda import nvcomp

    monkeypatch.setattr(codec, "damage", damage)
    lz4, memory, stream = nvcomp.load().lz4, cupy.empty(4 * NBYTES, np.uint8), cupy.cuda.Stream(non_blocking=True)
    memory.set(np.zeros(4 * NBYTES, np.uint8))
    table = cupy.empty(6, np.int64)
    source, target = memory.data.ptr, memory.data.ptr + NBYTES
    ctypes.memset(source, 0xFF, 100)
    table.set(np.array([source, 100, NBYTES, target, -1, -1], np.int64))
    at = [table.data.ptr + 8 * number for number in range(6)]
    cupy.cuda.Stream.null.synchronize()
    temp = cupy.empty(max(lz4.decode_temp_bytes(1, NBYTES, NBYTES), 1), np.uint8)
    lz4.decode(at[0], at[1], at[2], at[4], 1, temp.data.ptr, temp.nbytes, at[3], at[5], stream.ptr)
    try:
        if damage == "lost":
            with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="IllegalAddress"):
                stream.synchronize()
            return
        stream.synchronize()
        assert cupy.asnumpy(table)[4] == NBYTES
        assert cupy.asnumpy(memory)[2 * NBYTES : 2 * NBYTES + 64].all()
    finally:
        with driver.lost():
            pass
