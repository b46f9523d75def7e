import errno
import os

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.errors import StorageAccessError
from wkgpu.storage.stores.local import open_files


@pytest.fixture
def mag_view(tmp_path):
    """Has 64 shards."""
    layer = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1)).add_layer("c", "color")
    made = layer.add_mag(1, chunk_shape=8, shard_shape=8)
    made.write(np.arange(32**3).astype("uint8").reshape(32, 32, 32))
    return made


def test_a_plan_leaves_most_files_to_others(mag_view, monkeypatch):
    """A box of more files than are open at a time has several plans, each of which is read with its files open."""
    monkeypatch.setattr(open_files, "_limit", lambda: 100)
    counts = []
    for plan, sources in mag_view._array.read_plans([(0, 0, 0)], (32, 32, 32)):
        with sources:
            assert sources.are_open
            counts.append((len(plan.files), len(plan.chunks), len(open_files.held)))
    assert counts == [(25, 25, 25), (25, 25, 25), (14, 14, 14)]
    assert not open_files.held


def test_files_that_are_replaced_without_a_break_are_read(mag_view, monkeypatch):
    """Files are opened when their turn comes, and then stay what they were."""
    monkeypatch.setattr(open_files, "_limit", lambda: 64)
    array, before, read = mag_view._array, mag_view.read(), mag_view._engine.read
    out = np.zeros((1, 32, 32, 32, 1), "uint8", order="F")
    calls = []

    def rewrite_and_read(plan, sources):
        calls.append(len(plan.files))
        mag_view.write(before[0], absolute_offset=(0, 0, 0))
        read(plan, sources, out)

    array.read([(0, 0, 0)], (32, 32, 32), rewrite_and_read)
    assert calls == [16] * 4
    np.testing.assert_array_equal(out[..., 0], before)


def test_a_file_that_is_deleted_before_its_turn_is_missing(mag_view, monkeypatch):
    monkeypatch.setattr(open_files, "_limit", lambda: 64)
    array, expected = mag_view._array, mag_view.read()
    out = np.ones((1, 32, 32, 32, 1), "uint8", order="F")

    def delete_last(plan, sources):
        (array.path / "z3" / "y3" / "x3.wkw").unlink(missing_ok=True)
        mag_view._engine.read(plan, sources, out)

    array.read([(0, 0, 0)], (32, 32, 32), delete_last)
    expected[:, 24:, 24:, 24:] = 0
    np.testing.assert_array_equal(out[..., 0], expected)


def test_a_plan_of_few_files_does_not_ask_for_the_limit(mag_view, monkeypatch):
    monkeypatch.setattr(open_files, "_limit", lambda: pytest.fail("a system call"))
    assert mag_view.read(absolute_offset=(0, 0, 0), size=(16, 16, 16)).shape == (1, 16, 16, 16)


def test_waiting_ends_when_a_file_can_be_opened(monkeypatch):
    outcomes = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ENFILE, "Too many"), 5]

    def open_file():
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    assert open_files.patiently(open_file) == 5
    outcomes[:] = [OSError(errno.EMFILE, "Too many open files"), FileNotFoundError(errno.ENOENT, "No")]
    with pytest.raises(FileNotFoundError):
        open_files.patiently(open_file)


def test_a_codec_is_not_guessed_where_a_shard_cannot_be_opened(mag_view, monkeypatch):
    monkeypatch.setattr(open_files, "_SECONDS", 0)

    def open_nothing(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    array = mag_view._array
    monkeypatch.setattr(os, "open", open_nothing)
    with pytest.raises(StorageAccessError, match="files open at once"):
        array.shard_codecs((0, 0, 0))


LITTLE = """
import os, resource, sys, threading
import numpy as np, wkgpu as wk
layer = wk.Dataset("dataset", voxel_size=(1, 1, 1)).add_layer("c", "color")
mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=8)
voxels = np.random.default_rng(0).integers(0, 5, (32, 32, 40), dtype="uint8")
mag_view.write(voxels)
assert mag_view.read().any() and layer.dataset.copy_dataset("copy")  # all that is imported or compiled late is there
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

failures = []
def work(number):
    try:
        for _ in range(2):
            mag_view.write(voxels) if number % 4 == 0 else None
            assert (mag_view.read()[0] == voxels).all()
    except BaseException as error:
        failures.append(repr(error))
threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("threads", failures)

copy = layer.dataset.copy_dataset("another").get_layer("c").get_mag(1)
layer.downsample(coarsest_mag=2)
print("alone", mag_view.content_is_equal(copy), list(layer.mags) == [1, 2])

taken = []
try:
    while True: taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError: pass
for use in mag_view.read, lambda: mag_view.write(voxels):
    try: use()
    except wk.WkgpuError as error: print(type(error).__name__, error)
os.close(taken.pop())
print("one", (mag_view.read()[0] == voxels).all())
"""


def test_a_process_that_may_have_few_files(run_python):
    """Threads read and write at the same time, and where not even one file can be opened, the limit is named."""
    threads, alone, read, write, one = run_python(LITTLE).splitlines()
    assert (threads, alone, one) == ("threads []", "alone True True", "one True")
    for line in read, write:
        assert line.startswith("StorageAccessError [Errno 24] Cannot ")
        assert "may have 40 files open at once" in line
