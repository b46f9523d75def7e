"""Damaged chunks on a CUDA device do no harm, whatever decodes them, and the decoder that is faster is taken."""

import ctypes
from itertools import pairwise

import lz4.block
import numpy as np
import pytest
from arrays import on_host, read_box, read_boxes, write_box
from faults import lz4_chunks
from strategies import voxels

from wkgpu.engines.cuda.decoding import chosen_decoder, first_refused
from wkgpu.errors import ChunkError, ConfigurationError
from wkgpu.kernels.cpu.intrinsics import LZ4_MAX_INPUT_BYTES
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.plans.read import Chunks
from wkgpu.storage.spec import ArraySpec

SHAPE = (32, 32, 32)
LAYOUT = ArraySpec(np.dtype("uint16"), 1, (8, 8, 8), (4, 4, 4), pipeline_of("lz4"))
CHUNK_BYTES = 1024
TABLE_END = 16 + 8 * 64


@pytest.fixture(params=["kernel", "nvcomp"])
def decoder(request, config):
    config.cuda_lz4 = request.param
    return request.param


@pytest.fixture(params=["simulated", pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.own_process])])
def cuda(request):
    """The CUDA engine, on the simulated device and on a GPU."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def array(make_array, cpu):
    """A mag with one whole shard."""
    array = make_array(LAYOUT)
    write_box(array, cpu, (0, 0, 0), volume())
    return array


@pytest.fixture
def shard(array):
    return array.path / "z0" / "y0" / "x0.wkw"


def volume():
    """Voxels of which all chunks compress, each in many sequences."""
    return voxels(LAYOUT, SHAPE, 3)


def replaced(shard, changes):
    """Give some chunks of the shard other bytes, of any length."""
    content = shard.read_bytes()
    chunks = chunks_of(content)
    for number, change in changes.items():
        chunks[number] = change(chunks[number])
    table = np.cumsum([TABLE_END, *map(len, chunks)])[1:].astype("<u8")
    shard.write_bytes(content[:16] + table.tobytes() + b"".join(chunks))


def chunks_of(content):
    """The encoded chunks of a shard."""
    ends = [TABLE_END, *np.frombuffer(content[16:TABLE_END], "<u8").tolist()]
    return [content[begin:end] for begin, end in pairwise(ends)]


def has_offset_0(chunk):
    try:
        return lz4_chunks.has_offset_0(chunk)
    except IndexError:  # liblz4 refuses it as well
        return False


def noise(chunk):
    return b"\xff" * len(chunk)


def cut_short(chunk):
    return chunk[:-1]


def too_few(chunk):
    """A sound chunk of fewer voxels."""
    return lz4.block.compress(lz4.block.decompress(chunk, CHUNK_BYTES)[:-8], store_size=False)


def too_many(chunk):
    return lz4.block.compress(lz4.block.decompress(chunk, CHUNK_BYTES) + bytes(8), store_size=False)


# ---- Damage


@pytest.mark.parametrize("damage", [noise, cut_short, too_few, too_many])
@pytest.mark.usefixtures("decoder")
def test_a_damaged_chunk_is_the_error_that_it_is_on_the_cpu(array, shard, cuda, cpu, damage):
    replaced(shard, {41: damage})
    before = shard.read_bytes()

    def read(engine):
        with pytest.raises(ChunkError, match=rf"{shard}: the chunk at voxel") as caught:
            read_box(array, engine, (0, 0, 0), SHAPE)
        return str(caught.value)

    def write(engine):
        with pytest.raises(ChunkError, match=rf"{shard}: chunk 41 of the shard.*damaged") as caught:
            write_box(array, engine, (1, 1, 1), voxels(LAYOUT, (30, 30, 30), 2))
        assert shard.read_bytes() == before
        assert [path.name for path in shard.parent.iterdir()] == [shard.name]
        return str(caught.value)

    assert read(cuda) == read(cpu)
    assert write(cuda) == write(cpu)


@pytest.mark.usefixtures("decoder")
def test_chunks_beside_damaged_ones_keep_their_voxels(array, shard, cuda, config):
    """All are decoded in one batch, and only some are damaged: nothing is placed that the error does not tell of."""
    config.batch_bytes = 1 << 30
    replaced(shard, dict.fromkeys([3, 17, 18, 40, 63], noise))
    out = cuda.zeros((1, *SHAPE, 1), np.dtype("uint16"))
    ((plan, sources),) = array.read_plans([(0, 0, 0)], SHAPE)
    with sources, pytest.raises(ChunkError):
        cuda.read(plan, sources, out)
    same = (on_host(cuda, out)[..., 0] == volume()).reshape(4, 8, 4, 8, 4, 8).all(axis=(1, 3, 5))
    assert same.sum() >= 64 - 5  # in the place of a damaged one is what the memory of its slot held before


def test_nvcomp_alone_is_as_unsafe_as_the_real_one(array, shard, simulated, config, monkeypatch):
    """Otherwise the tests above could not fail."""
    config.cuda_lz4 = "nvcomp"
    config.batch_bytes = 1 << 30
    kind = type(simulated.device.lz4)

    def unchecked(self, stream, columns, zeros, zeros_bytes, statuses, decoded):
        memory = simulated_bytes(statuses, 4 * columns.count)
        stream.queue(lambda: memory.__setitem__(slice(None), 0))

    monkeypatch.setattr(kind, "check", unchecked)
    monkeypatch.setattr(kind, "join", lambda *arguments: None)
    replaced(shard, {41: noise})
    found = read_box(array, simulated, (0, 0, 0), SHAPE)
    same = (found == volume()).reshape(4, 8, 4, 8, 4, 8).all(axis=(1, 3, 5))
    assert same.sum() == 64 - 3


def simulated_bytes(address, nbytes):
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


def test_what_nvcomp_cannot_decode_is_an_error(array, shard, simulated, config, monkeypatch):
    config.cuda_lz4 = "nvcomp"
    kind = type(simulated.device._codecs["lz4"])
    decode = kind.decode

    def broken(self, stream, sources, lengths, capacities, decoded, count, temp, targets, statuses):
        decode(self, stream, sources, lengths, capacities, decoded, count, temp, targets, statuses)
        memory = simulated_bytes(statuses, 4 * count)
        stream.queue(lambda: memory.__setitem__(4 * (count - 1), 12))

    monkeypatch.setattr(kind, "decode", broken)
    with pytest.raises(ChunkError, match=f"{shard}: .*damaged"):
        read_box(array, simulated, (0, 0, 0), SHAPE)


# ---- What is wanted


@pytest.mark.usefixtures("decoder")
def test_random_damage_does_what_it_does_on_the_cpu(array, shard, cuda, cpu, random):
    """Each chunk is an error on both engines, or has the same voxels on both."""
    intact = shard.read_bytes()
    corners = list(np.ndindex(4, 4, 4))

    def outcome(engine, corner):
        try:
            return read_box(array, engine, tuple(8 * number for number in corner), (8, 8, 8)).tobytes()
        except ChunkError as error:
            return str(error)

    for _ in range(3):
        content = np.frombuffer(intact, np.uint8).copy()
        content[random.integers(TABLE_END, len(content), 60)] ^= random.integers(1, 256, 60).astype(np.uint8)
        shard.write_bytes(content)
        outcomes = [(outcome(cuda, corner), outcome(cpu, corner)) for corner in corners]
        assert sum(isinstance(one, str) for one, _ in outcomes) > 5
        differ = [one for one, other in outcomes if one != other]
        assert all("LZ4 cannot decode it" in one for one in differ)  # an offset of 0, which liblz4 lets pass
        assert len(differ) <= sum(map(has_offset_0, chunks_of(content.tobytes())))
    shard.write_bytes(intact)
    np.testing.assert_array_equal(read_box(array, cuda, (0, 0, 0), SHAPE), volume())


@pytest.mark.usefixtures("decoder")
def test_boxes_that_want_other_planes_of_a_chunk(array, cuda, cpu, config):
    config.batch_bytes = 1 << 30
    corners = [(1, 2, 3), (1, 2, 6), (9, 1, 0), (0, 0, 4)]
    found = read_boxes(array, cuda, corners, (9, 5, 3))
    for box, expected in zip(found, read_boxes(array, cpu, corners, (9, 5, 3)), strict=True):
        np.testing.assert_array_equal(box, expected)


def test_a_chunk_is_decoded_up_to_the_last_plane_that_a_box_wants(array, simulated, config, monkeypatch):
    config.cuda_lz4 = "kernel"
    wanted = []
    kind = type(simulated.device.lz4)
    decode = kind.decode

    def recorded(self, stream, columns, statuses, decoded):
        stream.queue(lambda: wanted.extend(simulated_bytes(columns.wanted, 8 * columns.count).view(np.int64)))
        decode(self, stream, columns, statuses, decoded)

    monkeypatch.setattr(kind, "decode", recorded)
    plane = CHUNK_BYTES // 8
    read_boxes(array, simulated, [(0, 0, 0), (0, 0, 2)], (4, 4, 3))
    assert wanted == [5 * plane]
    wanted.clear()
    read_box(array, simulated, (0, 0, 6), (4, 4, 3))
    assert wanted == [CHUNK_BYTES, plane]


# ---- What no decoder is given


def test_chunks_longer_than_any_block_are_refused():
    bound = 1024 + 4 + 16
    assert first_refused(np.array([1, bound]), 1024) is None
    assert first_refused(np.array([1, bound + 1, 7]), 1024) == 1
    assert first_refused(np.array([5]), LZ4_MAX_INPUT_BYTES) is None
    assert first_refused(np.array([5, 5]), LZ4_MAX_INPUT_BYTES + 1) == 0
    assert first_refused(np.zeros(0, np.int64), 1024) is None


def test_nothing_is_launched_for_a_chunk_that_is_too_long(array, shard, simulated, monkeypatch):
    """An index of WKW has none; that of another format may."""
    ((plan, sources),) = array.read_plans([(0, 0, 0)], SHAPE)
    chunks = Chunks(plan.chunks.columns.copy())
    chunks.nbytes[-1] = 2 * CHUNK_BYTES
    out = np.zeros((1, *SHAPE, 1), np.uint16, order="F")
    stream = type(simulated.device.new_stream())
    for operation in ("launch", "upload"):
        monkeypatch.setattr(stream, operation, lambda *arguments: pytest.fail("something is queued"))
    with sources, pytest.raises(ChunkError, match=rf"{shard}: the chunk at voxel .*damaged"):
        simulated.read(plan._replace(chunks=chunks, max_chunk_nbytes=2 * CHUNK_BYTES), sources, out)


# ---- Which decoder


def test_the_faster_decoder_is_chosen(config):
    config.cuda_lz4 = "auto"
    assert [chosen_decoder("lz4hc", count) for count in (1, 2047, 2048)] == ["kernel", "kernel", "nvcomp"]
    assert {chosen_decoder("lz4", count) for count in (1, 2048, 100_000)} == {"kernel"}
    for setting in ("kernel", "nvcomp"):
        config.cuda_lz4 = setting
        assert {chosen_decoder(codec, count) for codec in ("lz4", "lz4hc") for count in (1, 10_000)} == {setting}
    config.cuda_lz4 = "gpu"
    with pytest.raises(ConfigurationError, match=r"cuda_lz4 is 'gpu'; give"):
        chosen_decoder("lz4", 1)


def test_the_setting_of_the_environment(run_python):
    script = "import wkgpu; print(wkgpu.config.cuda_lz4)"
    assert run_python(script, WKGPU_CUDA_LZ4="nvcomp") == "nvcomp\n"
    script = """
try:
    import wkgpu
    wkgpu.config
except wkgpu.errors.ConfigurationError as error:
    print(error)
"""
    assert "WKGPU_CUDA_LZ4 is 'fast': give one of auto, kernel, nvcomp" in run_python(script, WKGPU_CUDA_LZ4="fast")
