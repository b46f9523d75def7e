from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from wkgpu.cli import excerpt, export
from wkgpu.cli.pictures import colours_of
from wkgpu.engines import host_memory
from wkgpu.operations import transfer

PIL_Image = pytest.importorskip("PIL.Image")
tifffile = pytest.importorskip("tifffile")

BOX = "2,4,6,30,20,10"
INSIDE = (slice(None), slice(2, 32), slice(4, 24), slice(6, 16))


@pytest.mark.parametrize("layer", ["color", "rgb", "depth", "cells"])
def test_npy_is_the_array(command, dataset, volumes, layer):
    result = command("read", dataset, layer, "1", "--box", BOX, "--out", "a.npy")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("a.npy: 30 x 20 x 10 voxels, ")
    np.testing.assert_array_equal(np.load("a.npy"), volumes[layer][INSIDE])


def test_the_box_is_in_mag_1(command, dataset, volumes):
    assert command("read", dataset, "color", "2-2-1", "--box", BOX, "--out", "a.npy").exit_code == 0
    np.testing.assert_array_equal(np.load("a.npy"), volumes["color"][INSIDE][:, ::2, ::2])


@pytest.mark.parametrize("layer", ["color", "rgb", "depth", "cells"])
def test_tif_is_a_stack(command, dataset, volumes, layer):
    assert command("read", dataset, layer, "1", "--box", BOX, "--out", "a.tif").exit_code == 0
    expected = volumes[layer][INSIDE]
    stack = expected.transpose(3, 2, 1, 0) if layer == "rgb" else expected[0].transpose(2, 1, 0)
    np.testing.assert_array_equal(tifffile.imread("a.tif"), stack)
    with tifffile.TiffFile("a.tif") as file:
        assert len(file.pages) == 10
        assert file.is_imagej == (layer in ("color", "rgb"))


def test_one_coordinate_along_further_axes(command, refused, series):
    path, voxels = series
    arguments = ("read", path, "a", "1", "--box", "2,4,6,6,6,6", "--out", "a.npy")
    result = command(*arguments, "--at", "t=1", "--at", "q=0")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load("a.npy"), voxels[1, :, 0, 2:8, 4:10, 6:12])
    for at, message in (
        ([], "along 't' there are the coordinates 0 to 2, and --at names none"),
        (["t=3", "q=0"], "--at 't=3': along 't' there are the coordinates 0 to 2"),
        (["t=1", "q=0", "s=0"], "--at 's=0': there is no such axis; those besides x, y and z: ['t', 'q']"),
    ):
        options = [text for coordinate in at for text in ("--at", coordinate)]
        assert message in refused(*arguments, "--force", *options)
    for at in (["t"], ["t=-1"], ["=1"], ["t=1", "t=2"]):
        result = command(*arguments, "--force", *(text for coordinate in at for text in ("--at", coordinate)))
        assert (result.exit_code, "Traceback" in result.output) == (2, False)


@pytest.mark.parametrize("nbytes", [1, 3000, 20_000])
@pytest.mark.parametrize(("layer", "mag"), [("rgb", "1"), ("depth", "1"), ("color", "2-2-1")])
def test_a_box_larger_than_memory(command, dataset, volumes, monkeypatch, layer, mag, nbytes):
    """It is read part by part; what is held at a time has room, the whole box has not."""
    box, inside = "2,4,6,32,32,14", (slice(None), slice(2, 34), slice(4, 36), slice(6, 20))
    monkeypatch.setattr(excerpt, "EXCERPT_BYTES", nbytes)
    monkeypatch.setattr(transfer, "LARGE_BYTES", 0)
    monkeypatch.setattr(host_memory, "available_bytes", lambda: 25_000)
    for name in ("a.npy", "a.tif"):
        result = command("read", dataset, layer, mag, "--box", box, "--out", name)
        assert result.exit_code == 0, result.output
    step = int(mag[0])
    expected = volumes[layer][inside][:, ::step, ::step]
    np.testing.assert_array_equal(np.load("a.npy"), expected)
    stack = expected.transpose(3, 2, 1, 0)
    np.testing.assert_array_equal(tifffile.imread("a.tif"), stack if layer == "rgb" else stack[..., 0])


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.png"])
def test_a_box_larger_than_anything(refused, dataset, tmp_path, name):
    box = f"0,0,0,1000000,1000000,{1 if name == 'a.png' else 100}"
    message = refused("read", dataset, "color", "1", "--box", box, "--out", name)
    assert message.startswith(f"Error: --box {box}")
    assert message.endswith("Give a smaller --box.\n" if name == "a.png" else "or another --out.\n")


