"""Mags in a store that has no descriptors: formats and engines reach files through the store alone."""

import itertools
import os

import numpy as np
import pytest
from arrays import given_on_engine, read_box, read_boxes, write_box
from hypothesis import strategies as st
from memory_store import MemoryStore, file_system_calls
from npy_array import FILL, npy_spec, registered
from reference import Volume
from strategies import layouts, voxel_boxes, voxels

from wkgpu.errors import AlreadyExistsError, HeaderError, MismatchError, NotFoundError
from wkgpu.operations.transfer import boxes_are_equal
from wkgpu.storage import formats
from wkgpu.storage.codecs import CRC32C, ZSTD, pipeline_of
from wkgpu.storage.plans import sources
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local import open_files
from wkgpu.storage.stores.store import Location

SHARDS = 2
NUMBERS = itertools.count()
FORMATS = {0: "wkw", FILL: "npy", 3: "zarr3"}  # by the fill values of specs
SMALL = ArraySpec(np.dtype("uint8"), 1, (4, 4, 4), (2, 2, 2), pipeline_of("lz4"))


def make_mag(spec, key="color/1"):
    store = MemoryStore(f"mag-{next(NUMBERS)}")
    return formats.create_array(Location(store, key), spec, FORMATS[spec.fill_value])


def npy_specs():
    chunk = st.tuples(*[st.integers(2, 9)] * 3)
    return st.builds(npy_spec, st.sampled_from(["uint8", ">u2", "float32"]), st.integers(1, 3), chunk)


def zarr_specs():
    shapes = st.tuples(*[st.integers(2, 4)] * 3)
    dtypes = st.sampled_from(["uint8", ">u2", "float32"]).map(np.dtype)
    codecs = st.sampled_from([(), (ZSTD,), (ZSTD, CRC32C)])
    return st.builds(ArraySpec, dtypes, st.integers(1, 3), shapes, shapes, codecs, st.just(3), st.just((2, 0, 1)))


@st.composite
def histories(draw, is_small):
    """A layout, boxes to write one after another, and boxes to read, which may leave what is stored."""
    spec = draw((layouts(16, 4, 1 << 13) if is_small else layouts()) | npy_specs() | zarr_specs())
    longest = 20 if is_small else 48
    boxes = [
        draw(st.lists(voxel_boxes(spec, SHARDS + more, longest), min_size=1, max_size=3)) if spec.fill_value == 0
        else draw(st.lists(st.tuples(*[st.tuples(*[st.integers(1, 12)] * 3)] * 2), min_size=1, max_size=3))
        for more in (0, 1)
    ]  # fmt: skip
    return spec, *boxes


def used(array, engine, writes, reads):
    """Write boxes and read boxes, alone and together; returns what was found and what was expected."""
    volume = Volume(array.spec, [max(24, SHARDS * length) for length in array.spec.shard_shape], array.spec.fill_value)
    for seed, (topleft, shape) in enumerate(writes):
        data = voxels(array.spec, shape, seed).astype(array.spec.memory_dtype)
        volume.write(topleft, data)
        write_box(array, engine, topleft, data)
    found = [read_box(array, engine, topleft, shape) for topleft, shape in reads]
    expected = [volume.read(topleft, shape) for topleft, shape in reads]
    _, shape = reads[0]
    corners = [corner for corner, _ in writes + reads]
    found.extend(read_boxes(array, engine, corners, shape))
    expected += [volume.read(corner, shape) for corner in corners]
    return found, expected


@pytest.mark.computes
@given_on_engine(
    histories, st.sampled_from([1 << 20, 2000]), st.sampled_from([64 << 20, 100]), examples=80, simulated=25
)
def test_any_writes_and_reads_touch_nothing_but_the_store(engine, config, monkeypatch, history, staging, together):
    config.staging_bytes = staging
    monkeypatch.setattr(sources, "_STAGED_BYTES", together)
    spec, writes, reads = history
    with registered():
        used(make_mag(spec), engine, writes, reads)  # loads what is loaded once
        with file_system_calls() as calls:
            made = make_mag(spec)
            found, expected = used(formats.open_array(made.location), engine, writes, reads)
            shards, codecs = made.current().existing_shards(), made.pipelines()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    # What is known by a descriptor alone is memory: a file would have been opened before.
    assert [call for call in calls if not call[1].removeprefix("/proc/self/fd/").isdigit()] == []
    names = {"color/1/array.json", "color/1/header.wkw", "color/1/zarr.json"} & set(made.location.store.files)
    assert set(made.location.store.files) == names | {made.shard_key(shard) for shard in shards}
    assert len(names) == 1
    assert codecs <= {spec.codecs}
    assert not open_files.held


