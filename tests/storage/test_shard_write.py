import arrays
import numpy as np
import pytest
from arrays import on_device, on_host
from strategies import voxels

from wkgpu.errors import ShapeError
from wkgpu.operations.transfer import read_box, read_stack, write_box
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.plans.write import ChunkSource, WritePlan
from wkgpu.storage.spec import ArraySpec


def layout_of(codec):
    return ArraySpec(np.dtype("uint16"), 1, (4, 4, 4), (2, 2, 2), pipeline_of(codec))


def files_of(array):
    return sorted(path.relative_to(array.path).as_posix() for path in array.path.rglob("*") if path.is_file())


def planned(array, topleft, shape) -> WritePlan:
    (shard_write,) = array.shard_writes(topleft, shape)
    with pytest.raises(KeyError), shard_write as plan:
        raise KeyError
    return plan


@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_covered_chunks_need_no_old_bytes(make_array, naive, codec):
    array = make_array(layout_of(codec))
    write_box(array, naive, (0, 0, 0), voxels(array.spec, (8, 8, 8), 1))
    plan = planned(array, (0, 0, 0), (6, 4, 4))
    assert plan.touched.ordinal.tolist() == [0, 1]
    assert plan.touched.origin.tolist() == [[0, 0, 0], [4, 0, 0]]
    assert (plan.touched.nbytes > 0).tolist() == [False, True]
    assert str(plan).endswith("x0.wkw: 2 chunks change, 1 of them in part")


def test_chunks_of_a_new_shard_have_no_old_bytes(make_array):
    plan = planned(make_array(layout_of("lz4")), (1, 1, 1), (2, 2, 2))
    assert plan.old is None
    assert plan.touched.nbytes.tolist() == [0]
    assert plan.stored.source.tolist() == [ChunkSource.ENCODE, *[ChunkSource.FILL] * 7]


def test_sizes_of_untouched_chunks_are_the_old_ones(make_array, naive):
    array = make_array(layout_of("lz4"))
    write_box(array, naive, (0, 0, 0), voxels(array.spec, (8, 8, 8), 1))
    plan = planned(array, (0, 0, 0), (1, 1, 1))
    assert plan.stored.source.tolist() == [ChunkSource.ENCODE, *[ChunkSource.COPY] * 7]
    first = plan.old.index.extents(np.arange(1)).nbytes
    assert plan.stored.nbytes.sum() + first == plan.old.nbytes - plan.data_offset


def test_raw_chunks_are_touched_in_pieces(make_array, config):
    config.staging_bytes = 32  # one slab along z
    array = make_array(layout_of("raw"))
    plan = planned(array, (4, 0, 2), (4, 4, 1))
    assert plan.touched.ordinal.tolist() == [1]
    assert plan.touched.offset.tolist() == [16 + 128 + 2 * 32]


def test_a_write_stays_cut_as_it_was_begun_when_the_settings_change(make_array, cpu, config):
    config.staging_bytes = 64
    array = make_array(layout_of("raw"))
    data = voxels(array.spec, (8, 8, 8), 1)
    write_box(array, cpu, (0, 0, 0), data)
    data[:, 1:7, 1:7, 1:7] = voxels(array.spec, (6, 6, 6), 2)
    for shard_write in array.shard_writes((1, 1, 1), (6, 6, 6)):
        config.staging_bytes = 16
        with shard_write as plan:
            cpu.write(plan, data[:, 1:7, 1:7, 1:7])
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), (8, 8, 8)), data)


@pytest.mark.parametrize("codec", ["raw", "lz4", "lz4hc"])
def test_a_write_leaves_shards_and_nothing_else(make_array, cpu, codec):
    array = make_array(layout_of(codec))
    write_box(array, cpu, (7, 0, 8), voxels(array.spec, (2, 8, 8), 1))
    assert files_of(array) == ["header.wkw", "z1/y0/x0.wkw", "z1/y0/x1.wkw"]
    assert array.existing_shards() == [(0, 0, 1), (1, 0, 1)]
    assert array.shard_boxes() == [((0, 0, 8), (8, 8, 8)), ((8, 0, 8), (8, 8, 8))]
    assert array.shard_boxes(((7, 0, 8), (2, 1, 1))) == array.shard_boxes()
    assert array.shard_boxes(((8, 7, 15), (9, 9, 9))) == [((8, 0, 8), (8, 8, 8))]
    assert array.shard_boxes(((0, 0, 0), (99, 99, 8))) == array.shard_boxes(((0, 8, 0), (99, 99, 99))) == []


@pytest.mark.parametrize("codec", ["raw", "lz4", "lz4hc"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_write_leaves_what_was_there(make_array, naive, codec, exists):
    array = make_array(layout_of(codec))
    if exists:
        write_box(array, naive, (0, 0, 0), voxels(array.spec, (8, 8, 8), 1))
    before = {path: (array.path / path).read_bytes() for path in files_of(array)}
    (shard_write,) = array.shard_writes((0, 0, 0), (4, 4, 4))
    with pytest.raises(KeyError), shard_write:
        raise KeyError
    assert {path: (array.path / path).read_bytes() for path in files_of(array)} == before


@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_what_a_crashed_writer_has_left_is_harmless(make_array, cpu, codec):
    array = make_array(layout_of(codec))
    folder = array.path / "z0" / "y0"
    folder.mkdir(parents=True)
    (folder / ".x0.wkw.000000000000.wkgpu").write_bytes(b"\xff" * 5000)
    assert array.existing_shards() == []
    assert not read_box(array, cpu, (0, 0, 0), (8, 8, 8)).any()
    data = voxels(array.spec, (5, 5, 5), 1)
    write_box(array, cpu, (0, 0, 0), data)
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), (5, 5, 5)), data)
    assert files_of(array) == ["header.wkw", "z0/y0/x0.wkw"]


