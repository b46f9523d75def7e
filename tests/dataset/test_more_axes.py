"""Layers whose arrays have further axes, or the usual ones in another order: as the WEBKNOSSOS library has them."""

import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from datasets import VOXEL_SIZE, read
from real_data import REAL_DATA

import wkgpu as wk
from wkgpu.dataset.box_axes import extended
from wkgpu.errors import MismatchError, OutOfBoundsError, RegionError, ShapeError, UnsupportedError

SIZES = {"c": 2, "t": 3, "q": 2, "x": 20, "y": 24, "z": 28}
PART = {"t": (1, 1), "q": (1, 1), "x": (2, 5), "y": (3, 6), "z": (4, 7)}
ORDERS = ["txyz", "ctxyz", "ctzyx", "tcqxyz", "cxyzt", "xyz", "zyx", "czyx", "xyzc"]
REAL = REAL_DATA / "zarr" / "4D_series_zarr3.zip"


def box_of(library, axes, **bounds):
    """A box with first coordinates and lengths; the whole axis where none are given."""
    found = [bounds.get(axis, (0, SIZES[axis])) for axis in axes]
    first, lengths = zip(*found, strict=True)
    return library.NDBoundingBox(first, lengths, tuple(axes), tuple(range(len(axes))))


def part_of(library, axes, **bounds):
    return box_of(library, axes, **{axis: at for axis, at in (PART | bounds).items() if axis in axes})


def sliced(voxels, box):
    return voxels[tuple(slice(*box.get_bounds(axis)) for axis in box.axes)]


def as_cxyz(voxels, axes):
    """What one coordinate along each further axis holds, as (c, x, y, z)."""
    for axis in axes:
        if axis not in "cxyz":
            voxels, axes = voxels.take(0, axes.index(axis)), axes.replace(axis, "")
    if "c" not in axes:
        voxels, axes = voxels[None], f"c{axes}"
    return voxels.transpose([axes.index(axis) for axis in "cxyz"])


@pytest.fixture(params=ORDERS)
def axes(request):
    return request.param


@pytest.fixture
def voxels(axes, random):
    return random.integers(1, 60_000, [SIZES[axis] for axis in axes]).astype("uint16")


@pytest.fixture
def theirs(axes, voxels, webknossos, tmp_path):
    """A mag with these axes, made by webknossos."""
    dataset = webknossos.Dataset(tmp_path / "nd", voxel_size=VOXEL_SIZE)
    box = box_of(webknossos, axes)
    channels = 2 if "c" in axes else 1
    layer = dataset.add_layer(
        "a", "color", dtype_per_channel="uint16", num_channels=channels, data_format="zarr3", bounding_box=box
    )
    mag_view = layer.add_mag(1, chunk_shape=32, shard_shape=32, compress=False)
    mag_view.write(voxels, absolute_bounding_box=box)
    return webknossos.Dataset.open(tmp_path / "nd").get_layer("a").get_mag(1)


@pytest.fixture
def ours(theirs, tmp_path):
    return wk.Dataset.open(tmp_path / "nd").get_layer("a").get_mag(1)


def same_box(one, other):
    return (tuple(one.axes), tuple(one.topleft), tuple(one.size), tuple(one.index)) == (
        tuple(other.axes), tuple(other.topleft), tuple(other.size), tuple(other.index),
    )  # fmt: skip


@pytest.mark.covers(
    "Layer.bounding_box", "Layer.normalized_bounding_box", "View.normalized_bounding_box", "View.read_cxyz"
)
def test_both_read_the_same(axes, voxels, ours, theirs, webknossos):
    assert same_box(ours.layer.bounding_box, theirs.layer.bounding_box)
    assert same_box(ours.layer.normalized_bounding_box, theirs.layer.normalized_bounding_box)
    assert same_box(ours.normalized_bounding_box, theirs.normalized_bounding_box)
    whole, found = theirs.read(), ours.read()
    assert found.shape == whole.shape == voxels.shape
    np.testing.assert_array_equal(found, whole)
    region = {"absolute_offset": (1, 2, 3), "size": (4, 5, 6)}
    np.testing.assert_array_equal(ours.read(**region), theirs.read(**region))
    mine, other = part_of(wk, axes), part_of(webknossos, axes)
    for name in ("read", "read_cxyz") + (("read_xyz",) if "c" in axes else ()):
        expected = getattr(theirs, name)(absolute_bounding_box=other)
        np.testing.assert_array_equal(getattr(ours, name)(absolute_bounding_box=mine), expected)
    view, their_view = ours.get_view(absolute_bounding_box=mine), theirs.get_view(absolute_bounding_box=other)
    assert same_box(view.bounding_box, their_view.bounding_box)
    inside = {"relative_offset": (1, 1, 1), "size": (2, 3, 4)}
    for name, arguments in (("read", {}), ("read_cxyz", {}), ("read", inside), ("read_cxyz", inside)):
        np.testing.assert_array_equal(getattr(view, name)(**arguments), getattr(their_view, name)(**arguments))
    chunks = ours.chunk((8, 32, 32), read_only=True)
    assert [tuple(chunk.bounding_box.topleft) for chunk in chunks] == [
        tuple(chunk.bounding_box.topleft) for chunk in theirs.chunk((8, 32, 32), read_only=True)
    ]