def test_what_is_planned_is_read_although_the_shard_is_replaced(engine):
    array = make_mag(SMALL)
    first, second = (voxels(SMALL, (8, 8, 8), seed) for seed in (1, 2))
    write_box(array, engine, (0, 0, 0), first)
    for plan, files in array.read_plans([(0, 0, 0)], (8, 8, 8)):
        write_box(array, engine, (0, 0, 0), second)
        out = engine.empty((1, 8, 8, 8, 1), SMALL.dtype)
        with files:
            engine.read(plan, files, out)
    np.testing.assert_array_equal(out[..., 0] if engine.xp is np else engine.xp.asnumpy(out[..., 0]), first)
    np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), (8, 8, 8)), second)


def test_a_read_asks_once_for_each_file_and_only_for_what_it_wants(cpu):
    array = make_mag(SMALL)
    write_box(array, cpu, (0, 0, 0), voxels(SMALL, (16, 16, 8), 1))
    read_box(array, cpu, (0, 0, 0), (16, 16, 8))  # keeps the indexes
    requests = array.location.store.requests
    before = requests["ranges"]
    read_box(array, cpu, (2, 2, 2), (10, 4, 4))
    assert requests["ranges"] - before == 2


def test_descriptors_stay_within_the_budget_and_are_closed(cpu, monkeypatch):
    array = make_mag(ArraySpec(np.dtype("uint8"), 1, (2, 2, 2), (1, 1, 1), pipeline_of("lz4")))
    data = voxels(array.spec, (16, 8, 8), 1)
    write_box(array, cpu, (0, 0, 0), data)
    monkeypatch.setattr(open_files, "_limit", lambda: 64)
    before = len(os.listdir("/dev/fd"))
    ((plan, files),) = array.read_plans([(0, 0, 0)], (16, 8, 8))
    with files:
        assert len(plan.files) == 128
        assert max(len(open_files.held) for _ in files.windows(plan)) == 16
    assert len(os.listdir("/dev/fd")) == before
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), (16, 8, 8)), data)


def test_comparison(cpu):
    one, other = (make_mag(SMALL) for _ in range(2))
    for array in (one, other):
        write_box(array, cpu, (0, 0, 0), voxels(SMALL, (16, 16, 16), 1))
    assert boxes_are_equal(one, other, cpu, ((0, 0, 0), (0, 0, 0)), (16, 16, 16))
    write_box(other, cpu, (15, 15, 15), np.full((1, 1, 1, 1), 200, np.uint8))
    assert not boxes_are_equal(one, other, cpu, ((0, 0, 0), (0, 0, 0)), (16, 16, 16))


def test_a_mag_that_another_process_rewrites_or_deletes(cpu):
    array = make_mag(SMALL)
    write_box(array, cpu, (0, 0, 0), np.ones((1, 8, 8, 8), np.uint8))
    store = array.location.store
    mag = formats.open_array(array.location)
    store.delete("color/1")
    formats.create_array(array.location, ArraySpec(SMALL.dtype, 1, (8, 8, 8), (1, 1, 1), ()))
    assert not read_box(mag, cpu, (0, 0, 0), (8, 8, 8)).any()
    assert mag.spec.chunk_shape == (8, 8, 8)
    store.delete("color/1")
    formats.create_array(array.location, ArraySpec(np.dtype("uint16"), 1, (8, 8, 8), (1, 1, 1), ()))
    with pytest.raises(MismatchError, match=r"memory:.*header\.wkw now says 1 channels of uint16"):
        read_box(mag, cpu, (0, 0, 0), (8, 8, 8))
    store.delete("color/1")
    with pytest.raises(NotFoundError, match=f"{store.name}/color/1/header.wkw does not exist"):
        read_box(mag, cpu, (0, 0, 0), (8, 8, 8))
    with pytest.raises(NotFoundError, match=r"has no header\.wkw"):
        formats.open_array(array.location)


def test_errors_name_the_file(cpu):
    array = make_mag(SMALL)
    write_box(array, cpu, (0, 0, 0), np.ones((1, 8, 8, 8), np.uint8))
    with pytest.raises(AlreadyExistsError, match=f"memory://{array.location.store.name}/color/1 exists"):
        formats.create_array(array.location, SMALL)
    array.location.store.write("color/1/z0/y0/x0.wkw", b"no shard")
    with pytest.raises(HeaderError, match=f"memory://{array.location.store.name}/color/1/z0/y0/x0.wkw"):
        read_box(array, cpu, (0, 0, 0), (8, 8, 8))
    write_box(array, cpu, (0, 0, 0), np.ones((1, 8, 8, 8), np.uint8))  # a damaged shard is repaired
    assert read_box(array, cpu, (0, 0, 0), (8, 8, 8)).all()


def test_a_shard_without_chunks_has_no_file(cpu):
    with registered():
        array = make_mag(npy_spec("uint8", 1, (4, 4, 4)))
        write_box(array, cpu, (0, 0, 0), np.full((1, 8, 4, 4), 3, np.uint8))
        write_box(array, cpu, (0, 0, 0), np.full((1, 4, 4, 5), FILL, np.uint8))
        assert array.existing_shards() == [(1, 0, 0)]
        assert (read_box(array, cpu, (0, 0, 0), (4, 4, 8)) == FILL).all()
