"""What commands say of URLs, and of layers that they leave out."""

import json

import numpy as np
import pytest

import wkgpu as wk


@pytest.fixture
def mixed(tmp_path):
    """A dataset with a layer at a URL, a Zarr layer, a broken layer, and a raw layer "b"."""
    dataset = wk.Dataset(tmp_path / "mixed set", voxel_size=(1, 1, 1))
    for name in ("url", "zarr", "broken", "b"):
        mag_view = dataset.add_layer(name, "color").add_mag(1, chunk_shape=8, shard_shape=32, compress=False)
        mag_view.write(np.ones((200, 40, 32), "uint8"))
    file = dataset.path / "datasource-properties.json"
    document = json.loads(file.read_text())
    url, zarr, broken, _ = document["dataLayers"]
    url["mags"][0]["path"] = "s3://bucket/url/1"
    zarr["dataFormat"] = "n5"
    broken["mags"] = 5
    file.write_text(json.dumps(document))
    return dataset.path


def test_commands_for_a_dataset_do_what_can_be_done(mixed, command, tmp_path):
    for arguments in (["compress"], ["downsample", "--to", "2"], ["rechunk", "--chunk", "16", "--shard", "64"]):
        result = command(arguments[0], mixed, *arguments[1:])
        assert result.exit_code == 0, result.output
        warned = [line for line in result.output.splitlines() if line.startswith("Warning: ")]
        assert {name for name in ("'url'", "'zarr'", "'broken'") if any(name in line for line in warned)} == {
            "'url'",
            "'zarr'",
            "'broken'",
        }
        assert ".py" not in "".join(warned)
    with pytest.warns(UserWarning, match="broken"):
        layer = wk.Dataset.open(mixed).get_layer("b")
    assert layer.get_mag(1).info.chunk_shape == (16, 16, 16)
    assert len(layer.mags) == 2
    assert command("compress", mixed, "--target", tmp_path / "copy").exit_code == 0
    assert list(wk.Dataset.open(tmp_path / "copy").layers) == ["b"]


def test_info_shows_the_others(mixed, command):
    result = command("info", mixed)
    assert result.exit_code == 0
    assert "Warning: s3://bucket/url/1 is not a local path" in result.output
    assert any(line.split()[:2] == ["b", "1"] for line in result.output.splitlines())


def test_what_is_named_is_not_left_out(mixed, command):
    for name, reason in (("url", "s3://bucket/url/1"), ("broken", "mags")):
        result = command("compress", mixed, name, "1")
        assert result.exit_code == 1
        assert f"{reason}" in result.output.splitlines()[-1]


def test_urls_are_refused_by_name(mixed, command, tmp_path):
    for arguments in (
        ["info", "s3://bucket/ds"],
        ["compress", mixed, "--target", "s3://bucket/ds"],
        ["downsample", "https://example.org/ds"],
        ["equal", mixed, "gs://bucket/ds"],
        ["merge", mixed, "b", "s3://bucket/annotation"],
        ["read", mixed, "b", "1", "--box", "0,0,0,8,8,8", "--out", "s3://bucket/a.npy"],
        ["demo", "--out", "s3://bucket/demo"],
    ):
        result = command(*arguments)
        assert result.exit_code == 2
        assert "only local files" in " ".join(result.output.replace("\u2502", " ").split())
    assert not list((tmp_path / "here").iterdir())


def test_file_urls(mixed, command):
    result = command("info", f"file://{mixed}".replace(" ", "%20"))
    assert "mixed set" in result.output
    assert "200" in result.output
