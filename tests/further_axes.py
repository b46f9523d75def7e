"""Layers with further axes to test with, made with wkgpu or webknossos."""

import json

import numpy as np

SIZES = {"c": 2, "t": 3, "q": 2, "x": 10, "y": 12, "z": 14}
LAYOUT = {"chunk_shape": 4, "shard_shape": 8}


def box_of(library, axes, **bounds):
    """A box with first coordinates and lengths; the whole axis where none are given."""
    first, lengths = zip(*(bounds.get(axis, (0, SIZES[axis])) for axis in axes), strict=True)
    return library.NDBoundingBox(first, lengths, tuple(axes), tuple(range(len(axes))))


def voxels_of(axes, seed=0):
    return np.random.default_rng(seed).integers(1, 200, [SIZES[axis] for axis in axes]).astype("uint8")


def add_layer(dataset, library, axes, name="a", **bounds):
    return dataset.add_layer(
        name, "color", dtype_per_channel="uint8", num_channels=SIZES["c"] if "c" in axes else 1, data_format="zarr3",
        bounding_box=box_of(library, axes, **bounds),
    )  # fmt: skip


def entries(path):
    return json.loads((path / "datasource-properties.json").read_text())["dataLayers"]


def halved(voxels, axes, function=np.max):
    """Every second voxel along x, y and z, made of blocks of 2 in each."""
    blocks = [part for axis, length in zip(axes, voxels.shape, strict=True)
              for part in ((length // 2, 2) if axis in "xyz" else (length,))]  # fmt: skip
    places = np.cumsum([2 if axis in "xyz" else 1 for axis in axes]) - 1
    return function(voxels.reshape(blocks), axis=tuple(places[[axis in "xyz" for axis in axes]]))
