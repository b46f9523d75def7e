"""The compiled kernels do as the plain Python ones, on addresses instead of arrays."""

import lz4.block
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from kernels.test_placement import copies, groups, patterns, placed, random_units
from wkgpu.kernels import failures
from wkgpu.kernels.bodies import overlap, placement
from wkgpu.kernels.bodies.workers import alone
from wkgpu.kernels.cpu import codec as cpu_codec
from wkgpu.kernels.cpu import intrinsics


def address(array):
    return array.__array_interface__["data"][0]


@njit
def place_group(source, start, count, stride, target, base, origin, geometry, streaming, buffer, joined):
    placement.place_group(
        alone(), source, start, count, stride, target, base, origin, geometry, streaming, buffer, joined
    )


@njit
def fill_group(count, target, base, origin, geometry, pattern):
    placement.fill_group(alone(), count, target, base, origin, geometry, pattern, 8)


@njit
def copy_box(source, start, target, at, extents, source_strides, target_strides, units):
    placement.copy_box(alone(), source, start, target, at, extents, source_strides, target_strides, units)


@njit
def copy_run(target, at, source, start, units, streaming):
    placement.copy_run(target, at, source, start, units, streaming, 0, 1)


@given(groups(), st.booleans(), st.sampled_from([0, 1, 8]))
def test_place_group(group, streaming, joined):
    (chunk_x, _, _), count, _, origin, voxel, *_ = group
    source, stride, geometry, base, output, expected, _ = placed(group)
    buffer = np.zeros(max(1, joined * count * chunk_x * voxel), np.uint8)
    place_group(
        address(source), 5, count, stride, address(output), base, origin, geometry, streaming,
        address(buffer), joined,
    )  # fmt: skip
    np.testing.assert_array_equal(output, expected)


@given(groups(), patterns)
def test_fill_group(group, pattern):
    _, count, _, origin, *_ = group
    _, _, geometry, base, output, _, _ = placed(group)
    expected = output.copy()
    placement.fill_group(alone(), count, expected, base, origin, geometry, pattern, 8)
    fill_group(count, address(output), base, origin, geometry, pattern)
    np.testing.assert_array_equal(output, expected)


@given(copies())
def test_copy_box(copy):
    extents, units, (source_strides, source_length), (target_strides, target_length) = copy
    source, target = random_units(3 + source_length), random_units(2 + target_length, 1)
    expected = target.copy()
    strides = source_strides, target_strides
    placement.copy_box(alone(), source, 3, expected, 2, extents, *strides, units)
    copy_box(address(source), 3, address(target), 2, extents, *strides, units)
    np.testing.assert_array_equal(target, expected)


@given(st.integers(0, 400), st.integers(0, 70), st.integers(0, 70), st.booleans())
def test_copy_run_of_any_length_and_address(units, at, start, streaming):
    source, target = random_units(500), random_units(500, 1)
    expected = target.copy()
    expected[at : at + units] = source[start : start + units]
    copy_run(address(target), at, address(source), start, units, streaming)
    np.testing.assert_array_equal(target, expected)


def test_what_gathering_answers():
    @njit
    def answers(corner, chunk, box):
        corners, chunks, boxes = (corner, corner, corner, corner), (chunk, chunk, chunk, chunk), (box, box, box, box)
        return (
            overlap.common_length(corner, chunk, box),
            overlap.is_covered(corners, chunks, boxes),
            overlap.common_begin(corners, (1, 6, 36, 216), (1, 4, 16, 64)),
        )

    for corner in (-3, 0, 2, 9):
        assert answers(corner, 4, 6) == answers.py_func(corner, 4, 6)


@pytest.mark.parametrize("nbytes", [1, 63, 32768, 100_000])
def test_liblz4_encodes_from_address_to_address(nbytes):
    @njit
    def encode(state, source, target, nbytes, capacity):
        intrinsics.lz4_begin(state, intrinsics.LZ4_STATE_BYTES)
        return intrinsics.lz4_encode(state, source, target, np.int32(nbytes), np.int32(capacity), 1)

    source = np.random.default_rng(0).integers(0, 3, nbytes, np.uint8)
    target = np.zeros(intrinsics.lz4_bound(nbytes), np.uint8)
    state = np.zeros(intrinsics.LZ4_STATE_BYTES // 8 + 1, np.int64)
    length = encode(address(state), address(source), address(target), nbytes, target.size)
    encoded = target[:length].tobytes()
    assert lz4.block.decompress(encoded, uncompressed_size=nbytes) == source.tobytes()


def test_codes_are_different():
    assert failures.OK == 0
    codes = [value for name, value in vars(failures).items() if name.isupper()]
    assert len(set(codes)) == len(codes) == 7
    assert len({cpu_codec.LZ4, cpu_codec.LZ4HC, cpu_codec.CALLED}) == 3


@pytest.mark.parametrize("size", [1, 14, 15, 16, 269, 270, 271, 525, 32768])
def test_one_run_of_literals_is_an_lz4_chunk(size):
    source = random_units(size)
    header = cpu_codec.literal_header(size)
    target = np.zeros(header + size, np.uint8)
    assert cpu_codec.store_literals(address(source), size, address(target)) == header + size
    assert lz4.block.decompress(target.tobytes(), uncompressed_size=size) == source.tobytes()
    assert cpu_codec.is_literal(address(target), size)
    for at in range(header):
        damaged = target.copy()
        damaged[at] ^= 1
        assert not cpu_codec.is_literal(address(damaged), size)
