"""Meshes, agglomerates and other files of a segmentation: listed, copied, renamed."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import pytest
from datasets import VOXEL_SIZE

import wkgpu as wk
from wkgpu.errors import (
    AlreadyExistsError,
    ArgumentError,
    NameTakenError,
    NotFoundError,
    PropertiesError,
    ReadOnlyError,
    UnsupportedError,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

KINDS = {
    "MeshAttachment": ("hdf5", "zarr3", "neuroglancerPrecomputed"),
    "AgglomerateAttachment": ("hdf5", "zarr3"),
    "ConnectomeAttachment": ("hdf5", "zarr3"),
    "SegmentIndexAttachment": ("hdf5", "zarr3"),
    "CumsumAttachment": ("json", "zarr3"),
    "SegmentStatisticsAttachment": ("zarr3",),
}
FORMATS = ("hdf5", "json", "neuroglancerPrecomputed", "zarr3")


@pytest.fixture
def cells(dataset):
    return dataset.add_layer("cells", "segmentation", dtype="uint32")


@pytest.fixture
def sources(tmp_path):
    """A file and a folder, outside of the dataset."""
    (tmp_path / "sources" / "folder" / "c").mkdir(parents=True)
    (tmp_path / "sources" / "file").write_text("a file")
    (tmp_path / "sources" / "folder" / "zarr.json").write_text("{}")
    (tmp_path / "sources" / "folder" / "c" / "0").write_text("chunk")
    return tmp_path / "sources"


def described(library, sources):
    """One attachment of each kind and format, in an order in which each replaces what may be there once."""
    formats = {member.value: member for member in library.AttachmentDataFormat}
    for kind, names in KINDS.items():
        for name in names:
            source = sources / ("file" if name in ("hdf5", "json") else "folder")
            yield getattr(library, kind).from_path_and_name(source, f"{kind}-{name}", data_format=formats[name])


def listed(attachments):
    """All that there are, as text."""
    found = [
        *attachments.meshes, *attachments.agglomerates, *attachments.connectomes,
        attachments.segment_index, attachments.cumsum, attachments.segment_statistics,
    ]  # fmt: skip
    return [
        (type(one).__name__, one.type_name, one.container_name, one.name, str(one.path), one.data_format.value)
        for one in found
        if one is not None
    ]


@pytest.mark.parametrize("action", ["add_attachment_as_ref", "add_attachment_as_copy"])
@pytest.mark.covers("SegmentationLayer.attachments", "Attachments", "AttachmentDataFormat", "Attachment")
@pytest.mark.covers("MeshAttachment", "AgglomerateAttachment", "ConnectomeAttachment")
@pytest.mark.covers("SegmentIndexAttachment", "CumsumAttachment", "SegmentStatisticsAttachment")
def test_both_libraries_list_and_copy_the_same(webknossos, tmp_path, sources, action):
    found = []
    for library in (webknossos, wk):
        folder = tmp_path / "target"
        dataset = library.Dataset(folder, voxel_size=VOXEL_SIZE)
        layer = dataset.add_layer("cells", "segmentation", dtype="uint32", data_format="wkw")
        assert layer.attachments.is_empty
        for attachment in described(library, sources):
            assert isinstance(attachment, library.Attachment)
            getattr(layer.attachments, action)(attachment)
        assert isinstance(layer.attachments, library.Attachments)
        assert not layer.attachments.is_empty
        entries = json.loads((folder / "datasource-properties.json").read_text())["dataLayers"][0]["attachments"]
        files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("cells/**/*.*")}
        read = [
            listed(other.Dataset.open(folder).get_layer("cells").attachments) for other in (webknossos, wk, library)
        ]
        assert read[0] == read[1] == read[2] == listed(layer.attachments)
        found.append((entries, files, read[0]))
        shutil.rmtree(folder)
    assert found[0] == found[1]
    assert (sources / "folder" / "c" / "0").read_text() == "chunk"


def test_the_formats_of_a_kind_are_those_of_the_library(webknossos, tmp_path):
    assert sorted(member.value for member in webknossos.AttachmentDataFormat) == sorted(FORMATS)
    assert {member.name: member.value for member in webknossos.AttachmentDataFormat} == {
        member.name: member.value for member in wk.AttachmentDataFormat
    }
    for kind, allowed in KINDS.items():
        for name in FORMATS:
            theirs = webknossos.AttachmentDataFormat(name)
            for library, data_format in ((webknossos, theirs), (wk, theirs), (wk, name)):
                make = getattr(library, kind).from_path_and_name
                if name in allowed:
                    assert make(tmp_path, "a", data_format=data_format).data_format.value == name
                else:
                    with pytest.raises(ValueError, match=name):
                        make(tmp_path, "a", data_format=data_format)


def test_parameters_are_those_of_the_library(webknossos):
    for theirs, ours in ((webknossos.Attachments, wk.Attachments), (webknossos.MeshAttachment, wk.MeshAttachment)):
        for name in set(dir(theirs)) & set(dir(ours)):
            if not name.startswith("_") and callable(getattr(ours, name)):
                assert list(inspect.signature(getattr(ours, name)).parameters) == list(
                    inspect.signature(getattr(theirs, name)).parameters
                )
    for name in ("DatasetViewConfiguration", "LayerViewConfiguration"):
        theirs, ours = (inspect.signature(getattr(library, name)).parameters for library in (webknossos, wk))
        assert list(theirs) == list(ours)


@pytest.mark.parametrize("where", ["inside", "relative", "outside", "dots", "through a link"])
def test_paths_are_written_as_the_library_writes_them(webknossos, tmp_path, sources, where):
    found = []
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for library in (webknossos, wk):
        folder = tmp_path / "target"
        library.Dataset(folder, voxel_size=VOXEL_SIZE).add_layer(
            "cells", "segmentation", dtype="uint32", data_format="wkw"
        )
        dataset = library.Dataset.open(tmp_path / "link" if where == "through a link" else folder)
        path = {
            "inside": folder / "cells" / "a.hdf5",
            "relative": "cells/a.hdf5",
            "outside": sources / "file",
            "dots": "../sources/file",
            "through a link": folder / "cells" / "a.hdf5",
        }[where]
        attachments = dataset.get_layer("cells").attachments
        formats = library.AttachmentDataFormat
        attachments.add_mesh(path, name="a", data_format=formats.HDF5)
        attachments.add_agglomerate(path, name="b", data_format=formats.HDF5)
        attachments.add_connectome(path, name="c", data_format=formats.HDF5)
        attachments.set_segment_index(path, name="d", data_format=formats.HDF5)
        attachments.set_segment_index(path, name="d2", data_format=formats.HDF5)
        attachments.set_cumsum(path, name="e", data_format=formats.JSON)
        found.append(json.loads((folder / "datasource-properties.json").read_text())["dataLayers"][0]["attachments"])
        shutil.rmtree(folder)
    assert found[0] == found[1]


def test_names_and_deletions(dataset, cells, sources, saved):
    attachments = cells.attachments
    attachments.add_mesh(sources / "file", name="skin", data_format="hdf5")
    copied = attachments.add_attachment_as_copy(
        wk.MeshAttachment.from_path_and_name(sources / "file", "bone", data_format="hdf5")
    )
    assert copied.path == cells.path / "meshes" / "bone.hdf5"
    cumsum = attachments.set_cumsum("s3://bucket/cumsum.json", name="sums", data_format="json")
    assert saved()["dataLayers"][0]["attachments"]["cumsum"]["path"] == "s3://bucket/cumsum.json"
    renamed = attachments.rename_attachment(copied, new_name="bones")
    assert attachments.rename_attachment(renamed, new_name="bones") == renamed
    assert (renamed.name, renamed.path) == ("bones", copied.path)
    assert repr(attachments).startswith("Attachments([MeshAttachment(name='skin', path=PosixPath(")
    other = wk.Dataset(dataset.path.with_name("other"), voxel_size=VOXEL_SIZE).add_layer("cells", "segmentation")
    assert [one.name for one in other.attachments.add_attachments(renamed, cumsum)] == ["bones", "sums"]
    assert other.attachments.add_attachment_as_ref(renamed, new_name="again").path == copied.path
    (mine,) = other.attachments.add_copy_attachments(attachments.meshes[0])
    assert mine.path.read_text() == "a file"
    for attachment in (renamed, cumsum, attachments.meshes[0]):
        attachments.delete_attachment(attachment)
    assert attachments.is_empty
    assert "attachments" not in saved()["dataLayers"][0]
    assert copied.path.exists()


def test_what_the_file_says_otherwise_stays(dataset, cells, sources, saved):
    """Kinds that are not known, keys beside the path, and entries that are none."""
    with dataset._changing() as properties:
        properties.layer("cells").document["attachments"] = {
            "dreams": [{"name": "x", "path": "./x"}],
            "meshes": [{"name": "a", "path": "./cells/a", "dataFormat": "hdf5", "lod": 3}, "odd"],
        }
    (mesh,) = cells.attachments.meshes
    cells.attachments.rename_attachment(mesh, new_name="b")
    cells.attachments.add_mesh(sources / "file", name="c", data_format="hdf5")
    found = saved()["dataLayers"][0]["attachments"]
    assert found["dreams"] == [{"name": "x", "path": "./x"}]
    assert found["meshes"][:2] == [{"name": "b", "path": "./cells/a", "dataFormat": "hdf5", "lod": 3}, "odd"]
    with dataset._changing() as properties:
        properties.layer("cells").document["attachments"]["meshes"][0]["dataFormat"] = "obj"
    with pytest.raises(PropertiesError, match=r"layer 'cells': mesh .*'obj' is unknown; use one of 'hdf5'"):
        _ = cells.attachments.meshes


def test_errors(dataset, cells, sources, saved):
    attachments, before = cells.attachments, saved()
    mesh = wk.MeshAttachment.from_path_and_name(sources / "file", "skin", data_format="hdf5")
    for name in ("a/b", "", "..", 7):
        with pytest.raises(ValueError, match="cannot have the name"):
            wk.MeshAttachment.from_path_and_name(sources, name, data_format="hdf5")
    with pytest.raises(ArgumentError, match="use one of its classes"):
        wk.Attachment.from_path_and_name(sources, "a", data_format="hdf5")
    with pytest.raises(ArgumentError, match="'obj' is unknown"):
        wk.MeshAttachment.from_path_and_name(sources, "a", data_format="obj")
    for change in (attachments.add_attachment_as_ref, attachments.add_attachment_as_copy):
        with pytest.raises(ArgumentError, match="is no attachment"):
            change(sources / "file")
    missing = wk.MeshAttachment.from_path_and_name(sources / "missing", "m", data_format="hdf5")
    with pytest.raises(NotFoundError, match=r"missing does not exist"):
        attachments.add_attachment_as_copy(missing)
    remote = wk.MeshAttachment.from_path_and_name("s3://bucket/mesh", "m", data_format="zarr3")
    with pytest.raises(UnsupportedError, match=r"s3://bucket/mesh.*add_attachment_as_ref"):
        attachments.add_attachment_as_copy(remote)
    (sources / "folder" / "link").symlink_to(sources / "folder" / "c")
    linked = wk.MeshAttachment.from_path_and_name(sources / "folder", "m", data_format="zarr3")
    with pytest.raises(UnsupportedError, match=r"folder/link is a link to a folder"):
        attachments.add_attachment_as_copy(linked)
    for change in (
        lambda: attachments.delete_attachment(mesh),
        lambda: attachments.rename_attachment(mesh, new_name="x"),
    ):
        with pytest.raises(NotFoundError, match="no mesh 'skin'"):
            change()
    assert saved() == before
    attachments.add_attachment_as_copy(mesh)
    before = saved()
    for change in (attachments.add_attachment_as_ref, attachments.add_attachment_as_copy):
        with pytest.raises(NameTakenError, match=r"'skin' in meshes already"):
            change(mesh)
    (cells.path / "agglomerates").mkdir()
    (cells.path / "agglomerates" / "a.hdf5").write_text("mine")
    with pytest.raises(AlreadyExistsError):
        attachments.add_attachment_as_copy(
            wk.AgglomerateAttachment.from_path_and_name(sources / "file", "a", data_format="hdf5")
        )
    opened = wk.Dataset.open(dataset.path, read_only=True).get_layer("cells").attachments
    for change in (
        lambda: opened.add_attachment_as_ref(mesh),
        lambda: opened.add_attachment_as_copy(mesh),
        lambda: opened.delete_attachment(opened.meshes[0]),
        lambda: opened.rename_attachment(opened.meshes[0], new_name="x"),
    ):
        with pytest.raises(ReadOnlyError):
            change()
    assert saved() == before
    assert Path(cells.path / "agglomerates" / "a.hdf5").read_text() == "mine"


def test_a_copy_does_not_leave_the_dataset(tmp_path, dataset, cells, sources):
    """The folder of the kind is a link that leads elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    cells.path.mkdir()
    (cells.path / "meshes").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReadOnlyError, match="elsewhere"):
        cells.attachments.add_attachment_as_copy(
            wk.MeshAttachment.from_path_and_name(sources / "file", "skin", data_format="hdf5")
        )
    assert list((tmp_path / "elsewhere").iterdir()) == []
