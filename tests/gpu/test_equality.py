"""A number that the GPU reads or writes is the one that the CPU reads and writes, and that other libraries do."""

import numpy as np
import pytest
from arrays import on_device, on_host, read_box, read_boxes, write_box
from strategies import VOXEL_TYPES, voxels

from wkgpu.engines.cuda import fetching, writer
from wkgpu.operations import transfer
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

pytestmark = pytest.mark.gpu

# Edges of chunks, chunks per shard edge, and the edge of a volume.
LENGTHS = [(1, 16, 20), (2, 8, 40), (8, 4, 70), (16, 8, 96), (32, 1, 96), (32, 4, 96), (64, 2, 96)]
# Boxes that begin and end at chunks, or nowhere near; the last one leaves what is stored.
BOXES = [((0, 0, 0), (96, 80, 72)), ((1, 2, 3), (91, 33, 60)), ((32, 0, 64), (64, 64, 8)), ((90, 70, 60), (40, 30, 20))]


@pytest.fixture(params=[0, 1 << 60, None], ids=["long ranges", "short ranges", "as they are"])
def ways(request, monkeypatch):
    if request.param is not None:
        for module in (fetching, writer):
            monkeypatch.setattr(module, "LONG_BYTES", request.param)


@pytest.mark.parametrize("codec", ["raw", "lz4", "lz4hc"])
@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize("dtype", VOXEL_TYPES)
def test_all_voxel_types(stored, gpu, cpu, codec, num_channels, dtype):
    array, data = stored(
        ArraySpec(np.dtype(dtype), num_channels, (32,) * 3, (2,) * 3, pipeline_of(codec)), (96, 80, 72)
    )
    same_reads(array, gpu, cpu, BOXES)
    same_writes(array, gpu, cpu, data)


