"""What `frames.cu` lets through to nvCOMP: all that libraries write, and nothing that is damaged around its data."""

import gzip
import struct
import zlib
from functools import cache

import numpy as np
import pytest
from numcodecs.zstd import Zstd

from wkgpu.kernels.failures import MALFORMED, OK, UNCHECKED, WRONG_LENGTH

from .chunk_kernels import Region, Script

ZEROS, ZEROS_BYTES = 0x5A50, 77  # what a chunk that is refused gets; never read here
random = np.random.default_rng(8)


pytestmark = pytest.mark.usefixtures("chunk_program")


@cache
def contents():
    """Chunks of which zstd makes each kind of block: raw, of one byte, with and without sequences, several of them."""
    random = np.random.default_rng(1)
    tissue = np.cumsum(random.integers(-3, 4, 140_000)).astype(np.uint8).tobytes()
    labels = np.repeat(random.integers(0, 9, 900), 37).astype(np.uint32).tobytes()
    skewed = random.choice(200, 33_000, p=np.arange(1, 201) / 20_100).astype(np.uint8).tobytes()
    made = [random.bytes(33_000), bytes(33_000), bytes(300_000), tissue, labels, skewed, random.bytes(140_000)]
    made += [tissue[:200] * 900, b"\x07", b"ab", b"abc" * 5, random.bytes(255), random.bytes(256), tissue[:70_000]]
    made += [bytes(140_000) + tissue, labels + random.bytes(150_000), random.bytes(130_000) + labels]
    return made


class Walk:
    """Chunks that a kernel walks over."""

    def __init__(self, kernel, chunks, sizes, flag, statuses=None):
        self.chunks = chunks
        self.script = script = Script()
        self.regions = [script.memory(chunk, number * 5 % 16, unit=1) for number, chunk in enumerate(chunks)]
        self.sources = script.addresses(self.regions)
        self.lengths = script.column([len(chunk) for chunk in chunks])
        self.expected = script.column([9] * len(chunks))
        self.statuses = script.column(statuses or [OK] * len(chunks), "int32")
        self.capacities = script.column(sizes)
        script.launch(
            kernel, self.sources, self.lengths, self.capacities, len(chunks), flag, ZEROS, ZEROS_BYTES, self.expected,
            self.statuses, blocks=2,
        )  # fmt: skip

    def run(self):
        self.found = self.script.run()
        return self.column(self.statuses, np.int32)

    def column(self, region, kind=np.int64):
        return np.frombuffer(self.found[region.number], kind).tolist()


def zstd_chunks():
    """Frames of libzstd of each level, with their sizes."""
    return [
        (Zstd(level, checksum=True).encode(content), len(content)) for content in contents() for level in (-5, 1, 5, 19)
    ]


def test_every_frame_of_libzstd_goes_to_nvcomp():
    chunks, sizes = zip(*zstd_chunks(), strict=True)
    walk = Walk("zstd_walk", chunks, sizes, 1)
    assert walk.run() == [OK] * len(chunks)
    assert walk.column(walk.expected) == [int.from_bytes(chunk[-4:], "little") for chunk in chunks]
    assert walk.column(walk.lengths) == [len(chunk) for chunk in chunks]
    kinds = {number & 6 for chunk, _ in zstd_chunks() for number in block_headers(chunk)}
    assert kinds == {0, 2, 4}  # the contents make each kind of block


def block_headers(frame):
    """The first bytes of the headers of the blocks of a frame in one segment."""
    at = 5 + (1 << (frame[4] >> 6))
    while True:
        header = int.from_bytes(frame[at : at + 3], "little")
        yield header & 255
        at += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
        if header & 1:
            return


def test_frames_without_a_checksum_go_to_nvcomp_only_where_none_is_needed():
    frames = [Zstd(3, checksum=False).encode(content) for content in contents()]
    sizes = [len(content) for content in contents()]
    assert Walk("zstd_walk", frames, sizes, 1).run() == [UNCHECKED] * len(frames)
    walk = Walk("zstd_walk", frames, sizes, 0)
    assert walk.run() == [OK] * len(frames)
    assert walk.column(walk.expected) == [-1] * len(frames)


