"""Views that are open while their mag is rewritten by another object or another process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from datasets import read
from strategies import voxels

import wkgpu as wk
from wkgpu.errors import MismatchError, NotFoundError
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.storage.formats import create_array

# Rewrites the mag of argv[1] until it is killed, or has done so 100 times.
REWRITER = """
import sys
import wkgpu as wk
mag = wk.Dataset.open(sys.argv[1]).get_layer("color").get_mag(1)
print("started", flush=True)
for number in range(100):
    mag.rechunk(8, (16, 32, 64)[number % 3], compress=number % 2 == 0)
    mag.rechunk(16, 32, compress=False)
    mag.compress()
"""


@pytest.fixture
def stored(tmp_path, config):
    """A dataset with a mag of many small shards, opened, and its voxels."""
    config.device = "cpu"
    data = np.random.default_rng(5).integers(1, 250, (64, 64, 64), dtype="uint8")
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1))
    mag = dataset.add_layer("color", "color").add_mag(1, chunk_shape=8, shard_shape=16, compress=False)
    mag.write(data)
    return dataset, mag, data


def other_view(dataset):
    return wk.Dataset.open(dataset.path).get_layer("color").get_mag(1)


REWRITES = {
    "compress": lambda mag: mag.compress(),
    "lz4hc": lambda mag: mag.compress(codec="lz4hc"),
    "larger": lambda mag: mag.rechunk(16, 64),
    "smaller": lambda mag: mag.rechunk(8, 8, compress=False),
}


@pytest.mark.parametrize("rewrite", REWRITES)
def test_a_view_reads_and_writes_on(stored, rewrite):
    dataset, mag, data = stored
    view = mag.get_view(absolute_offset=(3, 5, 7), size=(40, 40, 40))
    for opened in (mag, view):
        opened.read()
    other = other_view(dataset)
    REWRITES[rewrite](other)
    np.testing.assert_array_equal(view.read()[0], data[3:43, 5:45, 7:47])
    assert mag.info == other.info
    new = np.full((20, 20, 20), 251, "uint8")
    mag.write(new, absolute_offset=(10, 10, 10))
    data[10:30, 10:30, 10:30] = new
    np.testing.assert_array_equal(mag.read()[0], data)
    np.testing.assert_array_equal(other.read()[0], data)
    assert mag.content_is_equal(other)
    assert mag.min_max() == (data.min(), data.max())
    mag.rechunk(8, 32)
    assert other.info.shard_shape == (32, 32, 32)
    np.testing.assert_array_equal(dataset.get_layer("color").get_mag(1).read()[0], data)


def test_a_write_that_waits_for_a_swap_goes_to_the_new_shards(stored):
    """The mag is rewritten after a write is planned and before its second shard is locked."""
    dataset, mag, data = stored
    new = voxels(mag._array.spec, (40, 40, 40), 9)
    engine, array = mag._engine, mag._array
    for number, shard_write in enumerate(array.shard_writes((7, 7, 7), (40, 40, 40))):
        with shard_write as plan:
            engine.write(plan, new)
        if number == 1:
            other_view(dataset).rechunk(8, 64)
    data[7:47, 7:47, 7:47] = new[0]
    np.testing.assert_array_equal(mag.read()[0], data)
    assert mag._array.existing_shards() == [(0, 0, 0)]


def test_plans_start_again_when_files_change_between_them(stored, monkeypatch):
    """The mag is rewritten after the first plan of a read is made."""
    dataset, mag, data = stored
    monkeypatch.setattr("wkgpu.storage.plans.read_planner.MAX_ROWS", 64)
    engine, array = mag._engine, mag._array
    out = np.zeros((1, 64, 64, 64, 1), "uint8", order="F")
    for number, (plan, sources) in enumerate(array.read_plans([(0, 0, 0)], (64, 64, 64))):
        with sources:
            engine.read(plan, sources, out)
        if number == 2:
            other_view(dataset).rechunk(8, 32)
    np.testing.assert_array_equal(out[0, ..., 0], data)


def test_a_read_that_plans_while_files_are_swapped(stored, monkeypatch):
    """The header is looked at, then the mag is rewritten, then shards are opened: several times."""
    dataset, mag, data = stored
    shapes = iter((32, 16, 64))
    kind = type(mag._array)
    is_outdated = kind.is_outdated

    def rewriting(array):
        found = is_outdated(array)
        if array.path == mag._array.path and threading.current_thread() is threading.main_thread():
            shape = next(shapes, None)
            if shape is not None:
                monkeypatch.setattr(kind, "is_outdated", is_outdated)
                other_view(dataset).rechunk(8, shape)
                monkeypatch.setattr(kind, "is_outdated", rewriting)
        return found

    monkeypatch.setattr(kind, "is_outdated", rewriting)
    np.testing.assert_array_equal(mag.read()[0], data)
    assert next(shapes, None) is None


def test_a_mag_with_another_dtype_in_its_place(stored, tmp_path):
    dataset, mag, _ = stored
    layer = dataset.get_layer("color")
    mag.read()
    mag.path.rename(tmp_path / "aside")
    create_array(mag.path, mag._array.spec.__class__(np.dtype("uint16"), 1, (8, 8, 8), (2, 2, 2), ()))
    for use in (mag.read, lambda: mag.write(np.zeros((8, 8, 8), "uint8"))):
        with pytest.raises(MismatchError, match=r"header\.wkw now says 1 channels of uint16.*Open its dataset again"):
            use()
    assert layer.dtype == np.uint8


def test_a_deleted_mag_has_no_voxels(stored, tmp_path):
    """Not even zeros."""
    _, mag, data = stored
    mag.read()
    mag.path.rename(tmp_path / "aside")
    with pytest.raises(NotFoundError, match=r"header\.wkw does not exist"):
        mag.read()
    (tmp_path / "aside").rename(mag.path)
    np.testing.assert_array_equal(mag.read()[0], data)


def check_until(enough, mag, data):
    """Read boxes until a function says that it is enough; returns how many."""
    random = np.random.default_rng(1)
    reads = 0
    while not enough():
        corner = random.integers(0, 40, 3)
        size = random.integers(1, 65 - corner)
        found = mag.read(absolute_offset=tuple(corner.tolist()), size=tuple(size.tolist()))
        inside = tuple(slice(first, first + length) for first, length in zip(corner, size, strict=True))
        np.testing.assert_array_equal(found[0], data[inside])
        reads += 1
    return reads


def test_reads_while_another_process_rewrites(stored):
    dataset, mag, data = stored
    with subprocess.Popen(
        [sys.executable, "-c", REWRITER, str(dataset.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "started\n"
            begin = time.monotonic()
            shapes = set()

            def enough():
                shapes.add(mag.info.shard_shape)
                seconds = time.monotonic() - begin
                # The other process may first have to compile its kernels, on a busy machine.
                return process.poll() is not None or seconds > (5 if len(shapes) > 1 else 90)

            assert check_until(enough, mag, data) > 20
            assert process.poll() in (None, 0), process.stderr.read()
            assert len(shapes) > 1
        finally:
            process.kill()


def test_reads_of_several_threads_while_another_one_rewrites(stored):
    """All share one object, which reloads itself under them."""
    dataset, mag, data = stored
    done = threading.Event()
    failures, reads = [], []

    def reader():
        try:
            reads.append(check_until(done.is_set, mag, data))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=reader) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        other = other_view(dataset)
        for number in range(12):
            (other, mag)[number % 2].rechunk(8, (16, 32, 64)[number % 3], compress=number % 4 < 2)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert min(reads) > 0


def test_voxels_that_a_snapshot_reads_are_its_own(stored):
    """A plan that is open keeps the old files, whole."""
    dataset, mag, data = stored
    ((plan, sources),) = mag._array.read_plans([(0, 0, 0)], (32, 64, 64))
    with sources:
        other = other_view(dataset)
        other.rechunk(8, 32)
        other.write(np.zeros((64, 64, 64), "uint8"))
        out = np.empty((1, 32, 64, 64, 1), "uint8", order="F")
        mag._engine.read(plan, sources, out)
    np.testing.assert_array_equal(out[0, ..., 0], data[:32])
    write_box(mag._array, mag._engine, (0, 0, 0), data[np.newaxis])
    np.testing.assert_array_equal(read_box(mag._array, mag._engine, (0, 0, 0), (64, 64, 64))[0], data)
    assert not read(mag, absolute_offset=(64, 0, 0), size=(8, 8, 8)).any()


def test_a_change_is_known_that_was_saved_when_an_interrupt_came(stored, monkeypatch):
    layer = stored[1].layer
    adopt, interrupts = wk.Layer._adopt, [KeyboardInterrupt]

    def interrupted(layer, properties):
        if interrupts:
            raise interrupts.pop()
        adopt(layer, properties)

    monkeypatch.setattr(wk.Layer, "_adopt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        layer.add_mag(2)
    assert list(layer.mags) == list(wk.Dataset.open(layer.dataset.path).get_layer("color").mags)
