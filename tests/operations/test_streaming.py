"""Voxels that stream from mags through a computation into another mag: block by block, part by part, tile by tile."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from arrays import read_box, tune, write_box
from hypothesis import given, settings
from hypothesis import strategies as st

import wkgpu as wk
from wkgpu.errors import ChunkError
from wkgpu.geometry.voxel_box import VoxelBox, triple
from wkgpu.operations import prefetch as ahead
from wkgpu.operations import streaming
from wkgpu.operations.downsampling.tiles import box_of_blocks
from wkgpu.operations.streaming import has_data, stream
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

UINT16 = np.dtype("uint16")
WHOLE = VoxelBox((0, 0, 0), (32, 32, 32))


class Thinned(NamedTuple):
    """Every second voxel along each axis, added up over all sources; ``plus`` makes something of nothing."""

    plus: int = 0
    sources: int = 1

    @property
    def preserves_zero(self) -> bool:
        return self.plus == 0

    @property
    def ratio(self) -> tuple[int, int, int]:
        return 2, 2, 2

    def source_boxes(self, target: VoxelBox) -> tuple[VoxelBox, ...]:
        return (
            VoxelBox(triple(2 * low for low in target.topleft), triple(2 * n for n in target.shape)),
        ) * self.sources

    def target_box(self, source: int, box: VoxelBox) -> VoxelBox | None:
        return box_of_blocks(box, self.ratio)

    def apply(self, engine: Any, target: VoxelBox, arrays: Sequence[Any], out: Any, inside: VoxelBox) -> None:
        out[:, *target.slices_in(inside)] = sum(array[:, ::2, ::2, ::2] for array in arrays) + out.dtype.type(self.plus)


@pytest.fixture
def engine(device):
    """The engine of `device`, by whose name `stream` finds it."""
    return wk.get_engine(device)


@pytest.fixture
def make(make_array):
    """Makes an empty mag of uint16."""
    return lambda chunk=4, per_shard=2, codec="lz4": make_array(
        ArraySpec(UINT16, 1, (chunk,) * 3, (per_shard,) * 3, pipeline_of(codec))
    )


@pytest.fixture
def voxels(random):
    """Voxels (channel, x, y, z), none of them 0."""
    return random.integers(1, 1000, (1, 64, 64, 64)).astype(UINT16)


@pytest.fixture
def source(make, cpu, voxels):
    """A mag with all of them, in shards of 16³."""
    array = make(chunk=8)
    write_box(array, cpu, (0, 0, 0), voxels)
    return array


@pytest.fixture
def target(make):
    """An empty mag with shards of 8³."""
    return make()


@pytest.fixture
def in_small_tiles(monkeypatch):
    """Parts of a shard of 8³, and tiles of an eighth of it."""
    cut(monkeypatch, part=8**3, tile=4**3)


def cut(monkeypatch, part, tile):
    """Let parts and tiles have so many target voxels."""
    monkeypatch.setattr(streaming, "_PART_BYTES", part * UINT16.itemsize)
    tune(monkeypatch, streamed_bytes=tile * 8 * UINT16.itemsize)


def run(sources, target, engine, region=WHOLE, transformation=None, **options):
    stream(sources, target, region, transformation or Thinned(), wk.Mag(2), engine.name, **options)


def thinned(voxels):
    return voxels[:, ::2, ::2, ::2]


def content(array, box=WHOLE):
    """What is stored, read by an engine that had nothing to do with it."""
    return read_box(array, wk.get_engine("cpu"), *box)


class Record:
    """What is read and written, by which threads, and how many arrays there were at most when a read began."""

    def __init__(self, monkeypatch):
        self.reads, self.writes, self.threads = [], [], []
        self.max_arrays = self.reading = 0
        self.before_read = lambda number: None  # is called with how many reads have begun
        arrays = []
        read, write = streaming.read_box, streaming.write_box

        def read_box(array, engine, topleft, shape):
            self.max_arrays = max(self.max_arrays, sum(array() is not None for array in arrays))
            self.reads.append(VoxelBox(topleft, shape))
            self.threads.append(threading.current_thread().name)
            self.reading += 1
            try:
                self.before_read(len(self.reads))
                found = read(array, engine, topleft, shape)
            finally:
                self.reading -= 1
            arrays.append(weakref.ref(found))
            return found

        def write_box(array, engine, topleft, data):
            self.writes.append(VoxelBox(topleft, tuple(data.shape[1:])))
            write(array, engine, topleft, data)

        monkeypatch.setattr(streaming, "read_box", read_box)
        monkeypatch.setattr(streaming, "write_box", write_box)


@pytest.fixture
def record(monkeypatch):
    return Record(monkeypatch)


class Eager:
    """An executor that runs at once what it gets."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


