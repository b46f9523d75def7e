"""Slots are used again only when nothing uses them any more, and what is kept of them is bounded."""

import threading
import weakref
from contextlib import ExitStack

import numpy as np
import pytest

from wkgpu.engines.cuda.budget import Budget
from wkgpu.engines.cuda.slots import BatchTable, Slot, Slots
from wkgpu.errors import DeviceMemoryError


@pytest.fixture
def slot(simulated_device):
    return Slot(simulated_device, simulated_device.release)


@pytest.fixture
def slots(simulated_device):
    return Slots(simulated_device, Budget(simulated_device))


# ---- One slot


def test_memory_grows_to_what_is_asked_for(slot):
    small = slot.memory("decoded", 1000)
    assert small.nbytes >= 1000
    assert slot.memory("decoded", 900) is small
    assert slot.memory("staging", 900) is not small
    large = slot.memory("decoded", 5000)
    assert large.nbytes >= 5000
    assert slot.memory("decoded", 1000) is large
    assert slot.nbytes == large.nbytes + slot.memory("staging", 900).nbytes
    assert slot.memory("nothing", 0).nbytes > 0


def test_memory_makes_room_before_it_grows(slot):
    old = weakref.ref(slot.memory("decoded", 1000))
    slot._device.memory = lambda nbytes: old()
    assert slot.memory("decoded", 5000) is None, "the old memory must be gone when the new one is taken"


def test_host_memory_is_as_long_as_asked_for(slot):
    first = slot.host("table", 1000)
    again = slot.host("table", 800)
    assert (len(first), len(again)) == (1000, 800)
    assert np.shares_memory(first, again)
    assert len(slot.host("table", 4000)) == 4000


def test_outgrown_host_memory_is_less_than_what_is_held(slot, simulated_device):
    """CuPy's pool keeps it for requests of just its size."""
    pinned = []
    take = simulated_device.host_memory
    simulated_device.host_memory = lambda nbytes: pinned.append(nbytes) or take(nbytes)
    for nbytes in range(1, 70_000, 997):
        assert len(slot.host("table", nbytes)) == nbytes
    assert all(nbytes.bit_count() == 1 for nbytes in pinned)
    assert sum(pinned[:-1]) < pinned[-1] < 2 * 70_000


def test_a_slot_that_finds_no_memory_lets_others_give_theirs(simulated_device):
    simulated_device.capacity = 100

    def release():
        simulated_device.capacity = 10_000

    assert Slot(simulated_device, release).memory("decoded", 1000).nbytes >= 1000
    simulated_device.capacity = 100
    with pytest.raises(DeviceMemoryError):
        Slot(simulated_device, simulated_device.release).memory("decoded", 1000)
    assert simulated_device.released == 1


def test_finish_waits_and_then_completes_once(slot):
    events = []
    slot.stream.queue(lambda: events.append("ran"))
    slot.end(lambda: events.append("completed"))
    slot.stream.queue(lambda: events.append("of the next batch"))
    assert events == []
    slot.finish()
    assert events == ["ran", "completed"]
    slot.finish()
    assert events == ["ran", "completed"]


