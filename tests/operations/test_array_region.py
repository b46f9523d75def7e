"""A region of an array: what is open stays with it in this process, and is opened again in another one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from datasets import read

import wkgpu as wk
from wkgpu.errors import NotFoundError
from wkgpu.geometry.voxel_box import VoxelBox
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.transfer import read_box

BOX = VoxelBox((4, 8, 12), (16, 8, 4))


@pytest.fixture
def region(mag_view, cpu):
    return ArrayRegion.of(mag_view._array, cpu, mag_view.mag, BOX, "a mag")


def test_it_holds_what_is_open(region, mag_view, cpu):
    assert region.array is region.part(BOX).array is mag_view._array
    assert region.engine is region.part(BOX).engine is cpu
    assert region.part(VoxelBox((0, 0, 0), (1, 2, 3))).box == VoxelBox((0, 0, 0), (1, 2, 3))


def test_its_box_in_mag_1(region):
    coarse = ArrayRegion(region.path, wk.Mag("2-2-1"), BOX, "cpu")
    assert region.bounding_box == wk.BoundingBox(*BOX)
    assert coarse.bounding_box == wk.BoundingBox((8, 16, 12), (32, 16, 4))


def test_it_travels_as_its_path_and_opens_again(region, mag_view):
    thawed = pickle.loads(pickle.dumps(region))
    assert thawed == region
    assert len(pickle.dumps(region)) < 1000
    assert thawed.array is not region.array
    expected = read(mag_view, absolute_bounding_box=region.bounding_box)
    np.testing.assert_array_equal(read_box(thawed.array, thawed.engine, *thawed.box), expected)


def test_a_worker_can_take_one_whose_files_are_gone(region, dataset):
    """An error while a job is unpickled would end the worker process; it is one of the job."""
    pickled = pickle.dumps(region)
    dataset.delete_layer("color")
    thawed = pickle.loads(pickled)
    with pytest.raises(NotFoundError):
        thawed.array  # noqa: B018


@pytest.mark.parametrize("allowed", ["by the array", "by the settings"])
def test_permission_to_follow_links_travels(region, config, allowed):
    assert not region.follows_links
    if allowed == "by the settings":
        config.foreign_writes = True
    else:
        region.array.follows_links = True
    made = region.part(BOX)
    config.foreign_writes = False
    assert pickle.loads(pickle.dumps(made)).array.follows_links
