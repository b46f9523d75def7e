"""Words divide all that they must, and are as wide as they can be; counted in them, a layout stays what it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.engines.cuda.machine_words import WIDEST, common_bits, layout_in_words, word_width
from wkgpu.engines.voxel_layout import voxel_layout
from wkgpu.kernels.bodies.exchange import exchange
from wkgpu.kernels.bodies.workers import alone
from wkgpu.storage.plans.chunk_lookup import Pieces

numbers = st.integers(-(1 << 50), 1 << 50) | st.integers(-20, 20).map(lambda number: 8 * number)


@given(st.lists(numbers))
def test_words_divide_everything_and_are_the_widest(multiples):
    width = word_width(*multiples)
    assert width in (1, 2, 4, 8)
    assert all(number % width == 0 for number in multiples)
    assert width == WIDEST or any(number % (2 * width) for number in multiples)


@given(st.lists(numbers), st.sampled_from([1, 2, 4, 8]))
def test_common_bits_stand_for_all_numbers(some, width):
    bits = common_bits(np.array(some, np.int64))
    assert (bits % width == 0) == all(number % width == 0 for number in some)


@st.composite
def boxes(draw):
    """An array (channel, x, y, z) in memory in which its items have any order, direction and distance."""
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "uint32", "uint64"])))
    shape = (draw(st.sampled_from([1, 1, 2, 3, 4, 8])), *draw(st.tuples(*[st.sampled_from([1, 2, 3, 4, 8])] * 3)))
    order = draw(st.sampled_from([(0, 1, 2, 3), (3, 2, 1, 0)]) | st.permutations(range(4)))
    room = draw(st.tuples(*[st.sampled_from([0, 0, 0, 1, 4])] * 4))
    steps = draw(st.tuples(*[st.sampled_from([1, 1, 1, 2, -1])] * 4))
    whole = [abs(step) * shape[axis] + room[axis] for axis, step in enumerate(steps)]
    count = -(-(np.prod(whole) + 1) // 8) * 8
    memory = np.zeros(count * dtype.itemsize + 8, np.uint8)
    memory = memory[-memory.ctypes.data % 8 :][: count * dtype.itemsize]  # aligned, as a device's is
    memory.view(dtype)[...] = np.arange(count).astype(dtype)
    shift = draw(st.integers(0, 1))
    parent = memory.view(dtype)[shift : shift + np.prod(whole)].reshape([whole[axis] for axis in reversed(order)])
    parent = parent.transpose(np.argsort(order[::-1]))
    array = parent[tuple(slice(None, abs(step) * shape[axis], abs(step)) for axis, step in enumerate(steps))]
    return memory, array[tuple(slice(None, None, -1 if step < 0 else 1) for step in steps)]


@given(boxes(), st.tuples(*[st.sampled_from([1, 2, 4, 8])] * 3), st.data(), st.booleans())
def test_an_exchange_in_words_is_that_in_bytes(box, chunk, data, into_box):
    memory, array = box
    size = int(np.prod(chunk)) * array.shape[0] * array.itemsize
    x_unit = data.draw(st.sampled_from([1, chunk[0]]))
    corners = [
        (x_unit * data.draw(st.integers(-8 // x_unit, 8 // x_unit)), *data.draw(st.tuples(*[st.integers(-8, 8)] * 2)))
        for _ in range(2)
    ]
    layout = voxel_layout(Pieces(chunk, (1, 1, 1), size), array.shape[1:], array)
    origin = array.__array_interface__["data"][0] - memory.ctypes.data
    words = layout_in_words(layout, common_bits(np.array(corners)[:, 0]), origin, size)
    one = words.numbers
    counted = (one[0:4], one[4:8], one[8:12], one[12:16], one[16:20], one[20])
    chunks = np.random.default_rng(0).integers(0, 256, 2 * size, np.uint8)
    results = []
    for unit, of_words in ((1, False), (words.width, True)):
        boxed, chunked = memory.copy(), chunks.copy()
        for number, (x, y, z) in enumerate(corners):
            corner = (0, x * words.scale // words.width, y, z) if of_words else (0, x, y, z)
            exchange(
                alone(), corner, counted if of_words else layout, boxed.view(f"u{unit}"), origin // unit,
                chunked.view(f"u{unit}"), number * size // unit, into_box,
            )  # fmt: skip
        results.append((boxed, chunked))
    for in_bytes, in_words in zip(*results, strict=True):
        np.testing.assert_array_equal(in_bytes, in_words)


@given(boxes(), st.tuples(*[st.sampled_from([1, 2, 4, 8])] * 3))
def test_rows_and_items_are_those_of_the_largest_share(box, chunk):
    _, array = box
    size = int(np.prod(chunk)) * array.shape[0] * array.itemsize
    layout = voxel_layout(Pieces(chunk, (1, 1, 1), size), array.shape[1:], array)
    words = layout_in_words(layout, 0, 0, size)
    lengths, others, *_, axes, units = (words.numbers[n : n + 4] for n in range(0, 24, 4))
    extents = [min(lengths[axis], others[axis]) for axis in axes]
    assert (words.rows, words.along) == (extents[0] * extents[1], extents[3])
    assert 1 <= units[0] <= array.shape[0] * array.itemsize


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint8", 3), ("uint16", 2), ("float32", 1)])
def test_lines_of_any_voxel_are_moved_in_the_widest_words(dtype, channels):
    """Three channels of uint8 are no machine word, but eight such voxels next to each other are three."""
    array = np.zeros((channels, 64, 5, 5), dtype, order="F")
    size = 512 * channels * array.itemsize
    layout = voxel_layout(Pieces((8, 8, 8), (1, 1, 1), size), array.shape[1:], array)
    assert layout_in_words(layout, 8, 0, size).width == 8
    assert layout_in_words(layout, 1, 0, size).width == word_width(channels * array.itemsize)


def test_voxels_of_many_channels_are_moved_whole():
    """Along x they are no neighbours, so that nothing but the voxel itself is a run."""
    array = np.zeros((4, 64, 5, 10), np.uint8, order="F")[..., ::2].swapaxes(1, 3)
    layout = voxel_layout(Pieces((8, 8, 8), (1, 1, 1), 2048), array.shape[1:], array)
    assert layout_in_words(layout, 1, 0, 2048).width == 4
