"""Codecs of Zarr on a CUDA device: what it decodes, what is left to the CPU, and what damage does."""

import logging
from pathlib import Path

import numpy as np
import pytest
import reference_codecs
from arrays import is_simulated, on_host, read_box, read_boxes, write_box
from indexed_array import HEADER, IndexedArray

from wkgpu.engines.cuda import codecs as cuda_codecs
from wkgpu.engines.cuda.batch_sizes import ReadNeeds
from wkgpu.engines.cuda.batches import read_batches
from wkgpu.engines.cuda.engine import CudaEngine
from wkgpu.errors import ChunkError, DeviceLostError
from wkgpu.storage.codecs import CRC32C, GZIP, SIZED_LZ4, ZLIB, ZSTD, codec_named, names_of
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.store import Location

SHAPE = (32, 32, 32)
CHUNKS = 64
UNCHECKED = codec_named("zstd", checksum=False)


def blosc(**parameters):
    return codec_named("blosc", **parameters)


PIPELINES = [
    (ZSTD,), (ZSTD, CRC32C), (UNCHECKED, CRC32C), (GZIP,), (GZIP, CRC32C), (ZLIB,), (SIZED_LZ4,), (SIZED_LZ4, CRC32C),
    (blosc(blocksize=1024),), (blosc(cname="lz4hc", shuffle="shuffle", typesize=2), CRC32C),
    (blosc(shuffle="bitshuffle", typesize=2, blocksize=256),),
]  # fmt: skip
CHECKED = [codecs for codecs in PIPELINES if codecs[0].name != "blosc"]


def name_of(codecs):
    return names_of(codecs) + "".join(
        f"-{value}" for key, value in codecs[0].parameters if key in ("checksum", "shuffle")
    )


@pytest.fixture(autouse=True)
def _what_is_said_once_is_said_again():
    for say in (cuda_codecs._say_once, cuda_codecs.say_left_to_host):
        say.cache_clear()


@pytest.fixture(params=["simulated", pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.own_process])])
def cuda(request):
    engine = request.getfixturevalue(request.param)
    if engine.device.chunk_kernels is None:
        pytest.skip("there is no C++ compiler for the kernels in CUDA C")
    return engine


