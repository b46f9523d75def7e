"""Mags of raw and compressed shards: the codec is a fact of each file."""

import shutil

import numpy as np
import pytest
from arrays import given_on_engine, on_device, read_box, read_boxes, write_box
from hypothesis import given
from hypothesis import strategies as st
from reference import Volume
from strategies import voxels

from wkgpu.operations.transfer import boxes_are_equal
from wkgpu.storage.codecs import pipeline_of, word_of
from wkgpu.storage.formats import create_array
from wkgpu.storage.plans.chunk_lookup import chunks_in_boxes, pieces_of, recut
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local import open_files
from wkgpu.storage.wkw.header import WkwHeader

CODECS = ("raw", "lz4", "lz4hc")


def layout_of(codec, dtype="uint16", channels=1):
    return ArraySpec(np.dtype(dtype), channels, (4, 4, 4), (2, 2, 2), pipeline_of(codec))


def codec_of(array, shard=(0, 0, 0)):
    with open(array.shard_path(shard), "rb") as file:
        return word_of(WkwHeader.parse(file.read(16)).spec.codecs)


def set_codecs(array, engine, folder, codecs):
    """Put shards with these codecs in the places of a mag's, with the same voxels."""
    shape = array.spec.shard_shape
    for number, (shard, codec) in enumerate(codecs.items()):
        if shard not in array.existing_shards():
            continue
        corner = tuple(int(n) for n in np.multiply(shard, shape))
        other = create_array(folder / str(number), array.spec.encoded_as(pipeline_of(codec)))
        write_box(other, engine, corner, read_box(array, engine, corner, shape))
        shutil.copy(other.shard_path(shard), array.shard_path(shard))


@pytest.fixture
def mixed(make_array, naive, tmp_path):
    """Makes a mag of 2x2x1 shards, of which those at x = 0 are as its header says, and its voxels."""

    def make(codec, other):
        array = make_array(layout_of(codec))
        data = voxels(array.spec, (16, 16, 8), 3)
        write_box(array, naive, (0, 0, 0), data)
        set_codecs(array, naive, tmp_path / f"{codec}-{other}", {(1, 0, 0): other, (1, 1, 0): other})
        return array, data

    return make


both_ways = pytest.mark.parametrize(("codec", "other"), [("raw", "lz4"), ("lz4", "raw"), ("lz4hc", "raw")])


@both_ways
@pytest.mark.parametrize("staging_bytes", [32, 1 << 20])
def test_reads(mixed, config, engine, codec, other, staging_bytes):
    config.staging_bytes = staging_bytes  # raw chunks are read whole, or in slabs
    array, data = mixed(codec, other)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (16, 16, 8)), data)
    np.testing.assert_array_equal(read_box(array, engine, (8, 3, 1), (5, 9, 6)), data[:, 8:13, 3:12, 1:7])
    corners = [(1, 1, 1), (7, 6, 3), (9, 2, 0)]
    found = read_boxes(array, engine, corners, (7, 8, 4))
    for box, (x, y, z) in zip(found, corners, strict=True):
        np.testing.assert_array_equal(box, data[:, x : x + 7, y : y + 8, z : z + 4])
    out = np.full((1, 20, 20, 8), 7, np.uint16, order="C")
    expected = np.zeros_like(out)
    expected[:, :16, :16] = data
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (20, 20, 8), out=out), expected)


@both_ways
@pytest.mark.parametrize("staging_bytes", [32, 1 << 20])
def test_a_plan_has_the_codecs_of_the_files(mixed, config, codec, other, staging_bytes):
    """And is one plan for each way in which chunks are cut."""
    config.staging_bytes = staging_bytes
    array, _ = mixed(codec, other)
    plans = list(array.read_plans([(0, 0, 0)], (16, 16, 8)))
    for _, sources in plans:
        sources.close()
    assert sorted(word_of(codecs) for plan, _ in plans for codecs in plan.pipelines) == sorted([codec, other])
    assert len(plans) == (1 if staging_bytes > 32 else 2)
    ((plan, sources),) = array.read_plans([(8, 0, 0)], (4, 4, 4))
    sources.close()
    assert plan.pipelines == (pipeline_of(other),)


@both_ways
def test_plans_that_are_not_asked_for_leave_no_file_open(mixed, config, naive, codec, other):
    config.staging_bytes = 32
    array, _ = mixed(codec, other)
    held = len(open_files.held)

    def fail(plan, sources):
        raise ValueError("no plan is executed")

    with pytest.raises(ValueError, match="no plan"):
        array.read([(0, 0, 0)], (16, 16, 8), fail)
    assert len(open_files.held) == held
    assert boxes_are_equal(array, array, naive, ((0, 0, 0), (0, 0, 0)), (16, 16, 8))
    assert len(open_files.held) == held


@both_ways
@pytest.mark.parametrize("staging_bytes", [32, 1 << 20])
def test_a_write_leaves_the_codec_of_a_shard(mixed, config, engine, codec, other, staging_bytes):
    config.staging_bytes = staging_bytes
    array, data = mixed(codec, other)
    inodes = {shard: array.path.joinpath(array.shard_path(shard)).stat().st_ino for shard in array.existing_shards()}
    for corner, shape in (((5, 5, 1), (7, 9, 6)), ((8, 0, 0), (8, 8, 8)), ((14, 2, 2), (7, 3, 3))):
        new = voxels(array.spec, shape, sum(corner))
        write_box(array, engine, corner, new)
        inside = tuple(slice(first, first + length) for first, length in zip(corner, shape, strict=True))
        data = np.pad(
            data, [(0, 0), *((0, max(0, part.stop - n)) for part, n in zip(inside, data.shape[1:], strict=True))]
        )
        data[:, *inside] = new
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), data.shape[1:]), data)
    assert codec_of(array, (0, 0, 0)) == codec_of(array, (0, 1, 0)) == codec_of(array, (2, 0, 0)) == codec
    assert codec_of(array, (1, 0, 0)) == codec_of(array, (1, 1, 0)) == other
    is_same = {shard: array.path.joinpath(array.shard_path(shard)).stat().st_ino == inodes[shard] for shard in inodes}
    assert is_same[1, 1, 0] == (other == "raw")  # a raw shard is changed in place


