"""Random damage to LZ4 chunks for the CUDA kernels: liblz4's verdicts and bytes, and no access beside a chunk.

``PYTHONPATH=tests python -m faults.lz4_chunks --count 20000 --seed 1`` prints how often each outcome came, and the
faults; the exit status is 1 if there were any. The kernels are compiled for the CPU. They run under AddressSanitizer in
a process of their own, with lanes in both orders and two sizes of the window.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from typing import NamedTuple

import lz4.block
import numpy as np
from cuda_shim import building, lz4_batches
from cuda_shim.lz4_batches import Chunk, Ended, Result

from wkgpu.kernels.failures import MALFORMED, OK, WRONG_LENGTH

from .processes import Outcomes, main

EDGES = (1, 4, 5, 11, 12, 13, 16, 17, 31, 33, 64, 100, 255, 300, 1000, 2000)
MAX_SIZE, LARGE_SIZE = 2000, 70_000  # of most chunks, and of one in `LARGE_SHARE`: more than the offset of a match
LARGE_SHARE, PART_SHARE, INTACT_SHARE, RESIZED_SHARE, ASSEMBLED_SHARE = 100, 4, 4, 8, 3
# Of assembled chunks: lengths at which a token or a way of copying ends, and those about liblz4's rules for the end
LITERALS, MATCHES = (0, 0, 1, 3, 4, 5, 14, 15, 16, 269, 270, 300), (4, 5, 18, 19, 20, 40, 128, 129, 273, 274, 500)
OFFSETS = (1, 2, 3, 4, 7, 8, 9, 16, 31, 32, 33, 64, 100, 128, 256)
END_LITERALS, END_MATCHES = (0, 1, 4, 9, 10, 11, 12, 13, 14, 14), (4, 4, 5, 6, 14, 15, 16, 17, 18, 19, 20)
LAUNCH = 8  # cases
BATCH = 1000  # cases in one process

_liblz4 = ctypes.CDLL(lz4.block._block.__file__)


class Verdict(NamedTuple):
    """What liblz4 says, and the bytes that it has decoded: a negative number where it refuses."""

    returned: int
    content: bytes


def why_skipped() -> str | None:
    """Why this trial cannot run here."""
    try:
        for window in building.WINDOWS:
            building.program(window)
    except building.CannotBuildError as error:
        return str(error)
    return None


def run(count: int, seed: int) -> Outcomes:
    """Decode and check damaged chunks, and count the outcomes.

    Returns
    -------
    dict
        Counts of "right" (still a valid chunk, decoded as by liblz4), "refused", "too short" and "offset 0" (which
        liblz4 accepts); of chunks that are wanted in part, "part", "part of a damaged one" (the damage comes after it)
        and "part refused"; and of faults, whose names begin with "FAULT". Some cases have two chunks, one of them
        without damage.
    """
    outcomes: Counter[str] = Counter()
    for first in range(0, count, BATCH):
        outcomes += _run_batch(first, min(BATCH, count - first), seed)
    return dict(outcomes)


def work(first: int, count: int, seed: int) -> None:
    """Run the cases from ``first`` on, and print their outcomes."""
    for outcome, times in _run_batch(first, count, seed).items():
        print(f"{times:8}  {outcome}")


def _run_batch(first: int, count: int, seed: int) -> Counter[str]:
    numbers = list(range(first, first + count))
    launches = [numbers[at : at + LAUNCH] for at in range(0, count, LAUNCH)]
    made = [[case for number in launch for case in _cases(number, seed)] for launch in launches]
    chunks = [[chunk for _, chunk in cases] for cases in made]
    blocks = [1 + launch[0] // LAUNCH % 5 for launch in launches]
    outcomes: Counter[str] = Counter()
    found = [lz4_batches.run(building.program(window), chunks, blocks) for window in building.WINDOWS]
    for launch, cases, results in zip(launches, made, zip(*found, strict=True), strict=True):
        where = f"cases {launch[0]} to {launch[-1]} of seed {seed}"
        ended = [result for result in results if isinstance(result, Ended)]
        if ended:
            outcomes[f"FAULT {ended[0].reason} in {where}"] += 1
            continue
        for (name, chunk), *of_windows in zip(cases, *results, strict=True):
            outcome = _outcome(chunk, of_windows[0])
            if any(other != of_windows[0] for other in of_windows):
                outcome = "FAULT depends on the size of the window"
            outcomes[f"{outcome} in {name} of seed {seed}" if outcome.startswith("FAULT") else outcome] += 1
    return outcomes


# ---- Making chunks


def _cases(number: int, seed: int) -> list[tuple[str, Chunk]]:
    """The chunks of a case: a damaged one, and in some cases also the one without damage."""
    random = np.random.default_rng([seed, number])
    if random.integers(ASSEMBLED_SHARE) == 0:
        encoded, size = _assembled(random)
        capacity = max(1, size + int(random.choice([0, 0, 0, 0, -1, 1, 2, 3])))
        damaged = encoded if random.integers(2) else _damaged(encoded, random)
        return [(f"case {number}", _chunk(damaged, capacity, random))]
    size = _size(random)
    content = _content(size, random)
    mode = str(random.choice(["default", "high_compression"]))
    encoded = lz4.block.compress(content, store_size=False, mode=mode)
    capacity = size
    if random.integers(RESIZED_SHARE) == 0:
        capacity = max(1, size + int(random.integers(-20, 20)))
    cases = [(f"case {number}", _chunk(_damaged(encoded, random), capacity, random))]
    if random.integers(INTACT_SHARE) == 0:
        cases.append((f"case {number}, intact", _chunk(encoded, size, random)))
    return cases


def _chunk(encoded: bytes, capacity: int, random: np.random.Generator) -> Chunk:
    wanted = int(random.integers(1, capacity + 1)) if random.integers(PART_SHARE) == 0 else capacity
    misfits = int(random.integers(16)), int(random.integers(16))
    found = [(0, capacity), (0, capacity), (0, capacity - 1), (11, capacity), (12, 1 << 40)][random.integers(5)]
    return Chunk(encoded, capacity, wanted, misfits, found)


def _size(random: np.random.Generator) -> int:
    if random.integers(LARGE_SHARE) == 0:
        return LARGE_SIZE
    return int(random.choice(EDGES)) if random.integers(2) else int(random.integers(1, MAX_SIZE + 1))


def _content(size: int, random: np.random.Generator) -> bytes:
    """Noise, zeros, few values, labels in runs, or a pattern that repeats."""
    kind = random.integers(5)
    if kind == 0:
        return random.bytes(size)
    if kind == 1:
        return bytes(size)
    if kind == 2:
        return random.integers(0, 4, size).astype(np.uint8).tobytes()
    if kind == 3:
        items = size // 4 + 1
        labels = np.repeat(random.integers(0, 9, items).astype(np.uint32), random.integers(1, 9, items))
        return labels.tobytes()[:size]
    pattern = random.bytes(int(random.integers(1, random.choice([9, 200, size + 1]) + 1)))
    return (pattern * (size // len(pattern) + 1))[:size]


def _assembled(random: np.random.Generator) -> tuple[bytes, int]:
    """Sequences as no encoder makes them, sound or almost, and how many bytes they decode to."""
    encoded, size = bytearray(), 0
    count = int(random.integers(0, 7))
    for left in reversed(range(count)):
        literals = int(random.choice(LITERALS)) if random.integers(2) else int(random.integers(100))
        match, offset = int(random.choice(MATCHES)), int(random.choice(OFFSETS))
        if left == 0 and random.integers(4):
            literals, match = int(random.choice(END_LITERALS)), int(random.choice(END_MATCHES))
            offset = int(random.integers(6, 10))
        size += literals
        if random.integers(3) == 0:
            offset = int(random.integers(1, max(size, 2)))
        if random.integers(30):
            offset = max(min(offset, size), 1)  # else perhaps too far
        if random.integers(60) == 0:
            offset = 0
        encoded += _literals(literals, min(match - 4, 15), random)
        encoded += offset.to_bytes(2, "little") + _further_bytes(match - 4)
        size += match
    last = int(random.integers(0, 17))
    return bytes(encoded + _literals(last, 0, random)), size + last


def _literals(count: int, nibble: int, random: np.random.Generator) -> bytes:
    """A token, with the length of a match as its lower half, and literals."""
    return bytes([min(count, 15) << 4 | nibble]) + _further_bytes(count) + random.bytes(count)


def _further_bytes(length: int) -> bytes:
    return b"" if length < 15 else b"\xff" * ((length - 15) // 255) + bytes([(length - 15) % 255])


def _damaged(encoded: bytes, random: np.random.Generator) -> bytes:
    damaged, at = bytearray(encoded), int(random.integers(len(encoded)))
    match random.integers(9):
        case 0 | 1:
            damaged[at] ^= 1 << int(random.integers(8))
        case 2:
            damaged = damaged[: max(at, 1)]
        case 3:
            damaged[at : at + 3] = random.bytes(3)
        case 4:
            damaged += random.bytes(int(random.integers(1, 9)))
        case 5:
            damaged = bytearray(b"\xff" * int(random.integers(1, 60)))
        case 6:
            damaged = bytearray(random.integers(0, 40, int(random.integers(1, 60))).astype(np.uint8).tobytes())
        case 7:
            damaged[at] = int(random.choice([0, 0x0F, 0xF0, 0xFF]))
        case 8:
            damaged[at : at + 2] = bytes(2)
    return bytes(damaged)


# ---- Judging results


def _outcome(chunk: Chunk, result: Result) -> str:
    for bit, name in lz4_batches.FAULTS.items():
        if result.faults & bit:
            return f"FAULT {name}"
    whole = decoded_by_liblz4(chunk.encoded, chunk.capacity, chunk.capacity)
    status, decoded = expected_of(chunk.encoded, chunk.capacity, whole)
    if result.check_status != status or (status != MALFORMED and result.check_decoded != decoded):
        return f"FAULT the check says {result.check_status}, {result.check_decoded}, not {status}, {decoded}"
    if (result.joined_status, result.joined_decoded) != _joined(chunk, result):
        return f"FAULT joined to {result.joined_status}, {result.joined_decoded}"
    if chunk.wanted < chunk.capacity:
        return _outcome_of_part(chunk, result, whole)
    if (result.status, result.decoded) != (result.check_status, result.check_decoded):
        return f"FAULT the decoder says {result.status}, {result.decoded}, not {status}, {result.check_decoded}"
    if status == MALFORMED:
        return "offset 0" if whole.returned >= 0 else "refused"
    if result.target[:decoded] != whole.content:
        return "FAULT other bytes than liblz4's"
    return "right" if status == OK else "too short"


def _outcome_of_part(chunk: Chunk, result: Result, whole: Verdict) -> str:
    if result.status != OK:
        if result.check_status == OK:
            return f"FAULT a part of a sound chunk has status {result.status}"
        if result.status == WRONG_LENGTH and (result.check_status != WRONG_LENGTH or whole.returned >= chunk.wanted):
            return "FAULT a part is too short, and the chunk is not"
        return "part refused"
    part = decoded_by_liblz4(chunk.encoded, chunk.capacity, chunk.wanted)
    if not chunk.wanted <= result.decoded <= chunk.capacity or part.returned < chunk.wanted:
        return f"FAULT of {chunk.wanted} bytes {result.decoded} are decoded, {part.returned} by liblz4"
    if result.target[: chunk.wanted] != part.content[: chunk.wanted]:
        return "FAULT a part has other bytes than liblz4's"
    return "part" if result.check_status == OK else "part of a damaged one"


def decoded_by_liblz4(encoded: bytes, capacity: int, wanted: int) -> Verdict:
    """Decode by ``LZ4_decompress_safe``, or ``LZ4_decompress_safe_partial`` where less is wanted."""
    target = ctypes.create_string_buffer(capacity)
    if wanted == capacity:
        returned = _liblz4.LZ4_decompress_safe(encoded, target, len(encoded), capacity)
    else:
        returned = _liblz4.LZ4_decompress_safe_partial(encoded, target, len(encoded), wanted, capacity)
    return Verdict(returned, target.raw[: max(returned, 0)])


def expected_of(encoded: bytes, capacity: int, whole: Verdict) -> tuple[int, int]:
    """The status and the number of decoded bytes of a chunk; the latter means nothing if it is MALFORMED."""
    if whole.returned < 0 or has_offset_0(encoded):
        return MALFORMED, 0
    return OK if whole.returned == capacity else WRONG_LENGTH, whole.returned


def has_offset_0(encoded: bytes) -> bool:
    """Whether a match of a chunk that liblz4 accepts has the offset 0."""
    at = 0
    while at < len(encoded):
        token = encoded[at]
        literals, at = _length(encoded, token >> 4, at + 1)
        at += literals
        if at < len(encoded):
            if encoded[at] == encoded[at + 1] == 0:
                return True
            _, at = _length(encoded, token & 15, at + 2)
    return False


def _length(encoded: bytes, nibble: int, at: int) -> tuple[int, int]:
    """A length whose further bytes begin at ``at``, and where they end."""
    length, byte = nibble, 255
    while nibble == 15 and byte == 255:
        byte = encoded[at]
        length += byte
        at += 1
    return length, at


def _joined(chunk: Chunk, result: Result) -> tuple[int, int]:
    """The verdict of the check, and of the decoder that comes after it."""
    found_status, found_decoded = chunk.found
    if result.check_status != OK or (found_status, found_decoded) == (0, chunk.capacity):
        return result.check_status, result.check_decoded
    return MALFORMED, found_decoded if found_status == 0 else 0


if __name__ == "__main__":
    sys.exit(main(__doc__, run, work, 2000))
