"""Layers and arrays that get more coordinates along further axes, as webknossos gives them."""

import numpy as np
import pytest
import zarr
from further_axes import LAYOUT, add_layer, box_of, entries, voxels_of

import wkgpu as wk
from wkgpu.errors import OutOfBoundsError, RegionError, ShapeError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")

FAR = 1 << 60


def lengths(path, axis="t"):
    """How long the arrays of a layer are."""
    arrays = [zarr.open_array(file.parent) for file in sorted(path.glob("a/*/zarr.json"))]
    return [array.shape[array.metadata.dimension_names.index(axis)] for array in arrays]


@pytest.mark.parametrize("axes", ["ctxyz", "xyzt"])
def test_writes_and_boxes_lengthen_all_mags(axes, webknossos, tmp_path):
    written, found = voxels_of(axes), []
    for library, other in ((wk, webknossos), (webknossos, wk)):
        path = tmp_path / library.__name__
        layer = add_layer(library.Dataset(path, voxel_size=(1, 1, 1)), library, axes)
        fine, _ = layer.add_mag(1, **LAYOUT), layer.add_mag(2, **LAYOUT)
        fine.write(written, absolute_bounding_box=box_of(library, axes))
        fine.write(written, absolute_bounding_box=box_of(library, axes, t=(4, 3)), allow_resize=True)
        found.append([entries(path), lengths(path)])
        whole = other.Dataset.open(path).get_layer("a").get_mag(1).read()
        gap = np.zeros_like(written).take([0], axes.index("t"))
        np.testing.assert_array_equal(whole, np.concatenate([written, gap, written], axes.index("t")))
        layer.bounding_box = layer.bounding_box.with_bounds("t", 2, 8)
        found[-1] += [entries(path), lengths(path)]
    assert found[0] == found[1]
    assert (found[0][1], found[0][3]) == ([7, 7], [10, 10])


@pytest.mark.computes
def test_on_devices(on_device, voxels, theirs):
    more = box_of(wk, "ctxyz", t=(3, 2))
    on_device.write(voxels[:, :2], absolute_bounding_box=more)
    on_device.write_cxyz(voxels[:, 2], relative_bounding_box=more.with_bounds("t", 5, 1))
    np.testing.assert_array_equal(theirs(), np.concatenate([voxels, voxels], 1))


def test_what_other_programs_lengthen_is_read(mag_view, voxels, webknossos, tmp_path):
    """By objects that have opened the array before, as soon as they know of the longer box."""
    other = wk.Dataset.open(tmp_path / "ours").get_layer("a").get_mag(1)
    their_own = webknossos.Dataset.open(tmp_path / "ours").get_layer("a").get_mag(1)
    np.testing.assert_array_equal(other.read(), voxels)
    for at, (library, writer) in enumerate(((webknossos, their_own), (wk, other), (wk, mag_view), (wk, other)), 3):
        writer.write(voxels[:, :1], absolute_bounding_box=box_of(library, "ctxyz", t=(at, 1)), allow_resize=True)
        if library is wk:
            assert writer.bounding_box.get_bounds("t") == (0, at + 1)
            np.testing.assert_array_equal(writer.read(), np.concatenate([voxels, *[voxels[:, :1]] * (at - 2)], 1))


def test_a_mag_without_a_dataset(mag_view, voxels, tmp_path):
    alone = wk.open_mag(mag_view.path)
    alone.write(voxels[:, :1], absolute_bounding_box=box_of(wk, "ctxyz", t=(9, 1)))
    assert alone.bounding_box.get_bounds("t") == (0, 10)
    np.testing.assert_array_equal(alone.read()[:, 9, :10, :12, :14], voxels[:, 0])
    assert lengths(tmp_path / "ours") == [10]


def test_coordinates_that_cannot_be_added(mag_view, voxels, tmp_path):
    before = entries(tmp_path / "ours"), mag_view.read()
    more = box_of(wk, "ctxyz", t=(3, 3))
    with pytest.raises(OutOfBoundsError, match="allow_resize=True"):
        mag_view.write(voxels, absolute_bounding_box=more, allow_resize=False)
    with pytest.raises(OutOfBoundsError, match="coordinates 0 to 2 along 't'"):
        mag_view.get_view().write(voxels, absolute_bounding_box=more)
    with pytest.raises(RegionError, match="-1 to 1 along 't', which no array has"):
        mag_view.write(voxels, relative_bounding_box=more.with_bounds("t", -1, 3))
    with pytest.raises(RegionError, match="which no array has"):
        mag_view.write(voxels, absolute_bounding_box=more.with_bounds("t", FAR, 3))
    with pytest.raises(ShapeError, match="this region has"):
        mag_view.write(voxels, absolute_bounding_box=more.with_bounds("t", 3, 4))
    with pytest.raises(OutOfBoundsError, match="coordinates 0 to 2 along 't'"):
        mag_view.read(absolute_bounding_box=more)
    assert lengths(tmp_path / "ours") == [3]
    assert entries(tmp_path / "ours") == before[0]
    np.testing.assert_array_equal(mag_view.read(), before[1])


def test_an_axis_that_the_array_lacks(mag_view, voxels, tmp_path):
    """Its layer says one coordinate of it."""
    dataset = wk.Dataset(tmp_path / "plain", voxel_size=(1, 1, 1))
    zarr.create_array(store=str(dataset.path / "a" / "1"), data=voxels[:, 0], dimension_names="cxyz")
    found = dataset.add_layer_for_existing_files("a", "color").get_mag(1)
    with pytest.raises(ShapeError, match=r"give \(2, x, y, z\)"):
        found.write(voxels, absolute_bounding_box=box_of(wk, "ctxyz"))
    with pytest.raises(ShapeError, match="no axis 't', along which 2 voxels"):
        found._array.ensure_extent((1, 1, 1), [("t", 2)])
    np.testing.assert_array_equal(found.read(), voxels[:, 0])
