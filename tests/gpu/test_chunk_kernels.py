"""The kernels of ``frames.cu`` and ``blosc.cu`` on a GPU, on batches as large as real ones."""

import gzip
import zlib

import google_crc32c
import numpy as np
import pytest
import reference_codecs
from numcodecs.zstd import Zstd

from wkgpu.kernels.failures import MALFORMED, OK
from wkgpu.storage.codecs import codec_named

pytestmark = pytest.mark.gpu
CRC32, CRC32C = 0xEDB88320, 0x82F63B78
random = np.random.default_rng(4)


def xxh64(content):
    return int.from_bytes(Zstd(1, checksum=True).encode(content)[-4:], "little")


class Batch:
    """Chunks in the memory of a GPU, and columns that describe them."""

    def __init__(self, gpu, contents, misfits=None):
        self.gpu, self.xp, self.count = gpu, gpu.xp, len(contents)
        lengths = np.array([len(content) for content in contents], np.int64)
        rooms = -(-lengths // 64) * 64 + 64
        self.begins = rooms.cumsum() - rooms + (np.zeros(self.count, np.int64) if misfits is None else misfits)
        memory = np.zeros(int(rooms.sum()) + 64, np.uint8)
        for begin, content in zip(self.begins, contents, strict=True):
            memory[begin : begin + len(content)] = np.frombuffer(content, np.uint8)
        self.memory = self.xp.asarray(memory)
        self.addresses = self.xp.asarray(self.begins + self.memory.data.ptr)
        self.lengths = self.xp.asarray(lengths)

    def column(self, values, dtype=np.int64):
        return self.xp.asarray(np.array(values, dtype))

    def launch(self, name, *arguments, blocks=300, warps=1):
        numbers = [argument if isinstance(argument, int) else argument.data.ptr for argument in arguments]
        with self.gpu.device.active():
            self.xp.cuda.get_current_stream().synchronize()
            stream = self.gpu.device.new_stream()
            self.gpu.device.chunk_kernels.launch(stream, name, blocks, warps, *numbers)
            stream.record().wait()


@pytest.fixture
def contents():
    sizes = [*range(1, 300), *random.integers(300, 70_000, 300).tolist(), *[32**3] * 100, 1 << 20, (1 << 20) + 5]
    return [random.bytes(size) for size in sizes]


@pytest.mark.parametrize(
    ("kernel", "checksum", "more"),
    [
        ("xxh64_verify", xxh64, ()),
        ("crc32_verify", zlib.crc32, (CRC32,)),
        ("crc32_verify", google_crc32c.value, (CRC32C,)),
        ("adler32_verify", zlib.adler32, ()),
    ],
)
def test_checksums(gpu, contents, kernel, checksum, more):
    batch = Batch(gpu, contents, random.integers(0, 16, len(contents)))
    right = np.array([checksum(content) for content in contents], np.int64)
    for wrong in (0, 1):
        expected = right ^ (wrong << random.integers(0, 32, len(right)))
        statuses = batch.column([OK] * batch.count, np.int32)
        batch.launch(kernel, batch.addresses, batch.lengths, batch.column(expected), batch.count, *more, statuses)
        assert statuses.get().tolist() == [MALFORMED if wrong else OK] * batch.count


def test_frames_are_walked_and_sealed(gpu, contents):
    plain = [bytes(Zstd(3, checksum=False).encode(content)) for content in contents]
    batch, chunks = Batch(gpu, [frame + bytes(4) for frame in plain]), Batch(gpu, contents)
    lengths = batch.column([len(frame) for frame in plain])
    done = batch.column([0] * batch.count, np.int32)
    batch.launch(
        "zstd_seal", batch.addresses, lengths, chunks.addresses, chunks.lengths, 1 << 30, done, batch.count
    )  # fmt: skip
    memory, ends = batch.memory.get(), lengths.get()
    for begin, end, content in zip(batch.begins, ends, contents, strict=True):
        assert Zstd().decode(memory[begin : begin + end].tobytes()) == content
    statuses, expected = batch.column([OK] * batch.count, np.int32), batch.column([0] * batch.count)
    batch.launch(
        "zstd_walk", batch.addresses, lengths, chunks.lengths, batch.count, 1, batch.memory, 8, expected, statuses
    )  # fmt: skip
    assert not statuses.get().any()
    assert expected.get().tolist() == [xxh64(content) for content in contents]


@pytest.mark.parametrize("encode", [lambda data: gzip.compress(data, 6), zlib.compress])
def test_members_and_streams_are_walked(gpu, contents, encode):
    chunks = [encode(content) for content in contents]
    batch, is_zlib = Batch(gpu, chunks, random.integers(0, 16, len(chunks))), int(encode is zlib.compress)
    statuses, expected = batch.column([OK] * batch.count, np.int32), batch.column([0] * batch.count)
    sizes, aligned = batch.column([len(content) for content in contents]), Batch(gpu, chunks)
    batch.launch(
        "deflate_walk", batch.addresses, batch.lengths, sizes, batch.count, is_zlib, batch.memory, 8, expected, statuses
    )  # fmt: skip
    assert not statuses.get().any()
    checksum = zlib.adler32 if is_zlib else zlib.crc32
    assert expected.get().tolist() == [checksum(content) for content in contents]
    batch.launch("deflate_align", batch.addresses, batch.lengths, aligned.addresses, batch.count, statuses)
    memory, lengths = aligned.memory.get(), batch.lengths.get()
    for begin, length, content in zip(aligned.begins, lengths, contents, strict=True):
        assert zlib.decompress(memory[begin : begin + length].tobytes(), -15) == content


@pytest.mark.parametrize("shuffle", ["noshuffle", "shuffle", "bitshuffle"])
@pytest.mark.parametrize("typesize", [1, 2, 4, 8])
@pytest.mark.parametrize("blocksize", [0, 4096, 32**3])
def test_chunks_of_blosc(gpu, shuffle, typesize, blocksize):
    codec = codec_named("blosc", cname="lz4", shuffle=shuffle, typesize=typesize, blocksize=blocksize)
    labels = np.repeat(random.integers(0, 1 << 7, 40_000), 9).astype(f"u{typesize}").tobytes()
    contents = [labels[at : at + 32**3] for at in range(0, 40 * 8192 * min(typesize, 4), 8192)]
    contents = [content for content in contents if len(content) == 32**3] + [random.bytes(32**3), labels[:5001]]
    batch = Batch(gpu, [reference_codecs.encode(codec, content) for content in contents])
    targets, shuffled = (Batch(gpu, [bytes(len(content)) for content in contents]) for _ in range(2))
    statuses = batch.column([OK] * batch.count, np.int32)
    columns = batch.addresses, batch.lengths, targets.addresses, shuffled.addresses, targets.lengths, batch.count, 4
    warps = gpu.device.chunk_kernels.warps_of_blosc
    batch.launch("blosc_decode", *columns, statuses, warps=warps)
    batch.launch("blosc_unshuffle", *columns, statuses, warps=warps)
    assert not statuses.get().any()
    memory = targets.memory.get()
    for begin, content in zip(targets.begins, contents, strict=True):
        assert memory[begin : begin + len(content)].tobytes() == content


def test_nvcomp_encodes_frames_that_libzstd_decodes(gpu):
    """With their size in the header: of others the CPU would have to decode what this GPU has written."""
    tissue = np.cumsum(random.integers(-3, 4, 40 * 32**3)).astype(np.uint8).tobytes()
    contents = [tissue[at : at + 32**3] for at in range(0, len(tissue), 32**3)] + [bytes(32**3), random.bytes(32**3)]
    codec = gpu.device.codec("zstd")
    room = codec.bound(32**3) + 4
    batch, frames = Batch(gpu, contents), Batch(gpu, [bytes(room)] * len(contents))
    lengths, statuses = batch.column([0] * batch.count), batch.column([77] * batch.count, np.int32)
    with gpu.device.active():
        temp, stream = gpu.device.memory(codec.encode_temp_bytes(batch.count, 32**3) + 8), gpu.device.new_stream()
        gpu.xp.cuda.get_current_stream().synchronize()
        codec.encode(
            stream, batch.addresses.data.ptr, batch.lengths.data.ptr, 32**3, batch.count, temp,
            frames.addresses.data.ptr, lengths.data.ptr, statuses.data.ptr,
        )  # fmt: skip
        stream.record().wait()
    assert not statuses.get().any()
    batch.launch("zstd_seal", frames.addresses, lengths, batch.addresses, batch.lengths, room, statuses, batch.count)
    memory, ends = frames.memory.get(), lengths.get()
    for begin, end, content in zip(frames.begins, ends, contents, strict=True):
        frame = memory[begin : begin + end].tobytes()
        assert Zstd().decode(frame) == content
        assert frame[4] >> 6 or frame[4] & 32, f"the header {frame[:8].hex()} has no size"
        assert frame[4] & 4, f"a frame that begins with {frame[:8].hex()} got no checksum"
