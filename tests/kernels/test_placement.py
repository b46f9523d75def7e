"""The bodies as plain Python, over NumPy arrays of units, against slicing; and their CPU build against both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.kernels.bodies import placement
from wkgpu.kernels.bodies.workers import alone

lanes = st.sampled_from([1, 2, 3, 8])


def random_units(count, seed=0):
    return np.random.default_rng(seed).integers(1, 256, count, np.uint8)


def in_turn(body, rows, steps, lanes, *arguments):
    """Call a body for every worker of a grid, one after another: ``steps`` groups of ``lanes`` workers."""
    for first in range(steps):
        for lane in range(lanes):
            body((first, rows, steps, lane, lanes), *arguments)


patterns = st.sampled_from([0, -1, 0x0202020202020202, 0x0807060504030201, -(1 << 63)])


@given(st.integers(0, 20), st.integers(0, 5), st.integers(0, 5), lanes, st.booleans(), patterns)
def test_copy_run_and_fill_run(units, at, start, lanes, streaming, pattern):
    source, target = random_units(30), random_units(30, 1)
    expected = target.copy()
    expected[at : at + units] = source[start : start + units]
    for lane in range(lanes):
        placement.copy_run(target, at, source, start, units, streaming, lane, lanes)
    np.testing.assert_array_equal(target, expected)
    expected[at : at + units] = np.resize(np.array([pattern]).view(target.dtype), units)
    for lane in range(lanes):
        placement.fill_run(target, at, units, pattern, 8 * target.itemsize, lane, lanes)
    np.testing.assert_array_equal(target, expected)


@given(st.integers(1, 4), st.integers(1, 6), st.data(), lanes)
def test_copy_line_goes_through_chunks(count, length, data, lanes):
    stride = length + data.draw(st.integers(0, 5))
    inside = data.draw(st.integers(0, length - 1))
    remaining = data.draw(st.integers(0, count * length - inside))
    source, target = random_units(count * stride + 3), np.zeros(40, np.uint8)
    lines = source[3 : 3 + count * stride].reshape(count, stride)[:, :length].ravel()
    for lane in range(lanes):
        placement.copy_line(target, 2, source, 3, inside, length, stride, remaining, False, lane, lanes)
    np.testing.assert_array_equal(target[2 : 2 + remaining], lines[inside : inside + remaining])
    assert not target[:2].any()
    assert not target[2 + remaining :].any()


@st.composite
def groups(draw):
    """x-neighbours that touch a box, the box's place in a larger output, and gaps between decoded chunks."""
    chunk = draw(st.tuples(*[st.integers(1, 4)] * 3))
    count = draw(st.integers(1, 3))
    box = draw(st.tuples(*[st.integers(1, 9)] * 3))
    # The first chunk touches the box, but along y and z the bodies themselves see to it.
    origin = (draw(st.integers(1 - chunk[0], box[0])), *(draw(st.integers(-chunk[n], box[n])) for n in (1, 2)))
    room = draw(st.tuples(st.integers(0, 3), st.integers(0, 2)))
    return chunk, count, box, origin, draw(st.integers(1, 3)), room, draw(st.integers(0, 3))


def placed(group):
    """Decoded chunks, the arguments that describe them, and the output before and after, by slicing."""
    chunk, count, box, origin, voxel, (room_x, room_y), gap = group
    size = voxel * int(np.prod(chunk))
    stride = size + gap
    source = random_units(5 + count * stride)
    decoded = [source[5 + n * stride :][:size].reshape((voxel, *chunk), order="F") for n in range(count)]
    neighbours = np.concatenate(decoded, axis=1)
    x, y, z = box
    shape = (voxel, x + room_x, y + room_y, z)
    base = 7
    before = random_units(base + int(np.prod(shape)), 1)
    after = before.copy()
    output = after[base:].reshape(shape, order="F")[:, :x, :y]
    low = [max(corner, 0) for corner in origin]
    high = [
        max(min(corner + length, extent), begin)
        for corner, length, extent, begin in zip(origin, neighbours.shape[1:], box, low, strict=True)
    ]
    inside = tuple(slice(begin, end) for begin, end in zip(low, high, strict=True))
    share = tuple(slice(b - corner, e - corner) for b, e, corner in zip(low, high, origin, strict=True))
    part = output[(slice(None), *inside)]
    part[...] = neighbours[(slice(None), *share)][:, : part.shape[1], : part.shape[2], : part.shape[3]]
    stride_y = voxel * (x + room_x)
    geometry = (*chunk, *box, voxel, stride_y, stride_y * (y + room_y))
    cleared = after.copy()
    cleared[base:].reshape(shape, order="F")[:, :x, :y][(slice(None), *inside)] = 0
    return source, stride, geometry, base, before, after, cleared


