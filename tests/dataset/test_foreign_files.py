"""Files outside of a dataset's folder, to which links or paths in it lead: they are changed only where allowed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import stat
from contextlib import suppress

import numpy as np
import pytest
from datasets import VOXEL_SIZE, read

import wkgpu as wk
from wkgpu.errors import HeaderError, ReadOnlyError, ShardIndexError, StorageAccessError
from wkgpu.geometry.voxel_box import VoxelBox
from wkgpu.operations import streaming

BOX = wk.BoundingBox((0, 0, 0), (32, 32, 32))
FOREIGN = ["a linked mag", "a linked layer", "an absolute path", "a relative path"]
HOW_TO_ALLOW = r"allow_foreign_writes=True\).*WKGPU_FOREIGN_WRITES=on"


@pytest.fixture
def voxels(random):
    return random.integers(1, 256, (32, 32, 32)).astype("uint8")


@pytest.fixture
def original(tmp_path, voxels):
    """A layer in the mags 1 and 2."""
    layer = wk.Dataset(tmp_path / "original", voxel_size=VOXEL_SIZE).add_layer("color", "color", bounding_box=BOX)
    layer.add_mag(1, chunk_shape=8, shard_shape=16, compress=False).write(voxels)
    layer.downsample(coarsest_mag=2, sampling_mode="isotropic", chunk_shape=8, shard_shape=16)
    return layer


@pytest.fixture(autouse=True)
def no_hang():
    """Whatever waits for a pipe's other end is interrupted."""

    def give_up(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def state_of(folder):
    """What is in a folder: what is changed, added or removed there shows."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {path: (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns) for path, status in found.items()}


@pytest.fixture
def outside(original):
    return lambda: {path: state for path, state in state_of(original.dataset.path).items() if path.is_file()}


@pytest.fixture(params=FOREIGN)
def refers(request, tmp_path, original):
    """A dataset whose layer is in the original's files."""
    dataset = wk.Dataset(tmp_path / "refers", voxel_size=VOXEL_SIZE)
    dataset.add_layer("color", "color", bounding_box=BOX)
    folder = dataset.path / "color"
    paths = {"an absolute path": str(original.path), "a relative path": "../original/color"}
    listed = paths.get(request.param, "color")
    if request.param == "a linked layer":
        folder.symlink_to(original.path)
    elif request.param == "a linked mag":
        folder.mkdir()
        for mag in ("1", "2"):
            (folder / mag).symlink_to(original.path / mag)
    file = dataset.path / "datasource-properties.json"
    document = json.loads(file.read_text())
    document["dataLayers"][0]["mags"] = [
        {"mag": [mag] * 3, "path": f"{listed}/{mag}", "cubeLength": 16} for mag in (1, 2)
    ]
    file.write_text(json.dumps(document))
    return dataset.path


def write_slices(mag_view):
    with mag_view.get_buffered_slice_writer(absolute_offset=(0, 0, 0)) as writer:
        writer.send(np.zeros((32, 32), "uint8"))


WRITES = {
    "write": lambda mag: mag.write(np.zeros((4, 4, 4), "uint8")),
    "a view": lambda mag: mag.get_view(size=(8, 8, 8), relative_offset=(0, 0, 0)).write(np.zeros((8, 8, 8), "uint8")),
    "a writable view": lambda mag: mag.get_view(size=(8, 8, 8), relative_offset=(0, 0, 0), read_only=False),
    "slices": write_slices,
    "chunks": lambda mag: mag.for_each_chunk(lambda args: args[0].write(np.zeros((16,) * 3, "uint8"))),
    "map_voxels": lambda mag: mag.map_voxels(lambda value: value + 1, mag),
    "merge": lambda mag: mag.merge_with_view(wk.open_mag(mag.path)),
    "compress": lambda mag: mag.compress(),
    "rechunk": lambda mag: mag.rechunk(chunk_shape=16, shard_shape=16),
    "downsample": lambda mag: mag.layer.redownsample(),
    "pickled": lambda mag: pickle.loads(pickle.dumps(mag)).write(np.zeros((4, 4, 4), "uint8")),
}


@pytest.mark.covers("MagView.read_only")
@pytest.mark.covers("View.read_only")
def test_they_are_read_and_not_changed(refers, outside, voxels):
    mag = wk.Dataset.open(refers).get_layer("color").get_mag(1)
    before = outside()
    assert mag.read_only
    assert mag.is_remote_to_dataset
    assert mag.get_view(size=(8, 8, 8), relative_offset=(0, 0, 0)).read_only
    for name, write in WRITES.items():
        with pytest.raises(ReadOnlyError, match=f"outside of its dataset.*{HOW_TO_ALLOW}"):
            write(mag)
        assert outside() == before, name
    np.testing.assert_array_equal(read(mag)[0], voxels)
    mag.layer.dataset.compress()  # does those that are its own
    assert outside() == before


def test_the_webknossos_library_refuses_them_too(refers, webknossos, outside):
    before = outside()
    mag = webknossos.Dataset.open(refers).get_layer("color").get_mag(1)
    assert mag.read_only
    with pytest.raises(RuntimeError, match="read-only"):
        mag.write(np.zeros((16, 16, 16), "uint8"), absolute_offset=(0, 0, 0))
    assert outside() == before


@pytest.mark.parametrize("how", ["argument", "setting"])
def test_they_are_changed_where_that_is_allowed(refers, original, voxels, config, how):
    config.foreign_writes = how == "setting"
    dataset = wk.Dataset.open(refers, allow_foreign_writes=how == "argument")
    mag = dataset.get_layer("color").get_mag(1)
    travelled = pickle.dumps([mag, mag.get_view(size=(8, 8, 8), relative_offset=(0, 0, 0))])
    config.foreign_writes = False  # as in a process that was started without it
    for number, view in enumerate(pickle.loads(travelled)):
        view.write(np.full((8, 8, 8), number, "uint8"))
    voxels[:8, :8, :8] = 1
    np.testing.assert_array_equal(read(original.get_mag(1))[0], voxels)
    config.foreign_writes = how == "setting"
    assert not mag.read_only
    mag.compress()
    assert wk.Dataset.open(original.dataset.path).get_layer("color").get_mag(1).info.codec == "lz4"
    np.testing.assert_array_equal(read(wk.open_mag(original.path / "1"))[0], voxels)


def test_read_only_counts_more(refers):
    mag = wk.Dataset.open(refers, read_only=True, allow_foreign_writes=True).get_layer("color").get_mag(1)
    with pytest.raises(ReadOnlyError, match="read_only=True"):
        mag.write(np.zeros((4, 4, 4), "uint8"))


MAKES = {
    "add_mag": lambda dataset, _: dataset.add_layer("color", "color").add_mag(4),
    "get_or_add_mag": lambda dataset, _: dataset.add_layer("color", "color").get_or_add_mag(4),
    "downsample": lambda dataset, _: dataset.add_layer_for_existing_files("color", "color").downsample(
        from_mag=wk.Mag(2), coarsest_mag=4, sampling_mode="isotropic"
    ),
    "copy_dataset": lambda dataset, original: original.dataset.copy_dataset(dataset.path, exists_ok=True),
    "compress": lambda dataset, original: original.get_mag(1).compress(dataset.path),
    "compress without a layer": lambda dataset, original: wk.open_mag(original.path / "1").compress(dataset.path),
}


@pytest.mark.parametrize("name", MAKES)
def test_nothing_is_made_in_a_folder_that_a_link_leads_to(original, outside, tmp_path, name):
    dataset = wk.Dataset(tmp_path / "linked", voxel_size=VOXEL_SIZE)
    (dataset.path / "color").symlink_to(original.path)
    before = outside()
    with pytest.raises(ReadOnlyError, match=HOW_TO_ALLOW):
        MAKES[name](dataset, original)
    assert outside() == before
    if name == "add_mag":
        layer = wk.Dataset.open(dataset.path, allow_foreign_writes=True).get_layer("color")
        assert layer.add_mag(4).path.resolve() == original.path / "4"


@pytest.mark.covers("Layer.delete_mag")
def test_nothing_is_deleted_that_a_link_leads_to(refers, outside):
    before = outside()
    dataset = wk.Dataset.open(refers, allow_foreign_writes=True)
    dataset.get_layer("color").delete_mag(1)
    dataset.delete_layer("color")
    assert outside() == before
    assert sorted(path.name for path in refers.iterdir()) == ["datasource-properties.json"]


def test_properties_that_a_link_leads_to(original, outside, tmp_path):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "datasource-properties.json").symlink_to(
        original.dataset.path / "datasource-properties.json"
    )
    before = outside()
    with pytest.raises(ReadOnlyError, match=HOW_TO_ALLOW):
        wk.Dataset.open(tmp_path / "linked").name = "another"
    assert outside() == before
    wk.Dataset.open(tmp_path / "linked", allow_foreign_writes=True).name = "another"
    assert wk.Dataset.open(original.dataset.path).name == "another"
    assert (tmp_path / "linked" / "datasource-properties.json").is_symlink()


