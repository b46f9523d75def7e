"""The LZ4 kernels of CUDA, run by a C++ compiler, on chunks that are made for one purpose each.

The trial of damaged chunks is `faults/lz4_chunks.py`.
"""

import lz4.block
import numpy as np
import pytest

from wkgpu.kernels.failures import MALFORMED, OK, WRONG_LENGTH

from . import building, lz4_batches
from .lz4_batches import Chunk, Ended

UNTOUCHED = b"\xaa"


@pytest.fixture(params=building.WINDOWS)
def run(request):
    """Runs chunks under AddressSanitizer, with a size of the window."""
    try:
        program = building.program(request.param)
    except building.CannotBuildError as error:
        pytest.skip(str(error))

    def run_chunks(*chunks):
        (results,) = lz4_batches.run(program, [chunks], [1])
        assert not isinstance(results, Ended), results.reason
        assert [result.faults for result in results] == [0] * len(chunks)
        return results

    return run_chunks


def compressed(content):
    return lz4.block.compress(content, store_size=False)


def test_numbers_that_no_chunk_has_are_refused_before_anything_is_touched(run):
    encoded = compressed(bytes(100))
    lengths = [0, -1, -(1 << 63), 100 + 17, 1 << 31, 1 << 32, (1 << 32) + len(encoded), (1 << 63) - 1]
    capacities = [0, -1, -100, 0x7E000001, 1 << 31, (1 << 32) + 100, 1 << 62, -(1 << 63)]
    chunks = [Chunk(encoded, 100, 100, length=length) for length in lengths]
    chunks += [Chunk(encoded, capacity, capacity, room=100) for capacity in capacities]
    for result in run(*chunks):
        assert (result.status, result.decoded) == (result.check_status, result.check_decoded) == (MALFORMED, 0)
        assert result.target == UNTOUCHED * 100


def test_a_length_above_all_integers_is_refused(run):
    """9 million bytes that say 255: UndefinedBehaviorSanitizer sees the sum that does not fit 32 bits."""
    size = 9_000_000
    endless = b"\xff" * size
    for encoded in (endless, b"\x1f\x00\x01\x00" + endless):
        (result,) = run(Chunk(encoded, size, size))
        assert result.status == result.check_status == MALFORMED


def test_what_is_behind_the_wanted_bytes_is_neither_decoded_nor_checked(run):
    literals = np.random.default_rng(1).bytes(1000)
    noise = compressed(literals)
    zeros = compressed(bytes(1000))
    mixed = compressed(literals + bytes(1000))
    damaged = mixed + b"\xff" * 4
    chunks = [Chunk(noise, 1000, wanted) for wanted in (1, 500, 999, 1000)]
    chunks += [Chunk(damaged, 2000, wanted) for wanted in (1000, 2000)]
    chunks += [Chunk(zeros, 1000, wanted) for wanted in (-5, 0, 1, 2000)]
    results = run(*chunks)
    for chunk, result in zip(chunks[:4], results, strict=False):
        assert (result.status, result.decoded) == (OK, chunk.wanted)
        assert result.target == literals[: chunk.wanted] + UNTOUCHED * (1000 - chunk.wanted)
    assert (results[4].status, results[4].target[:1000], results[5].status) == (OK, literals, MALFORMED)
    assert [result.status for result in results[6:]] == [OK] * 4
    assert results[9].target == bytes(1000)


def test_a_chunk_of_fewer_bytes_is_too_short(run):
    encoded = compressed(bytes(100))
    whole, part, less = run(Chunk(encoded, 120, 120), Chunk(encoded, 120, 100), Chunk(encoded, 120, 101))
    assert (whole.status, whole.decoded, whole.check_status, whole.check_decoded) == (WRONG_LENGTH, 100) * 2
    assert (part.status, part.decoded) == (OK, 100)
    assert (less.status, less.decoded) == (WRONG_LENGTH, 100)


def test_the_library_runs_the_kernels_in_this_process():
    try:
        library = building.load_library(WARPS=4)
    except building.CannotBuildError as error:
        pytest.skip(str(error))
    contents = [np.random.default_rng(seed).integers(0, 4, 30_000).astype(np.uint8) for seed in range(7)]
    encoded = [np.frombuffer(compressed(content.tobytes()), np.uint8) for content in contents]
    encoded[3] = encoded[3][:500]
    count, size = len(contents), 30_000
    targets = np.zeros((count, size), np.uint8)
    sources = np.array([chunk.ctypes.data for chunk in encoded], np.uint64)
    lengths = np.array([len(chunk) for chunk in encoded], np.int64)
    addresses = np.array([target.ctypes.data for target in targets], np.uint64)
    sizes = np.full(count, size, np.int64)
    statuses, decoded = np.full(count, -1, np.int32), np.full(count, -1, np.int64)
    found = np.zeros(count, np.int32)
    expected = [OK, OK, OK, MALFORMED, OK, OK, OK]

    columns = (array.ctypes.data for array in (sources, lengths, addresses, sizes, sizes))
    library.run_lz4_decode(*columns, count, statuses.ctypes.data, decoded.ctypes.data)
    assert statuses.tolist() == expected
    assert [n for n in range(count) if (targets[n] != contents[n]).any()] == [3]

    statuses[:], zeros = -1, np.frombuffer(compressed(bytes(size)), np.uint8)
    columns = (array.ctypes.data for array in (sources, lengths, sizes))
    library.run_lz4_check(*columns, count, zeros.ctypes.data, len(zeros), statuses.ctypes.data, decoded.ctypes.data)
    assert statuses.tolist() == expected
    assert (sources[3], lengths[3]) == (zeros.ctypes.data, len(zeros))

    found[5] = 11
    columns = (array.ctypes.data for array in (found, sizes, sizes))
    library.run_lz4_join(*columns, count, statuses.ctypes.data, decoded.ctypes.data)
    assert statuses.tolist() == [OK, OK, OK, MALFORMED, OK, MALFORMED, OK]
