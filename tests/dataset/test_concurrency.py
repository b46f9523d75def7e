"""Several processes and threads that change one dataset: nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from datasets import VOXEL_SIZE, counted

import wkgpu as wk
from wkgpu.errors import AlreadyExistsError, NameTakenError

WORKERS = 4

PROCESS = """
import sys
import numpy as np
import wkgpu as wk

path, worker = sys.argv[1], int(sys.argv[2])
dataset = wk.Dataset(path, voxel_size=(11.24, 11.24, 25), exist_ok=True)
shared = dataset.get_or_add_layer("shared", "color", dtype="uint8")
mag_view = shared.get_or_add_mag(1, chunk_shape=8, shard_shape=32)
for step in range(5):
    layer = dataset.add_layer(f"layer-{worker}-{step}", "color", dtype="uint8")
    layer.add_mag(1, chunk_shape=8, shard_shape=32)
    layer.add_mag(2, chunk_shape=8, shard_shape=32)
    mag_view.write(np.full((4, 4, 4), 1 + worker, "uint8"), absolute_offset=(10 * step, 10 * worker, 0))
dataset.delete_layer(f"layer-{worker}-0")
shared.get_or_add_mag(2 ** (worker + 1), chunk_shape=8, shard_shape=32)
"""


@pytest.fixture(scope="module")
def changed_by_processes(tmp_path_factory):
    path = tmp_path_factory.mktemp("processes") / "dataset"
    workers = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(path), str(worker)], stderr=subprocess.PIPE, text=True)
        for worker in range(WORKERS)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=100)
        assert worker.returncode == 0, errors
    return wk.Dataset.open(path)


def test_processes_lose_no_layers_and_mags(changed_by_processes):
    wanted = {"shared"} | {f"layer-{worker}-{step}" for worker in range(WORKERS) for step in range(1, 5)}
    assert set(changed_by_processes.layers) == wanted
    for name in wanted - {"shared"}:
        assert list(changed_by_processes.get_layer(name).mags) == [wk.Mag(1), wk.Mag(2)]
    assert list(changed_by_processes.get_layer("shared").mags) == [wk.Mag(2**power) for power in range(WORKERS + 1)]


def test_processes_lose_no_growth_and_no_voxels(changed_by_processes):
    shared = changed_by_processes.get_layer("shared")
    assert shared.bounding_box == wk.BoundingBox((0, 0, 0), (44, 10 * WORKERS - 6, 4))
    voxels = shared.get_mag(1).read()[0]
    for worker in range(WORKERS):
        for step in range(5):
            assert (voxels[10 * step : 10 * step + 4, 10 * worker : 10 * worker + 4] == worker + 1).all()


def test_processes_leave_nothing_behind(changed_by_processes):
    names = {path.name for path in changed_by_processes.path.iterdir()}
    assert names == {"datasource-properties.json", *changed_by_processes.layers}


@pytest.mark.parametrize("own_datasets", [False, True], ids=["one dataset", "a dataset each"])
def test_threads_lose_nothing(dataset, layer, own_datasets):
    layer.add_mag(1, chunk_shape=8, shard_shape=32)

    def work(worker):
        mine = wk.Dataset.open(dataset.path) if own_datasets else dataset
        mag_view = mine.get_layer("color").get_mag(1)
        for step in range(5):
            mine.add_layer(f"layer-{worker}-{step}", "color").add_mag(1)
            mag_view.write(counted((2, 2, 2)) + worker, absolute_offset=(10 * step, 10 * worker, 0))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    opened = wk.Dataset.open(dataset.path)
    assert len(opened.layers) == 41
    assert opened.get_layer("color").bounding_box == wk.BoundingBox((0, 0, 0), (42, 72, 2))
    if not own_datasets:
        assert set(dataset.layers) == set(opened.layers)
        assert layer.bounding_box == opened.get_layer("color").bounding_box
    for worker in range(8):
        part = opened.get_layer("color").get_mag(1).read(absolute_offset=(40, 10 * worker, 0), size=(2, 2, 2))
        np.testing.assert_array_equal(part, counted((2, 2, 2)) + worker)


def test_one_of_many_makes_a_dataset_and_a_layer(tmp_path):
    def make(_):
        try:
            wk.Dataset(tmp_path / "dataset", voxel_size=VOXEL_SIZE)
        except AlreadyExistsError:
            return False
        return True

    def add(_):
        dataset = wk.Dataset(tmp_path / "dataset", voxel_size=VOXEL_SIZE, exist_ok=True)
        assert dataset.get_or_add_layer("shared", "color").get_or_add_mag(1).name == "1"
        try:
            dataset.add_layer("color", "color").add_mag(1)
        except NameTakenError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(8))) == 1
        assert sum(pool.map(add, range(8))) == 1
    names = [
        layer["name"]
        for layer in json.loads((tmp_path / "dataset" / "datasource-properties.json").read_text())["dataLayers"]
    ]
    assert sorted(names) == ["color", "shared"]


def write_piece(view, corner, data, mark):
    """The first time one piece is written its process dies half-way, as where memory is short."""
    view.write(data[:5], absolute_offset=corner)
    if corner == (13, 0, 13) and not mark.exists():
        mark.touch()
        os._exit(1)
    view.write(data, absolute_offset=corner)


def test_dask_writes_pieces_of_a_shard(dataset, tmp_path):
    """By threads, and by processes, of which one dies for each mag and is replaced."""
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    whole = counted((26, 26, 26), "float64")[0]
    pieces = {corner: whole[tuple(slice(at, at + 13) for at in corner)] for corner in product((0, 13), repeat=3)}
    box = wk.BoundingBox((0, 0, 0), (26, 26, 26))
    mags = {}
    for name, compress in (("threads", True), ("raw", False), ("lz4", True)):
        layer = dataset.add_layer(name, "color", dtype="float64", bounding_box=box)
        mags[name] = layer.add_mag(1, chunk_shape=8, shard_shape=32, compress=compress)
    calls = [dask.delayed(mags["threads"].write)(data, absolute_offset=corner) for corner, data in pieces.items()]
    dask.compute(*calls, scheduler="threads", num_workers=4)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.gather(
            [
                client.submit(write_piece, mags[name], *piece, tmp_path / f"{name}.died", retries=3)
                for name in ("raw", "lz4")
                for piece in pieces.items()
            ]
        )
    assert len(list(tmp_path.glob("*.died"))) == 2
    for mag_view in mags.values():
        np.testing.assert_array_equal(mag_view.read()[0], whole)


def test_threads_draw_patches_of_different_shapes(dataset):
    """Each gets its own patch, also beyond the border, and no file stays open for one that was read."""
    volume = np.random.default_rng(0).integers(0, 9, (96, 96, 96), dtype="uint8")
    mag_view = dataset.add_layer("patches", "color").add_mag(1, chunk_shape=8, shard_shape=16)
    mag_view.write(volume)
    padded = np.pad(volume, (0, 64))

    def draw(seed):
        random = np.random.default_rng(seed)
        for number in range(40):
            size = random.integers(1, 40, 3).tolist()
            corners = random.integers(0, 110, (3, 3)).tolist()
            boxes = [wk.BoundingBox(corner, size) for corner in corners]
            found = mag_view.read_many(boxes) if number % 2 else [mag_view.read(absolute_bounding_box=b) for b in boxes]
            for box, patch in zip(boxes, found, strict=True):
                np.testing.assert_array_equal(patch[0], padded[box.to_slices()])

    def run(first):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(draw, range(first, first + 4)))
        return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0

    run(0)
    before = run(4)
    assert run(8) <= before + 3