# ---- Links inside a mag


@pytest.fixture(params=["raw", "lz4"])
def mag(request, dataset, voxels):
    made = dataset.add_layer("own", "color").add_mag(1, chunk_shape=8, shard_shape=16, compress=request.param == "lz4")
    made.write(voxels)
    return made


def link(mag, target, name="z0/y0/x0.wkw"):
    """Replace a shard or a folder by a link, which becomes what it leads to unless there is something."""
    if not os.path.lexists(target):
        (mag.path / name).rename(target)
    elif (mag.path / name).is_file():
        (mag.path / name).unlink()
    (mag.path / name).symlink_to(target)


@pytest.mark.parametrize("kind", ["file", "pipe", "nothing", "itself", "shard", "another shard", "folder"])
def test_a_linked_shard_is_not_written(mag, tmp_path, kind, voxels):
    target = tmp_path / "outside"
    name = "z1" if kind == "folder" else "z0/y0/x0.wkw"
    if kind == "file":
        target.write_text("precious")
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind in ("nothing", "itself"):
        (mag.path / name).unlink()
        (mag.path / name).symlink_to(target if kind == "nothing" else mag.path / name)
    elif kind == "another shard":
        target = mag.path / "z0" / "y0" / "x1.wkw"
    if kind not in ("nothing", "itself"):
        link(mag, target, name)
    before = state_of(tmp_path)
    where = (0, 0, 16) if kind == "folder" else (0, 0, 0)
    for shape in ((16, 16, 16), (3, 3, 3)):  # the whole shard, and a part of it
        with pytest.raises(ReadOnlyError, match=f"{mag.path / name} is a link inside a mag.*{HOW_TO_ALLOW}"):
            mag.write(np.ones(shape, "uint8"), absolute_offset=where)
    assert state_of(tmp_path) == before
    if kind in ("shard", "folder"):
        np.testing.assert_array_equal(read(mag)[0], voxels)


