"""The cache of compiled kernels: whatever is wrong with it, kernels work, and what is wrong is replaced."""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import pkgutil
import shutil

import pytest
from numba.core import config as numba_config

from wkgpu.engines.kernel_table import KERNELS
from wkgpu.kernels import cpu, kernel_files
from wkgpu.kernels.compilation import cached_kernel
from wkgpu.kernels.cpu.row_kernels import named_kernel
from wkgpu.kernels.kernel_files import KernelFiles

NOBODY = 65534


class Cache:
    """A folder of compiled kernels, and a small one that is compiled into it."""

    def __init__(self, tmp_path):
        self.folder, self._source = tmp_path / "cache", tmp_path / "small.py"
        self._source.write_text("def add(a, b):\n    return a + b\n")

    def kernel(self):
        """Return the kernel as another process has it, which has compiled nothing yet."""
        spec = importlib.util.spec_from_file_location("small", self._source)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return cached_kernel(module.add)

    def found(self):
        """Use the kernel in another process, and return whether it was found on disk."""
        kernel = self.kernel()
        assert kernel(2, 3) == 5
        return sum(kernel.stats.cache_hits.values()) == 1

    def entry(self):
        """Return the one file in the folder, and see that there is no other."""
        (path,) = [path for path in self.folder.rglob("*") if path.parent != self.folder]
        return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(numba_config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_files, "_reported", set())
    return Cache(tmp_path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def in_its_place(make):
    def replace(path):
        path.unlink()
        make(path)

    return replace


def link(path):
    path.symlink_to(shutil.move(path, path.with_name("elsewhere")))


WRONG = {
    "damaged": flipped,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "head only": lambda path: os.truncate(path, 30),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "huge": lambda path: os.truncate(path, 1 << 40),
    "another program's": lambda path: path.write_bytes(pickle.dumps("no kernel")),
    "folder": in_its_place(os.mkdir),
    "fifo": in_its_place(os.mkfifo),
    "link": link,
    "dangling link": in_its_place(lambda path: path.symlink_to(path.parent / "missing")),
    "another user's": lambda path: os.chown(path, NOBODY, NOBODY),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_replaced(cache, wrong, caplog):
    if wrong is WRONG["another user's"] and os.geteuid() != 0:
        pytest.skip("root alone gives files away")
    assert not cache.found()
    assert cache.found()
    path = cache.entry()
    wrong(path)
    assert not cache.found()
    assert cache.found(), "the bad file was replaced"
    path.with_name("elsewhere").unlink(missing_ok=True)
    assert cache.entry() == path
    assert path.is_file()
    assert not path.is_symlink()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1


def test_damage_at_any_place_is_found(tmp_path):
    files = KernelFiles(tmp_path, "any", "stamp", pickle.dumps)
    files.save("key", {"some": "version"})
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :])
        assert files.load("key") is None
    path.write_bytes(content)
    assert files.load("key") == {"some": "version"}
    assert files.load("other") is None
    assert KernelFiles(tmp_path, "any", "newer", pickle.dumps).load("key") is None
    files.flush()
    assert files.load("key") is None


class Poison:
    def __reduce__(self):
        return pytest.fail, ("what has the wrong digest was unpickled",)


def test_nothing_is_unpickled_before_it_is_checked(cache):
    cache.found()
    path = cache.entry()
    content = path.read_bytes()
    path.write_bytes(content[:80] + pickle.dumps(Poison()))
    assert not cache.found()


def test_what_cannot_be_replaced(cache, caplog):
    """A folder with something in it stays; the kernel is compiled by each process, and says so once."""
    cache.found()
    path = cache.entry()
    path.unlink()
    path.mkdir()
    (path / "of a user").touch()
    assert [cache.found() for _ in range(3)] == [False] * 3
    assert (path / "of a user").exists()
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert "NUMBA_CACHE_DIR" in record.getMessage()


def test_a_folder_that_became_read_only(cache, caplog):
    kernel = cache.kernel()
    (folder,) = cache.folder.iterdir()
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        assert kernel(2, 3) == 5
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
    assert str(folder) in caplog.text
    assert "NUMBA_CACHE_DIR" in caplog.text


def test_a_folder_that_became_a_file(cache):
    kernel = cache.kernel()
    shutil.rmtree(cache.folder)
    cache.folder.touch()
    assert kernel(2, 3) == 5


def test_no_folder_at_all(cache, monkeypatch, caplog):
    monkeypatch.setattr(numba_config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    cache.folder.touch()
    assert not cache.found()
    assert "NUMBA_CACHE_DIR" in caplog.text


def test_no_room(run_python, tmp_path):
    """A full disk, and a limit on files, fail where something is written."""
    (tmp_path / "small.py").write_text("def add(a, b):\n    return a + b\n")
    script = """
import resource
from wkgpu.kernels.compilation import cached_kernel
from small import add
kernel = cached_kernel(add)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
print(kernel(2, 3))
"""
    folder = tmp_path / "cache"
    assert run_python(script, PYTHONPATH=str(tmp_path), NUMBA_CACHE_DIR=str(folder)) == "5\n"
    assert [path for path in folder.rglob("*") if path.is_file()] == [], "nothing half is left"


def test_kernels_of_cuda_have_these_files(run_python, tmp_path):
    """Without a GPU they are not compiled; their cache still has the class that numba-cuda asks for."""
    pytest.importorskip("numba_cuda")
    script = """
from wkgpu.kernels.cuda import placement
caches = [kernel._cache for kernel in vars(placement).values() if hasattr(kernel, "_cache")]
print(len(caches) > 2, {(type(cache).__name__, type(cache._cache_file).__name__) for cache in caches})
"""
    assert run_python(script, NUMBA_CACHE_DIR=str(tmp_path)) == "True {('CUDACache', 'KernelFiles')}\n"


@pytest.mark.gpu
def test_what_is_wrong_is_replaced_for_a_gpu(run_python, tmp_path):
    (tmp_path / "small.py").write_text("def put(target):\n    target[0] = 5\n")
    script = """
import numpy as np
from numba import cuda
from wkgpu.kernels.compilation import cached_cuda_kernel
from small import put
kernel = cached_cuda_kernel(put)
target = cuda.to_device(np.zeros(1, np.int64))
kernel[1, 1](target)
print(target.copy_to_host()[0], sum(kernel.stats.cache_hits.values()))
"""
    environment = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert [run_python(script, **environment) for _ in range(2)] == ["5 0\n", "5 1\n"]
    (path,) = (tmp_path / "cache").glob("*/*.wkc")
    flipped(path)
    assert [run_python(script, **environment) for _ in range(2)] == ["5 0\n", "5 1\n"]


def test_all_kernels_have_these_files():
    found = {name: named_kernel(topic, name) for topic, name in KERNELS}
    for module in pkgutil.iter_modules(cpu.__path__, f"{cpu.__name__}."):
        found |= vars(importlib.import_module(module.name))
    caches = {name: getattr(value, "_cache", None) for name, value in found.items()}
    kinds = {name: type(cache._cache_file) for name, cache in caches.items() if hasattr(cache, "_cache_file")}
    assert kinds.keys() >= {"read_chunks", "encode_chunks", "fill_chunks", "compare_chunks", "fetch_ranges", "mode"}
    assert set(kinds.values()) == {KernelFiles}
