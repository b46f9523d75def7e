"""`wkgpu equal`, and its exit codes: 0 equal, 1 different, 2 trouble."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.cli.boxes import parse_box


@pytest.fixture
def copy(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "copy")


@pytest.fixture
def differ(command):
    """Compares, and returns what is printed; fails if there is no difference."""

    def run(*arguments):
        result = command("equal", *arguments)
        assert result.exit_code == 1, result.output
        return result.output

    return run


def test_equal_datasets(command, dataset, copy):
    wk.Dataset.open(copy).get_layer("color").get_mag(1).rechunk(8, 64, compress=False)
    result = command("equal", dataset, copy, "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"{name}: equal" for name in ("color 1", "color 2-2-1", "rgb 1", "depth 1", "cells 1")
    ]


@pytest.mark.parametrize("part", ["color", "color/1"])
def test_equal_parts(command, dataset, copy, part):
    shutil.copytree(copy / part, "loose")
    for other in (copy / part, "loose"):
        assert command("equal", dataset / part, other).exit_code == 0


@pytest.mark.parametrize("mag", ["1", "2-2-1"])
def test_a_voxel_that_differs_is_found(differ, dataset, copy, mag):
    mag_view = wk.Dataset.open(copy).get_layer("color").get_mag(mag)
    at = wk.BoundingBox((30, 34, 19), (1, 1, 1)).align_with_mag(mag_view.mag, ceil=True)
    mag_view.write(mag_view.read(absolute_bounding_box=at) + np.uint8(1), absolute_bounding_box=at)
    output = differ(dataset, copy)
    (box,) = re.findall(rf"^color {mag}: different, first in the box (.*)$", output, re.MULTILINE)
    assert parse_box(box).contains_bbox(at)
    assert output.count("equal") == 4
    assert differ(dataset, copy, "--layer", "color").count("\n") == 2
    assert differ(dataset, copy, "--layer", "color", "--mag", mag).count("\n") == 1


def test_the_box_of_a_difference_is_small(differ, tmp_path):
    for name in ("one", "other"):
        layer = wk.Dataset(tmp_path / name, voxel_size=(1, 1, 1)).add_layer("a", "color")
        layer.add_mag("2-2-1", chunk_shape=32, shard_shape=128).write(np.zeros((150, 70, 200), "uint8"))
    voxel = wk.BoundingBox((298, 100, 199), (2, 2, 1))
    layer.get_mag("2-2-1").write(np.ones((1, 1, 1), "uint8"), absolute_bounding_box=voxel)
    box = parse_box(differ(tmp_path / "one", tmp_path / "other").split()[-1])
    assert box.contains_bbox(voxel)
    assert box.volume() <= 64**3 * 4


def test_differences_of_structure(differ, dataset, copy):
    changed = wk.Dataset.open(copy)
    changed.delete_layer("rgb")
    changed.get_layer("color").delete_mag(1)
    changed.add_layer("new", "color").add_mag(1)
    changed.get_layer("depth").bounding_box = wk.BoundingBox((0, 0, 0), (40, 36, 21))
    lines = differ(dataset, copy).splitlines()
    assert lines[:4] == [
        f"color 1: only in {dataset}",
        f"new: only in {copy}",
        f"rgb: only in {dataset}",
        "depth: the bounding boxes differ: 0,0,0,40,36,20 and 0,0,0,40,36,21",
    ]
    assert lines[4:] == ["color 2-2-1: equal", "depth 1: equal", "cells 1: equal"]


def test_differences_of_layers_and_voxel_sizes(differ, command, tmp_path):
    for name, category, dtype, size in (("one", "color", "uint8", 1), ("other", "segmentation", "uint16", 2)):
        made = wk.Dataset(tmp_path / name, voxel_size=(size, 1, 1))
        made.add_layer("a", category, dtype=dtype).add_mag(1).write(np.ones((5, 5, 5), dtype))
    output = differ(tmp_path / "one", tmp_path / "other")
    for what in ("voxel sizes differ: (1.0, 1.0, 1.0) and (2.0, 1.0, 1.0) nm", "categories differ: color and segm"):
        assert what in output
    assert output.count("types differ: 1 x uint8 and 1 x uint16") == 2


def test_empty_mags_are_equal(command, tmp_path):
    for name in ("one", "other"):
        wk.Dataset(tmp_path / name, voxel_size=(1, 1, 1)).add_layer("a", "color").add_mag(1)
    assert command("equal", tmp_path / "one", tmp_path / "other").output == "a 1: equal\n"


def test_coordinates_along_further_axes(command, differ, tmp_path):
    for name, length in (("a", 2), ("b", 2), ("c", 3)):
        layer = wk.Dataset(tmp_path / name, voxel_size=(1, 1, 1)).add_layer(
            "series", "color", data_format="zarr3", bounding_box=wk.NDBoundingBox.from_axes("txyz", (length, 70, 8, 8))
        )
        layer.add_mag(1, chunk_shape=8, shard_shape=8).write(np.ones((length, 70, 8, 8), "uint8"))
    assert command("equal", tmp_path / "a", tmp_path / "b").output == "series 1: equal\n"
    assert "coordinates along further axes differ" in differ(tmp_path / "a", tmp_path / "c")
    at = wk.NDBoundingBox((1, 40, 0, 0), (1, 8, 8, 8), ("t", "x", "y", "z"))
    changed = wk.Dataset.open(tmp_path / "b").get_layer("series").get_mag(1)
    changed.write(np.zeros((1, 8, 8, 8), "uint8"), absolute_bounding_box=at)
    assert "different, first in the box" in differ(tmp_path / "a", tmp_path / "b")


def test_mags_without_a_dataset_in_other_shards(command, dataset, copy, tmp_path):
    """Their boxes are those of their files, which differ."""
    for place, shard in (("one", 16), ("other", 128)):
        mag_view = wk.Dataset.open(copy).get_layer("color").get_mag(1)
        mag_view.rechunk(16, shard)
        shutil.copytree(mag_view.path, tmp_path / place / "1")
    assert command("equal", tmp_path / "one", tmp_path / "other").exit_code == 0
    assert command("equal", tmp_path / "one", dataset / "color", "--mag", 1).exit_code == 0


def test_trouble_is_no_difference(refused, command, dataset, copy):
    assert "does not exist" in refused("equal", dataset, "missing", exit_code=2)
    assert "no layer" in refused("equal", dataset, copy, "--layer", "nothing", exit_code=2)
    for forgotten in ([], [dataset]):
        assert command("equal", *forgotten).exit_code == 2
    shard = copy / "color" / "1" / "z0" / "y0" / "x0.wkw"
    shard.write_bytes(shard.read_bytes()[:100])
    result = command("equal", dataset, copy)
    assert result.exit_code == 2
    assert "Error: " in result.output
