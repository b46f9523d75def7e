"""Mags that are made of finer ones: the same voxels as webknossos makes, and what is left when something fails."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import pytest
from arrays import given_on_engine, is_simulated
from datasets import read
from hypothesis import given, settings
from hypothesis import strategies as st

import wkgpu as wk
from wkgpu.dataset.changes import mag_pyramid
from wkgpu.errors import (
    ArgumentError,
    ChunkError,
    InterpolationError,
    MagNotFoundError,
    MismatchError,
    NameTakenError,
    ReadOnlyError,
    SamplingError,
    ShapeError,
)
from wkgpu.operations import streaming
from wkgpu.operations.downsampling.interpolation import InterpolationMode

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")

COLOR_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32")
SEGMENTATION_TYPES = ("uint8", "uint32", "uint64", "int64")
SAME_AS_WEBKNOSSOS = ("default", "median", "mode", "nearest", "max", "min")
FACTORS = ((2, 2, 2), (2, 2, 1), (1, 1, 2), (4, 4, 2), (8, 8, 8))


@pytest.fixture
def engine(device):
    """The engine of `device`, on which all datasets are."""
    return wk.get_engine(device)


class Example(NamedTuple):
    """A layer to downsample, and how."""

    category: str
    dtype: str
    num_channels: int
    box: wk.BoundingBox
    from_mag: str
    factors: tuple[int, int, int]
    interpolation: str
    shards: tuple[int, int]
    buffer_shape: tuple[int, int, int] | None
    values: int
    seed: int

    @property
    def target_mag(self):
        return wk.Mag(self.from_mag) * self.factors

    def make(self, path):
        """Make the layer, with voxels in its whole box in the finer mag, and zeros in some of its shards."""
        layer = wk.Dataset(path, voxel_size=(1, 1, 1)).add_layer(
            "layer", self.category, dtype=self.dtype, num_channels=self.num_channels, bounding_box=self.box
        )
        mag_view = layer.add_mag(self.from_mag, chunk_shape=8, shard_shape=self.shards[0])
        box = mag_view.bounding_box
        voxels = self.voxels(box.in_mag(mag_view.mag).size.to_tuple())
        mag_view.to("cpu").write(voxels, absolute_offset=box.topleft, allow_resize=False)
        return layer

    def voxels(self, shape):
        random = np.random.default_rng(self.seed)
        shape = (self.num_channels, *shape)
        if self.dtype == "float32" and self.seed % 2:
            found = random.normal(size=shape).astype("float32")
            found[random.random(shape) < 0.01] = np.nan
            return found
        info = np.iinfo(self.dtype if self.dtype != "float32" else "int16")
        low, high = max(int(info.min), -(2**51)), min(int(info.max), 2**51)  # webknossos computes with float64
        found = random.integers(low, high, shape, endpoint=True)
        found = random.choice(found.reshape(-1)[: self.values], shape) if self.values else found
        found[:, 16:32] = 0
        return found.astype(self.dtype)

    def options(self):
        return {
            "interpolation_mode": self.interpolation,
            "chunk_shape": 8,
            "shard_shape": self.shards[1],
            "buffer_shape": self.buffer_shape,
        }


def boxes(longest):
    corner, length = st.integers(0, 20), st.integers(1, longest)
    return st.builds(wk.BoundingBox, st.tuples(corner, corner, corner), st.tuples(length, length, length))


@st.composite
def examples(draw, is_small, interpolations=SAME_AS_WEBKNOSSOS, is_one_buffer=False):
    category = draw(st.sampled_from(["color", "segmentation"]))
    return Example(
        category,
        draw(st.sampled_from(COLOR_TYPES if category == "color" else SEGMENTATION_TYPES)),
        draw(st.sampled_from([1, 1, 3])),
        draw(boxes(longest=20 if is_small else 45)),
        draw(st.sampled_from(["1", "1", "2", "2-2-1"])),
        draw(st.sampled_from(FACTORS)),
        draw(st.sampled_from(interpolations)),
        (draw(st.sampled_from([8, 16, 32])), 128 if is_one_buffer else draw(st.sampled_from([8, 16, 32]))),
        None if is_one_buffer else draw(st.none() | st.tuples(*[st.sampled_from([2, 4, 7, 8])] * 3)),
        draw(st.sampled_from([0, 2, 5])),
        draw(st.integers(0, 100)),
    )


def downsampled_by_webknossos(webknossos, path, example, box=None):
    """What webknossos makes of a copy of a dataset, or for a layer with a box in another dataset."""
    import cluster_tools

    copy = path.with_name(f"{path.name}-theirs")
    shutil.copytree(path, copy)
    layer = webknossos.Dataset.open(copy).get_layer("layer")
    fine, coarse = (webknossos.Mag(wk.Mag(mag).to_tuple()) for mag in (example.from_mag, example.target_mag))
    options = example.options() | {"executor": cluster_tools.get_executor("sequential")}
    if box is not None:
        options["from_mag_view"] = layer.get_mag(fine)
        layer = webknossos.Dataset(copy.with_name("other-theirs"), voxel_size=(1, 1, 1)).add_layer(
            "other", layer.category, dtype=example.dtype, num_channels=example.num_channels, data_format="wkw",
            bounding_box=webknossos.BoundingBox(box.topleft.to_tuple(), box.size.to_tuple()),
        )  # fmt: skip
    layer.downsample_mag(fine, coarse, **options)
    return layer.get_mag(coarse).read()


@given_on_engine(examples, examples=40, simulated=6)
@pytest.mark.covers("Layer.downsample_mag")
def test_webknossos_makes_the_same_voxels(engine, webknossos, tmp_path_factory, example):
    path = tmp_path_factory.mktemp("dataset") / "ours"
    layer = example.make(path)
    expected = downsampled_by_webknossos(webknossos, path, example)
    layer.downsample_mag(example.from_mag, example.target_mag, **example.options())
    np.testing.assert_array_equal(read(layer.get_mag(example.target_mag)), expected)
    assert layer.bounding_box == example.box


@settings(max_examples=20)
@given(examples(is_small=True), boxes(longest=25))
def test_webknossos_makes_the_same_of_another_layer(webknossos, tmp_path_factory, example, box):
    """As much of it as lies in the layer's own box, and zeros beyond it."""
    path = tmp_path_factory.mktemp("dataset") / "ours"
    source = example.make(path).get_mag(example.from_mag)
    expected = downsampled_by_webknossos(webknossos, path, example, box)
    layer = wk.Dataset(path.with_name("other"), voxel_size=(1, 1, 1)).add_layer(
        "other", example.category, dtype=example.dtype, num_channels=example.num_channels, bounding_box=box
    )
    layer.downsample_mag(example.from_mag, example.target_mag, from_mag_view=source, **example.options())
    np.testing.assert_array_equal(read(layer.get_mag(example.target_mag)), expected)
    assert layer.bounding_box == box


