"""Blocks that reach beyond the voxels that count are filled up with mirror images, whatever pieces they come in."""

from __future__ import annotations

import numpy as np
from arrays import given_on_engine, on_host
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.geometry.voxel_box import VoxelBox, bisected, triple
from wkgpu.operations.downsampling.interpolation import InterpolationMode
from wkgpu.operations.downsampling.tiles import AxisTiling, Downsampling, box_of_blocks

factors = st.sampled_from([1, 2, 4, 8])


@st.composite
def axes(draw, longest=40, tiles=(1, 2, 3, 1024)):
    begin, factor = draw(st.integers(0, 20)), draw(factors)
    return AxisTiling(begin, begin + draw(st.integers(1, longest)), factor, draw(st.sampled_from(tiles)), 1024)


def blocks_of(axis):
    """The first block, and the one behind the last."""
    return axis.begin // axis.factor, -(-axis.end // axis.factor)


def standing_for(axis):
    """For each voxel of all blocks, the one that stands for it."""
    first, last = (block * axis.factor for block in blocks_of(axis))
    images = {voxel: voxel for voxel in range(axis.begin, axis.end)} | dict(axis.beyond(first, last))
    return [images[voxel] for voxel in range(first, last)]


@given(axes(tiles=[1024]))
def test_as_numpy_mirrors(axis):
    first, last = (block * axis.factor for block in blocks_of(axis))
    padding = axis.begin - first, last - axis.end
    expected = np.pad(np.arange(axis.begin, axis.end), padding, mode="symmetric")
    np.testing.assert_array_equal(standing_for(axis), expected)


@given(axes())
def test_images_do_not_look_beyond_a_tile(axis):
    """Tiles begin at the first block; the last one may be narrower than what is to be filled up."""
    first, last = blocks_of(axis)
    begins = range(first, last, axis.tile)
    found = standing_for(axis)
    for begin, end in ((first, min(first + axis.tile, last)), (begins[-1], last)):
        low, high = begin * axis.factor, end * axis.factor
        counted = np.arange(max(low, axis.begin), min(high, axis.end))
        padding = counted[0] - low, high - 1 - counted[-1]
        expected = np.pad(counted, padding, mode="symmetric")
        np.testing.assert_array_equal(found[low - first * axis.factor : high - first * axis.factor], expected)


@given(axes(), st.data())
def test_needed_voxels_hold_blocks_and_images(axis, data):
    begin, end = blocks_of(axis)
    first = data.draw(st.integers(begin, end - 1))
    last = data.draw(st.integers(first + 1, end))
    low, high = axis.source_voxels(first, last)
    assert 0 <= low <= first * axis.factor < last * axis.factor <= high
    for voxel, image in axis.beyond(low, high):
        assert low <= voxel < high
        assert low <= image < high
        assert axis.begin <= image < axis.end


@given(axes(), st.data())
def test_a_voxel_affects_all_blocks_that_it_stands_in(axis, data):
    """Else a block at the border would stay zero where only its neighbour is stored."""
    voxel = data.draw(st.integers(axis.begin, axis.end - 1))
    other = AxisTiling(0, 1, 1, 1024, 1024)
    box = Downsampling((axis, other, other), InterpolationMode.MAX).target_box(0, VoxelBox((voxel, 0, 0), (1, 1, 1)))
    first, _ = blocks_of(axis)
    standing = np.array(standing_for(axis)).reshape(-1, axis.factor)
    blocks = first + np.flatnonzero((standing == voxel).any(axis=1))
    assert max(box.topleft[0], first) <= blocks.min()
    assert blocks.max() < box.end[0]


@given(axes(tiles=[1, 2, 3, 5, 1024]))
def test_nearest_takes_a_voxel_of_each_block(axis):
    begin, end = blocks_of(axis)
    blocks = np.arange(begin, end)
    picked = axis.picked(begin, end)
    np.testing.assert_array_equal(picked // axis.factor, blocks)
    first_of_tile = (blocks - begin) % axis.tile == 0
    np.testing.assert_array_equal(picked[first_of_tile], blocks[first_of_tile] * axis.factor)
    for number in range(len(blocks)):
        np.testing.assert_array_equal(axis.picked(begin + number, end), picked[number:])


@st.composite
def examples(draw, is_small):
    longest = 9 if is_small else 30
    interpolation = draw(st.sampled_from(list(InterpolationMode)))
    return (
        tuple(draw(axes(longest=longest)) for _ in range(3)), interpolation, draw(st.sampled_from([1, 3])),
        draw(st.tuples(*[st.integers(1, 4)] * 3)), draw(st.integers(1, 50)), draw(st.integers(0, 1000)),
    )  # fmt: skip


@given_on_engine(examples, examples=100, simulated=15)
def test_pieces_are_parts_of_the_whole(engine, example):
    """Voxels that do not count are anything, and a piece gets no others than those that it needs."""
    axes, interpolation, channels, units, max_voxels, seed = example
    downsampling = Downsampling(axes, interpolation)
    random = np.random.default_rng(seed)
    region = VoxelBox.from_corners((axis.begin for axis in axes), (axis.end for axis in axes))
    target = box_of_blocks(region, downsampling.ratio)
    whole = VoxelBox(
        (0, 0, 0), triple(high * factor for high, factor in zip(target.end, downsampling.ratio, strict=True))
    )
    counted = random.integers(0, 200, (channels, *region.shape)).astype("uint8")

    def computed(pieces):
        source = random.integers(0, 256, (channels, *whole.shape)).astype("uint8")
        source[:, *region.slices_in(whole)] = counted
        out = engine.zeros((channels, *target.shape), np.dtype("uint8"))
        for piece in pieces:
            (needed,) = downsampling.source_boxes(piece)
            array = engine.asarray(np.array(source[:, *needed.slices_in(whole)], order="F"))
            downsampling.apply(engine, piece, [array], out, target)
        return on_host(engine, out)

    np.testing.assert_array_equal(computed(list(bisected(target, units, max_voxels))), computed([target]))
