"""Folders that come and go with their entries, whatever ends the process or the call in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from itertools import chain, count
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from datasets import counted

import wkgpu as wk
from wkgpu.dataset.changes import folder_move
from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.leftovers import leftovers
from wkgpu.errors import (
    AlreadyExistsError,
    LayerNotFoundError,
    MagNotFoundError,
    NameTakenError,
    NotFoundError,
    StorageAccessError,
)
from wkgpu.storage.stores.local import transaction

MOMENTS = {
    "open",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.scandir",
    "os.symlink",
    "os.truncate",
    "fcntl.fcntl",
}
SHARD = 16


# ---- Folders without a properties file


def hidden(folder):
    return sorted(path.name for path in folder.rglob(".*"))


def fill(folder, text="whole"):
    folder.building.mkdir()
    (folder.building / "file").write_text(text)


def test_it_appears_when_it_is_whole(tmp_path):
    with NewFolder(tmp_path / "a" / "1", None) as folder:
        fill(folder)
        assert [path.name for path in (tmp_path / "a").iterdir()] == hidden(tmp_path / "a")[:1]
        folder.place()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["1"]
    assert (tmp_path / "a" / "1" / "file").read_text() == "whole"


def test_what_is_not_placed_is_nothing(tmp_path):
    with NewFolder(tmp_path / "1", None) as folder:
        fill(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_at_work_is_waited_for(tmp_path):
    begun, placed = threading.Event(), []

    def slow():
        with NewFolder(tmp_path / "1", None) as folder:
            begun.set()
            time.sleep(0.2)
            fill(folder)
            folder.place()
            placed.append("slow")

    with ThreadPoolExecutor(1) as threads:
        work = threads.submit(slow)
        begun.wait()
        with pytest.raises(AlreadyExistsError, match="not empty"), NewFolder(tmp_path / "1", None):
            placed.append("never")
        work.result()
    assert (placed, hidden(tmp_path)) == (["slow"], [])


def test_many_at_once(tmp_path):
    def make(number):
        try:
            with NewFolder(tmp_path / "1", None) as folder:
                fill(folder, str(number))
                folder.place()
                return [number]
        except (AlreadyExistsError, StorageAccessError):
            return []

    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            (winner,) = chain.from_iterable(threads.map(make, range(8)))
            assert (tmp_path / "1" / "file").read_text() == str(winner)
            assert hidden(tmp_path) == []
            shutil.rmtree(tmp_path / "1")


def test_what_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path):
        with pytest.raises(AlreadyExistsError, match="not empty"), NewFolder(path, None):
            pass
    with pytest.raises(StorageAccessError, match="Cannot make"), NewFolder(tmp_path / "file" / "1", None):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---- Changes of a dataset that end at any moment


def make_dataset(path):
    """Two layers, one with mags 1 and 2."""
    layer = wk.Dataset(path, voxel_size=(1, 1, 1)).add_layer("c", "color")
    layer.add_mag(1, chunk_shape=8, shard_shape=SHARD, compress=False).write(counted((20, 12, 8))[0])
    layer.downsample_mag(1, 2, shard_shape=SHARD, chunk_shape=8)
    layer.dataset.add_layer("kept", "color").add_mag(1, chunk_shape=8, shard_shape=SHARD)
    (layer.path / "meshes").mkdir()
    (layer.path / "meshes" / "a.hdf5").write_text("a mesh")
    with layer.dataset._changing() as properties:
        entry = {"name": "a", "path": "./c/meshes/a.hdf5"}
        properties.layer("c").document["attachments"] = {"meshes": [entry]}


def other(layer):
    return layer.dataset.path.with_name("other")


def add_mag(layer):
    layer.get_or_add_mag(4, chunk_shape=8, shard_shape=SHARD)


def downsample(layer):
    with suppress(NameTakenError):  # by the call that was interrupted
        layer.downsample_mag(2, 4, chunk_shape=8, shard_shape=SHARD)


def delete_mag(layer):
    layer.delete_mag(2)


def delete_layer(layer):
    layer.dataset.delete_layer("c")


def copy_mag(layer):
    with suppress(NameTakenError):
        layer.get_mag(1).compress(other(layer))


def copy_dataset(layer):
    with suppress(NameTakenError):
        layer.dataset.copy_dataset(other(layer), exists_ok=True)


def rechunk(layer):
    layer.get_mag(1).rechunk(chunk_shape=8, shard_shape=2 * SHARD)


def rename(layer):
    layer.name = "d"


def rename_in_steps(layer):
    """As on file systems that cannot exchange a folder and a link at once."""
    with patch.object(folder_move, "_exchange", return_value=False):
        layer.name = "d"


CHANGES = {
    add_mag: 2,
    downsample: 3,
    delete_mag: 1,
    delete_layer: 1,
    copy_mag: 7,
    copy_dataset: 13,
    rechunk: 7,
    rename: 1,
    rename_in_steps: 1,
}  # and tried moments apart


class Ending:
    """Ends this process, or the call that runs, at a moment: when files are opened, locked, moved or deleted."""

    def __init__(self, moment, how):
        self._left = moment
        self._how = how
        sys.addaudithook(self)

    def __call__(self, event, _):
        if event in MOMENTS:
            self._left -= 1
            if self._left == 0:
                if self._how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise KeyboardInterrupt


def ends_before_it_is_done(change, path, moment, how):
    """Run a change in a process of its own; whether the moment came before it was done."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            layer = wk.Dataset.open(path).get_layer("c")
            Ending(moment, how)
            change(layer)
            code = 0
        except KeyboardInterrupt:
            code = 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in ((0, -signal.SIGKILL) if how == "kill" else (0, 1))
    return code != 0


