"""The benchmarks of the CPU, whose rows compare what is read before they time it; those that need no shard of 1024³."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # benchmarks are not installed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("webknossos")

from benchmarks.__main__ import BENCHMARKS
from benchmarks.workbench import Sizes, Workbench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Workbench(tmp_path_factory.mktemp("bench"), Sizes((64, 64, 64), (64, 64, 64), 1, 1))


@pytest.mark.parametrize("name", ["read-fresh", "read-into", "write", "zarr-read", "zarr-others"])
def test_rows(bench, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figures = list(BENCHMARKS[name](bench))
    assert figures
    assert all(figure.ours and figure.theirs for figure in figures)
