"""Datasets that webknossos makes open in wkgpu, the other way around, and scripts for one run with the other."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from arrays import is_simulated
from datasets import counted, read
from strategies import VOXEL_TYPES

import wkgpu as wk

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
CHANNELS = (1, 2, 3, 4, 7)


def names(device, part, parts, webknossos_only=False):
    """Every n-th layer of all voxel types and channels: name, category, dtype, channels. Fewer are simulated."""
    every = 4 if is_simulated(wk.get_engine(device)) else 1
    return list(all_names(webknossos_only))[part :: parts * every]


def all_names(webknossos_only):
    for dtype in VOXEL_TYPES:
        for category in ("color", "segmentation"):
            if category == "segmentation" and dtype.startswith("float"):
                continue
            if webknossos_only and (dtype == "float64" or (category == "color" and dtype.endswith("int64"))):
                continue  # webknossos reads such layers and refuses to make them
            for num_channels in CHANNELS:
                yield f"{category}-{dtype}-{num_channels}", category, dtype, num_channels


def voxels_of(dtype, num_channels):
    return counted((20, 19, 18), dtype, num_channels)


@pytest.mark.parametrize(("compress", "part"), [(True, 0), (False, 1)], ids=["LZ4", "raw"])
def test_wkgpu_opens_what_webknossos_makes(webknossos, device, tmp_path, compress, part):
    theirs = webknossos.Dataset(tmp_path / "dataset", voxel_size=(11.24, 11.24, 25))
    for name, category, dtype, num_channels in names(device, part, 2, webknossos_only=True):
        box = webknossos.BoundingBox((5, 6, 7), (20, 19, 18))
        layer = theirs.add_layer(
            name, category, dtype=dtype, num_channels=num_channels, data_format="wkw", bounding_box=box
        )
        layer.add_mag(1, chunk_shape=8, shard_shape=32, compress=compress).write(voxels_of(dtype, num_channels))
    ours = wk.Dataset.open(tmp_path / "dataset")
    assert (ours.name, ours.voxel_size) == ("dataset", (11.24, 11.24, 25.0))
    for name, category, dtype, num_channels in names(device, part, 2, webknossos_only=True):
        layer = ours.get_layer(name)
        assert (layer.category, layer.dtype, layer.num_channels) == (category, np.dtype(dtype), num_channels)
        assert layer.bounding_box == wk.BoundingBox((5, 6, 7), (20, 19, 18))
        assert layer.get_mag(1).info.compression_mode is compress
        np.testing.assert_array_equal(read(layer.get_mag(1)), voxels_of(dtype, num_channels))


@pytest.mark.parametrize(("compress", "part"), [(True, 0), ("lz4hc", 1), (False, 2)], ids=["LZ4", "LZ4HC", "raw"])
def test_webknossos_opens_what_wkgpu_makes(webknossos, device, tmp_path, compress, part):
    ours = wk.Dataset(tmp_path / "dataset", voxel_size=(11.24, 11.24, 25), name="ours")
    for name, category, dtype, num_channels in names(device, part, 3):
        layer = ours.add_layer(name, category, dtype=dtype, num_channels=num_channels)
        mag_view = layer.add_mag("2-2-1", chunk_shape=8, shard_shape=32, compress=compress)
        mag_view.write(voxels_of(dtype, num_channels), absolute_offset=(10, 12, 7))
    theirs = webknossos.Dataset.open(tmp_path / "dataset")
    assert (theirs.name, tuple(theirs.voxel_size)) == ("ours", (11.24, 11.24, 25.0))
    for name, category, dtype, num_channels in names(device, part, 3):
        layer = theirs.get_layer(name)
        assert (layer.category, layer.dtype, layer.num_channels) == (category, np.dtype(dtype), num_channels)
        assert tuple(layer.bounding_box.topleft) == (10, 12, 7)
        assert tuple(layer.bounding_box.size) == (40, 38, 18)
        np.testing.assert_array_equal(layer.get_mag("2-2-1").read(), voxels_of(dtype, num_channels))


def test_both_may_change_a_dataset_in_turn(webknossos, device, tmp_path):
    voxels = voxels_of("uint8", 1)
    ours = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1))
    ours.add_layer("a", "color").add_mag(1, chunk_shape=8, shard_shape=32).write(voxels, absolute_offset=(0, 0, 0))
    theirs = webknossos.Dataset.open(tmp_path / "dataset")
    theirs.add_layer("b", "segmentation", dtype="uint32", data_format="wkw", largest_segment_id=9)
    theirs.get_layer("a").get_mag(1).write(voxels, absolute_offset=(32, 0, 0), allow_resize=True)
    b = ours.get_layer("b")
    assert (b.largest_segment_id, b.dtype) == (9, np.uint32)
    a = ours.get_layer("a")
    assert a.bounding_box == wk.BoundingBox((0, 0, 0), (52, 19, 18))
    b.add_mag(4)
    again = webknossos.Dataset.open(tmp_path / "dataset")
    assert [mag.to_tuple() for mag in again.get_layer("b").mags] == [(4, 4, 4)]
    np.testing.assert_array_equal(again.get_layer("a").get_mag(1).read(), read(a.get_mag(1)))


SCRIPT = """
import numpy as np
import {module} as wk

