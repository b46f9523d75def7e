"""Codecs of Zarr in arrays: several in one pipeline, damage, and what zarr-python has to decode."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import zarr
from arrays import read_box, write_box
from indexed_array import IndexedArray

from wkgpu.engines.cpu import codecs as cpu_codecs
from wkgpu.engines.cpu import zarr_codecs
from wkgpu.engines.cpu.codecs import kernel_pipelines
from wkgpu.errors import ChunkError, UnsupportedError
from wkgpu.kernels.cpu import pipeline
from wkgpu.operations.transfer import boxes_are_equal
from wkgpu.storage.codecs import BLOSC, CRC32C, GZIP, SIZED_LZ4, ZSTD, Codec, codec_named
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.store import Location

SHAPE = (13, 9, 20)


@pytest.fixture
def make(tmp_path):
    def make(codecs, dtype="uint16", name="array", **facts):
        spec = ArraySpec(np.dtype(dtype), 2, (5, 3, 7), (2, 2, 2), codecs, **facts)
        return IndexedArray.create(Location(LocalStore(tmp_path / name)), spec, AbsentChunks.OMITTED)

    return make


def voxels(dtype="uint16", shape=SHAPE):
    data = np.random.default_rng(0).integers(0, 9, (2, *shape)).astype(np.dtype(dtype).newbyteorder("="))
    return np.asfortranarray(data)


@pytest.mark.parametrize("dtype", ["uint8", ">u4", ">f8"])
@pytest.mark.parametrize(
    "codecs", [(ZSTD, CRC32C), (codec_named("blosc", shuffle="shuffle", typesize=4), GZIP, CRC32C)]
)
def test_chunks_of_odd_sizes_and_byte_orders(make, cpu, codecs, dtype):
    array, data = make(codecs, dtype), voxels(dtype)
    write_box(array, cpu, (0, 0, 0), data)
    np.testing.assert_array_equal(read_box(array, cpu, (0, 0, 0), SHAPE), data)
    write_box(array, cpu, (3, 1, 2), data[:, :4, :5, :6])
    data[:, 3:7, 1:6, 2:8] = data[:, :4, :5, :6].copy()
    np.testing.assert_array_equal(read_box(array, cpu, (2, 1, 1), (9, 7, 5)), data[:, 2:11, 1:8, 1:6])


def test_arrays_with_several_decoders_are_compared(make, cpu):
    """Each keeps what it has prepared in the working memory."""
    pipelines = [(ZSTD,), (codec_named("zstd", level=1),), (GZIP,), (ZSTD, ZSTD), (SIZED_LZ4, ZSTD, CRC32C)]
    arrays = [make(codecs, name=f"array-{number}") for number, codecs in enumerate(pipelines)]
    for array in arrays:
        write_box(array, cpu, (0, 0, 0), voxels())
    boxes = (0, 0, 0), (0, 0, 0)
    assert all(boxes_are_equal(one, other, cpu, boxes, SHAPE) for one in arrays for other in arrays)
    changed = voxels()
    changed[1, 12, 8, 19] += 1
    write_box(arrays[0], cpu, (0, 0, 0), changed)
    assert not any(boxes_are_equal(arrays[0], other, cpu, boxes, SHAPE) for other in arrays[1:])


def test_states_do_not_overlap():
    found = kernel_pipelines([(ZSTD, GZIP), (codec_named("zstd", level=9),), (ZSTD, ZSTD)], 1000, 0, str, encodes=True)
    decoders, encoders, begun = set(), set(), 0
    for row, codecs in zip(found.rows, found.codecs, strict=True):
        for step in row[pipeline.HEAD :].reshape(-1, pipeline.STEP)[: len(codecs)]:
            decoders.add((step[pipeline.DECODER_STATE], step[pipeline.DECODER_STATE] + step[pipeline.DECODER_BYTES]))
            encoders.add((step[pipeline.ENCODER_STATE], step[pipeline.ENCODER_STATE] + step[pipeline.ENCODER_BYTES]))
            begun += step[pipeline.BEGIN_DECODING] != 0
    assert begun == 1  # one context decodes all of zstd
    ranges = sorted(decoders | {part for part in encoders if part[0] < part[1]})
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(ranges))
    assert ranges[0][0] >= found.rows[0, pipeline.SECOND_BUFFER] * 2 > 0
    assert ranges[-1][1] <= found.nbytes


@pytest.mark.parametrize("codecs", [(ZSTD,), (GZIP,), (codec_named("numcodecs.zlib"),), (BLOSC, CRC32C), (CRC32C,)])
def test_damage_names_the_chunk(make, engine, cpu, codecs):
    array = make(codecs)
    write_box(array, cpu, (0, 0, 0), voxels(shape=(10, 6, 14)))
    path = array.path / "0.0.0"
    data = bytearray(path.read_bytes())
    data[8 + 30] ^= 255
    path.write_bytes(data)
    with pytest.raises(ChunkError, match=rf"{path}: .*damaged"):
        read_box(array, engine, (0, 0, 0), (10, 6, 14))
    with pytest.raises(ChunkError, match=rf"{path}: .*damaged"):
        write_box(array, cpu, (1, 1, 1), voxels(shape=(8, 4, 8)))


# ---- What zarr-python decodes

CHAIN = [
    {"name": "transpose", "configuration": {"order": [2, 0, 3, 1]}},
    {"name": "bytes", "configuration": {"endian": "big"}},
    {"name": "gzip", "configuration": {"level": 1}},
    {"name": "crc32c"},
]


def bound(nbytes):
    return nbytes + 1000


def chain(codecs=CHAIN, dtype="uint16", shape="7,3,5,2"):
    return Codec(
        "zarr", bound, (("codecs", json.dumps(codecs)), ("dtype", dtype), ("shape", shape), ("fill_value", "0"))
    )


@pytest.fixture(autouse=True)
def unsaid():
    """Implementations are made, and warnings are given, as in a new process."""
    for function in (zarr_codecs._say_once, cpu_codecs._kernel_pipelines, cpu_codecs._implementation):
        function.cache_clear()


def test_zarr_python_decodes_what_it_has_encoded(make, engine, caplog):
    array, data = make((chain(),)), voxels()
    data[:, :5, :3, 7:14] = 0
    with caplog.at_level(logging.WARNING, "wkgpu"):
        write_box(array, engine, (0, 0, 0), data)
        np.testing.assert_array_equal(read_box(array, engine, (0, 0, 0), SHAPE), data)
        np.testing.assert_array_equal(read_box(array, engine, (1, 2, 3), (9, 5, 3)), data[:, 1:10, 2:7, 3:6])
    assert len([text for text in caplog.messages if "transpose, bytes, gzip, crc32c are decoded" in text]) == 1
    files = {"c/0/0/0/0": zarr.buffer.cpu.Buffer.from_bytes(array.encoded((0, 0, 0))[0])}
    transposition, serializer, *compressors = CHAIN
    stored = zarr.create_array(
        zarr.storage.MemoryStore(files), shape=(7, 3, 5, 2), chunks=(7, 3, 5, 2), dtype="uint16",
        filters=[transposition], serializer=serializer, compressors=compressors,
    )  # fmt: skip
    np.testing.assert_array_equal(stored[...], data[:, :5, :3, :7].transpose(3, 2, 1, 0))


def test_chunks_of_the_fill_value_are_encoded(make, cpu):
    array = make((chain(),), fill_value=5)
    write_box(array, cpu, (0, 0, 0), np.zeros((2, 5, 3, 7), np.uint16))
    assert array.encoded()[0]
    assert (read_box(array, cpu, (0, 0, 0), (5, 3, 7)) == 0).all()


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:20] + b"?" + data[21:]])
def test_an_exception_of_zarr_python_is_a_damaged_chunk(make, cpu, caplog, change):
    array = make((chain(),))
    write_box(array, cpu, (0, 0, 0), voxels(shape=(10, 6, 14)))
    encoded = array.encoded()
    path = array.path / "0.0.0"
    data = path.read_bytes()
    path.write_bytes(data.replace(encoded[7], change(encoded[7]).ljust(len(encoded[7]), b"!")))
    with pytest.raises(ChunkError, match=rf"{path}: .*damaged: zarr cannot decode"), caplog.at_level(30, "wkgpu"):
        read_box(array, cpu, (0, 0, 0), (10, 6, 14))
    assert any("zarr-python has not decoded a chunk: ValueError" in text for text in caplog.messages)


def test_a_chain_of_another_shape_is_damage(make, cpu):
    array, other = make((chain(),)), make((chain(shape="7,3,5,1"),), name="other")
    write_box(array, cpu, (0, 0, 0), voxels())
    (other.path / "0.0.0").write_bytes((array.path / "0.0.0").read_bytes())
    with pytest.raises(ChunkError):
        read_box(other, cpu, (0, 0, 0), (5, 3, 7))
    with pytest.raises(ChunkError, match="cannot be encoded"):
        write_box(other, cpu, (10, 0, 0), voxels())


def test_codecs_that_zarr_python_lacks_are_loud(make, cpu):
    unknown = chain([CHAIN[1], {"name": "unheard-of", "configuration": {}}])
    with pytest.raises(UnsupportedError, match="bytes, unheard-of are unknown to wkgpu, and zarr-python cannot"):
        write_box(make((unknown,)), cpu, (0, 0, 0), voxels())


# ---- What is imported, and compiled

USE = """
import sys
import numpy as np
from pathlib import Path
from indexed_array import IndexedArray
from numba.core import ccallback
from wkgpu.engines import get_engine
from wkgpu.operations.transfer import read_box, write_box
from wkgpu.storage import codecs
from wkgpu.storage.spec import AbsentChunks, ArraySpec
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.store import Location

