import os
from itertools import count

import pytest
from memory_store import MemoryStore

from wkgpu.errors import OutdatedFileError, StorageAccessError
from wkgpu.storage.stores.staged_files import StagedFile, staged

NUMBERS = count()


@pytest.fixture
def store():
    before = len(os.listdir("/dev/fd"))
    yield MemoryStore(f"staged-{next(NUMBERS)}")
    assert len(os.listdir("/dev/fd")) == before


def test_ranges_lie_at_their_offsets_and_the_rest_takes_no_memory(store):
    store.write("a", bytes(range(256)) * (1 << 14))
    requests = store.requests["ranges"]
    with store.open("a") as source:
        descriptor = staged(source, [(5, 3), (2 << 20, 2), (1 << 22, 0)], "a")
        assert store.requests["ranges"] == requests + 1
    assert os.pread(descriptor, 9, 0) == b"\0\0\0\0\0\5\6\7\0"
    assert os.pread(descriptor, 3, 2 << 20) == b"\0\1\0"
    status = os.fstat(descriptor)
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (1 << 22, True)
    os.close(descriptor)


def test_a_file_that_ends_too_early(store):
    store.write("a", b"short")
    with store.open("a") as source:
        source.nbytes = 9  # as the store has said
        with pytest.raises(StorageAccessError, match=r"a ends at byte \d, too early"):
            staged(source, [(0, 9)], "a")


def test_an_empty_file(store):
    store.write("a", b"")
    with store.open("a") as source:
        os.close(staged(source, [], "a"))


def test_a_file_is_written_at_the_end(store, monkeypatch):
    monkeypatch.setattr("wkgpu.storage.stores.staged_files._UPLOADED_BYTES", 3)
    with StagedFile(store.new_file("a"), "a") as new:
        new.write(b"56", 5)
        assert os.pwrite(new.descriptor, b"0123", 0) == 4
        new.truncate(9)
        assert not store.exists("a")
    assert store.read("a", 99)[0] == b"0123\00056\0\0"
    with pytest.raises(KeyError), StagedFile(store.new_file("a"), "a") as new:
        raise KeyError(new.write(b"other", 0))
    assert store.read("a", 99)[0] == b"0123\00056\0\0"
    with StagedFile(store.new_file("a"), "a") as new:
        new.write(b"other", 0)
        new.leave_out()
    assert not store.exists("a")


def test_a_file_that_may_not_be_replaced(store):
    store.write("a", b"1")
    version = store.version("a")
    with pytest.raises(OutdatedFileError), StagedFile(store.new_file("a", replacing=version), "a"):
        store.write("a", b"3")
    with pytest.raises(OutdatedFileError), StagedFile(store.new_file("a", replacing=version), "a"):
        pass
    assert store.read("a", 9)[0] == b"3"