@given_on_engine(lambda is_small: examples(is_small, ("bilinear",), is_one_buffer=True), examples=25, simulated=6)
def test_bilinear_is_the_mean(engine, tmp_path_factory, example):
    """For webknossos it is an interpolation between the ends of a buffer, whose voxels depend on its shape."""
    layer = example.make(tmp_path_factory.mktemp("dataset") / "ours")
    source = layer.get_mag(example.from_mag)
    expected = means(read(source), source.bounding_box.in_mag(source.mag), example.factors)
    layer.downsample_mag(example.from_mag, example.target_mag, **example.options())
    found = read(layer.get_mag(example.target_mag))
    if example.dtype == "float32":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)


def means(voxels, box, factors):
    """The means of blocks (channel, x, y, z), the ones at the border filled up with mirrored voxels."""
    shape = np.array(factors)
    first, end = np.array(box.topleft) // shape, -(-np.array(box.bottomright) // shape)
    before, behind = np.array(box.topleft) - first * shape, end * shape - np.array(box.bottomright)
    padded = np.pad(voxels, [(0, 0), *zip(before, behind, strict=True)], mode="symmetric")
    x, y, z = end - first
    split = padded.reshape(len(voxels), x, shape[0], y, shape[1], z, shape[2])
    if voxels.dtype.kind == "f":
        return split.astype("float64").mean(axis=(2, 4, 6))
    count = int(np.prod(shape))
    total = split.astype(object).sum(axis=(2, 4, 6))  # of Python's integers, which do not overflow
    return ((2 * total + count) // (2 * count)).astype(voxels.dtype)


# ---- Several mags


@pytest.fixture
def made(layer, random):
    """A layer with a mag of 40³ voxels."""
    edge = 20 if is_simulated(wk.get_engine()) else 40
    mag_view = layer.add_mag(1, chunk_shape=8, shard_shape=16)
    mag_view.to("cpu").write(random.integers(0, 256, (edge, edge, edge)).astype("uint8"), absolute_offset=(3, 4, 5))
    return layer


SMALL = {"chunk_shape": 8, "shard_shape": 16}


def block_maxima(voxels, factors):
    """The maxima of blocks of (channel, x, y, z), which may be cut off at the end."""
    for axis, factor in enumerate(factors, start=1):
        voxels = np.maximum.reduceat(voxels, range(0, voxels.shape[axis], factor), axis=axis)
    return voxels


def whole(layer, mag):
    """What a mag reads from the origin to the end of the layer's box."""
    mag_view = layer.get_mag(mag)
    return read(mag_view, absolute_bounding_box=wk.BoundingBox((0, 0, 0), mag_view.bounding_box.bottomright))


class TestDownsample:
    @pytest.mark.covers("Layer.downsample")
    def test_each_mag_is_made_of_the_one_before_it(self, device, made):
        made.downsample(interpolation_mode="max", **SMALL)
        assert list(made.mags) == ["1", "2-2-1", "4-4-2"]
        for fine, coarse, factors in (("1", "2-2-1", (2, 2, 1)), ("2-2-1", "4-4-2", (2, 2, 2))):
            np.testing.assert_array_equal(whole(made, coarse), block_maxima(whole(made, fine), factors))
        again = wk.Dataset.open(made.dataset.path).get_layer("color")
        assert list(again.mags) == list(made.mags)
        np.testing.assert_array_equal(whole(again, "4-4-2"), whole(made, "4-4-2"))

    def test_it_goes_on_from_the_coarsest_mag(self, made):
        made.downsample(coarsest_mag=2, sampling_mode="isotropic", **SMALL)
        made.downsample(coarsest_mag=8, sampling_mode=wk.SamplingModes.CONSTANT_Z, **SMALL)
        assert list(made.mags) == ["1", "2", "4-4-2", "8-8-2"]
        made.downsample(coarsest_mag=8, sampling_mode="constant_z")
        assert len(made.mags) == 4

    def test_the_layout_of_new_mags(self, made):
        made.downsample(coarsest_mag=2)
        info = made.get_mag("2-2-1").info
        assert (info.chunk_shape, info.shard_shape, info.codec) == ((32, 32, 32), (1024, 1024, 1024), "lz4")
        made.downsample(from_mag=1, coarsest_mag=2, sampling_mode="isotropic", align_with_other_layers=False,
                        compress="lz4hc", chunk_shape=16, shard_shape=(32, 32, 32))  # fmt: skip
        info = made.get_mag(2).info
        assert (info.chunk_shape, info.shard_shape, info.codec) == ((16, 16, 16), (32, 32, 32), "lz4hc")

    @pytest.mark.parametrize("is_stored", [False, True])
    def test_the_border_does_not_depend_on_what_is_stored(self, layer, is_stored):
        """Its blocks have mirror images of voxels before them, even where they have no file of their own."""
        layer.bounding_box = wk.BoundingBox((4, 0, 0), (1021, 4, 4))
        mag = layer.add_mag(1, chunk_shape=32, shard_shape=32)
        mag.write(np.ones((1020, 4, 4), "uint8"), absolute_offset=(4, 0, 0))
        if is_stored:
            mag.write(np.zeros((1, 4, 4), "uint8"), absolute_offset=(1024, 0, 0))
        layer.downsample_mag(1, 4, interpolation_mode="max", chunk_shape=32, shard_shape=32)
        assert read(layer.get_mag(4))[0, -3:, 0, 0].tolist() == [1, 1, 1]

    def test_only_setup(self, made):
        made.downsample(only_setup_mags=True, **SMALL)
        assert list(made.mags) == ["1", "2-2-1", "4-4-2"]
        assert list(made.get_mag("4-4-2").get_bounding_boxes_on_disk()) == []
        made.downsample_mag(1, 8, only_setup_mag=True)
        assert not read(made.get_mag(8)).any()
        made.redownsample(interpolation_mode="max")
        np.testing.assert_array_equal(whole(made, "2-2-1"), block_maxima(whole(made, 1), (2, 2, 1)))

    def test_an_empty_layer(self, layer):
        layer.add_mag(1)
        layer.downsample()
        assert list(layer.mags) == ["1", "2-2-1", "4-4-2"]

    @pytest.mark.covers("Layer.downsample_mag_list")
    def test_a_list_of_mags(self, made):
        made.downsample_mag_list(1, [8, "2-2-1", (4, 4, 2)], interpolation_mode="max", **SMALL)
        np.testing.assert_array_equal(whole(made, 8), block_maxima(whole(made, "4-4-2"), (2, 2, 4)))
        made.downsample_mag_list(8, [])

    def test_all_mags_of_another_dataset(self, device, made, tmp_path):
        twin = wk.Dataset(tmp_path / "twin", voxel_size=(1, 1, 1)).add_layer(
            "twin", "color", bounding_box=made.bounding_box
        )
        twin.downsample(from_mag_view=made.get_mag(1), interpolation_mode="max", coarsest_mag=4, **SMALL)
        assert list(twin.mags) == ["2", "4"]
        np.testing.assert_array_equal(whole(twin, 2), block_maxima(whole(made, 1), (2, 2, 2)))
        np.testing.assert_array_equal(whole(twin, 4), block_maxima(whole(twin, 2), (2, 2, 2)))


class TestOverwriting:
    @pytest.mark.covers("Layer.redownsample")
    def test_a_mag_gets_new_voxels_and_keeps_its_layout(self, device, made, random):
        made.downsample(interpolation_mode="min", **SMALL)
        made.get_mag(1).to("cpu").write(random.integers(0, 256, (8, 8, 8)).astype("uint8"), absolute_offset=(9, 9, 9))
        made.redownsample(interpolation_mode="max", chunk_shape=16, shard_shape=32, compress=False)
        for fine, coarse, factors in (("1", "2-2-1", (2, 2, 1)), ("2-2-1", "4-4-2", (2, 2, 2))):
            np.testing.assert_array_equal(whole(made, coarse), block_maxima(whole(made, fine), factors))
            info = made.get_mag(coarse).info
            assert (info.chunk_shape, info.shard_shape, info.codec) == ((8, 8, 8), (16, 16, 16), "lz4")

    def test_zeros_overwrite_as_well(self, device, made):
        made.downsample_mag(1, 2, **SMALL)
        mag_view = made.get_mag(1)
        size = mag_view.bounding_box.size
        mag_view.to("cpu").write(np.zeros(size, "uint8"), absolute_offset=mag_view.bounding_box.topleft)
        made.downsample_mag(1, 2, allow_overwrite=True)
        assert not whole(made, 2).any()

    def test_one_mag_is_nothing_to_do_again(self, layer):
        layer.redownsample()
        layer.add_mag(1)
        layer.redownsample()
        assert list(layer.mags) == [1]


class TestDataset:
    @pytest.mark.covers("Dataset.downsample")
    def test_all_layers_go_on_from_their_coarsest_mag(self, dataset, made):
        cells = dataset.add_layer("cells", "segmentation", dtype="uint32")
        cells.add_mag(1, **SMALL).write(np.full((1, 20, 20, 20), 7, "uint32"), absolute_offset=(0, 0, 0))
        cells.add_mag("2-2-1", **SMALL)
        coarse = dataset.add_layer("coarse", "color", bounding_box=made.bounding_box)
        coarse.add_mag(16)
        dataset.add_layer("none", "color")
        dataset.downsample()
        mags = {name: [str(mag) for mag in layer.mags] for name, layer in dataset.layers.items()}
        assert mags == {
            "color": ["1", "2-2-1", "4-4-2"], "cells": ["1", "2-2-1", "4-4-2"], "coarse": ["16"], "none": [],
        }  # fmt: skip
        assert not whole(cells, "4-4-2").any()  # as 2-2-1, which was there before

    def test_options(self, dataset, made):
        dataset.downsample(sampling_mode="isotropic", coarsest_mag=2, interpolation_mode="max", compress=False)
        assert list(made.mags) == [1, 2]
        assert made.get_mag(2).info.codec == "raw"
        np.testing.assert_array_equal(whole(made, 2), block_maxima(whole(made, 1), (2, 2, 2)))


# ---- Executors


class TestExecutors:
    @pytest.fixture(scope="class")
    def executors(self):
        with ExitStack() as stack:
            started = {}

            def get(kind):
                if kind == "dask":
                    pytest.importorskip("distributed", reason="Dask is not installed")
                if kind not in started:
                    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
                    started[kind] = stack.enter_context(
                        wk.get_executor(kind, **(options if kind == "dask" else {"max_workers": 2}))
                    )
                return started[kind]

            yield get

    @pytest.mark.parametrize("kind", ["threads", "processes", "dask"])
    def test_every_executor_makes_the_same(self, made, executors, kind, monkeypatch):
        monkeypatch.setattr("wkgpu.operations.tiling._JOB_BYTES", 1)  # each shard is a job
        made.downsample_mag(1, 2, interpolation_mode="max", executor=executors(kind), **SMALL)
        np.testing.assert_array_equal(whole(made, 2), block_maxima(whole(made, 1), (2, 2, 2)))


# ---- What fails


def hidden(folder):
    return [path for path in folder.rglob(".*") if path.name.endswith(".new")]


class TestFailures:
    @pytest.fixture
    def failing(self, made, monkeypatch):
        """Downsampling to mag 4 fails; to mag 2 it does not."""

        def fails(source, target, region, mags, *arguments, **options):
            whole_one(source, target, region, mags, *arguments, **options)
            if mags[1] == 4:
                raise ChunkError("as if a chunk could not be written")

        whole_one = mag_pyramid.downsample
        monkeypatch.setattr(mag_pyramid, "downsample", fails)
        return made

    def test_of_a_mag_that_fails_nothing_is_left(self, failing):
        with pytest.raises(ChunkError, match="as if"):
            failing.downsample_mag_list(1, [2, 4, 8], **SMALL)
        for layer in (failing, wk.Dataset.open(failing.dataset.path).get_layer("color")):
            assert list(layer.mags) == [1, 2]
        assert sorted(path.name for path in failing.path.iterdir()) == ["1", "2"]

    def test_it_can_be_repeated(self, failing, monkeypatch):
        with pytest.raises(ChunkError):
            failing.downsample_mag_list(1, [2, 4], **SMALL)
        monkeypatch.undo()
        failing.downsample(coarsest_mag=4, sampling_mode="isotropic", interpolation_mode="max", **SMALL)
        np.testing.assert_array_equal(whole(failing, 4), block_maxima(whole(failing, 2), (2, 2, 2)))

    def test_a_mag_that_was_to_be_overwritten_stays(self, failing):
        failing.add_mag(4, **SMALL)
        with pytest.raises(ChunkError) as caught:
            failing.downsample_mag(1, 4, allow_overwrite=True)
        assert "4 of layer 'color' may hold old and new voxels" in caught.value.__notes__[-1]
        assert list(failing.mags) == [1, 4]

    def test_a_job_that_fails_names_its_box(self, made, monkeypatch):
        monkeypatch.setattr(streaming, "write_box", broken)
        with ThreadPoolExecutor(2) as executor, pytest.raises(ChunkError) as caught:
            made.downsample_mag(1, 2, executor=executor, **SMALL)
        assert "in Mag(1)" in caught.value.__notes__[0]
        assert list(made.mags) == [1]
        assert hidden(made.path) == []

    def test_no_reader_sees_a_part_of_a_mag(self, made, monkeypatch):
        def look(source, target, *arguments, **options):
            seen.append(list(wk.Dataset.open(made.dataset.path).get_layer("color").mags))

        seen = []
        monkeypatch.setattr(mag_pyramid, "downsample", look)
        made.downsample_mag(1, 2, **SMALL)
        assert seen == [[1]]


def broken(*arguments):
    raise ChunkError("as if a chunk could not be written")


class TestErrors:
    def test_no_such_mag(self, made):
        for call in (made.downsample_mag, made.downsample_mag_list):
            with pytest.raises(MagNotFoundError, match="no mag 2"):
                call(2, 4 if call == made.downsample_mag else [4])
        with pytest.raises(KeyError):
            made.downsample(from_mag=2)

    def test_mags_that_do_not_follow(self, made):
        made.add_mag(2)
        for target in ("1", "2", "2-2-1", "4-4-1", "1-1-4"):
            with pytest.raises(SamplingError, match="cannot be made of mag 2"):
                made.downsample_mag(2, target, allow_overwrite=True)
        with pytest.raises(ValueError, match="cannot be made of mag 1"):
            made.downsample_mag(1, 1)

    def test_a_mag_that_exists(self, made):
        made.add_mag(4)
        with pytest.raises(NameTakenError, match="4 already"):
            made.downsample_mag(1, 4)
        with pytest.raises(ValueError, match="allow_overwrite"):
            made.downsample_mag_list(1, [2, 4])
        assert list(made.mags) == [1, 4]

    @pytest.mark.parametrize("name", ["bicubic", "foo", " median", None, 3])
    def test_interpolation_modes_that_do_not_exist(self, made, name):
        with pytest.raises(InterpolationError, match="'median', 'mode', 'nearest', 'bilinear', 'max', 'min'"):
            made.downsample_mag(1, 2, interpolation_mode=name)
        with pytest.raises(KeyError, match="not offered" if name == "bicubic" else "unknown"):  # as webknossos
            made.downsample(interpolation_mode=name)
        assert list(made.mags) == [1]

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"sampling_mode": "constant-z"}, ArgumentError),
            ({"chunk_shape": 7}, ShapeError),
            ({"chunk_shape": 32, "shard_shape": 48}, ShapeError),
            ({"buffer_shape": (0, 1, 1)}, ShapeError),
            ({"buffer_shape": "wide"}, ShapeError),
            ({"compress": "brotli"}, ArgumentError),
        ],
    )
    def test_arguments_that_mean_nothing(self, made, options, error):
        with pytest.raises(error):
            made.downsample(**options)
        assert list(made.mags) == [1]
        assert sorted(path.name for path in made.path.iterdir()) == ["1"]

    def test_a_mag_view_that_does_not_fit(self, dataset, made):
        mag_view = made.get_mag(1)
        with pytest.raises(ArgumentError, match="has the mag 1, not 2"):
            made.downsample_mag(2, 4, from_mag_view=mag_view)
        with pytest.raises(ArgumentError, match="give a MagView"):
            made.downsample_mag(1, 4, from_mag_view=mag_view.get_view())
        for kwargs in ({"dtype": "uint16"}, {"num_channels": 3}):
            other = dataset.add_layer("-".join(kwargs), "color", **kwargs)
            with pytest.raises(MismatchError, match=r"1 channel\(s\) of uint8"):
                other.downsample(from_mag_view=mag_view)

    def test_read_only(self, made):
        dataset = wk.Dataset.open(made.dataset.path, read_only=True)
        layer = dataset.get_layer("color")
        for call in (dataset.downsample, layer.downsample, lambda: layer.downsample_mag(1, 2)):
            with pytest.raises(ReadOnlyError, match="read_only=True"):
                call()


