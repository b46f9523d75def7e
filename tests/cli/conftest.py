"""A small dataset on disk, and the command to look at it with."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from further_axes import LAYOUT, add_layer, box_of, voxels_of
from real_data import REAL_DATA
from typer.testing import CliRunner

import wkgpu as wk
from wkgpu.cli.app import app

ANNOTATION = REAL_DATA / "l4dense_volume_annotation.zip"


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `wkgpu` with arguments, in an empty folder; the result has `exit_code` and `output`."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def refused(command):
    """Runs `wkgpu`, which has to print one line of error and nothing else; returns it."""

    def run(*arguments, exit_code=1):
        result = command(*arguments)
        assert result.exit_code == exit_code, result.output
        assert result.output.startswith("Error: ")
        assert result.output.count("\n") == 1
        return result.output

    return run


@pytest.fixture
def series(tmp_path):
    """A dataset with further axes, and its voxels."""
    axes = "tcqxyz"
    dataset, voxels = wk.Dataset(tmp_path / "series", voxel_size=(1, 1, 1)), voxels_of(axes)
    add_layer(dataset, wk, axes).add_mag(1, **LAYOUT).write(voxels, absolute_bounding_box=box_of(wk, axes))
    return dataset.path, voxels


@pytest.fixture(scope="session")
def volumes():
    """What the layers of `dataset` hold, (channel, x, y, z)."""
    random = np.random.default_rng(0)
    return {
        "color": random.integers(0, 256, (1, 40, 36, 20)).astype("uint8"),
        "rgb": random.integers(0, 256, (3, 40, 36, 20)).astype("uint8"),
        "depth": random.integers(-500, 3000, (1, 40, 36, 20)).astype("int16"),
        "cells": random.integers(0, 5, (1, 40, 36, 20)).astype("uint32"),
    }


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, volumes):
    """A dataset that no test changes. `color` has a second mag, 2-2-1, with every other voxel."""
    dataset = wk.Dataset(tmp_path_factory.mktemp("data") / "dataset", voxel_size=(10, 10, 25))
    for name, voxels in volumes.items():
        category = "segmentation" if name == "cells" else "color"
        layer = dataset.add_layer(name, category, dtype=voxels.dtype, num_channels=len(voxels))
        layer.add_mag(1, chunk_shape=16, shard_shape=32).write(voxels)
    half = np.ascontiguousarray(volumes["color"][:, ::2, ::2])
    dataset.get_layer("color").add_mag("2-2-1", chunk_shape=16, shard_shape=32, compress=False).write(half)
    return dataset.path


@pytest.fixture(scope="session")
def annotation(tmp_path_factory):
    """The folder of mags of a real volume annotation."""
    if not ANNOTATION.exists():
        pytest.skip(f"{ANNOTATION} is absent; set WKGPU_TEST_DATA")
    folder = tmp_path_factory.mktemp("annotation")
    with zipfile.ZipFile(ANNOTATION) as outer, outer.open("data_Volume.zip") as file, zipfile.ZipFile(file) as inner:
        inner.extractall(folder)
    return folder
