"""Boxes of two mags compared, however each of them is stored."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from arrays import given_on_engine, read_box, write_box
from hypothesis import strategies as st
from strategies import codecs, layouts, triples, voxels

from wkgpu.errors import ChunkError
from wkgpu.geometry.voxel_box import triple
from wkgpu.operations.transfer import boxes_are_equal
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.formats import create_array
from wkgpu.storage.plans.comparison import comparison_plan
from wkgpu.storage.spec import ArraySpec


def stored(path, spec, engine, topleft, data):
    array = create_array(path, spec)
    write_box(array, engine, topleft, data)
    return array


@pytest.fixture
def fresh_folder(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("mags") / "mag"


def similar(spec):
    """Layouts that hold the same voxels: mostly with the same chunks."""
    edges = st.sampled_from([1, 2, 4])
    chunk_edges = st.one_of(st.just(spec.chunk_shape[0]), st.just(spec.chunk_shape[0]), edges)
    return st.builds(
        lambda chunk, chunks, codec: ArraySpec(
            spec.dtype, spec.num_channels, (chunk,) * 3, (chunks,) * 3, pipeline_of(codec)
        ),
        chunk_edges, edges, codecs,
    )  # fmt: skip


@given_on_engine(lambda small: layouts(), st.data(), examples=150, simulated=25)
def test_boxes_are_equal_where_their_voxels_are(engine, naive, fresh_folder, cpu, spec, data):
    other_layout = data.draw(similar(spec))
    shape = data.draw(triples(st.integers(1, 9)))
    topleft = data.draw(triples(st.integers(0, 9)))
    # Mostly by whole chunks, so that they face each other
    steps = st.one_of(*(st.integers(0, 2).map(lambda n, c=chunk: n * c) for chunk in spec.chunk_shape), st.just(1))
    shift = data.draw(st.tuples(steps, steps, steps))
    content = voxels(spec, shape, data.draw(st.integers(0, 3)))
    one = stored(fresh_folder(), spec, cpu, topleft, content)
    other = stored(fresh_folder(), other_layout, cpu, triple(np.add(topleft, shift).tolist()), content)
    if data.draw(st.booleans()):
        place = tuple(data.draw(st.integers(0, length - 1)) for length in shape)
        changed = content[(slice(None), *(slice(at, at + 1) for at in place))] + spec.dtype.type(1)
        write_box(other, cpu, triple(np.add(np.add(topleft, shift), place).tolist()), changed)
    corner = data.draw(triples(st.integers(0, 9)))
    extent = data.draw(triples(st.integers(1, 9)))
    corners = corner, triple(np.add(corner, shift).tolist())
    found = boxes_are_equal(one, other, engine, corners, extent)
    assert found is np.array_equal(read_box(one, cpu, corners[0], extent), read_box(other, cpu, corners[1], extent))
    assert boxes_are_equal(other, one, engine, corners[::-1], extent) is found
    assert boxes_are_equal(one, other, naive, corners, extent) is found


LAYOUT = ArraySpec(np.dtype("uint16"), 1, (8, 8, 8), (4, 4, 4), pipeline_of("lz4"))
SHAPE = (32, 32, 32)


def noisy(random, shape=SHAPE):
    return random.integers(0, 1 << 16, (1, *shape), np.uint16)


def with_codec(codec):
    return ArraySpec(LAYOUT.dtype, 1, LAYOUT.chunk_shape, LAYOUT.chunks_per_shard, pipeline_of(codec))


@pytest.mark.parametrize("codec", ["raw", "lz4", "lz4hc"])
@pytest.mark.parametrize("content", ["noise", "smooth", "zero"])
def test_every_voxel_counts(engine, fresh_folder, cpu, random, codec, content, config):
    config.threads = 3
    data = {"noise": noisy(random), "smooth": np.full((1, *SHAPE), 7, np.uint16), "zero": np.zeros((1, *SHAPE), "u2")}
    one = stored(fresh_folder(), LAYOUT, cpu, (0, 0, 0), data[content])
    other = stored(fresh_folder(), with_codec(codec), cpu, (0, 0, 0), data[content])
    corners = (0, 0, 0), (0, 0, 0)
    assert boxes_are_equal(one, other, engine, corners, SHAPE)
    for place in [(0, 0, 0), (31, 31, 31), (0, 31, 0), (15, 16, 17)]:
        voxel = read_box(other, cpu, place, (1, 1, 1))
        write_box(other, cpu, place, voxel ^ 256)
        assert not boxes_are_equal(one, other, engine, corners, SHAPE)
        write_box(other, cpu, place, voxel)
    assert boxes_are_equal(one, other, engine, corners, SHAPE)


@pytest.mark.parametrize("staged_bytes", [1, 3000, 10_000])
def test_chunks_are_fetched_a_few_at_a_time(cpu, fresh_folder, random, monkeypatch, staged_bytes):
    monkeypatch.setattr("wkgpu.engines.cpu.comparison._STAGED_BYTES", staged_bytes)
    data = noisy(random) & 0x0FFF
    one, other = (stored(fresh_folder(), with_codec(codec), cpu, (0, 0, 0), data) for codec in ("lz4", "lz4hc"))
    for topleft, shape in (((0, 0, 0), SHAPE), ((9, 0, 3), (20, 32, 20))):
        assert boxes_are_equal(one, other, cpu, (topleft, topleft), shape)


def test_what_is_not_stored_equals_zeros(engine, fresh_folder, cpu):
    zeros = stored(fresh_folder(), LAYOUT, cpu, (0, 0, 0), np.zeros((1, 64, 32, 32), "u2"))
    nothing = create_array(fresh_folder(), with_codec("raw"))
    corners = (0, 0, 0), (0, 0, 0)
    for one, other in ((zeros, nothing), (nothing, zeros), (nothing, nothing)):
        assert boxes_are_equal(one, other, engine, corners, (64, 40, 32))
    write_box(zeros, cpu, (63, 31, 31), np.ones((1, 1, 1, 1), "u2"))
    assert not boxes_are_equal(zeros, nothing, engine, corners, (64, 40, 32))
    assert boxes_are_equal(nothing, zeros, engine, corners, (63, 40, 32))


def test_what_differs_outside_the_box_does_not_count(engine, fresh_folder, cpu, random):
    data = noisy(random)
    inner = data.copy()
    inner[:, 5:29, 6:28, 7:27] += 1
    one = stored(fresh_folder(), LAYOUT, cpu, (0, 0, 0), data)
    other = stored(fresh_folder(), with_codec("lz4hc"), cpu, (0, 0, 0), inner - 1)
    assert boxes_are_equal(one, other, engine, ((5, 6, 7), (5, 6, 7)), (24, 22, 20))
    for topleft, shape in (((4, 6, 7), (25, 22, 20)), ((5, 6, 7), (24, 23, 20)), ((5, 6, 6), (1, 1, 2))):
        assert not boxes_are_equal(one, other, engine, (topleft, topleft), shape)


def damage(array, chunk):
    """Make the bytes of a chunk of the first shard something that does not decode."""
    with closing(array.open_shard((0, 0, 0))) as file:
        (offset,), (nbytes,) = file.index.extents(np.array([chunk]))
    with Path(file.path).open("r+b") as shard:
        shard.seek(int(offset))
        shard.write(b"\xff" * int(nbytes))


@pytest.mark.parametrize("damaged", [0, 1])
def test_damage_names_the_file(engine, fresh_folder, cpu, random, damaged):
    data = noisy(random) & 0xFF0F
    arrays = [stored(fresh_folder(), with_codec(codec), cpu, (0, 0, 0), data) for codec in ("lz4", "lz4hc")]
    damage(arrays[damaged], 37)
    with pytest.raises(ChunkError, match=f"{arrays[damaged].path}.*damaged"):
        boxes_are_equal(*arrays, engine, ((0, 0, 0), (0, 0, 0)), SHAPE)


@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_the_file_that_fails_is_named_among_several_that_are_fetched_together(cpu, fresh_folder, codec, random):
    """Chunks follow each other in memory, whichever files they come from."""
    spec = ArraySpec(LAYOUT.dtype, 1, LAYOUT.chunk_shape, (1, 1, 1), pipeline_of(codec))
    data = noisy(random)
    one, other = (stored(fresh_folder(), spec, cpu, (0, 0, 0), data) for spec in (with_codec("lz4hc"), spec))
    (mine, files), (others, other_files) = (next(array.read_plans([(0, 0, 0)], SHAPE)) for array in (one, other))
    with files, other_files:
        lost = other.path / "z2" / "y2" / "x1.wkw"
        os.truncate(lost, 24)
        with pytest.raises(ChunkError, match=rf"^{lost}.*voxel \(8, 16, 16\).*truncated"):
            cpu.compare(comparison_plan(mine, others), (files, other_files))
        with pytest.raises(ChunkError, match=rf"^{lost}.*voxel \(8, 16, 16\).*truncated"):
            cpu.read(others, other_files, cpu.empty((1, *SHAPE, 1), LAYOUT.dtype))


def test_chunks_of_equal_bytes_are_not_decoded(cpu, fresh_folder, random):
    """It is no promise, but what makes copies fast to compare."""
    arrays = [stored(fresh_folder(), LAYOUT, cpu, (0, 0, 0), noisy(random) * 0 + 5) for _ in range(2)]
    for array in arrays:
        damage(array, 37)
    assert boxes_are_equal(*arrays, cpu, ((0, 0, 0), (0, 0, 0)), SHAPE)
    write_box(arrays[0], cpu, (0, 0, 0), np.zeros((1, 1, 1, 1), "u2"))
    assert not boxes_are_equal(*arrays, cpu, ((0, 0, 0), (0, 0, 0)), SHAPE)


def test_no_voxel_of_mags_with_equal_chunks_is_read(cpu, fresh_folder, random, monkeypatch):
    data = noisy(random)
    one = stored(fresh_folder(), LAYOUT, cpu, (8, 0, 24), data)
    other = stored(fresh_folder(), with_codec("raw"), cpu, (24, 16, 0), data)
    monkeypatch.setattr(type(cpu), "read", lambda *arguments: pytest.fail("voxels were read"))
    assert boxes_are_equal(one, other, cpu, ((8, 0, 24), (24, 16, 0)), SHAPE)
    assert boxes_are_equal(other, one, cpu, ((24, 16, 0), (8, 0, 24)), SHAPE)
    assert boxes_are_equal(one, other, cpu, ((11, 4, 29), (27, 20, 5)), (20, 21, 22))
