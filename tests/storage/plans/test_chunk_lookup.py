import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import layouts, voxel_boxes

from wkgpu.storage.codecs import pipeline_of, word_of
from wkgpu.storage.plans import chunk_lookup
from wkgpu.storage.plans.chunk_lookup import chunks_by_shard, chunks_in_boxes, pieces_of
from wkgpu.storage.spec import ArraySpec


def layout_of(chunk, codec="raw", dtype="uint8", channels=1):
    return ArraySpec(np.dtype(dtype), channels, (chunk,) * 3, (2, 2, 2), pipeline_of(codec))


@pytest.mark.parametrize("codec", ["lz4", "lz4hc"])
def test_encoded_chunks_stay_whole(codec):
    pieces = pieces_of(layout_of(64, codec), 1)
    assert pieces == ((64, 64, 64), (1, 1, 1), 64**3)


@pytest.mark.parametrize(
    ("limit", "shape", "per_chunk"),
    [
        (64**3, (64, 64, 64), (1, 1, 1)),
        (64**3 - 1, (64, 64, 32), (1, 1, 2)),
        (64 * 64, (64, 64, 1), (1, 1, 64)),
        (64 * 64 - 1, (64, 32, 1), (1, 2, 64)),
        (1, (64, 1, 1), (1, 64, 64)),
        (0, (64, 1, 1), (1, 64, 64)),
    ],
)
def test_raw_chunks_are_cut_along_z_then_y(limit, shape, per_chunk):
    assert pieces_of(layout_of(64), limit) == (shape, per_chunk, shape[0] * shape[1] * shape[2])


@pytest.mark.parametrize(
    ("limit", "shape", "per_chunk"),
    [
        (45, (5, 9, 1), (1, 1, 15)),
        (225, (5, 9, 5), (1, 1, 3)),
        (30, (5, 3, 1), (1, 3, 15)),
        (674, (5, 9, 5), (1, 1, 3)),
    ],
)
def test_lengths_that_are_no_powers_of_two(limit, shape, per_chunk):
    spec = ArraySpec(np.dtype("uint8"), 1, (5, 9, 15), (2, 2, 2), ())
    assert pieces_of(spec, limit)[:2] == (shape, per_chunk)


def test_channels_one_after_another_stay_together():
    spec = ArraySpec(np.dtype("uint8"), 2, (4, 4, 4), (2, 2, 2), (), channel_position=3)
    assert pieces_of(spec, 1).per_chunk == (1, 1, 1)


@given(layouts(), st.integers(0, 1 << 16))
def test_pieces_make_up_their_chunk(spec, limit):
    pieces = pieces_of(spec, limit)
    assert tuple(np.multiply(pieces.shape, pieces.per_chunk)) == spec.chunk_shape
    assert pieces.nbytes * np.prod(pieces.per_chunk) == spec.chunk_bytes
    assert pieces.nbytes <= limit or word_of(spec.codecs) != "raw" or pieces.shape[1:] == (1, 1)


@st.composite
def many_boxes(draw):
    spec = draw(layouts(shard_bytes=1 << 13))
    topleft, shape = draw(voxel_boxes(spec, longest=12))
    others = st.tuples(*[st.integers(0, spec.shard_shape[0] * 2)] * 3)
    return spec, np.array([topleft, *draw(st.lists(others, max_size=3))], np.int64), shape


def of_shards(spec, pieces, toplefts, shape):
    for number, topleft in enumerate(toplefts.tolist()):
        found = list(chunks_by_shard(spec, pieces, tuple(topleft), shape))
        assert len({rows.shard for rows in found}) == len(found)
        yield from (rows._replace(box=rows.box + number) for rows in found)


@given(many_boxes(), st.sampled_from([1 << 20, 64, 1]), st.sampled_from([1 << 18, 40, 5, 1]))
@pytest.mark.parametrize("rows_of", [chunks_in_boxes, of_shards])
def test_every_voxel_is_covered_once(rows_of, boxes, limit, max_rows):
    """Tables of very many rows are made in parts."""
    spec, toplefts, shape = boxes
    pieces = pieces_of(spec, limit)
    count = np.zeros((len(toplefts), *shape), int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_lookup, "_MAX_ROWS", max_rows)
        found = list(rows_of(spec, pieces, toplefts, shape))
    for rows in found:
        parts = np.zeros(len(rows.box), int) if rows.slab is None else rows.slab
        for box, origin, chunk, part in zip(rows.box, rows.origin, rows.chunk, parts, strict=True):
            inside = [slice(max(o, 0), o + n) for o, n in zip(origin, pieces.shape, strict=True)]
            count[(box, *inside)] += 1
            z, y = divmod(int(part), pieces.per_chunk[1])
            voxel = np.multiply(rows.shard, spec.shard_shape) + chunk * spec.chunk_shape
            voxel += np.multiply((0, y, z), pieces.shape)
            np.testing.assert_array_equal(voxel, toplefts[box] + origin)
    assert (count == 1).all()


@pytest.mark.parametrize("shape", [(1 << 30, 1 << 20, 1), (1, 1 << 40, 1), (8, 8, 1 << 40)])
def test_tables_of_huge_boxes_stay_small(shape):
    spec = layout_of(32)
    found = chunks_by_shard(spec, pieces_of(spec, 1 << 20), (0, 0, 0), shape)
    assert all(len(next(found).box) <= 1 << 18 for _ in range(3))


@given(many_boxes())
def test_shards_come_once_and_their_rows_by_box_z_y_x(boxes):
    spec, toplefts, shape = boxes
    seen = []
    for rows in chunks_in_boxes(spec, pieces_of(spec, 1 << 20), toplefts, shape):
        seen.append(rows.shard)
        keys = [(box, z, y, x) for box, (x, y, z) in zip(rows.box.tolist(), rows.origin.tolist(), strict=True)]
        assert keys == sorted(keys)
        assert (rows.chunk >= 0).all()
        assert (rows.chunk < spec.chunks_per_shard).all()
    assert len(seen) == len(set(seen))
