"""What every store promises: the same tests on a local folder and on the store in memory."""

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count

import pytest
from memory_store import MemoryStore, file_system_calls

from wkgpu.errors import (
    AlreadyExistsError,
    ArgumentError,
    NotFoundError,
    OutdatedFileError,
    ReadOnlyError,
    StorageAccessError,
    UnsupportedError,
)
from wkgpu.storage.stores.files import Entry
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.store import Location, Store

NUMBERS = count()


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return LocalStore(tmp_path / "root") if request.param == "local" else MemoryStore(str(next(NUMBERS)))


def names(store, key=""):
    return sorted(store.entries(key))


def test_a_file_that_was_written_is_read(store):
    assert (store.version("a/b"), store.exists("a/b"), store.read("a/b", 9)) == (None, False, None)
    assert names(store, "a") == []
    store.write("a/b", b"whole")
    assert store.read("a/b", 5) == (b"whole", store.version("a/b"))
    assert store.read_start("a/b", 2) == (b"wh", store.version("a/b"))
    assert store.read_start("a/b", 99) == (b"whole", store.version("a/b"))
    assert names(store) == [Entry("a", True)]
    assert names(store, "a") == [Entry("b", False)]
    with pytest.raises(StorageAccessError, match="has 5 bytes; no file of its kind has more than 4"):
        store.read("a/b", 4)
    with pytest.raises(StorageAccessError, match="is a folder"):
        store.open("a")
    with pytest.raises(StorageAccessError, match="is a folder"):
        store.write("a", b"")


def test_ranges_of_a_file_are_read_at_once(store):
    store.write("a", bytes(range(100)))
    with store.open("a") as source:
        assert (source.nbytes, source.version, source.key) == (100, store.version("a"), "a")
        assert (source.descriptor is not None) == store.has_descriptors
        buffers = [bytearray(3), bytearray(), bytearray(5)]
        source.read_many_into(zip((90, 0, 7), map(memoryview, buffers), strict=True))
        assert [bytes(buffer) for buffer in buffers] == [b"Z[\\", b"", bytes(range(7, 12))]
        assert source.read(98, 10) == b"bc"
        assert source.read(200, 10) == b""
        with pytest.raises(StorageAccessError, match="ends at byte 100"):
            source.read_many_into([(98, memoryview(bytearray(3)))])
    source.close()


@pytest.mark.parametrize("change", ["replace", "delete"])
def test_a_source_stays_on_the_state_that_was_opened(store, change):
    store.write("a", b"old one")
    with store.open("a") as source:
        if change == "replace":
            store.write("a", b"new")
            assert store.version("a") != source.version
        else:
            store.delete("a")
        assert source.read(0, 99) == b"old one"


def test_many_files_are_opened_in_one_request_with_the_ends_that_are_read_first(store):
    for number in range(5):
        store.write(f"z{number}", bytes([number]) * 100)
    if isinstance(store, MemoryStore):
        store.requests.clear()
    sources = store.open_many([f"z{number}" for number in (3, 9, 1)], last_nbytes=8)
    assert [source and source.key for source in sources] == ["z3", None, "z1"]
    assert [source.read(92, 8) for source in sources if source] == [b"\3" * 8, b"\1" * 8]
    if isinstance(store, MemoryStore):
        assert store.requests == {"open": 1}
    for source in sources:
        if source:
            source.close()


def test_all_or_none_of_many_files_are_opened(tmp_path):
    from wkgpu.storage.stores.local import open_files

    store = LocalStore(tmp_path)
    store.write("a", b"")
    store.write("folder/b", b"")
    before = set(open_files.held)
    with pytest.raises(StorageAccessError, match="folder is a folder"):
        store.open_many(["a", "folder", "a"])
    assert open_files.held == before


def test_a_file_is_replaced_only_in_the_state_that_was_read(store):
    with pytest.raises(OutdatedFileError, match="changed by another process"):
        store.write("a", b"", replacing=missing_version(store))
    store.write("a", b"first", replacing="nothing")
    with pytest.raises(AlreadyExistsError, match="a exists"):
        store.write("a", b"second", replacing="nothing")
    _, version = store.read("a", 99)
    store.write("a", b"second", replacing=version)
    with pytest.raises(OutdatedFileError, match="changed by another process"):
        store.write("a", b"third", replacing=version)
    with pytest.raises(OutdatedFileError), store.new_file("a", replacing=store.version("a")):
        store.write("a", b"theirs")
    assert store.read("a", 99)[0] == b"theirs"
    assert names(store) == [Entry("a", False)]


def missing_version(store):
    store.write("gone", b"")
    version = store.version("gone")
    store.delete("gone")
    return version


