"""Chunks that face each other, and boxes that have none."""

from dataclasses import replace

import numpy as np
import pytest
from strategies import voxels

from wkgpu.operations.transfer import write_box
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.plans.chunk_lookup import pieces_of
from wkgpu.storage.plans.comparison import chunk_grids_coincide, comparison_plan
from wkgpu.storage.spec import ArraySpec


def layout_of(codec="lz4", chunk=4, dtype="uint8", channels=1, chunks=2):
    return ArraySpec(np.dtype(dtype), channels, (chunk,) * 3, (chunks,) * 3, pipeline_of(codec))


@pytest.fixture
def plans(make_array, naive, request):
    """Makes plans of mags with these layouts, in whose first corner 12x8x8 voxels are stored."""

    def make(*layouts, shape=(16, 8, 8), topleft=(0, 0, 0)):
        made = []
        for number, spec in enumerate(layouts):
            array = make_array(spec)
            write_box(array, naive, (0, 0, 0), voxels(spec, (12, 8, 8), number))
            corner = topleft[number] if isinstance(topleft[0], tuple) else topleft
            plan, sources = next(array.read_plans([corner], shape))
            request.addfinalizer(sources.close)
            made.append(plan)
        return made

    return make


def test_pairs_by_place(plans):
    one, other = plans(layout_of(), layout_of("raw", chunks=1))
    plan = comparison_plan(one, other)
    # A shard of the first mag also holds chunks that were never written. Those of the other mag are not there.
    assert len(one.chunks.staging_offset) == 16
    assert len(other.chunks.staging_offset) == 12
    assert plan.rows_of_one.tolist() == list(range(16))
    assert sorted(plan.rows_of_other.tolist()) == [-1] * 4 + list(range(12))
    np.testing.assert_array_equal(plan.origin, one.chunks.origin)
    stored = plan.rows_of_other >= 0
    np.testing.assert_array_equal(other.chunks.origin[plan.rows_of_other[stored]], plan.origin[stored])
    assert (plan.origin[~stored][:, 0] == 12).all()
    turned = comparison_plan(other, one)
    assert turned.rows_of_one.tolist() == [-1] * 4 + list(range(12))


def test_a_box_that_cuts_chunks(plans):
    corners = ((2, 1, 3), (10, 1, 7))
    one, other = plans(layout_of(), layout_of("lz4hc"), shape=(5, 7, 5), topleft=corners)
    plan = comparison_plan(one, other)
    assert len(plan.origin) == 2 * 2 * 2
    assert plan.origin.min(axis=0).tolist() == [-2, -1, -3]
    np.testing.assert_array_equal(one.chunks.origin[plan.rows_of_one], plan.origin)
    assert (plan.rows_of_other >= -1).all()


def test_what_is_nowhere_stored_has_no_pair(plans):
    one, other = plans(layout_of(), layout_of(), topleft=(160, 160, 160))
    assert len(comparison_plan(one, other).origin) == 0


def face(one, other, corners=((0, 0, 0), (0, 0, 0)), limit=1 << 20):
    return chunk_grids_coincide((one, other), (pieces_of(one, limit), pieces_of(other, limit)), corners)


def test_chunk_grids_coincide_where_they_are_alike():
    for other in (layout_of(), layout_of("raw"), layout_of("lz4hc", chunks=8)):
        assert face(layout_of(), other)
        assert face(layout_of(), other, ((1, 2, 3), (5, 2, 11)))
    for topleft in ((1, 0, 0), (0, 3, 0), (4, 4, 5)):
        assert not face(layout_of(), layout_of(), ((0, 0, 0), topleft))


def test_chunk_grids_coincide_in_any_order_of_axes():
    spec = replace(layout_of(), chunk_shape=(2, 4, 8), axis_order=(2, 0, 1))
    pieces = (pieces_of(spec.in_own_axes, 1 << 20),) * 2
    assert chunk_grids_coincide((spec, spec), pieces, ((0, 0, 0), (2, 4, 8)))
    assert not chunk_grids_coincide((spec, spec), pieces, ((0, 0, 0), (8, 2, 4)))


@pytest.mark.parametrize(
    "spec", [layout_of(chunk=8, chunks=1), layout_of(dtype="int8"), layout_of(dtype="uint16"), layout_of(channels=3)]
)
def test_other_chunks_or_voxels_do_not_face(spec):
    assert not face(layout_of(), spec)


def test_the_bytes_of_floats_do_not_say_all():
    assert not face(layout_of(dtype="float32"), layout_of(dtype="float32"))


def test_plans_of_parts_have_no_pairs(plans, monkeypatch):
    monkeypatch.setattr("wkgpu.storage.plans.read_planner.MAX_ROWS", 8)
    one, other = plans(layout_of(), layout_of())
    assert one.shape == (16, 8, 8)
    assert len(one.chunks.staging_offset) <= 8
    assert comparison_plan(one, other) is None


def test_raw_chunks_that_are_cut_in_pieces(plans, config):
    config.staging_bytes = 16
    one, other = plans(layout_of("raw"), layout_of("raw"), shape=(8, 8, 8))
    plan = comparison_plan(one, other)
    assert len(plan.origin) == 8 * 4
    np.testing.assert_array_equal(plan.rows_of_one, plan.rows_of_other)
    assert face(layout_of("raw"), layout_of("raw"), limit=16)
    assert not face(layout_of("raw"), layout_of("lz4"), limit=16)
