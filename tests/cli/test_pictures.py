from __future__ import annotations

import numpy as np
import pytest

from wkgpu.cli.panels import save_panels
from wkgpu.cli.pictures import colours_of, grey_levels, overlaid, picture

DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_colour_belongs_to_an_id(dtype):
    ids = np.array([[0, 1, 2], [2, 100, 0]], dtype)
    colours = colours_of(ids)
    assert colours.shape == (2, 3, 3)
    assert colours.dtype == np.uint8
    assert not colours[ids == 0].any()
    assert colours[ids != 0].any(axis=-1).all()
    np.testing.assert_array_equal(colours, colours_of(ids.astype("int64")))
    np.testing.assert_array_equal(colours[0, 2], colours[1, 0])


def test_ids_that_follow_each_other_are_far_apart():
    colours = colours_of(np.arange(1, 2000)).astype(int)
    assert np.abs(np.diff(colours, axis=0)).sum(axis=1).min() > 60
    assert len(np.unique(colours, axis=0)) == len(colours)


def test_large_and_negative_ids_have_colours():
    for ids in (np.array([2**64 - 1, 2**63], "uint64"), np.array([-1, -(2**63)], "int64")):
        colours = colours_of(ids)
        assert colours.any(axis=-1).all()
        assert (colours[0] != colours[1]).any()


@pytest.mark.parametrize("dtype", [*DTYPES, "float32", "float64"])
def test_grey_levels_use_the_whole_range(dtype):
    info = np.finfo(dtype) if dtype.startswith("f") else np.iinfo(dtype)
    pixels, low, high = grey_levels(np.array([[info.min, 0, info.max]], dtype))
    assert pixels[0, 0] == 0
    assert pixels[0, 2] == 255
    assert (low, high) == (float(info.min), float(info.max))


def test_grey_levels_of_one_value_and_of_none():
    assert not grey_levels(np.full((2, 2), 7))[0].any()
    assert not grey_levels(np.full((2, 2), np.nan))[0].any()
    pixels, low, high = grey_levels(np.array([np.nan, -np.inf, 1.0, 3.0, 2.0]))
    assert pixels.tolist() == [0, 0, 0, 255, 128]
    assert (low, high) == (1, 3)


def test_x_goes_right_and_y_down():
    voxels = np.arange(6, dtype="uint8").reshape(1, 3, 2)
    assert picture(voxels, "color").pixels.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_the_first_of_several_channels():
    voxels = np.zeros((2, 4, 4), "uint8")
    drawn = picture(voxels, "color")
    assert drawn.pixels.shape == (4, 4)
    assert "first of 2 channels" in drawn.caption


def test_black_is_transparent_in_an_overlay():
    grey = np.full((1, 2), 100, "uint8")
    colours = np.array([[[0, 0, 0], [200, 0, 0]]], "uint8")
    assert overlaid(grey, colours, 0.5).tolist() == [[[100, 100, 100], [150, 50, 50]]]


@pytest.mark.parametrize("shape", [(64, 64), (500, 300)])
def test_panels(tmp_path, shape):
    images = pytest.importorskip("PIL.Image")
    image = np.full(shape, 200, "uint8")
    save_panels(image, np.ones(shape, "uint32"), 11.24, tmp_path / "a.png")
    sheet = np.asarray(images.open(tmp_path / "a.png"))
    factor = 7 if shape == (64, 64) else 1
    assert sheet.shape == (factor * shape[1] + 52, 3 * (factor * shape[0] + 16) + 16, 3)
    assert (sheet[100, 100] == 200).all()
