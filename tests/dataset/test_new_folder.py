"""Folders that are made in a hidden place, and appear when they are whole."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from wkgpu.dataset.new_folder import NewFolder
from wkgpu.errors import AlreadyExistsError, StorageAccessError

CRASH = """
import os, sys
from pathlib import Path
from wkgpu.dataset.new_folder import NewFolder
with NewFolder(Path(sys.argv[1])) as folder:
    folder.building.mkdir()
    (folder.building / "header.wkw").write_bytes(b"half")
    os._exit(0)
"""


def hidden(folder):
    return sorted(path.name for path in folder.rglob(".*"))


def fill(folder, text="whole"):
    folder.building.mkdir()
    (folder.building / "file").write_text(text)


def test_it_appears_when_it_is_whole(tmp_path):
    with NewFolder(tmp_path / "a" / "1") as folder:
        fill(folder)
        assert [path.name for path in (tmp_path / "a").iterdir()] == hidden(tmp_path / "a") != []
        folder.place()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["1"]
    assert (tmp_path / "a" / "1" / "file").read_text() == "whole"


def test_what_is_not_placed_is_nothing(tmp_path):
    with NewFolder(tmp_path / "1") as folder:
        fill(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_has_left_is_removed_by_the_next(tmp_path, run_python):
    for name in ("1", "2", "1.2", "1"):
        run_python(CRASH, tmp_path / name)
    (tmp_path / ".1.abc.new").mkdir()  # a crash before there was a lock
    others = {name for name in hidden(tmp_path) if not name.startswith(".1.") or name.startswith(".1.2.")}
    assert (len(hidden(tmp_path)), len(others)) == (4, 2)
    with NewFolder(tmp_path / "1") as folder:
        fill(folder)
        folder.place()
    assert set(hidden(tmp_path)) == others
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["file"]


def test_who_is_still_at_work_is_waited_for(tmp_path):
    begun, placed = threading.Event(), []

    def slow():
        with NewFolder(tmp_path / "1") as folder:
            begun.set()
            time.sleep(0.2)
            fill(folder)
            folder.place()
            placed.append("slow")

    with ThreadPoolExecutor(1) as threads:
        work = threads.submit(slow)
        begun.wait()
        with pytest.raises(AlreadyExistsError, match="not empty"), NewFolder(tmp_path / "1"):
            placed.append("never")
        work.result()
    assert (placed, hidden(tmp_path)) == (["slow"], [])


def test_many_at_once(tmp_path):
    def make(number):
        try:
            with NewFolder(tmp_path / "1") as folder:
                fill(folder, str(number))
                folder.place()
                return [number]
        except (AlreadyExistsError, StorageAccessError):
            return []

    with ThreadPoolExecutor(8) as threads:
        for _ in range(30):
            (winner,) = chain.from_iterable(threads.map(make, range(8)))
            assert (tmp_path / "1" / "file").read_text() == str(winner)
            assert hidden(tmp_path) == []
            shutil.rmtree(tmp_path / "1")


def fill_place_and_fail(path):
    with NewFolder(path) as folder:
        fill(folder)
        folder.place()
        assert (path / "file").exists()
        raise StorageAccessError(28, "as if the disk were full")


def test_a_failure_takes_it_back(tmp_path):
    with pytest.raises(StorageAccessError, match="as if"):
        fill_place_and_fail(tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path):
        with pytest.raises(AlreadyExistsError, match="not empty"), NewFolder(path):
            pass
    with pytest.raises(StorageAccessError, match="Cannot make"), NewFolder(tmp_path / "file" / "1"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_is_not_what_a_crash_has_left(tmp_path):
    """A dataset from elsewhere could have one, and a folder that has a file "lock" would be emptied."""
    outside = tmp_path / "outside"
    (outside / "documents").mkdir(parents=True)
    for name in ("lock", "documents/file"):
        (outside / name).write_text("precious")
    (tmp_path / ".1.0123456789ab.new").symlink_to(outside)
    with NewFolder(tmp_path / "1") as folder:
        fill(folder)
        folder.place()
    assert (outside / "lock").read_text() == (outside / "documents" / "file").read_text() == "precious"