@pytest.fixture
def make(tmp_path, cpu):
    """Makes a mag with one whole shard of 64 chunks."""

    def make(codecs, chunk=(8, 8, 8), number=0):
        spec = ArraySpec(np.dtype("uint16"), 1, chunk, tuple(32 // edge for edge in chunk), codecs)
        array = IndexedArray.create(Location(LocalStore(tmp_path / f"array-{number}")), spec)
        write_box(array, cpu, (0, 0, 0), volume())
        return array

    return make


def volume():
    """Voxels of which all chunks compress, none of them like another."""
    random = np.random.default_rng(5)
    voxels = random.integers(0, 700, (1, 8, 16, 32)).repeat(4, 1).repeat(2, 2).astype(np.uint16)
    return np.asfortranarray(voxels + random.integers(0, 2, voxels.shape, np.uint16))


def replaced(array, changes):
    """Give some chunks of the shard other bytes."""
    chunks = array.encoded()
    for number, change in changes.items():
        chunks[number] = change(chunks[number])
    nbytes = np.array([len(chunk) for chunk in chunks])
    offset = nbytes.cumsum() - nbytes + len(HEADER)
    path = Path(array.shard_path((0, 0, 0)))
    path.write_bytes(HEADER + b"".join(chunks) + np.stack([offset, nbytes]).tobytes())
    return path


def decoded_chunks(engine, codec="zstd"):
    """How many chunks the simulated nvCOMP has decoded."""
    return engine.device.codec(codec).decodes


# ---- What is decoded where


@pytest.mark.parametrize("codecs", PIPELINES, ids=name_of)
def test_chunks_are_decoded_by_the_device(make, cuda, caplog, codecs):
    """Whole boxes and parts, several boxes at once, and writes that lay voxels over old ones."""
    array, expected = make(codecs), volume()
    with caplog.at_level(logging.WARNING, "wkgpu"):
        np.testing.assert_array_equal(read_box(array, cuda, (0, 0, 0), SHAPE), expected)
        found = read_boxes(array, cuda, [(1, 2, 3), (9, 9, 1)], (20, 9, 7))
        np.testing.assert_array_equal(found[0], expected[:, 1:21, 2:11, 3:10])
        np.testing.assert_array_equal(found[1], expected[:, 9:29, 9:18, 1:8])
        write_box(array, cuda, (3, 3, 3), volume()[:, :9, :9, :20] // 2)
    expected[:, 3:12, 3:12, 3:23] = volume()[:, :9, :9, :20] // 2
    np.testing.assert_array_equal(read_box(array, cuda, (0, 0, 0), SHAPE), expected)
    assert [message for message in caplog.messages if "Some chunks" in message] == []


@pytest.mark.parametrize("codecs", [(ZSTD,), (GZIP, CRC32C), (ZLIB,), PIPELINES[-2]], ids=name_of)
def test_chunks_of_an_odd_number_of_bytes(make, cuda, codecs):
    array = make(codecs, chunk=(5, 3, 7))
    np.testing.assert_array_equal(read_box(array, cuda, (1, 0, 2), (29, 28, 25)), volume()[:, 1:30, :28, 2:27])


def test_frames_without_a_checksum_are_decoded_by_the_cpu_unless_the_user_wants_it(make, simulated, config, caplog):
    array = make((UNCHECKED,))
    with caplog.at_level(logging.WARNING, "wkgpu"):
        for _ in range(2):
            np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())
    assert decoded_chunks(simulated) == 0
    (message,) = caplog.messages
    assert "zstd" in message
    assert "cuda_decode_unchecked" in message
    config.cuda_decode_unchecked = True
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())
    assert decoded_chunks(simulated) == CHUNKS


def test_the_setting_of_the_environment(run_python):
    script = "import wkgpu; print(wkgpu.config.cuda_decode_unchecked)"
    assert run_python(script) == "False\n"
    assert run_python(script, WKGPU_CUDA_DECODE_UNCHECKED="on") == "True\n"


def test_single_chunks_without_a_checksum_are_left_to_the_cpu(make, cuda, caplog):
    """Written by another encoder than the metadata says; in reads and under new voxels."""
    array = make((ZSTD,))
    content = volume()[0, :8, :8, :8].tobytes("F")
    replaced(array, dict.fromkeys([0, 7, 40], lambda chunk: reference_codecs.encode(UNCHECKED, content)))
    expected = volume()
    for corner in ((0, 0, 0), (0, 8, 24), (16, 16, 0)):
        expected[0][tuple(slice(begin, begin + 8) for begin in corner)] = volume()[0, :8, :8, :8]
    with caplog.at_level(logging.WARNING, "wkgpu"):
        np.testing.assert_array_equal(read_box(array, cuda, (0, 0, 0), SHAPE), expected)
        np.testing.assert_array_equal(
            read_boxes(array, cuda, [(1, 0, 0), (1, 9, 20)], (9, 5, 6))[0], expected[:, 1:10, :5, :6]
        )
        write_box(array, cuda, (1, 1, 1), expected[:, :20, :20, :20] + 1)
    expected[:, 1:21, 1:21, 1:21] = expected[:, :20, :20, :20] + 1
    np.testing.assert_array_equal(read_box(array, cuda, (0, 0, 0), SHAPE), expected)
    assert [message.split(":")[0] for message in caplog.messages if "Some" in message] == [
        "Some chunks that are stored as zstd are decoded by the CPU"
    ]


def test_chunks_of_blosc_that_are_not_what_the_metadata_says(make, cuda):
    array = make((blosc(blocksize=1024),))
    others = [blosc(cname="zstd"), blosc(shuffle="shuffle", typesize=2), blosc(cname="blosclz"), blosc(clevel=0)]
    content = volume()[0, :8, :8, :8].tobytes("F")
    encoded = [reference_codecs.encode(codec, content) for codec in others]
    replaced(array, {number: lambda chunk, new=new: new for number, new in enumerate(encoded)})
    expected = volume()
    for number in range(4):
        expected[0, :8, :8, 8 * number : 8 * number + 8] = volume()[0, :8, :8, :8]
    np.testing.assert_array_equal(read_box(array, cuda, (0, 0, 0), SHAPE), expected)


def test_what_a_device_lacks_is_decoded_by_the_cpu(make, simulated, monkeypatch, caplog):
    """Kernels in CUDA C, or one of nvCOMP's decoders; and codecs that no device has."""
    monkeypatch.setattr(simulated.device, "_codecs", {"lz4": simulated.device.codec("lz4")})
    arrays = [
        make(codecs, number=number)
        for number, codecs in enumerate([(ZSTD,), (GZIP,), (blosc(cname="zstd"),), (CRC32C,)])
    ]
    with caplog.at_level(logging.WARNING, "wkgpu"):
        for array in arrays:
            np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())
        monkeypatch.setattr(simulated.device, "chunk_kernels", None)
        np.testing.assert_array_equal(read_box(make((SIZED_LZ4,), number=9), simulated, (0, 0, 0), SHAPE), volume())
        monkeypatch.undo()
        monkeypatch.setattr(cuda_codecs, "MAX_CHUNK_BYTES", 1023)
        np.testing.assert_array_equal(read_box(make((ZLIB,), number=8), simulated, (0, 0, 0), SHAPE), volume())
    assert len(caplog.messages) == 6
    assert "too large" in caplog.messages[-1]


