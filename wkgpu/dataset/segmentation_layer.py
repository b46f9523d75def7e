"""A layer whose voxels are the ids of segments."""

from __future__ import annotations

from wkgpu.dataset.layer import Layer
from wkgpu.operations.jobs import Executor


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

    def refresh_largest_segment_id(self, executor: Executor | None = None, progress_desc: str | None = None) -> None:
        """Search the finest mag for the largest voxel value and save it; None where there is nothing to search.

        Parameters
        ----------
        executor, progress_desc
            As for `View.for_each_chunk`.

        Examples
        --------
        >>> layer.refresh_largest_segment_id()  # doctest: +SKIP
        >>> layer.largest_segment_id  # doctest: +SKIP
        2504697
        """
        is_empty = not self.mags or self.bounding_box.is_empty()
        self.largest_segment_id = None if is_empty else self.get_finest_mag().largest_id(executor, progress_desc)
