"""Which engine a device name leads to, and what is said where it leads to none."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.engines import device_selection
from wkgpu.engines.device_selection import get_engine, set_device
from wkgpu.errors import DeviceError
from wkgpu.forking import loading

REASON = "CuPy: not installed. To use a GPU: pip install 'cupy-cuda13x>=14'."
WITHOUT_CUDA = """
import logging, sys
from wkgpu.engines.cuda import driver, packages
def no_driver(): raise OSError("libcuda.so.1: cannot open shared object file: No such file or directory")
driver._load = no_driver
packages._is_importable = packages._has_nvcomp = lambda *name: False
"""


@pytest.fixture
def engines(monkeypatch, config):
    """A process in which no engine was asked for yet, no environment variable is set, and nothing keeps CUDA."""
    monkeypatch.delenv("WKGPU_DEVICE", raising=False)
    monkeypatch.setattr(config, "device", "auto")
    monkeypatch.setattr(device_selection, "_engines", {})
    monkeypatch.setattr(device_selection, "cuda_unavailable_reason", lambda ordinal: None)
    monkeypatch.setattr(device_selection, "_cuda_engine", lambda ordinal: SimpleNamespace(name=f"cuda:{ordinal}"))
    return monkeypatch


@pytest.fixture
def no_cuda(engines):
    """The same, but CUDA does not work, for a reason."""
    engines.setattr(device_selection, "cuda_unavailable_reason", lambda ordinal: REASON)
    return engines


class Device:
    """What torch.device is like."""

    def __init__(self, name):
        self.name = name

    def __str__(self):
        return self.name


# ---- Names


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("cpu", "cpu"),
        ("cuda", "cuda:0"),
        ("cuda:0", "cuda:0"),
        ("cuda:12", "cuda:12"),
        (Device("cuda"), "cuda:0"),
        (Device("cuda:1"), "cuda:1"),
        (Device("cpu"), "cpu"),
    ],
)
def test_names(engines, device, name):
    assert get_engine(device).name == name
    assert get_engine(device) is get_engine(name)


@pytest.mark.parametrize(
    "device",
    ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:٣", "cuda:99999", "cuda 0", "cpu:0", 0, 1.5, b"cpu"],
)
def test_what_is_no_name(engines, device):
    with pytest.raises(DeviceError, match="is unknown; there are 'cpu', 'cuda'") as caught:
        get_engine(device)
    assert repr(str(device)) in str(caught.value)
    assert "'auto'" in str(caught.value)
    assert "WKGPU_DEVICE" not in str(caught.value)


@pytest.mark.covers("get_engine")
def test_an_engine_is_made_once(engines):
    made = []

    def slow(ordinal):
        made.append(ordinal)
        threading.Event().wait(0.05)
        return SimpleNamespace(name=f"cuda:{ordinal}")

    engines.setattr(device_selection, "_cuda_engine", slow)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get_engine, ["cuda", "cuda:0", "cuda:1", "auto"] * 6))
    assert sorted(made) == [0, 1]
    assert len(set(map(id, found))) == 2


# ---- Failures


def test_cuda_that_does_not_work_is_an_error(no_cuda):
    with pytest.raises(DeviceError) as caught:
        get_engine("cuda")
    assert str(caught.value) == f"device 'cuda:0' cannot be used. {REASON}"


def test_failures_are_not_kept(no_cuda):
    with pytest.raises(DeviceError):
        get_engine("cuda")
    no_cuda.setattr(device_selection, "cuda_unavailable_reason", lambda ordinal: None)
    assert get_engine("cuda").name == "cuda:0"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("libcufile.so.0: not found"), "OSError: libcufile.so.0: not found"),
        (DeviceError("nvCOMP has no version."), "nvCOMP has no version."),
        (KeyError("sm_50"), "KeyError: 'sm_50'"),
    ],
)
def test_what_goes_wrong_while_an_engine_is_made(engines, error, said):
    def fail(ordinal):
        raise error

    engines.setattr(device_selection, "_cuda_engine", fail)
    with pytest.raises(DeviceError) as caught:
        get_engine("cuda:1")
    assert str(caught.value) == f"device 'cuda:1' cannot be used. {said}"
    assert caught.value.__cause__ is error
    assert get_engine("auto").name == "cpu"


def test_the_cpu_may_fail_too(engines):
    def fail():
        raise ImportError("Numba needs NumPy 2.3 or less")

    engines.setattr(device_selection, "_cpu_engine", fail)
    with pytest.raises(DeviceError, match=r"device 'cpu' cannot be used\. ImportError: Numba needs"):
        get_engine("cpu")


def test_settings_are_checked_at_the_first_use(no_cuda, config):
    config.device = "abacus"
    with pytest.raises(DeviceError, match=r"device 'abacus' of wkgpu\.config\.device is unknown"):
        get_engine()
    no_cuda.setenv("WKGPU_DEVICE", "abacus")
    with pytest.raises(DeviceError, match="device 'abacus' of the environment variable WKGPU_DEVICE is unknown"):
        get_engine()
    no_cuda.setenv("WKGPU_DEVICE", "cuda:2")
    config.device = "cuda:2"
    with pytest.raises(DeviceError, match="device 'cuda:2' of the environment variable WKGPU_DEVICE cannot be used"):
        get_engine()


# ---- "auto"


def records_of(caplog):
    return [(record.levelname, record.message) for record in caplog.records if record.name == "wkgpu"]


def test_auto_is_the_gpu_where_it_works(engines, caplog):
    caplog.set_level(logging.INFO)
    assert get_engine("auto") is get_engine("cuda:0") is get_engine()
    assert records_of(caplog) == []


def test_auto_is_the_cpu_elsewhere_and_says_why_once(no_cuda, caplog):
    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(get_engine, ["auto"] * 20))
    assert found == {get_engine("cpu")} == {get_engine()}
    assert records_of(caplog) == [
        ("WARNING", f"device 'auto' is the CPU here, because device 'cuda:0' cannot be used. {REASON}")
    ]


def test_the_verdict_stands(no_cuda):
    assert get_engine("auto").name == "cpu"
    no_cuda.setattr(device_selection, "cuda_unavailable_reason", lambda ordinal: None)
    assert get_engine("auto").name == "cpu"
    assert get_engine("cuda").name == "cuda:0"


def test_auto_of_the_setting_can_be_used(no_cuda, tmp_path):
    data = np.arange(64, dtype="uint8").reshape(4, 4, 4)
    mag = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1)).add_layer("color", "color").add_mag(1)
    mag.write(data)
    np.testing.assert_array_equal(mag.read()[0], data)


# ---- set_device


@pytest.mark.covers("set_device")
def test_set_device(engines, config):
    set_device("cpu")
    assert config.device == "cpu"
    set_device(Device("cuda"))
    assert config.device == "cuda:0"
    assert get_engine().name == "cuda:0"


def test_set_device_for_a_while(engines, config):
    with set_device("cpu"):
        assert config.device == "cpu"
        with wk.set_device("cuda:1"):
            assert config.device == "cuda:1"
        assert config.device == "cpu"
    assert config.device == "auto"
    with pytest.raises(ZeroDivisionError), set_device("cpu"):
        1 / 0  # noqa: B018
    assert config.device == "auto"
    assert repr(set_device("cpu")) == "<device 'cpu' instead of 'auto'>"


@pytest.mark.parametrize("device", ["cuda", "abacus", None])
def test_a_device_that_does_not_work_is_not_set(no_cuda, config, device):
    with pytest.raises(DeviceError):
        set_device(device)
    assert config.device == "auto"


def test_it_counts_for_views_that_are_first_used_after_it(engines, tmp_path):
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1))
    layer = dataset.add_layer("color", "color")
    used, unused = layer.add_mag(1), layer.add_mag(2)
    with set_device("cpu"):
        assert used._engine.name == "cpu"
    with set_device("cuda:1"):
        assert used._engine.name == "cpu"
        assert unused._engine.name == "cuda:1"


# ---- Processes


def test_what_is_imported(run_python):
    script = f"""{WITHOUT_CUDA}