box = wk.BoundingBox((0, 0, 0), (96, 64, 64))
dataset = wk.Dataset(path, voxel_size=(11.24, 11.24, 25), name="cortex")
color = dataset.add_layer(
    "color", wk.COLOR_CATEGORY, dtype="uint8", num_channels=1, data_format=wk.DataFormat.WKW, bounding_box=box
)
cells = dataset.add_layer(
    "cells", "segmentation", dtype=np.uint32, data_format="wkw", largest_segment_id=0, bounding_box=box
)
fine = color.add_mag(1, chunk_shape=(8, 8, 8), shard_shape=(32, 32, 32))
coarse = color.add_mag(wk.Mag("2-2-1"), chunk_shape=wk.Vec3Int.full(8), shard_shape=32, compress=False)
labels = cells.get_or_add_mag("1", chunk_shape=8, shard_shape=32)

data = (np.arange(96 * 64 * 64) % 251).astype("uint8").reshape(96, 64, 64)
fine.write(data, absolute_offset=(0, 0, 0))
coarse.write(data[::2, ::2], absolute_bounding_box=box)
labels.write(data.astype("uint32") * 1000, relative_offset=(0, 0, 0))
view = fine.get_view(absolute_offset=(32, 32, 32), size=(32, 32, 32))
view.write(255 - view.read())
cells.largest_segment_id = 250_000

reopened = wk.Dataset.open(path)
layer = reopened.get_layer("color")
half = wk.Mag(2)
results = [
    reopened.name,
    tuple(reopened.voxel_size),
    sorted(reopened.layers),
    [layer.name for layer in reopened.get_color_layers()],
    [(layer.name, layer.largest_segment_id) for layer in reopened.get_segmentation_layers()],
    str(reopened.calculate_bounding_box()),
    [(layer.category, str(layer.dtype), layer.num_channels) for layer in reopened.layers.values()],
    [str(layer.bounding_box) for layer in reopened.layers.values()],
    [str(mag) for mag in sorted(layer.mags)],
    layer.get_finest_mag().name,
    layer.get_mag(1).info.chunk_shape.to_tuple(),
    layer.get_mag(1).info.shard_shape.to_tuple(),
    layer.get_mag("2-2-1").info.compression_mode,
    sorted(str(box) for box in layer.get_mag("2-2-1").get_bounding_boxes_on_disk()),
    str(view.bounding_box),
    view.read_only,
    layer.get_mag(1).read(),
    layer.get_mag(1).read(absolute_offset=(10, 20, 30), size=(40, 40, 40)),
    layer.get_mag(1).read(absolute_bounding_box=wk.BoundingBox((80, 50, 50), (32, 32, 32))),
    layer.get_mag("2-2-1").read(relative_bounding_box=box.padded_with_margins((0, 0, 0), (-32, -32, -32))),
    reopened.get_layer("cells").get_mag(1).get_view(relative_offset=(8, 8, 8), size=(8, 8, 8), read_only=True).read(),
    view.get_view(relative_offset=(4, 4, 4), size=(8, 8, 8)).read(),
    view.get_dtype() == np.uint8,
]
errors = []
for mistake in (
    lambda: dataset.get_layer("none"),
    lambda: layer.get_mag(64),
    lambda: dataset.add_layer("color", "color", dtype="uint8", data_format="wkw"),
    lambda: layer.add_mag(1),
    lambda: wk.Dataset.open(path + "/nowhere"),
    lambda: wk.Dataset(path, voxel_size=(1, 1, 1)),
    lambda: fine.get_view(absolute_offset=(0, 0, 0), size=(100, 10, 10)),
    lambda: fine.read(absolute_offset=(0, 0, 0)),
    lambda: coarse.read(absolute_offset=(1, 1, 1), size=(2, 2, 2)),
    lambda: view.get_view(read_only=True).write(data[:4, :4, :4]),
    lambda: view.write(data, relative_offset=(0, 0, 0)),
    lambda: fine.write(np.zeros((2, 8, 8, 8), "uint8"), absolute_offset=(0, 0, 0)),
    lambda: setattr(layer, "bounding_box", wk.BoundingBox((-1, 0, 0), (1, 1, 1))),
):
    try:
        mistake()
    except Exception as error:
        errors.append(error)
"""


def run(module, path):
    namespace = {"path": str(path)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(SCRIPT.format(module=module), module, "exec"), namespace)
    return namespace


def test_a_script_runs_after_changing_its_import(webknossos, device, tmp_path):
    theirs = run("webknossos", tmp_path / "theirs")
    ours = run("wkgpu", tmp_path / "ours")
    assert len(ours["results"]) == len(theirs["results"])
    for mine, other in zip(ours["results"], theirs["results"], strict=True):
        np.testing.assert_array_equal(mine.get() if hasattr(mine, "get") else mine, other)
    for mine, other in zip(ours["errors"], theirs["errors"], strict=True):
        assert isinstance(mine, type(other)), f"{mine!r} is no {other!r}"
        assert isinstance(mine, wk.WkgpuError)

    properties = [
        json.loads((tmp_path / name / "datasource-properties.json").read_text()) for name in ("ours", "theirs")
    ]
    assert properties[0] == properties[1]