def test_slices_that_memory_has_no_room_for(refused, dataset, monkeypatch):
    monkeypatch.setattr(transfer, "LARGE_BYTES", 0)
    monkeypatch.setattr(host_memory, "available_bytes", lambda: 500)
    for name in ("a.tif", "a.png"):
        message = refused("read", dataset, "color", "1", "--box", "0,0,0,32,32,1", "--out", name)
        assert "is too large for" in message
        assert not any(Path().iterdir())


def test_tif_says_the_voxel_size(command, dataset):
    assert command("read", dataset, "color", "2-2-1", "--box", BOX, "--out", "a.tif").exit_code == 0
    with tifffile.TiffFile("a.tif") as file:
        assert file.imagej_metadata["spacing"] == 0.025
        numerator, denominator = file.pages[0].tags["XResolution"].value
        assert numerator / denominator == pytest.approx(1000 / 20)


def test_png_of_uint8_is_as_it_is(command, dataset, volumes):
    for layer in ("color", "rgb"):
        result = command("read", dataset, layer, "1", "--box", "2,4,6,30,20,1", "--out", f"{layer}.png")
        assert result.exit_code == 0, result.output
        picture = np.asarray(PIL_Image.open(f"{layer}.png"))
        expected = volumes[layer][:, 2:32, 4:24, 6].transpose(2, 1, 0)
        np.testing.assert_array_equal(picture.reshape(expected.shape), expected)


def test_png_of_other_integers_is_scaled(command, dataset, volumes):
    result = command("read", dataset, "depth", "1", "--box", "2,4,6,30,20,1", "--out", "a.png")
    values = volumes["depth"][0, 2:32, 4:24, 6].T
    assert f"from {values.min()} (black) to {values.max()} (white)" in result.output
    picture = np.asarray(PIL_Image.open("a.png"))
    assert (picture.min(), picture.max()) == (0, 255)
    order = np.argsort(values, axis=None)
    assert (np.diff(picture.ravel()[order].astype(int)) >= 0).all()


def test_png_of_a_segmentation_is_coloured(command, dataset, volumes):
    result = command("read", dataset, "cells", "1", "--box", "2,4,6,30,20,1", "--out", "a.png")
    assert "4 segments in colours" in result.output
    picture = np.asarray(PIL_Image.open("a.png"))
    np.testing.assert_array_equal(picture, colours_of(volumes["cells"][0, 2:32, 4:24, 6].T))


def test_png_of_a_thick_box_is_the_middle_slice(command, dataset, volumes):
    result = command("read", dataset, "color", "1", "--box", BOX, "--out", "a.PNG")
    assert "the middle one, z = 11" in result.output
    np.testing.assert_array_equal(np.asarray(PIL_Image.open("a.PNG")), volumes["color"][0, 2:32, 4:24, 11].T)


@pytest.mark.parametrize("path", [("color", "2-2-1"), ("color/2-2-1",)])
def test_a_folder_of_mags_and_a_mag(command, dataset, volumes, path):
    folder, *names = path
    result = command("read", dataset / folder, *names, "--box", BOX, "--out", "a.npy")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load("a.npy"), volumes["color"][INSIDE][:, ::2, ::2])


def test_a_folder_of_folders_of_mags(command, dataset, volumes, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    (copy / "datasource-properties.json").unlink()
    result = command("read", copy, "cells", "1", "--box", "2,4,6,30,20,1", "--out", "a.png")
    assert "Taken for a segmentation, because the voxels are uint32." in result.output
    np.testing.assert_array_equal(np.asarray(PIL_Image.open("a.png")), colours_of(volumes["cells"][0, 2:32, 4:24, 6].T))


def test_outside_of_the_data(command, dataset):
    result = command("read", dataset, "color", "1", "--box", "4000,0,0,8,8,8", "--out", "a.npy")
    assert result.exit_code == 0
    assert "outside of the data" in result.output
    assert not np.load("a.npy").any()


# ---- What is refused


def test_existing_output(command, refused, dataset):
    arguments = ("read", dataset, "color", "1", "--box", BOX, "--out", "a.npy")
    np.save("a.npy", "precious")
    assert "--force" in refused(*arguments)
    assert np.load("a.npy") == "precious"
    assert command(*arguments, "--force").exit_code == 0
    assert np.load("a.npy").shape == (1, 30, 20, 10)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nope", "1"], "has no layer 'nope'; it has 'color', 'rgb', 'depth', 'cells'."),
        (["color", "4"], "Layer 'color' has no mag 4; it has 1, 2-2-1."),
    ],
)
def test_what_the_dataset_does_not_hold(refused, dataset, names, message):
    assert message in refused("read", dataset, *names, "--box", BOX, "--out", "a.npy")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ([""], "name a layer and a mag: color, rgb, depth, cells"),
        (["", "color"], "name a mag of layer 'color' as well: 1, 2-2-1"),
        (["", "color", "one"], "'one' is not a mag"),
        (["color"], "holds several mags; name one of 1, 2-2-1"),
        (["color/1", "1"], "is a single mag; leave out '1'"),
    ],
)
def test_names_that_are_missing_or_too_many(refused, dataset, path, message):
    folder, *names = path
    assert message in refused("read", dataset / folder, *names, "--box", BOX, "--out", "a.npy", exit_code=2)


