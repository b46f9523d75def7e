from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.engines import device_selection
from wkgpu.engines.cpu.engine import CpuEngine
from wkgpu.engines.cuda import diagnosis

ROOT = Path(__file__).parents[2]
DRIVER = wk.Finding("NVIDIA driver", False, "not installed ([x] is not there)", "install the driver")
CUPY = wk.Finding("CuPy", False, "not installed", "pip install 'cupy-cuda13x>=14'")
STEPS = ["compile the kernels", "copy an array there and back", "write raw", "read raw", "write LZ4", "read LZ4"]


class Simulated(CpuEngine):
    """A CPU that says that it is a GPU."""

    name = "cuda:0"


@pytest.fixture
def machine(monkeypatch, config):
    """Makes a machine: with a GPU engine, or with a reason for having none, and with findings."""
    monkeypatch.delenv("WKGPU_DEVICE", raising=False)
    monkeypatch.setattr(config, "device", "auto")

    def make(engine=None, reason=None, findings=()):
        monkeypatch.setattr(device_selection, "_engines", {"cpu": wk.get_engine("cpu")})
        monkeypatch.setattr(device_selection, "cuda_unavailable_reason", lambda ordinal: reason)
        monkeypatch.setattr(device_selection, "_cuda_engine", lambda ordinal: engine or Simulated())
        monkeypatch.setattr(wk, "cuda_findings", lambda: list(findings))
        monkeypatch.setattr("wkgpu.cli.doctor.cuda_findings", lambda: list(findings))

    return make


@pytest.fixture
def no_gpu(machine):
    machine(reason="NVIDIA driver: not installed.", findings=[DRIVER, CUPY])


@pytest.fixture
def gpu(machine):
    machine(findings=[wk.Finding("CuPy", True, "14.2.0 for CUDA 13.2")])


def test_this_machine(command):
    result = command("doctor", "--device", "cpu")
    assert result.exit_code == 0, result.output
    for subject in ("wkgpu", "Python", "NumPy", "Numba", "liblz4"):
        assert re.search(rf"^.*{subject} \d+\.\d+", result.output)
    for finding in diagnosis.cuda_findings():
        assert re.search(rf"^(ok|no)  {finding.subject} ", result.output, re.MULTILINE)
    for step in STEPS:
        assert re.search(rf"^ok  cpu     {step}: [\d,]+ ms$", result.output, re.MULTILINE)
    assert 'On this machine "auto" means ' in result.output.splitlines()[-1]


def test_without_a_gpu(command, no_gpu):
    result = command("doctor")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "no  NVIDIA driver  not installed ([x] is not there)" in lines
    assert "no  CuPy           not installed" in lines
    assert "To use a GPU: install the driver, then pip install 'cupy-cuda13x>=14'" in lines
    assert lines[-1] == 'On this machine "auto" means the CPU.'
    assert "the device is 'auto' by default" in lines[1]
    assert "cuda:0  " not in result.output
    assert "\x1b" not in result.output


def test_with_a_gpu(command, gpu):
    result = command("doctor")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "ok  CuPy           14.2.0 for CUDA 13.2" in lines
    assert "To use a GPU" not in result.output
    assert [line.rpartition(":")[0] for line in lines if line.startswith("ok  c")] == [
        f"ok  {device:6}  {step}" for device in ("cpu", "cuda:0") for step in STEPS
    ]
    assert lines[-1] == 'On this machine "auto" means cuda:0.'


@pytest.mark.parametrize(("device", "exit_code"), [("cpu", 0), ("auto", 0), ("cuda", 1), ("cuda:0", 1), ("tpu", 1)])
def test_the_device_that_has_to_work(command, no_gpu, config, device, exit_code):
    for arguments in (["--device", device], []):
        if not arguments:
            config.device = device
        result = command("doctor", *arguments)
        assert result.exit_code == exit_code, result.output
        assert result.output.count("Error: ") == exit_code
        if exit_code:
            assert f"Error: device {'cuda:0' if 'cuda' in device else device!r}".replace(
                "'", ""
            ) in result.output.replace("'", "")


def test_an_engine_that_cannot_be_made_although_everything_is_there(command, machine, monkeypatch):
    machine(findings=[wk.Finding("CuPy", True, "14.2.0")])

    def fail(ordinal):
        raise ValueError("no kernels")

    monkeypatch.setattr(device_selection, "_cuda_engine", fail)
    result = command("doctor")
    assert result.exit_code == 0
    assert "means the CPU, because device 'cuda:0' cannot be used. ValueError: no kernels" in result.output


