"""What the tests of all rooms share: settings that are put back, fresh mags, and the engines that they run on."""

from __future__ import annotations

import ctypes
import functools
import inspect
import itertools
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from functools import cache

import numpy as np
import pytest
import strategies  # noqa: F401  it loads the profile of hypothesis, for all tests

SIMULATOR = "NUMBA_ENABLE_CUDASIM"
OWN_PROCESS = "WKGPU_TEST_IN_ITS_OWN_PROCESS"


def has_gpu() -> bool:
    """Whether the driver finds a GPU; it is asked without any package of ours, and before Numba is imported."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int()
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (AttributeError, OSError):
        return False


# Numba decides once, when it is imported, whether it simulates CUDA.
if has_gpu():
    # Tests that are not told a device run on the CPU everywhere, also in the processes that they start.
    os.environ.setdefault("WKGPU_DEVICE", "cpu")
else:
    os.environ.setdefault(SIMULATOR, "1")
GPU = pytest.param("gpu", marks=pytest.mark.gpu)
MACHINES = ["cpu", "cuda-simulated", GPU]
SIMULATED_BATCH_BYTES = 5000  # so that also small boxes take several batches


@cache
def why_no_gpu() -> str | None:
    from wkgpu.engines.cuda.diagnosis import cuda_unavailable_reason

    return cuda_unavailable_reason()


def pytest_runtest_setup(item):
    """Skip tests that need a GPU here, and not in a fixture: then the reason is reported once for all of them."""
    if item.get_closest_marker("gpu") is not None and (reason := why_no_gpu()) is not None:
        pytest.skip(reason)


def is_fake() -> bool:
    """Whether the GPU is the fake driver's."""
    from fake_driver import driver

    return driver.is_there()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run what may lose the GPU in a process of its own, so that the tests after it still have one."""
    if pyfuncitem.get_closest_marker("own_process") is None or pyfuncitem.get_closest_marker("gpu") is None:
        return None
    if OWN_PROCESS in os.environ or is_fake():
        return None
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid],
        env={**os.environ, OWN_PROCESS: "1"},
        cwd=pyfuncitem.config.rootpath,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.fixture
def config(monkeypatch):
    """The settings in force; what a test sets is put back."""
    from wkgpu.settings import config

    for name, value in vars(config).copy().items():
        monkeypatch.setattr(config, name, value)
    return config


@pytest.fixture
def make_array(tmp_path):
    """Makes an empty mag with a layout, in a folder of its own."""
    from wkgpu.storage.formats import create_array

    numbers = itertools.count()
    return lambda layout: create_array(tmp_path / f"mag-{next(numbers)}", layout)


# ---- Engines


@pytest.fixture(scope="session")
def cpu():
    """The CPU engine."""
    from wkgpu.engines import get_engine

    return get_engine("cpu")


@pytest.fixture
def simulated_kind():
    """The class of the simulated device; skips where Numba does not simulate."""
    pytest.importorskip("numba_cuda")
    if sys.platform != "linux":
        pytest.skip("the simulated device opens files through /proc, as KvikIO does")
    from numba import config as numba_config

    if not numba_config.ENABLE_CUDASIM:
        pytest.skip(f"Numba does not simulate CUDA here, because there is a GPU or {SIMULATOR}=0 is set")
    from simulated_device import SimulatedDevice

    return SimulatedDevice


@pytest.fixture
def simulated_device(simulated_kind):
    """A device that has done nothing yet; what uses its buffers is looked at."""
    from watching import watched

    device = simulated_kind()
    with watched(device) as device.ledger:
        yield device


@pytest.fixture
def simulated(simulated_device, config):
    """The CUDA engine on a device of host memory, in small batches."""
    from wkgpu.engines.cuda.engine import CudaEngine

    config.batch_bytes = SIMULATED_BATCH_BYTES
    return CudaEngine(simulated_device)


@pytest.fixture
def gpu():
    """The CUDA engine on a GPU, for tests marked with `gpu`; on the fake driver uses of buffers are looked at."""
    from watching import watched

    from wkgpu.engines import get_engine

    engine = get_engine("cuda:0")
    with watched(engine.device) if is_fake() else nullcontext() as engine.device.ledger:
        yield engine


@pytest.fixture(params=MACHINES)
def engine(request):
    """Every engine in turn; `arrays` has the functions that make one test of them."""
    return request.getfixturevalue({"cuda-simulated": "simulated"}.get(request.param, request.param))


@pytest.fixture(params=MACHINES)
def device(request, config, monkeypatch):
    """Every device in turn, as that of all datasets and views that are not told another one."""
    from wkgpu.engines import device_selection, get_engine

    if request.param == "cpu":
        config.device = "cpu"
    elif request.param == "gpu":
        config.device = request.getfixturevalue("gpu").name
    else:
        engine = request.getfixturevalue("simulated")
        monkeypatch.setattr(device_selection, "_engines", {"cpu": get_engine("cpu"), engine.name: engine})
        config.device = engine.name
    return config.device


@pytest.fixture
def naive():
    """The engine of plain Python loops."""
    from reference import NaiveEngine

    return NaiveEngine()


@pytest.fixture
def run_python(tmp_path):
    """Runs a script in a process of its own and returns what it prints; fails if it fails.

    Numba does not simulate CUDA there, unless that is asked for.
    """

    def run(script, *arguments, **environment):
        inherited = {name: value for name, value in os.environ.items() if name != SIMULATOR}
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            env={**inherited, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,  # compiling every kernel takes minutes on a busy machine
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def interruptible():
    """Let SIGINT raise KeyboardInterrupt, also in a shell's background, which ignores it, and after other tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def random():
    return np.random.default_rng(0)


# ---- Members that a test covers, for the table in the README


@pytest.fixture(autouse=True)
def _covered_members_are_used(request, monkeypatch):
    """Fail a test that is marked to cover a member and passes without using it."""
    names = {name for marker in request.node.iter_markers("covers") for name in marker.args if "." in name}
    used = set()
    for name in names:
        _watch(name, used, monkeypatch)
    yield
    report = getattr(request.node, "passed_call", None)
    if names and report:
        assert used == names, f"{sorted(names - used)} is not used by the test that covers it"


@pytest.fixture(autouse=True)
def _shards_are_closed():
    """Fail a test that leaves shards open; a plan is not closed by being forgotten."""
    from wkgpu.storage.stores.local import open_files

    before = len(open_files.held)
    yield
    assert len(open_files.held) <= before, "the test leaves shards open"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.when == "call":
        item.passed_call = report.passed
    return report


def _watch(name, used, monkeypatch):
    """Let a member tell when it is used."""
    import wkgpu

    owner_name, _, member = name.partition(".")
    owner = getattr(wkgpu, owner_name)
    original = inspect.getattr_static(owner, member)

    def telling(function):
        @functools.wraps(function)
        def tell(*args, **keywords):
            used.add(name)
            return function(*args, **keywords)

        return tell

    if isinstance(original, property):
        watched = property(telling(original.fget), original.fset and telling(original.fset), doc=original.__doc__)
    elif isinstance(original, classmethod):
        watched = classmethod(telling(original.__func__))
    else:
        watched = telling(original)
    monkeypatch.setattr(owner, member, watched)
