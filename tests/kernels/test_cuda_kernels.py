"""The kernels of the CUDA engine against NumPy, on any grid: in the simulator, and on the GPU where there is one.

In the simulator they run twice: with the loops that a GPU compiles, and with the slices of `simulated_device`, on which
all other tests rely.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.test_placement import items

pytest.importorskip("numba_cuda")

from numba import config as numba_config

from wkgpu.kernels.cuda import packing, placement

pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning")
few = settings(max_examples=60)


@pytest.fixture(params=["loops", "slices", pytest.param("gpu", marks=pytest.mark.gpu)])
def run(request):
    """Runs a kernel on arrays of NumPy, which it changes."""
    if request.param != "gpu" and not numba_config.ENABLE_CUDASIM:
        pytest.skip("Numba does not simulate CUDA here")
    if request.param == "slices":
        from simulated_device import simulate

        return simulate
    return lambda kernel, grid, threads, *arguments: kernel[grid, threads](*arguments)


lanes_and_threads = st.sampled_from([(1, 1), (1, 4), (2, 4), (4, 4), (8, 8)])
grids = st.tuples(st.integers(1, 3), st.integers(1, 3))


def random_words(count, dtype=np.uint16, seed=0):
    return np.random.default_rng(seed).integers(1, 1 << 15, count).astype(dtype)


def table_of(header, starts, bases, corners, before):
    """A table that begins after other numbers, and the item at which it begins."""
    columns = [starts, bases, *np.transpose(corners)]
    assert len(columns) == placement.COLUMNS
    header = [*header, *[-1] * (placement.HEADER - len(header))]
    return np.concatenate([[-7] * before, header, *columns, [-7]]).astype(np.int64), before


@st.composite
def places(draw):
    """Boxes in one volume of chunks: the shapes of both, where boxes begin, the room between lines, items before."""
    chunk = draw(st.tuples(*[st.integers(1, 5)] * 3))
    box = draw(st.tuples(*[st.integers(1, 8)] * 3))
    toplefts = draw(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=2))
    return chunk, box, toplefts, draw(st.tuples(st.integers(0, 3), st.integers(0, 2))), draw(st.integers(0, 3))


class Placed:
    """Chunks in any order in memory, boxes in memory with room between lines, and what the boxes must hold."""

    def __init__(self, place):
        self.chunk, self.box, toplefts, room, self.before = place
        grid = [-(-(length + 6) // edge) for length, edge in zip(self.box, self.chunk, strict=True)]
        volume = random_words(int(np.prod(grid) * np.prod(self.chunk)))
        volume = volume.reshape([n * edge for n, edge in zip(grid, self.chunk, strict=True)], order="F")
        size = int(np.prod(self.chunk))
        x, y, z = self.box
        self.stride_y = x + room[0]
        self.stride_z = self.stride_y * (y + room[1])
        rows = []  # position in the grid, box, and the first voxel in it
        for number, topleft in enumerate(toplefts):
            for position in np.ndindex(*grid):
                corner = np.multiply(position, self.chunk) - topleft
                if (corner < self.box).all() and (corner + self.chunk > 0).all():
                    rows.append((position, number, corner))
        np.random.default_rng(1).shuffle(rows)
        self.source = np.zeros(3 + len(rows) * size, volume.dtype)
        for row, (position, _, _) in enumerate(rows):
            part = tuple(slice(n * edge, (n + 1) * edge) for n, edge in zip(position, self.chunk, strict=True))
            self.source[3 + row * size :][:size] = volume[part].ravel(order="F")
        self.starts = 3 + size * np.arange(len(rows))
        boxes = np.array([box for _, box, _ in rows])
        self.bases = 2 + boxes * self.stride_z * z
        self.corners = [corner for _, _, corner in rows]
        self.target = random_words(2 + len(toplefts) * self.stride_z * z, seed=2)
        self.placed, self.filled = self.target.copy(), self.target.copy()
        for number, topleft in enumerate(toplefts):
            part = tuple(slice(begin, begin + length) for begin, length in zip(topleft, self.box, strict=True))
            self._inside(self.placed, number)[...] = volume[part]
            self._inside(self.filled, number)[...] = 7
        self.header = [*self.chunk, *self.box, 1, self.stride_y, self.stride_z]

    def _inside(self, memory, number):
        x, y, z = self.box
        begin = 2 + number * self.stride_z * z
        shape = (self.stride_y, self.stride_z // self.stride_y, z)
        return memory[begin : begin + self.stride_z * z].reshape(shape, order="F")[:x, :y]

    @property
    def table(self):
        return table_of(self.header, self.starts, self.bases, self.corners, self.before)


@few
@given(places(), grids, lanes_and_threads)
def test_place_chunks(run, place, grid, shares):
    made, (lanes, threads) = Placed(place), shares
    table, at = made.table
    run(placement.place_chunks, grid, threads, table, at, len(made.starts), lanes, made.source, made.target)
    np.testing.assert_array_equal(made.target, made.placed)


@few
@given(places(), grids, lanes_and_threads)
def test_fill_chunks(run, place, grid, shares):
    made, (lanes, threads) = Placed(place), shares
    made.header += [0] * (placement.PATTERN - len(made.header)) + [0x0007000700070007, 16]
    table, at = made.table
    run(placement.fill_chunks, grid, threads, table, at, len(made.starts), lanes, made.target)
    np.testing.assert_array_equal(made.target, made.filled)


@few
@given(st.integers(0, 20), st.sampled_from([5, -3]), grids, st.sampled_from([1, 4]))
def test_fill_words(run, count, pattern, grid, threads):
    target = random_words(25, np.int64)
    expected = target.copy()
    expected[:count] = pattern
    run(placement.fill_words, grid, threads, pattern, count, target)
    np.testing.assert_array_equal(target, expected)


@st.composite
def exchanges(draw):
    """A chunk and a box that it lies in, or not, both in any order of the axes, and the words of an item."""
    chunk = draw(st.tuples(*[st.integers(1, 4)] * 4))
    box = (chunk[0], *draw(st.tuples(*[st.integers(1, 7)] * 3)))
    corners = draw(st.lists(st.tuples(*[st.integers(-4, 7)] * 3), min_size=1, max_size=3, unique=True))
    units = draw(st.sampled_from([1, 1, 2, 3]))

    def strides(shape):
        found, step = [0] * 4, units
        for axis in draw(st.permutations(range(4))):
            found[axis] = step
            step *= shape[axis] + draw(st.integers(0, 1))
        return found, step

    return chunk, box, corners, units, strides(chunk), strides(box), draw(st.permutations(range(4)))


@few
@given(exchanges(), grids, lanes_and_threads, st.booleans())
def test_exchange_chunks(run, exchange, grid, shares, into_box):
    chunk, box, corners, units, (of_chunk, chunk_size), (of_box, box_size), axes = exchange
    if into_box:
        corners = corners[:1]  # others might fill the same voxels
    lanes, threads = shares
    chunks, boxes = random_words(2 + len(corners) * chunk_size), random_words(5 + box_size, seed=1)
    starts = 2 + chunk_size * np.arange(len(corners))
    wanted = (boxes if into_box else chunks).copy()
    for start, corner in zip(starts, corners, strict=True):
        low = np.maximum([0, *corner], 0)
        extents = np.maximum(np.minimum(np.add([0, *corner], chunk), box) - low, 0)
        in_chunk = items(chunks, start + int(((low - [0, *corner]) * of_chunk).sum()), extents, of_chunk, units)
        in_box = items(boxes, 5 + int((low * of_box).sum()), extents, of_box, units)
        if not extents.all():
            continue
        if into_box:
            wanted[in_box] = chunks[in_chunk]
        else:
            wanted[in_chunk] = boxes[in_box]
    header = [*chunk, *box, *of_box, *of_chunk, *axes, units]
    table, at = table_of(header, starts, np.full(len(corners), 5), corners, 1)
    run(placement.exchange_chunks, grid, threads, table, at, len(corners), lanes, boxes, chunks, int(into_box))
    np.testing.assert_array_equal(boxes if into_box else chunks, wanted)


encoded = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@few
@given(encoded, grids, st.sampled_from([1, 4]))
def test_add_up_lengths(run, lengths, grid, threads):
    count = len(lengths)
    table = np.array([-7, *lengths, -7, -7, *[-1] * count, -7])
    run(packing.add_up_lengths, grid, threads, table, 1, count + 3, count, 9)
    np.testing.assert_array_equal(table, [-7, *lengths, -7, -7, *np.cumsum(lengths), -7])


@few
@given(st.lists(st.sampled_from([[5, 5, 5], [5, 5, 6], [4, 5, 5]]), max_size=6), grids, st.sampled_from([1, 4]))
def test_drop_filled(run, chunks, grid, threads):
    table = np.array([-7, *[9] * len(chunks), -7])
    numbers = np.array([*chunks, [5, 5, 5]], np.int64).ravel()
    run(packing.drop_filled, grid, threads, table, 1, len(chunks), 3, 5, numbers)
    np.testing.assert_array_equal(table, [-7, *(0 if chunk == [5, 5, 5] else 9 for chunk in chunks), -7])


def test_lengths_that_cannot_be_are_limited(run):
    """Those of chunks that could not be encoded: what is packed must stay inside, until the host sees the statuses."""
    table = np.array([3, -(2**62), 2**62, 10, 0, 0, 0, 0])
    run(packing.add_up_lengths, (1, 1), 1, table, 0, 4, 4, 9)
    np.testing.assert_array_equal(table, [3, 0, 9, 9, 3, 3, 12, 21])


@few
@given(encoded, st.integers(1, 5), st.sampled_from([1, 4, 8]))
def test_pack_chunks(run, lengths, blocks, threads):
    count, stride = len(lengths), 10
    table = np.array([-7, *lengths, *np.cumsum(lengths)])
    source = random_words(count * stride, np.uint8)
    target = np.zeros(sum(lengths) + 3, np.uint8)
    run(packing.pack_chunks, (blocks, 1), threads, table, 1, 1 + count, count, stride, source, target)
    parts = [source[row * stride : row * stride + length] for row, length in enumerate(lengths)]
    np.testing.assert_array_equal(target, [*np.concatenate(parts), 0, 0, 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_words_of_all_widths(run, dtype):
    made = Placed(((2, 3, 4), (7, 5, 6), [(1, 2, 3), (0, 6, 1)], (1, 1), 2))
    table, at = made.table
    factor = np.array(max(np.iinfo(dtype).max // 0xFFFF, 1), dtype)  # so that all bytes of a word are used
    source, target, placed = (memory.astype(dtype) * factor for memory in (made.source, made.target, made.placed))
    run(placement.place_chunks, (2, 2), 4, table, at, len(made.starts), 2, source, target)
    np.testing.assert_array_equal(target, placed)


def test_no_chunks(run):
    table, at = table_of([1] * 21, [], [], np.zeros((0, 3)), 0)
    target = random_words(5)
    run(placement.place_chunks, (2, 1), 4, table, at, 0, 1, random_words(5), target)
    run(placement.fill_chunks, (2, 1), 4, table, at, 0, 1, target)
    run(placement.fill_words, (2, 1), 4, 5, 0, random_words(5, np.int64))
    run(placement.exchange_chunks, (2, 1), 4, table, at, 0, 1, target, random_words(5), 1)
    np.testing.assert_array_equal(target, random_words(5))


def test_every_kernel_is_tested_here():
    text = Path(__file__).read_text()
    for topic, module in (("packing", packing), ("placement", placement)):
        tested = {name for name in vars(module) if f"run({topic}.{name}," in text}
        assert tested == {name for name, value in vars(module).items() if hasattr(value, "py_func")}
