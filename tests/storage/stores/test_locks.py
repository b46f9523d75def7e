import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.errors import NotFoundError, StorageAccessError
from wkgpu.storage.stores.local import locks
from wkgpu.storage.stores.local.locks import file_lock
from wkgpu.storage.stores.local.thread_locks import hold_range

HOLD = """
import sys, time
from wkgpu.storage.stores.local.locks import file_lock
with file_lock(sys.argv[1], int(sys.argv[2])):
    print("locked", flush=True)
    time.sleep(60)
"""
COUNT = """
import sys
from pathlib import Path
from wkgpu.storage.stores.local.locks import file_lock
counter = Path(sys.argv[2])
for _ in range(50):
    with file_lock(sys.argv[1], 7):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


@pytest.fixture
def lock_file(tmp_path):
    path = tmp_path / "header.wkw"
    path.write_bytes(b"lock_file")
    return path


@pytest.fixture
def holder(lock_file):
    """A process that holds lock 3 of the lock_file."""
    with subprocess.Popen([sys.executable, "-c", HOLD, lock_file, "3"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "locked"
        yield process
        process.kill()


def acquired(path, byte, seconds):
    """Whether a thread gets the lock within some time; if not, it continues to wait."""
    got = threading.Event()

    def acquire():
        with file_lock(path, byte):
            got.set()

    threading.Thread(target=acquire, daemon=True).start()
    return got.wait(seconds)


@pytest.mark.parametrize("locking", [True, False])
@pytest.mark.filterwarnings("ignore:The setting locking is off")
def test_threads_exclude_each_other(lock_file, config, locking):
    config.locking = locking
    inside, highest = [0], [0]

    def work():
        for _ in range(20):
            with file_lock(lock_file, 5):
                inside[0] += 1
                highest[0] = max(highest[0], inside[0])
                time.sleep(0.0002)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert highest == [1]


def test_processes_exclude_each_other(lock_file, tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, lock_file, counter]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert counter.read_text() == "150"


def test_a_thread_waits_for_a_process(lock_file, holder):
    assert not acquired(lock_file, 3, 0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one lock serves the whole file")
def test_other_numbers_are_free(lock_file, holder):
    for byte in (0, 2, 4, 2**40, 2**62 - 1):
        assert acquired(lock_file, byte, 10)


def test_a_killed_process_holds_nothing(lock_file, holder):
    holder.send_signal(signal.SIGKILL)
    assert acquired(lock_file, 3, 10)


def test_a_lock_is_that_of_the_file_at_the_path(lock_file):
    """A writer that waits while the file is replaced then waits for those that locked the new one."""
    order = []

    def second():
        with file_lock(lock_file):
            order.append("second")

    with file_lock(lock_file):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.05)
        new = lock_file.with_name("new")
        new.write_bytes(b"new")
        new.replace(lock_file)
        with file_lock(lock_file):  # the new file's lock is free
            order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_lock_leaves_nothing_behind(lock_file):
    before = sorted(lock_file.parent.iterdir()), lock_file.read_bytes(), len(os.listdir("/dev/fd"))
    with file_lock(lock_file, 2**40):
        assert sorted(lock_file.parent.iterdir()) == before[0]
    assert (sorted(lock_file.parent.iterdir()), lock_file.read_bytes(), len(os.listdir("/dev/fd"))) == before


def test_a_lock_ends_with_an_exception(lock_file):
    with pytest.raises(KeyError), file_lock(lock_file):
        raise KeyError
    assert acquired(lock_file, 0, 10)


def test_a_lock_ends_although_a_forked_child_lives(lock_file):
    """A child that is forked while the lock is held has a copy of the descriptor."""
    with file_lock(lock_file):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        assert acquired(lock_file, 0, 2)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_no_file(tmp_path):
    with pytest.raises(NotFoundError, match=r"header\.wkw does not exist"), file_lock(tmp_path / "header.wkw"):
        pass


def test_a_folder(tmp_path):
    with pytest.raises(StorageAccessError, match=str(tmp_path)), file_lock(tmp_path):
        pass


def test_a_lock_that_an_interrupt_left_held_is_not_waited_for_by_its_own_thread(lock_file):
    def interrupted_before_it_gives_back():
        held = file_lock(lock_file, 3, 4)
        held.__enter__()
        raise KeyboardInterrupt(held)  # the error, which is alive below, keeps the lock

    try:
        interrupted_before_it_gives_back()
    except KeyboardInterrupt:
        begin = time.monotonic()
        with file_lock(lock_file, 5):
            assert time.monotonic() - begin < 0.5


def test_a_lock_of_another_process_is_not_waited_for_if_that_is_not_wanted(lock_file, holder):
    with file_lock(lock_file, 2, wait=False), pytest.raises(BlockingIOError), file_lock(lock_file, 1, 5, wait=False):
        pytest.fail("another process holds lock 3")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one lock serves the whole file")
def test_many_locks_are_not_waited_for_in_vain_while_others_come_and_go(lock_file, holder):
    """Locks that are asked for later are given later, so that there is a time when all are free."""
    got = threading.Event()

    def acquire_many():
        with file_lock(lock_file, 0, 100):
            got.set()

    thread = threading.Thread(target=acquire_many)
    thread.start()
    while acquired(lock_file, 50, 0.05):  # until the thread waits
        time.sleep(0.01)
    with pytest.raises(BlockingIOError), file_lock(lock_file, 200, wait=False):
        pytest.fail("another thread waits for many")
    assert not got.is_set()
    holder.kill()
    assert got.wait(10)
    thread.join(10)
    assert acquired(lock_file, 50, 10)


# ---- File systems without locks


@pytest.fixture(params=["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
def no_locks(request, monkeypatch):
    """A file system that answers requests for a lock like this."""

    def refuse(*_):
        raise OSError(getattr(errno, request.param), "no locks here")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)


def test_no_locks_is_an_error_that_names_the_setting(lock_file, no_locks):
    names_it = pytest.raises(StorageAccessError, match=rf"{lock_file}.*config\.locking = False.*WKGPU_LOCKING=off")
    with names_it, file_lock(lock_file):
        pass


def test_a_dataset_without_locks(tmp_path, no_locks, config, monkeypatch, recwarn):
    monkeypatch.setattr(locks, "_has_warned", False)
    config.locking = False
    voxels = np.ones((64, 64, 64), "uint8")
    layer = wk.Dataset(tmp_path / "ds", voxel_size=(1, 1, 1)).add_layer("color", "color")
    mag = layer.add_mag(1, shard_shape=64)
    mag.write(voxels)
    layer.downsample(coarsest_mag=2, sampling_mode="isotropic")
    mag.compress(codec="lz4hc")
    copy = layer.dataset.copy_dataset(tmp_path / "copy")
    np.testing.assert_array_equal(copy.get_layer("color").get_mag(1).read()[0], voxels)
    layer.dataset.delete_layer("color")
    assert ["locking is off" in str(warning.message) for warning in recwarn].count(True) == 1


@pytest.mark.filterwarnings("ignore:The setting locking is off")
class TestLocksOfThreads:
    @pytest.fixture(autouse=True)
    def _off(self, config):
        config.locking = False

    def test_ranges(self, lock_file, tmp_path):
        (tmp_path / "link").symlink_to(lock_file)
        with file_lock(lock_file, 3, 2):
            assert not acquired(tmp_path / "link", 4, 0.05)
            assert all(acquired(lock_file, byte, 10) for byte in (2, 5, 2**61))
        assert acquired(lock_file, 3, 10)

    def test_what_an_interrupt_leaves_is_free(self, lock_file):
        hold_range(str(lock_file), 0, 1)  # as if an interrupt had come before it was kept
        left = [hold_range(str(lock_file), 1, 2)]
        left.append(left)  # as in a traceback
        del left
        assert acquired(lock_file, 0, 10)
        assert acquired(lock_file, 1, 10)

    def test_a_forked_child_holds_nothing(self, lock_file):
        with file_lock(lock_file):
            child = os.fork()
            if child == 0:
                os._exit(0 if acquired(lock_file, 0, 10) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_a_file_that_is_deleted_before_it_is_locked(self, lock_file):
        found = []

        def wait():
            try:
                with file_lock(lock_file):
                    found.append("locked")
            except NotFoundError:
                found.append("gone")

        with file_lock(lock_file):
            thread = threading.Thread(target=wait)
            thread.start()
            lock_file.unlink()
        thread.join(10)
        assert found == ["gone"]
