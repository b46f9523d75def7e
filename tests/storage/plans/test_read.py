import os
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import staged
from strategies import layouts, voxel_boxes, voxels

from wkgpu.errors import ShardIndexError
from wkgpu.operations.transfer import write_box
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.plans import read_planner
from wkgpu.storage.plans.read_planner import ReadPlanner
from wkgpu.storage.shard_file import FileKey, ShardFile
from wkgpu.storage.shard_index import TableIndex, UniformIndex
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.files import Version

LAYOUT = ArraySpec(np.dtype("uint8"), 1, (4, 4, 4), (2, 2, 2), pipeline_of("lz4"))
MORTON = (0, 0, 0)


def fake_file(index, path="shard"):
    """A shard of which only the index exists."""
    return ShardFile(FileKey(path, Version(())), SimpleNamespace(descriptor=-1, close=lambda: None), index)


def shard_with_sizes(sizes, begin=80, path="shard"):
    ends = begin + np.cumsum(sizes)
    return fake_file(TableIndex(ends - sizes, ends, pipeline_of("lz4")), path)


def plans_of(spec, topleft, shape, shards, coalesce=0, strides=MORTON):
    """Plans to read boxes from shards ``{(x, y, z): file}``, without a disk."""
    toplefts = np.array(topleft, np.int64).reshape(-1, 3)
    store = SimpleNamespace(coalesce_bytes=coalesce, is_scarce=lambda: False)
    planner = ReadPlanner(spec, strides)
    return [plan for plan, _ in planner.plans(toplefts, shape, store, lambda shard, _: shards.get(shard))]


def test_neighbours_are_one_segment():
    (plan,) = plans_of(LAYOUT, (0, 0, 0), (8, 8, 8), {(0, 0, 0): shard_with_sizes(np.arange(10, 18))})
    assert plan.segments.offset.tolist() == [80]
    assert plan.segments.nbytes.tolist() == [plan.nbytes_staged] == [10 + 11 + 12 + 13 + 14 + 15 + 16 + 17]
    assert plan.chunks.staging_offset.tolist() == [0, 10, 21, 33, 46, 60, 75, 91]
    assert plan.chunks.nbytes.tolist() == list(range(10, 18))
    assert plan.max_chunk_nbytes == 17
    assert plan.nbytes_decoded == 8**3


# The left half of a shard: chunks 0, 2, 4 and 6 of its eight.
@pytest.mark.parametrize(("coalesce", "offsets"), [(9, [80, 100, 120, 140]), (10, [80])])
def test_gaps_are_fetched_along_up_to_a_length(coalesce, offsets):
    (plan,) = plans_of(LAYOUT, (0, 0, 0), (4, 8, 8), {(0, 0, 0): shard_with_sizes(np.full(8, 10))}, coalesce)
    assert plan.segments.offset.tolist() == offsets
    assert plan.nbytes_staged == (40 if len(offsets) == 4 else 70)
    assert plan.segments.staging_offset.tolist() == list(range(0, 10 * len(offsets), 10))
    assert plan.chunks.staging_offset.tolist() == ([0, 10, 20, 30] if len(offsets) == 4 else [0, 20, 40, 60])


def test_files_are_never_joined():
    shards = {(x, 0, 0): shard_with_sizes(np.full(8, 5)) for x in range(2)}
    (plan,) = plans_of(LAYOUT, (0, 0, 0), (16, 8, 8), shards, coalesce=1 << 40)
    assert plan.segments.columns.tolist() == [[0, 1], [80, 80], [40, 40], [0, 40]]
    assert (plan.chunks.staging_offset == np.arange(0, 80, 5)).all()


def test_one_chunk_for_many_boxes_is_fetched_once():
    (plan,) = plans_of(
        LAYOUT, [(1, 1, 1), (2, 0, 3), (1, 1, 1)], (1, 1, 1), {(0, 0, 0): shard_with_sizes(np.ones(8, int))}
    )
    assert plan.nbytes_staged == 1
    assert plan.chunks.staging_offset.tolist() == [0, 0, 0]
    assert sorted(zip(plan.chunks.box.tolist(), plan.chunks.origin.tolist(), strict=True)) == [
        (0, [-1, -1, -1]), (1, [-2, 0, -3]), (2, [-1, -1, -1]),
    ]  # fmt: skip


def test_absent_shards_and_empty_chunks_are_missing():
    sizes = np.array([0, 7, 0, 0, 0, 0, 0, 0])
    (plan,) = plans_of(LAYOUT, (0, 0, 0), (16, 4, 4), {(0, 0, 0): shard_with_sizes(sizes)})
    assert plan.chunks.origin.tolist() == [[4, 0, 0]]
    assert plan.missing.origin.tolist() == [[0, 0, 0], [8, 0, 0], [12, 0, 0]]