@pytest.mark.parametrize("name", ["z0/y0/x0.wkw", "z0"])
def test_a_linked_shard_is_written_where_that_is_allowed(mag, tmp_path, name, voxels):
    link(mag, tmp_path / "outside", name)
    allowed = wk.Dataset.open(mag.layer.dataset.path, allow_foreign_writes=True).get_layer("own").get_mag(1)
    allowed.write(np.ones((3, 3, 3), "uint8"), absolute_offset=(1, 1, 1))
    voxels[1:4, 1:4, 1:4] = 1
    np.testing.assert_array_equal(read(mag)[0], voxels)
    assert (mag.path / name).is_symlink()
    job = streaming.StreamJob(
        (mag.path,), mag.path, "cpu", Negated(), VoxelBox((0, 0, 0), (16, 16, 16)), follows_links=True
    )
    streaming.stream_box(pickle.loads(pickle.dumps(job)))
    np.testing.assert_array_equal(read(mag)[0, :16, :16, :16], ~voxels[:16, :16, :16])


class Negated:
    """A transformation for a job in another process."""

    ratio = (1, 1, 1)

    def source_boxes(self, target):
        return (target,)

    def apply(self, engine, target, arrays, out, inside):
        out[:, *target.slices_in(inside)] = ~arrays[0]


def test_a_private_file_gets_into_no_copy(mag, tmp_path, voxels):
    """A shard is copied from where a link leads if it is one; a file of another kind could be anything."""
    link(mag, tmp_path / "shard")
    copy = mag.layer.dataset.copy_dataset(tmp_path / "copy")
    np.testing.assert_array_equal(read(copy.get_layer("own").get_mag(1))[0], voxels)
    assert not (copy.path / "own" / "1" / "z0" / "y0" / "x0.wkw").is_symlink()
    (tmp_path / "shard").write_text("a private key")
    with pytest.raises(HeaderError, match="is a link; such a file is not copied"):
        mag.layer.dataset.copy_dataset(tmp_path / "leak")
    assert not list((tmp_path / "leak").rglob("*.wkw"))