# ---- Names


def test_interpolation_modes_by_name(webknossos):
    for mode in InterpolationMode:
        for name in (mode.value, mode.value.upper(), mode.value.title(), mode):
            assert InterpolationMode.parse(name, InterpolationMode.MEDIAN) is mode
    for default in (InterpolationMode.MEDIAN, InterpolationMode.MODE):
        assert InterpolationMode.parse("DEFAULT", default) is default
        assert InterpolationMode.parse("default", default) is default


def test_earlier_generations(made):
    with pytest.warns(DeprecationWarning, match="max_mag is deprecated; use coarsest_mag"):
        made.downsample(from_mag=1, max_mag=2, buffer_edge_len=4, args=None, **SMALL)
    assert list(made.mags) == ["1", "2-2-1"]
    with pytest.warns(DeprecationWarning, match="args is deprecated and changes nothing; pass an executor"):
        made.downsample_mag(1, 2, "max", args=object(), **SMALL)
    with pytest.warns(DeprecationWarning, match="by name"):
        made.downsample(wk.Mag(2), wk.Mag(4), "max", True, "isotropic", False)
    assert list(made.mags) == ["1", "2-2-1", "2", "4"]


@pytest.mark.parametrize(
    ("shape", "factor"), [((33, 17, 9), (2, 2, 2)), ((31, 20, 5), (4, 2, 1)), ((1, 40, 1), (2, 2, 2))]
)
def test_odd_shapes_and_extreme_values(tmp_path, shape, factor):
    """The far border has all that it can have, and no block gets a value that none of its voxels has."""
    dtype = "int64"
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.max, 0, 1, limits.max - 1, limits.max // 2 + 1], dtype)
    data = np.random.default_rng(0).choice(values, shape)
    full = np.pad(data, [(0, -length % step) for length, step in zip(shape, factor, strict=True)], mode="symmetric")
    cut = [piece for length, step in zip(full.shape, factor, strict=True) for piece in (length // step, step)]
    blocks = full.reshape(cut).transpose(0, 2, 4, 1, 3, 5).reshape(*cut[::2], -1)
    counts = (blocks[..., None] == blocks[..., None, :]).sum(-1)
    dataset = wk.Dataset(tmp_path / "dataset", voxel_size=(1, 1, 1))
    for mode in ("max", "min", "mode", "median"):
        layer = dataset.add_layer(mode, "color", dtype=dtype)
        layer.add_mag(1, chunk_shape=8, shard_shape=32).write(data)
        layer.downsample_mag(1, factor, interpolation_mode=mode, chunk_shape=8, shard_shape=32)
        found = layer.get_mag(factor).read()[0]
        if mode == "mode":
            np.testing.assert_array_equal((blocks == found[..., None]).sum(-1), counts.max(-1))
        elif mode == "median":
            ordered = np.sort(blocks, axis=-1)
            middle = blocks.shape[-1] // 2
            assert (ordered[..., middle - 1] <= found).all()
            assert (found <= ordered[..., middle]).all()
        else:
            np.testing.assert_array_equal(found, getattr(blocks, mode)(axis=-1))
