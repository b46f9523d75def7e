"""A codec is a description and one implementation for each engine, and nothing else; so are all facts of a spec."""

import ctypes
import itertools
import logging
import zlib
from dataclasses import replace

import numpy as np
import pytest
from arrays import is_simulated, on_device, read_box, read_boxes, write_box
from indexed_array import IndexedArray
from numba import cfunc, types

from wkgpu.engines.cpu import codecs as cpu_codecs
from wkgpu.engines.cpu.codecs import CpuCodec
from wkgpu.engines.cuda import codecs as cuda_codecs
from wkgpu.errors import ChunkError, ShardIndexError, UnsupportedError
from wkgpu.kernels.cpu import intrinsics
from wkgpu.operations.transfer import boxes_are_equal
from wkgpu.storage.codecs import BLOSC, CRC32C, GZIP, LZ4, LZ4HC, SIZED_LZ4, ZSTD, Codec, codec_named, register_codec
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.store import Location

SHAPE = (12, 10, 9)  # of 2 x 2 x 2 shards, of which the last ones reach beyond it


def no_more(nbytes):
    return nbytes


def zlib_bound(nbytes):
    return nbytes + 100


INVERTED = Codec("inverted", no_more)
ZLIB = Codec("zlib", zlib_bound, (("level", 1),))


@cfunc(types.int64(*[types.int64] * 7))
def _decode_inverted(source, nbytes, target, wanted, capacity, parameter, state):
    for byte in range(min(nbytes, capacity)):
        intrinsics.store_byte(target + byte, 255 - intrinsics.load_byte(source + byte))
    return nbytes


@cfunc(types.int64(*[types.int64] * 6))
def _encode_inverted(source, nbytes, target, capacity, parameter, state):
    for byte in range(nbytes):
        intrinsics.store_byte(target + byte, 255 - intrinsics.load_byte(source + byte))
    return nbytes


@ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 7)
def _decode_zlib(source, nbytes, target, wanted, capacity, parameter, state):
    try:
        data = zlib.decompress(ctypes.string_at(source, nbytes))
    except zlib.error:
        return -1
    ctypes.memmove(target, data, min(len(data), capacity))
    return len(data)


@ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)
def _encode_zlib(source, nbytes, target, capacity, parameter, state):
    ctypes.memset(state, 0xA5, 1000)
    data = zlib.compress(ctypes.string_at(source, nbytes), parameter)
    ctypes.memmove(target, data, len(data))
    return len(data)


def address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


IMPLEMENTATIONS = {
    "inverted": lambda codec, nbytes: CpuCodec(_decode_inverted.address, _encode_inverted.address),
    "zlib": lambda codec, nbytes: CpuCodec(
        address(_decode_zlib), address(_encode_zlib), dict(codec.parameters)["level"], encoder_bytes=1000
    ),
}
PIPELINES = [(), (LZ4,), (LZ4HC,), (INVERTED,), (ZLIB,), (INVERTED, ZLIB), (ZLIB, LZ4), (LZ4, INVERTED, ZLIB)]
SHUFFLED = codec_named("blosc", cname="zstd", shuffle="bitshuffle", typesize=2)
PIPELINES += [
    (ZSTD,),
    (ZSTD, CRC32C),
    (CRC32C,),
    (BLOSC,),
    (SHUFFLED, GZIP),
    (SIZED_LZ4, codec_named("numcodecs.zlib")),
]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for name, implementation in IMPLEMENTATIONS.items():
        monkeypatch.setitem(cpu_codecs.CODECS, name, implementation)
    forget()


def forget():
    cuda_codecs._say_once.cache_clear()
    cpu_codecs._kernel_pipelines.cache_clear()
    cpu_codecs._implementation.cache_clear()


@pytest.fixture
def make(tmp_path):
    numbers = itertools.count()

    def make(codecs=(), dtype="uint16", channels=1, absent=AbsentChunks.OMITTED, chunk=(5, 3, 4), **facts):
        spec = ArraySpec(np.dtype(dtype), channels, chunk, (2, 2, 2), codecs, **facts)
        return IndexedArray.create(Location(LocalStore(tmp_path / f"array-{next(numbers)}")), spec, absent=absent)

    return make


def noise(spec, shape, seed):
    """Numbers of which some chunks are alike, so that they compress."""
    random = np.random.default_rng(seed)
    data = random.integers(0, 250, (spec.num_channels, *shape)) * (random.random((1, *shape)) < 0.5)
    return np.asfortranarray(data.astype(spec.memory_dtype))


