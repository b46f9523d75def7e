from __future__ import annotations

import builtins
import re

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.synthetic import Tissue

ARGUMENTS = ("demo", "--size", "64", "--seed", "3")


def test_the_main_job(command, tmp_path):
    images = pytest.importorskip("PIL.Image")
    result = command(*ARGUMENTS)
    assert result.exit_code == 0, result.output
    assert "on engine cpu" in result.output
    assert "All that was read equals what was written." in result.output
    assert len(re.findall(r"^(?:write|read|64³).* (?:image|segmentation) ", result.output, re.MULTILINE)) == 10
    assert "wkgpu info demo-output" in result.output

    image, segmentation = Tissue((64, 64, 64), seed=3).volumes()
    dataset = wk.Dataset.open("demo-output")
    np.testing.assert_array_equal(dataset.get_layer("image").get_mag(1).read()[0], image)
    layer = dataset.get_segmentation_layer("segmentation")
    np.testing.assert_array_equal(layer.get_mag(1).read()[0], segmentation)
    assert layer.largest_segment_id >= segmentation.max()
    assert images.open("demo-output/picture.png").size[0] > 1000


def test_the_next_steps_can_be_taken(command):
    steps = re.findall(r"^  wkgpu (.*)$", command(*ARGUMENTS).output, re.MULTILINE)
    assert [step.split()[0] for step in steps] == ["info", "read"]
    for step in steps:
        assert command(*step.split()).exit_code == 0


def test_an_earlier_demo_is_replaced(command, tmp_path):
    for _ in range(2):
        assert command(*ARGUMENTS, "--out", tmp_path / "a").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        ".made-by-wkgpu-demo",
        "datasource-properties.json",
        "image",
        "picture.png",
        "segmentation",
    ]


def test_other_folders_are_left_alone(refused, command, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    assert "was not made by" in refused(*ARGUMENTS, "--out", tmp_path / "mine")
    assert "is a file" in refused(*ARGUMENTS, "--out", tmp_path / "mine" / "precious")
    assert command(*ARGUMENTS, "--out", tmp_path / "demo").exit_code == 0
    (tmp_path / "demo" / "precious").touch()
    assert "'precious'" in refused(*ARGUMENTS, "--out", tmp_path / "demo")
    assert (tmp_path / "demo" / "image").exists()


def test_an_unknown_device_costs_nothing(command, tmp_path):
    assert command(*ARGUMENTS, "--out", tmp_path / "a").exit_code == 0
    result = command(*ARGUMENTS, "--out", tmp_path / "a", "--device", "tpu")
    assert result.exit_code == 1
    assert "Error: device 'tpu'" in result.output
    assert (tmp_path / "a" / "image").exists()


@pytest.mark.parametrize("member", ["read", "read_many"])
def test_a_difference_is_an_error(command, monkeypatch, member):
    original = getattr(wk.MagView, member)

    def damaged(view, *arguments, **keywords):
        voxels = original(view, *arguments, **keywords)
        voxels[..., 5, 6, 7] ^= 1
        return voxels

    monkeypatch.setattr(wk.MagView, member, damaged)
    result = command(*ARGUMENTS)
    assert result.exit_code == 1
    assert "layer 'image' of demo-output: 1 voxels differ; at (5, 6, 7)" in result.output
    assert "equals" not in result.output


def test_without_pillow_there_is_no_picture(command, monkeypatch):
    original = builtins.__import__

    def without_pillow(name, *arguments, **keywords):
        if name == "PIL":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    result = command(*ARGUMENTS)
    assert result.exit_code == 0, result.output
    assert "No picture: A picture needs Pillow" in result.output


@pytest.mark.parametrize("size", ["63", "4096", "big"])
def test_sizes(command, size):
    assert command("demo", "--size", size).exit_code == 2