def test_nothing_stored():
    (plan,) = plans_of(LAYOUT, (3, 3, 3), (2, 2, 2), {})
    assert (plan.nbytes_staged, plan.nbytes_decoded, plan.max_chunk_nbytes) == (0, 0, 0)
    assert len(plan.missing) == 8


def test_raw_chunks_lie_where_their_number_says(config):
    spec = ArraySpec(np.dtype("uint16"), 1, (4, 4, 4), (2, 2, 2), pipeline_of("raw"))
    shard = fake_file(UniformIndex(16, 128))
    (plan,) = plans_of(spec, (4, 0, 0), (4, 8, 4), {(0, 0, 0): shard})
    assert plan.segments.offset.tolist() == [16 + 128, 16 + 3 * 128]
    config.staging_bytes = 32  # those of one slab along z
    (plan,) = plans_of(spec, (4, 0, 2), (4, 4, 1), {(0, 0, 0): shard})
    assert plan.segments.offset.tolist() == [16 + 128 + 2 * 32]
    assert plan.nbytes_staged == plan.nbytes_decoded == 32


def test_a_plan_says_what_it_is():
    (plan,) = plans_of(LAYOUT, (0, 0, 0), (4, 8, 8), {(0, 0, 0): shard_with_sizes(np.full(8, 10))})
    assert str(plan) == "1 x (4, 8, 8) voxels from 1 files: 4 chunks in 4 segments of 40 bytes, 0 missing"


def test_messages_name_file_offset_and_voxel():
    shards = {(x, 0, 0): shard_with_sizes(np.full(8, 5)) for x in range(2)}
    shards[1, 0, 0] = fake_file(shards[1, 0, 0].index, "other")
    (plan,) = plans_of(LAYOUT, (2, 2, 2), (16, 8, 8), shards)
    rows = {tuple(origin): row for row, origin in enumerate(plan.chunks.origin.tolist())}
    for voxel, path in (((-2, -2, -2), "shard"), ((6, -2, -2), "other")):
        row = rows[voxel]
        located, offset = plan.locate(row)
        begins, _ = shards[0, 0, 0].index.extents(np.arange(8))
        assert located == path
        assert offset in begins
        assert plan.describe(row) == f"{path}: the chunk at voxel {voxel} of the box, at file offset {offset},"


def test_a_box_of_very_many_chunks_makes_several_plans(monkeypatch):
    """Together they hold each chunk once, and none of them is large."""
    monkeypatch.setattr(read_planner, "MAX_ROWS", 8)
    spec = ArraySpec(np.dtype("uint8"), 1, (2, 2, 2), (4, 4, 4), pipeline_of("lz4"))
    shards = {(x, 0, z): shard_with_sizes(np.ones(64, int)) for x in range(2) for z in range(3) if (x, z) != (1, 1)}
    plans = plans_of(spec, (3, 1, 5), (9, 4, 15), shards)
    assert len(plans) > 4
    assert max(len(plan.chunks) + len(plan.missing) for plan in plans) <= 8
    found = [tuple(o) for plan in plans for table in (plan.chunks, plan.missing) for o in table.origin.tolist()]
    corners = [(x, y, z) for x in range(2, 12, 2) for y in range(0, 5, 2) for z in range(4, 20, 2)]
    assert sorted(found) == sorted((x - 3, y - 1, z - 5) for x, y, z in corners)