# ---- Damage


def cut(chunk):
    return chunk[:-1]


def noise(chunk):
    return b"\xff" * len(chunk)


def changed_in(part):
    def change(chunk):
        damaged = bytearray(chunk)
        damaged[int(len(chunk) * part)] ^= 0x55
        return bytes(damaged)

    return change


DAMAGE = {"cut": cut, "noise": noise, "head": changed_in(0), "data": changed_in(0.6), "end": changed_in(0.999)}


@pytest.mark.parametrize("codecs", CHECKED, ids=name_of)
def test_a_damaged_chunk_is_the_error_that_it_is_on_the_cpu(make, cuda, cpu, codecs):
    array = make(codecs)
    intact = Path(array.shard_path((0, 0, 0))).read_bytes()

    def outcome(engine, action):
        try:
            return action(engine)
        except ChunkError as error:
            return str(error)
        except DeviceLostError as error:
            assert not is_simulated(engine)
            pytest.xfail(f"nvCOMP has ended the process's use of CUDA, which nothing prevents: {error}")

    def read(engine):
        return read_box(array, engine, (15, 16, 8), (9, 8, 16)).tobytes()

    def write(engine):
        write_box(array, engine, (17, 17, 9), volume()[:, :8, :3, :3])
        found = read(engine)
        path.write_bytes(before)
        return found

    for name, damage in DAMAGE.items():
        path = replaced(array, {41: damage})
        before = path.read_bytes()
        for action in (read, write) if name == "data" else (read,):
            of_cpu = outcome(cpu, action)
            assert outcome(cuda, action) == of_cpu
            if codecs[0].name != "numcodecs.lz4" or len(codecs) > 1:  # literals of LZ4 may have any bytes
                assert isinstance(of_cpu, str)
                assert "damaged" in of_cpu
                assert path.read_bytes() == before
        path.write_bytes(intact)


class Unsupported:
    """An nvCOMP that does to some sound chunks what it does to damaged ones."""

    def __init__(self, codec, refused):
        self._decoded, self._refused = codec._decoded, refused

    def __call__(self, encoded, capacity):
        return None if encoded in self._refused else self._decoded(encoded, capacity)


