from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.cli.console import format_bytes, format_ratio, format_shape


def rows_of(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def document_of(command, path):
    result = command("info", path, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_dataset(command, dataset):
    result = command("info", dataset)
    assert result.exit_code == 0
    assert result.output.startswith("dataset: a dataset, one voxel is 10 x 10 x 25 nanometer\n")
    rows = rows_of(result.output)
    assert ["color", "color", "uint8", "1", "wkw", "0,0,0,40,36,20"] in rows
    assert ["cells", "segmentation", "uint32", "1", "wkw", "0,0,0,40,36,20"] in rows
    assert any(row[:6] == ["color", "1", "16³", "32³", "lz4", "4"] for row in rows)
    assert any(row[:6] == ["color", "2-2-1", "16³", "32³", "raw", "1"] for row in rows)
    assert "\x1b" not in result.output


def test_json(command, dataset, volumes):
    document = document_of(command, dataset)
    assert document["kind"] == "dataset"
    assert document["voxel_size"] == {"factor": [10.0, 10.0, 25.0], "unit": "nanometer"}
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert list(layers) == ["color", "rgb", "depth", "cells"]
    assert layers["rgb"]["num_channels"] == 3
    assert layers["color"]["bounding_box"] == [0, 0, 0, 40, 36, 20]
    for name, layer in layers.items():
        mag = layer["mags"][0]
        folder = dataset / name / "1"
        size = sum(file.stat().st_size for file in folder.rglob("*.wkw"))
        assert mag["shard_files"] == 4
        assert mag["bytes_on_disk"] == size
        assert mag["decoded_bytes"] == volumes[name].nbytes
        assert mag["compression_ratio"] == pytest.approx(volumes[name].nbytes / size)
    assert [mag["mag"] for mag in layers["color"]["mags"]] == ["1", "2-2-1"]


def test_further_axes(command, series):
    path, _ = series
    output = command("info", path).output
    assert [
        "a",
        "color",
        "uint8",
        "2",
        "zarr3",
        "0,0,0,10,12,14",
        "t:",
        "0",
        "to",
        "2,",
        "q:",
        "0",
        "to",
        "1",
    ] in rows_of(output)
    assert "`wkgpu read --at`" in output
    (layer,) = document_of(command, path)["layers"]
    assert layer["further_axes"] == {"t": [0, 3], "q": [0, 2]}


def test_holes_of_files_are_not_counted(command, tmp_path):
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1))
    mag_view = dataset.add_layer("color", "color").add_mag(1, chunk_shape=32, shard_shape=256, compress=False)
    mag_view.write(np.ones((32, 32, 32), "uint8"))
    (shard,) = mag_view.path.glob("z*/y*/x*.wkw")
    if shard.stat().st_blocks * 512 >= shard.stat().st_size:
        pytest.skip("this file system makes no holes")
    (mag,) = document_of(command, dataset.path)["layers"][0]["mags"]
    assert mag["bytes_on_disk"] < 256**3
    assert mag["decoded_bytes"] == 32**3


def test_no_layers_and_no_voxels(command, tmp_path):
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1))
    assert "no layers" in command("info", dataset.path).output
    dataset.add_layer("color", "color").add_mag(1)
    result = command("info", dataset.path)
    assert result.exit_code == 0
    assert ["color", "1", "32³", "1024³", "lz4", "0", "16", "B", "-"] in rows_of(result.output)


@pytest.mark.parametrize("folder", ["color", "color/1"])
def test_a_folder_of_mags_and_a_mag(command, dataset, folder):
    document = document_of(command, dataset / folder)
    assert document["kind"] == ("mag" if folder.endswith("1") else "folder of mags")
    (layer,) = document["layers"]
    assert layer["category"] is None
    assert layer["bounding_box"] == [0, 0, 0, 64, 64, 32]
    assert layer["mags"][0]["decoded_bytes"] == 64 * 64 * 32
    assert "without a dataset" in command("info", dataset / folder).output


def test_a_damaged_mag_does_not_hide_the_others(command, dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    (copy / "color" / "1" / "header.wkw").write_bytes(b"nonsense")
    result = command("info", copy)
    assert result.exit_code == 1
    rows = rows_of(result.output)
    assert ["color", "1", "cannot", "be", "read"] in rows
    assert any(row[:3] == ["color", "2-2-1", "16³"] for row in rows)
    assert f"Error: {copy / 'color' / '1' / 'header.wkw'}: truncated" in result.output


@pytest.mark.parametrize("name", ["info", "compress", "downsample"])
def test_the_root_and_a_link_to_itself(refused, tmp_path, name):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert str(tmp_path / "circle") in refused(name, tmp_path / "circle")
    assert refused("info", "/").startswith("Error: / is no dataset")


def test_what_is_nothing(refused, tmp_path):
    assert refused("info", tmp_path / "missing") == f"Error: {tmp_path / 'missing'} does not exist.\n"
    assert "no dataset" in refused("info", tmp_path)
    (tmp_path / "file").touch()
    assert "is a file" in refused("info", tmp_path / "file")
    (tmp_path / "datasource-properties.json").write_text("{")
    assert "datasource-properties.json" in refused("info", tmp_path)


def test_names_are_no_markup(command, tmp_path):
    wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1), name="[red]cells[/red]")
    assert "[red]cells[/red]" in command("info", tmp_path / "dataset").output


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(refused, dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    (copy / "datasource-properties.json").chmod(0)
    assert "Permission denied" in refused("info", copy)


def test_numbers_for_people():
    assert [format_bytes(number) for number in (0, 999, 1000, 999_960, 2_500_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.0 MB",
        "2.5 GB",
    ]
    assert [format_ratio(ratio) for ratio in (None, 1, 9.99, 9.999, 21.4)] == ["-", "1.00x", "9.99x", "10x", "21x"]
    assert format_shape((1, 1, 1)) == "1³"
    assert format_shape((1, 2)) == "1 x 2"


def test_what_a_crash_has_left_is_named(command, dataset, tmp_path):
    dataset = shutil.copytree(dataset, tmp_path / "copy")
    names = ".4.0123456789ab.wkgpu", "1/z0/y0/.x0.wkw.000000000000.wkgpu", "1/z0/y0/.x1.wkw.partial"
    left = [dataset / "color" / name for name in names]
    left[0].mkdir()
    left[1].touch()
    left[2].touch()
    (dataset / "color" / ".hidden").touch()
    assert document_of(command, dataset)["leftovers"] == sorted(map(str, left))
    output = command("info", dataset).output
    assert all(f"{path} is in use by another process, or left over" in output for path in left)
    wk.Dataset.open(dataset).get_layer("color").add_mag(8)
    assert document_of(command, dataset)["leftovers"] == [str(path) for path in left[1:]]