def with_window(frame):
    """The same frame, but with the size of a window in its header."""
    return frame[:4] + bytes([frame[4] & ~32, 10 << 3]) + frame[5:]


def test_a_frame_is_all_of_a_chunk_and_says_its_size():
    content = contents()[3]
    frame, size = Zstd(5, checksum=True).encode(content), len(content)
    no_size = frame[:4] + bytes([frame[4] & 31, 10 << 3]) + frame[9:]
    skippable = struct.pack("<II", 0x184D2A50, 3) + b"abc"
    dictionary = frame[:4] + bytes([frame[4] | 1, 1]) + frame[5:]
    wide = with_window(frame)[:5] + bytes([18 << 3]) + with_window(frame)[6:]
    chunks = {
        frame: OK, with_window(frame): OK, no_size: MALFORMED, skippable + frame: MALFORMED,
        frame + skippable: MALFORMED,
        frame + frame: MALFORMED, dictionary: MALFORMED, wide: MALFORMED, b"": MALFORMED, frame[:5]: MALFORMED,
        frame[:4] + bytes([frame[4] | 8]) + frame[5:]: MALFORMED,
    }  # fmt: skip
    assert frame[4] & 0xE0 == 0xA0  # one segment, 4 bytes of size
    assert Walk("zstd_walk", list(chunks), [size] * len(chunks), 1).run() == list(chunks.values())
    assert Walk("zstd_walk", [frame] * 3, [size - 1, size, size + 1], 1).run() == [WRONG_LENGTH, OK, WRONG_LENGTH]


def test_what_was_refused_before_stays_so():
    frame = Zstd(5, checksum=True).encode(b"abc" * 50)
    walk = Walk("zstd_walk", [frame, b"", frame], [150] * 3, 1, [OK, MALFORMED, UNCHECKED])
    assert walk.run() == [OK, MALFORMED, UNCHECKED]
    assert walk.column(walk.lengths)[1:] == [ZEROS_BYTES] * 2
    assert walk.column(walk.sources)[1:] == [ZEROS] * 2
    assert walk.column(walk.expected)[1:] == [-1, -1]


@pytest.mark.parametrize("kernel", ["zstd_walk", "gzip", "zlib"])
def test_damage_of_headers_is_seen_and_nothing_beside_a_chunk_is_read(kernel):
    """Chunks that are cut, lengthened or have other bytes; AddressSanitizer looks at the reads."""
    content = contents()[4][:5000] + bytes(131_072) + contents()[0][:3000]
    encode, header_bytes = {
        "zstd_walk": (Zstd(5, checksum=True).encode, 9),
        "gzip": (lambda data: gzip.compress(data, 6, mtime=0), 4),
        "zlib": (zlib.compress, 2),
    }[kernel]
    intact, size = bytes(encode(content)), len(content)
    chunks = [intact[:end] for end in range(0, len(intact), 97)] + [intact + b"\0"]
    for _ in range(400):
        damaged = bytearray(intact)
        for place in random.integers(0, [40, len(intact)][random.integers(2)], random.integers(1, 4)):
            damaged[place] = random.integers(256)
        chunks.append(bytes(damaged))
    statuses = walk_of(kernel, chunks, [size] * len(chunks)).run()
    if (
        kernel == "zstd_walk"
    ):  # around data of zlib nothing says how long it is, and around that of gzip what it becomes
        assert OK not in statuses[: len(range(0, len(intact), 97)) + 1]
    changed = [chunk[:header_bytes] != intact[:header_bytes] for chunk in chunks]
    refused = [status != OK for status, differs in zip(statuses, changed, strict=True) if differs]
    assert sum(refused) > 0.9 * len(refused)


def walk_of(kernel, chunks, sizes):
    if kernel == "zstd_walk":
        return Walk(kernel, chunks, sizes, 1)
    return Walk("deflate_walk", chunks, sizes, int(kernel == "zlib"))


# ---- gzip and zlib


def gzip_member(content, flags=0, between=b"", level=6):
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    data = deflate.compress(content) + deflate.flush()
    head = b"\x1f\x8b\x08" + bytes([flags]) + b"\0\0\0\0\0\xff"
    return head + between + data + struct.pack("<II", zlib.crc32(content), len(content))


