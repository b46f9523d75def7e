"""What a chunk and a box have in common."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.kernels.bodies import overlap

corners = st.integers(-20, 20)
lengths = st.integers(1, 12)
quadruples = st.tuples(*[st.tuples(corners, lengths, lengths)] * 4)


@given(corners, lengths, lengths)
def test_common_length_is_that_of_the_slices(corner, chunk, box):
    shared = set(range(corner, corner + chunk)) & set(range(box))
    assert overlap.common_length(corner, chunk, box) == len(shared)


@given(quadruples)
def test_a_covered_chunk_has_its_own_length_in_common(axes):
    corner, chunk, box = zip(*axes, strict=True)
    common = [overlap.common_length(*axis) for axis in axes]
    assert overlap.is_covered(corner, chunk, box) == (common == list(chunk))


@given(quadruples)
def test_common_begin_is_where_both_hold_the_same_voxel(axes):
    corner, chunk, box = zip(*axes, strict=True)
    data = np.zeros(box, np.uint8)
    voxels = np.zeros(chunk, np.uint8)
    begin, goal = overlap.common_begin(corner, data.strides, voxels.strides)
    if all(overlap.common_length(*axis) for axis in axes):
        in_box, in_chunk = np.unravel_index(begin, box), np.unravel_index(goal, chunk)
        assert tuple(np.add(in_chunk, corner)) == in_box
        assert (np.minimum(in_box, in_chunk) == 0).all()
