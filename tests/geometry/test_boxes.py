"""BoundingBox and NDBoundingBox: the laws of boxes."""

import copy
import json
import pickle
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import (
    any_boxes,
    axes_names,
    bounding_boxes,
    chunkings,
    mags,
    nd_bounding_boxes,
    small_coordinates,
    small_extents,
    triples,
)

from wkgpu.geometry import BoundingBox, Mag, NDBoundingBox, Vec3Int, VecInt

small_boxes = any_boxes(small_coordinates, small_extents)
filled_boxes = any_boxes(small_coordinates, st.integers(1, 9))


def is_aligned(box, mag):
    steps = box._along_axes(Mag(mag).to_vec3_int(), 1)
    return not any(box.topleft % steps) and not any(box.bottomright % steps)


@st.composite
def pairs(draw, boxes=small_boxes):
    first = draw(boxes)
    second = [
        first.topleft._like([draw(numbers) for _ in first.axes]) for numbers in (small_coordinates, small_extents)
    ]
    return first, first.with_topleft(second[0]).with_size(second[1])


# Magnifications


@given(any_boxes(), mags)
def test_in_mag_undoes_from_mag_to_mag1(box, mag):
    assert box.from_mag_to_mag1(mag).in_mag(mag) == box
    assert is_aligned(box.from_mag_to_mag1(mag), mag)


@given(any_boxes(), mags)
def test_aligned_outwards(box, mag):
    outer = box.align_with_mag(mag, ceil=True)
    assert is_aligned(outer, mag)
    assert outer.contains_bbox(box)
    assert outer.in_mag(mag).from_mag_to_mag1(mag) == outer
    assert outer.align_with_mag(mag, ceil=True) == outer == outer.align_with_mag(mag)
    steps = box._along_axes(mag.to_vec3_int(), 1)
    assert all((box.topleft - outer.topleft).to_np() < steps.to_np())
    assert all((outer.bottomright - box.bottomright).to_np() < steps.to_np())