# ---- Voxels


def test_all_voxels_are_computed(engine, source, target, voxels):
    run([source], target, engine)
    np.testing.assert_array_equal(content(target), thinned(voxels))


@pytest.mark.parametrize(("part", "tile"), [(1, 1), (8**3, 4**3), (16**3, 8**3), (8**3, 8**3), (1 << 20, 700)])
def test_however_it_is_cut(monkeypatch, engine, source, target, voxels, part, tile):
    cut(monkeypatch, part, tile)
    region = VoxelBox((3, 0, 9), (21, 17, 14))
    run([source], target, engine, region)
    expected = np.zeros((1, 32, 32, 32), UINT16)
    expected[:, *region.slices_in(WHOLE)] = thinned(voxels)[:, *region.slices_in(WHOLE)]
    np.testing.assert_array_equal(content(target), expected)


def test_voxels_beyond_the_region_stay(in_small_tiles, engine, cpu, source, make, voxels, random):
    for codec in ("raw", "lz4"):
        target = make(codec=codec)
        expected = random.integers(1, 1000, (1, 32, 32, 32)).astype(UINT16)
        write_box(target, cpu, (0, 0, 0), expected)
        region = VoxelBox((5, 2, 11), (9, 23, 7))
        run([source], target, engine, region)
        expected[:, *region.slices_in(WHOLE)] = thinned(voxels)[:, *region.slices_in(WHOLE)]
        np.testing.assert_array_equal(content(target), expected)


def test_several_sources(in_small_tiles, engine, cpu, source, target, make, voxels):
    other = make(chunk=16, per_shard=1, codec="raw")
    write_box(other, cpu, (0, 0, 16), voxels[..., 16:])
    run([source, other], target, engine, transformation=Thinned(sources=2))
    expected = thinned(voxels).copy()
    expected[..., 8:] *= 2
    np.testing.assert_array_equal(content(target), expected)


@settings(max_examples=30)
@given(st.data())
def test_any_region_and_any_stored_shards(make, cpu, engine, monkeypatch, data):
    """Also where parts of the sources and of the target are stored, in shards of any shape."""
    corner, length = st.integers(0, 20), st.integers(1, 12)
    cut(monkeypatch, data.draw(st.sampled_from([1, 8**3, 16**3])), data.draw(st.sampled_from([1, 4**3, 10**3])))
    edge = data.draw(st.sampled_from([2, 4, 8]))
    fine, coarse = make(chunk=data.draw(st.sampled_from([2, 8, 16])), per_shard=1), make(chunk=edge)
    full, expected = np.zeros((1, 64, 64, 64), UINT16), np.zeros((1, 32, 32, 32), UINT16)
    for array, whole in ((fine, full), (coarse, expected)):
        for value in range(1, 1 + data.draw(st.integers(0, 3))):
            box = VoxelBox(data.draw(st.tuples(corner, corner, corner)), data.draw(st.tuples(length, length, length)))
            write_box(array, cpu, box.topleft, np.full((1, *box.shape), value, UINT16))
            whole[:, *box.slices_in(VoxelBox((0, 0, 0), whole.shape[1:]))] = value
    region = VoxelBox(data.draw(st.tuples(corner, corner, corner)), data.draw(st.tuples(length, length, length)))
    transformation = Thinned(plus=data.draw(st.sampled_from([0, 0, 7])))
    run([fine], coarse, engine, region, transformation)
    inside = (slice(None), *region.slices_in(WHOLE))
    expected[inside] = thinned(full)[inside] + transformation.plus
    np.testing.assert_array_equal(content(coarse), expected)


# ---- What is not stored


@pytest.fixture
def sparse(make, cpu):
    """A mag with voxels in the shards of 16³ at (16, 0, 0) and (32, 32, 32)."""
    array = make(chunk=8)
    for corner in ((17, 1, 3), (40, 41, 42)):
        write_box(array, cpu, corner, np.full((1, 2, 2, 2), 5, UINT16))
    return array


