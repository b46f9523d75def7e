"""Batches hold every row once, within their limit, and segments are cut where batches are."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.engines.cuda.batches import BatchSizes, read_batches, segments_between
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.plans.chunk_lookup import Pieces
from wkgpu.storage.plans.read import Chunks, MissingChunks, ReadPlan, Segments
from wkgpu.storage.spec import ArraySpec

PIECES = Pieces((4, 4, 4), (1, 1, 1), 64)
LAYOUT = ArraySpec(np.dtype("uint8"), 1, (4, 4, 4), (8, 8, 8), pipeline_of("lz4"))


def int64(numbers):
    return np.array(numbers, np.int64)


@st.composite
def segments(draw):
    """Ranges of files, consecutive in the staging space."""
    lengths = int64(draw(st.lists(st.integers(1, 90), min_size=1, max_size=8)))
    count = len(lengths)
    files = int64(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    offsets = int64(draw(st.lists(st.integers(0, 1 << 40), min_size=count, max_size=count)))
    return Segments.of(files, offsets, lengths, lengths.cumsum() - lengths)


@st.composite
def plans(draw):
    """A plan whose chunks lie in the staging space with gaps, and are wanted by one box or several."""
    places, lengths, end = [], [], 0
    for gap, nbytes, wanted in draw(
        st.lists(st.tuples(st.integers(0, 20), st.integers(1, 80), st.integers(1, 3)), max_size=25)
    ):
        places += [end + gap] * wanted
        lengths += [nbytes] * wanted
        end += gap + nbytes
    count = len(places)
    numbers = np.arange(count)
    codecs = int64(sorted(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))))
    codecs = codecs[np.unique(int64(places), return_index=True)[1].repeat(np.unique(places, return_counts=True)[1])]
    chunks = Chunks.of(places, lengths, codecs, numbers, np.zeros((count, 3), np.int64), numbers)
    missing = MissingChunks.of([], np.zeros((0, 3)))
    whole = Segments.of([0], [100], [end], [0])
    return ReadPlan(
        LAYOUT,
        PIECES,
        (9, 9, 9),
        max(count, 1),
        (),
        (pipeline_of("lz4"), ()),
        whole,
        chunks,
        missing,
        end,
        max(lengths, default=0),
    )


limits = st.integers(0, 400) | st.just(1 << 40)


@given(plans(), limits)
def test_batches_hold_every_row_once(plan, limit):
    batches = list(read_batches(plan, BatchSizes(nbytes=limit)))
    rows = [row for batch in batches for row in range(batch.first, batch.last)]
    assert rows == list(range(len(plan.chunks.staging_offset)))
    assert all(batch.first < batch.last for batch in batches)


@given(plans(), limits)
def test_batches_are_within_the_limit_or_a_single_chunk(plan, limit):
    for batch in read_batches(plan, BatchSizes(nbytes=limit)):
        if len(batch.heads) > 1:
            assert batch.nbytes_staged <= limit
            assert len(batch.heads) * PIECES.nbytes <= limit


@given(plans(), limits)
def test_the_next_chunk_would_not_have_fit(plan, limit):
    batches = list(read_batches(plan, BatchSizes(nbytes=limit)))
    for batch, after in pairwise(batches):
        end = int(plan.chunks.staging_offset[after.first] + plan.chunks.nbytes[after.first])
        is_full = end - batch.begin > limit or (len(batch.heads) + 1) * PIECES.nbytes > limit
        assert is_full or batch.codec != after.codec


@given(plans(), limits)
def test_a_batch_spans_the_bytes_of_its_chunks(plan, limit):
    for batch in read_batches(plan, BatchSizes(nbytes=limit)):
        begins = plan.chunks.staging_offset[batch.first : batch.last]
        ends = begins + plan.chunks.nbytes[batch.first : batch.last]
        assert (batch.begin, batch.end) == (begins.min(), ends.max())


@given(plans(), limits)
def test_rows_of_one_chunk_share_a_decode(plan, limit):
    places = plan.chunks.staging_offset
    decoded = []
    for batch in read_batches(plan, BatchSizes(nbytes=limit)):
        heads = places[batch.heads].tolist()
        assert len(set(heads)) == len(heads)
        np.testing.assert_array_equal(places[batch.heads][batch.decoded], places[batch.first : batch.last])
        decoded += heads
    assert decoded == sorted(set(places.tolist()))


@given(plans(), st.integers(1, 9), st.integers(0, 900), st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_batches_are_as_large_as_chunks_and_memory_allow(plan, chunks, memory, costs):
    def taken(first, last):
        rows = slice(first, last)
        begins, codecs = plan.chunks.staging_offset[rows], plan.chunks.codec[rows]
        heads = np.unique(begins, return_index=True)[1]
        staged = int((begins + plan.chunks.nbytes[rows]).max() - begins[0])
        return len(heads), staged + int(np.array(costs)[codecs][heads].sum()) + 7 * (last - first)

    batches = list(read_batches(plan, BatchSizes(chunks=chunks, memory=memory, costs=costs, row_cost=7)))
    assert [row for batch in batches for row in range(batch.first, batch.last)] == list(range(len(plan.chunks)))
    places = plan.chunks.staging_offset
    for batch in batches:
        count, nbytes = taken(batch.first, batch.last)
        assert count == len(batch.heads)
        assert count == 1 or (count <= chunks and nbytes <= memory)
    for batch, after in pairwise(batches):
        assert places[after.first] != places[after.first - 1], "all rows of a chunk are in one batch"
        end_of_next = int(np.searchsorted(places, places[after.first], side="right"))
        count, nbytes = taken(batch.first, end_of_next)
        assert batch.codec != after.codec or count > chunks or nbytes > memory


@given(segments(), st.data())
def test_segments_between_are_what_is_asked_for(whole, data):
    end = int(whole.nbytes.sum())
    begin = data.draw(st.integers(0, end))
    end = data.draw(st.integers(begin, end))
    source = [(file, offset + byte) for file, offset, nbytes in whole.columns[:3].T.tolist() for byte in range(nbytes)]
    found = {}
    parts = segments_between(whole, begin, end)
    assert (parts.nbytes > 0).all()
    for file, offset, nbytes, place in parts.columns.T.tolist():
        for byte in range(nbytes):
            assert place + byte not in found
            found[place + byte] = file, offset + byte
    assert found == dict(enumerate(source[begin:end]))