@pytest.mark.covers("View.write_cxyz", "MagView.write_cxyz")
def test_both_read_what_is_written(axes, voxels, ours, theirs, random):
    box = part_of(wk, axes)
    data = random.integers(0, 60_000, sliced(voxels, box).shape).astype("uint16")
    ours.write(data, absolute_bounding_box=box)
    sliced(voxels, box)[...] = data
    np.testing.assert_array_equal(theirs.read(), voxels)
    other = part_of(wk, axes, x=(10, 4), t=(2, 1), q=(0, 1))
    ours.write_cxyz(as_cxyz(data, axes)[:, :4], absolute_bounding_box=other)
    sliced(voxels, other)[...] = data[tuple(slice(4 if axis == "x" else None) for axis in axes)]
    view = ours.get_view(absolute_bounding_box=part_of(wk, axes, t=(0, 1), q=(0, 1)))
    view.write(data)
    sliced(voxels, view.bounding_box)[...] = data
    view.write_cxyz(as_cxyz(data, axes)[:, :2, :3, :4], relative_offset=(1, 2, 3))
    small = part_of(wk, axes, t=(0, 1), q=(0, 1), x=(3, 2), y=(5, 3), z=(7, 4))
    lengths = {"x": 2, "y": 3, "z": 4}
    sliced(voxels, small)[...] = data[tuple(slice(lengths.get(axis)) for axis in axes)]
    np.testing.assert_array_equal(theirs.read(), voxels)
    np.testing.assert_array_equal(ours.read(), voxels)


@pytest.mark.parametrize("axes", ["ctzyx"], indirect=True)
def test_on_devices(device, axes, voxels, theirs, tmp_path):
    ours = wk.Dataset.open(tmp_path / "nd", device=device).get_layer("a").get_mag(1)
    np.testing.assert_array_equal(read(ours), voxels)
    box = part_of(wk, axes, t=(0, 2))
    ours.write(ours.read(absolute_bounding_box=box) + 1, absolute_bounding_box=box)
    sliced(voxels, box)[...] += 1
    np.testing.assert_array_equal(theirs.read(), voxels)


@pytest.mark.parametrize("axes", ["ctzyx", "zyx"], indirect=True)
def test_out(axes, voxels, ours):
    for order in "CF":
        out = np.zeros(voxels.shape, "uint16", order=order)
        assert ours.read(out=out) is out
        np.testing.assert_array_equal(out, voxels)
    for wrong in (np.zeros((2, 2), "uint16"), np.zeros(voxels.T.shape, "uint16"), np.zeros(voxels.shape, "uint8")):
        with pytest.raises((ShapeError, wk.WkgpuError), match=r"out has"):
            ours.read(out=wrong)


@pytest.mark.parametrize("axes", ["tcqxyz"], indirect=True)
def test_growth_along_x_y_and_z(axes, voxels, ours, theirs, tmp_path):
    box = part_of(wk, axes, x=(30, 5))
    data = np.full(sliced(voxels, part_of(wk, axes)).shape, 7, "uint16")
    with pytest.raises(OutOfBoundsError):
        ours.write(data, absolute_bounding_box=box, allow_resize=False)
    ours.write(data, absolute_bounding_box=box)
    assert same_box(ours.layer.bounding_box, box_of(wk, axes, x=(0, 35)))
    found = wk.Dataset.open(tmp_path / "nd").get_layer("a").get_mag(1)
    np.testing.assert_array_equal(found.read(absolute_bounding_box=box), data)