def test_absent_shards_are_neither_read_nor_made(in_small_tiles, record, monkeypatch, engine, sparse, target):
    monkeypatch.setattr(streaming, "job_shape", lambda spec, min_shape: spec.shard_shape)
    run([sparse], target, engine)
    assert target.existing_shards() == [(1, 0, 0), (2, 2, 2)]
    stored = [VoxelBox(*shard) for shard in sparse.shard_boxes()]
    assert record.reads
    assert all(any(box.intersection(shard) for shard in stored) for box in record.reads)
    assert [box.topleft for box in record.writes] == [(8, 0, 0), (16, 16, 16)]


def test_zeros_are_not_stored(in_small_tiles, engine, cpu, make, target):
    source = make(chunk=8)
    write_box(source, cpu, (16, 16, 16), np.zeros((1, 16, 16, 16), UINT16))
    run([source], target, engine)
    assert target.existing_shards() == []


def test_shards_that_exist_are_overwritten_with_zeros(in_small_tiles, engine, cpu, sparse, target):
    write_box(target, cpu, (0, 0, 0), np.full((1, 24, 24, 24), 9, UINT16))
    run([sparse], target, engine)
    assert np.flatnonzero(content(target)).size == 2
    assert len(target.existing_shards()) == 27
    write_box(target, cpu, (0, 0, 0), np.full((1, 16, 8, 8), 9, UINT16))
    run([sparse], target, engine, region=VoxelBox((2, 0, 0), (4, 8, 8)))
    found = content(target, VoxelBox((0, 0, 0), (8, 8, 8)))
    assert found[:, :2].all()
    assert found[:, 6:].all()
    assert not found[:, 2:6].any()


def test_something_is_made_of_nothing(in_small_tiles, engine, sparse, target):
    run([sparse], target, engine, transformation=Thinned(plus=3))
    found = content(target)
    assert np.count_nonzero(found == 3) == found.size - 2
    assert len(target.existing_shards()) == 64


