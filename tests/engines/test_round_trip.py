"""What is read is what a NumPy array of the whole volume holds."""

from pathlib import Path

import numpy as np
import pytest
from arrays import given_on_engine, read_box, read_boxes, write_box
from hypothesis import strategies as st
from reference import NaiveEngine, Volume
from strategies import layouts, voxel_boxes, voxels

from wkgpu.storage.codecs import pipeline_of, word_of
from wkgpu.storage.spec import ArraySpec

SHARDS = 2


@st.composite
def histories(draw, is_small):
    """A layout, boxes to write one after another, and boxes to read, which may leave what is stored."""
    spec = draw(layouts(16, 4, 1 << 13) if is_small else layouts())
    longest, max_boxes = (20, 2) if is_small else (48, 3)
    written = draw(st.lists(voxel_boxes(spec, SHARDS, longest), min_size=1, max_size=max_boxes))
    read = draw(st.lists(voxel_boxes(spec, SHARDS + 1, longest), min_size=1, max_size=max_boxes))
    return spec, written, read


def volume_of(spec):
    return Volume(spec, [SHARDS * length for length in spec.shard_shape])


def written(array, engine, boxes):
    """Write boxes of other voxels each, and return the volume that this makes."""
    volume = volume_of(array.spec)
    for seed, (topleft, shape) in enumerate(boxes):
        data = voxels(array.spec, shape, seed)
        volume.write(topleft, data)
        write_box(array, engine, topleft, data)
    return volume


@given_on_engine(
    histories, st.sampled_from([0, 1, 2, 5]), st.sampled_from([1 << 20, 2000]), examples=150, simulated=100
)
def test_any_writes_and_reads(make_array, engine, config, history, threads, staging):
    config.threads, config.staging_bytes = threads, staging
    spec, writes, reads = history
    array = make_array(spec)
    volume = written(array, engine, writes)
    for topleft, shape in reads:
        found = read_box(array, engine, topleft, shape)
        assert found.flags.f_contiguous
        assert found.dtype == spec.dtype
        np.testing.assert_array_equal(found, volume.read(topleft, shape))


@given_on_engine(histories, st.sampled_from([1 << 20, 2000]))
def test_reads_are_those_of_the_naive_engine(make_array, engine, naive, config, history, staging):
    config.staging_bytes = staging
    spec, writes, reads = history
    array = make_array(spec)
    written(array, naive, writes)
    for topleft, shape in reads:
        fast, slow = (read_box(array, machine, topleft, shape) for machine in (engine, naive))
        assert fast.tobytes(order="F") == slow.tobytes(order="F")


@given_on_engine(histories, st.sampled_from([1 << 20, 2000]))
def test_files_decode_to_those_of_the_naive_engine(make_array, engine, naive, config, history, staging):
    config.staging_bytes = staging
    spec, writes, _ = history
    arrays = []
    for machine in (engine, naive):
        arrays.append(make_array(spec))
        written(arrays[-1], machine, writes)
    fast, slow = arrays
    assert fast.existing_shards() == slow.existing_shards()
    for topleft, shape in fast.shard_boxes():
        one, other = (read_box(array, naive, topleft, shape) for array in arrays)
        assert one.tobytes(order="F") == other.tobytes(order="F")
    if word_of(spec.codecs) == "raw":
        for shard in fast.existing_shards():
            one, other = (Path(array.shard_path(shard)).read_bytes() for array in arrays)
            assert one == other


@given_on_engine(histories, st.data())
def test_many_boxes_are_single_boxes(make_array, engine, history, data):
    spec, writes, reads = history
    array = make_array(spec)
    volume = written(array, engine, writes)
    _, shape = reads[0]
    end = [length * (SHARDS + 1) for length in spec.shard_shape]
    corners = st.tuples(*[st.integers(0, length) for length in end])
    toplefts = [corner for corner, _ in writes + reads] + data.draw(st.lists(corners, max_size=5))
    toplefts = toplefts + toplefts[:2]
    found = read_boxes(array, engine, toplefts, shape)
    assert found.shape == (len(toplefts), spec.num_channels, *shape)
    for topleft, box in zip(toplefts, found, strict=True):
        assert box.flags.f_contiguous
        np.testing.assert_array_equal(box, volume.read(topleft, shape))


