"""A volume annotation that the WEBKNOSSOS server has written: every mag, voxel for voxel against wkw."""

import zipfile

import numpy as np
import pytest
from arrays import is_simulated, read_box
from real_data import REAL_DATA

from wkgpu.storage.formats import open_array

wkw = pytest.importorskip("wkw")

ANNOTATION = REAL_DATA / "l4dense_volume_annotation.zip"
MAGS = ["1", "2-2-1", "4-4-2", "8-8-4", "16-16-8", "32-32-16", "64-64-32", "128-128-64", "256-256-128", "512-512-256"]
MAGS.append("1024-1024-512")

pytestmark = pytest.mark.skipif(not ANNOTATION.exists(), reason=f"{ANNOTATION} is absent; set WKGPU_TEST_DATA")


@pytest.fixture(scope="module")
def annotation(tmp_path_factory):
    """The folder of the annotation's mags."""
    folder = tmp_path_factory.mktemp("annotation")
    with zipfile.ZipFile(ANNOTATION) as outer, outer.open("data_Volume.zip") as file, zipfile.ZipFile(file) as inner:
        inner.extractall(folder)
    (header, *_) = folder.rglob("header.wkw")
    return header.parent.parent


def test_the_mags_are_these(annotation):
    assert sorted(path.name for path in annotation.iterdir() if path.is_dir()) == sorted(MAGS)


@pytest.mark.parametrize("mag", MAGS)
def test_every_voxel(annotation, engine, mag):
    if is_simulated(engine) and MAGS.index(mag) < 4:
        pytest.skip("too large to simulate")
    array = open_array(annotation / mag)
    boxes = array.shard_boxes()
    begin = np.min([topleft for topleft, _ in boxes], axis=0)
    end = np.max([np.add(topleft, shape) for topleft, shape in boxes], axis=0)
    found = read_box(array, engine, tuple(begin.tolist()), tuple((end - begin).tolist()))
    with wkw.Dataset.open(str(array.path)) as dataset:
        expected = dataset.read(tuple(begin.tolist()), tuple((end - begin).tolist()))
    assert found.any()
    np.testing.assert_array_equal(found, expected)
