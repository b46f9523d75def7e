"""Views, layers and datasets in another process."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import wkgpu as wk

OPEN = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    things = pickle.load(file)
for thing, path in zip(things, sys.argv[2:], strict=True):
    np.testing.assert_array_equal(thing.read(), np.load(path))
    print(type(thing).__name__, thing.bounding_box, thing.read_only)
things[1].write(np.full((2, 2, 2), 77, "uint8"))
things[0].write(np.full((2, 2, 2), 78, "uint8"), absolute_offset=(100, 100, 100))
"""


def test_views_open_in_another_process(mag_view, view, tmp_path, run_python, monkeypatch):
    monkeypatch.chdir(mag_view.path.parent)  # paths must not depend on where the other process runs
    things = [mag_view, view, view.get_view(read_only=True), wk.open_mag("1")]
    (tmp_path / "views.pickle").write_bytes(pickle.dumps(things))
    paths = [tmp_path / f"{number}.npy" for number in range(len(things))]
    for thing, path in zip(things, paths, strict=True):
        np.save(path, thing.read())
    printed = run_python(OPEN, tmp_path / "views.pickle", *paths)
    assert printed.splitlines() == [
        "MagView BoundingBox(topleft=(4, 8, 12), size=(40, 36, 32)) False",
        "View BoundingBox(topleft=(8, 12, 16), size=(32, 32, 24)) False",
        "View BoundingBox(topleft=(8, 12, 16), size=(32, 32, 24)) True",
        "MagView BoundingBox(topleft=(0, 0, 0), size=(64, 64, 64)) False",
    ]
    assert (view.read(relative_offset=(0, 0, 0), size=(2, 2, 2)) == 77).all()
    grown = wk.Dataset.open(mag_view.layer.dataset.path).get_layer("color")
    assert grown.bounding_box.bottomright == (102, 102, 102)


def test_a_view_pickles_to_its_path_and_region(view):
    view.read()
    kept = {"_path", "_bounding_box", "_mag", "_read_only", "_device", "_root", "_allow_foreign_writes"}
    assert set(view.__getstate__()) == kept
    assert len(pickle.dumps(view)) < 1000


def test_an_open_handle_stays_behind(view):
    with view:
        pickle.loads(pickle.dumps(view)).open().close()


@pytest.mark.covers("Layer.dataset")
def test_layers_and_datasets(dataset, layer, mag_view):
    cells = dataset.add_layer("cells", "segmentation")
    thawed, color, again = pickle.loads(pickle.dumps((dataset, layer, cells)))
    assert (thawed.path, list(thawed.layers)) == (dataset.path, ["color", "cells"])
    assert color.dataset is thawed
    assert type(again) is wk.SegmentationLayer
    np.testing.assert_array_equal(color.get_mag(1).read(), mag_view.read())


@pytest.mark.covers("Dataset.read_only", "Dataset.device")
def test_the_device_and_the_protection_travel(mag_view, dataset):
    assert pickle.loads(pickle.dumps(mag_view.to("cpu")))._device == "cpu"
    assert pickle.loads(pickle.dumps(mag_view.get_view().to("cpu")))._device == "cpu"
    frozen = wk.Dataset.open(dataset.path, read_only=True, device="cpu")
    thawed = pickle.loads(pickle.dumps(frozen))
    assert (thawed.read_only, thawed.device) == (True, "cpu")


def test_what_is_gone_does_not_open(dataset, mag_view):
    pickled = pickle.dumps(mag_view)
    dataset.delete_layer("color")
    with pytest.raises(wk.errors.LayerNotFoundError):
        pickle.loads(pickled)