def test_chunks_in_the_order_of_their_strides():
    """In C order, and with a file offset for each that says nothing about its position."""
    offsets = np.array([50, 10, 70, 30, 0, 90, 20, 60])
    shard = fake_file(TableIndex(offsets, offsets + np.array([5, 5, 5, 5, 0, 5, 5, 5]), pipeline_of("lz4")))
    (plan,) = plans_of(LAYOUT, (0, 0, 0), (8, 8, 8), {(0, 0, 0): shard}, strides=(4, 2, 1))
    assert plan.segments.offset.tolist() == [10, 20, 30, 50, 60, 70, 90]
    assert (plan.chunks.origin // 4 @ [4, 2, 1]).tolist() == [1, 6, 3, 0, 7, 2, 5]
    assert plan.missing.origin.tolist() == [[4, 0, 0]]


def test_odd_chunks_and_shards():
    spec = ArraySpec(np.dtype("uint8"), 1, (3, 5, 7), (5, 3, 1), pipeline_of("lz4"))
    shards = {(x, y, z): shard_with_sizes(np.arange(1, 16)) for x in range(2) for y in range(2) for z in range(3)}
    (plan,) = plans_of(spec, [(14, 14, 6), (0, 0, 0)], (4, 3, 9), shards, strides=(1, 5, 15))
    assert len(plan.files) == 2 * 2 * 3
    found = {(box, *origin) for box, origin in zip(plan.chunks.box.tolist(), plan.chunks.origin.tolist(), strict=True)}
    expected = {(0, x - 14, y - 14, z - 6) for x in (12, 15) for y in (10, 15) for z in (0, 7, 14)}
    expected |= {(1, x, 0, z) for x in (0, 3) for z in (0, 7)}
    assert found == expected


def test_offsets_beyond_what_fits_beside_a_row():
    offsets = np.array([1 << 62, 0, 1 << 61, 5, 1 << 60, 7, 1 << 59, 9])
    shard = fake_file(TableIndex(offsets, offsets + 1, pipeline_of("lz4")))
    (plan,) = plans_of(LAYOUT, (0, 0, 0), (8, 8, 8), {(0, 0, 0): shard})
    assert plan.segments.offset.tolist() == sorted(offsets)


def test_an_index_with_too_few_chunks():
    with pytest.raises(ShardIndexError, match="shard: its index has too few chunks"):
        plans_of(LAYOUT, (0, 0, 0), (8, 8, 8), {(0, 0, 0): shard_with_sizes(np.ones(7, int))})


def test_a_plan_spans_any_number_of_shards():
    shards = {(x, 0, 0): shard_with_sizes(np.ones(8, int)) for x in range(300) if x != 1}
    (plan,) = plans_of(LAYOUT, (0, 0, 0), (8 * 300, 4, 4), shards)
    assert len(plan.files) == 299
    covered = sorted(x for table in (plan.chunks, plan.missing) for x in table.origin[:, 0].tolist())
    assert covered == list(range(0, 8 * 300, 4))


def test_files_are_closed_when_planning_fails(make_array, naive):
    array = make_array(LAYOUT)
    write_box(array, naive, (0, 0, 0), np.ones((1, 16, 8, 8), np.uint8))
    with open(array.shard_path((1, 0, 0)), "r+b") as file:
        file.write(b"bad")
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(ValueError, match=r"x1\.wkw"):
        list(array.read_plans([(0, 0, 0)], (16, 8, 8)))
    assert len(os.listdir("/dev/fd")) == before


@st.composite
def reads(draw):
    spec = draw(layouts(shard_bytes=1 << 13))
    return spec, draw(voxel_boxes(spec, 1)), [draw(voxel_boxes(spec, 2, longest=12)) for _ in range(2)]


@given(reads(), st.sampled_from([0, 100, 1 << 13]), st.sampled_from([1 << 20, 32]))
def test_staging_holds_the_bytes_of_every_chunk(make_array, naive, config, read, coalesce, staging):
    config.coalesce_bytes, config.staging_bytes = coalesce, staging
    spec, (topleft, shape), boxes = read
    array = make_array(spec)
    write_box(array, naive, topleft, voxels(spec, shape, 1))
    _, shape = boxes[0]
    for plan, sources in array.read_plans([corner for corner, _ in boxes], shape):
        with sources:
            space = staged(plan, sources)
            assert len(space) == plan.nbytes_staged
            ends = plan.segments.staging_offset + plan.segments.nbytes
            assert (plan.segments.staging_offset[1:] == ends[:-1]).all()
            assert (np.diff(plan.chunks.staging_offset) >= 0).all()
            for row, (place, nbytes) in enumerate(zip(plan.chunks.staging_offset, plan.chunks.nbytes, strict=True)):
                (segment,) = np.flatnonzero((plan.segments.staging_offset <= place) & (place + nbytes <= ends))
                number = plan.segments.file[segment]
                file, descriptor = plan.files[number], sources.descriptors[number]
                offset = plan.segments.offset[segment] + place - plan.segments.staging_offset[segment]
                assert bytes(space[place : place + nbytes]) == os.pread(descriptor, nbytes, offset)
                assert plan.locate(row)[0] == file.path
            lines = [
                (segment_file, box, z, y, x)
                for segment_file, box, (x, y, z) in (
                    (plan.locate(row)[0], plan.chunks.box[row], plan.chunks.origin[row])
                    for row in plan.chunks.placement_order
                )
            ]
            for path in {line[0] for line in lines}:
                of_file = [line for line in lines if line[0] == path]
                assert of_file == sorted(of_file)