def check_history(array, engine):
    """Write boxes, and compare with an array after each."""
    spec = array.spec
    volume = np.full((spec.num_channels, *SHAPE), spec.fill_value, spec.memory_dtype)
    boxes = [((2, 1, 1), (3, 2, 2)), ((0, 0, 0), (11, 4, 5)), ((5, 3, 4), (5, 3, 4)), ((4, 2, 3), (7, 8, 6))]
    for seed, (corner, shape) in enumerate(boxes):
        data = noise(spec, shape, seed)
        write_box(array, engine, corner, data if seed % 2 else np.ascontiguousarray(data))
        inside = tuple(slice(low, low + length) for low, length in zip(corner, shape, strict=True))
        volume[:, *inside] = data
        np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), SHAPE), volume)
        for shard in array.existing_shards():
            array.shuffle(shard)
    found = read_boxes(array, engine, [(1, 1, 1), (4, 5, 3)], (6, 5, 4))
    np.testing.assert_array_equal(found[0], volume[:, 1:7, 1:6, 1:5])
    np.testing.assert_array_equal(found[1], volume[:, 4:10, 5:10, 3:7])
    out = np.zeros((spec.num_channels, *SHAPE), spec.memory_dtype)[:, ::-1]
    read_box(array, engine, (0, 0, 0), SHAPE, out=out)
    np.testing.assert_array_equal(out, volume)
    return volume


# ---- Codecs


@pytest.mark.parametrize("codecs", PIPELINES, ids=lambda codecs: "+".join(codec.name for codec in codecs))
def test_pipelines(make, engine, codecs):
    check_history(make(codecs), engine)


def test_a_codec_of_the_device_is_used_there(make, engine, monkeypatch, caplog):
    named = Codec("mine", LZ4.bound)
    monkeypatch.setitem(cpu_codecs.CODECS, "mine", cpu_codecs.CODECS["lz4"])
    monkeypatch.setitem(cuda_codecs.CODECS, "mine", cuda_codecs.CODECS["lz4"])
    with caplog.at_level(logging.WARNING, "wkgpu"):
        check_history(make((named,)), engine)
    assert caplog.messages == []
    assert engine.decodes(named)


def test_what_a_gpu_cannot_decode_is_said_once(make, engine, caplog):
    with caplog.at_level(logging.WARNING, "wkgpu"):
        check_history(make((INVERTED,)), engine)
    assert engine.decodes(INVERTED) == (engine.name == "cpu")
    assert len(caplog.messages) == (engine.name != "cpu")
    assert all("inverted" in message for message in caplog.messages)


def test_an_unknown_codec_is_loud(make, engine, cpu, monkeypatch):
    array = make((INVERTED,))
    write_box(array, cpu, (0, 0, 0), noise(array.spec, (6, 6, 4), 0))
    monkeypatch.delitem(cpu_codecs.CODECS, "inverted")
    forget()
    other = make((Codec("unheard-of", no_more),))
    with pytest.raises(UnsupportedError, match=r"array-0/0\.0\.0 .*'inverted' cannot be decoded"):
        read_box(array, engine, (0, 0, 0), (6, 6, 6))
    assert not read_box(array, engine, (0, 0, 4), (5, 3, 4)).any()  # in the same file, where nothing is stored
    with pytest.raises(UnsupportedError, match=r"array-1/0\.0\.0 .*'unheard-of' cannot be"):
        write_box(other, engine, (0, 0, 0), on_device(engine, noise(array.spec, (6, 6, 6), 0)))
    assert other.existing_shards() == []


def test_a_decoder_alone_cannot_write(make, cpu, monkeypatch):
    array = make((INVERTED,))
    decoder = CpuCodec(_decode_inverted.address)
    monkeypatch.setitem(cpu_codecs.CODECS, "inverted", lambda codec, nbytes: decoder)
    with pytest.raises(UnsupportedError, match="'inverted' cannot be encoded"):
        write_box(array, cpu, (0, 0, 0), noise(array.spec, (6, 6, 6), 0))


@pytest.mark.parametrize("codecs", [(ZLIB,), (INVERTED, ZLIB), (ZLIB, LZ4)])
def test_damage_is_an_error(make, engine, cpu, codecs):
    array = make(codecs)
    write_box(array, cpu, (0, 0, 0), noise(array.spec, (10, 6, 8), 0))
    path = array.path / "0.0.0"
    data = bytearray(path.read_bytes())
    data[8:20] = bytes(12)
    path.write_bytes(data)
    with pytest.raises(ChunkError, match=rf"{path}: .*damaged"):
        read_box(array, engine, (0, 0, 0), (10, 6, 8))