import wkgpu as wk
data = __import__("numpy").ones((8, 8, 8), "uint8")
for device in ("cpu", None, "auto"):
    mag = wk.Dataset(f"dataset-{{device}}", voxel_size=(1, 1, 1), device=device).add_layer("a", "color").add_mag(1)
    mag.write(data)
    assert (mag.read()[0] == data).all()
print([name for name in ("cupy", "kvikio", "nvidia", "numba.cuda", "numba_cuda") if name in sys.modules])
"""
    assert run_python(script, WKGPU_DEVICE="").split() == ["[]"]


def test_a_device_of_the_environment_fails_at_its_first_use(run_python):
    script = f"""{WITHOUT_CUDA}
import wkgpu as wk
mag = wk.Dataset("dataset", voxel_size=(1, 1, 1)).add_layer("a", "color").add_mag(1)
try:
    mag.read(absolute_offset=(0, 0, 0), size=(1, 1, 1))
except wk.errors.DeviceError as error:
    print(error)
print(wk.get_engine("cpu").name)
"""
    message, name = run_python(script, WKGPU_DEVICE="cuda").splitlines()
    assert message.startswith("device 'cuda:0' of the environment variable WKGPU_DEVICE cannot be used. NVIDIA driver")
    assert "CuPy, KvikIO, nvCOMP and numba-cuda: not installed" in message
    assert name == "cpu"


@pytest.mark.parametrize(("environment", "lines"), [({}, 0), ({"WKGPU_DEVICE": "auto"}, 1)])
def test_what_a_user_sees_of_auto(environment, lines):
    script = f"{WITHOUT_CUDA}\nimport wkgpu as wk\nprint([wk.get_engine().name for _ in range(3)])"
    clean = {name: value for name, value in os.environ.items() if name != "WKGPU_DEVICE"}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**clean, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "['cpu', 'cpu', 'cpu']\n"
    assert done.stderr.count("\n") == lines
    assert done.stderr.startswith("device 'auto' is the CPU here, because" if lines else "")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_decides_anew(engines):
    cpu = get_engine("cpu")
    assert get_engine("auto").name == "cuda:0"
    engines.setattr(device_selection, "cuda_unavailable_reason", lambda ordinal: "cuInit returned 3.")

    def child(pipe):
        names = [get_engine("auto").name, get_engine("cpu") is cpu]
        try:
            get_engine("cuda:0")
        except DeviceError as error:
            names.append(str(error))
        pipe.send(names)

    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(there,))
    locked = threading.Event()

    def hold_the_lock():
        with loading:
            locked.set()
            time.sleep(0.2)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold_the_lock)
        assert locked.wait(30)
        process.start()  # waits until the lock is free
    assert here.poll(30)
    assert here.recv() == ["cpu", True, "device 'cuda:0' cannot be used. cuInit returned 3."]
    process.join()
    assert get_engine("auto").name == "cuda:0"
