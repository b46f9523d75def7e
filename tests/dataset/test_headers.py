"""Where the header of a mag and the properties file disagree on voxels, the header decides."""

from __future__ import annotations

import json

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.errors import MismatchError


@pytest.fixture
def stored(dataset, saved, random):
    """Makes a mag, changes what the properties file says of its voxels, and opens the layer; with the voxels."""

    def make(dtype, channels, **said):
        made = dataset.add_layer("c", "color", dtype=dtype, num_channels=channels)
        voxels = random.integers(1, 200, (channels, 40, 36, 32)).astype(dtype)
        made.add_mag(1, chunk_shape=8, shard_shape=32).write(voxels)
        document = saved()
        del document["dataLayers"][0]["numChannels"]
        document["dataLayers"][0].update(said)
        (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
        return wk.Dataset.open(dataset.path).get_layer("c"), voxels

    return make


@pytest.mark.parametrize(
    ("dtype", "channels", "element_class"),
    [
        ("uint8", 3, "uint24"),
        ("uint8", 3, "uint8"),  # so wrote cubers of 2018
        ("uint8", 2, "uint16"),
        ("uint16", 2, "uint16"),
        ("float32", 3, "float"),
        ("uint8", 1, "uint8"),
    ],
)
def test_what_the_properties_leave_open_the_header_says(
    stored, saved, tmp_path, recwarn, dtype, channels, element_class
):
    layer, voxels = stored(dtype, channels, elementClass=element_class)
    assert (layer.dtype, layer.num_channels) == (np.dtype(dtype), channels)
    np.testing.assert_array_equal(layer.get_mag(1).read(), voxels)
    layer.downsample_mag(1, 2)
    coarse = layer.get_mag(2).read()
    assert (coarse.dtype, len(coarse)) == (np.dtype(dtype), channels)
    assert len({channel.tobytes() for channel in coarse}) == channels  # none is garbage, or that of another one
    assert layer.add_mag(4, shard_shape=64).info.num_channels == channels
    copied = layer.dataset.copy_dataset(tmp_path / "copy").get_layer("c")
    np.testing.assert_array_equal(copied.get_mag(1).read(), voxels)
    assert "numChannels" not in saved()["dataLayers"][0]
    assert not recwarn


DISAGREEMENTS = pytest.mark.parametrize(
    ("dtype", "channels", "said"),
    [
        ("uint8", 1, {"elementClass": "uint24", "numChannels": 3}),
        ("uint32", 1, {"elementClass": "uint8", "numChannels": 1}),
        ("uint8", 3, {"elementClass": "uint8", "numChannels": 1}),
        ("uint16", 1, {"elementClass": "uint24"}),
    ],
)


@DISAGREEMENTS
@pytest.mark.parametrize("part", ["mag", "view"])
def test_a_disagreement_is_a_warning_and_voxels_are_right(stored, dtype, channels, said, part):
    layer, voxels = stored(dtype, channels, **said)
    header, properties = layer.path / "1" / "header.wkw", layer.dataset.path / "datasource-properties.json"
    with pytest.warns(UserWarning, match="elementClass and numChannels") as warned:
        found = [layer.get_mag(1).read() if part == "mag" else layer.get_mag(1).get_view().read() for _ in range(2)]
    np.testing.assert_array_equal(found, [voxels, voxels])
    (message,) = (str(warning.message) for warning in warned)
    assert str(header) in message
    assert str(properties) in message
    assert f"{channels} channel(s) of {dtype}" in message
    with pytest.warns(UserWarning, match="numChannels"):
        wk.Dataset.open(layer.dataset.path).get_layer("c").get_mag(1).rechunk(8, 16)  # which the header alone decides
    with pytest.warns(UserWarning, match="numChannels"):
        np.testing.assert_array_equal(wk.Dataset.open(layer.dataset.path).get_layer("c").get_mag(1).read(), voxels)


@DISAGREEMENTS
@pytest.mark.filterwarnings("ignore:.*elementClass and numChannels:UserWarning")
def test_nothing_new_is_made_of_both(stored, saved, tmp_path, dtype, channels, said):
    layer, voxels = stored(dtype, channels, **said)
    before = saved()
    new = (
        lambda: layer.downsample(),
        lambda: layer.downsample_mag(1, 2),
        lambda: layer.dataset.downsample(coarsest_mag=4),
        lambda: layer.add_mag(2),
        lambda: layer.get_or_add_mag(2),
        lambda: layer.get_mag(1).compress(tmp_path / "target"),
        lambda: layer.get_mag(1).rechunk(target_path=tmp_path / "target"),
        lambda: layer.dataset.copy_dataset(tmp_path / "target"),
        lambda: wk.MagView(layer, wk.Mag(2), create=True),
    )
    for make in new:
        with pytest.raises(MismatchError, match=r"c/1/header\.wkw .*/datasource-properties\.json "):
            make()
    assert saved() == before
    assert [path.name for path in layer.path.iterdir()] == ["1"]
    assert not (tmp_path / "target").exists()
    np.testing.assert_array_equal(layer.get_mag(1).read(), voxels)