def test_raw_chunks_are_read_in_slabs_where_a_table_says_where_they_lie(make, engine, config):
    config.staging_bytes = 50
    for facts in ({}, {"channels": 2}, {"axis_order": (2, 1, 0)}):
        array = make((), **facts)
        check_history(array, engine)
    ((plan, sources),) = array.read_plans([(5, 0, 0)], (1, 3, 4))
    sources.close()
    assert plan.nbytes_staged == 1 * 3 * 4 * 2  # of a chunk of 5 x 3 x 4


@pytest.mark.parametrize("staging_bytes", [50, 1 << 20])
@pytest.mark.parametrize("change", [-2, -40, 4000])
def test_a_raw_chunk_of_a_wrong_length_is_an_error(make, engine, cpu, config, staging_bytes, change):
    config.staging_bytes = staging_bytes
    array = make((), axis_order=(2, 1, 0))
    data = noise(array.spec, (10, 6, 8), 0)
    write_box(array, cpu, (0, 0, 0), data)
    path = array.path / "0.0.0"
    encoded = path.read_bytes()
    table = np.frombuffer(encoded[-128:], np.int64).reshape(2, 8).copy()
    table[1, 7] += change
    path.write_bytes(encoded[:-128] + bytes(4000) + table.tobytes())
    out = np.zeros((1, 10, 6, 8), np.uint16)  # in which chunks are placed as they lie in the file
    with pytest.raises(ShardIndexError, match=rf"{path}: .*length"):
        read_box(array, engine, (0, 0, 0), (10, 6, 8), out=out)
    with pytest.raises(ChunkError, match=rf"{path}: chunk 7 .*damaged"):
        write_box(array, engine, (1, 1, 1), np.asfortranarray(data[:, 1:9, 1:5, 1:7]))


def test_comparisons(make, cpu):
    arrays = [make(codecs) for codecs in PIPELINES]
    data = noise(arrays[0].spec, (10, 6, 8), 0)
    for array in arrays:
        write_box(array, cpu, (0, 0, 0), data)
    boxes = ((0, 0, 0), (0, 0, 0))
    for one, other in itertools.product(arrays[:5], arrays):
        assert boxes_are_equal(one, other, cpu, boxes, (10, 9, 8))
    changed = make((ZLIB, LZ4))
    write_box(changed, cpu, (0, 0, 0), data ^ (np.arange(10)[:, None, None] == 9).astype(np.uint16))
    assert not any(boxes_are_equal(array, changed, cpu, boxes, (10, 9, 8)) for array in arrays)


def test_descriptions():
    register_codec(ZLIB)
    assert codec_named("zlib") == ZLIB
    assert codec_named("zlib", level=9) != ZLIB
    with pytest.raises(UnsupportedError, match="'lzma' is unknown"):
        codec_named("lzma")
    with pytest.raises(UnsupportedError, match=r"has the parameters \['level'\], not \['speed'\]"):
        codec_named("zlib", speed=9)


# ---- What is not stored


def stored_chunks(array, shard=(0, 0, 0)):
    return [number for number, chunk in enumerate(array.encoded(shard)) if chunk]


@pytest.mark.parametrize("absent", [AbsentChunks.OMITTED, AbsentChunks.ENCODED])
@pytest.mark.parametrize("codecs", [(), (LZ4,), (ZLIB,)])
def test_absent_chunks(make, engine, codecs, absent):
    array = make(codecs, absent=absent, fill_value=7)
    write_box(array, engine, (0, 0, 0), noise(array.spec, (1, 1, 1), 0) + 1)
    assert stored_chunks(array) == ([0] if absent is AbsentChunks.OMITTED else list(range(8)))
    before = array.encoded()
    array.shuffle()
    write_box(array, engine, (9, 5, 7), noise(array.spec, (1, 1, 1), 0))
    assert stored_chunks(array) == ([0, 7] if absent is AbsentChunks.OMITTED else list(range(8)))
    assert array.encoded()[:7] == before[:7]
    assert read_box(array, engine, (0, 0, 0), (10, 6, 8))[0, 5, 0, 0] == 7


def test_chunks_that_become_the_fill_value_are_dropped(make, engine):
    array = make((LZ4,), fill_value=7)
    write_box(array, engine, (0, 0, 0), np.full((1, 10, 6, 8), 9, np.uint16))
    write_box(array, engine, (0, 0, 0), np.full((1, 6, 6, 8), 7, np.uint16))
    assert stored_chunks(array) == [4, 5, 6, 7]
    write_box(array, engine, (0, 0, 0), np.full((1, 10, 6, 8), 7, np.uint16))
    assert array.existing_shards() == []
    assert (read_box(array, engine, (0, 0, 0), (10, 6, 8)) == 7).all()