def test_no_boxes(make_array, engine):
    array = make_array(ArraySpec(np.dtype("uint8"), 2, (4, 4, 4), (2, 2, 2), pipeline_of("lz4")))
    assert read_boxes(array, engine, [], (3, 4, 5)).shape == (0, 2, 3, 4, 5)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint64])
def test_corners_in_an_array(make_array, engine, order, dtype):
    array = make_array(ArraySpec(np.dtype("uint8"), 2, (4, 4, 4), (2, 2, 2), pipeline_of("lz4")))
    volume = written(array, engine, [((1, 2, 3), (9, 9, 9))])
    toplefts = np.array([[0, 1, 2], [7, 3, 1], [20, 0, 0]], dtype, order=order)
    for found, corner in zip(read_boxes(array, engine, toplefts, (5, 5, 5)), toplefts, strict=True):
        np.testing.assert_array_equal(found, volume.read(corner, (5, 5, 5)))


def test_more_shards_than_a_plan_may_open(make_array, engine):
    array = make_array(ArraySpec(np.dtype("uint8"), 1, (1, 1, 1), (1, 1, 1), pipeline_of("raw")))
    data = voxels(array.spec, (8, 8, 9), 1)
    data[:, :3] = 0
    write_box(array, engine, (3, 0, 0), data[:, 3:])
    assert len(array.existing_shards()) == 5 * 8 * 9
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (8, 8, 9)), data)


def test_what_nothing_was_written_to_is_zero(make_array, engine):
    array = make_array(ArraySpec(np.dtype("float32"), 3, (32, 32, 32), (32, 32, 32), pipeline_of("lz4")))
    found = read_box(array, engine, (1000, 2000, 3000), (64, 64, 64))
    assert found.shape == (3, 64, 64, 64)
    assert found.flags.writeable
    assert not found.any()


def test_far_away(make_array, engine):
    array = make_array(ArraySpec(np.dtype("uint16"), 1, (8, 8, 8), (2, 2, 2), pipeline_of("lz4")))
    corner = (2**31 + 5, 2**33 - 3, 2**40)
    data = voxels(array.spec, (9, 9, 9), 1)
    write_box(array, engine, corner, data)
    np.testing.assert_array_equal(read_box(array, engine, corner, (9, 9, 9)), data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_of_floats_survive(make_array, engine, dtype):
    """Also those of NaNs with a payload, of infinities, and of the negative zero."""
    array = make_array(ArraySpec(np.dtype(dtype), 1, (8, 8, 8), (1, 1, 1), pipeline_of("lz4")))
    data = np.frombuffer(np.random.default_rng(0).bytes(512 * array.spec.dtype.itemsize), dtype).copy()
    data[:3] = -0.0, np.inf, np.nan
    write_box(array, engine, (0, 0, 0), data.reshape((1, 8, 8, 8), order="F"))
    assert read_box(array, engine, (0, 0, 0), (8, 8, 8)).tobytes(order="F") == data.tobytes()


def test_the_engine_has_what_an_engine_must_have(engine):
    from wkgpu.engines import Engine

    assert isinstance(engine, Engine)
    assert isinstance(NaiveEngine(), Engine)


@pytest.mark.parametrize(("edge", "threads"), [(16, 1), (64, 1), (96, 2), (128, 4)])
def test_a_read_wakes_threads_by_its_bytes(make_array, cpu, naive, config, monkeypatch, edge, threads):
    config.threads = 16
    array = make_array(ArraySpec(np.dtype("uint8"), 1, (16, 16, 16), (8, 8, 8), pipeline_of("lz4")))
    write_box(array, naive, (0, 0, 0), np.ones((1, 128, 128, 128), np.uint8))
    tasks, run = [], cpu._team.run
    monkeypatch.setattr(cpu._team, "run", lambda work, count, **more: (tasks.append(count), run(work, count, **more)))
    read_box(array, cpu, (0, 0, 0), (edge, edge, edge))
    assert tasks == [threads]