OPTIONAL = {
    4: struct.pack("<H", 5) + b"extra",
    8: b"name\0",
    16: b"comment\0",
    2: b"\x12\x34",
    31: struct.pack("<H", 2) + b"ex" + b"name\0" + b"\0" + b"\x12\x34",
}


def test_members_of_gzip_with_all_kinds_of_headers():
    members = [gzip_member(content, level=level) for content in contents() for level in (0, 1, 9)]
    sizes = [len(content) for content in contents() for _ in range(3)]
    members += [gzip_member(contents()[4], flags, between) for flags, between in OPTIONAL.items()]
    sizes += [len(contents()[4])] * len(OPTIONAL)
    assert [gzip.decompress(member) for member in members[-5:]] == [contents()[4]] * 5
    walk = Walk("deflate_walk", members, sizes, 0)
    assert walk.run() == [OK] * len(members)
    assert walk.column(walk.expected) == [struct.unpack("<I", member[-8:-4])[0] for member in members]
    for member, start, length, size in zip(members, offsets(walk), walk.column(walk.lengths), sizes, strict=True):
        assert len(zlib.decompress(member[start : start + length], -15)) == size


def offsets(walk):
    """Where the data of each chunk begins, in a chunk whose address no one knows: they are 4096 or more apart."""
    begins = walk.column(walk.sources)
    first = begins[0] - (10 if walk.chunks[0][:1] == b"\x1f" else 2)
    at, found = first, []
    for number, (chunk, begin) in enumerate(zip(walk.chunks, begins, strict=True)):
        found.append(begin - at)
        step = 4096 + (len(chunk) + 63) // 16 * 16
        at += step + (number + 1) * 5 % 16 - number * 5 % 16
    return found


def test_members_of_gzip_that_are_no_chunk():
    content = contents()[5]
    member, size = gzip_member(content), len(content)
    chunks = {
        member: OK, member + member: OK, gzip_member(b"") + member: OK, member + gzip_member(b"a"): WRONG_LENGTH,
        gzip_member(content, 32): MALFORMED, gzip_member(content, 8, b"a" * 5): OK, member[:12]: MALFORMED,
        gzip_member(content, 4, b"\xff\xff"): MALFORMED, b"\x1f\x8b\x07" + member[3:]: MALFORMED, b"": MALFORMED,
        member[:10] + b"\x07" + member[11:]: MALFORMED,
    }  # fmt: skip
    statuses = Walk("deflate_walk", list(chunks), [size] * len(chunks), 0).run()
    # Several members, of which the last has the right size, and a name that ends in the data: decoded, the CRC differs.
    assert [status for status, wanted in zip(statuses, chunks.values(), strict=True) if wanted != OK] == [
        wanted for wanted in chunks.values() if wanted != OK
    ]


def test_streams_of_zlib():
    streams = [zlib.compress(content, level) for content in contents() for level in (0, 1, 9)]
    sizes = [len(content) for content in contents() for _ in range(3)]
    walk = Walk("deflate_walk", streams, sizes, 1)
    assert walk.run() == [OK] * len(streams)
    assert walk.column(walk.expected) == [zlib.adler32(content) for content in contents() for _ in range(3)]
    assert walk.column(walk.lengths) == [len(stream) - 6 for stream in streams]
    stream = streams[0]
    bad = [b"\x79" + stream[1:], bytes([0x78, 0xBB]) + stream[2:], stream[:7], b"\x88" + stream[1:]]
    assert Walk("deflate_walk", bad, [sizes[0]] * 4, 1).run() == [MALFORMED] * 4


def test_stored_blocks_are_followed():
    content = contents()[0] * 5
    stored = zlib.compress(content, 0)
    first = 7 + int.from_bytes(stored[3:5], "little")
    damaged = [bytearray(stored) for _ in range(3)]
    damaged[0][first + 1] ^= 1  # the length of the second block
    damaged[1][first] |= 1  # the second block is the last one
    damaged[2][first] |= 6  # no kind of block
    statuses = Walk("deflate_walk", [stored, *map(bytes, damaged)], [len(content)] * 4, 1).run()
    assert statuses == [OK] + [MALFORMED] * 3
    assert Walk("deflate_walk", [stored], [len(content) + 1], 1).run() == [MALFORMED]


