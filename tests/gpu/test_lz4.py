"""The kernels of ``lz4.cu`` on a GPU: damaged chunks as in the trials on the CPU, with liblz4's verdicts and bytes."""

from collections import Counter

import numpy as np
import pytest
from cuda_shim.lz4_batches import Result
from faults import lz4_chunks

from wkgpu.engines.cuda.device import Columns

pytestmark = [pytest.mark.gpu, pytest.mark.own_process]

GUARD, CASES = 64, 2000
LAUNCH = 8  # chunks


def laid_out(lengths, misfits):
    """Where consecutive chunks begin, each so many bytes after a multiple of 16."""
    room = [-(-(length + misfit) // 16) * 16 + GUARD for length, misfit in zip(lengths, misfits, strict=True)]
    begins = np.cumsum([GUARD, *room])
    return begins[:-1] + np.array(misfits), int(begins[-1])


def places(columns, first):
    return [column.data.ptr + first * column.itemsize for column in columns]


def rows(columns, first, count, launch=LAUNCH):
    return Columns(*places(columns, first), min(launch, count - first))


def test_damaged_chunks_have_the_verdicts_and_bytes_of_liblz4(gpu, cupy):
    chunks = [chunk for number in range(CASES) for _, chunk in lz4_chunks._cases(number, 7)]
    count = len(chunks)
    sources, source_bytes = laid_out([len(chunk.encoded) for chunk in chunks], [chunk.misfits[0] for chunk in chunks])
    targets, target_bytes = laid_out([chunk.capacity for chunk in chunks], [chunk.misfits[1] for chunk in chunks])
    encoded = np.full(source_bytes, 0xEE, np.uint8)
    for begin, chunk in zip(sources, chunks, strict=True):
        encoded[begin : begin + len(chunk.encoded)] = np.frombuffer(chunk.encoded, np.uint8)
    source, target = cupy.asarray(encoded), cupy.asarray(np.full(target_bytes, 0xAA, np.uint8))
    numbers = [
        sources + source.data.ptr, [len(chunk.encoded) for chunk in chunks], targets + target.data.ptr,
        [chunk.capacity for chunk in chunks], [chunk.wanted for chunk in chunks],
    ]  # fmt: skip
    columns = [cupy.asarray(np.array(column, np.int64)) for column in numbers]
    zeros = cupy.zeros(16, np.uint8)
    found = [cupy.asarray(np.array([chunk.found[0] for chunk in chunks], np.int32))]
    found.append(cupy.asarray(np.array([chunk.found[1] for chunk in chunks], np.int64)))

    def results():
        return [cupy.asarray(np.full(count, 77, kind)) for kind in (np.int32, np.int64)]

    decoded, checked = results(), results()
    with gpu.device.active():
        lz4, stream = gpu.device.lz4, gpu.device.new_stream()
        cupy.cuda.get_current_stream().synchronize()
        for first in range(0, count, LAUNCH):
            lz4.decode(stream, rows(columns, first, count), *places(decoded, first))
            lz4.check(stream, rows(columns, first, count), zeros.data.ptr, 16, *places(checked, first))
        stream.record().wait()
        joined = [each.copy() for each in checked]
        cupy.cuda.get_current_stream().synchronize()
        lz4.join(stream, rows(columns, 0, count, count), *places([*found, *joined], 0))
        stream.record().wait()
    content = cupy.asnumpy(target)
    columns_of_results = [cupy.asnumpy(each).tolist() for each in (*decoded, *checked, *joined)]
    outcomes = Counter()
    inside = np.zeros(target_bytes, np.bool_)
    for begin, chunk, numbers in zip(targets, chunks, zip(*columns_of_results, strict=True), strict=True):
        inside[begin : begin + chunk.capacity] = True
        bytes_there = content[begin : begin + chunk.capacity].tobytes()
        outcomes[lz4_chunks._outcome(chunk, Result(*numbers, faults=0, target=bytes_there))] += 1
    assert {name: times for name, times in outcomes.items() if name.startswith("FAULT")} == {}
    assert set(outcomes) >= {"right", "refused", "too short", "part"}
    assert (content[~inside] == 0xAA).all(), "written beside a target"
    replaced = cupy.asnumpy(columns[0]) == zeros.data.ptr
    np.testing.assert_array_equal(replaced, cupy.asnumpy(checked[0]) != 0)
