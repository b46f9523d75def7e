"""A layer whose voxels are the ids of segments."""

from __future__ import annotations

from wkgpu.dataset.layer import Layer
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.storage.layout import Triple

_BLOCK_SHAPE: Triple = (512, 512, 512)  # voxels of the finest mag that are searched at once


class SegmentationLayer(Layer):
    """A segmentation, in one or more mags. It comes from `Dataset.get_layer` and `Dataset.add_layer`.

    Examples
    --------
    >>> layer = dataset.add_layer("cells", "segmentation", dtype="uint32", largest_segment_id=0)  # doctest: +SKIP
    """

    @property
    def largest_segment_id(self) -> int | None:
        """Largest voxel value, as the properties file says it; None where it does not. Set it to save another one."""
        return self._properties.largest_segment_id

    @largest_segment_id.setter
    def largest_segment_id(self, value: int | None) -> None:
        with self._dataset._changing() as properties:
            properties.layer(self.name).largest_segment_id = value

    def refresh_largest_segment_id(self) -> None:
        """Search the finest mag for the largest voxel value and save it; None where there is nothing to search.

        Examples
        --------
        >>> layer.refresh_largest_segment_id()  # doctest: +SKIP
        >>> layer.largest_segment_id  # doctest: +SKIP
        2504697
        """
        self.largest_segment_id = self._search_largest_segment_id()

    def _search_largest_segment_id(self) -> int | None:
        if not self.mags or self.bounding_box.is_empty():
            return None
        mag_view = self.get_finest_mag()
        box = BoundingBox.from_ndbbox(mag_view.bounding_box)
        block = BoundingBox((0, 0, 0), _BLOCK_SHAPE).from_mag_to_mag1(mag_view.mag).size
        largest = 0
        for shard in mag_view.get_bounding_boxes_on_disk():
            part = shard.intersected_with(box, dont_assert=True)
            for piece in part.chunk(block) if not part.is_empty() else ():
                largest = max(largest, int(mag_view.read(absolute_bounding_box=piece).max()))
        return largest