@pytest.fixture
def harmful(make, simulated, config, monkeypatch):
    """Makes a mag of which the simulated nvCOMP takes chunk 41 badly, and writes over 40 and 42."""

    def harmful(codecs):
        if simulated.device.chunk_kernels is None:
            pytest.skip("there is no C++ compiler for the kernels in CUDA C")
        config.batch_bytes = 1 << 30
        array = make(codecs)
        encoded = array.encoded()[41]
        if len(codecs) > 1:
            encoded = encoded[:-4]
        name, encoded = {
            "zstd": ("zstd", encoded), "gzip": ("deflate", encoded[10:-8]), "numcodecs.zlib": ("deflate", encoded[2:-4])
        }[codecs[0].name]  # fmt: skip
        codec = simulated.device.codec(name)
        monkeypatch.setattr(codec, "_decoded", Unsupported(codec, [encoded]))
        return array

    return harmful


CHECKSUMS = {
    (ZSTD,): "xxh64_verify",
    (ZSTD, CRC32C): "xxh64_verify",
    (GZIP,): "crc32_verify",
    (ZLIB,): "adler32_verify",
}


@pytest.mark.parametrize("codecs", CHECKSUMS, ids=name_of)
def test_chunks_that_another_one_has_written_into_are_found(harmful, simulated, codecs):
    array = harmful(codecs)
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())
    write_box(array, simulated, (1, 1, 1), volume()[:, :30, :30, :30])
    expected = volume()
    expected[:, 1:31, 1:31, 1:31] = volume()[:, :30, :30, :30]
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), expected)


@pytest.mark.parametrize("codecs", CHECKSUMS, ids=name_of)
def test_nvcomp_alone_is_as_unsafe_as_the_real_one(harmful, simulated, monkeypatch, codecs):
    """Otherwise the test above could not fail."""
    array, kernels = harmful(codecs), simulated.device.chunk_kernels
    launch = type(kernels).launch

    def unverified(self, stream, name, blocks, warps, *numbers):
        if name != CHECKSUMS[codecs]:
            launch(self, stream, name, blocks, warps, *numbers)

    monkeypatch.setattr(type(kernels), "launch", unverified)
    found = read_box(array, simulated, (0, 0, 0), SHAPE)
    same = (found == volume()).reshape(4, 8, 4, 8, 4, 8).all(axis=(1, 3, 5))
    assert same.sum() == CHUNKS - 3


def test_what_nvcomp_reports_is_left_to_the_cpu(make, simulated, monkeypatch):
    array, codec = make((ZSTD,)), simulated.device.codec("zstd")
    decode = type(codec).decode

    def broken(self, stream, sources, lengths, capacities, decoded, count, temp, targets, statuses):
        decode(self, stream, sources, lengths, capacities, decoded, count, temp, targets, statuses)
        status = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_int32 * count).from_address(statuses))
        stream.queue(lambda: status.__setitem__(count - 1, 12))

    monkeypatch.setattr(type(codec), "decode", broken)
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())


# ---- Memory


@pytest.mark.parametrize("codecs", [(ZSTD, CRC32C), (GZIP,), (SIZED_LZ4,), PIPELINES[-1]], ids=name_of)
@pytest.mark.parametrize("batch_bytes", [20_000, 1 << 28])
def test_memory_is_what_was_projected(make, simulated_device, config, codecs, batch_bytes):
    config.batch_bytes = batch_bytes
    engine, array = CudaEngine(simulated_device), make(codecs)
    ((plan, sources),) = array.read_plans([(3, 2, 1)], (28, 27, 26))
    out = engine.zeros((1, 28, 27, 26, 1), array.spec.dtype)
    with sources:
        engine.read(plan, sources, out)
        projected = engine.projected_nbytes(plan)
    assert 0.7 * projected <= engine.nbytes_kept <= projected
    np.testing.assert_array_equal(on_host(engine, out)[..., 0], volume()[:, 3:31, 2:29, 1:27])


