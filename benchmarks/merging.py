"""Merging a volume annotation that the WEBKNOSSOS server has written into a segmentation."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.figures import Figure, Side, compare
from benchmarks.volumes import Shape
from benchmarks.workbench import Workbench

DATA = Path(os.environ.get("WKGPU_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
ANNOTATION = DATA / "l4dense_volume_annotation.zip"
BOX = ((2656, 4160, 1792), (384, 320, 32))
"""First voxel and shape of what is annotated, in 94 files of one chunk each."""
SHARD = ((2048, 4096, 1024), (1024, 1024, 1024))
"""The shard of the segmentation in which all of that lies."""


def merge_annotation(bench: Workbench) -> Iterator[Figure]:
    """Mag 1 of the annotation into an LZ4 segmentation in shards of 1024³; no figure where the annotation is absent."""
    if bench.wkgpu is None or not ANNOTATION.exists():
        return
    annotation = _annotation(bench)
    segmentation = _segmentation(bench)
    sides = []
    for module, options in ((bench.wkgpu, {}), (bench.webknossos, {"executor": _executor()})):
        path = bench.copy(segmentation, f"merged-{module.__name__}")
        sides.append(_merging(module, path, annotation, options))
    _check_equal(bench)
    yield compare(
        "merge-annotation",
        "volume annotation of 94 chunks merged into a 1024³ shard",
        *sides,
        bench.sizes.rounds,
        count=1,
        at_least=10,
    )


def _annotation(bench: Workbench) -> Path:
    """Unpack the annotation's mag 1 as a dataset that both libraries open."""
    path = bench.fresh_folder("annotation")
    with zipfile.ZipFile(ANNOTATION) as outer, outer.open("data_Volume.zip") as file, zipfile.ZipFile(file) as inner:
        inner.extractall(bench.scratch / "mags")
    (header,) = (bench.scratch / "mags").rglob("1/header.wkw")
    peers.create(bench.wkgpu, path, np.uint32, (1, 1, 1), shard=peers.CHUNK)
    shutil.copytree(header.parent, peers.mag_folder(path), dirs_exist_ok=True)
    box = bench.wkgpu.BoundingBox(*BOX)
    bench.wkgpu.Dataset.open(path).get_layer(peers.LAYER).bounding_box = box
    return path


def _segmentation(bench: Workbench) -> Path:
    """Store the segmentation in that corner of the shard in which the annotation lies."""
    path = bench.fresh_folder("merged-base")
    mag = peers.create(bench.wkgpu, path, np.uint32, tuple(np.add(*SHARD).tolist()), shard=SHARD[1][0])
    mag.write(bench.segmentation, absolute_offset=_corner(bench))
    return path


def _corner(bench: Workbench) -> Shape:
    (x, y, z), (width, _, depth) = SHARD
    return x + width - bench.sizes.volume[0], y, z + depth - bench.sizes.volume[2]


def _merging(module: Any, path: Path, annotation: Path, options: dict[str, Any]) -> Side:
    """Merge once, and again in every round, which is the same work."""
    mag, other = peers.open_mag(module, path), peers.open_mag(module, annotation)

    def merge(number: int) -> None:
        mag.merge_with_view(other, **options)

    merge(-1)
    return Side(module.__name__, merge)


def _executor() -> Any:
    """Return webknossos's executor without processes: the work is one job."""
    from cluster_tools import get_executor

    return get_executor("sequential")


def _check_equal(bench: Workbench) -> None:
    for topleft, shape in (BOX, (_corner(bench), bench.sizes.volume)):
        ours, theirs = (
            peers.open_wkw(bench.scratch / f"merged-{module.__name__}").read(topleft, shape)
            for module in (bench.wkgpu, bench.webknossos)
        )
        np.testing.assert_array_equal(ours, theirs)
