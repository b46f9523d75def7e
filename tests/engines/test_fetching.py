"""Byte ranges come to their places, whichever way they are fetched, and what goes wrong names the range."""

import os
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.engines.cuda import fetching
from wkgpu.engines.cuda.fetching import Fetcher, complete_writes
from wkgpu.engines.cuda.slots import Slot
from wkgpu.engines.threads import ThreadTeam
from wkgpu.errors import StorageAccessError
from wkgpu.kernels.failures import READ_FAILED, TRUNCATED
from wkgpu.storage.plans.read import Segments

SIZE = 500
LONG, SHORT = 0, 1 << 60  # of LONG_BYTES: what makes all ranges long, or short ones


@pytest.fixture
def files(tmp_path):
    """The bytes of three files, and their descriptors."""
    contents = [np.random.default_rng(number).integers(0, 256, SIZE, np.uint8) for number in range(3)]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    with ExitStack() as stack:
        opened = [stack.enter_context(open(tmp_path / str(number), "rb")) for number in range(3)]
        yield contents, [file.fileno() for file in opened]


@pytest.fixture
def slot(simulated_device):
    return Slot(simulated_device, simulated_device.release)


@st.composite
def ranges(draw):
    """Segments with gaps between their places, and the bytes that they span."""
    rows, end = [], draw(st.integers(0, 9))
    for _ in range(draw(st.integers(0, 12))):
        offset = draw(st.integers(0, SIZE - 1))
        nbytes = draw(st.integers(1, SIZE - offset))
        rows.append((draw(st.integers(0, 2)), offset, nbytes, end))
        end += nbytes + draw(st.integers(0, 9))
    return Segments.of(np.array(rows, np.int64).reshape(-1, 4)), end


class Unfetched(Exception):
    """A code, a segment and a file offset."""


def fetch(slot, descriptors, segments, nbytes):
    """Fetch segments, and return the bytes of the device that they were fetched to."""
    staging = slot.memory("staging", nbytes)
    with ExitStack() as stack:
        fetcher = Fetcher(slot._device, ThreadTeam(), np.array(descriptors, np.int64), stack)
        arrive = fetcher.fetch(segments, staging, nbytes, slot, Unfetched)
        arrive()
        slot.end()
        slot.finish()
    return staging.array[:nbytes]


@given(ranges(), st.sampled_from([LONG, SHORT, 100]), st.sampled_from([1, 3]))
def test_both_ways_fetch_the_same(files, slot, config, monkeypatch, wanted, long_bytes, threads):
    (contents, descriptors), (segments, nbytes) = files, wanted
    config.threads = threads
    monkeypatch.setattr(fetching, "LONG_BYTES", long_bytes)
    monkeypatch.setattr(fetching, "_MIN_TAKEN_BYTES", 100)
    found = fetch(slot, descriptors, segments, nbytes)
    for file, offset, length, place in segments.columns.T.tolist():
        np.testing.assert_array_equal(found[place : place + length], contents[file][offset : offset + length])
    assert slot.requests == []


def test_files_are_opened_once_and_closed(files, slot, monkeypatch):
    monkeypatch.setattr(fetching, "LONG_BYTES", LONG)
    before = len(os.listdir("/proc/self/fd"))
    opened = []
    open_file = slot._device.open
    monkeypatch.setattr(slot._device, "open", lambda descriptor: opened.append(descriptor) or open_file(descriptor))
    segments = Segments.of([0, 2, 0], [0, 10, 20], [5, 5, 5], [0, 5, 10])
    fetch(slot, files[1], segments, 15)
    assert opened == [files[1][0], files[1][2]]
    assert len(os.listdir("/proc/self/fd")) == before


def test_short_ranges_open_nothing(files, slot, monkeypatch):
    monkeypatch.setattr(slot._device, "open", None)
    fetch(slot, files[1], Segments.of([1], [0], [5], [0]), 5)


@pytest.mark.parametrize("long_bytes", [LONG, SHORT])
def test_a_range_behind_the_end(files, slot, monkeypatch, long_bytes):
    monkeypatch.setattr(fetching, "LONG_BYTES", long_bytes)
    segments = Segments.of([0, 1, 0], [0, SIZE - 3, 20], [5, 9, 5], [0, 5, 14])
    with pytest.raises(Unfetched) as caught:
        fetch(slot, files[1], segments, 19)
    assert caught.value.args == (TRUNCATED, 1, SIZE)
    slot.drain()


@pytest.mark.parametrize("long_bytes", [LONG, SHORT])
def test_a_file_that_cannot_be_read(files, slot, monkeypatch, long_bytes, tmp_path):
    """It is open for writing only."""
    monkeypatch.setattr(fetching, "LONG_BYTES", long_bytes)
    if long_bytes == LONG:  # which opens the file once more, and could read it
        monkeypatch.setattr("simulated_device.os.pread", lambda *_: os.read(-1, 1))
    with open(tmp_path / "0", "ab") as file, pytest.raises(Unfetched) as caught:
        fetch(slot, [file.fileno()], Segments.of([0], [7], [5], [0]), 5)
    assert caught.value.args == (READ_FAILED, 0, 7)
    slot.drain()


# ---- Writing


def test_requests_to_write_are_completed(slot):
    slot.requests += [lambda: 5, lambda: 7]
    complete_writes(slot, [5, 7], "/path")
    assert slot.requests == []


def test_a_request_that_writes_less_is_an_error(slot):
    slot.requests += [lambda: 5, lambda: 6]
    with pytest.raises(StorageAccessError, match=r"/path.*6 of 7 bytes"):
        complete_writes(slot, [5, 7], "/path")


def test_a_request_that_fails_is_an_error(slot):
    def fail():
        raise OSError(28, "No space left on device")

    slot.requests += [fail]
    with pytest.raises(StorageAccessError, match=r"/path cannot be written.*No space left") as caught:
        complete_writes(slot, [5], "/path")
    assert caught.value.errno == 28