@pytest.mark.parametrize("axes", ["ctzyx"], indirect=True)
def test_regions_that_cannot_be(axes, ours):
    plain = wk.BoundingBox((2, 3, 4), (5, 6, 7))
    for name in ("read", "read_cxyz", "get_view"):
        call = getattr(ours, name)
        with pytest.raises(RegionError, match=r"says nothing of the axis 't'"):
            call(absolute_bounding_box=plain)
        for at in ((3, 1), (2, 2)):
            with pytest.raises(OutOfBoundsError, match=r"coordinates 0 to 2 along 't'"):
                call(absolute_bounding_box=part_of(wk, axes, t=at))
        with pytest.raises(RegionError, match="axes \\['q'\\]"):
            call(absolute_bounding_box=part_of(wk, f"{axes}q"))
        with pytest.raises(RegionError, match="axes \\['q'\\]"):
            call(relative_bounding_box=part_of(wk, f"{axes}q"))
        with pytest.raises(RegionError, match="all channels"):
            call(absolute_bounding_box=part_of(wk, axes, c=(1, 1)))
        with pytest.raises(RegionError, match="empty along"):
            call(absolute_bounding_box=part_of(wk, axes, t=(1, 0)))
    for call in (ours.read_cxyz, lambda: ours.write_cxyz(np.zeros((2, 20, 24, 28), "uint16"))):
        with pytest.raises(ValueError, match=r"not several along 't' \(3\)"):
            call()
    with pytest.raises(ShapeError, match="give the axes"):
        ours.write(np.zeros((2, 5, 6, 7), "uint16"), absolute_bounding_box=part_of(wk, axes))
    with pytest.raises(ShapeError, match="has"):
        ours.write(np.zeros((2, 2, 7, 6, 5), "uint16"), absolute_bounding_box=part_of(wk, axes))
    view = ours.get_view(absolute_bounding_box=part_of(wk, axes))
    np.testing.assert_array_equal(view.read_cxyz(absolute_bounding_box=plain), view.read_cxyz())
    with pytest.raises(OutOfBoundsError, match="coordinates 1 to 1 along 't'"):
        view.read(absolute_bounding_box=part_of(wk, axes, t=(0, 1)))
    moved = part_of(wk, axes, t=(0, 1), x=(0, 5), y=(0, 6), z=(0, 7))
    np.testing.assert_array_equal(view.read(relative_bounding_box=moved), view.read())


def largest(chunk):
    return int(chunk.read_cxyz().max())


@pytest.mark.parametrize("axes", ["ctzyx"], indirect=True)
def test_views_of_one_coordinate_are_like_others(axes, voxels, ours, tmp_path):
    """They keep it: for what works on x, y and z, in other processes, and when they are pickled."""
    views = [ours.get_view(absolute_bounding_box=box_of(wk, axes, t=(at, 1))) for at in range(3)]
    for at, view in enumerate(views):
        expected = as_cxyz(voxels[:, at : at + 1], axes)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(view)).read_cxyz(), expected)
        assert view.min_max() == (expected.min(), expected.max())
        assert view.map_chunk(largest) == [expected.max()]
        boxes = [wk.BoundingBox((x, 0, 0), (4, 4, 4)) for x in (0, 7)]
        np.testing.assert_array_equal(view.read_many(boxes)[1], expected[:, 7:11, :4, :4])
        with view.get_buffered_slice_reader(dimension="x") as reader:
            np.testing.assert_array_equal(np.stack(list(reader), axis=1), expected)
    with wk.get_executor("processes", max_workers=1) as executor:
        counts = views[2].count_labels(executor=executor)
    np.testing.assert_array_equal(counts[0], np.unique(voxels[:, 2]))
    assert not views[0].content_is_equal(views[1])
    views[0].map_voxels(wk.maps.threshold(0), views[1])
    assert (views[1].read() == 1).all()
    with views[2].get_buffered_slice_writer() as writer:
        for number in range(28):
            writer.send(np.full((2, 20, 24), number, "uint16"))
    np.testing.assert_array_equal(views[2].read_cxyz()[1, 0, 0], np.arange(28))
    np.testing.assert_array_equal(ours.read()[:, 0], voxels[:, 0])


@pytest.mark.parametrize("axes", ["ctzyx"], indirect=True)
def test_what_needs_one_coordinate_says_so(axes, ours):
    for call in (
        lambda: ours.map_voxels(wk.maps.threshold(0), ours),
        ours.get_buffered_slice_reader,
        ours.get_buffered_slice_writer,
        lambda: ours.read_many([ours.bounding_box]),
    ):
        with pytest.raises(UnsupportedError, match=r"several coordinates along 't' \(3\)"):
            call()