@pytest.mark.parametrize("replacing", ["nothing", "version"])
def test_one_of_many_writers_wins(store, replacing):
    if replacing == "version":
        store.write("a", b"")
        replacing = store.version("a")
    barrier = threading.Barrier(8)

    def write(number):
        barrier.wait()
        try:
            store.write("a", bytes([number]), replacing=replacing)
        except (AlreadyExistsError, OutdatedFileError):
            return []
        return [number]

    with ThreadPoolExecutor(8) as threads:
        (winner,) = chain.from_iterable(threads.map(write, range(8)))
    assert store.read("a", 9)[0] == bytes([winner])


def test_a_new_file_appears_whole_or_not_at_all(store):
    with store.new_file("folder/a") as new:
        new.write(b"end", 7)
        new.write(memoryview(b"begin").cast("B"), 0)
        assert not store.exists("folder/a")
        new.truncate(12)
    assert store.read("folder/a", 99)[0] == b"begin\0\0end\0\0"
    for is_locked in (False, True):
        with pytest.raises(KeyError), store.new_file("folder/a", is_locked=is_locked) as new:
            raise KeyError(new.write(b"half", 0))
    assert store.read("folder/a", 99)[0] == b"begin\0\0end\0\0"
    assert names(store, "folder") == [Entry("a", False)]


def test_ranges_and_files_are_copied_within_and_between_stores(store, tmp_path):
    stores = store, LocalStore(tmp_path / "other"), MemoryStore(str(next(NUMBERS)))
    store.write("a", bytes(range(200)))
    for other in stores:
        other.copy(Location(store, "a"), "b/copy")
        assert other.read("b/copy", 200)[0] == bytes(range(200))
        with other.open("b/copy") as source, store.new_file("c") as new:
            new.copy_range(source, 10, 3, 4)
        assert store.read("c", 99)[0] == bytes([0, 0, 0, 10, 11, 12, 13])
    with pytest.raises(NotFoundError if isinstance(store, MemoryStore) else StorageAccessError, match="missing"):
        store.copy(Location(store, "missing"), "d")


def test_changes_in_place(store):
    store.write("a", b"0123456789")
    if not store.changes_in_place:
        with pytest.raises(UnsupportedError, match="cannot change files in place"):
            store.change("a")
        return
    source = store.open("a")
    with store.change("a") as file:
        file.write(b"xy", 4)
        file.copy_range(source, 0, 8, 2)
        with pytest.raises(UnsupportedError, match="stays"):
            file.leave_out()
    assert store.read("a", 10)[0] == b"0123xy6701"
    assert source.read(4, 2) == b"xy"
    source.close()
    with pytest.raises(StorageAccessError), store.change("missing"):
        pass


def test_a_file_that_is_left_out(store):
    store.write("a", b"old")
    with store.new_file("a") as new:
        new.write(b"new", 0)
        new.leave_out()
    assert not store.exists("a")


def test_what_has_changed(store):
    assert store.has_changed("a", None)
    for data in (b"1", b"22"):
        store.write("a", data)
        version = store.version("a")
        assert not store.has_changed("a", version)
        assert store.has_changed("a", None)
    store.write("a", b"333")
    assert store.has_changed("a", version)
    store.delete("a")
    assert store.has_changed("a", version)


def test_deletion(store):
    for key in ("a/b/c", "a/d", "ab"):
        store.write(key, b"")
    for key in ("a/d", "a/d", "missing/x"):
        store.delete(key)
    assert names(store, "a") == [Entry("b", True)]
    store.delete("a")
    assert names(store) == [Entry("ab", False)]


def test_locks_exclude_each_other_by_file_and_number(store):
    store.write("a", b"")
    store.write("b", b"")
    assert store.has_locks
    with store.lock("a", 5, 2):
        for key, number, is_free in (("a", 6, False), ("a", 7, True), ("b", 5, True)):
            outcome = []
            thread = threading.Thread(target=lambda key, number, out: out.append(try_lock(store, key, number)),
                                      args=(key, number, outcome))  # fmt: skip
            thread.start()
            thread.join()
            assert outcome == [is_free]
        store.write("a", b"replaced", is_locked=True)
    assert try_lock(store, "a", 6)
    with pytest.raises(NotFoundError), store.lock("missing"):
        pass


def try_lock(store, key, number):
    try:
        with store.lock(key, number, wait=False):
            return True
    except BlockingIOError:
        return False


def test_locations_are_pickled_and_print_as_users_know_them(store):
    store.write("color/1/header", b"whole")
    location = Location(store) / "color" / "1/header"
    again = pickle.loads(pickle.dumps(location))
    assert (again, hash(again), str(again)) == (location, hash(location), store.url_of("color/1/header"))
    with again.open() as source:
        assert source.read(0, 9) == b"whole"
    assert (again.name, again.parent.parent.key, again.parent.parent.parent) == ("header", "color", Location(store))
    with pytest.raises(NotFoundError, match="other does not exist"):
        (again.parent / "other").open()


@pytest.mark.parametrize("key", ["..", "../a", "/a", "a//b", "a/../b", "a/", "a\0b"])
def test_no_key_leads_out_of_a_store(store, key):
    with pytest.raises(ArgumentError, match="is no key"):
        Location(store, key)