compiled = []
found = ccallback.CFunc._compile_uncached
ccallback.CFunc._compile_uncached = lambda function: compiled.append(function) or found(function)

def use(*pipeline):
    folder = Path(sys.argv[1]) / codecs.word_of(pipeline)
    array = IndexedArray.create(
        Location(LocalStore(folder)), ArraySpec(np.dtype("uint8"), 1, (8, 8, 8), (2, 2, 2), pipeline)
    )
    write_box(array, get_engine("cpu"), (0, 0, 0), np.ones((1, 16, 16, 16), np.uint8))
    assert read_box(array, get_engine("cpu"), (0, 0, 0), (16, 16, 16)).all()

use(codecs.LZ4)
late = "numcodecs", "deflate", "zarr", "google_crc32c"
late_kernels = "zstd", "blosc", "deflate", "sized_lz4", "crc32c"
print([name for name in (*late, *(f"wkgpu.kernels.cpu.{name}" for name in late_kernels)) if name in sys.modules])
use(codecs.ZSTD, codecs.CRC32C)
use(codecs.BLOSC, codecs.GZIP)
use(codecs.SIZED_LZ4, codecs.ZLIB)
print([name for name in late if name in sys.modules])
print(len(compiled))
"""


def test_libraries_are_loaded_when_they_are_used_and_compiled_once_on_a_machine(run_python, tmp_path):
    for number in range(2):
        found = run_python(USE, tmp_path / str(number), PYTHONPATH=str(Path(__file__).parents[1]))
    assert found.splitlines() == ["[]", "[]", "0"]