def test_missing_folders_and_mags(refused, dataset, tmp_path):
    ending = ("--box", BOX, "--out", "a.npy")
    assert "does not exist" in refused("read", tmp_path / "missing", "color", "1", *ending)
    assert "does not exist" in refused("read", tmp_path / "missing", *ending)
    assert "no dataset" in refused("read", tmp_path, *ending)
    assert "has no mag 4; it has 1, 2-2-1." in refused("read", dataset / "color", "4", *ending)


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d,e,f", "0,0,0,8,8,0", "-1,0,0,8,8,8", "0,0,0,8,8,8,8"])
def test_a_box_that_is_none(command, dataset, box):
    result = command("read", dataset, "color", "1", "--box", box, "--out", "a.npy")
    assert result.exit_code == 2
    assert box in result.output


def test_a_box_between_voxels_gets_a_better_one(command, refused, dataset):
    arguments = "read", dataset, "color", "2-2-1", "--out", "a.npy", "--box"
    better = "0,2,6,8,10,1"
    assert refused(*arguments, "1,3,6,7,8,1").endswith(f"--box {better}\n")
    assert command(*arguments, better).exit_code == 0


def test_an_unknown_kind_of_file(command, dataset):
    result = command("read", dataset, "color", "1", "--box", BOX, "--out", "a.jpg")
    assert result.exit_code == 2
    assert ".npy, .tif" in result.output


def test_an_output_that_is_written_through_no_link(command, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.txt").write_text("precious")
    (tmp_path / ".a.npy.partial").symlink_to("other.txt")
    (tmp_path / "a.npy").symlink_to("real.npy")
    assert command("read", dataset, "color", "1", "--box", BOX, "--out", "a.npy").exit_code == 0
    assert (tmp_path / "other.txt").read_text() == "precious"
    np.testing.assert_array_equal(np.load("real.npy"), np.load("a.npy"))
    assert (tmp_path / "a.npy").is_symlink()


def test_no_folder_for_the_output(refused, dataset):
    message = refused("read", dataset, "color", "1", "--box", BOX, "--out", "missing/a.npy")
    assert message == "Error: missing/a.npy: No such file or directory.\n"


def test_an_unknown_device(refused, dataset):
    assert "'tpu'" in refused("read", dataset, "color", "1", "--box", BOX, "--out", "a.npy", "--device", "tpu")


@pytest.mark.parametrize(("name", "module"), [("a.png", "PIL.Image"), ("a.tif", "tifffile")])
def test_a_library_that_is_missing(refused, dataset, monkeypatch, name, module):
    def import_module(wanted):
        if wanted == module:
            raise ImportError(wanted)
        return importlib.import_module(wanted)

    monkeypatch.setattr(export.importlib, "import_module", import_module)
    message = refused("read", dataset, "color", "1", "--box", BOX, "--out", name)
    assert "pip install 'pillow>=11' 'tifffile>=2025.1'" in message


def test_no_partial_file_is_left(refused, dataset, monkeypatch, tmp_path):
    def fail(excerpt, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(export.WRITERS, ".npy", fail)
    out = tmp_path / "a.npy"
    assert "No space left" in refused("read", dataset, "color", "1", "--box", BOX, "--out", out)
    assert not out.exists()


def test_a_damaged_shard(refused, dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    shard = copy / "color" / "1" / "z0" / "y0" / "x0.wkw"
    shard.write_bytes(shard.read_bytes()[:-100])
    assert str(shard) in refused("read", copy, "color", "1", "--box", BOX, "--out", "a.npy")
