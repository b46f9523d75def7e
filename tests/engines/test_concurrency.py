"""Threads, of all engines, and processes, of the CPU engine, that read and write one shard at the same time."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from arrays import is_simulated, read_box, write_box
from strategies import voxels

from wkgpu.engines import get_engine
from wkgpu.settings import config as settings
from wkgpu.storage.codecs import pipeline_of, word_of
from wkgpu.storage.formats import open_array
from wkgpu.storage.spec import ArraySpec

CHUNK = 8
SHARD = (32, 32, 32)
OCTANTS = list(product((0, 16), repeat=3))


def layout_of(codec):
    return ArraySpec(np.dtype("uint16"), 1, (CHUNK,) * 3, (4, 4, 4), pipeline_of(codec))


@pytest.fixture(params=["raw", "lz4"])
def array(make_array, request):
    return make_array(layout_of(request.param))


@pytest.fixture(autouse=True)
def three_threads(config):
    config.threads = 3


def fill(path, topleft, shape, value, repeats=1, engine=None):
    """Write one value into a box; without an engine, with that of this process for the CPU."""
    array = open_array(path)
    for _ in range(repeats):
        write_box(array, engine or get_engine("cpu"), topleft, np.full((1, *shape), value, np.uint16))


def in_threads(works):
    with ThreadPoolExecutor(len(works)) as executor:
        for future in [executor.submit(*work) for work in works]:
            future.result(60)


def in_processes(works, method):
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=work[0], args=work[1:]) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    for process in processes:
        process.kill()
    assert [process.exitcode for process in processes] == [0] * len(works)


def files_of(array):
    return sorted(path.relative_to(array.path).as_posix() for path in array.path.rglob("*") if path.is_file())


def values_of_octants(array, engine, shape):
    shard = read_box(array, engine, (0, 0, 0), SHARD)[0]
    boxes = [shard[tuple(slice(b, b + n) for b, n in zip(corner, shape, strict=True))] for corner in OCTANTS]
    return [np.unique(box).tolist() for box in boxes]


# Boxes that share chunks with their neighbours as well: those writes must not undo each other.
@pytest.mark.parametrize("shape", [(16, 16, 16), (13, 15, 11)])
def test_threads_write_disjoint_boxes(array, engine, shape):
    in_threads([(fill, array.path, corner, shape, number + 1, 3, engine) for number, corner in enumerate(OCTANTS)])
    assert values_of_octants(array, engine, shape) == [[number + 1] for number in range(8)]
    assert files_of(array) == ["header.wkw", "z0/y0/x0.wkw"]


def test_threads_write_disjoint_boxes_that_share_chunks(array, engine):
    """Slabs of 4 voxels: every chunk is written in part by two threads."""
    in_threads([(fill, array.path, (0, 0, 4 * number), (32, 32, 4), number + 1, 3, engine) for number in range(8)])
    shard = read_box(array, engine, (0, 0, 0), SHARD)
    np.testing.assert_array_equal(shard, np.broadcast_to(np.arange(32, dtype=np.uint16) // 4 + 1, shard.shape))


def test_threads_write_overlapping_boxes(array, engine):
    """Each voxel is one of those that its writers wrote, and a box in one chunk is that of one writer."""
    corners = [(4 * number, 4, 4) for number in range(6)]
    in_threads([(fill, array.path, corner, (12, 20, 20), n + 1, 3, engine) for n, corner in enumerate(corners)])
    shard = read_box(array, engine, (0, 0, 0), SHARD)[0]
    for x in range(32):
        writers = {n + 1 for n, corner in enumerate(corners) if corner[0] <= x < corner[0] + 12}
        assert set(np.unique(shard[x, 4:24, 4:24]).tolist()) <= (writers or {0})
    assert not shard[:, :4].any()
    assert not shard[:, 24:].any()


def test_reads_during_writes(array, engine):
    """A read never fails, and of a compressed shard it sees every chunk old or new."""
    values = set(range(1, 10 if is_simulated(engine) else 20))
    fill(array.path, (0, 0, 0), SHARD, 1, 1, engine)
    done = threading.Event()
    errors = []

    def read():
        while not done.is_set():
            found = read_box(array, engine, (0, 0, 0), SHARD)[0]
            if not set(np.unique(found).tolist()) <= values:
                errors.append(np.unique(found))
            for x, y, z in product(range(0, 32, CHUNK), repeat=3):
                chunk = found[x : x + CHUNK, y : y + CHUNK, z : z + CHUNK]
                if word_of(array.spec.codecs) != "raw" and chunk.min() != chunk.max():
                    errors.append((x, y, z))

    readers = [threading.Thread(target=read) for _ in range(1 if is_simulated(engine) else 4)]
    for reader in readers:
        reader.start()
    try:
        in_threads([(fill, array.path, corner, (16, 16, 16), n + 1, 1, engine) for n, corner in enumerate(OCTANTS)])
        for value in sorted(values):
            fill(array.path, (0, 0, 0), SHARD, value, 1, engine)
    finally:
        done.set()
        for reader in readers:
            reader.join(30)
    assert errors == []


def test_reads_of_one_plan_size_in_many_threads(array, engine):
    volume = voxels(array.spec, (64, 64, 64), 1)
    write_box(array, engine, (0, 0, 0), volume)
    corners = np.random.default_rng(0).integers(0, 40, (40, 3)).tolist()

    def check(x, y, z):
        found = read_box(array, engine, (x, y, z), (24, 20, 22))
        np.testing.assert_array_equal(found, volume[:, x : x + 24, y : y + 20, z : z + 22])

    in_threads([(check, *corner) for corner in corners])


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_write_disjoint_boxes(array, method):
    fill(array.path, (0, 0, 0), (1, 1, 1), 7)  # the parent has a team of threads before it forks
    halves = [(0, 0, 4 * number) for number in range(3)]
    in_processes([(fill, array.path, corner, (32, 32, 4), n + 1, 4) for n, corner in enumerate(halves)], method)
    shard = read_box(array, get_engine("cpu"), (0, 0, 0), SHARD)[0]
    for n, (_, _, z) in enumerate(halves):
        assert (shard[:, :, z : z + 4] == n + 1).all()
    assert files_of(array) == ["header.wkw", "z0/y0/x0.wkw"]


def read_and_write(path):
    """What a worker does: the team of threads must work in it."""
    settings.threads = 3
    array = open_array(path)
    data = voxels(array.spec, SHARD, 5)
    write_box(array, get_engine("cpu"), (32, 0, 0), data)
    found = read_box(array, get_engine("cpu"), (32, 0, 0), SHARD)
    os._exit(0 if np.array_equal(found, data) else 1)


def test_a_forked_child_has_threads_of_its_own(array):
    write_box(array, get_engine("cpu"), (0, 0, 0), voxels(array.spec, SHARD, 3))
    read_box(array, get_engine("cpu"), (0, 0, 0), SHARD)
    in_processes([(read_and_write, array.path)], "fork")


def test_a_child_forked_while_others_work(array):
    """Other threads hold locks while the process forks; the child must not wait for them."""
    done = threading.Event()

    def work(number):
        while not done.is_set():
            fill(array.path, OCTANTS[number], (16, 16, 16), number)
            read_box(array, get_engine("cpu"), (0, 0, 0), SHARD)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            in_processes([(read_and_write, array.path)], "fork")
    finally:
        done.set()
        for thread in threads:
            thread.join(30)


def test_a_task_of_the_team_reads_and_writes(array, engine):
    """A function per chunk may itself read and write with the engine that runs it."""
    source = voxels(array.spec, SHARD, 1)
    write_box(array, engine, (0, 0, 0), source)

    def work(number):
        part = read_box(array, engine, OCTANTS[number], (16, 16, 16))
        x, y, z = OCTANTS[number]
        write_box(array, engine, (x + 32, y, z), part)

    team = engine._team if hasattr(engine, "_team") else engine.team
    team.run(work, 8)
    np.testing.assert_array_equal(read_box(array, engine, (32, 0, 0), SHARD), source)


def write_for_ever(path):
    while True:
        fill(path, (0, 0, 0), SHARD, 2)


def test_a_killed_writer_leaves_a_whole_shard(make_array):
    array = make_array(layout_of("lz4"))
    fill(array.path, (0, 0, 0), SHARD, 1)
    context = multiprocessing.get_context("fork")
    for delay in (0.02, 0.031, 0.043):
        process = context.Process(target=write_for_ever, args=(array.path,))
        process.start()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert set(np.unique(read_box(array, get_engine("cpu"), (0, 0, 0), SHARD))) in ({1}, {2})
    fill(array.path, (0, 0, 0), SHARD, 3)
    assert (read_box(array, get_engine("cpu"), (0, 0, 0), SHARD) == 3).all()
    assert files_of(array) == ["header.wkw", "z0/y0/x0.wkw"]
