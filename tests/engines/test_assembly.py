import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.engines.assembly import OffsetAllocator, shard_runs
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.plans.chunk_lookup import Pieces
from wkgpu.storage.plans.write import Touched, WritePlan, stored_chunks
from wkgpu.storage.shard_index import TableIndex
from wkgpu.storage.spec import AbsentChunks, ArraySpec

LAYOUT = ArraySpec(np.dtype("uint8"), 1, (4, 4, 4), (8, 8, 8), pipeline_of("lz4"))
OLD = object()  # stands for a shard that is never opened


def plan_of(touched, sizes, old=OLD):
    ordinal = np.array(sorted(touched), np.int64)
    zeros = np.zeros(len(ordinal), np.int64)
    table = Touched(ordinal, zeros, zeros, np.zeros((len(ordinal), 3), np.int64))
    pieces = Pieces((4, 4, 4), (1, 1, 1), 64)
    spec = replace(LAYOUT, chunks_per_shard=(len(sizes), 1, 1))
    stored = stored_chunks(spec, table, old and SimpleNamespace(index=shuffled(sizes)), AbsentChunks.ENCODED)
    return WritePlan(None, spec, pieces, (4, 4, 4), None, old, 80, table, stored)


def shuffled(sizes):
    """The index of a shard whose chunks lie in any order, with gaps."""
    order = np.random.default_rng(len(sizes)).permutation(len(sizes))
    nbytes = np.array(sizes, np.int64)
    offset = np.zeros(len(sizes), np.int64)
    offset[order] = np.cumsum(nbytes[order] + 3)
    return TableIndex(offset, offset + nbytes, LAYOUT.codecs)


@given(
    st.integers(1, 300).flatmap(
        lambda count: st.tuples(
            st.sets(st.integers(0, count - 1), min_size=1),
            st.lists(st.sampled_from([1, 50, 400_000, 5 << 20]), min_size=count, max_size=count),
        )
    ),
    st.integers(1, 64),
    st.booleans(),
)
def test_runs_hold_every_chunk_once(shard, rows_per_task, is_new):
    touched, sizes = shard
    plan = plan_of(touched, sizes, None if is_new else OLD)
    plan.set_fill(100)
    parts = shard_runs(plan, rows_per_task)
    assert [part.first for part in parts] == [0, *(part.last for part in parts[:-1])]
    assert parts[-1].last == len(sizes)
    rows = []
    for part in parts:
        inside = [ordinal for ordinal in sorted(touched) if part.first <= ordinal < part.last]
        if part.is_touched:
            rows += range(*part.rows)
            assert len(inside) == part.rows[1] - part.rows[0] <= rows_per_task
        else:
            assert inside == []
    assert rows == list(range(len(touched)))


def test_what_lies_between_near_chunks_is_copied_with_them():
    (part,) = shard_runs(plan_of({0, 5}, [100] * 6), 64)
    assert part == (0, 6, (0, 2))


def test_what_lies_far_between_is_cut_for_many_threads():
    parts = shard_runs(plan_of({0, 41}, [1 << 20] * 42), 64)
    assert [part.is_touched for part in parts] == [True, *[False] * 5, True]


def test_offsets_follow_each_other():
    chain = OffsetAllocator(80, 20)
    lengths = np.random.default_rng(0).integers(1, 100, 20)
    found = {}

    def place(position):
        found[position] = chain.allocate(position, int(lengths[position]))

    threads = [threading.Thread(target=place, args=(position,)) for position in reversed(range(20))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [found[position] for position in range(20)] == [80, *(80 + np.cumsum(lengths)[:-1])]


@pytest.mark.parametrize("waits", [True, False])
def test_no_run_waits_for_one_that_failed(waits):
    chain, found = OffsetAllocator(0, 2), []
    waiting = threading.Thread(target=lambda: found.append(chain.allocate(1, 5)))
    if waits:
        waiting.start()
        time.sleep(0.01)
    chain.fail()
    if not waits:
        waiting.start()
    waiting.join(10)
    assert found == [None]
