"""The commands on a real volume annotation: a folder of mags without a dataset, written by the WEBKNOSSOS server."""

from __future__ import annotations

import json

import numpy as np
import pytest

BOX = (2656, 4160, 1792, 384, 320, 32)
TEXT = ",".join(map(str, BOX))


def test_info(command, annotation):
    result = command("info", annotation, "--json")
    assert result.exit_code == 0
    (layer,) = json.loads(result.output)["layers"]
    assert layer["dtype"] == "uint32"
    assert layer["bounding_box"] == list(BOX)
    mags = {mag["mag"]: mag for mag in layer["mags"]}
    assert len(mags) == 11
    assert mags["1"]["shard_files"] == 94
    assert mags["1"]["codec"] == "lz4"
    assert mags["1"]["decoded_bytes"] == 94 * 32**3 * 4
    assert mags["1"]["compression_ratio"] > 15
    assert "94" in command("info", annotation).output


@pytest.mark.parametrize("mag", ["1", "2-2-1", "4-4-2"])
def test_read(command, annotation, mag):
    wkw = pytest.importorskip("wkw")
    assert command("read", annotation, mag, "--box", TEXT, "--out", "a.npy").exit_code == 0
    factors = [int(factor) for factor in mag.split("-")] * (3 if mag == "1" else 1)
    topleft, shape = (tuple(n // f for n, f in zip(part, factors, strict=True)) for part in (BOX[:3], BOX[3:]))
    with wkw.Dataset.open(str(annotation / mag)) as expected:
        np.testing.assert_array_equal(np.load("a.npy"), expected.read(topleft, shape))


def test_the_picture_shows_the_annotation(command, annotation):
    images = pytest.importorskip("PIL.Image")
    result = command("read", annotation, "1", "--box", TEXT, "--out", "a.png")
    assert "62 segments" in result.output
    assert "Taken for a segmentation" in result.output
    picture = np.asarray(images.open("a.png"))
    assert picture.shape == (320, 384, 3)
    assert 0.5 < picture.any(axis=-1).mean() < 0.8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 63
