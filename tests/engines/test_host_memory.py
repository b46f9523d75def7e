import resource
import subprocess
import sys

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.engines import host_memory
from wkgpu.engines.cpu import engine as cpu_engine
from wkgpu.errors import TooLargeError

MIB = 1 << 20


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Files of a system that say what a test writes into them."""
    names = {"_MEMORY_INFO": "meminfo", "_OWN_PAGES": "statm", "_OWN_GROUPS": "cgroup", "_GROUPS": "groups"}
    for attribute, name in names.items():
        monkeypatch.setattr(host_memory, attribute, tmp_path / name)
    monkeypatch.setattr(host_memory, "_RESERVE_BYTES", 0)
    (tmp_path / "meminfo").write_text(f"MemTotal: {4 * MIB} kB\nMemAvailable:   {2 * MIB} kB\nHugePages_Total: 0\n")

    def group(folder, **files):
        (tmp_path / "groups" / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / "groups" / folder / name.replace("__", ".")).write_text(f"{text}\n")

    group.root = tmp_path
    return group


def test_of_the_machine(system):
    assert host_memory.available_bytes() == 2 << 30


def test_of_groups_of_version_2(system):
    """The outer group counts too; pages of files are given up when memory is needed."""
    (system.root / "cgroup").write_text("0::/slurm/job/step\n")
    system("slurm/job/step", memory__max="max")
    stat = "anon 5\ninactive_file 600\nactive_file 30\nslab_reclaimable 7"
    system("slurm/job", memory__max=10_000, memory__current=2_000, memory__stat=stat)
    assert host_memory.available_bytes() == 10_000 - (2_000 - 637)


def test_of_groups_of_version_1_in_a_container(system):
    """Its files are those of the root: the path is the one outside of the container."""
    (system.root / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/docker/5\n0::/\n")
    system("memory", memory__limit_in_bytes=9_000, memory__usage_in_bytes=500, memory__stat="total_active_file 100")
    assert host_memory.available_bytes() == 9_000 - 400
    system("memory", memory__limit_in_bytes=0x7FFFFFFFFFFFF000)
    assert host_memory.available_bytes() == 2 << 30


@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_of_the_process(system, monkeypatch, limit):
    (system.root / "statm").write_text("3 0 0 0 0 2 0\n")
    page = resource.getpagesize()
    limits = {limit: 100 * page}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits.get(kind, resource.RLIM_INFINITY), -1))
    assert host_memory.available_bytes() == (97 if limit == resource.RLIMIT_AS else 98) * page


def test_where_nothing_tells(tmp_path, system):
    (tmp_path / "meminfo").unlink()
    assert host_memory.available_bytes() == sys.maxsize


# ---- What an engine does with it


@pytest.fixture
def scarce(monkeypatch):
    """1 MiB is large, and as much as there is."""
    monkeypatch.setattr(host_memory, "available_bytes", lambda: MIB)
    monkeypatch.setattr(host_memory, "LARGE_BYTES", MIB)
    cpu_engine.output_memory.clear()


def test_what_is_kept_counts_and_is_given_back(scarce, monkeypatch):
    engine, dtype = wk.get_engine("cpu"), np.dtype(np.uint8)
    monkeypatch.setattr(host_memory, "LARGE_BYTES", 1 << 40)
    block = engine.empty((3 * MIB,), dtype)
    monkeypatch.setattr(host_memory, "LARGE_BYTES", MIB)
    del block
    engine.empty((3 * MIB,), dtype)  # the very block
    with pytest.raises(TooLargeError, match=r"\(4194304,\) uint8"):
        engine.zeros((4 * MIB,), dtype)
    assert cpu_engine.output_memory.held == 0


def test_a_failing_allocation_is_tried_again_and_says_what_failed(monkeypatch):
    engine, dtype = wk.get_engine("cpu"), np.dtype(np.uint8)
    calls = []

    def zeros(shape, dtype, order, max_calls=1):
        calls.append(shape)
        if len(calls) <= max_calls:
            raise MemoryError
        return np.empty(shape, dtype)

    monkeypatch.setattr(cpu_engine.np, "zeros", zeros)
    assert engine.zeros((5,), dtype).shape == (5,)
    monkeypatch.setattr(
        cpu_engine.np, "zeros", lambda *arguments, **keywords: zeros(*arguments, **keywords, max_calls=99)
    )
    with pytest.raises(TooLargeError, match="this process can take"):
        engine.zeros((5,), dtype)


def test_under_a_limit_of_the_process():
    """As with ``ulimit -v``."""
    script = """
import resource, wkgpu as wk, numpy as np
engine = wk.get_engine("cpu")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)
assert engine.zeros((300 << 20,), np.dtype("uint8")).size == 300 << 20
try:
    engine.empty((500 << 20,), np.dtype("uint8"))
except MemoryError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("TooLargeError An array of (524288000,) uint8 needs 0.5 GiB"), done