@pytest.mark.parametrize(
    ("dtype", "fill_value", "channels"),
    [
        ("uint8", 255, 3),
        ("uint16", 7, 1),
        ("int32", -2, 2),
        ("float32", np.nan, 1),
        ("float64", 0.1, 1),
        ("bool", 1, 1),
    ],
)
def test_fill_values(make, engine, dtype, fill_value, channels):
    for codecs in [(LZ4,), ()] if is_simulated(engine) else [(LZ4,), (), (ZLIB,)]:
        check_history(make(codecs, dtype, channels, fill_value=fill_value), engine)


def test_comparisons_with_what_is_absent(make, cpu):
    one, other, zero = make((LZ4,), fill_value=7), make((ZLIB,), fill_value=7), make((LZ4,))
    boxes = ((0, 0, 0), (0, 0, 0))
    write_box(one, cpu, (0, 0, 0), np.full((1, 3, 3, 3), 8, np.uint16))
    write_box(other, cpu, (0, 0, 0), np.full((1, 3, 3, 3), 8, np.uint16))
    write_box(other, cpu, (5, 0, 0), np.full((1, 5, 3, 4), 9, np.uint16))
    assert not boxes_are_equal(one, other, cpu, boxes, SHAPE)
    write_box(one, cpu, (5, 0, 0), np.full((1, 5, 3, 4), 9, np.uint16))
    assert boxes_are_equal(one, other, cpu, boxes, SHAPE)
    assert not boxes_are_equal(one, zero, cpu, ((0, 3, 0), (0, 3, 0)), (5, 3, 4))


def test_a_spec_is_known_by_the_bits_of_its_fill_value(make):
    spec = make(dtype="float32", fill_value=np.nan).spec
    assert spec == replace(spec, fill_value=float("nan"))
    assert replace(spec, fill_value=0.0) != replace(spec, fill_value=-0.0)


# ---- Byte order, and the order of axes


@pytest.mark.parametrize("codecs", [(), (LZ4,), (ZLIB, LZ4)])
@pytest.mark.parametrize(("dtype", "fill_value"), [(">u2", 7), (">f4", -1.5), (">i8", 1 << 40), (">c8", 1 + 2j)])
def test_byte_orders(make, engine, codecs, dtype, fill_value):
    array = make(codecs, dtype, 2, fill_value=fill_value)
    volume = check_history(array, engine)
    if not codecs:
        assert array.encoded((1, 1, 1))[0] == chunk_of(volume, (10, 6, 8), (2, 3, 1), array.spec)


def chunk_of(volume, corner, shape, spec):
    """The bytes of a chunk of which a part lies in a volume."""
    chunk = np.full((spec.num_channels, *spec.chunk_shape), spec.fill_value, spec.dtype)
    x, y, z = (slice(low, low + length) for low, length in zip(corner, shape, strict=True))
    chunk[:, : shape[0], : shape[1], : shape[2]] = volume[:, x, y, z]
    axes = [1 + axis for axis in spec.axis_order]
    return chunk.transpose([*axes[: spec.channel_position], 0, *axes[spec.channel_position :]]).tobytes(order="F")


@pytest.mark.parametrize("codecs", [(), (LZ4,)])
def test_channels_one_after_another(make, engine, codecs):
    array = make(codecs, "uint16", 3, channel_position=3, fill_value=3)
    volume = check_history(array, engine)
    if not codecs:
        assert array.encoded((1, 1, 1))[0] == chunk_of(volume, (10, 6, 8), (2, 3, 1), array.spec)


@pytest.mark.parametrize("axis_order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("channel_position", range(4))
def test_axis_orders(make, engine, axis_order, channel_position):
    """Chunks are stored in this order; the box is cut out of chunks, and old voxels stay."""
    array = make((), "uint8", 2, axis_order=axis_order, channel_position=channel_position, chunk=(2, 3, 4))
    volume = np.zeros((2, 4, 6, 8), np.uint8)
    for corner, shape in (((0, 0, 0), (3, 5, 7)), ((1, 2, 3), (3, 3, 4))):
        data = noise(array.spec, shape, sum(corner))
        write_box(array, engine, corner, data)
        x, y, z = (slice(low, low + length) for low, length in zip(corner, shape, strict=True))
        volume[:, x, y, z] = data
    chunks = np.ndindex(2, 2, 2)
    expected = [chunk_of(volume, np.multiply(chunk, (2, 3, 4)), (2, 3, 4), array.spec) for chunk in chunks]
    assert array.encoded() == expected