@pytest.mark.parametrize("compress", [True, False])
def test_a_private_file_gets_into_no_copy_of_zarr_either(mag, tmp_path, voxels, compress):
    """Its files do not say what they are: what a link leads to is copied as voxels, if it has any."""
    own = mag.layer.dataset.add_layer("zarr", "color", data_format="zarr3").add_mag(
        1, chunk_shape=8, shard_shape=32, compress=compress
    )
    own.write(voxels)
    shard = own.path / "c/0/0/0/0"
    shard.rename(tmp_path / "shard")
    shard.symlink_to(tmp_path / "shard")
    copy = mag.layer.dataset.copy_dataset(tmp_path / "copy").get_layer("zarr").get_mag(1)
    np.testing.assert_array_equal(read(copy)[0], voxels)
    assert not (copy.path / "c/0/0/0/0").is_symlink()
    (tmp_path / "shard").write_text("a private key" * 1000)
    with pytest.raises(ShardIndexError, match="c/0/0/0/0: "):
        mag.layer.dataset.copy_dataset(tmp_path / "leak")
    assert not [file for file in (tmp_path / "leak").rglob("*") if file.is_file() and b"private" in file.read_bytes()]


def test_a_rewrite_replaces_linked_shards_but_refuses_linked_folders(mag, tmp_path, voxels):
    link(mag, tmp_path / "shard")
    before = (tmp_path / "shard").read_bytes()
    mag.rechunk(chunk_shape=16, shard_shape=16)
    assert stat.S_ISREG((mag.path / "z0/y0/x0.wkw").lstat().st_mode)
    assert (tmp_path / "shard").read_bytes() == before
    link(mag, tmp_path / "folder", "z1")
    with pytest.raises(StorageAccessError, match="z1 is a link"):
        mag.rechunk(chunk_shape=32, shard_shape=32)  # the shards in z1 would be deleted
    assert (tmp_path / "folder" / "y0" / "x0.wkw").exists()
    np.testing.assert_array_equal(read(wk.open_mag(mag.path))[0], voxels)


# ---- Datasets from elsewhere

PLACES = [
    "color/.2.0123456789ab.new",
    "color/1/.header.wkw.000000000001.wkgpu/journal",
    "color/1/.rewriting/swap.json",
    "color/1/header.wkw",
    "color/1/z0",
    "color/1/z0/y0/.x0.wkw.000000000000.wkgpu",
    "color/1/z0/y0/x0.wkw",
    "color/1/z0/y0/x9.wkw",
    "color/2",
]
OPERATIONS = [
    lambda layer: layer.get_mag(1).write(np.ones((3, 3, 3), "uint8")),
    lambda layer: layer.get_mag(1).write(np.ones((32, 32, 32), "uint8")),
    lambda layer: layer.downsample(coarsest_mag=2, sampling_mode="isotropic", chunk_shape=8, shard_shape=16),
    lambda layer: layer.get_mag(1).compress(),
    lambda layer: layer.dataset.copy_dataset(layer.dataset.path.with_name("copy")),
    lambda layer: layer.get_mag(1).rechunk(chunk_shape=16, shard_shape=32),
    lambda layer: layer.delete_mag(1),
    lambda layer: layer.dataset.delete_layer("color"),
]


@pytest.mark.parametrize("kind", ["pipe", "nothing", "file", "folder"])
@pytest.mark.parametrize("place", PLACES)
def test_whatever_a_dataset_from_elsewhere_holds(dataset, tmp_path, voxels, place, kind):
    """No operation waits, fails with another error than one of ours, or changes anything outside."""
    layer = dataset.add_layer("color", "color")
    layer.add_mag(1, chunk_shape=8, shard_shape=16, compress=False).write(voxels)
    outside = tmp_path / "outside"
    (outside / "folder" / "documents").mkdir(parents=True)
    for file in ("file", "folder/lock", "folder/documents/file"):
        (outside / file).write_text("precious")
    path = dataset.path / place
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(outside / kind)
    before = state_of(outside)
    for operation in OPERATIONS:
        with suppress(wk.WkgpuError):
            operation(wk.Dataset.open(dataset.path).get_layer("color"))
        assert state_of(outside) == before


@pytest.mark.parametrize("open_it", [wk.Dataset.open, wk.open_mag, lambda path: wk.Dataset(path, VOXEL_SIZE)])
def test_a_link_to_itself(tmp_path, open_it):
    (tmp_path / "1").symlink_to(tmp_path / "1")
    with pytest.raises(wk.WkgpuError, match=str(tmp_path / "1")):
        open_it(tmp_path / "1")