@pytest.mark.parametrize("axes", ["czyx", "xyzc", "zyx"], indirect=True)
def test_operations_on_the_usual_axes_in_another_order(axes, voxels, ours, webknossos, tmp_path):
    layer, expected = ours.layer, as_cxyz(voxels, axes)
    shapes = {"chunk_shape": 8, "shard_shape": 16, "compress": False}
    copy = layer.dataset.copy_dataset(tmp_path / "copy")
    np.testing.assert_array_equal(copy.get_layer("a").get_mag(1).read(), expected)
    theirs = webknossos.Dataset.open(tmp_path / "copy").get_layer("a").get_mag(1)
    np.testing.assert_array_equal(theirs.read(), expected)
    layer.downsample_mag(1, 2, interpolation_mode="max", **shapes)
    ours.rechunk(chunk_shape=8, shard_shape=16, compress=False)
    layer.add_mag_as_copy(ours, mag=4, extend_layer_bounding_box=False)
    coarser = expected.reshape(-1, 10, 2, 12, 2, 14, 2).max(axis=(2, 4, 6))
    halves = coarser.transpose(["cxyz".index(axis) for axis in ("" if "c" in axes else "c") + axes])
    found = webknossos.Dataset.open(layer.dataset.path).get_layer("a")
    for reopened in (layer, found):  # new arrays have the order of the layer
        np.testing.assert_array_equal(reopened.get_mag(2).read().reshape(halves.shape), halves)
        np.testing.assert_array_equal(reopened.get_mag(1).read(), voxels)
        assert tuple(reopened.get_mag(1).bounding_box.axes) == tuple(axes)
    assert layer.get_mag(4).get_zarr_array().metadata.dimension_names == tuple(axes)
    other = layer.dataset.add_layer("b", "color", dtype="uint16", num_channels=layer.num_channels, data_format="zarr3")
    other.bounding_box = wk.BoundingBox((0, 0, 0), (20, 24, 28))
    other.downsample_mag(1, 2, interpolation_mode="max", from_mag_view=ours, **shapes)
    np.testing.assert_array_equal(other.get_mag(2).read(), coarser)
    ours.write(np.zeros_like(voxels))
    assert not ours.read().any()


@pytest.mark.parametrize("axes", ["ctzyx"], indirect=True)
def test_properties_that_claim_more_than_the_array_has(theirs, tmp_path):
    file = tmp_path / "nd" / "datasource-properties.json"
    document = json.loads(file.read_text())
    document["dataLayers"][0]["additionalAxes"][0]["bounds"] = [0, 5]
    file.write_text(json.dumps(document))
    layer = wk.Dataset.open(tmp_path / "nd").get_layer("a")
    with pytest.raises(MismatchError, match="has 3 coordinate"):
        layer.get_mag(1).read()
    with pytest.raises(MismatchError, match="has 3 coordinate"):
        layer.downsample_mag(1, 2)
    assert [*layer.mags] == [wk.Mag(1)]


def test_existing_files_are_found_with_their_axes(webknossos, tmp_path):
    theirs = webknossos.Dataset(tmp_path / "nd", voxel_size=VOXEL_SIZE)
    box = box_of(webknossos, "ctzyx")
    layer = theirs.add_layer("a", "color", num_channels=2, data_format="zarr3", bounding_box=box)
    layer.add_mag(1, chunk_shape=32, shard_shape=32, compress=False).write(
        np.ones([SIZES[axis] for axis in "ctzyx"], "uint8"), absolute_bounding_box=box
    )
    ours = wk.Dataset(tmp_path / "other", voxel_size=VOXEL_SIZE)
    (tmp_path / "nd" / "a").rename(ours.path / "a")
    found = ours.add_layer_for_existing_files("a", "color")
    assert same_box(found.bounding_box, box_of(wk, "ctzyx", x=(0, 32), y=(0, 32), z=(0, 32)))
    shutil.copytree(ours.path / "a", ours.path / "b")
    given = box_of(wk, "ctzyx", t=(1, 2))
    assert same_box(ours.add_layer_for_existing_files("b", "color", bounding_box=given).bounding_box, given)
    opened = webknossos.Dataset.open(ours.path).get_layer("a")
    assert same_box(opened.bounding_box, found.bounding_box)
    np.testing.assert_array_equal(opened.get_mag(1).read(), found.get_mag(1).read())


def test_a_real_series(webknossos, tmp_path):
    if not REAL.exists():
        pytest.skip(f"{REAL} is absent; set WKGPU_TEST_DATA")
    with zipfile.ZipFile(REAL) as archive:
        archive.extractall(tmp_path)
    path = tmp_path / "4D_series_zarr3"
    theirs, ours = (library.Dataset.open(path).get_layer("color") for library in (webknossos, wk))
    assert same_box(ours.bounding_box, theirs.bounding_box)
    assert ours.bounding_box.get_shape("t") == 7
    for mag in (1, 2):
        expected = theirs.get_mag(mag).read()
        assert expected.any()
        np.testing.assert_array_equal(ours.get_mag(mag).read(), expected)


def test_boxes_of_different_axes_are_joined_along_x_y_and_z():
    box = wk.NDBoundingBox((0, 1, 2, 3), (3, 4, 4, 4), ("t", "x", "y", "z"))
    assert extended(box, wk.BoundingBox((0, 0, 0), (1, 1, 1))) == box.with_topleft((0, 0, 0, 0)).with_size((3, 5, 6, 7))
    assert extended(wk.BoundingBox.empty(), box) == wk.BoundingBox((1, 2, 3), (4, 4, 4))
