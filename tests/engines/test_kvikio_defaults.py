"""What KvikIO is told to do, with a stand-in for it."""

import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

import pytest

ON, AUTO = "on", "auto"
FILES = "wkgpu.engines.cuda.gpu.files"


class StandIn:
    """KvikIO, which opens a file as its settings say at that moment."""

    def __init__(self, *, posix=False, gds=False):
        self.settings = {"num_threads": 1, "task_size": 4 << 20, "compat_mode": AUTO, "auto_direct_io_write": True}
        self.posix, self.gds = posix, gds
        self.opened = []

    def is_compat_mode_preferred(self):
        return self.posix or self.settings["compat_mode"] == ON

    def is_gds_available(self, name):
        if isinstance(self.gds, Exception):
            raise self.gds
        return {"is_gds_available": self.gds}[name]

    def open(self, path, flags):
        if path == "/none":
            raise RuntimeError("no such file")
        self.opened.append((flags, self.is_compat_mode_preferred()))

    def modules(self):
        package, defaults, driver = (ModuleType(f"kvikio{name}") for name in ("", ".defaults", ".cufile_driver"))
        package.CompatMode = SimpleNamespace(ON=ON)
        package.CuFile = self.open
        package.defaults = defaults
        defaults.get = self.settings.__getitem__
        defaults.set = self.settings.update
        defaults.is_compat_mode_preferred = self.is_compat_mode_preferred
        driver.get = self.is_gds_available
        return {module.__name__: module for module in (package, defaults, driver)}


@pytest.fixture
def files(monkeypatch):
    """Imports the module for a stand-in."""

    def make(kvikio, **environment):
        for name in ("KVIKIO_COMPAT_MODE", "KVIKIO_AUTO_DIRECT_IO_WRITE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for name, module in kvikio.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delitem(sys.modules, FILES, raising=False)
        module = import_module(FILES)
        monkeypatch.delitem(sys.modules, FILES)
        module.set_defaults()
        return module

    return make


@pytest.mark.parametrize(
    ("gds", "environment", "mode"),
    [
        (False, {}, ON),
        (RuntimeError("no cuFile"), {}, ON),
        (True, {}, AUTO),
        (False, {"KVIKIO_COMPAT_MODE": "AUTO"}, AUTO),
    ],
)
def test_files_pass_by_cufile_where_it_has_no_direct_storage(files, gds, environment, mode):
    kvikio = StandIn(gds=gds)
    files(kvikio, **environment)
    assert kvikio.settings["compat_mode"] == mode
    assert kvikio.settings["auto_direct_io_write"] is False
    assert kvikio.settings["num_threads"] > 0


def test_a_machine_on_the_posix_path_is_left_alone(files):
    kvikio = StandIn(posix=True)
    files(kvikio)
    assert kvikio.settings["compat_mode"] == AUTO


def test_files_are_written_on_the_posix_path_and_read_directly(files):
    kvikio = StandIn(gds=True)
    module = files(kvikio)
    for flags in ("r", "r+", "r"):
        module.KvikioFile("/file", flags)
    with pytest.raises(OSError, match="no such file"):
        module.KvikioFile("/none", "r+")
    assert kvikio.opened == [("r", False), ("r+", True), ("r", False)]
    assert kvikio.settings["compat_mode"] == AUTO


def test_waiting_for_all_requests_gives_the_pool_as_many_threads_as_it_has(files):
    kvikio = StandIn()
    module = files(kvikio)
    threads, told = kvikio.settings["num_threads"], []
    sys.modules["kvikio.defaults"].set = told.append
    module.drain()
    assert told == [{"num_threads": threads}]
