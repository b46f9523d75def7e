import os
import signal
import socket

import numpy as np
import pytest

from wkgpu.errors import StorageAccessError, WkgpuError
from wkgpu.storage.codecs import pipeline_of
from wkgpu.storage.formats import open_array
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.local.regular_file import read_regular


@pytest.fixture(autouse=True)
def no_hang():
    """A test that opens a pipe and waits for a writer ends here."""

    def give_up(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def bind(path, monkeypatch):
    monkeypatch.chdir(path.parent)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


IRREGULAR = {
    "a pipe": lambda path, _: os.mkfifo(path),
    "a folder": lambda path, _: path.mkdir(),
    "a socket": bind,
    "a link to a pipe": lambda path, _: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe")),
    "a link to itself": lambda path, _: path.symlink_to(path),
}


@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_is_an_error_that_names_it(tmp_path, monkeypatch, kind):
    path = tmp_path / "file"
    IRREGULAR[kind](path, monkeypatch)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(StorageAccessError, match=str(path)):
        read_regular(path, 100)
    with pytest.raises(StorageAccessError, match=str(path)):
        LocalStore(tmp_path).read_start("file", 100)
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("kind", IRREGULAR)
def test_a_header_that_is_no_regular_file(make_array, monkeypatch, kind):
    header = make_array(ArraySpec(np.dtype("uint8"), 1, (4, 4, 4), (2, 2, 2), pipeline_of("lz4"))).lock_file
    header.unlink()
    IRREGULAR[kind](header, monkeypatch)
    with pytest.raises(WkgpuError, match=str(header)):
        open_array(header.parent)


def test_a_file_that_is_larger_than_any_of_its_kind_is_not_read(tmp_path):
    path, store = tmp_path / "file", LocalStore(tmp_path)
    path.write_bytes(b"begin")
    assert read_regular(path, 5) == store.read_start("file", 7)[0] == b"begin"
    os.truncate(path, 20 << 30)  # all but the beginning is a hole
    assert store.read_start("file", 7)[0] == b"begin\0\0"
    with pytest.raises(StorageAccessError, match=f"{path} has {20 << 30} bytes"):
        read_regular(path, 5)