class Wrong(Simulated):
    """Reads something else than was written."""

    def read(self, plan, sources, out):
        super().read(plan, sources, out)
        out[..., 0, 0, 0, 0] ^= 1


class Crashing(Simulated):
    """Fails at what nvCOMP does."""

    def write(self, plan, data):
        if plan.spec.codecs:
            raise RuntimeError("nvCOMP\nis broken [x]")
        super().write(plan, data)


@pytest.mark.parametrize(
    ("engine", "failed", "problem"),
    [
        (Wrong, ["read raw", "read LZ4"], "140,000 voxels are wrong"),
        (Crashing, ["compile the kernels", "write LZ4"], "RuntimeError: nvCOMP is broken [x]"),
    ],
)
def test_steps_that_fail_do_not_hide_the_others(command, machine, engine, failed, problem):
    machine(engine())
    result = command("doctor")
    assert result.exit_code == 1
    found = re.findall(r"^(ok|no)  cuda:0  (.*?): (.*)$", result.output, re.MULTILINE)
    assert [step for _, step, _ in found] == STEPS
    assert [step for mark, step, _ in found if mark == "no"] == failed
    assert all(problem in said for mark, _, said in found if mark == "no")
    assert "means cuda:0, which does not work: set WKGPU_DEVICE=cpu." in result.output
    assert f"Error: device 'cuda:0' does not work. {failed[0]}: " in result.output
    assert command("doctor", "--device", "cpu").exit_code == 0


def test_a_cpu_that_does_not_work(command, no_gpu, monkeypatch):
    def fail():
        raise ImportError("Numba needs NumPy 2.3 or less")

    monkeypatch.setattr(device_selection, "_engines", {})
    monkeypatch.setattr(device_selection, "_cpu_engine", fail)
    result = command("doctor")
    assert result.exit_code == 1
    assert "Error: device 'cpu' cannot be used. ImportError: Numba needs NumPy 2.3 or less" in result.output


def test_json(command, machine):
    machine(Wrong(), findings=[DRIVER])
    result = command("doctor", "--json", "--device", "cpu")
    assert result.exit_code == 0
    document = json.loads(result.output)
    assert document["versions"]["NumPy"] == np.__version__
    assert document["findings"] == [
        {
            "subject": "NVIDIA driver",
            "works": False,
            "text": "not installed ([x] is not there)",
            "advice": "install the driver",
        }
    ]
    assert all(step["seconds"] >= 0 for step in document["self_test"])
    assert document["devices"]["cpu"] == {"works": True, "problem": ""}
    assert "voxels are wrong" in document["devices"]["cuda:0"]["problem"]
    assert [step["step"] for step in document["self_test"] if step["device"] == "cuda:0"] == STEPS
    assert [step["works"] for step in document["self_test"] if step["device"] == "cuda:0"] == [
        True, True, True, False, True, False,
    ]  # fmt: skip
    assert (document["device"], document["works"], document["auto"]) == ("cpu", True, "cuda:0")
    assert document["threads"] == wk.config.threads


def test_a_source_tree_that_is_not_installed(run_python, tmp_path):
    """And whose packages were put there without pip, so that nothing says what version they are."""
    for folder in ("wkgpu", "kernels"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    script = """
import runpy, sys
from importlib import metadata
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
def unknown(name): raise metadata.PackageNotFoundError(name)
metadata.version = metadata.requires = unknown
sys.argv[:] = ["wkgpu", "doctor", "--device", "cpu"]
from wkgpu.cli import doctor
doctor.self_test = lambda device: [doctor.Step(device, "none, which would compile kernels", "", 0)]
try:
    runpy.run_module("wkgpu", run_name="__main__")
finally:
    from wkgpu.kernels import compilation
    print(compilation.__file__)
"""
    printed = run_python(script).splitlines()
    assert printed[0].startswith("wkgpu (not installed), Python 3.")
    assert "ok  cpu     none, which would compile kernels: 0 ms" in printed
    assert printed[-1] == str(tmp_path / "kernels" / "compilation.py")


def test_nothing_stays_behind(command, no_gpu, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert command("doctor").exit_code == 0
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list((tmp_path / "here").iterdir()) == []
