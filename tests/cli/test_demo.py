from __future__ import annotations

import builtins
import re
import shutil
from collections import Counter

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.cli import demo_folder
from wkgpu.cli.processing import _are_medians, _are_modes, correction
from wkgpu.errors import AlreadyExistsError
from wkgpu.synthetic import Tissue

ZARR = ["image-zarr3", "segmentation-zarr3"]
ARGUMENTS = ("demo", "--size", "64", "--seed", "3")


def mapped(volume):
    """What the demo makes of a volume: an image gets more contrast, and segments are numbered by their size."""
    values, places, counts = np.unique(volume, return_inverse=True, return_counts=True)
    if volume.dtype == np.uint8:
        shares = counts.cumsum() / counts.sum()
        low, high = (int(values[np.searchsorted(shares, share)]) for share in (0.01, 0.99))
        new = np.rint(np.clip((values.astype(float) - low) * (255 / (high - low)), 0, 255))
    else:
        by_size = [value for value in counts.argsort()[::-1] if values[value] > 0]
        new = np.zeros(len(values))
        new[by_size] = np.arange(1, len(by_size) + 1)
    return new[places].reshape(volume.shape).astype(volume.dtype)


def test_the_main_job(command, tmp_path):
    images = pytest.importorskip("PIL.Image")
    result = command(*ARGUMENTS)
    assert result.exit_code == 0, result.output
    assert "on engine cpu" in result.output
    assert "All that was read equals what was written, and what was made of it is what NumPy makes." in result.output
    steps = re.findall(r"^(\w+|64³).* ((?:image|segmentation)(?:-zarr3)?)  +[\d.]+ ", result.output, re.MULTILINE)
    assert Counter(steps) == {
        ("write", "image"): 1,
        ("read", "image"): 2,
        ("64³", "image"): 2,
        ("map", "image"): 1,
        ("compress", "image"): 1,
        ("downsample", "image"): 1,
        ("write", "segmentation"): 1,
        ("read", "segmentation"): 2,
        ("64³", "segmentation"): 2,
        ("map", "segmentation"): 1,
        ("merge", "segmentation"): 1,
        ("compress", "segmentation"): 1,
        ("downsample", "segmentation"): 1,
        **{("write", name): 1 for name in ZARR},
        **{(step, name): 2 for step in ("read", "64³") for name in ZARR},
    }
    assert "wkgpu info demo-output" in result.output

    image, segmentation = map(mapped, Tissue((64, 64, 64), seed=3).volumes())
    box, corrected = correction(segmentation)
    assert (corrected != segmentation[box.to_slices()]).any()
    segmentation[box.to_slices()] = corrected
    dataset = wk.Dataset.open("demo-output")
    np.testing.assert_array_equal(dataset.get_layer("image").get_mag(1).read()[0], image)
    layer = dataset.get_segmentation_layer("segmentation")
    np.testing.assert_array_equal(layer.get_mag(1).read()[0], segmentation)
    assert layer.largest_segment_id >= segmentation.max()
    codecs = {name: dataset.get_layer(name).get_mag(1).info.codec for name in dataset.layers}
    assert codecs == {"image": "lz4hc", "segmentation": "lz4hc", **dict.fromkeys(ZARR, "zstd")}
    assert len(layer.mags) > 1
    assert images.open("demo-output/picture.png").size[0] > 1000


def test_the_next_steps_can_be_taken(command):
    steps = re.findall(r"^  wkgpu (.*)$", command(*ARGUMENTS).output, re.MULTILINE)
    assert [step.split()[0] for step in steps] == ["info", "read"]
    for step in steps:
        assert command(*step.split()).exit_code == 0


