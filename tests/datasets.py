"""Datasets to test with, and the WEBKNOSSOS library to compare with."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from arrays import on_host

import wkgpu as wk

VOXEL_SIZE = (11.24, 11.24, 25)


@pytest.fixture(scope="session")
def webknossos():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("webknossos")


@pytest.fixture
def dataset(tmp_path):
    return wk.Dataset(tmp_path / "dataset", voxel_size=VOXEL_SIZE)


@pytest.fixture
def layer(dataset):
    return dataset.add_layer("color", "color", dtype="uint8")


@pytest.fixture
def volume(random):
    """Voxels (x, y, z) that fill the box of `mag_view`."""
    return random.integers(1, 256, (40, 36, 32)).astype("uint8")


@pytest.fixture
def mag_view(layer, volume):
    """A mag with voxels in the box (4, 8, 12) to (44, 44, 44)."""
    made = layer.add_mag(1, chunk_shape=8, shard_shape=32)
    made.write(volume, absolute_offset=(4, 8, 12))
    return made


@pytest.fixture
def view(mag_view):
    """The part of `mag_view` from (8, 12, 16) to (40, 44, 40)."""
    return mag_view.get_view(absolute_offset=(8, 12, 16), size=(32, 32, 24))


@pytest.fixture
def saved(dataset):
    """Reads the properties file."""
    return lambda: json.loads((dataset.path / "datasource-properties.json").read_text())


def counted(shape, dtype="uint8", channels=1):
    """Voxels (channel, x, y, z) that differ from their neighbours."""
    return (np.arange(channels * np.prod(shape)) % 113).astype(dtype).reshape((channels, *shape))


def read(view, **region):
    """What a view reads, as a NumPy array, whatever its device."""
    return on_host(view._engine, view.read(**region))
