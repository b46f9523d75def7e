import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wkgpu.storage.wkw import morton

coordinates = st.lists(st.tuples(*[st.integers(0, 32767)] * 3), min_size=1).map(lambda rows: np.array(rows, np.int64))


@given(coordinates)
def test_decode_is_the_inverse_of_encode(chunks):
    np.testing.assert_array_equal(morton.chunks_of(morton.codes_of(chunks)), chunks)


@given(coordinates)
def test_bits_are_interleaved_with_x_lowest(chunks):
    for (x, y, z), code in zip(chunks.tolist(), morton.codes_of(chunks).tolist(), strict=True):
        bits = (f"{z:015b}", f"{y:015b}", f"{x:015b}")
        assert code == int("".join("".join(triple) for triple in zip(*bits, strict=True)), 2)


def test_codes_of_a_cube_are_its_ordinals():
    cube = np.stack(np.meshgrid(*[np.arange(8)] * 3), axis=-1).reshape(-1, 3)
    assert sorted(morton.codes_of(cube).tolist()) == list(range(512))


def test_aligned_octants_are_stretches():
    for octant in range(8):
        inside = morton.chunks_of(np.arange(octant * 64, octant * 64 + 64))
        assert (np.ptp(inside, axis=0) == 3).all()


def test_no_chunks():
    assert morton.codes_of(np.zeros((0, 3), np.int64)).shape == (0,)
    assert morton.chunks_of(np.zeros(0, np.int64)).shape == (0, 3)