def troubles(root):
    """What the properties file and the folders of a dataset say differently, where no process is at work."""
    for entry in json.loads((root / "datasource-properties.json").read_text())["dataLayers"]:
        listed = {Path(mag["path"]).name: mag["cubeLength"] for mag in entry["mags"]}
        meshes = [root / mesh["path"] for mesh in entry.get("attachments", {"meshes": []})["meshes"]]
        folder = root / entry["name"]
        there = {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else set()
        if [path for path in (folder / "meshes").glob("[!.]*") if path.read_text() == "a mesh"] != meshes:
            yield folder / "meshes", "are others than are listed"
        there.discard("meshes")
        for name in listed.keys() ^ there:
            yield f"{entry['name']}/{name}", "listed" if name in listed else "there"
        for name in listed.keys() & there:
            if wk.open_mag(folder / name).info.shard_shape[0] != listed[name]:
                yield folder / name, "cubeLength"


def change_beside(path):
    """Let the next change in the dataset's folder, and in that of each layer, settle what is left there."""
    dataset = wk.Dataset.open(path)
    dataset.add_layer("next", "color")
    for layer in dataset.layers.values():
        layer.add_mag(16, chunk_shape=8, shard_shape=SHARD)


def check_readable(path):
    for layer in wk.Dataset.open(path).layers.values():
        for mag_view in layer.mags.values():
            mag_view.read(absolute_offset=(0, 0, 0), size=(24, 16, 8))


@pytest.mark.parametrize("how", ["kill", "interrupt"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_next_call_finishes_or_undoes_what_was_interrupted_at_any_moment(change, how, tmp_path):
    make_dataset(tmp_path / "start")
    fresh = shutil.copytree(tmp_path / "start", tmp_path / "warm")
    change(wk.Dataset.open(fresh).get_layer("c"))  # compiled and imported before processes are forked
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
    expected = None if change is delete_layer else read_finest(fresh)
    for moment in count(1, CHANGES[change]):
        root = shutil.copytree(tmp_path / "start", tmp_path / "dataset")
        is_ended = ends_before_it_is_done(change, root, moment, how)
        roots = [path for path in (root, tmp_path / "other") if (path / "datasource-properties.json").exists()]
        for path in roots:
            with nullcontext() if change is not rename_in_steps else suppress(NotFoundError):
                check_readable(path)
        dataset = wk.Dataset.open(root)
        with suppress(LayerNotFoundError, MagNotFoundError):  # it was deleted
            change(dataset.get_layer("c"))
        for path in roots:
            change_beside(path)
            assert (moment, list(troubles(path)), leftovers(path)) == (moment, [], [])
        if expected is not None:
            np.testing.assert_array_equal(read_finest(root), expected)
        shutil.rmtree(root)
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        if not is_ended:
            break
    assert moment > 10


def read_finest(path):
    layers = wk.Dataset.open(path).layers
    return (layers.get("c") or layers["d"]).get_mag(1).read(absolute_offset=(0, 0, 0), size=(24, 16, 8))


def test_a_link_that_came_with_an_untrusted_dataset_is_not_exchanged(tmp_path):
    """A journal names the inode of a link beside the place; of others, and of links that lead elsewhere, none."""
    make_dataset(tmp_path / "dataset")
    dataset = wk.Dataset.open(tmp_path / "dataset")
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, target in (("one", outside), ("two", "kept")):
        (dataset.path / name).symlink_to(target)
        forged = dataset.path / f".c.{len(name) + ord(name[0]):012x}.wkgpu"
        forged.mkdir()
        (forged / "journal").write_text(str((dataset.path / name).lstat().st_ino))
    dataset.add_layer("next", "color")
    assert leftovers(dataset.path) == []
    assert (dataset.path / "one").readlink() == outside
    assert (dataset.path / "two").readlink() == Path("kept")
    check_readable(dataset.path)


# ---- What only looks like a transaction


def test_what_came_with_an_untrusted_dataset_moves_and_deletes_nothing_else(tmp_path):
    make_dataset(tmp_path / "dataset")
    layer = wk.Dataset.open(tmp_path / "dataset").get_layer("c")
    outside = tmp_path / "outside"
    (outside / "documents").mkdir(parents=True)
    (outside / "documents" / "file").write_text("precious")
    (outside / "journal").write_text(str((outside / "documents").lstat().st_ino))
    (layer.path / ".4.0123456789ab.wkgpu").symlink_to(outside)
    (layer.path / "..1.0123456789ab.wkgpu").mkdir()  # names no place of its own
    (layer.path / "notes").mkdir()
    (layer.path / "notes" / "file").write_text("mine")
    linked, foreign = layer.path / ".notes.0123456789ab.wkgpu", layer.path / ".8.0123456789ab.wkgpu"
    linked.mkdir()
    (linked / "journal").symlink_to(outside / "journal")
    foreign.mkdir()
    (foreign / "journal").write_text("1")
    (foreign / "content").symlink_to(outside)
    layer.downsample_mag(2, 4, chunk_shape=8, shard_shape=SHARD)
    layer.add_mag(8, chunk_shape=8, shard_shape=SHARD)
    assert sorted(path.name for path in outside.iterdir()) == ["documents", "journal"]
    assert (outside / "documents" / "file").read_text() == "precious"
    assert (layer.path / "notes" / "file").read_text() == "mine"
    assert not foreign.exists()


def test_a_folder_that_another_layer_lists_stays(tmp_path):
    make_dataset(tmp_path / "dataset")
    dataset = wk.Dataset.open(tmp_path / "dataset")
    dataset.add_layer("same", "color")
    with dataset._changing() as properties:
        properties.layer("same").add_mag(wk.Mag(1), "./c/1", (SHARD,) * 3)
    dataset.get_layer("c").delete_mag(1)
    dataset.delete_layer("c")
    assert dataset.get_layer("same").get_mag(1).read(absolute_offset=(0, 0, 0), size=(20, 12, 8)).any()


def test_a_mag_that_another_process_has_placed_and_not_listed_yet(tmp_path):
    """It is what that process has added, and not files in the way, which `get_or_add_mag` would complain of."""
    make_dataset(tmp_path / "dataset")
    dataset, placed = wk.Dataset.open(tmp_path / "dataset"), threading.Event()
    place = dataset.path / "c" / "4"

    def add():
        with wk.Dataset.open(dataset.path)._changing() as properties:
            place.mkdir()
            (place / "header.wkw").touch()
            properties.layer("c").add_mag(wk.Mag(4), "./c/4", (SHARD,) * 3)
            placed.set()
            time.sleep(0.2)

    with ThreadPoolExecutor(1) as threads:
        adding = threads.submit(add)
        placed.wait(10)
        with pytest.raises(NameTakenError), NewFolder(place, dataset._file):
            pass
        adding.result()


def test_folders_of_a_layer_that_cannot_be_understood_stay(tmp_path):
    make_dataset(tmp_path / "dataset")
    file = tmp_path / "dataset" / "datasource-properties.json"
    document = json.loads(file.read_text())
    document["dataLayers"].append({"name": "odd", "mags": [{"path": "./c/1"}]})
    file.write_text(json.dumps(document))
    with pytest.warns(UserWarning, match="left out"):
        dataset = wk.Dataset.open(tmp_path / "dataset")
    dataset.get_layer("c").delete_mag(1)
    dataset.delete_layer("c")
    assert (tmp_path / "dataset" / "c" / "1" / "header.wkw").exists()


def test_a_name_is_free_before_the_old_files_are_deleted(tmp_path, monkeypatch):
    make_dataset(tmp_path / "dataset")
    deleting, may_end, discard = threading.Event(), threading.Event(), transaction.discard

    def discard_slowly(path):
        if path.name == "content" and any(path.iterdir()):
            deleting.set()
            may_end.wait(20)
        discard(path)

    monkeypatch.setattr(transaction, "discard", discard_slowly)
    thread = threading.Thread(target=wk.Dataset.open(tmp_path / "dataset").delete_layer, args=("c",))
    thread.start()
    try:
        assert deleting.wait(20)
        wk.Dataset.open(tmp_path / "dataset").add_layer("c", "color").add_mag(1)
        assert thread.is_alive()
    finally:
        may_end.set()
        thread.join()
    assert wk.Dataset.open(tmp_path / "dataset").get_layer("c").get_mag(1).info
    assert leftovers(tmp_path / "dataset") == []
