"""Which mags a layer is downsampled to, compared with webknossos."""

from __future__ import annotations

import itertools
from enum import Enum
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import wkgpu as wk
from wkgpu.errors import ArgumentError, MagNotFoundError, NameTakenError, SamplingError
from wkgpu.operations.downsampling.sampling_modes import ascending, default_coarsest_mag, downsampling_mags

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")

MODES = ("anisotropic", "isotropic", "constant_z")
BOX = wk.BoundingBox((0, 0, 0), (1000, 1000, 1000))

factors = st.integers(0, 3).map(lambda exponent: 2**exponent)
from_mags = st.tuples(factors, factors, factors) | factors.map(lambda factor: (factor, factor, factor))
flat_mags = st.integers(0, 2).flatmap(
    lambda larger: st.integers(0, larger).map(lambda smaller: (2**larger, 2**larger, 2**smaller))
)  # what other layers have; with mags that are coarser in z webknossos may search forever
lengths = st.sampled_from([1.0, 1.25, 1.6, 2.0, 3.0, 10.0]) | st.floats(0.1, 100.0)
coarsest_mags = st.none() | st.integers(0, 6).map(lambda exponent: (2**exponent,) * 3) | from_mags
boxes = st.builds(
    wk.BoundingBox,
    st.tuples(*[st.integers(0, 50)] * 3),
    st.tuples(*[st.sampled_from([1, 2, 100, 400, 401]) | st.integers(1, 5000)] * 3),
)


@st.composite
def aligned(draw):
    """A mag to begin with, and the mags of other layers."""
    x, _, z = first = draw(flat_mags)
    steps = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), max_size=3, unique_by=lambda step: step[0]))
    return first, [(x * 2**both, x * 2**both, z * 2 ** min(both, along_z)) for both, along_z in steps]


def mags_of(library, path, voxel_size, box, from_mag, others, elsewhere, align, options):
    """Return the mags that a library makes, or its error: without data."""
    options = dict(options)
    if align == "elsewhere":
        align = library.Dataset(path.with_name(f"{path.name}-elsewhere"), voxel_size=voxel_size)
        add_layer(library, align, "color", box, elsewhere)
    dataset = library.Dataset(path, voxel_size=voxel_size)
    layer = add_layer(library, dataset, "color", box, [from_mag])
    for number, mag in enumerate(others):
        add_layer(library, dataset, f"other-{number}", box, [mag])
    if options["coarsest_mag"] is not None:
        options["coarsest_mag"] = library.Mag(options["coarsest_mag"])
    try:
        layer.downsample(align_with_other_layers=align, only_setup_mags=True, **options)
    except (AssertionError, RuntimeError) as error:
        return error
    return [mag.to_tuple() for mag in layer.mags]


def add_layer(library, dataset, name, box, mags):
    box = library.BoundingBox(box.topleft.to_tuple(), box.size.to_tuple())
    layer = dataset.add_layer(name, "color", dtype="uint8", data_format="wkw", bounding_box=box)
    for mag in mags:
        layer.add_mag(mag, chunk_shape=8, shard_shape=16)
    return layer


def is_chain(mags):
    return all(coarse >= fine for pair in pairwise(mags) for fine, coarse in zip(*pair, strict=True))


class TestAgainstWebknossos:
    def check(self, webknossos, folder, *arguments):
        ours = mags_of(wk, folder / "ours", *arguments)
        theirs = mags_of(webknossos, folder / "theirs", *arguments)
        if not isinstance(ours, Exception):
            assert ours == theirs
        elif not isinstance(theirs, Exception):
            assert not is_chain(theirs), f"{theirs} could be made, but: {ours}"
        else:
            assert isinstance(ours, type(theirs))

    @settings(max_examples=60)
    @given(st.tuples(lengths, lengths, lengths), boxes, from_mags, coarsest_mags, st.sampled_from(MODES), st.booleans())
    def test_the_mags_are_theirs(
        self, webknossos, tmp_path_factory, voxel_size, box, from_mag, coarsest_mag, mode, force
    ):
        options = {"coarsest_mag": coarsest_mag, "sampling_mode": mode, "force_sampling_scheme": force}
        folder = tmp_path_factory.mktemp("mags")
        self.check(webknossos, folder, voxel_size, box, from_mag, [], [], True, options)

    @settings(max_examples=40)
    @example((1.0, 1.0, 1.0), ((1, 1, 1), [(4, 4, 1)]), (1, 4, 1), "anisotropic", True, False)
    @given(
        st.tuples(lengths, lengths, lengths),
        aligned(),
        coarsest_mags,
        st.sampled_from(MODES),
        st.sampled_from([True, False, "elsewhere"]),
        st.booleans(),
    )
    def test_aligned_with_other_layers(
        self, webknossos, tmp_path_factory, voxel_size, mags, coarsest_mag, mode, align, is_elsewhere
    ):
        from_mag, others = mags
        here, elsewhere = ([], others) if is_elsewhere else (others, [])
        options = {"coarsest_mag": coarsest_mag, "sampling_mode": mode}
        folder = tmp_path_factory.mktemp("mags")
        self.check(webknossos, folder, voxel_size, BOX, from_mag, here, elsewhere, align, options)

    @pytest.mark.parametrize("own", [("2-2-1",), ("4-4-2",), ("2", "8-8-4")])
    def test_a_layers_own_mags(self, webknossos, tmp_path, own):
        """By default it continues from the coarsest; from another one, the others are aligned with."""
        for number, options in enumerate(({}, {"from_mag": 1, "allow_overwrite": True})):
            found = []
            for library in (wk, webknossos):
                path = tmp_path / f"{library.__name__}-{number}"
                layer = add_layer(library, library.Dataset(path, voxel_size=(1, 1, 1)), "color", BOX, ("1", *own))
                asked = options | ({"from_mag": library.Mag(1)} if options else {})
                layer.downsample(only_setup_mags=True, **asked)
                found.append({mag.to_tuple() for mag in layer.mags})
            assert found[0] == found[1]