@given(any_boxes(), mags)
def test_aligned_inwards(box, mag):
    steps = box._along_axes(mag.to_vec3_int(), 1)
    inner = box.align_with_mag(mag)
    assert is_aligned(inner, mag)
    if (box.bottomright // steps * steps - box.topleft.ceildiv(steps) * steps).is_positive():
        assert box.contains_bbox(inner)
        assert inner.align_with_mag(mag) == inner


def test_steps_that_are_no_mag():
    box = BoundingBox((1, 2, 3), (4, 5, 6))
    expected = BoundingBox((0, 0, 0), (6, 10, 14))
    for steps in (Vec3Int(3, 5, 7), (3, 5, 7), [3, 5, 7]):
        assert box.align_with_mag(steps, ceil=True) == expected
    assert box.align_with_mag(3, ceil=True) == BoundingBox((0, 0, 3), (6, 9, 6))
    assert box.align_with_mag("4-4-4", ceil=True) == box.align_with_mag(4, True) == box.align_with_mag(Mag(4), True)


def test_an_unaligned_box_is_in_no_coarser_mag():
    with pytest.raises(AssertionError, match="align_with_mag"):
        BoundingBox((1, 2, 3), (4, 5, 6)).in_mag(Mag(2))


# Chunks


@given(filled_boxes, st.data())
@pytest.mark.covers("BoundingBox")
def test_chunks_cover_the_box_exactly_once(box, data):
    assume(box.volume() <= 4000)
    shape, alignments = data.draw(chunkings(box.ndim))
    if box.ndim == 3:
        shape, alignments = (v and VecInt(v, axes=box.axes) for v in (shape, alignments))
    counts = np.zeros(box.size, dtype=int)
    for chunk in box.chunk(shape, alignments):
        assert box.contains_bbox(chunk)
        assert not chunk.is_empty()
        assert (VecInt(shape, axes=box.axes) - chunk.size).is_positive()
        chunk.offset(-box.topleft).slice_array(counts)[:] += 1
        if alignments is not None:
            for at, begin, end, step in zip(chunk.topleft, box.topleft, box.bottomright, alignments, strict=True):
                assert at == begin or at % step == 0
                assert at < end
    assert (counts == 1).all()


@given(bounding_boxes(small_coordinates, small_extents), st.data())
def test_chunk_toplefts_are_those_of_the_chunks(box, data):
    shape, alignments = data.draw(chunkings(3))
    toplefts = list(box.iter_chunk_toplefts(shape, alignments))
    chunks = [BoundingBox(topleft, shape).intersected_with(box) for topleft in toplefts]
    assert chunks == list(box.chunk(shape, alignments))
    part = data.draw(bounding_boxes(small_coordinates, small_extents))
    clipped = [
        topleft
        for topleft, chunk in zip(toplefts, chunks, strict=True)
        if not chunk.intersected_with(part, dont_assert=True).is_empty()
    ]
    assert list(box.iter_chunk_toplefts(shape, alignments, clip_to=part)) == clipped


def test_an_empty_box_has_no_chunks():
    box = BoundingBox((1, 0, 0), (0, 5, 5))
    assert list(box.chunk((2, 2, 2))) == list(box.chunk((2, 2, 2), (2, 2, 2))) == []
    assert list(box.iter_chunk_toplefts((2, 2, 2), (2, 2, 2))) == []


def test_three_numbers_chunk_other_axes_one_by_one():
    box = NDBoundingBox((0, 0, 0, 0), (2, 8, 8, 8), axes=("t", "x", "y", "z"))
    assert [chunk.get_bounds("t") for chunk in box.chunk((8, 8, 8))] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("shape", [(0, 1, 1), (-1, 1, 1)])
@pytest.mark.parametrize("alignments", [None, (1, 1, 1)])
def test_chunk_shapes_are_positive(shape, alignments):
    box = BoundingBox((1, 2, 3), (4, 5, 6))
    with pytest.raises(AssertionError, match="at least 1"):
        box.chunk(shape, alignments)
    with pytest.raises(AssertionError, match="at least 1"):
        box.chunk((1, 1, 1), shape)
    with pytest.raises(AssertionError, match="multiple"):
        box.chunk((3, 3, 3), (2, 3, 3))


# Sets of voxels


@given(pairs())
def test_intersections(boxes):
    a, b = boxes
    common = a.intersected_with(b, dont_assert=True)
    assert common == b.intersected_with(a, dont_assert=True)
    assert common.intersected_with(a, dont_assert=True) == common
    assert a.contains_bbox(common)
    assert b.contains_bbox(common)
    assert a.contains_bbox(b) == (common == b)
    if common.is_empty():
        with pytest.raises(AssertionError, match="dont_assert"):
            a.intersected_with(b)
    else:
        assert a.intersected_with(b) == common
        assert a.contains(common.topleft)
        assert b.contains(common.bottomright - 1)


@given(pairs())
def test_extensions(boxes):
    a, b = boxes
    around = a.extended_by(b)
    if a.is_empty() or b.is_empty():
        assert around == (b if a.is_empty() else a)
    else:
        assert around == b.extended_by(a)
        assert around.contains_bbox(a)
        assert around.contains_bbox(b)
        assert around.topleft == a.topleft.pairmin(b.topleft)
        assert around.bottomright == a.bottomright.pairmax(b.bottomright)


@given(bounding_boxes(small_coordinates, small_extents))
def test_voxels_are_contained(box):
    covered = np.zeros((34, 34, 34), dtype=bool)
    moved = box.offset((12, 12, 12))
    moved.slice_array(covered)[:] = True
    assert covered.sum() == box.volume()
    assert box.is_empty() == (box.volume() == 0)
    corners = [box.topleft, box.bottomright, box.bottomright - 1, box.center]
    for corner in corners:
        inside = (corner + 12).pairmin(33)
        assert moved.contains(inside) == covered[inside]


def test_points_between_voxels():
    box = BoundingBox((1, 2, 3), (4, 5, 6))
    assert box.contains((4.9, 6.9, 8.9)) is True
    assert box.contains(np.array([0.999, 6, 8])) is False
    assert box.contains(np.array([1, 2, 3], dtype=np.uint8)) is True
    for wrong in [(1, 2), 1, (1, 2, 3, 4)]:
        with pytest.raises(AssertionError, match="3 coordinates"):
            box.contains(wrong)


@given(any_boxes(), triples(small_coordinates))
def test_moves_and_margins_undo_each_other(box, vector):
    move = VecInt([7] * box.ndim, axes=box.axes)
    assert box.offset(move).offset(-move) == box
    margins = Vec3Int(vector).pairmax(-Vec3Int(vector))
    padded = box.padded_with_margins(margins, margins + 1)
    assert padded.contains_bbox(box)
    assert padded.padded_with_margins(-margins, -(margins + 1)) == box
    assert box.padded_with_margins(margins) == box.padded_with_margins(margins, margins)


# Boxes that differ in one part


@given(any_boxes())
def test_parts_can_be_replaced(box):
    other = box.topleft * 2 + 1
    assert box.with_topleft(other).topleft == other
    assert box.with_topleft(other).size == box.size
    assert box.with_size(box.size + 1).size == box.size + 1
    assert box.with_bottomright(box.bottomright + 2).bottomright == box.bottomright + 2
    assert box.with_bottomright(box.bottomright + 2).topleft == box.topleft
    for axis in box.axes:
        changed = box.with_bounds(axis, 3, 4)
        assert changed.get_bounds(axis) == (3, 7)
        assert changed.get_shape(axis) == 4
        assert changed.with_bounds(axis, box.topleft[axis], box.size[axis]) == box == box.with_bounds(axis)
    with pytest.raises(KeyError):
        box.with_bounds("missing", 3)


@given(any_boxes())
def test_x_y_and_z_can_be_replaced(box):
    assert box.with_topleft_xyz(box.topleft_xyz) == box.with_size_xyz(box.size_xyz) == box
    assert box.with_bottomright_xyz(box.bottomright_xyz) == box
    changed = box.with_topleft_xyz((7, 8, 9)).with_size_xyz((1, 2, 3))
    for axis, first, extent in zip("xyz", (7, 8, 9), (1, 2, 3), strict=True):
        if axis in box.axes:
            assert changed.get_bounds(axis) == (first, first + extent)


def test_bounds_of_one_axis():
    box = BoundingBox((1, 2, 3), (4, 5, 6))
    assert box.with_bounds_x(9) == BoundingBox((9, 2, 3), (4, 5, 6))
    assert box.with_bounds_y(new_size_y=9) == BoundingBox((1, 2, 3), (4, 9, 6))
    assert box.with_bounds_z(0, 0) == BoundingBox((1, 2, 0), (4, 5, 0))


def test_labels_stay_and_do_not_count():
    plain = BoundingBox((8, 8, 8), (16, 16, 16))
    box = plain.with_name("dendrite").with_color((1, 0, 0, 1)).with_is_visible(False).with_index((3, 2, 1))
    assert box == plain
    assert hash(box) == hash(plain)
    derived = [
        box.in_mag(2),
        box.from_mag_to_mag1(2),
        box.align_with_mag(64, ceil=True),
        box.offset((1, 1, 1)),
        box.padded_with_margins((1, 1, 1)),
        box.intersected_with(plain),
        box.with_bounds_x(3),
        next(box.chunk((8, 8, 8))),
        pickle.loads(pickle.dumps(box)),
    ]
    for other in derived:
        assert (other.name, other.color, other.is_visible, other.index) == ("dendrite", (1, 0, 0, 1), False, (3, 2, 1))


# Axes


@given(nd_bounding_boxes(), st.data())
@pytest.mark.covers("NDBoundingBox")
def test_axes_are_sorted_by_their_index(box, data):
    index = data.draw(st.permutations(range(box.ndim)))
    sorted_box = box.with_index(index)
    assert list(sorted_box.index) == sorted(index)
    for axis, position in zip(box.axes, index, strict=True):
        assert sorted_box.axes[position] == axis
        assert sorted_box.get_bounds(axis) == box.get_bounds(axis)
        assert sorted_box.index[axis] == position


def test_three_numbers_are_x_y_and_z():
    box = NDBoundingBox((1, 2, 3, 4), (4, 5, 6, 7), axes=("t", "z", "y", "x"))
    assert box.offset((10, 20, 30)).topleft == (1, 32, 23, 14)
    assert box.in_mag(1) == box
    assert (box.topleft_xyz, box.size_xyz) == ((4, 3, 2), (7, 6, 5))
    assert (box.bottomright_xyz, box.index_xyz) == ((11, 9, 7), (3, 2, 1))
    flat = NDBoundingBox((1, 2), (1, 5), axes=("t", "y"))
    assert (flat.topleft_xyz, flat.size_xyz) == ((0, 2, 0), (0, 5, 0))
    assert flat.to_slices_xyz() == (slice(0, 1), slice(2, 7))
    assert BoundingBox.from_ndbbox(box) == BoundingBox((4, 3, 2), (7, 6, 5))


def test_boxes_with_other_axes_do_not_mix():
    box, other = NDBoundingBox((1, 2), (3, 4), "xy"), NDBoundingBox((1, 2), (3, 4), "yx")
    assert box != other
    for method in ("intersected_with", "extended_by", "contains_bbox"):
        with pytest.raises(ValueError, match="same axes"):
            getattr(box, method)(other)
    with pytest.raises(ValueError, match="NDBoundingBox"):
        BoundingBox((1, 2, 3), (4, 5, 6), axes=("z", "y", "x"))
    with pytest.raises(AssertionError):
        NDBoundingBox((1, 2, 3), (4, 5, 6), axes=("x", "y"))
    with pytest.raises(ValueError, match="index"):
        NDBoundingBox((1, 2), (4, 5), axes=("x", "y"), index=(1, 1))
    with pytest.raises(AssertionError, match="extent 1 along 't'"):
        NDBoundingBox((1, 2), (4, 5), axes=("t", "y")).to_slices_xyz()


def test_a_three_dimensional_box_of_either_class_is_the_same():
    box, nd = BoundingBox((1, 2, 3), (4, 5, 6)), NDBoundingBox((1, 2, 3), (4, 5, 6), axes="xyz")
    assert box == nd
    assert hash(box) == hash(nd)
    assert isinstance(box, NDBoundingBox)
    assert box.intersected_with(nd) == box
    assert len(box) == box.ndim == 3


# Forms


@given(bounding_boxes())
def test_print_and_parse(box):
    assert BoundingBox.from_csv(box.to_csv()) == box
    assert BoundingBox.from_checkpoint_name(box.to_checkpoint_name()) == box
    assert BoundingBox.from_checkpoint_name(f"/data/part_{box.to_checkpoint_name()}.npy") == box
    assert BoundingBox.from_tuple2(box.to_tuple2()) == box
    assert BoundingBox.from_tuple6(box.to_tuple6()) == box
    assert BoundingBox.from_config_dict(box.to_config_dict()) == box
    assert BoundingBox.from_wkw_dict(box.to_wkw_dict()) == box
    assert BoundingBox.from_named_tuple(namedtuple("Region", "topleft size")(*box.to_tuple2())) == box
    assert eval(repr(box)) == box
    forms = [
        box,
        box.to_tuple2(),
        box.to_tuple6(),
        box.to_wkw_dict(),
        box.to_config_dict(),
        box.to_csv(),
        str(box),
        json.dumps(box.to_wkw_dict()),
        json.dumps(box.to_config_dict()),
        json.dumps(box.to_tuple2()),
    ]
    assert all(BoundingBox.from_auto(form) == box for form in forms)


@given(nd_bounding_boxes(axes=axes_names(3, 5).filter({"x", "y", "z"}.issubset)))
def test_print_and_parse_more_axes(box):
    again = NDBoundingBox.from_wkw_dict(json.loads(json.dumps(box.to_wkw_dict())))
    assert again == box
    assert again.index == box.index
    assert eval(repr(box)) == box


def test_forms_that_are_no_box():
    for wrong in [None, 3, (1, 2, 3), "abc", {1, 2}]:
        with pytest.raises(ValueError):  # noqa: PT011  # int() words one of the messages
            BoundingBox.from_auto(wrong)
    for wrong in [{}, {"topleft": (1, 2, 3)}]:
        with pytest.raises(KeyError):
            BoundingBox.from_auto(wrong)
    for wrong in ["1,2,3,4,5", "1,2,3,4,5,6,7"]:
        with pytest.raises(AssertionError, match="6 parts"):
            BoundingBox.from_csv(wrong)
    with pytest.raises(AssertionError, match="'1_2_3'"):
        BoundingBox.from_checkpoint_name("1_2_3")
    with pytest.raises(ValueError, match="at least one point"):
        BoundingBox.from_points([])


@given(st.lists(triples(small_coordinates), min_size=1, max_size=9))
def test_box_around_points(points):
    box = BoundingBox.from_points(points)
    assert all(box.contains(point) for point in points)
    assert box == BoundingBox.from_points(np.array(points))
    assert box.topleft == tuple(np.min(points, axis=0))
    assert box.bottomright - 1 == tuple(np.max(points, axis=0))


@given(any_boxes(), st.data())
def test_a_negative_size_counts_back(box, data):
    flips = [data.draw(st.booleans()) for _ in box.axes]
    topleft = [end if flip else first for flip, first, end in zip(flips, box.topleft, box.bottomright, strict=True)]
    size = [-extent if flip else extent for flip, extent in zip(flips, box.size, strict=True)]
    assert box.with_topleft(topleft).with_size(size) == box
    assert NDBoundingBox(topleft, size, box.axes) == box


@given(st.lists(bounding_boxes(small_coordinates, small_extents), max_size=6), mags)
def test_groups(boxes, mag):
    groups = BoundingBox.group_boxes_with_aligned_mag(boxes, mag)
    assert sum(map(len, groups.values())) == len(boxes)
    for aligned, members in groups.items():
        assert members == [box for box in boxes if box.align_with_mag(mag, ceil=True) == aligned]


@given(any_boxes())
def test_boxes_are_immutable_and_travel(box):
    for name in ("topleft", "size", "bottomright", "axes", "name", "index", "anything"):
        with pytest.raises(AttributeError):
            setattr(box, name, 3)
    for other in [pickle.loads(pickle.dumps(box)), copy.copy(box), copy.deepcopy(box)]:
        assert other == box
        assert hash(other) == hash(box)
        assert type(other) is type(box)
        assert other.topleft.axes == box.topleft.axes
