"""The README's Python runs as it stands there, and the script for newcomers gives what the WEBKNOSSOS library gives."""

from __future__ import annotations

import json
import re
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from wkgpu.settings import config

sys.path.append(str(Path(__file__).parents[1]))  # benchmarks are not installed

from benchmarks import readme
from benchmarks.gpu import report
from benchmarks.gpu.figures import GpuFigure

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
(MIGRATION,) = (block for block in BLOCKS if "instead of: import webknossos" in block)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a script in an empty folder and returns its variables."""

    def run(script, folder):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        file = tmp_path / folder / "sample.py"
        file.write_text(script, encoding="utf-8")
        return runpy.run_path(str(file), run_name="__main__")  # as `python sample.py`: what is for scripts alone runs

    return run


def test_the_bodies_of_scripts_run(run, capsys):
    (jobs,) = (block for block in BLOCKS if "__main__" in block)
    run(jobs, "here")
    assert capsys.readouterr().out == re.search("# (\\[255.*)\n", jobs)[1] + "\n"


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_runs_as_it_is(run, number, monkeypatch):
    monkeypatch.setattr(config, "threads", config.threads)  # put back afterwards
    if "import torch" in BLOCKS[number]:
        pytest.importorskip("torch", reason="PyTorch is not installed, which this sample trains with")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(BLOCKS[number], "here")


def test_the_first_sample_works_with_zarr_3(run, monkeypatch):
    monkeypatch.setattr(config, "data_format", "zarr3")
    sample = next(block for block in BLOCKS if "wk.Dataset(" in block)
    assert run(sample, "here")["mag"].data_format == "zarr3"


def test_the_migration_script_gives_the_same(run, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("webknossos")
        theirs = run(MIGRATION.replace("import wkgpu as wk", "import webknossos as wk"), "theirs")
    their_output = capsys.readouterr().out.splitlines()[-1]
    ours = run(MIGRATION, "ours")
    assert capsys.readouterr().out.splitlines()[-1] == their_output
    arrays = {name for name, value in ours.items() if isinstance(value, np.ndarray)}
    assert arrays == {"data", "corner", "inside", "whole"}
    for name in arrays:
        assert theirs[name].dtype == ours[name].dtype
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_each_library_opens_what_the_other_wrote(run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        webknossos = pytest.importorskip("webknossos")
        whole = run(MIGRATION.replace("import wkgpu as wk", "import webknossos as wk"), "theirs")["whole"]
        run(MIGRATION, "ours")
        read = webknossos.Dataset.open(tmp_path / "ours" / "cells_dataset").get_layer("cells").get_mag("2-2-1").read()
    np.testing.assert_array_equal(read, whole)
    import wkgpu

    read = wkgpu.Dataset.open(tmp_path / "theirs" / "cells_dataset").get_layer("cells").get_mag("2-2-1").read()
    np.testing.assert_array_equal(read, whole)


def test_the_settings_are_all_of_them():
    listed = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted((name, f"WKGPU_{name.upper()}") for name in vars(config))


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (Path(__file__).parents[1] / target.partition("#")[0]).exists(), target


def test_the_figures_are_those_that_were_measured():
    how = "write them with: python -m benchmarks.readme"
    assert readme.table_in(README) == readme.table(), how
    assert readme.table_in(README, "zarr-benchmark") == readme.zarr_table(), how
    assert readme.table_in(README, "gpu-benchmark") == readme.gpu_table(), how


def test_the_figures_of_the_gpu_that_stand_there_were_measured_together(tmp_path):
    stored = json.loads(readme.GPU_FIGURES.read_text(encoding="utf-8"))
    table = readme.gpu_table(readme.GPU_FIGURES)
    assert len(re.findall(r"^\| (?!work)\w", table, re.MULTILINE)) == len(readme.GPU_ROWS) == 5
    assert table.count("Measured on 2026-11-27 at commit e5d00f0 on an NVIDIA H100") == 1
    # A further run of `make bench-gpu` adds its figures to such a file, and those of before stay as they are.
    further = tmp_path / "gpu.json"
    further.write_text(json.dumps(stored), encoding="utf-8")
    results = report.Results(further, {**stored["runs"][0]["machine"], "date": "2026-12-01", "commit": None}, {})
    results.add(GpuFigure("read-em", "whole read, fresh output: EM", "GB/s", ours=[30.0]))
    assert json.loads(further.read_text(encoding="utf-8"))["figures"][-1] == stored["figures"][-1]
    table = readme.gpu_table(further)
    assert "| whole read, fresh output: EM | 30 GB/s |  |  |\n" in table
    assert "Measured on 2026-12-01 at an unknown commit" in table
    assert "Measured on 2026-11-27 at commit e5d00f0" in table