@pytest.mark.parametrize("codec", ["raw", "lz4"])
@pytest.mark.parametrize(("chunk", "per_shard", "edge"), LENGTHS)
@pytest.mark.parametrize("num_channels", [1, 2, 7])
def test_all_lengths(stored, gpu, cpu, codec, chunk, per_shard, edge, num_channels):
    spec = ArraySpec(np.dtype("uint16"), num_channels, (chunk,) * 3, (per_shard,) * 3, pipeline_of(codec))
    array, data = stored(spec, (edge,) * 3)
    boxes = [((0, 0, 0), (edge,) * 3), ((1, 2, 3), (edge - 5, edge // 2, edge // 3)), ((edge - 3,) * 3, (9, 8, 7))]
    same_reads(array, gpu, cpu, boxes)
    same_writes(array, gpu, cpu, data)


@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_all_ways_of_the_bytes(stored, gpu, cpu, config, ways, codec):
    config.batch_bytes = 1 << 19
    array, data = stored(ArraySpec(np.dtype("uint8"), 1, (32,) * 3, (4,) * 3, pipeline_of(codec)), (200, 96, 72))
    same_reads(array, gpu, cpu, [*BOXES, ((0, 0, 0), (200, 96, 72))])
    same_writes(array, gpu, cpu, data)


@pytest.mark.parametrize("batch_bytes", [0, 1 << 15, 1 << 18, 1 << 30])
def test_all_sizes_of_batches(stored, gpu, cpu, config, batch_bytes):
    config.batch_bytes = batch_bytes
    array, data = stored(ArraySpec(np.dtype("uint32"), 1, (16,) * 3, (4,) * 3, pipeline_of("lz4")), (96, 80, 72))
    same_reads(array, gpu, cpu, BOXES)
    same_writes(array, gpu, cpu, data)


def test_chunks_too_large_for_the_encoder(stored, gpu, cpu):
    """nvCOMP encodes at most 16 MiB; a larger one is encoded by the CPU, and decoded by the GPU."""
    spec = ArraySpec(np.dtype("uint16"), 1, (256, 256, 256), (1, 1, 1), pipeline_of("lz4"))
    assert spec.chunk_bytes > 16 << 20
    array, data = stored(spec, (100, 60, 50))
    same_reads(array, gpu, cpu, [((0, 0, 0), (100, 60, 50)), ((3, 5, 7), (20, 21, 22))])
    write_box(array, gpu, (1, 2, 3), data)
    np.testing.assert_array_equal(read_box(array, cpu, (1, 2, 3), (100, 60, 50)), data)


def test_many_boxes(stored, gpu, cpu, random):
    array, _ = stored(ArraySpec(np.dtype("uint8"), 1, (32,) * 3, (4,) * 3, pipeline_of("lz4")), (200, 96, 96))
    corners = random.integers(0, (180, 80, 80), (50, 3))
    found, wanted = (read_boxes(array, engine, corners, (32, 32, 32)) for engine in (gpu, cpu))
    assert found.tobytes() == wanted.tobytes()


def same_reads(array, gpu, cpu, boxes):
    for topleft, shape in boxes:
        found, wanted = (read_box(array, engine, topleft, shape) for engine in (gpu, cpu))
        assert found.flags.f_contiguous
        assert found.tobytes(order="F") == wanted.tobytes(order="F")


def same_writes(array, gpu, cpu, data):
    """Write arrays of both machines over what is stored, and read them with both."""
    whole = data.shape[1:]
    expected = read_box(array, cpu, (0, 0, 0), whole).copy()
    for number, order in enumerate(["F", "C"]):
        shape = tuple(length * 2 // 3 for length in whole)
        corner = tuple(length // 4 + number for length in whole)
        change = np.array(voxels(array.spec, shape, number), order=order)
        part = tuple(slice(begin, begin + length) for begin, length in zip(corner, shape, strict=True))
        expected[(slice(None), *part)] = change
        if number == 0:
            write_box(array, gpu, corner, change)
        else:
            transfer.write_box(array, gpu, corner, change)  # NumPy's memory
        for engine in (cpu, gpu):
            assert read_box(array, engine, (0, 0, 0), whole).tobytes() == expected.tobytes()


# ---- What else reads what the GPU writes


@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_liblz4_decodes_what_the_gpu_writes(make_array, gpu, naive, codec):
    array = make_array(ArraySpec(np.dtype("uint8"), 1, (32,) * 3, (4,) * 3, pipeline_of(codec)))
    data = voxels(array.spec, (150, 128, 70), 3)
    write_box(array, gpu, (5, 0, 9), data)
    np.testing.assert_array_equal(transfer.read_box(array, naive, (5, 0, 9), (150, 128, 70)), data)


@pytest.mark.parametrize("codec", ["raw", "lz4", "lz4hc"])
def test_wkw_reads_what_the_gpu_writes(make_array, gpu, codec):
    wkw = pytest.importorskip("wkw")
    array = make_array(ArraySpec(np.dtype("uint16"), 1, (32,) * 3, (4,) * 3, pipeline_of(codec)))
    data = voxels(array.spec, (150, 128, 70), 3)
    write_box(array, gpu, (5, 0, 9), data)
    with wkw.Dataset.open(str(array.path)) as dataset:
        np.testing.assert_array_equal(dataset.read((5, 0, 9), (150, 128, 70)), data)


def test_webknossos_reads_what_the_gpu_writes(tmp_path, gpu):
    webknossos = pytest.importorskip("webknossos")
    import wkgpu as wk

    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(11.24, 11.24, 25), device=gpu.name)
    mag_view = dataset.add_layer("color", "color", dtype="uint8").add_mag(1, chunk_shape=32, shard_shape=128)
    data = voxels(ArraySpec(np.dtype("uint8"), 1, (32,) * 3, (4,) * 3, pipeline_of("lz4")), (150, 128, 70), 3)
    mag_view.write(on_device(gpu, data), absolute_offset=(5, 0, 9))
    np.testing.assert_array_equal(on_host(gpu, mag_view.read()), data)
    theirs = webknossos.Dataset.open(tmp_path / "dataset").get_layer("color").get_mag(1)
    np.testing.assert_array_equal(theirs.read(), data)