def test_an_earlier_demo_is_replaced(command, tmp_path):
    """Unless the new one cannot begin."""
    assert command(*ARGUMENTS, "--out", tmp_path / "a").exit_code == 0
    result = command(*ARGUMENTS, "--out", tmp_path / "a", "--device", "tpu")
    assert result.exit_code == 1
    assert "Error: device 'tpu'" in result.output
    assert (tmp_path / "a" / "image").exists()
    assert command(*ARGUMENTS, "--out", tmp_path / "a").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        ".made-by-wkgpu-demo",
        "datasource-properties.json",
        "image",
        "image-zarr3",
        "picture.png",
        "segmentation",
        "segmentation-zarr3",
        "zarr.json",
    ]


def test_other_folders_are_left_alone(refused, command, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    assert "was not made by" in refused(*ARGUMENTS, "--out", tmp_path / "mine")
    assert "is a file" in refused(*ARGUMENTS, "--out", tmp_path / "mine" / "precious")
    assert command(*ARGUMENTS, "--out", tmp_path / "demo").exit_code == 0
    (tmp_path / "demo" / "precious").touch()
    assert "'precious'" in refused(*ARGUMENTS, "--out", tmp_path / "demo")
    assert (tmp_path / "demo" / "image").exists()


def made(folder):
    """Return a folder as a demo leaves it, made without one, which takes its time."""
    dataset = wk.Dataset(folder, voxel_size=(1, 1, 1))
    demo_folder.mark_demo_folder(folder)
    for name, category in demo_folder.LAYERS.items():
        layer = dataset.add_layer(name, category)
        layer.add_mag(1, shard_shape=64).write(np.ones((64, 64, 64), "uint8"))
        layer.add_mag("2-2-1", shard_shape=64)
    (folder / "picture.png").touch()
    return folder


def test_a_folder_is_cleared_only_as_the_demo_left_it(tmp_path):
    """A stranger's file, a change, a link, or a marker that was copied: nothing of the folder is removed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    changes = {
        "a file in a mag": lambda folder: (folder / "image" / "1" / "notes.txt").touch(),
        "a file in a shard's folder": lambda folder: (folder / "image" / "1" / "z0" / "y0" / "x1.wkw.bak").touch(),
        "other voxels": lambda folder: (
            wk.Dataset.open(folder).get_layer("image").get_mag(1).write(np.zeros((9, 9, 9), "uint8"))
        ),
        "a layer": lambda folder: wk.Dataset.open(folder).add_layer("mine", "color").add_mag(1),
        "a mag": lambda folder: wk.Dataset.open(folder).get_layer("image").add_mag(8),
        "a link": lambda folder: (folder / "image" / "4").symlink_to(outside),
    }
    for number, (what, change) in enumerate(changes.items()):
        folder = made(tmp_path / str(number))
        demo_folder.note_demo_folder(folder)
        demo_folder.check_demo_folder(folder)
        change(folder)
        before = sorted(folder.rglob("*"))
        with pytest.raises(AlreadyExistsError, match="--out"):
            demo_folder.clear_demo_folder(folder)
        assert sorted(folder.rglob("*")) == before, what
    assert (outside / "precious").read_text() == "precious"


def test_a_copied_marker_makes_no_demo_of_a_dataset(tmp_path):
    folder = made(tmp_path / "a")
    demo_folder.note_demo_folder(folder)
    (tmp_path / "mine" / "image").mkdir(parents=True)
    (tmp_path / "mine" / "image" / "scan.raw").write_text("precious")
    shutil.copy(folder / ".made-by-wkgpu-demo", tmp_path / "mine")
    with pytest.raises(AlreadyExistsError, match=r"scan\.raw"):
        demo_folder.clear_demo_folder(tmp_path / "mine")


@pytest.mark.parametrize("marker", ["", "`wkgpu demo` replaces this folder when it runs again.\n", "[" * 2000])
def test_what_an_interrupted_or_earlier_demo_left_is_cleared_by_its_names(tmp_path, marker):
    folder = made(tmp_path / "a")
    if marker:
        (folder / ".made-by-wkgpu-demo").write_text(marker)
    for name in (
        "image/1/z0/y0/.x0.wkw.partial",
        "image/1/z0/y0/.x0.wkw.000000000000.wkgpu",
        "image/.2.0123456789ab.wkgpu/content/z0/y0/x0.wkw",
        "image/.2.0123456789ab.wkgpu/journal",
        ".datasource-properties.json.0123456789ab.tmp",
        ".datasource-properties.json.0123456789ab.wkgpu",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    demo_folder.clear_demo_folder(folder)
    assert list(folder.iterdir()) == []
    folder = made(tmp_path / "b")
    for name in ("image/notes/1.txt", "image/1/12", "image/1/0.5", "image-zarr3/1/c"):
        stranger = folder / name
        stranger.parent.mkdir(parents=True, exist_ok=True)
        stranger.touch()
        with pytest.raises(AlreadyExistsError, match=re.escape(name)):
            demo_folder.clear_demo_folder(folder)
        stranger.unlink()


@pytest.mark.parametrize("member", ["read", "read_many"])
def test_a_difference_is_an_error(command, monkeypatch, member):
    original = getattr(wk.MagView, member)

    def damaged(view, *arguments, **keywords):
        voxels = original(view, *arguments, **keywords)
        voxels[..., 5, 6, 7] ^= 1
        return voxels

    monkeypatch.setattr(wk.MagView, member, damaged)
    result = command(*ARGUMENTS)
    assert result.exit_code == 1
    assert "layer 'image' of demo-output: 1 voxels differ; at (5, 6, 7)" in result.output
    assert "equals" not in result.output


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("map_voxels", "layer 'image' of demo-output: [0-9,]+ voxels differ"),
        ("merge_with_view", "layer 'segmentation' of demo-output: [0-9,]+ voxels differ"),
        ("compress", "layer 'image' of demo-output: [0-9,]+ voxels differ"),
    ],
)
def test_a_wrong_change_is_an_error(command, monkeypatch, member, message):
    def damaging(mag_view, *arguments, **keywords):
        mag_view.write(np.full((3, 3, 3), 201, mag_view.get_dtype()))

    monkeypatch.setattr(wk.MagView, member, damaging)
    result = command(*ARGUMENTS)
    assert result.exit_code == 1
    assert re.search(message, result.output), result.output


@pytest.mark.parametrize("layer", ["image", "segmentation"])
def test_a_wrong_coarser_mag_is_an_error(command, monkeypatch, layer):
    original = wk.Layer.downsample

    def damaging(self, **keywords):
        original(self, **keywords)
        if self.name == layer:
            coarse = list(self.mags.values())[1]
            coarse.write(np.full((1, 1, 1), 255, self.dtype), absolute_offset=(32, 32, 32))

    monkeypatch.setattr(wk.Layer, "downsample", damaging)
    result = command(*ARGUMENTS)
    assert result.exit_code == 1
    kind = "medians" if layer == "image" else "most frequent ids"
    assert re.search(f"layer '{layer}' of demo-output: [0-9,]+ voxels of mag .* are no {kind}", result.output)


def test_modes_and_medians():
    blocks = np.array([[[[1, 1, 2, 2], [3, 9, 3, 0]]]])
    assert _are_modes(np.array([[[1, 3]]]), blocks).all()
    assert _are_modes(np.array([[[2, 9]]]), blocks).tolist() == [[[True, False]]]
    assert _are_medians(np.array([[[1, 3]]]), blocks).all()
    assert _are_medians(np.array([[[3, 2]]]), blocks).tolist() == [[[False, False]]]


def test_without_pillow_there_is_no_picture(command, monkeypatch):
    original = builtins.__import__

    def without_pillow(name, *arguments, **keywords):
        if name == "PIL":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    result = command(*ARGUMENTS)
    assert result.exit_code == 0, result.output
    assert "No picture: A picture needs Pillow" in result.output


@pytest.mark.parametrize("size", ["63", "4096", "big"])
def test_sizes(command, size):
    assert command("demo", "--size", size).exit_code == 2
