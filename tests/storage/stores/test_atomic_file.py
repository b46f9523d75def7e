import os
import stat
from contextlib import nullcontext

import pytest

from wkgpu.errors import OutdatedFileError, StorageAccessError
from wkgpu.storage.stores.local.atomic_file import AtomicFile, atomic_write_bytes, write_all


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.write_bytes(b"old")
    return file


@pytest.mark.parametrize("durable", [False, True])
def test_the_new_file_appears_at_the_end(path, config, durable):
    config.durable_writes = durable
    with AtomicFile(path) as new:
        os.write(new.descriptor, b"new file")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new file"
    assert list(path.parent.iterdir()) == [path]


def test_an_exception_leaves_the_old_file(path):
    replacement = AtomicFile(path)
    with pytest.raises(KeyError), replacement:
        raise KeyError(os.write(replacement.descriptor, b"new"))
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_who_has_the_old_file_open_keeps_it(path):
    with open(path, "rb") as old:
        atomic_write_bytes(path, b"new")
        assert old.read() == b"old"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_permissions_are_kept(path, mode):
    path.chmod(mode)
    atomic_write_bytes(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_usual_permissions(path):
    before = os.umask(0o027)
    try:
        atomic_write_bytes(path.with_name("new"), b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.with_name("new").stat().st_mode) == 0o640


def test_folders_are_made(tmp_path):
    atomic_write_bytes(tmp_path / "a" / "b" / "file", b"new")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"new"


@pytest.mark.parametrize("left_behind", ["file", "link", "dangling link"])
def test_a_fixed_name_replaces_what_a_crash_has_left_and_opens_no_link(path, tmp_path, left_behind):
    left, outside = path.with_name(".file.000000000000.wkgpu"), tmp_path / "outside"
    if left_behind == "file":
        left.write_bytes(b"something longer than the new file")
    else:
        left.symlink_to(outside)
    if left_behind == "link":
        outside.write_bytes(b"precious")
    with AtomicFile(path, is_locked=True) as new:
        os.write(new.descriptor, b"new")
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    assert list(path.parent.iterdir()) == [path]
    assert outside.read_bytes() == b"precious" if left_behind == "link" else not outside.exists()


@pytest.mark.parametrize("fails", [False, True])
def test_of_two_writers_that_both_have_a_lock_the_second_one_wins(path, fails):
    """Another program may replace the file that carries the lock; what is half written never gets to the place."""
    first, second = AtomicFile(path, is_locked=True), AtomicFile(path, is_locked=True)
    error = KeyError() if fails else None
    first.__enter__().write(b"first", 0)
    second.__enter__().write(b"sec", 0)
    with nullcontext() if fails else pytest.raises(OutdatedFileError):
        first.__exit__(error and type(error), error, None)
    assert path.read_bytes() == b"old"
    second.write(b"ond", 3)
    second.__exit__(None, None, None)
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a pipe", "link to itself", "link to a file"])
def test_only_regular_files_are_replaced(path, kind):
    target = path.with_name("target")
    if "pipe" in kind:
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    elif kind == "link to itself":
        target.symlink_to(target)
    if kind.startswith("link to a"):
        target = path.with_name("link")
        target.symlink_to("target" if "pipe" in kind else "file")
    before = {file: file.lstat() for file in path.parent.iterdir()}
    with pytest.raises(StorageAccessError, match=f"{target} is a {kind[:4]}.* where a regular file belongs"):
        atomic_write_bytes(target, b"new")
    assert {file: file.lstat() for file in path.parent.iterdir()} == before


def test_no_descriptor_stays_open(path):
    before = len(os.listdir("/dev/fd"))
    atomic_write_bytes(path, b"new")
    with pytest.raises(KeyError), AtomicFile(path):
        raise KeyError
    assert len(os.listdir("/dev/fd")) == before


def test_a_file_where_a_folder_belongs(path):
    with pytest.raises(StorageAccessError, match=str(path / "below")):
        atomic_write_bytes(path / "below", b"new")


def test_write_all_writes_any_memory(path):
    with open(path, "r+b") as file:
        write_all(file.fileno(), memoryview(bytearray(range(8))).cast("H"), 2)
        write_all(file.fileno(), b"", 100)
    assert path.read_bytes() == b"ol" + bytes(range(8))
