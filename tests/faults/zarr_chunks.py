"""Random damage to chunks of Zarr's codecs for the CUDA kernels: c-blosc's bytes, and no access beside a chunk.

``PYTHONPATH=tests python -m faults zarr_chunks`` runs them. The kernels are compiled for the CPU and run under
AddressSanitizer in a process of their own. Of zstd, gzip and zlib they look at headers alone, so that damage behind
these passes them: what counts is that they touch nothing else, and that what they refuse is damaged.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np
from cuda_shim import building
from cuda_shim.chunk_kernels import Script
from numcodecs import blosc
from numcodecs.zstd import Zstd

from wkgpu.kernels.failures import OK

from .processes import Outcomes

LAUNCH = 400  # chunks
MAX_BYTES = 9000
HEAD = 40  # bytes that are damaged more often: headers, and tables of blocks
INTACT_SHARE = 8
_ZEROS = 0x5A50


def why_skipped() -> str | None:
    """Why this trial cannot run here."""
    try:
        building.chunk_kernels_program()
    except building.CannotBuildError as error:
        return str(error)
    return None


def run(count: int, seed: int) -> Outcomes:
    """Look at damaged chunks, half of them of Blosc, and count the outcomes.

    Returns
    -------
    dict
        Of Blosc "right" (decoded as by c-blosc) and "refused"; of the others "passed" and "refused"; "refused alone" of
        what another library decodes, as files with bytes behind a frame; and faults, which begin with "FAULT".
    """
    outcomes: Counter[str] = Counter()
    kinds: list[Callable[[np.random.Generator, int], Counter[str]]] = [_of_blosc, _of_zstd, _of_blosc, _of_deflate]
    for number, first in enumerate(range(0, count, LAUNCH)):
        random = np.random.default_rng([seed, number])
        try:
            outcomes += kinds[number % len(kinds)](random, min(LAUNCH, count - first))
        except AssertionError as error:
            outcomes[f"FAULT {str(error)[:2000]} in launch {number} of seed {seed}"] += 1
    return dict(outcomes)


def _content(random: np.random.Generator, voxel: int = 1) -> bytes:
    """Bytes that compress well, or not at all."""
    size = int(random.integers(1, MAX_BYTES))
    if random.random() < 0.3:
        return random.bytes(size)
    run = int(random.integers(2, 40))
    values = np.repeat(random.integers(0, 1 << min(8 * voxel - 1, 12), size // (voxel * run) + 1), run)
    return values.astype(f"u{voxel}").tobytes().ljust(size, b"x")[:size]


def _damaged(random: np.random.Generator, chunk: bytes) -> bytes:
    if random.random() < 1 / INTACT_SHARE:
        return chunk
    damaged, way = bytearray(chunk), int(random.integers(4))
    if way == 0:
        del damaged[int(random.integers(len(damaged))) :]
    elif way == 1:
        damaged[int(random.integers(len(damaged))) :] = random.bytes(int(random.integers(1, 50)))
    for _ in range(int(random.integers(1, 4))):
        place = int(random.integers([HEAD, len(chunk)][random.integers(2)]))
        if place < len(damaged):
            damaged[place] = random.integers(256)
    return bytes(damaged)


def _memory(script: Script, random: np.random.Generator, chunks: list[bytes], unit: int) -> list:
    return [script.memory(chunk, int(random.integers(16)), unit) for chunk in chunks]


# ---- Blosc


def _of_blosc(random: np.random.Generator, count: int) -> Counter[str]:
    chunks, sizes = [], []
    for _ in range(count):
        voxel = int(random.choice([1, 2, 4, 8]))
        content = _content(random, voxel)
        items = np.frombuffer(content, f"V{voxel}" if len(content) % voxel == 0 else "u1")
        cname, blocksize = [b"lz4", b"lz4hc"][random.integers(2)], int(random.choice([0, 200, 1000, 4096]))
        encoded = blosc.compress(items, cname, int(random.integers(1, 10)), int(random.integers(3)), blocksize, voxel)
        chunks.append(_damaged(random, bytes(encoded)))
        sizes.append(len(content))
    script = Script()
    targets = _memory(script, random, [bytes(size) for size in sizes], 4)
    shuffled = [script.memory(bytes(size)) for size in sizes]
    statuses = script.column([OK] * count, "int32")
    columns = (
        script.addresses(_memory(script, random, chunks, 16)), script.column([len(chunk) for chunk in chunks]),
        script.addresses(targets), script.addresses(shuffled), script.column(sizes),
    )  # fmt: skip
    parts = int(random.integers(1, 6))
    for kernel in ("blosc_decode", "blosc_unshuffle"):
        script.launch(kernel, *columns, count, parts, statuses, blocks=int(random.integers(1, 4)), warps=2)
    found = script.run(int(random.integers(2)))
    outcomes: Counter[str] = Counter()
    verdicts = np.frombuffer(found[statuses.number], np.int32)
    for chunk, status, target in zip(chunks, verdicts, targets, strict=True):
        content = _by_blosc(chunk)
        if status != OK:
            outcomes["refused" if content is None else "refused alone"] += 1
        else:
            outcomes["right" if content == found[target.number] else "FAULT decoded otherwise than by c-blosc"] += 1
    return outcomes


def _by_blosc(chunk: bytes) -> bytes | None:
    if len(chunk) < 16:
        return None
    size, length = (int.from_bytes(chunk[at : at + 4], "little") for at in (4, 12))
    if length > len(chunk) or size > MAX_BYTES:
        return None
    try:
        return bytes(blosc.decompress(chunk))
    except RuntimeError:
        return None


# ---- zstd, gzip and zlib


def _of_zstd(random: np.random.Generator, count: int) -> Counter[str]:
    def encode(content: bytes) -> bytes:
        return bytes(Zstd(int(random.integers(-3, 12)), checksum=bool(random.integers(4))).encode(content))

    return _walked(random, count, "zstd_walk", 0, encode, lambda chunk: bytes(Zstd().decode(chunk)))


def _of_deflate(random: np.random.Generator, count: int) -> Counter[str]:
    level = int(random.integers(0, 10))
    if random.random() < 0.5:
        return _walked(random, count, "deflate_walk", 1, lambda data: zlib.compress(data, level), zlib.decompress)
    return _walked(random, count, "deflate_walk", 0, lambda data: gzip.compress(data, level), gzip.decompress)


def _walked(
    random: np.random.Generator, count: int, kernel: str, flag: int, encode: Callable[[bytes], bytes],
    decode: Callable[[bytes], bytes],
) -> Counter[str]:  # fmt: skip
    contents = [_content(random) for _ in range(count)]
    intact = [encode(content) for content in contents]
    chunks = [_damaged(random, chunk) for chunk in intact]
    script = Script()
    statuses = script.column([OK] * count, "int32")
    columns = script.addresses(_memory(script, random, chunks, 1)), script.column([len(chunk) for chunk in chunks])
    sizes, expected = script.column([len(content) for content in contents]), script.column([0] * count)
    script.launch(kernel, *columns, sizes, count, flag, _ZEROS, 8, expected, statuses, blocks=2)
    verdicts = np.frombuffer(script.run()[statuses.number], np.int32)
    outcomes: Counter[str] = Counter()
    for content, before, chunk, status in zip(contents, intact, chunks, verdicts, strict=True):
        if status == OK:
            outcomes["passed"] += 1
        elif chunk == before:
            outcomes["FAULT a sound chunk is refused"] += 1
        else:
            outcomes["refused alone" if _is_content(decode, chunk, content) else "refused"] += 1
    return outcomes


def _is_content(decode: Callable[[bytes], bytes], chunk: bytes, content: bytes) -> bool:
    try:
        return decode(chunk) == content
    except (RuntimeError, OSError, EOFError, zlib.error, ValueError):
        return False