def test_memory_of_nvcomp_makes_batches_smaller(make, simulated_device, config):
    """The simulated one works in 3,000 bytes for each chunk of 1,024."""
    config.gpu_bytes = 200_000
    engine, chunks = CudaEngine(simulated_device), []
    for number, codecs in enumerate(((ZSTD,), (blosc(),))):
        ((plan, sources),) = make(codecs, number=number).read_plans([(0, 0, 0)], SHAPE)
        sources.close()
        needs = ReadNeeds.of(simulated_device, plan)
        batches = list(read_batches(plan, needs.sizes(engine.budget.given(needs.nbytes))))
        chunks.append(max(len(batch.heads) for batch in batches))
    assert chunks[0] in range(6, 50_000 // 4096)
    assert chunks[1] >= 2 * chunks[0]


# ---- Encoding


ENCODED = [(ZSTD,), (ZSTD, CRC32C), (UNCHECKED, CRC32C)]


@pytest.fixture
def empty(tmp_path):
    """Makes an empty mag."""

    def empty(codecs, chunk=(8, 8, 8)):
        spec = ArraySpec(np.dtype("uint16"), 1, chunk, tuple(32 // edge for edge in chunk), codecs)
        return IndexedArray.create(Location(LocalStore(tmp_path / "written")), spec)

    return empty


@pytest.mark.parametrize("codecs", ENCODED, ids=name_of)
def test_zstd_is_encoded_by_the_device_and_decoded_by_libzstd(empty, cuda, cpu, caplog, codecs):
    """Each frame is libzstd's to read, says its size, and has the checksum that its pipeline asks for."""
    array, expected = empty(codecs), volume()
    expected[:, :8, 8:16, :] = 0  # chunks that are dropped
    with caplog.at_level(logging.WARNING, "wkgpu"):
        write_box(array, cuda, (0, 0, 0), expected)
        np.testing.assert_array_equal(read_box(array, cuda, (0, 0, 0), SHAPE), expected)
    assert caplog.messages == []
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), SHAPE), expected)
    chunks = [chunk for chunk in array.encoded() if chunk]
    assert 0 < len(chunks) <= CHUNKS
    for chunk in chunks:
        frame = reference_codecs.decode(CRC32C, chunk) if len(codecs) > 1 else chunk
        assert frame[4] >> 2 & 1 == dict(codecs[0].parameters)["checksum"]
        assert frame[4] >> 6 or frame[4] & 32  # the decoded size is in the header
        assert len(reference_codecs.decode(ZSTD, frame)) == 1024
    write_box(array, cuda, (5, 6, 7), expected[:, :11, :12, :13] + 1)
    expected[:, 5:16, 6:18, 7:20] = expected[:, :11, :12, :13] + 1
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), SHAPE), expected)


def test_chunks_that_nvcomp_cannot_take_are_encoded_by_the_cpu(empty, simulated):
    """It wants addresses that are multiples of 4, and chunks lie one behind the other."""
    array = empty((ZSTD,), chunk=(5, 3, 7))
    write_box(array, simulated, (0, 0, 0), volume())
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())


def test_a_frame_that_is_not_understood_stays_as_it_is(empty, simulated, cpu, monkeypatch):
    """One without its size in the header, say; it is valid, and the CPU reads it."""
    if simulated.device.chunk_kernels is None:
        pytest.skip("there is no C++ compiler for the kernels in CUDA C")
    codec = simulated.device.codec("zstd")
    encoded = codec._encoded

    def without_size(content):
        frame = encoded(content)
        assert frame[4] >> 6 == 1  # one segment, 2 bytes of size
        return frame[:4] + bytes([0, 10 << 3]) + frame[7:]

    monkeypatch.setattr(codec, "_encoded", without_size)
    array = empty((ZSTD,))
    write_box(array, simulated, (0, 0, 0), volume())
    assert {chunk[4] for chunk in array.encoded()} == {0}
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), SHAPE), volume())
    np.testing.assert_array_equal(read_box(array, simulated, (0, 0, 0), SHAPE), volume())
