"""Paths and URLs: what is local works, what is not is refused by name, and what wkgpu cannot read is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.errors import ArgumentError, InvalidNameError, StorageAccessError, UnsupportedError
from wkgpu.storage.stores.local.paths import is_remote, local_path

URLS = ["s3://bucket/ds", "https://example.org/ds", "gs://bucket/ds", "memory://ds", Path("s3://bucket/ds")]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def two_layers(dataset):
    """Two raw layers with voxels, "a" and "b"."""
    for name in ("a", "b"):
        made = dataset.add_layer(name, "color").add_mag(1, chunk_shape=8, shard_shape=32, compress=False)
        made.write(np.ones((200, 40, 32), "uint8"))
    return dataset


def relist(dataset, change):
    """Open the dataset after a change of the entry of its first layer."""
    file = dataset.path / "datasource-properties.json"
    document = json.loads(file.read_text())
    change(document["dataLayers"][0])
    file.write_text(json.dumps(document))
    return wk.Dataset.open(dataset.path)


@pytest.mark.parametrize("url", URLS, ids=map(str, URLS))
def test_urls_are_refused_by_name(dataset, mag_view, here, url):
    named = str(url) if isinstance(url, str) else "s3://bucket/ds"
    uses = (
        lambda: wk.Dataset(url, voxel_size=(1, 1, 1)),
        lambda: wk.Dataset.open(url),
        lambda: wk.open_mag(url),
        lambda: dataset.copy_dataset(url),
        lambda: mag_view.compress(url),
        lambda: mag_view.rechunk(target_path=url),
    )
    for use in uses:
        with pytest.raises(UnsupportedError, match=f"{named} .* only local files"):
            use()
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("path", [None, 5, b"/tmp", "a\0b", ["a"], "\ud800"])
def test_what_is_no_path(path):
    with pytest.raises(ArgumentError, match="Give dataset_path" if path is None else "no path"):
        wk.Dataset.open(path)


def test_paths_that_the_system_refuses(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / ("x" * 5000), tmp_path / "loop"):
        for use in (wk.Dataset.open, wk.open_mag, lambda path: wk.Dataset(path, voxel_size=(1, 1, 1))):
            with pytest.raises(StorageAccessError, match=f"Cannot open {path}"):
                use(path)


def test_no_layer_has_the_name_of_a_url(dataset):
    with pytest.raises(InvalidNameError):
        dataset.add_layer_for_existing_files("s3://bucket/layer", "color")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("file:///data/my%20cortex", "/data/my cortex"),
        ("file://localhost/data/a", "/data/a"),
        (Path("file:///data/a"), "/data/a"),
        ("FILE:///data/a", "/data/a"),
        ("/data/a%20b", "/data/a%20b"),
        ("/data/s3://b", "/data/s3:/b"),
        ("/data/10:30", "/data/10:30"),
    ],
)
def test_local_paths(given, expected):
    assert local_path(given) == Path(expected)
    assert not is_remote(given)


def test_paths_of_universal_pathlib(tmp_path):
    upath = pytest.importorskip("upath").UPath
    for given in (upath(tmp_path / "a%20b"), upath(f"file://{tmp_path}/a%20b")):
        assert local_path(given) == tmp_path / "a%20b"
    for url in ("memory://bucket/ds", "http://example.org/ds"):
        with pytest.raises(UnsupportedError, match=url):
            wk.Dataset.open(upath(url))


def test_datasets_by_file_url(dataset, tmp_path):
    dataset.path.rename(tmp_path / "my cortex")
    for name in ("my cortex", "my%20cortex"):
        assert wk.Dataset.open(f"file://{tmp_path}/{name}").path == tmp_path / "my cortex"
    (tmp_path / "my cortex").rename(tmp_path / "my%20cortex")  # the WEBKNOSSOS library does not quote what it writes
    assert wk.Dataset.open(f"file://{tmp_path}/my%20cortex").path == tmp_path / "my%20cortex"


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_mags_by_file_url(two_layers, tmp_path, webknossos, place):
    path = two_layers.path / "a" / "1"
    if place == "outside":
        path = path.rename(tmp_path / "elsewhere")
    opened = relist(two_layers, lambda layer: layer["mags"][0].update(path=f"file://{path}"))
    mag_view = opened.get_layer("a").get_mag(1)
    assert (mag_view.path, mag_view.is_remote_to_dataset) == (path, place == "outside")
    theirs = webknossos.Dataset.open(two_layers.path).get_layer("a").get_mag(1)
    np.testing.assert_array_equal(mag_view.read(), theirs.read())


@pytest.mark.parametrize("url", ["https://example.org/a/1", "s3://bucket/a/1"])
def test_mags_at_a_url_are_left_out(two_layers, here, tmp_path, saved, url):
    opened = relist(two_layers, lambda layer: layer["mags"][0].update(path=url))
    before = saved()["dataLayers"][0]
    mag_view = opened.get_layer("a").get_mag(1)
    assert mag_view.is_remote_to_dataset
    for use in (mag_view.read, lambda: mag_view.info, mag_view.get_view().read, lambda: mag_view.compress(tmp_path)):
        with pytest.raises(UnsupportedError, match=f"{url} .* only local files"):
            use()
    _check_others_are_done(opened, tmp_path, url)
    assert saved()["dataLayers"][0] == before
    opened.get_layer("a").delete_mag(1)
    assert list(here.iterdir()) == []


def test_layers_of_other_formats_are_left_out(dataset, tmp_path, saved, webknossos):
    """Nothing of them is changed, and the WEBKNOSSOS library reads them as before."""
    theirs = webknossos.Dataset.open(dataset.path)
    box = webknossos.BoundingBox((0, 0, 0), (64, 64, 64))
    written = theirs.add_layer("em", "color", dtype="uint8", data_format="zarr", bounding_box=box)
    written.add_mag(1, chunk_shape=(32, 32, 32), compress=False).write(np.ones((64, 64, 64), "uint8"))
    mag_view = (
        wk.Dataset.open(dataset.path).add_layer("b", "color").add_mag(1, chunk_shape=8, shard_shape=32, compress=False)
    )
    mag_view.write(np.ones((200, 40, 32), "uint8"))
    before = saved()["dataLayers"][0]
    opened = wk.Dataset.open(dataset.path)
    em = opened.get_layer("em")
    for use in (em.get_mag(1).read, lambda: em.get_mag(1).info, lambda: wk.open_mag(em.path / "1")):
        with pytest.raises(UnsupportedError, match="em/1 is Zarr 2"):
            use()
    for use in (em.downsample, lambda: em.add_mag(2)):
        with pytest.raises(UnsupportedError, match=r"em/1 is Zarr 2|zarr"):
            use()
    _check_others_are_done(opened, tmp_path, "'em' .* is zarr")
    assert saved()["dataLayers"][0] == before
    assert webknossos.Dataset.open(dataset.path).get_layer("em").get_mag(1).read().sum() == 64**3


def _check_others_are_done(opened, tmp_path, named):
    """Check that commands for all layers do what they do to "b", and warn of the other layer."""
    with pytest.warns(UserWarning, match=named):
        opened.compress()
    with pytest.warns(UserWarning, match=named):
        opened.downsample(coarsest_mag=2)
    with pytest.warns(UserWarning, match=named):
        copied = opened.copy_dataset(tmp_path / "copy")
    assert opened.get_layer("b").get_mag(1).info.codec == "lz4"
    assert list(copied.layers) == ["b"]
    assert len(copied.get_layer("b").mags) == len(opened.get_layer("b").mags) == 2
    assert copied.get_layer("b").get_mag(1).content_is_equal(opened.get_layer("b").get_mag(1))


def test_the_box_of_existing_files_is_that_of_the_finest_mag(dataset, tmp_path, webknossos):
    """A shard of a coarse mag reaches far beyond the voxels in it."""
    made = dataset.add_layer("c", "color")
    made.add_mag(1, chunk_shape=8, shard_shape=32).write(np.ones((100, 80, 60), "uint8"))
    made.downsample(coarsest_mag=4)
    boxes = {}
    for library in (wk, webknossos):
        other = library.Dataset(tmp_path / library.__name__, voxel_size=(1, 1, 1))
        shutil.copytree(made.path, other.path / "c")
        found = other.add_layer_for_existing_files("c", "color").bounding_box
        boxes[library] = tuple(found.topleft), tuple(found.size)
    assert boxes[wk] == boxes[webknossos] == ((0, 0, 0), (128, 96, 64))
    for folder in (tmp_path / "wkgpu" / "c" / "1").glob("z*"):
        shutil.rmtree(folder)
    emptied = wk.Dataset.open(tmp_path / "wkgpu")
    (emptied.path / "c").rename(emptied.path / "d")
    assert emptied.add_layer_for_existing_files("d", "color").bounding_box.size == (2048, 2048, 1024)  # of mag 2-2-1