def test_an_error_of_settling_is_raised_once(slot):
    slot.end(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        slot.finish()
    slot.finish()


def test_drain_waits_for_the_stream_and_all_requests(slot):
    events = []

    def fail():
        events.append("failed")
        raise OSError

    slot.requests += [lambda: events.append("first"), fail, lambda: events.append("last")]
    slot.stream.queue(lambda: events.append("ran"))
    slot.end(lambda: events.append("completed"))
    slot.drain()
    assert events == ["first", "failed", "last", "ran"]
    assert slot.requests == []
    slot.finish()
    assert "completed" not in events


def test_drain_is_not_interrupted(slot):
    events = []

    def interrupt():
        events.append("interrupted")
        raise KeyboardInterrupt

    slot.requests += [interrupt, lambda: events.append("last")]
    slot.stream.queue(lambda: events.append("ran"))
    slot.drain()
    assert events == ["interrupted", "last", "ran"]
    assert slot.requests == []


def test_drain_survives_a_broken_stream(slot):
    slot.stream.queue(lambda: 1 // 0)
    slot.end()
    slot.drain()
    slot.finish()


def test_a_stream_begins_after_what_the_caller_has_queued(slot, simulated_device):
    events = []
    other = simulated_device.new_stream()
    other.queue(lambda: events.append("of the caller"))
    slot.begin(other.record())
    slot.stream.queue(lambda: events.append("of the slot"))
    slot.end()
    slot.finish()
    assert events == ["of the caller", "of the slot"]


# ---- Pairs


def test_a_pair_is_used_again(slots):
    with slots.borrow(4096) as first:
        first[0].memory("decoded", 1000)
    with slots.borrow(4096) as second:
        assert second is first
    assert slots.nbytes_kept == first[0].nbytes > 0


def test_pairs_that_are_lent_at_the_same_time_differ(slots):
    with slots.borrow() as one, slots.borrow() as other:
        assert not set(one) & set(other)
        assert len({*one, *other}) == 4


def test_a_pair_comes_back_only_when_its_work_is_done(slots):
    events = []
    with slots.borrow() as pair:
        for slot in pair:
            slot.stream.queue(lambda: events.append("ran"))
            slot.end(lambda: events.append("completed"))
    assert events == ["ran", "completed"] * 2


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_error_leaves_a_pair_idle(slots, error):
    events, pairs = [], []

    def work():
        with slots.borrow() as pair:
            pairs.append(pair)
            pair[0].requests.append(lambda: events.append("request"))
            pair[1].stream.queue(lambda: events.append("stream"))
            pair[1].end(lambda: events.append("completed"))
            raise error

    with pytest.raises(error):
        work()
    assert events == ["request", "stream"]
    with slots.borrow() as again:
        assert again is pairs[0]
        assert not any(slot.requests for slot in again)


def test_an_error_of_settling_leaves_the_other_slot_idle_too(slots):
    events = []

    def work():
        with slots.borrow() as pair:
            pair[0].end(lambda: 1 // 0)
            pair[1].stream.queue(lambda: events.append("stream"))
            pair[1].end(lambda: events.append("completed"))

    with pytest.raises(ZeroDivisionError):
        work()
    assert events == ["stream"]


def test_kept_memory_is_bounded(simulated_device, config):
    config.gpu_bytes = 50_000
    budget = Budget(simulated_device)
    slots = Slots(simulated_device, budget)
    with ExitStack() as stack:
        for _ in range(40):
            given = stack.enter_context(budget.share(15_000))
            stack.enter_context(slots.borrow(given))[0].memory("decoded", given * 8 // 9)
    assert 0 < slots.nbytes_kept <= config.gpu_bytes
    assert len(slots._idle) <= 16


def test_kept_memory_gives_way_to_what_calls_are_given(simulated_device, config):
    config.gpu_bytes = 50_000
    budget = Budget(simulated_device)
    slots = Slots(simulated_device, budget)
    with budget.share(24_000) as given, slots.borrow(given) as pair:
        assert given == 24_000
        pair[0].memory("decoded", 20_000)
    held = slots.nbytes_kept
    with budget.share(1000) as given, slots.borrow(given) as other:
        assert other is not pair, "it has more memory than this call may have"
        assert slots.nbytes_kept == held
        with budget.share(1 << 40) as rest, slots.borrow(rest) as third:
            assert rest == (50_000 - 1000) // 2
            assert third is pair
        with budget.share(1 << 40), budget.share(1 << 40) as rest, slots.borrow(rest):
            assert rest == 12_250
            assert slots.nbytes_kept == 0
    assert budget.rest == 50_000


def test_memory_of_earlier_calls_gives_way_to_that_of_this_one(slots):
    with slots.borrow(8192) as pair:
        pair[0].memory("decoded", 3000)
    with slots.borrow(8192) as again:
        assert again is pair
        small = pair[0].memory("table", 500)
        assert pair[0].nbytes >= 3500, "there is room for both"
        pair[0].memory("staging", 3000)
        assert pair[0].nbytes <= 4096
        assert pair[0].memory("table", 500) is small, "this call uses it"


def test_the_budget_is_a_part_of_what_is_free(simulated_device, config):
    simulated_device.capacity = 4000
    budget = Budget(simulated_device)
    assert budget.nbytes == 1000
    simulated_device.capacity = 1 << 50
    assert budget.nbytes == 1000, "it is asked once"
    assert Budget(simulated_device).nbytes == 8 << 30
    config.gpu_bytes = 7
    assert budget.nbytes == 7


def test_release_gives_idle_memory_back(slots, simulated_device):
    with slots.borrow() as pair:
        memory = weakref.ref(pair[1].memory("decoded", 1000))
        with slots.borrow() as other:
            kept = other[0].memory("decoded", 1000)
            slots.release()
            assert other[0].memory("decoded", 1000) is kept, "a pair that is lent keeps its memory"
    del pair, other
    slots.release()
    assert memory() is None
    assert slots.nbytes_kept == 0
    assert simulated_device.released == 2


def test_threads_never_share_a_pair(slots):
    errors = []

    def work(number):
        for _ in range(50):
            with slots.borrow() as pair:
                for slot in pair:
                    slot.host("table", 64)[...] = number
                    if (slot.host("table", 64) != number).any():
                        errors.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


# ---- Tables


def test_a_table_is_uploaded_at_once(slot):
    table = BatchTable(slot, 10)
    assert table.add(np.array([3, 4])) == 0
    assert table.add([5]) == 2
    table.upload()
    left = table.leave(2)
    assert left == 3
    assert table.address(left) == table.memory.address + 24
    found = slot.host("results", 24)
    slot.stream.download(table.memory, 0, found)
    slot.end()
    slot.finish()
    assert found.view(np.int64).tolist() == [3, 4, 5]