@given(groups(), st.sampled_from([1, 2, 5]), lanes)
def test_place_group(group, steps, lanes):
    (_, chunk_y, chunk_z), count, _, origin, *_ = group
    source, stride, geometry, base, output, expected, _ = placed(group)
    in_turn(
        placement.place_group, chunk_y * chunk_z, steps, lanes,
        source, 5, count, stride, output, base, origin, geometry, False, None, 0,
    )  # fmt: skip
    np.testing.assert_array_equal(output, expected)


@given(groups(), st.sampled_from([1, 2, 8]))
def test_place_group_through_a_buffer(group, joined):
    (chunk_x, _, _), count, _, origin, voxel, *_ = group
    source, stride, geometry, base, output, expected, _ = placed(group)
    buffer = np.zeros(joined * count * chunk_x * voxel, np.uint8)
    placement.place_group(alone(), source, 5, count, stride, output, base, origin, geometry, True, buffer, joined)
    np.testing.assert_array_equal(output, expected)


@given(groups(), st.sampled_from([1, 2, 5]), lanes, st.sampled_from([0, 0x0202020202020202]))
def test_fill_group(group, steps, lanes, pattern):
    (_, chunk_y, _), count, _, origin, *_ = group
    _, _, geometry, base, output, _, _ = placed(group)
    *_, before, after, cleared = placed(group)
    in_turn(placement.fill_group, chunk_y, steps, lanes, count, output, base, origin, geometry, pattern, 8)
    np.testing.assert_array_equal(output, np.where(after == cleared, before, pattern & 0xFF))


@st.composite
def copies(draw):
    """A 4-D box in two memory layouts: strides of the source and of the target, each with room between its items."""
    extents = draw(st.tuples(*[st.integers(0, 4)] * 4))
    units = draw(st.sampled_from([1, 2, 3, 4, 8]))

    def strides():
        order = draw(st.permutations(range(4)))
        room = draw(st.integers(0, 2))
        found, step = [0] * 4, units
        for axis in order:
            found[axis] = step
            step *= extents[axis] + room if extents[axis] + room > 0 else 1
        return tuple(found), step

    return extents, units, strides(), strides()


def items(memory, start, extents, strides, units):
    """All items of a box, one row of units each."""
    offsets = start + sum(
        np.arange(extent).reshape([-1 if axis == a else 1 for a in range(4)]) * stride
        for axis, (extent, stride) in enumerate(zip(extents, strides, strict=True))
    )
    return offsets[..., np.newaxis] + np.arange(units)


@given(copies(), st.sampled_from([1, 2, 3]), lanes)
def test_copy_box(copy, steps, lanes):
    extents, units, (source_strides, source_length), (target_strides, target_length) = copy
    source, target = random_units(3 + source_length), random_units(2 + target_length, 1)
    expected = target.copy()
    expected[items(target, 2, extents, target_strides, units)] = source[
        items(source, 3, extents, source_strides, units)
    ]
    in_turn(
        placement.copy_box, extents[0] * extents[1], steps, lanes,
        source, 3, target, 2, extents, source_strides, target_strides, units,
    )  # fmt: skip
    np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("axis", range(4))
def test_copy_box_backwards(axis):
    """Data may run backwards: then their strides are negative, and they begin at their last item."""
    source, target = random_units(81), np.zeros(81, np.uint8)
    strides = [27, 9, 3, 1]
    start = 2 * strides[axis]
    backwards = tuple(-stride if number == axis else stride for number, stride in enumerate(strides))
    placement.copy_box(alone(), source, start, target, 0, (3, 3, 3, 3), backwards, tuple(strides), 1)
    np.testing.assert_array_equal(target, np.flip(source.reshape(3, 3, 3, 3), axis).ravel())