def test_nothing_is_stored_at_all(engine, make, target):
    run([make()], target, engine)
    assert target.existing_shards() == []


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64", "float32", "float64"])
def test_any_bit_is_data(engine, dtype):
    voxels = engine.zeros((2, 5, 6, 7), np.dtype(dtype))
    assert not has_data(voxels)
    flat = voxels.T.reshape(-1).view(np.uint8)
    for number in range(8 * voxels.itemsize):
        flat[-1 - number // 8] = 1 << number % 8
        assert has_data(voxels)
        assert has_data(voxels[:, 4:, 5:, 6:])
        assert not has_data(voxels[:, :4])
        assert not has_data(voxels[:, :, :, 2:4])
        flat[-1 - number // 8] = 0
    if dtype.startswith("float"):
        voxels[1, 2, 3, 4] = -0.0
        assert has_data(voxels)


class ComparedWithZero:
    """An array of another library, which compares values with 0 even where it is viewed as truth values."""

    def __init__(self, array, values=None):
        self.array, self.values = array, array if values is None else values
        self.dtype = array.dtype

    @property
    def T(self):
        return ComparedWithZero(self.array.T, self.values.T)

    def view(self, dtype):
        return ComparedWithZero(self.array.view(dtype), self.values if dtype is bool else self.array.view(dtype))

    def any(self):
        return (self.values != 0).any()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_a_negative_zero_is_data_of_a_device(dtype):
    voxels = np.zeros((2, 5, 6, 7), dtype, order="F")
    assert not has_data(ComparedWithZero(voxels[:, 1:]))
    voxels.T.view(np.uint8)[3, 3, 3, -1] = 0x80
    assert has_data(ComparedWithZero(voxels[:, 1:]))


# ---- Parts and tiles


def test_a_part_is_written_once_and_read_in_tiles(in_small_tiles, record, engine, source, target):
    run([source], target, engine)
    assert sorted(box.topleft for box in record.writes) == sorted(
        (x, y, z) for x in range(0, 32, 8) for y in range(0, 32, 8) for z in range(0, 32, 8)
    )
    assert {box.shape for box in record.writes} == {(8, 8, 8)}
    assert {box.shape for box in record.reads} == {(8, 8, 8)}, "no chunk of 8³ is read in two tiles"
    assert len(record.reads) == len(set(record.reads)) == 8 * len(record.writes)


def test_pieces_are_as_large_as_the_engine_has_memory_for(monkeypatch, record, engine, source, target, voxels):
    asked = []

    @contextmanager
    def share(self, nbytes):
        asked.append(nbytes)
        yield nbytes // 8
        asked.append(-nbytes)

    cut(monkeypatch, part=16**3, tile=8**3)
    monkeypatch.setattr(type(engine), "share", share)
    run([source], target, engine)
    np.testing.assert_array_equal(content(target), thinned(voxels))
    assert len(asked) > 0 == sum(asked)
    assert {box.shape for box in record.writes} == {(8, 8, 8)}
    assert {box.shape for box in record.reads} == {(8, 8, 8)}


def test_chunks_of_very_many_voxels_are_cut(monkeypatch, record, engine, source, make):
    """Of a large ratio even what one target chunk is made of does not fit memory."""
    expected, target = make(chunk=8, per_shard=2), make(chunk=8, per_shard=2)
    run([source], expected, engine)
    monkeypatch.setattr(streaming, "_MAX_TILE_BYTES", 4**3 * 8 * UINT16.itemsize)
    record.reads.clear()
    run([source], target, engine)
    assert {box.shape for box in record.reads} == {(8, 8, 8)}
    np.testing.assert_array_equal(content(target), content(expected))


def test_tiles_are_chunks_at_least(monkeypatch, record, engine, source, make):
    """Neither a chunk of the source is decoded twice, nor one of the target encoded in two parts."""
    cut(monkeypatch, part=1, tile=1)
    run([source], make(chunk=8, per_shard=2), engine)
    assert {box.shape for box in record.reads} == {(16, 16, 16)}
    assert {box.shape for box in record.writes} == {(8, 8, 8)}


def test_only_two_tiles_are_held(in_small_tiles, record, monkeypatch, engine, source, target):
    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ahead, "start_new_thread", no_thread)  # then a tile is read at once
    run([source], target, engine)
    assert record.max_arrays == 1, "so many when the next one is read"


def test_the_next_tile_is_read_concurrently(in_small_tiles, record, monkeypatch, engine, source, target, voxels):
    begun = threading.Semaphore(0)
    record.before_read = lambda number: begun.release()
    waited = []

    def apply(self, engine, tile, arrays, out, inside, apply=Thinned.apply):
        if len(waited) % 8 < 7:  # there is a next one in this part
            assert begun.acquire(timeout=10), "the read of the tile itself"
            assert begun.acquire(timeout=10), "that of the next one"
            begun.release()
        else:
            assert begun.acquire(timeout=10)
        waited.append(tile)
        apply(self, engine, tile, arrays, out, inside)

    monkeypatch.setattr(Thinned, "apply", apply)
    run([source], target, engine)
    assert threading.current_thread().name not in record.threads
    assert len(waited) == 8 * 64
    np.testing.assert_array_equal(content(target), thinned(voxels))


def test_a_single_tile_needs_no_thread(record, engine, source, target):
    run([source], target, engine)
    assert set(record.threads) == {threading.current_thread().name}


# ---- Failures


def test_a_read_that_fails(in_small_tiles, record, engine, source, target):
    """It is the third one of the second part: of this one nothing is written, and no further one is begun."""

    def fail(number):
        if number == 11:
            raise ChunkError("as if a chunk were damaged")

    record.before_read = fail
    with pytest.raises(ChunkError, match="damaged") as caught:
        run([source], target, engine)
    assert "in Mag(1)" in "".join(caught.value.__notes__)
    assert len(record.reads) == 11
    assert len(record.writes) == len(target.existing_shards()) == 1
    assert record.reading == 0


def test_a_computation_that_fails(in_small_tiles, record, monkeypatch, engine, source, target):
    tiles = []

    def apply(self, engine, tile, arrays, out, inside):
        tiles.append(tile)
        if len(tiles) == 3:
            raise ArithmeticError("as if it could not be computed")

    monkeypatch.setattr(Thinned, "apply", apply)
    with pytest.raises(ArithmeticError, match="computed"):
        run([source], target, engine)
    assert len(tiles) == 3
    assert len(record.reads) <= 4
    assert record.writes == target.existing_shards() == []
    assert record.reading == 0


def test_a_write_that_fails(in_small_tiles, record, monkeypatch, engine, source, target):
    write = streaming.write_box

    def write_box(*arguments):
        if len(record.writes) == 2:
            raise OSError("as if the disk were full")
        write(*arguments)

    monkeypatch.setattr(streaming, "write_box", write_box)
    with pytest.raises(OSError, match="full"):
        run([source], target, engine)
    assert len(target.existing_shards()) == 2
    assert list(Path(target.path).rglob(".*")) == []


# ---- Jobs


def blocks_of(source, target, engine, monkeypatch, **options):
    """The blocks of the jobs, if each is one shard."""
    monkeypatch.setattr(streaming, "job_shape", lambda spec, min_shape: spec.shard_shape)
    seen = []
    monkeypatch.setattr(streaming, "run_jobs", lambda function, jobs, **_: seen.extend(job.box for job in jobs))
    run([source], target, engine, **options)
    return seen


def test_blocks_ascend_by_z_y_x(monkeypatch, engine, source, target):
    found = blocks_of(source, target, engine, monkeypatch, region=VoxelBox((3, 9, 0), (10, 20, 12)))
    assert len(found) == 2 * 3 * 2
    assert found == sorted(found, key=lambda box: box.topleft[::-1])


def test_no_two_blocks_share_a_shard(monkeypatch, engine, source, make):
    target = make(chunk=8, per_shard=2)
    region = VoxelBox((5, 3, 2), (27, 20, 30))
    found = blocks_of(source, target, engine, monkeypatch, region=region)
    shards = [tuple(corner // 16 for corner in block.topleft) for block in found]
    assert len(set(shards)) == len(shards)
    assert sum(int(np.prod(block.shape)) for block in found) == int(np.prod(region.shape))


def test_jobs_run_on_any_executor(in_small_tiles, monkeypatch, source, make, voxels, cpu):
    monkeypatch.setattr(streaming, "job_shape", lambda spec, min_shape: spec.shard_shape)
    with ThreadPoolExecutor(3) as threads:
        for executor in (threads, Eager()):
            target = make()
            run([source], target, cpu, executor=executor)
            np.testing.assert_array_equal(content(target), thinned(voxels))


def test_jobs_run_in_other_processes(source, target, voxels, cpu):
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        run([source], target, cpu, executor=executor)
    np.testing.assert_array_equal(content(target), thinned(voxels))


INTERRUPTS = """
import faulthandler, time
import numpy as np
from faults.places import Places, act_at
from wkgpu.operations import streaming
from wkgpu.geometry.voxel_box import VoxelBox

class Engine:
    def wait(self):
        pass

reading = []

def read_box(*_):
    reading.append(1)
    time.sleep(1e-4)
    reading.pop()

def interrupt():
    raise KeyboardInterrupt

def call():
    for _ in streaming.prefetched([None], Engine(), lambda tile: (tile,), tiles):
        pass

streaming.read_box = read_box
tiles = [VoxelBox((x, 0, 0), (1, 1, 1)) for x in range(3)]
places = Places(call).all()
assert len(places) > 30
for place in places:
    faulthandler.dump_traceback_later(10, exit=True)
    try:
        act_at(place, interrupt, call)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError(str(place))
time.sleep(0.1)
assert not reading
"""


def test_an_interrupt_at_any_place_hangs_nothing(run_python):
    run_python(INTERRUPTS, PYTHONPATH=str(Path(__file__).parents[1]))


@pytest.mark.parametrize(("dtype", "fill", "other"), [("uint16", 7, 0), ("float32", np.nan, -np.nan), (">i4", -2, 2)])
def test_data_are_what_differs_from_the_fill_value(dtype, fill, other):
    spec = ArraySpec(np.dtype(dtype), 2, (4, 4, 4), (2, 2, 2), (), fill_value=fill)
    voxels = np.full((2, 8, 8, 8), fill, spec.memory_dtype, order="F")
    assert not has_data(voxels, spec)
    voxels[1, 3, 4, 5] = other
    assert has_data(voxels, spec)
    assert not has_data(voxels[:, :3], spec)


def test_units_are_whole_chunks_of_all():
    specs = [ArraySpec(UINT16, 1, chunk, (1, 1, 1), ()) for chunk in ((6, 4, 1), (4, 6, 2), (8, 2, 2))]
    target, *sources = (SimpleNamespace(spec=spec) for spec in specs)
    assert streaming._units(sources, target, Thinned()) == (12, 12, 1)