def test_what_a_store_lacks_is_said():
    class Nothing(Store):
        coalesce_bytes = 0

        def url_of(self, key):
            return f"none://{key}"

        def version(self, key):
            return None

        def open(self, key, *, wait=True):
            return None

    store = Nothing()
    for use in (
        lambda: store.new_file("a"),
        lambda: store.write("a", b""),
        lambda: store.delete("a"),
        lambda: store.lock("a"),
    ):
        with pytest.raises(UnsupportedError, match="none://: a Nothing cannot"):
            use()
    with pytest.raises(UnsupportedError, match="cannot list"):
        store.entries("")


def test_the_store_in_memory_touches_no_file_and_the_other_one_does(store, tmp_path):
    with file_system_calls() as calls:
        store.write("a/b", b"whole")
        with store.lock("a/b"), store.open("a/b") as source:
            assert source.read(0, 9) == b"whole"
        assert store.version("a/b")
        assert names(store, "a")
        store.delete("a")
    if isinstance(store, MemoryStore):
        assert calls == []
    else:
        assert {"open", "stat", "lstat", "os.scandir", "os.rename"} <= {name for name, _ in calls}


def test_what_is_hidden_is_named_and_what_a_crash_has_left_of_a_file_is_removed(tmp_path):
    store = LocalStore(tmp_path)
    left = [f"a/.b.{key}.wkgpu" for key in ("000000000000", "0123456789ab")] + ["a/.b.0123456789ab.tmp", "a/.b.partial"]
    kept = ["a/.c.0123456789ab.wkgpu", "a/.b.wkgpu", "a/.b.0123456789ab", "a/b", "b"]
    for key in left + kept:
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / key).touch()
    (tmp_path / ".rewriting" / ".b.tmp").mkdir(parents=True)
    assert store.leftovers() == sorted([*left, kept[0], ".rewriting"])
    assert store.leftovers("a") == sorted([*left, kept[0]])
    assert store.leftovers("missing") == []
    store.remove_abandoned("a/b")
    assert store.leftovers() == [".rewriting", kept[0]]
    assert all((tmp_path / key).exists() for key in kept)


def test_a_file_that_is_a_link_is_only_written_where_that_is_allowed(tmp_path, config):
    (tmp_path / "outside").write_bytes(b"0123")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "outside")
    for use in (
        lambda store: store.write("a", b"new"),
        lambda store: store.change("a"),
        lambda store: store.copy(Location(store, "a"), "a"),
    ):
        with pytest.raises(ReadOnlyError, match=r"root/a is a link, so .*allow_foreign_writes"):
            use(LocalStore(tmp_path / "root"))
    LocalStore(tmp_path / "root", follows_links=True).write("a", b"new")
    assert (tmp_path / "root" / "a").is_symlink()
    assert (tmp_path / "outside").read_bytes() == b"new"
    config.foreign_writes = True
    with LocalStore(tmp_path / "root").change("a") as file:
        file.write(b"y", 2)
    assert (tmp_path / "outside").read_bytes() == b"ney"


def test_files_are_opened_by_no_wait_for_a_pipe_and_named_where_they_cannot_be(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    store = LocalStore(tmp_path)
    for use in (store.open, lambda key: store.read(key, 9), store.change, lambda key: store.write(key, b"")):
        for key in ("pipe", "loop") if use == store.open else ("pipe",):
            with pytest.raises(StorageAccessError, match=key), use(key):
                pass
    with pytest.raises(StorageAccessError, match=r"Cannot look at .*loop"):
        store.version("loop")
    assert names(store) == [Entry("loop", False)]
    store.write("file", b"")
    with pytest.raises(StorageAccessError, match="Its folder is a file"):
        store.open("file/below")
    assert not store.exists("file/below")


def test_a_swap_is_seen_and_finished(tmp_path):
    store = LocalStore(tmp_path)
    for key in ("header", "z0", "z1", ".header.000000000001.wkgpu/content/header"):
        store.write(key, b"old")
    store.write(".header.000000000001.wkgpu/content/z0", b"new")
    assert not store.is_swapping("header")
    store.write(".header.000000000001.wkgpu/journal", b'{"remove": ["z1"]}')
    assert store.is_swapping("header")
    assert not store.is_swapping("z0", also_earlier=True)
    before = store.version("header")
    store.finish_swap("header", lambda path: path.startswith("z"))
    assert not store.is_swapping("header")
    assert store.version("header") != before
    assert store.read("z0", 9)[0] == b"new"
    assert not store.exists("z1")
    store.write(".rewriting/swap.json", b'{"remove": ["z0"]}')
    assert (store.is_swapping("header"), store.is_swapping("header", also_earlier=True)) == (False, True)
    store.finish_swap("header", lambda path: path.startswith("z"))
    assert not store.is_swapping("header", also_earlier=True)
    assert not store.exists("z0")
