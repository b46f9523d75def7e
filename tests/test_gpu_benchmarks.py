"""The benchmarks of the GPU, every row once at the smallest sizes, on a simulated device."""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

sys.path.append(str(Path(__file__).parents[1]))  # benchmarks are not installed

from benchmarks.gpu import __main__ as program
from benchmarks.gpu import report, session
from benchmarks.gpu.bench import Bench, Sizes
from benchmarks.gpu.figures import GpuFigure, Skipped, Task
from wkgpu.engines import device_selection, get_engine
from wkgpu.engines.cuda.engine import CudaEngine
from wkgpu.errors import DeviceError

TINY = Sizes(
    em=(64, 32, 32), segmentation=(32, 32, 32), shard=32, block=32, part=(20, 18, 17), patch=12, batches=(2, 3),
    patches=2, rounds=1, peer_rounds=1, batch_bytes=(40_000,), file_threads=(1,), task_bytes=(4096,),
)  # fmt: skip


class SimulatedGpu:
    """See `benchmarks.gpu.hardware.Gpu`."""

    def describe(self):
        return {"gpu": "simulated"}

    def synchronize(self):
        pass

    def file_settings(self, threads, task_bytes):
        return nullcontext()


@pytest.fixture
def tiny(simulated_kind, config, monkeypatch):
    """An engine for the smallest sizes, as that of its device."""
    config.batch_bytes = 40_000  # a chunk of EM has 32768 bytes
    engine = CudaEngine(simulated_kind())
    monkeypatch.setattr(device_selection, "_engines", {"cpu": get_engine("cpu"), engine.name: engine})
    return engine


def run(engine, tmp_path, *arguments):
    """Run the program; return its exit status, what it printed and the rows that it stored."""
    output = tmp_path / "gpu.json"
    options = program._options(["--scratch", str(tmp_path / "data"), "--output", str(output), *arguments])
    options.sizes = TINY
    said = io.StringIO()
    console = Console(file=said, width=200)
    status = program.measure(engine, SimulatedGpu(), options, console, time.monotonic() + 100)
    stored = json.loads(output.read_text())
    return status, said.getvalue(), {row["name"]: row for row in stored["figures"]}, stored["runs"]


def test_every_row_is_measured(tiny, tmp_path):
    status, said, rows, runs = run(tiny, tmp_path, "--debug")
    assert status == 0
    assert [name for name, row in rows.items() if row["error"]] == []
    skipped = {name for name, row in rows.items() if row["skipped"]}
    assert skipped <= {"read-cold-em", "read-cold-segmentation"}  # where pages cannot be dropped
    assert all(row["ours"] for name, row in rows.items() if name not in skipped)
    for kind in ("em", "segmentation"):
        assert rows[f"read-{kind}"]["ratio"] > 0
        assert rows[f"read-of-limit-{kind}"]["at_least"] == 0.8
        assert rows[f"patches-2-{kind}"]["above"] == 20_000
        assert rows[f"write-{kind}"]["bound"]
    assert {name: rows[f"decoders-{name}"]["unit"] for name in ("em", "patch-em")} == {"em": "GB/s", "patch-em": "ms"}
    assert runs[0]["machine"]["gpu"] == "simulated"
    assert "missed: patches-2-em" in said


def test_a_row_that_fails_costs_no_other(tiny, tmp_path, monkeypatch):
    def rows(bench):
        def fail():
            raise ValueError("first line\nlast line")
            yield

        def skip():
            raise Skipped("no such thing here")
            yield

        yield Task("bad", "a bad row", fail)
        yield Task("none", "a row that is skipped", skip)
        yield Task("good", "a good row", lambda: [GpuFigure("good", "a good row", "GB/s", ours=[1.0])])

    monkeypatch.setitem(session.GROUPS, "steps", rows)
    status, said, found, _ = run(tiny, tmp_path, "--only", "steps")
    assert status == 1
    assert found["bad"]["error"].startswith("ValueError: last line, at test_gpu_benchmarks.py:")
    assert found["none"]["skipped"] == "no such thing here"
    assert found["good"]["ours_median"] == 1.0
    assert "1 rows failed" in said


def test_rows_are_added_to_a_file_of_results(tmp_path):
    path = tmp_path / "gpu.json"
    first = report.Results(path, {"gpu": "one"}, {})
    first.add(GpuFigure("kept", "", "ms", ours=[1.0], task="kept"))
    first.add(GpuFigure("again", "", "ms", ours=[1.0], task="again"))
    first.add(GpuFigure("task", "", "", error="broken", task="task"))
    second = report.Results(path, {"gpu": "two"}, {})
    second.add(GpuFigure("kept", "", "", skipped="the time was up", task="kept"))
    second.add(GpuFigure("again", "", "ms", ours=[2.0], task="again"))
    second.add(GpuFigure("part", "", "ms", ours=[3.0], task="task"))
    stored = json.loads(path.read_text())
    assert [run["machine"]["gpu"] for run in stored["runs"]] == ["one", "two"]
    found = {row["name"]: (row["ours_median"], row["run"]) for row in stored["figures"]}
    assert found == {"kept": (1.0, 0), "again": (2.0, 1), "part": (3.0, 1)}
    assert [figure.name for figure in second.of_this_run] == ["again", "part"]


def test_without_a_gpu_it_says_why(monkeypatch, capsys):
    def refuse(device):
        raise DeviceError(f"{device}: there is no GPU")

    monkeypatch.setattr(program, "get_engine", refuse)
    assert program.main([]) == 1
    assert "there is no GPU" in capsys.readouterr().err


def test_datasets_of_an_earlier_run_are_used(tiny, tmp_path):
    first = Bench(tiny, SimulatedGpu(), tmp_path, TINY).volume("segmentation")
    stamp = next((tmp_path / "segmentation").rglob("x*.wkw")).stat().st_mtime_ns
    again = Bench(tiny, SimulatedGpu(), tmp_path, TINY)
    np.testing.assert_array_equal(again.volume("segmentation"), first)
    assert next((tmp_path / "segmentation").rglob("x*.wkw")).stat().st_mtime_ns == stamp
    assert again.stored_with == {"segmentation": "wkw"}
