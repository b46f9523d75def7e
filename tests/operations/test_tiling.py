"""How boxes of voxels are cut along shards and chunks."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.geometry.voxel_box import VoxelBox, bisected
from wkgpu.operations import tiling
from wkgpu.operations.tiling import cells, job_shape, shard_number, shards_in
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.spec import ArraySpec

corners = st.tuples(*[st.integers(-20, 20)] * 3)
shapes = st.tuples(*[st.integers(1, 12)] * 3)
boxes = st.builds(VoxelBox, corners, shapes)
units = st.tuples(*[st.sampled_from([1, 2, 3, 4, 8])] * 3)


def voxels_of(box):
    """All voxels of a box."""
    return set(product(*(range(low, high) for low, high in zip(box.topleft, box.end, strict=True))))


class TestBox:
    @given(boxes, boxes)
    def test_what_two_boxes_share(self, one, other):
        shared = one.intersection(other)
        assert (voxels_of(shared) if shared else set()) == voxels_of(one) & voxels_of(other)
        assert shared == other.intersection(one)

    @given(boxes, corners)
    def test_between_two_voxels(self, box, corner):
        assert VoxelBox.from_corners(box.topleft, box.end) == box
        is_box = all(low < high for low, high in zip(box.topleft, corner, strict=True))
        assert (VoxelBox.from_corners(box.topleft, corner) is not None) == is_box

    @given(boxes, st.data())
    def test_within_an_array(self, outer, data):
        begin = [data.draw(st.integers(low, high - 1)) for low, high in zip(outer.topleft, outer.end, strict=True)]
        end = [data.draw(st.integers(low + 1, high)) for low, high in zip(begin, outer.end, strict=True)]
        inner = VoxelBox.from_corners(begin, end)
        places = np.stack(np.meshgrid(*map(np.arange, outer.topleft, outer.end), indexing="ij"), axis=-1)
        assert set(map(tuple, places[inner.slices_in(outer)].reshape(-1, 3).tolist())) == voxels_of(inner)


class TestHalved:
    @given(boxes, units, st.integers(1, 500))
    def test_parts_cover_the_box_once(self, box, units, max_voxels):
        found = [voxel for part in bisected(box, units, max_voxels) for voxel in voxels_of(part)]
        assert len(found) == prod(box.shape)
        assert set(found) == voxels_of(box)

    @given(boxes, units, st.integers(1, 500))
    def test_cuts_are_multiples_of_the_units(self, box, units, max_voxels):
        for part in bisected(box, units, max_voxels):
            for begin, end, first, last, unit in zip(part.topleft, part.end, box.topleft, box.end, units, strict=True):
                assert begin == first or begin % unit == 0
                assert end == last or end % unit == 0

    @given(boxes, units, st.integers(1, 500))
    def test_parts_are_as_small_as_wanted_if_they_can_be(self, box, units, max_voxels):
        for part in bisected(box, units, max_voxels):
            in_one_cell = all(
                low // unit == (high - 1) // unit for low, high, unit in zip(part.topleft, part.end, units, strict=True)
            )
            assert prod(part.shape) <= max_voxels or in_one_cell

    def test_parts_are_as_large_as_they_can_be(self):
        box = VoxelBox((0, 0, 0), (64, 64, 64))
        for max_voxels in (64**3, 64**3 // 2, 64**3 // 8):
            assert {prod(part.shape) for part in bisected(box, (8, 8, 8), max_voxels)} == {max_voxels}

    def test_axes_are_cut_where_they_are_longest_in_units(self):
        parts = list(bisected(VoxelBox((0, 0, 0), (64, 64, 64)), (8, 8, 32), 64**3 // 4))
        assert {part.shape for part in parts} == {(32, 32, 64)}


class TestCells:
    @given(boxes, units)
    def test_cells_that_a_box_touches(self, box, shape):
        expected = {
            tuple(int(v) // unit * unit for v, unit in zip(voxel, shape, strict=True)) for voxel in voxels_of(box)
        }
        found = list(cells(box, shape))
        assert len(found) == len(expected)
        assert set(found) == expected

    def test_z_runs_fastest(self):
        assert list(cells(VoxelBox((3, 0, 5), (2, 1, 4)), (4, 4, 4))) == [(0, 0, 4), (0, 0, 8), (4, 0, 4), (4, 0, 8)]

    @given(boxes.filter(lambda box: min(box.topleft) >= 0))
    def test_shards(self, make_array, box):
        array = make_array(ArraySpec(np.dtype("uint8"), 1, (4, 4, 4), (2, 2, 2), pipeline_of("raw")))
        shards = shards_in(array, box)
        assert [shard.topleft for shard in shards] == list(cells(box, (8, 8, 8)))
        for shard in shards:
            assert shard.shape == (8, 8, 8)
            assert np.array_equal(np.multiply(shard_number(array, shard), 8), shard.topleft)


class TestBlockShape:
    @given(
        st.sampled_from(["uint8", "uint16", "float64"]), st.integers(1, 4), st.tuples(*[st.integers(0, 5)] * 3),
        st.tuples(*[st.integers(0, 3)] * 3), st.tuples(*[st.integers(1, 500)] * 3),
    )  # fmt: skip
    def test_whole_shards_of_at_least_the_minimum(self, dtype, channels, chunk, per_shard, min_shape):
        spec = ArraySpec(
            np.dtype(dtype), channels, tuple(2**n for n in chunk), tuple(2**n for n in per_shard), pipeline_of("raw")
        )
        shape = job_shape(spec, min_shape)
        for length, shard, wanted in zip(shape, spec.shard_shape, min_shape, strict=True):
            assert length % shard == 0
            assert length >= wanted
        # Not much larger than what a job is worth, unless shards are, or must be together
        needed = [max(shard, 2 * wanted) for shard, wanted in zip(spec.shard_shape, min_shape, strict=True)]
        nbytes = prod(shape) * spec.voxel_bytes
        assert nbytes <= max(tiling._JOB_BYTES, prod(needed) * spec.voxel_bytes)
        assert 2 * nbytes > tiling._JOB_BYTES

    @pytest.mark.parametrize(("shard", "expected"), [(32, 256), (1024, 1024)])
    def test_small_shards_are_handled_together(self, shard, expected):
        spec = ArraySpec(np.dtype("uint8"), 1, (32, 32, 32), (shard // 32,) * 3, pipeline_of("lz4"))
        assert job_shape(spec, (32, 32, 32)) == (expected,) * 3