# ---- Modes


@pytest.mark.covers("SamplingModes")
def test_a_mode_is_read_from_its_name(webknossos):
    assert [wk.SamplingModes.parse(name).value for name in MODES] == list(MODES)
    assert {mode.name: mode.value for mode in webknossos.SamplingModes} == {
        mode.name: mode.value for mode in wk.SamplingModes
    }
    for mode in webknossos.SamplingModes:
        assert wk.SamplingModes.parse(mode).value == mode.value


class Shade(Enum):
    PALE = "pale"


@pytest.mark.parametrize("value", ["ANISOTROPIC", "constant-z", None, 3, Shade.PALE])
def test_a_mode_that_does_not_exist(value):
    with pytest.raises(ArgumentError, match="use one of 'anisotropic', 'isotropic', 'constant_z'"):
        wk.SamplingModes.parse(value)


def test_one_slice_keeps_its_z():
    slice_box, volume = wk.BoundingBox((0, 0, 3), (64, 64, 1)), wk.BoundingBox((0, 0, 0), (64, 1, 2))
    for mode in wk.SamplingModes:
        assert mode.of_layer(slice_box) is wk.SamplingModes.CONSTANT_Z
        assert mode.of_layer(volume) is mode


@pytest.mark.parametrize(
    ("size", "coarsest"),
    [((0, 0, 0), 4), ((1, 1, 9999), 4), ((400, 1, 1), 4), ((401, 1, 1), 8), ((1, 1601, 1), 32), ((10**6, 1, 1), 16384)],
)
def test_the_coarsest_mag_is_a_thumbnail(size, coarsest):
    assert default_coarsest_mag(wk.BoundingBox((7, 7, 7), size)) == coarsest


# ---- Mags that do not follow from each other


def mags(from_mag, coarsest, mode="isotropic", voxel_size=(1, 1, 1), known=(), force=False):
    known = [wk.Mag(mag) for mag in known]
    return downsampling_mags(wk.Mag(from_mag), wk.Mag(coarsest), wk.SamplingModes(mode), voxel_size, known, force)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 2), "coarsest_mag 2 is finer than the from_mag 4"),
        (("2-2-1", "1-1-4"), "coarsest_mag 1-1-4 is finer"),
        ((1, "16-16-1", "anisotropic", (11.24, 11.24, 25)), "16-16-1 cannot be reached from 4-4-1"),
        (("1-1-4", 16, "constant_z"), "2-2-4, 4, 8-8-4, 16-16-4 some have the same largest factor"),
        ((1, 8, "isotropic", (1, 1, 1), ["2", "2-2-1"]), "2 and 2-2-1, which have the same largest factor"),
        ((1, 8, "isotropic", (1, 1, 1), ["4-4-1"]), "4-4-1 cannot be made of mag 2"),
        ((2, 16, "constant_z", (1, 1, 1), ["2-2-4"]), "4-4-2 cannot be made of mag 2-2-4"),
    ],
)
def test_errors_name_the_mags(arguments, message):
    with pytest.raises(SamplingError, match=message):
        mags(*arguments)


def test_equal_largest_factors_can_be_forced():
    assert mags("1-1-4", 8, "constant_z", force=True) == ["2-2-4", "4", "8-8-4"]


@given(st.tuples(lengths, lengths, lengths), from_mags, st.integers(0, 7))
def test_mags_follow_from_each_other(voxel_size, from_mag, exponent):
    coarsest = wk.Mag(max(2**exponent, max(from_mag)))
    found = [wk.Mag(from_mag), *downsampling_mags(wk.Mag(from_mag), coarsest, wk.SamplingModes.ANISOTROPIC, voxel_size)]
    assert is_chain(found)
    assert all(fine.max_dim < coarse.max_dim for fine, coarse in pairwise(found))
    assert found[-1].max_dim == coarsest.max_dim


def test_a_list_of_mags_in_any_order():
    for order in itertools.permutations(["2-2-1", "4-4-1", "4", "8"]):
        assert ascending(wk.Mag(1), map(wk.Mag, order)) == ["2-2-1", "4-4-1", "4", "8"]
    with pytest.raises(SamplingError, match="4-4-1 cannot be made of mag 2"):
        ascending(wk.Mag(1), [wk.Mag("4-4-1"), wk.Mag(2)])
    with pytest.raises(SamplingError, match="2 cannot be made of mag 4"):
        ascending(wk.Mag(4), [wk.Mag(2)])


# ---- Layers


def test_a_layer_without_mags(dataset):
    with pytest.raises(MagNotFoundError, match="no mags to downsample"):
        dataset.add_layer("color", "color").downsample()


def test_nothing_is_made_if_a_mag_exists(layer):
    layer.bounding_box = BOX
    for mag in (1, 4):
        layer.add_mag(mag)
    with pytest.raises(NameTakenError, match=r"has the mag\(s\) 4 already"):
        layer.downsample(from_mag=1, sampling_mode="isotropic", only_setup_mags=True)
    with pytest.raises(ValueError, match="allow_overwrite"):  # as webknossos
        layer.downsample(from_mag=1, sampling_mode="isotropic", only_setup_mags=True)
    assert list(layer.mags) == [1, 4]
