"""Datasets that are copied: all that they hold, in the same files or in others, and nothing that is half."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from arrays import is_simulated, on_device
from datasets import VOXEL_SIZE, read
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import layouts, voxel_boxes, voxels

import wkgpu as wk
from wkgpu.engines import get_engine
from wkgpu.errors import (
    AlreadyExistsError,
    ArgumentError,
    ChunkError,
    MismatchError,
    NameTakenError,
    NotFoundError,
    PropertiesError,
    ShapeError,
    StorageAccessError,
    UnsupportedError,
)
from wkgpu.operations import rewriting, tiling
from wkgpu.storage.formats import create_array
from wkgpu.storage.stores.local import file_copy
from wkgpu.storage.stores.local.local_store import LocalStore

BOX = wk.BoundingBox((0, 0, 0), (64, 64, 64))  # holds all voxels of `original` and more


@pytest.fixture
def original(dataset, mag_view, random):
    """A dataset with a compressed and a raw mag, a segmentation, and a layer without mags."""
    coarse = mag_view.layer.add_mag("2-2-1", chunk_shape=8, shard_shape=16, compress=False)
    coarse.write(on_device(coarse._engine, random.integers(1, 255, (20, 18, 16)).astype("uint8")))
    cells = dataset.add_layer("cells", "segmentation", dtype="uint32", largest_segment_id=77)
    ids = random.integers(0, 9, (16, 16, 16)).astype("uint32")
    cells.add_mag(1, chunk_shape=8, shard_shape=16, compress="lz4hc").write(on_device(coarse._engine, ids))
    dataset.add_layer("plan", "color", dtype="uint16", bounding_box=wk.BoundingBox((1, 1, 1), (2, 2, 2)))
    return dataset


def document_of(dataset):
    return json.loads((dataset.path / "datasource-properties.json").read_text())


def change(dataset, **keys):
    """Add keys to the properties file, `layer__key` to that of a layer, and open the dataset again."""
    document = document_of(dataset)
    for name, value in keys.items():
        *layer, key = name.split("__")
        place = next(known for known in document["dataLayers"] if known["name"] == layer[0]) if layer else document
        place[key] = value
    (dataset.path / "datasource-properties.json").write_text(json.dumps(document))
    return wk.Dataset.open(dataset.path)


def mags_of(dataset):
    return {(name, mag): view for name, layer in dataset.layers.items() for mag, view in layer.mags.items()}


def assert_same_voxels(one, other):
    assert mags_of(one).keys() == mags_of(other).keys()
    for key, mag_view in mags_of(one).items():
        np.testing.assert_array_equal(
            read(mags_of(other)[key], absolute_bounding_box=BOX), read(mag_view, absolute_bounding_box=BOX)
        )


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.wkw")}


def hidden(folder):
    return list(folder.rglob(".*"))


class TestWhatIsCopied:
    @pytest.mark.covers("Dataset.copy_dataset")
    def test_files_of_the_same_layout_are_copied_as_they_are(self, device, original, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(rewriting, "read_box", None)  # nothing is decoded
            copy = original.copy_dataset(tmp_path / "copy")
        assert (copy.path, copy.name, copy.voxel_size) == (tmp_path / "copy", "copy", VOXEL_SIZE)
        assert files_of(copy.path) == files_of(original.path)
        assert_same_voxels(original, copy)
        assert document_of(copy)["dataLayers"] == document_of(original)["dataLayers"]
        assert hidden(copy.path) == []
        assert_same_voxels(original, wk.Dataset.open(copy.path))

    @pytest.mark.parametrize(
        ("arguments", "shapes", "codecs"),
        [
            ({"compress": True}, [(8, 32), (8, 16), (8, 16)], ["lz4", "lz4", "lz4hc"]),
            ({"compress": False}, [(8, 32), (8, 16), (8, 16)], ["raw"] * 3),
            ({"compress": "lz4hc"}, [(8, 32), (8, 16), (8, 16)], ["lz4hc"] * 3),
            ({"chunk_shape": 16}, [(16, 32), (16, 16), (16, 16)], ["lz4", "raw", "lz4hc"]),
            ({"shard_shape": (32, 32, 32)}, [(8, 32)] * 3, ["lz4", "raw", "lz4hc"]),
            ({"chunk_shape": 16, "shard_shape": 32, "data_format": "wkw"}, [(16, 32)] * 3, ["lz4", "raw", "lz4hc"]),
        ],
    )
    def test_in_another_layout(self, device, original, tmp_path, arguments, shapes, codecs):
        if is_simulated(mags_of(original)["color", wk.Mag(1)]._engine) and arguments.keys() != {"shard_shape"}:
            pytest.skip("too slow in the simulator")
        copy = original.copy_dataset(tmp_path / "copy", **arguments)
        found = [mag_view.info for mag_view in mags_of(copy).values()]
        assert [(info.chunk_shape[0], info.shard_shape[0]) for info in found] == shapes
        assert [info.codec for info in found] == codecs
        assert [mag["cubeLength"] for layer in document_of(copy)["dataLayers"] for mag in layer["mags"]] == [
            shard for _, shard in shapes
        ]
        assert_same_voxels(original, copy)

    def test_chunks_per_shard_is_deprecated(self, original, tmp_path):
        with pytest.warns(DeprecationWarning, match="chunks_per_shard"):
            copy = original.copy_dataset(tmp_path / "copy", chunks_per_shard=2)
        assert {mag_view.info.shard_shape[0] for mag_view in mags_of(copy).values()} == {16}

    def test_what_lies_beyond_the_layers_box_is_kept(self, original, tmp_path):
        original.get_layer("color").bounding_box = wk.BoundingBox((0, 0, 0), (8, 8, 8))
        for name, arguments in {"same": {}, "other": {"chunk_shape": 16}}.items():
            copy = original.copy_dataset(tmp_path / name, **arguments)
            assert copy.get_layer("color").bounding_box == wk.BoundingBox((0, 0, 0), (8, 8, 8))
            assert_same_voxels(original, copy)

    def test_keys_that_wkgpu_does_not_know(self, original, tmp_path):
        known = {"zoom": 3.0, "hidden": {"deep": [1, 2]}}
        original = change(original, defaultViewConfiguration=known, color__adminViewConfiguration=known, cells__odd=5)
        document = document_of(original.copy_dataset(tmp_path / "copy", chunk_shape=16))
        assert document["defaultViewConfiguration"] == known
        assert document["dataLayers"][0]["adminViewConfiguration"] == known
        assert (document["dataLayers"][1]["odd"], document["dataLayers"][1]["largestSegmentId"]) == (5, 77)

    def test_of_an_older_generation(self, original, tmp_path):
        document = document_of(original)
        layer = document["dataLayers"][0]
        layer["wkwResolutions"] = [{"resolution": mag["mag"], "cubeLength": 32} for mag in layer.pop("mags")]
        del layer["numChannels"]
        document["scale"] = document["scale"]["factor"]
        (original.path / "datasource-properties.json").write_text(json.dumps(document))
        original = wk.Dataset.open(original.path)
        copy = original.copy_dataset(tmp_path / "copy")
        assert "wkwResolutions" not in document_of(copy)["dataLayers"][0]
        assert_same_voxels(original, copy)

    def test_mags_of_another_dataset_become_its_own(self, original, mag_view, tmp_path):
        mag_view.path.rename(tmp_path / "elsewhere")
        mag_view.path.symlink_to(tmp_path / "elsewhere")
        copy = original.copy_dataset(tmp_path / "copy")
        assert not copy.get_layer("color").get_mag(1).is_remote_to_dataset
        assert not (copy.path / "color" / "1").is_symlink()

    def test_of_a_read_only_dataset(self, original, tmp_path):
        copy = wk.Dataset.open(original.path, read_only=True).copy_dataset(tmp_path / "copy")
        assert not copy.read_only
        assert_same_voxels(original, copy)

    @pytest.mark.parametrize("ignored", ["color", ["color", "nothing"], iter(["color"])])
    def test_layers_to_ignore(self, original, tmp_path, ignored):
        copy = original.copy_dataset(tmp_path / "copy", layers_to_ignore=ignored)
        assert list(copy.layers) == ["cells", "plan"]

    def test_another_voxel_size(self, original, tmp_path):
        assert original.copy_dataset(tmp_path / "a", voxel_size=(1, 2, 3)).voxel_size == (1, 2, 3)
        size = wk.VoxelSize((1, 2, 3), wk.LengthUnit.MICROMETER)
        for name, arguments in {"b": {}, "c": {"voxel_size": (4, 5, 6)}}.items():
            copy = original.copy_dataset(tmp_path / name, voxel_size_with_unit=size, **arguments)
            assert copy.voxel_size_with_unit == size

    @pytest.mark.parametrize("kind", ["threads", "processes"])
    def test_on_an_executor(self, original, tmp_path, kind, monkeypatch):
        monkeypatch.setattr(tiling, "_JOB_BYTES", 0)  # several jobs
        with wk.get_executor(kind, max_workers=2) as executor:
            for name, arguments in {"same": {}, "other": {"compress": False}}.items():
                assert_same_voxels(original, original.copy_dataset(tmp_path / name, executor=executor, **arguments))

    @settings(max_examples=40)
    @given(st.data())
    def test_any_layout_is_copied_bit_for_bit(self, tmp_path_factory, data):
        spec = data.draw(layouts(largest_chunk=16, largest_shard=4, shard_bytes=1 << 16))
        folder, engine = tmp_path_factory.mktemp("mag"), get_engine("cpu")
        source, target = (create_array(folder / name, spec) for name in ("source", "target"))
        for seed in range(2):
            topleft, shape = data.draw(voxel_boxes(spec))
            rewriting.write_box(source, engine, topleft, voxels(spec, shape, seed))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiling, "_JOB_BYTES", data.draw(st.sampled_from([0, 10_000, 1 << 20])))
            rewriting.rewrite(source, target, wk.Mag(1), "cpu")
        assert files_of(target.path) == files_of(source.path)

    def test_holes_stay_holes(self, dataset, tmp_path):
        raw = dataset.add_layer("raw", "color").add_mag(1, chunk_shape=32, shard_shape=256, compress=False)
        raw.write(np.ones((32, 32, 32), "uint8"), absolute_offset=(128, 128, 128))
        (shard,) = raw.path.glob("z*/y*/x*.wkw")
        if shard.stat().st_blocks * 512 >= shard.stat().st_size:
            pytest.skip("this file system makes no holes")
        (copied,) = dataset.copy_dataset(tmp_path / "copy").path.glob("raw/1/z*/y*/x*.wkw")
        assert copied.read_bytes() == shard.read_bytes()
        assert copied.stat().st_blocks <= 2 * shard.stat().st_blocks

    @pytest.mark.parametrize("content", [b"", b"abc", bytes(1 << 20)])
    def test_files(self, tmp_path, content, monkeypatch):
        (tmp_path / "old").write_bytes(content)
        file_copy.copy_file(tmp_path / "old", tmp_path / "deep" / "new")
        monkeypatch.delattr(file_copy.os, "SEEK_DATA")  # a system that does not tell holes
        file_copy.copy_file(tmp_path / "old", tmp_path / "new")
        assert (tmp_path / "new").read_bytes() == (tmp_path / "deep" / "new").read_bytes() == content


class TestAttachments:
    def test_they_come_along(self, original, tmp_path):
        (original.path / "cells" / "meshes").mkdir()
        (original.path / "cells" / "meshes" / "a.hdf5").write_bytes(b"mesh")
        (original.path / "elsewhere" / "b" / "c").mkdir(parents=True)
        (original.path / "elsewhere" / "b" / "c" / "0").write_bytes(b"agglomerate")
        attachments = {
            "meshes": [{"name": "a", "path": "./cells/meshes/a.hdf5", "dataFormat": "hdf5", "odd": 1}],
            "agglomerates": [{"name": "b", "path": str(original.path / "elsewhere" / "b"), "dataFormat": "zarr3"}],
            "segmentIndex": {"name": "i", "path": "https://example.org/i", "dataFormat": "hdf5"},
        }
        copy = change(original, cells__attachments=attachments).copy_dataset(tmp_path / "copy")
        listed = document_of(copy)["dataLayers"][1]["attachments"]
        assert listed["meshes"] == attachments["meshes"]
        assert listed["agglomerates"][0]["path"] == "./cells/agglomerates/b"
        assert listed["segmentIndex"] == attachments["segmentIndex"]
        assert (copy.path / "cells" / "meshes" / "a.hdf5").read_bytes() == b"mesh"
        assert (copy.path / "cells" / "agglomerates" / "b" / "c" / "0").read_bytes() == b"agglomerate"
        assert hidden(copy.path) == []

    @pytest.mark.parametrize(
        ("attachments", "error"),
        [
            ({"meshes": [{"path": "./missing"}]}, NotFoundError),
            ({"../../meshes": [{"path": "./color/1/header.wkw"}]}, PropertiesError),
            ({"meshes": [{"path": "./color/.."}]}, PropertiesError),
        ],
    )
    def test_those_that_cannot(self, original, tmp_path, attachments, error):
        with pytest.raises(error, match="attachment"):
            change(original, color__attachments=attachments).copy_dataset(tmp_path / "copy")

    def test_those_of_one_name_are_all_copied(self, original, tmp_path):
        places = ["x/a.hdf5", "y/A.hdf5", "x/a-2.hdf5", "x/../y/A.hdf5"]
        for place in places:
            (original.path / place).parent.mkdir(exist_ok=True)
            (original.path / place).write_text(place[-8:])
        attachments = {kind: [{"path": place} for place in places] for kind in ("meshes", "agglomerates")}
        copy = change(original, cells__attachments=attachments).copy_dataset(tmp_path / "copy")
        listed = document_of(copy)["dataLayers"][1]["attachments"]
        for kind in attachments:
            names = [entry["path"].removeprefix(f"./cells/{kind}/") for entry in listed[kind]]
            assert names == ["a.hdf5", "A-2.hdf5", "a-2-2.hdf5", "A-2.hdf5"]
            texts = [(copy.path / entry["path"]).read_text() for entry in listed[kind]]
            assert texts == [place[-8:] for place in places]

    @pytest.mark.parametrize("path", ["../private", "{private}", "{private}/key", "./link", "./folder", "./color/mesh"])
    def test_those_outside_of_the_dataset_get_into_no_copy(self, original, tmp_path, path):
        private = tmp_path / "private"
        private.mkdir()
        (private / "key").write_text("private")
        (original.path / "link").symlink_to(private / "key")
        (original.path / "folder").mkdir()
        (original.path / "folder" / "file").symlink_to("../../private/key")
        (original.path / "color" / "mesh").symlink_to(private)
        (original.path / "fine").write_text("mesh")
        entry = {"path": path.format(private=private)}
        attachments = {"meshes": [entry, {"path": "./fine"}], "segmentIndex": entry}
        with pytest.warns(UserWarning, match=rf"attachment .*is not copied: {private}.* lies outside") as warned:
            copy = change(original, cells__attachments=attachments).copy_dataset(tmp_path / "copy")
        assert len(warned) == 2
        assert document_of(copy)["dataLayers"][1]["attachments"] == {"meshes": [{"path": "./cells/meshes/fine"}]}
        assert not [file for file in copy.path.rglob("*") if file.is_file() and file.read_bytes() == b"private"]

    def test_those_with_a_link_to_a_folder_are_left_out(self, original, tmp_path):
        (original.path / "mesh" / "empty").mkdir(parents=True)
        (original.path / "linked").mkdir()
        (original.path / "linked" / "link").symlink_to("../mesh")
        attachments = {"meshes": [{"path": "./linked"}, {"path": "./mesh"}]}
        with pytest.warns(UserWarning, match=r"attachment .*linked is not copied: .*link is a link to a folder"):
            copy = change(original, cells__attachments=attachments).copy_dataset(tmp_path / "copy")
        assert document_of(copy)["dataLayers"][1]["attachments"] == {"meshes": [{"path": "./cells/meshes/mesh"}]}
        assert (copy.path / "cells" / "meshes" / "mesh" / "empty").is_dir()

    @pytest.mark.parametrize("path", ["./pipe", "./folder"])
    def test_a_pipe_is_not_waited_for(self, original, tmp_path, path):
        (original.path / "folder").mkdir()
        for place in ("pipe", "folder/pipe"):
            os.mkfifo(original.path / place)
        with pytest.raises(StorageAccessError, match="pipe is a pipe where a regular file belongs"):
            change(original, cells__attachments={"meshes": [{"path": path}]}).copy_dataset(tmp_path / "copy")

    @pytest.mark.parametrize("attachments", [None, 5, {"meshes": None}, {"meshes": [5, {"path": 7}, {}]}])
    def test_what_is_none_is_kept(self, original, tmp_path, attachments):
        copy = change(original, color__attachments=attachments).copy_dataset(tmp_path / "copy")
        assert document_of(copy)["dataLayers"][0]["attachments"] == attachments


class TestIntoADatasetThatExists:
    @pytest.fixture
    def other(self, tmp_path):
        made = wk.Dataset(tmp_path / "other", voxel_size=VOXEL_SIZE)
        made.add_layer("more", "color")
        return made

    def test_it_must_be_allowed(self, original, other):
        with pytest.raises(AlreadyExistsError, match="dataset already"):
            original.copy_dataset(other.path)
        copy = original.copy_dataset(other.path, exists_ok=True)
        assert list(copy.layers) == ["more", "color", "cells", "plan"]
        assert list(wk.Dataset.open(other.path).layers) == list(copy.layers)

    def test_mags_join_a_layer(self, original, other):
        layer = other.add_layer("color", "color", bounding_box=wk.BoundingBox((60, 0, 0), (10, 10, 10)))
        layer.add_mag(4, chunk_shape=8, shard_shape=8)
        other.add_layer("cells", "segmentation", dtype="uint32", largest_segment_id=500)
        other = change(other, color__defaultViewConfiguration={"alpha": 1})
        original = change(original, color__defaultViewConfiguration={"alpha": 2}, color__odd=1)
        copy = original.copy_dataset(other.path, exists_ok=True)
        assert list(copy.get_layer("color").mags) == [wk.Mag(1), wk.Mag("2-2-1"), wk.Mag(4)]
        assert copy.get_layer("color").bounding_box == wk.BoundingBox((4, 0, 0), (66, 44, 44))
        assert copy.get_segmentation_layer("cells").largest_segment_id == 500
        document = next(layer for layer in document_of(copy)["dataLayers"] if layer["name"] == "color")
        assert (document["defaultViewConfiguration"], document["odd"]) == ({"alpha": 1}, 1)

    def test_a_mag_that_is_there_stays(self, original, other):
        other.add_layer("cells", "segmentation", dtype="uint32").add_mag(1)
        before = document_of(other)
        with pytest.raises(NameTakenError, match=r"'cells' of .*other has a mag 1 already"):
            original.copy_dataset(other.path, exists_ok=True)
        with pytest.raises(IndexError):  # what webknossos raises
            original.copy_dataset(original.path, exists_ok=True)
        assert document_of(other) == before

    def test_layers_that_differ(self, original, other):
        other.add_layer("color", "color", dtype="uint16")
        with pytest.raises(MismatchError, match="dtype"):
            original.copy_dataset(other.path, exists_ok=True)

    def test_another_voxel_size_must_be_asked_for(self, original, tmp_path):
        wk.Dataset(tmp_path / "other", voxel_size=(1, 2, 3))
        with pytest.raises(MismatchError, match="voxel size"):
            original.copy_dataset(tmp_path / "other", exists_ok=True)
        original.copy_dataset(tmp_path / "other", exists_ok=True, voxel_size=(1, 2, 3))

    def test_folders_of_something_else(self, original, tmp_path):
        (tmp_path / "empty").mkdir()
        original.copy_dataset(tmp_path / "empty")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.tex").touch()
        for exists_ok in (False, True):
            with pytest.raises(AlreadyExistsError, match="not empty"):
                original.copy_dataset(tmp_path / "full", exists_ok=exists_ok)


class TestFailures:
    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"chunk_shape": 64}, ShapeError),
            ({"chunk_shape": 12, "shard_shape": 24}, ShapeError),
            ({"chunk_shape": (8, 8, 16)}, ShapeError),
            ({"compress": "zip"}, ArgumentError),
            ({"data_format": "n5"}, UnsupportedError),
            ({"voxel_size": (1, 2)}, ArgumentError),
        ],
    )
    def test_arguments_that_cannot_be_make_nothing(self, original, tmp_path, arguments, error):
        with pytest.raises(error):
            original.copy_dataset(tmp_path / "copy", **arguments)
        assert not (tmp_path / "copy").exists()

    def test_layers_of_another_format_are_left_out(self, original, tmp_path, recwarn):
        original = change(original, plan__dataFormat="n5")
        with pytest.warns(UserWarning, match="'plan' .* is not copied: it is n5"):
            copied = original.copy_dataset(tmp_path / "copy")
        assert set(copied.layers) == set(original.layers) - {"plan"}
        original.copy_dataset(tmp_path / "other", layers_to_ignore=["plan"])
        assert not recwarn

    def test_layers_that_cannot_be_understood_are_left_out(self, original, tmp_path):
        with pytest.warns(UserWarning, match="'plan' is left out|layer 'plan'"):
            original = change(original, plan__mags=5)
        with pytest.warns(UserWarning, match=r"'plan' is not copied: .*datasource-properties\.json"):
            copied = original.copy_dataset(tmp_path / "copy")
        assert set(copied.layers) == set(original.layers)

    @pytest.mark.parametrize(
        ("arguments", "module", "step"), [({}, LocalStore, "copy"), ({"compress": False}, rewriting, "write_box")]
    )
    def test_a_mag_that_is_half_is_not_listed(self, device, original, tmp_path, monkeypatch, arguments, module, step):
        copied = []

        really = getattr(module, step)

        def fails_later(*args):
            if len(copied) == 3:
                raise ChunkError("as if it could not be written")
            copied.append(args)
            really(*args)

        monkeypatch.setattr(module, step, fails_later)
        with pytest.raises(ChunkError, match="as if"):
            original.copy_dataset(tmp_path / "copy", **arguments)
        copy = wk.Dataset.open(tmp_path / "copy")
        assert mags_of(copy) == {}
        assert list(copy.path.rglob("header.wkw")) == hidden(copy.path) == []
        monkeypatch.undo()
        assert_same_voxels(original, original.copy_dataset(copy.path, exists_ok=True))

    def test_a_mag_that_cannot_be_listed_leaves_no_files(self, original, tmp_path, monkeypatch):
        really, saved = LocalStore.write, []

        def fails(store, key, data, **options):
            if b'"./color/1"' in data:
                raise OSError("disk full")
            saved.append(key)
            really(store, key, data, **options)

        monkeypatch.setattr(LocalStore, "write", fails)
        with pytest.raises(OSError, match="disk full"):
            original.copy_dataset(tmp_path / "copy")
        assert saved
        assert list((tmp_path / "copy").rglob("header.wkw")) == hidden(tmp_path / "copy") == []


class TestAgainstWebknossos:
    @pytest.fixture
    def theirs(self, webknossos, original):
        (original.path / "cells" / "meshes").mkdir()
        (original.path / "cells" / "meshes" / "a.hdf5").write_bytes(b"mesh")
        attachments = {"meshes": [{"name": "a", "path": "./cells/meshes/a.hdf5", "dataFormat": "hdf5"}]}
        change(
            original,
            cells__attachments=attachments,
            color__defaultViewConfiguration={"color": [255, 0, 0]},
            defaultViewConfiguration={"zoom": 3.0},
        )
        return webknossos.Dataset.open(original.path)

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"compress": True},
            {"compress": False, "layers_to_ignore": ["plan", "nothing"]},
            {"chunk_shape": 16, "voxel_size": (1.0, 2.0, 3.0)},
            {"chunk_shape": 16, "shard_shape": 32, "exists_ok": True},
            {"shard_shape": 64, "data_format": "wkw"},
        ],
    )
    def test_both_make_the_same(self, theirs, original, tmp_path, arguments):
        from cluster_tools import get_executor

        with get_executor("sequential") as executor:
            theirs.copy_dataset(tmp_path / "theirs" / "copy", executor=executor, **arguments)
        wk.Dataset.open(original.path).copy_dataset(tmp_path / "ours" / "copy", **arguments)
        copies = [wk.Dataset.open(tmp_path / name / "copy") for name in ("theirs", "ours")]
        assert_same_voxels(*copies)
        infos = [{key: mag_view.info for key, mag_view in mags_of(copy).items()} for copy in copies]
        if "compress" in arguments:
            assert [info.compression_mode for info in infos[0].values()] == [
                info.compression_mode for info in infos[1].values()
            ]
        assert [(info.chunk_shape, info.shard_shape) for info in infos[0].values()] == [
            (info.chunk_shape, info.shard_shape) for info in infos[1].values()
        ]
        documents = [document_of(copy) for copy in copies]
        for document in documents:
            for layer in document["dataLayers"]:
                layer["boundingBox"].pop("axisOrder", None)
        assert documents[0] == documents[1]
        assert (copies[1].path / "cells" / "meshes" / "a.hdf5").read_bytes() == b"mesh"

    def test_it_reads_the_copy(self, webknossos, original, tmp_path):
        copy = webknossos.Dataset.open(original.copy_dataset(tmp_path / "copy", chunk_shape=16).path)
        for (name, mag), mag_view in mags_of(original).items():
            found = copy.get_layer(name).get_mag(str(mag)).read(absolute_offset=(0, 0, 0), size=(64, 64, 64))
            np.testing.assert_array_equal(found, read(mag_view, absolute_bounding_box=BOX))


def test_the_original_stays_as_it_is(original, tmp_path):
    before = files_of(original.path), document_of(original)
    copy = original.copy_dataset(tmp_path / "copy")
    copy.get_layer("color").get_mag(1).write(np.zeros((64, 64, 64), "uint8"))
    shutil.rmtree(copy.path / "cells")
    assert (files_of(original.path), document_of(original)) == before
