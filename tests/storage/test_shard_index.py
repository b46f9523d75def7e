import os
import time

import numpy as np
import pytest
from strategies import voxels

from wkgpu.operations.transfer import write_box
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.shard_file import open_shard
from wkgpu.storage.shard_index import ShardIndexCache, TableIndex, UniformIndex
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.local.regular_file import version_of

LAYOUT = ArraySpec(np.dtype("uint16"), 1, (4, 4, 4), (2, 2, 2), pipeline_of("lz4"))


def table(entries=1):
    return TableIndex(np.zeros(entries, np.int64), np.ones(entries, np.int64), pipeline_of("lz4"))


def aged(path):
    """The state of a file that changed a minute ago."""
    minute_ago = time.time_ns() - 60 * 10**9
    os.utime(path, ns=(minute_ago, minute_ago))
    time.sleep(0.03)  # its times of change have been set just now
    return version_of(os.stat(path))


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "x0.wkw"
    path.write_bytes(b"shard")
    return path


def test_table_index():
    index = TableIndex(np.array([10, 13, 20]), np.array([13, 20, 21]), pipeline_of("lz4"))
    begins, nbytes = index.extents(np.array([2, 0]))
    assert begins.tolist() == [20, 10]
    assert nbytes.tolist() == [1, 3]


def test_uniform_index():
    begins, nbytes = UniformIndex(16, 64).extents(np.array([0, 5]))
    assert begins.tolist() == [16, 16 + 5 * 64]
    assert nbytes.tolist() == [64, 64]


def test_index_of_an_unchanged_file_is_kept(shard):
    cache, index = ShardIndexCache(1000), table()
    cache.put(str(shard), aged(shard), index)
    assert cache.get(str(shard), version_of(os.stat(shard))) is index


def test_file_that_changed_just_now_is_not_remembered(shard):
    cache = ShardIndexCache(1000)
    shard.write_bytes(b"other")
    cache.put(str(shard), version_of(os.stat(shard)), table())
    assert cache.get(str(shard), version_of(os.stat(shard))) is None


def test_file_that_was_changed_just_now_and_dated_back_is_not_remembered(shard):
    cache = ShardIndexCache(1000)
    shard.write_bytes(b"other")
    os.utime(shard, (0, 0))
    cache.put(str(shard), version_of(os.stat(shard)), table())
    assert cache.get(str(shard), version_of(os.stat(shard))) is None


def test_replaced_file_has_another_index(shard):
    cache = ShardIndexCache(1000)
    cache.put(str(shard), aged(shard), table())
    modified = os.stat(shard).st_mtime_ns
    new = shard.with_name("new")
    new.write_bytes(b"other")
    os.utime(new, ns=(modified, modified))
    new.replace(shard)
    assert cache.get(str(shard), version_of(os.stat(shard))) is None


def test_file_changed_in_place_has_another_index(shard):
    cache = ShardIndexCache(1000)
    cache.put(str(shard), aged(shard), table())
    modified = os.stat(shard).st_mtime_ns
    with open(shard, "r+b") as file:
        file.write(b"o")
    os.utime(shard, ns=(modified, modified))
    assert cache.get(str(shard), version_of(os.stat(shard))) is None


def test_least_recently_used_indexes_are_dropped(tmp_path):
    entry = table(10)
    cache = ShardIndexCache(3 * entry.nbytes)
    states = {}
    for name in "abcd":
        (tmp_path / name).write_bytes(b"")
        states[name] = aged(tmp_path / name)
    for name in "abc":
        cache.put(name, states[name], entry)
    cache.get("a", states["a"])
    cache.put("d", states["d"], entry)
    assert {name for name in "abcd" if cache.get(name, states[name])} == {"a", "c", "d"}


class Interrupting:
    """An index during whose bookkeeping Ctrl+C is pressed."""

    def __init__(self, moment):
        self.left = moment

    @property
    def nbytes(self):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return 400


@pytest.mark.parametrize("moment", [1, 2])
@pytest.mark.parametrize("leave", ["replaced", "discarded", "dropped"])
def test_interrupts_leave_the_count_right(tmp_path, moment, leave):
    entry = table(10)
    cache = ShardIndexCache(3 * entry.nbytes)
    (tmp_path / "file").write_bytes(b"")
    state = aged(tmp_path / "file")
    for _ in range(5):
        try:
            cache.put("interrupted", state, Interrupting(moment))
            if leave == "discarded":
                cache.discard("interrupted")
            for name in "xyz" if leave == "dropped" else ["interrupted"]:
                cache.put(name, state, entry)
        except KeyboardInterrupt:
            continue
    for name in "abc":
        cache.put(name, state, entry)
    assert [cache.get(name, state) for name in "abc"] == [entry] * 3
    assert cache._held == 3 * entry.nbytes


def test_one_index_is_kept_however_large(shard):
    cache, index = ShardIndexCache(1), table(10)
    cache.put(str(shard), aged(shard), index)
    assert cache.get(str(shard), version_of(os.stat(shard))) is index


def test_forgotten_index(shard):
    cache = ShardIndexCache(1000)
    cache.put(str(shard), aged(shard), table())
    cache.discard(str(shard))
    cache.discard("never seen")
    assert cache.get(str(shard), version_of(os.stat(shard))) is None


def test_a_jump_table_is_read_once(make_array, naive):
    array = make_array(LAYOUT)
    write_box(array, naive, (0, 0, 0), voxels(LAYOUT, (8, 8, 8), 1))
    path = array.shard_path((0, 0, 0))
    aged(path)
    indexes = []
    for _ in range(2):
        file = array.open_shard((0, 0, 0))
        indexes.append(file.index)
        file.close()
    assert indexes[0] is indexes[1]


def test_no_shard(tmp_path):
    assert open_shard(LocalStore(tmp_path), "x0.wkw", lambda _: table()) is None


def test_descriptor_is_closed_when_the_index_is_bad(shard):
    def refuse(_):
        raise ValueError("bad index")

    before = len(os.listdir("/dev/fd"))
    with pytest.raises(ValueError, match="bad index"):
        open_shard(LocalStore(shard.parent), shard.name, refuse)
    assert len(os.listdir("/dev/fd")) == before


# The child is forked while another thread is inside the cache, as any thread that reads may be.
FORK = """
import os, sys, threading, time
from wkgpu.storage.shard_index import shard_indexes
from wkgpu.storage.stores.local.regular_file import version_of

inside, go = threading.Event(), threading.Event()

class SlowIndex:
    @property
    def nbytes(self):
        inside.set()
        go.wait(20)
        return 0

os.utime(sys.argv[1], (0, 0))
time.sleep(0.03)
status = version_of(os.stat(sys.argv[1]))
threading.Thread(target=shard_indexes.put, args=(sys.argv[1], status, SlowIndex()), daemon=True).start()
inside.wait()
child = os.fork()
if child == 0:
    shard_indexes.get("anything", status)
    os._exit(0)
for _ in range(100):
    if os.waitpid(child, os.WNOHANG)[0]:
        print("alive")
        break
    time.sleep(0.02)
else:
    os.kill(child, 9)
    print("stuck")
go.set()
"""


def test_forked_child_can_use_the_cache(run_python, shard):
    assert run_python(FORK, shard).strip() == "alive"
