"""The checksums of CUDA C, run by a C++ compiler, against those of the libraries that write them."""

import zlib

import google_crc32c
import numpy as np
import pytest
from numcodecs.zstd import Zstd

from wkgpu.kernels.failures import MALFORMED, OK

from .chunk_kernels import Script

CRC32, CRC32C = 0xEDB88320, 0x82F63B78
SIZES = [1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 63, 100, 124, 125, 126, 127, 128, 129, 131, 132, 255, 256, 300, 383]
SIZES += [1023, 1024, 1151, 1153, 2048, 5000, 9999]
NO_CHECKSUM = -1


def xxh64(content):
    """The lower half of XXH64, as libzstd puts it behind a frame."""
    return int.from_bytes(Zstd(level=1, checksum=True).encode(content)[-4:], "little")


KERNELS = {
    "xxh64_verify": (xxh64, ()),
    "crc32_verify": (zlib.crc32, (CRC32,)),
    "crc32c": (google_crc32c.value, (CRC32C,)),
    "adler32_verify": (zlib.adler32, ()),
}


pytestmark = pytest.mark.usefixtures("chunk_program")


def contents():
    random = np.random.default_rng(3)
    made = [random.bytes(size) for size in SIZES]
    return [*made, bytes(4000), b"\xff" * 20_000, random.bytes(33_000)]


def verified(kernel, chunks, expected, statuses, blocks):
    _, more = KERNELS[kernel]
    script = Script()
    misfits = [3 * number % 16 for number in range(len(chunks))]
    regions = [script.memory(chunk, misfit) for chunk, misfit in zip(chunks, misfits, strict=True)]
    sizes = script.column([len(chunk) for chunk in chunks])
    column = script.column(statuses, "int32")
    arguments = script.addresses(regions), sizes, script.column(expected), len(chunks), *more, column
    script.launch(kernel.replace("crc32c", "crc32_verify"), *arguments, blocks=blocks)
    return np.frombuffer(script.run_in_both_orders()[column.number], np.int32).tolist()


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_checksum_is_that_of_its_library(kernel):
    """Of every length about a step, at every place in a word; and one that is wrong in any bit is seen."""
    checksum, _ = KERNELS[kernel]
    chunks = contents()
    expected = [checksum(chunk) for chunk in chunks]
    wrong = [value ^ 1 << number % 32 for number, value in enumerate(expected)]
    assert verified(kernel, chunks, expected, [OK] * len(chunks), 3) == [OK] * len(chunks)
    assert verified(kernel, chunks, wrong, [OK] * len(chunks), 50) == [MALFORMED] * len(chunks)


@pytest.mark.parametrize("kernel", KERNELS)
def test_chunks_that_are_refused_or_have_no_checksum_are_not_looked_at(kernel):
    """They would be seen: their addresses are no memory."""
    checksum, _ = KERNELS[kernel]
    chunks = [b"sound", b"", b"", b"wrong", b""]
    statuses = [OK, OK, 77, OK, 78]
    expected = [checksum(b"sound"), NO_CHECKSUM, 5, 6, NO_CHECKSUM]
    assert verified(kernel, chunks, expected, statuses, 1) == [OK, OK, 77, MALFORMED, 78]


def test_checksums_are_split_from_chunks_and_appended_to_them():
    chunks = [chunk for chunk in contents() if len(chunk) < 5000]
    whole = [chunk + google_crc32c.value(chunk).to_bytes(4, "little") for chunk in chunks]
    short = [b"", b"1", b"1234"]
    script = Script()
    regions = [script.memory(chunk, number % 16) for number, chunk in enumerate(whole + short)]
    lengths = script.column([len(chunk) for chunk in whole + short])
    expected, statuses = script.column([7] * len(regions)), script.column([7] * len(regions), "int32")
    script.launch("checksum_split", script.addresses(regions), lengths, len(regions), expected, statuses)
    grown = [script.memory(chunk + bytes(4), number % 16) for number, chunk in enumerate(chunks)]
    sizes = script.column([len(chunk) for chunk in chunks[:-1]] + [0])
    room, encoded = max(map(len, chunks)) + 4, script.column([0] * len(grown), "int32")
    script.launch("crc32_append", script.addresses(grown), sizes, room, encoded, len(grown), CRC32C, blocks=2)
    refused = script.column([5000, -3, 1 << 40])
    failed = script.column([12, 0, 0], "int32")
    script.launch("crc32_append", script.column([0] * 3), refused, 6000, failed, 3, CRC32C)
    found = script.run_in_both_orders()
    numbers = [
        np.frombuffer(found[column.number], kind) for column, kind in ((lengths, np.int64), (expected, np.int64))
    ]
    assert numbers[0].tolist() == [len(chunk) for chunk in chunks + short]
    assert numbers[1].tolist() == [*map(google_crc32c.value, chunks), *[NO_CHECKSUM] * 3]
    assert np.frombuffer(found[statuses.number], np.int32).tolist() == [OK] * len(chunks) + [MALFORMED] * 3
    assert [found[region.number] for region in grown[:-1]] == whole[:-1]
    assert found[grown[-1].number] == chunks[-1] + bytes(4)  # a chunk that was dropped gets none
    assert np.frombuffer(found[refused.number], np.int64).tolist() == [5000, -3, 1 << 40]
    assert np.frombuffer(found[sizes.number], np.int64).tolist() == [*(len(chunk) for chunk in whole[:-1]), 0]