@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_permissions_of_a_shard_are_kept(make_array, cpu, codec):
    array = make_array(layout_of(codec))
    data = voxels(array.spec, (8, 8, 8), 1)
    write_box(array, cpu, (0, 0, 0), data)
    shard = array.path / "z0/y0/x0.wkw"
    shard.chmod(0o640)
    write_box(array, cpu, (0, 0, 0), data[:, :3])
    assert shard.stat().st_mode & 0o777 == 0o640


def test_raw_shards_are_changed_in_place(make_array, cpu):
    array = make_array(layout_of("raw"))
    write_box(array, cpu, (0, 0, 0), voxels(array.spec, (8, 8, 8), 1))
    inode = (array.path / "z0/y0/x0.wkw").stat().st_ino
    write_box(array, cpu, (1, 1, 1), voxels(array.spec, (2, 2, 2), 2))
    assert (array.path / "z0/y0/x0.wkw").stat().st_ino == inode


def test_untouched_chunks_are_copied_as_they_are(make_array, cpu):
    array = make_array(layout_of("lz4"))
    write_box(array, cpu, (0, 0, 0), voxels(array.spec, (8, 8, 8), 1))
    before = encoded_chunks(array)
    write_box(array, cpu, (0, 0, 0), np.zeros((1, 4, 4, 4), np.uint16))
    after = encoded_chunks(array)
    assert after[0] != before[0]
    assert after[1:] == before[1:]


# ---- Scattered boxes


STACK = [(8, 0, 4), (0, 4, 0), (0, 0, 4), (8, 8, 8)]


def test_a_stack_is_written_shard_by_shard(make_array):
    array = make_array(layout_of("lz4"))
    plans = []
    for shard_write in array.stack_writes(STACK, (4, 4, 4)):
        with pytest.raises(KeyError), shard_write as plan:
            raise KeyError
        plans.append(plan)
    assert [plan.path.removeprefix(f"{array.path}/") for plan in plans] == [
        "z0/y0/x0.wkw",
        "z0/y0/x1.wkw",
        "z1/y1/x1.wkw",
    ]
    assert {plan.shape for plan in plans} == {(4, 4, 16)}
    assert [plan.touched.ordinal.tolist() for plan in plans] == [[2, 4], [4], [0]]
    assert [plan.touched.origin[:, 2].tolist() for plan in plans] == [[4, 8], [0], [12]]
    assert not any(plan.touched.nbytes.any() for plan in plans), "old chunks are not needed"


@pytest.mark.parametrize("codec", ["raw", "lz4", "lz4hc"])
@pytest.mark.parametrize("shape", [(4, 4, 4), (8, 4, 4), (8, 8, 8)])
def test_a_stack_changes_its_boxes_and_nothing_else(make_array, config, engine, codec, shape):
    config.staging_bytes = 32  # raw chunks are written in slabs along z
    array = make_array(layout_of(codec))
    before = voxels(array.spec, (24, 16, 16), 1)
    write_box(array, engine, (0, 0, 0), on_device(engine, before))
    corners = sorted({tuple(int(n) for n in np.array(corner) // shape * shape) for corner in STACK})
    x, y, z = shape
    stack = voxels(array.spec, (x, y, z * len(corners)), 2)
    for shard_write in array.stack_writes(corners, shape):
        with shard_write as plan:
            engine.write(plan, on_device(engine, stack))
    for number, (left, front, top) in enumerate(corners):
        part = stack[:, :, :, number * z : (number + 1) * z]
        before[:, left : left + x, front : front + y, top : top + z] = part
    np.testing.assert_array_equal(arrays.read_box(array, engine, (0, 0, 0), (24, 16, 16)), before)
    np.testing.assert_array_equal(on_host(engine, read_stack(array, engine, corners, shape)), stack)


@pytest.mark.parametrize(
    ("corners", "shape", "complaint"),
    [
        ([(0, 0, 0)], (4, 4, 6), "whole chunks"),
        ([(0, 0, 2)], (4, 4, 4), "multiples"),
        ([(0, 0, 4)], (4, 4, 8), "multiples"),
        ([(0, 0, 4), (0, 4, 4), (0, 0, 4)], (4, 4, 4), "repeated"),
    ],
)
def test_only_disjoint_boxes_of_whole_chunks_can_be_a_stack(make_array, corners, shape, complaint):
    array = make_array(layout_of("lz4"))
    with pytest.raises(ShapeError, match=complaint):
        list(array.stack_writes(corners, shape))
    assert list(array.stack_writes([], (4, 4, 4))) == []


# ---- What is stored


def encoded_chunks(array):
    file = array.open_shard((0, 0, 0))
    file.close()
    data = (array.path / "z0/y0/x0.wkw").read_bytes()
    begins, nbytes = file.index.extents(np.arange(8))
    return [data[begin : begin + length] for begin, length in zip(begins, nbytes, strict=True)]


def test_a_chunk_that_holds_only_zeros_is_stored(make_array, cpu):
    array = make_array(layout_of("lz4"))
    write_box(array, cpu, (0, 0, 0), np.zeros((1, 1, 1, 1), np.uint16))
    assert all(encoded_chunks(array))
    assert len(set(encoded_chunks(array))) == 1