@both_ways
@pytest.mark.parametrize("staging_bytes", [32, 1 << 20])
def test_a_stack_of_boxes(mixed, config, engine, codec, other, staging_bytes):
    config.staging_bytes = staging_bytes
    array, data = mixed(codec, other)
    corners = [(0, 4, 4), (4, 0, 0), (8, 4, 0), (12, 12, 4), (4, 12, 0)]
    stack = voxels(array.spec, (4, 4, 4 * len(corners)), 2)
    for shard_write in array.stack_writes(corners, (4, 4, 4)):
        with shard_write as plan:
            engine.write(plan, on_device(engine, stack))
    for number, (x, y, z) in enumerate(corners):
        data[:, x : x + 4, y : y + 4, z : z + 4] = stack[..., 4 * number : 4 * number + 4]
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (16, 16, 8)), data)
    assert [codec_of(array, shard) for shard in array.existing_shards()] == [codec, other, codec, other]


@both_ways
def test_covering_a_damaged_shard_repairs_it(mixed, engine, codec, other):
    array, data = mixed(codec, other)
    for shard, content in (((1, 0, 0), b"WKW"), ((1, 1, 0), b"noise" * 100)):
        with open(array.shard_path(shard), "wb") as file:
            file.write(content)
    write_box(array, engine, (8, 0, 0), data[:, 8:])
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (16, 16, 8)), data)
    assert codec_of(array, (1, 0, 0)) == codec_of(array, (1, 1, 0)) == codec


@pytest.mark.computes
@both_ways
def test_comparisons(mixed, make_array, naive, config, engine, codec, other):
    array, data = mixed(codec, other)
    for staging_bytes in (32, 1 << 20):
        config.staging_bytes = staging_bytes
        for kind in CODECS:
            uniform = make_array(layout_of(kind))
            write_box(uniform, naive, (0, 0, 0), data)
            for corner, shape in (((0, 0, 0), (16, 16, 8)), ((8, 0, 0), (8, 8, 8)), ((3, 5, 1), (9, 9, 5))):
                assert boxes_are_equal(array, uniform, engine, (corner, corner), shape)
                write_box(uniform, naive, corner, ~read_box(uniform, naive, corner, (1, 1, 1)))
                assert not boxes_are_equal(uniform, array, engine, (corner, corner), shape)
                write_box(uniform, naive, corner, ~read_box(uniform, naive, corner, (1, 1, 1)))


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(1, 11), st.integers(1, 11), st.data())
def test_rows_are_cut_as_if_they_had_been_planned_so(x, y, z, width, depth, data):
    spec = layout_of("raw")
    limit = data.draw(st.sampled_from([8, 16, 32, 64, 128]))
    raw, whole = pieces_of(spec, limit), pieces_of(spec.encoded_as(pipeline_of("lz4")), limit)
    corners, shape = np.array([(x, y, z), (z, x, y)], np.int64), (width, depth, width)
    for found, wanted in ((raw, whole), (whole, raw)):
        planned = chunks_in_boxes(spec, wanted, corners, shape)
        for rows, expected in zip(chunks_in_boxes(spec, found, corners, shape), planned, strict=True):
            assert rows.shard == expected.shard
            for column, right in zip(recut(rows, found, wanted, shape)[1:], expected[1:], strict=True):
                np.testing.assert_array_equal(column, right)


@st.composite
def histories(draw, is_small):
    boxes = st.tuples(*[st.integers(0, 18)] * 3), st.tuples(*[st.integers(1, 8 if is_small else 14)] * 3)
    spec = layout_of(
        draw(st.sampled_from(CODECS)), draw(st.sampled_from(["uint8", "uint16", "uint32"])), draw(st.integers(1, 3))
    )
    mixing = st.dictionaries(st.tuples(*[st.integers(0, 3)] * 3), st.sampled_from(CODECS), min_size=4, max_size=30)
    steps = st.tuples(*boxes, mixing)
    return spec, draw(st.sampled_from([32, 1 << 20])), draw(st.lists(steps, min_size=1, max_size=3))


@given_on_engine(histories, examples=60, simulated=15)
def test_any_history(tmp_path_factory, make_array, naive, config, engine, history):
    spec, config.staging_bytes, steps = history
    array, volume = make_array(spec), Volume(spec, (32, 32, 32))
    for number, (corner, shape, codecs) in enumerate(steps):
        data = voxels(spec, shape, number)
        volume.write(corner, data)
        write_box(array, engine, corner, data)
        before = {shard: codec_of(array, shard) for shard in array.existing_shards()}
        corner, shape = tuple(corner[::-1]), tuple(shape[::-1])
        set_codecs(array, naive, tmp_path_factory.mktemp("others"), codecs)
        assert {shard: codec_of(array, shard) for shard in before} == before | {
            shard: codec for shard, codec in codecs.items() if shard in before
        }
        np.testing.assert_array_equal(read_box(array, engine, corner, shape), volume.read(corner, shape))
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (32, 32, 32)), volume.voxels)
    wkw = pytest.importorskip("wkw")
    with wkw.Dataset.open(str(array.path)) as dataset:
        np.testing.assert_array_equal(dataset.read((0, 0, 0), (32, 32, 32)), volume.voxels)
