from __future__ import annotations

from collections.abc import Iterator

import lz4.block
import numpy as np
import pytest
from numpy.typing import NDArray

from wkgpu.synthetic import Tissue
from wkgpu.synthetic.partition import ANISOTROPY, DEPTH_STEPS, Partition
from wkgpu.synthetic.waves import Waves


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return Tissue((160, 128, 48), seed=3)


@pytest.fixture(scope="module")
def volumes(tissue: Tissue) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    return tissue.volumes()


def chunks(volume: NDArray[np.generic], edge: int = 32) -> Iterator[bytes]:
    for corner in np.ndindex(*(length // edge for length in volume.shape)):
        yield volume[tuple(slice(edge * at, edge * (at + 1)) for at in corner)].tobytes(order="F")


def lz4_ratio(volume: NDArray[np.generic], min_values: int = 1) -> float:
    pairs = [
        (len(chunk), len(lz4.block.compress(chunk, store_size=False)))
        for chunk in chunks(volume)
        if len(np.unique(np.frombuffer(chunk, volume.dtype))) >= min_values
    ]
    return sum(raw for raw, _ in pairs) / sum(encoded for _, encoded in pairs)


def test_shape_order_and_dtype(volumes):
    for volume, dtype in zip(volumes, (np.uint8, np.uint32), strict=True):
        assert volume.shape == (160, 128, 48)
        assert volume.dtype == dtype
        assert volume.flags.f_contiguous


def test_same_seed_same_tissue(tissue, volumes):
    image, segmentation = volumes
    again = Tissue(tissue.shape, seed=3)
    np.testing.assert_array_equal(again.image(), image)
    np.testing.assert_array_equal(again.segmentation(), segmentation)


def test_other_seed_other_tissue(tissue, volumes):
    other = Tissue(tissue.shape, seed=4)
    assert (other.segmentation() != volumes[1]).mean() > 0.5


def test_sections_make_up_the_volumes(tissue, volumes):
    firsts, images, segmentations = zip(*tissue.sections(), strict=True)
    assert firsts == (0, 16, 32)
    np.testing.assert_array_equal(np.concatenate(images, axis=2), volumes[0])
    np.testing.assert_array_equal(np.concatenate(segmentations, axis=2), volumes[1])


@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 5, 17), (7, 70, 1)])
def test_any_shape(shape):
    image, segmentation = Tissue(shape).volumes()
    assert image.shape == segmentation.shape == shape


@pytest.mark.parametrize("shape", [(0, 8, 8), (8, -1, 8)])
def test_no_shape_without_voxels(shape):
    with pytest.raises(ValueError, match="positive"):
        Tissue(shape)


def test_segments(tissue, volumes):
    ids, counts = np.unique(volumes[1], return_counts=True)
    assert len(ids) > 15
    assert ids.max() <= tissue.largest_segment_id
    assert ids[0] == 0, "some space lies between the cells"
    assert counts[0] < 0.1 * counts.sum()


def test_membranes_are_dark(volumes):
    image, segmentation = volumes
    left, right = segmentation[:-1], segmentation[1:]
    border = (left != right) & (left != 0) & (right != 0)
    assert image[:-1][border].mean() < image.mean() - 30


def test_image_compresses_like_a_micrograph(volumes):
    # Chunks of 32³ made of real transmission electron micrographs have a ratio of 0.997.
    assert 0.99 < lz4_ratio(volumes[0]) < 1.02


def test_segmentation_compresses_like_a_real_one(volumes):
    # Chunks of 32³ with more than one segment have a ratio of 18.8 in an annotation of real cortex at 11 x 11 x 28 nm.
    assert 14 < lz4_ratio(volumes[1], min_values=2) < 26


def test_partition_is_the_voronoi_diagram_it_stands_for():
    random = np.random.default_rng(0)
    partition = Partition.scatter(random, (16 * ANISOTROPY, 96, 128))
    sections = partition.sections(0, height=96, width=128)
    voxels = random.integers(0, sections.cell.shape, (2000, 3))
    owners = partition.owners((voxels * (ANISOTROPY, 1, 1)).astype(np.float32))
    found, depth = sections.cell[tuple(voxels.T)], sections.depth[tuple(voxels.T)]
    # Distances are interpolated between points some voxels apart: on the very border a voxel may go either way.
    assert (found == owners)[depth > 2 * DEPTH_STEPS].all()
    assert (found == owners).mean() > 0.98


def test_waves_on_a_lattice_are_waves_at_points():
    waves = Waves.scatter(np.random.default_rng(1), (10, 50), strength=3.0, components=2)
    axes = [np.linspace(0, 40, count, dtype=np.float32) for count in (3, 4, 5)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = waves.on_lattice(*axes)
    assert lattice.dtype == np.float32
    np.testing.assert_allclose(lattice.reshape(2, -1).T, waves.at(points), atol=1e-4)