def test_deflate_data_comes_to_multiples_of_4():
    script = Script()
    chunks = [random.bytes(size) for size in (1, 2, 5, 63, 700, 4000)]
    regions = [script.memory(chunk, 3 * number % 16) for number, chunk in enumerate(chunks)]
    targets = [script.memory(b"\xee" * len(chunk), 4 * number % 16) for number, chunk in enumerate(chunks)]
    statuses = script.column([OK] * 5 + [MALFORMED], "int32")
    columns = script.addresses(regions), script.column([len(chunk) for chunk in chunks]), script.addresses(targets)
    script.launch("deflate_align", *columns, len(chunks), statuses, blocks=2)
    found = script.run_in_both_orders()
    assert [found[target.number] for target in targets] == [*chunks[:-1], b"\xee" * 4000]
    sources, aligned = (np.frombuffer(found[column.number], np.int64) for column in (columns[0], columns[2]))
    assert (sources[:-1] == aligned[:-1]).all()
    assert sources[-1] != aligned[-1]


# ---- Afterwards


def test_what_nvcomp_reports_is_joined():
    script = Script()
    statuses = script.column([OK, OK, OK, UNCHECKED], "int32")
    columns = script.column([0, 12, 0, 12], "int32"), script.column([5, 5, 6, 0]), script.column([5] * 4)
    script.launch("decoder_join", *columns, 4, statuses)
    found = np.frombuffer(script.run()[statuses.number], np.int32).tolist()
    assert found == [OK, MALFORMED, MALFORMED, UNCHECKED]


def test_the_size_before_an_lz4_block():
    script = Script()
    statuses = script.column([OK, OK, MALFORMED], "int32")
    chunks = [script.memory(struct.pack("<I", size) + b"...", 1) for size in (99, 98)]
    script.launch("sized_lz4_join", script.addresses([*chunks, Region(0)]), script.column([99] * 3), 3, statuses)
    assert np.frombuffer(script.run()[statuses.number], np.int32).tolist() == [OK, MALFORMED, MALFORMED]


def test_frames_get_the_checksum_that_libzstd_expects():
    """libzstd decodes them and compares; what is no such frame, or has been dropped, stays as it is."""
    script = Script()
    plain = [bytes(Zstd(3, checksum=False).encode(content)) for content in contents()]
    kept = [bytes(Zstd(3, checksum=True).encode(contents()[5])), b"no frame at all", plain[2], plain[3], plain[4]]
    of = [*contents(), contents()[5], contents()[1], *contents()[2:5]]
    frames = [script.memory(frame + bytes(4), 7 * number % 16) for number, frame in enumerate(plain + kept)]
    chunks = [script.memory(content, 8 * (number % 2)) for number, content in enumerate(of)]
    lengths = script.column([len(frame) for frame in plain + kept[:2]] + [0, len(plain[3]), 1 << 40])
    statuses = script.column([0] * (len(of) - 2) + [12, 0], "int32")  # of what was not encoded the length is anything
    sizes = script.column([len(content) for content in of])
    columns = script.addresses(frames), lengths, script.addresses(chunks), sizes, 400_000, statuses
    script.launch("zstd_seal", *columns, len(of), blocks=2)
    found = script.run_in_both_orders()
    lengths_found = np.frombuffer(found[lengths.number], np.int64).tolist()
    assert lengths_found == [*(len(frame) + 4 for frame in plain), *map(len, kept[:2]), 0, len(plain[3]), 1 << 40]
    for frame, length, content in zip(frames, lengths_found, contents(), strict=False):
        sealed = found[frame.number][:length]
        assert sealed[4] & 4
        assert Zstd().decode(sealed) == content
        assert sealed[-4:] == bytes(Zstd(1, checksum=True).encode(content))[-4:]
    assert [found[frame.number][:-4] for frame in frames[len(plain) :]] == kept
