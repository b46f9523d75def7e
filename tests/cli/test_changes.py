"""The commands that change volumes: `compress`, `rechunk`, `downsample` and `merge`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.cli.options import Interpolation, Sampling
from wkgpu.operations.downsampling.interpolation import InterpolationMode


@pytest.fixture
def copy(dataset, tmp_path):
    """A dataset to change: `color` is LZ4 in mag 1 and raw in mag 2-2-1, all others have one LZ4 mag."""
    return shutil.copytree(dataset, tmp_path / "copy")


def rows_of(output):
    return [line.split("  ") for line in output.splitlines()]


def codecs(path):
    return {
        f"{name} {mag}": mag_view.info.codec
        for name, layer in wk.Dataset.open(path).layers.items()
        for mag, mag_view in layer.mags.items()
    }


def assert_same(command, one, other, *options):
    result = command("equal", one, other, *options)
    assert result.exit_code == 0, result.output


class TestCompress:
    def test_a_dataset(self, command, copy, dataset):
        result = command("compress", copy)
        assert result.exit_code == 0, result.output
        assert set(codecs(copy).values()) == {"lz4"}
        (row,) = [row for row in rows_of(result.output) if row[:2] == ["color", "2-2-1"]]
        assert [cell.strip() for cell in row if cell][2] == "raw 16³/32³"
        assert "lz4 16³/32³" in result.output
        assert result.output.count("the same") == 4
        assert_same(command, copy, dataset)

    @pytest.mark.parametrize("names", [["color"], ["color", "2-2-1"]])
    def test_a_layer_and_a_mag(self, command, copy, dataset, names):
        assert command("compress", copy, *names, "--codec", "lz4hc").exit_code == 0
        found = codecs(copy)
        assert (found["color 1"], found["color 2-2-1"]) == ("lz4hc" if len(names) == 1 else "lz4", "lz4hc")
        assert found["rgb 1"] == "lz4"
        assert_same(command, copy, dataset)

    def test_what_it_took_and_takes(self, command, copy):
        before = (copy / "color" / "2-2-1" / "z0" / "y0" / "x0.wkw").stat().st_size + 16
        output = command("compress", copy, "color", "2-2-1").output
        after = sum(path.stat().st_size for path in (copy / "color" / "2-2-1").rglob("*.wkw"))
        row = next(line for line in output.splitlines() if line.startswith("color"))
        assert f"{before / 1000:.1f} kB" in row
        assert f"{after / 1000:.1f} kB" in row
        assert f"{20 * 18 * 20 / after:.2f}x" in row

    def test_a_copy(self, command, copy, dataset):
        document = json.loads((copy / "datasource-properties.json").read_text())
        document["dataLayers"][0]["defaultViewConfiguration"] = {"alpha": 20}
        (copy / "datasource-properties.json").write_text(json.dumps(document))
        result = command("compress", copy, "--codec", "lz4hc", "--target", "archive")
        assert result.exit_code == 0, result.output
        assert set(codecs("archive").values()) == {"lz4hc"}
        assert codecs(copy) == codecs(dataset)
        assert_same(command, copy, "archive")
        saved = json.loads(Path("archive/datasource-properties.json").read_text())
        assert saved["dataLayers"][0]["defaultViewConfiguration"] == {"alpha": 20}

    def test_copies_of_mags_join(self, command, copy, refused):
        for names in (["color", "1"], ["color", "2-2-1"], ["cells"]):
            assert command("compress", copy, *names, "--target", "archive").exit_code == 0
        assert codecs("archive") == {"color 1": "lz4", "color 2-2-1": "lz4", "cells 1": "lz4"}
        assert "has a mag 1 already" in refused("compress", copy, "color", "1", "--target", "archive")

    def test_mags_without_a_dataset(self, command, copy, tmp_path, volumes):
        loose = shutil.copytree(copy / "color", tmp_path / "loose")
        assert command("compress", loose, "--jobs", 2).exit_code == 0
        assert {wk.open_mag(loose / name).info.codec for name in ("1", "2-2-1")} == {"lz4"}
        assert command("compress", loose, "1", "--codec", "lz4hc", "--target", "other").exit_code == 0
        box = wk.BoundingBox((0, 0, 0), (40, 36, 20))
        mag_view = wk.open_mag("other/loose/1")
        np.testing.assert_array_equal(mag_view.read(absolute_bounding_box=box), volumes["color"])
        assert mag_view.info.codec == "lz4hc"

    def test_mags_of_another_dataset(self, command, copy, tmp_path, refused):
        (copy / "color" / "2-2-1").rename(tmp_path / "elsewhere")
        (copy / "color" / "2-2-1").symlink_to(tmp_path / "elsewhere")
        result = command("compress", copy)
        assert result.exit_code == 0
        assert "Left as it is: color 2-2-1 belongs to another dataset" in result.output
        assert codecs(copy)["color 2-2-1"] == "raw"
        assert "WKGPU_FOREIGN_WRITES=on" in refused("compress", copy, "color", "2-2-1")
        assert command("compress", copy, "--target", "archive").exit_code == 0
        assert codecs("archive")["color 2-2-1"] == "lz4"

    def test_a_dataset_without_mags(self, command, tmp_path):
        wk.Dataset(tmp_path / "empty", voxel_size=(1, 1, 1)).add_layer("color", "color")
        result = command("compress", tmp_path / "empty")
        assert (result.exit_code, result.output) == (0, "There are no mags to rewrite.\n")

    def test_what_was_done_before_a_failure_is_shown(self, command, copy):
        wk.Dataset.open(copy).get_layer("rgb").get_mag(1).rechunk(16, 32, compress=False)
        shard = copy / "rgb" / "1" / "z0" / "y0" / "x0.wkw"
        shard.write_bytes(shard.read_bytes()[:100])
        result = command("compress", copy)
        assert result.exit_code == 1
        assert "color  2-2-1" in result.output
        assert "Error: " in result.output
        assert codecs(copy)["rgb 1"] == "raw"

    def test_wrong_arguments(self, command, copy, refused):
        assert command("compress").exit_code == 2
        assert command("compress", copy, "--codec", "raw").exit_code == 2
        assert command("compress", copy, "--jobs", 0).exit_code == 2
        assert "WKW cannot store --codec 'zstd'; use" in refused("compress", copy, "--codec", "zstd")
        assert "not a mag" in refused("compress", copy, "color", "fine", exit_code=2)
        assert "leave out '2'" in refused("compress", shutil.copytree(copy / "color" / "1", "1"), "2", exit_code=2)
        assert "has no layer 'colour'" in refused("compress", copy, "colour")
        assert "has no mag 8" in refused("compress", copy, "color", "8")
        assert "has no mag 8" in refused("compress", copy / "color", "8")
        assert "does not exist" in refused("compress", "missing")


class TestImages:
    """OME-Zarr images without a properties file, whose folders are levels and no mags."""

    @pytest.fixture
    def image(self, tmp_path):
        dataset = wk.Dataset(tmp_path / "scratch", voxel_size=(10, 10, 25))
        layer = dataset.add_layer("image", "color", data_format="zarr3")
        layer.add_mag(1, chunk_shape=8, shard_shape=8, compress=False).write(np.full((16, 16, 8), 7, "uint8"))
        layer.downsample(coarsest_mag="2-2-1", chunk_shape=8, shard_shape=8, compress=False)
        for old, new in (("1", "0"), ("2-2-1", "1")):
            (layer.path / old).rename(layer.path / new)
            text = (layer.path / "zarr.json").read_text()
            (layer.path / "zarr.json").write_text(text.replace(f'"path": "{old}"', f'"path": "{new}"'))
        return layer.path.rename(tmp_path / "image")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["compress", "{image}"], ["compress", "{image}", "image"], ["compress", "{image}", "image", "1"],
            ["compress", "{image}/1"], ["rechunk", "{image}"], ["rechunk", "{image}/0"], ["downsample", "{image}"],
            ["downsample", "{image}", "image", "--again"], ["merge", "{image}", "image", "{image}/1"],
        ],
    )  # fmt: skip
    def test_they_are_only_read(self, refused, image, arguments):
        before = {file: file.read_bytes() for file in image.rglob("*") if file.is_file()}
        message = refused(*(str(argument).format(image=image) for argument in arguments))
        assert f"{image} is an OME-Zarr image without datasource-properties.json, which is only read" in message
        assert "compress --target DIR" in message
        assert {file: file.read_bytes() for file in image.rglob("*") if file.is_file()} == before

    def test_their_levels_are_mags(self, command, image):
        for arguments in ([image, "image", "2-2-1"], [image / "1"]):
            result = command("read", *arguments, "--box", "0,0,0,8,8,4", "--out", "array.npy", "--force")
            assert result.exit_code == 0, result.output
            assert np.load("array.npy").shape == (1, 4, 4, 4)
        assert '"mag": "2-2-1"' in command("info", image / "1", "--json").output

    def test_copies_can_be_changed(self, command, image):
        assert command("compress", image, "--target", "copy").exit_code == 0
        assert command("compress", image / "1", "--target", "part").exit_code == 0
        assert codecs("copy") == {"image 1": "zstd", "image 2-2-1": "zstd"}
        assert codecs("part") == {"image 2-2-1": "zstd"}
        assert_same(command, image, "copy")
        assert command("downsample", "copy", "--to", 4).exit_code == 0


class TestRechunk:
    def test_a_dataset(self, command, copy, dataset):
        result = command("rechunk", copy, "--chunk", 8, "--shard", 16, "--jobs", 2)
        assert result.exit_code == 0, result.output
        mags = [mag for layer in wk.Dataset.open(copy).layers.values() for mag in layer.mags.values()]
        assert {(mag.info.chunk_shape[0], mag.info.shard_shape[0]) for mag in mags} == {(8, 16)}
        assert codecs(copy) == codecs(dataset)
        assert_same(command, copy, dataset)

    def test_the_defaults(self, command, copy):
        assert command("rechunk", copy, "color", "1", "--codec", "raw").exit_code == 0
        info = wk.Dataset.open(copy).get_layer("color").get_mag(1).info
        assert (info.chunk_shape[0], info.shard_shape[0], info.codec) == (32, 1024, "raw")

    def test_a_copy(self, command, copy, dataset):
        assert command("rechunk", copy, "--shard", 64, "--codec", "lz4hc", "--target", "other").exit_code == 0
        info = wk.Dataset.open("other").get_layer("cells").get_mag(1).info
        assert (info.chunk_shape[0], info.shard_shape[0], info.codec) == (32, 64, "lz4hc")
        assert_same(command, copy, "other")
        assert_same(command, copy, dataset)

    @pytest.mark.parametrize("part", ["color/1", "color/1/", "color/../color/1", "../link"])
    def test_a_folder_in_a_dataset_is_a_part_of_it(self, command, copy, part):
        """What the properties file says about the mag changes, too."""
        (copy.parent / "link").symlink_to(copy / "color" / "1")
        assert command("rechunk", f"{copy}/{part}", "--shard", 64).exit_code == 0
        document = json.loads((copy / "datasource-properties.json").read_text())
        assert [mag["cubeLength"] for mag in document["dataLayers"][0]["mags"]] == [64, 32]

    def test_wrong_arguments(self, command, copy, refused):
        for arguments in (["--chunk", 33], ["--shard", 0], ["--codec", "zip"]):
            assert command("rechunk", copy, *arguments).exit_code == 2
        assert "multiple" in refused("rechunk", copy, "--chunk", 64, "--shard", 32, exit_code=2)


class TestDownsample:
    def test_a_layer(self, command, copy, tmp_path):
        expected = wk.Dataset.open(shutil.copytree(copy, tmp_path / "expected"))
        expected.get_layer("rgb").downsample(coarsest_mag=4, interpolation_mode="max", sampling_mode="isotropic")
        options = ["--from", 1, "--to", 4, "--mode", "max", "--sampling", "isotropic", "--jobs", 2]
        result = command("downsample", copy, "rgb", *options)
        assert result.exit_code == 0, result.output
        shown = [" ".join(line.split()[:7]) for line in result.output.splitlines()[1:]]
        assert shown == ["rgb 2-2-1 20 x 18 x 20", "rgb 4-4-2 10 x 9 x 10"]
        assert_same(command, copy, expected.path)

    def test_all_layers(self, command, copy, tmp_path):
        expected = wk.Dataset.open(shutil.copytree(copy, tmp_path / "expected"))
        expected.downsample()
        result = command("downsample", copy)
        assert result.exit_code == 0, result.output
        assert_same(command, copy, expected.path)
        assert command("downsample", copy).output == "No mags were made.\n"

    @pytest.mark.parametrize("place", ["{copy} color", "{copy}/color"])
    def test_again(self, command, copy, place):
        layer = wk.Dataset.open(copy).get_layer("color")
        layer.get_mag(1).write(np.full((40, 36, 20), 9, "uint8"))
        result = command("downsample", *place.format(copy=copy).split(), "--again")
        assert result.exit_code == 0, result.output
        assert (layer.get_mag("2-2-1").read() == 9).all()
        assert "color  2-2-1" in result.output

    def test_what_was_not_made_is_not_shown(self, refused, copy):
        (copy / "color" / "1" / "header.wkw").write_bytes(b"")
        refused("downsample", copy, "color", "--again")

    def test_wrong_arguments(self, command, copy, refused, tmp_path):
        assert "one layer" in refused("downsample", copy, "--from", 1, exit_code=2)
        assert "one layer" in refused("downsample", copy, "--again", exit_code=2)
        assert "leave out" in refused("downsample", copy, "color", "--again", "--to", 4, exit_code=2)
        assert "more than a layer" in refused("downsample", copy / "color" / "1", exit_code=2)
        assert "not a mag" in refused("downsample", copy, "color", "--to", "coarse", exit_code=2)
        assert "has no mag 8" in refused("downsample", copy, "color", "--from", 8)
        loose = shutil.copytree(copy / "color", tmp_path / "loose")
        assert "voxel size" in refused("downsample", loose)
        for option in ("--mode", "--sampling"):
            assert command("downsample", copy, option, "none").exit_code == 2

    def test_words_are_those_of_the_library(self):
        assert {mode.value for mode in Interpolation} == {"default", *InterpolationMode}
        assert [mode.value for mode in Sampling] == [mode.value for mode in wk.SamplingModes]


class TestMerge:
    @pytest.fixture
    def annotation(self, tmp_path):
        """A folder of mags, as WEBKNOSSOS exports them: files of one chunk, in mags that the layer has or not."""
        folder = tmp_path / "annotation"
        layer = wk.Dataset(tmp_path / "scratch", voxel_size=(10, 10, 25)).add_layer(
            "volume", "segmentation", dtype="uint32"
        )
        for mag, shape in {"1": (16, 16, 16), "4": (8, 8, 8)}.items():
            mag_view = layer.add_mag(mag, chunk_shape=8, shard_shape=8)
            mag_view.write(np.full(shape, 70, "uint32"), absolute_offset=(16, 16, 0))
        shutil.move(layer.path, folder)
        return folder

    def test_into_a_layer(self, command, copy, volumes, annotation):
        wk.Dataset.open(copy).get_segmentation_layer("cells").largest_segment_id = 4
        result = command("merge", copy, "cells", annotation)
        assert result.exit_code == 0, result.output
        assert ["cells", "1", "8"] in [line.split() for line in result.output.splitlines()]
        expected = volumes["cells"].copy()
        expected[:, 16:32, 16:32, :16] = 70
        layer = wk.Dataset.open(copy).get_segmentation_layer("cells")
        np.testing.assert_array_equal(layer.get_mag(1).read(), expected)
        assert layer.largest_segment_id == 70
        assert "The largest segment id of cells is 70 now." in result.output

    def test_a_mags_folder(self, command, copy, annotation):
        wk.Dataset.open(copy).get_layer("cells").add_mag(4, chunk_shape=8, shard_shape=16)
        assert command("merge", copy, "cells", annotation / "4", "--jobs", 2).exit_code == 0
        layer = wk.Dataset.open(copy).get_layer("cells")
        assert (layer.get_mag(4).read() == 70).any()
        assert not (layer.get_mag(1).read() == 70).any()

    def test_without_a_dataset(self, command, copy, annotation, tmp_path):
        shutil.copytree(copy / "cells", tmp_path / "loose" / "cells")
        assert command("merge", tmp_path / "loose", "cells", annotation).exit_code == 0
        assert (wk.open_mag(tmp_path / "loose" / "cells" / "1").read() == 70).any()

    def test_mags_that_were_not_merged_are_named(self, command, copy, annotation):
        wk.Dataset.open(copy).get_layer("cells").add_mag("2-2-1")
        result = command("merge", copy, "cells", annotation)
        assert "Not merged: 2-2-1. " in result.output
        assert "wkgpu downsample" in result.output

    def test_one_mag(self, command, copy, annotation):
        wk.Dataset.open(copy).get_layer("cells").add_mag(4)
        result = command("merge", copy, "cells", annotation, "--mag", 1)
        assert result.exit_code == 0
        assert "Not merged: 4." in result.output

    def test_what_cannot_be_merged(self, refused, command, copy, annotation, tmp_path):
        before = (copy / "datasource-properties.json").read_text()
        message = refused("merge", copy, "cells", annotation / "4")
        assert "has the mags 1, and" in message
        assert "there is nothing to merge" in message
        assert "in mag 2" in refused("merge", copy, "cells", annotation, "--mag", 2)
        assert "uint32" in refused("merge", copy, "color", annotation)
        assert "has no layer" in refused("merge", copy, "nothing", annotation)
        (tmp_path / "data.zip").touch()
        assert "unpack" in refused("merge", copy, "cells", tmp_path / "data.zip")
        assert "layers color, rgb, depth, cells" in refused("merge", copy, "cells", copy, exit_code=2)
        assert command("merge", copy, annotation).exit_code == 2
        assert (copy / "datasource-properties.json").read_text() == before

    def test_a_dataset_of_one_layer_is_an_annotation(self, command, copy, annotation, tmp_path):
        made = wk.Dataset(tmp_path / "made", voxel_size=(10, 10, 25))
        shutil.copytree(annotation, made.path / "volume")
        made.add_layer_for_existing_files("volume", "segmentation")
        assert command("merge", copy, "cells", made.path).exit_code == 0
