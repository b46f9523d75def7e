"""Chunks of Blosc with LZ4, decoded by `blosc.cu`, against c-blosc, which wrote them."""

import itertools

import numpy as np
import pytest
from numcodecs import blosc

from wkgpu.kernels.failures import MALFORMED, OK

from .chunk_kernels import Script

SHUFFLES = (blosc.NOSHUFFLE, blosc.SHUFFLE, blosc.BITSHUFFLE)
UNTOUCHED = b"\xee"


pytestmark = pytest.mark.usefixtures("chunk_program")


def content_of(kind, size, voxel):
    random = np.random.default_rng(size + voxel)
    if kind == "noise":
        return random.bytes(size)
    runs = np.repeat(random.integers(0, 1 << min(8 * voxel - 1, 20), size // (voxel * 9) + 1), 9)
    return runs.astype(f"u{voxel}").tobytes().ljust(size, b"x")[:size]


def encode(content, cname=b"lz4", shuffle=blosc.NOSHUFFLE, typesize=1, blocksize=0, clevel=5):
    return bytes(blosc.compress(np.frombuffer(content, f"V{typesize}" if len(content) % typesize == 0 else "u1"),
                                cname, clevel, shuffle, blocksize, typesize))  # fmt: skip


def decoded(chunks, sizes, parts=3, may_shuffle=True, run="run_in_both_orders"):
    script = Script()
    count = len(chunks)
    sources = script.addresses([script.memory(chunk, 5 * number % 16, 16) for number, chunk in enumerate(chunks)])
    targets = [script.memory(UNTOUCHED * size, number % 4) for number, size in enumerate(sizes)]
    shuffled = [script.memory(UNTOUCHED * size, 0) for size in sizes]
    lengths, capacities = script.column([len(chunk) for chunk in chunks]), script.column(sizes)
    statuses = script.column([OK] * count, "int32")
    columns = sources, lengths, script.addresses(targets), script.addresses(shuffled) if may_shuffle else 0, capacities
    script.launch("blosc_decode", *columns, count, parts, statuses, blocks=2, warps=2)
    if may_shuffle:
        script.launch("blosc_unshuffle", *columns, count, parts, statuses, blocks=2, warps=2)
    found = getattr(script, run)()
    return np.frombuffer(found[statuses.number], np.int32).tolist(), [found[target.number] for target in targets]


def test_chunks_of_every_kind():
    chunks, contents = [], []
    kinds = itertools.product(("noise", "runs"), (b"lz4", b"lz4hc"), SHUFFLES, (1, 2, 4, 8), (0, 512, 1000, 4096))
    for number, (kind, cname, shuffle, voxel, blocksize) in enumerate(kinds):
        content = content_of(kind, [9000, 4096, 4099, 130, 7][number % 5] + voxel * (number % 3), voxel)
        chunks.append(encode(content, cname, shuffle, voxel, blocksize))
        contents.append(content)
    statuses, targets = decoded(chunks, list(map(len, contents)))
    assert statuses == [OK] * len(chunks)
    assert targets == contents
    headers = np.array([list(chunk[:16]) for chunk in chunks])
    assert len(set(headers[:, 2])) > 8  # flags: stored chunks, split blocks, both shuffles
    blocks = [
        len(content) / int.from_bytes(chunk[8:12], "little") for chunk, content in zip(chunks, contents, strict=True)
    ]
    assert max(blocks) > 4


def test_what_wkgpu_writes_is_one_stream():
    content = content_of("runs", 32**3, 1)
    chunk = encode(content, typesize=1, blocksize=32**3)
    assert len(chunk) < len(content)
    for parts in (1, 4):
        assert decoded([chunk], [32**3], parts, may_shuffle=False) == ([OK], [content])


def test_chunks_of_other_kinds_are_left_to_the_host():
    content = content_of("runs", 5000, 4)
    others = [encode(content, cname) for cname in (b"blosclz", b"zlib", b"zstd")]
    of_3_bytes = [encode(b"abc" * 1666, shuffle=shuffle, typesize=3) for shuffle in SHUFFLES[1:]]
    statuses, targets = decoded([*others, *of_3_bytes, encode(content)], [5000] * 3 + [4998] * 2 + [5000])
    assert statuses == [MALFORMED] * 5 + [OK]
    assert targets == [*[UNTOUCHED * 5000] * 3, *[UNTOUCHED * 4998] * 2, content]
    shuffled = encode(content, shuffle=blosc.SHUFFLE, typesize=4)
    assert decoded([shuffled], [5000], may_shuffle=False)[0] == [MALFORMED]
    assert decoded([encode(content)] * 3, [4999, 5001, 5000])[0] == [MALFORMED, MALFORMED, OK]


def test_damaged_chunks_touch_nothing_but_their_own_memory():
    random = np.random.default_rng(2)
    intact = [
        encode(content_of("runs", 4000, voxel), shuffle=shuffle, typesize=voxel, blocksize=blocksize)
        for shuffle in SHUFFLES for voxel in (1, 4) for blocksize in (700, 4000)
    ]  # fmt: skip
    chunks = [chunk[:end] for chunk in intact for end in (0, 3, 15, 16, 19, 40, len(chunk) - 1)]
    for chunk in intact * 20:
        damaged = bytearray(chunk)
        for place in random.integers(0, [40, len(chunk)][random.integers(2)], 3):
            damaged[place] = random.integers(256)
        chunks.append(bytes(damaged))
    statuses, targets = decoded(chunks, [4000] * len(chunks), run="run")
    assert statuses[: 7 * len(intact)] == [MALFORMED] * 7 * len(intact)
    assert 0.2 * len(chunks) < statuses.count(MALFORMED) < len(chunks)
    for chunk, status, target in zip(chunks, statuses, targets, strict=True):
        if status == OK:  # c-blosc takes it, too, and finds the same
            assert bytes(blosc.decompress(chunk)) == target
