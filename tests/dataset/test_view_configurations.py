"""How WEBKNOSSOS shows datasets and layers at first, as the properties file says it."""

from __future__ import annotations

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.errors import ArgumentError, PropertiesError, ReadOnlyError

OF_A_LAYER = {
    "color": (255, 0, 7),
    "alpha": 20.5,
    "intensity_range": (0.0, 1.5),
    "min": 0.0,
    "max": 9.5,
    "is_disabled": True,
    "is_inverted": False,
    "is_in_edit_mode": True,
    "mapping": {"name": "a", "type": "HDF5"},
}
OF_A_DATASET = {
    "four_bit": True,
    "interpolation": False,
    "render_missing_data_black": True,
    "zoom": 1.5,
    "loading_strategy": "PROGRESSIVE_QUALITY",
    "segmentation_pattern_opacity": 40,
    "position": (1, 2, 3),
    "rotation": (0, 90, 0),
    "color_layer_order": ["color"],
    "blend_mode": "Additive",
    "natively_rendered_layer_name": "color",
}


@pytest.fixture
def theirs(webknossos, layer):
    """Opens the dataset with the WEBKNOSSOS library."""
    return lambda: webknossos.Dataset.open(layer.dataset.path)


def written(library, dataset):
    """Save all that there is to say."""
    layer = library.LayerViewConfiguration(**OF_A_LAYER)
    dataset.get_layer("color").default_view_configuration = layer
    dataset.default_view_configuration = library.DatasetViewConfiguration(**OF_A_DATASET, layers={"color": layer})


def values(configuration):
    names = OF_A_LAYER if hasattr(configuration, "alpha") else OF_A_DATASET
    return {name: getattr(configuration, name) for name in names}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.covers("Dataset.default_view_configuration", "Layer.default_view_configuration")
@pytest.mark.covers("DatasetViewConfiguration", "LayerViewConfiguration")
def test_both_libraries_write_and_read_the_same(webknossos, dataset, layer, theirs, saved):
    written(webknossos, theirs())
    first = saved()
    opened = wk.Dataset.open(dataset.path)
    assert values(opened.default_view_configuration) == OF_A_DATASET
    assert values(opened.default_view_configuration.layers["color"]) == OF_A_LAYER
    assert values(opened.get_layer("color").default_view_configuration) == OF_A_LAYER
    written(wk, dataset)
    second = saved()
    assert second["dataLayers"] == first["dataLayers"]
    first, second = (document["defaultViewConfiguration"] for document in (first, second))
    # The library writes these keys with underscores, which WEBKNOSSOS does not read.
    assert second.pop("layers") == {"color": saved()["dataLayers"][0]["defaultViewConfiguration"]}
    assert first.pop("layers").keys() == {"color"}
    assert second == first
    assert values(theirs().default_view_configuration) == OF_A_DATASET
    assert values(theirs().get_layer("color").default_view_configuration) == OF_A_LAYER


def test_none_says_nothing(dataset, layer, saved):
    for owner in (dataset, layer):
        assert owner.default_view_configuration is None
    before = saved()
    layer.default_view_configuration = wk.LayerViewConfiguration(alpha=5)
    assert saved()["dataLayers"][0]["defaultViewConfiguration"] == {"alpha": 5}
    dataset.default_view_configuration = wk.DatasetViewConfiguration()
    assert saved()["defaultViewConfiguration"] == {}
    for owner in (dataset, layer):
        owner.default_view_configuration = None
    assert saved() == before


def test_keys_that_are_not_known_stay(dataset, layer, saved):
    with dataset._changing() as properties:
        properties.document["defaultViewConfiguration"] = {
            "selectiveVisibilityInProofreading": True,
            "zoom": 4,
            "fourBit": True,
            "layers": {"color": {"gammaCorrectionValue": 2, "alpha": 1, "is_inverted": True}, "other": {"alpha": 3}},
        }
        properties.layer("color").document["defaultViewConfiguration"] = {"gammaCorrectionValue": 3, "alpha": 1}
    assert dataset.default_view_configuration.layers["color"].is_inverted is True
    layer.default_view_configuration = wk.LayerViewConfiguration(color=(1, 2, 3))
    dataset.default_view_configuration = wk.DatasetViewConfiguration(
        zoom=2, layers={"color": wk.LayerViewConfiguration(alpha=9)}
    )
    assert saved()["dataLayers"][0]["defaultViewConfiguration"] == {"gammaCorrectionValue": 3, "color": [1, 2, 3]}
    assert saved()["defaultViewConfiguration"] == {
        "selectiveVisibilityInProofreading": True,
        "zoom": 2,
        "layers": {"color": {"gammaCorrectionValue": 2, "alpha": 9}},
    }


def test_numbers_of_other_kinds(dataset, layer):
    layer.default_view_configuration = wk.LayerViewConfiguration(color=np.array([1, 2, 3]), alpha=np.float32(2))
    assert layer.default_view_configuration == wk.LayerViewConfiguration(color=(1, 2, 3), alpha=2.0)
    dataset.default_view_configuration = wk.DatasetViewConfiguration(position=wk.Vec3Int(1, 2, 3))
    with dataset._changing() as properties:
        properties.document["defaultViewConfiguration"]["rotation"] = [0.0, 90.0, 0.0]
    assert dataset.default_view_configuration == wk.DatasetViewConfiguration(position=(1, 2, 3), rotation=(0, 90, 0))


@pytest.mark.parametrize("wrong", [{"alpha": 3}, 7, wk.LayerViewConfiguration(color=(1, 2))])
def test_errors(dataset, layer, saved, wrong):
    before = saved()
    for owner in (dataset, layer):
        with pytest.raises(ArgumentError, match=r"Configuration"):
            owner.default_view_configuration = wrong
    opened = wk.Dataset.open(dataset.path, read_only=True)
    for owner in (opened, opened.get_layer("color")):
        with pytest.raises(ReadOnlyError):
            owner.default_view_configuration = None
    assert saved() == before


def test_a_file_with_other_types(dataset, layer):
    with dataset._changing() as properties:
        properties.document["defaultViewConfiguration"] = {"position": "here"}
        properties.layer("color").document["defaultViewConfiguration"] = [1]
    with pytest.raises(PropertiesError, match=r"datasource-properties.json: default.*array.*position"):
        _ = dataset.default_view_configuration
    with pytest.raises(PropertiesError, match=r"layer 'color': default.*object"):
        _ = layer.default_view_configuration
    layer.default_view_configuration = wk.LayerViewConfiguration(alpha=1)
    assert layer.default_view_configuration.alpha == 1
