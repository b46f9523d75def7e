"""Made-up tissue: an image as electron microscopes take it, and the segmentation of its cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wkgpu.synthetic.micrograph import Micrograph
from wkgpu.synthetic.partition import ANISOTROPY, DEPTH_STEPS, SECTIONS, Partition

Image = NDArray[np.uint8]
Segmentation = NDArray[np.uint32]


class Tissue:
    """A block of synthetic tissue: neurites and cell bodies with membranes, organelles and camera noise.

    Image and segmentation show the same cells. The same shape and seed give the same tissue. LZ4 gains as much on
    their chunks as on real ones: nothing on the image, a factor of about 20 on the segmentation.

    Parameters
    ----------
    shape
        Voxels along x, y and z.
    seed
        Which of many blocks of tissue.

    Examples
    --------
    >>> tissue = Tissue((96, 64, 32), seed=7)
    >>> image, segmentation = tissue.volumes()
    >>> image.shape, image.dtype, segmentation.dtype
    ((96, 64, 32), dtype('uint8'), dtype('uint32'))
    >>> int(segmentation.max()) <= tissue.largest_segment_id
    True
    """

    voxel_size = (11.24, 11.24, 11.24 * ANISOTROPY)
    """Nanometres along x, y and z at which the cells have the size of real ones."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        if min(shape) < 1:
            raise ValueError(f"shape must be positive along x, y and z, not {shape}")
        self.shape = shape
        self.seed = seed
        random = np.random.default_rng(seed)
        extent = (shape[2] * ANISOTROPY, float(shape[1]), float(shape[0]))
        self._partition = Partition.scatter(random, extent)
        self._segment_ids = 1 + random.permutation(len(self._partition.cells)).astype(np.uint32)
        self._micrograph = Micrograph.scatter(random, self._partition, extent, slices=shape[2] + SECTIONS)

    def __repr__(self) -> str:
        return f"Tissue({self.shape}, seed={self.seed})"

    @property
    def largest_segment_id(self) -> int:
        """No segment has a larger id."""
        return len(self._segment_ids)

    def image(self) -> Image:
        """Take the image.

        Returns
        -------
        Grey levels, uint8, shape (x, y, z), Fortran order.
        """
        image = np.empty(self.shape, np.uint8, order="F")
        self._fill(image, None)
        return image

    def segmentation(self) -> Segmentation:
        """Label the cells.

        Returns
        -------
        Segment ids, uint32, shape (x, y, z), Fortran order; 0 between the cells.
        """
        segmentation = np.empty(self.shape, np.uint32, order="F")
        self._fill(None, segmentation)
        return segmentation

    def volumes(self) -> tuple[Image, Segmentation]:
        """Take the image and label its cells, in less time than one after the other."""
        image = np.empty(self.shape, np.uint8, order="F")
        segmentation = np.empty(self.shape, np.uint32, order="F")
        self._fill(image, segmentation)
        return image, segmentation

    def sections(self) -> Iterator[tuple[int, Image, Segmentation]]:
        """Make the tissue a few slices at a time, for volumes larger than memory.

        Yields
        ------
        The first slice, and the image and segmentation of these, shape (x, y, slices), Fortran order.
        """
        for first in range(0, self.shape[2], SECTIONS):
            slices = min(SECTIONS, self.shape[2] - first)
            image = np.empty((*self.shape[:2], slices), np.uint8, order="F")
            segmentation = np.empty(image.shape, np.uint32, order="F")
            self._fill_sections(first, image, segmentation)
            yield first, image, segmentation

    def _fill(self, image: Image | None, segmentation: Segmentation | None) -> None:
        """Fill whole volumes, so that what is needed beside them is bounded by a few slices."""
        for first in range(0, self.shape[2], SECTIONS):
            slices = slice(first, first + SECTIONS)
            self._fill_sections(
                first,
                None if image is None else image[:, :, slices],
                None if segmentation is None else segmentation[:, :, slices],
            )

    def _fill_sections(self, first: int, image: Image | None, segmentation: Segmentation | None) -> None:
        """Fill up to `SECTIONS` slices, from slice `first`."""
        sections = self._partition.sections(first, height=self.shape[1], width=self.shape[0])
        if image is not None:
            image[:] = self._micrograph.expose(sections, first).T[:, :, : image.shape[2]]
        if segmentation is not None:
            slices = segmentation.shape[2]
            ids = self._segment_ids.take(sections.cell[:slices])
            ids[sections.depth[:slices] < DEPTH_STEPS] = 0
            segmentation[:] = ids.T
