"""A layer whose voxels are the ids of segments."""

from __future__ import annotations

from wkgpu.dataset.attachments import Attachments
from wkgpu.dataset.layer import Layer
from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.view import View
from wkgpu.errors import ArgumentError
from wkgpu.geometry.vec3_int import Vec3IntLike
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

    @property
    def attachments(self) -> Attachments:
        """What belongs to the segmentation besides its voxels: meshes, agglomerates, connectomes, indexes of segments.

        Examples
        --------
        >>> [mesh.name for mesh in layer.attachments.meshes]  # doctest: +SKIP
        ['skin']
        """
        return Attachments(self)

    @accepts_legacy()
    def refresh_largest_segment_id(
        self,
        executor: Executor | None = None,
        progress_desc: str | None = None,
        *,
        chunk_shape: Vec3IntLike | None = None,
    ) -> None:
        """Search the finest mag for the largest voxel value and save it; None where there is nothing to search.

        Parameters
        ----------
        executor, progress_desc
            As for `View.for_each_chunk`.
        chunk_shape : (x, y, z), optional
            What one job searches, in Mag(1), as for `View.map_chunk`; by default what fits in memory.

        Raises
        ------
        ShapeError
            If `chunk_shape` does not consist of whole shards.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.refresh_largest_segment_id()  # doctest: +SKIP
        >>> layer.largest_segment_id  # doctest: +SKIP
        2504697
        """
        self.dataset._check_writable()
        self.largest_segment_id = _largest_id(self, executor, progress_desc, chunk_shape)

    def as_segmentation_layer(self) -> SegmentationLayer:
        """Return this layer; see `Layer.as_segmentation_layer`."""
        return self

    def as_color_layer(self) -> Layer:
        """Raise an `ArgumentError`: this layer is a segmentation; see `Layer.as_color_layer`."""
        raise ArgumentError(
            f"Layer {self.name!r} is a segmentation layer; add a layer with category='color' for images."
        )


def _largest_id(
    layer: SegmentationLayer, executor: Executor | None, progress_desc: str | None, chunk_shape: Vec3IntLike | None
) -> int | None:
    """Return the largest voxel value of the finest mag."""
    if not layer.mags or layer.bounding_box.is_empty():
        return None
    mag_view = layer.get_finest_mag()
    if chunk_shape is None:
        return mag_view.largest_id(executor, progress_desc)
    found = mag_view.map_chunk(_largest_id_of, chunk_shape, executor, progress_desc)
    return max(found, default=None)


def _largest_id_of(view: View) -> int:
    return view.largest_id()
