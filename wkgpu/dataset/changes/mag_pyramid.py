"""Coarser mags that are added to a layer, or computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wkgpu.dataset.box_axes import further_axes, in_space
from wkgpu.dataset.changes.extents import extent_of, make_room
from wkgpu.dataset.changes.groups import check_group, list_mags
from wkgpu.dataset.changes.mag_entries import check_headers, check_layer_folder, header_difference, settle_layer
from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.mag_view import MagView
from wkgpu.dataset.metadata.layer_category import SEGMENTATION_CATEGORY
from wkgpu.dataset.readable import usable_mags
from wkgpu.dataset.shapes import Compression, Shape, recut_spec
from wkgpu.errors import ArgumentError, MagNotFoundError, MismatchError, NameTakenError, ShapeError
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.geometry.vec3_int import Vec3Int
from wkgpu.geometry.voxel_box import VoxelBox, triple
from wkgpu.operations.coordinates import check_ranges
from wkgpu.operations.downsampling.interpolation import InterpolationMode
from wkgpu.operations.downsampling.sampling_modes import SamplingModes, default_coarsest_mag, downsampling_mags
from wkgpu.operations.downsampling.tiles import downsample
from wkgpu.operations.jobs import Executor
from wkgpu.storage.formats import create_array
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer


def downsample_dataset(
    dataset: Dataset,
    sampling_mode: str | SamplingModes,
    coarsest_mag: MagLike | None,
    interpolation_mode: str | InterpolationMode,
    compress: Compression,
    executor: Executor | None,
    progress_desc: str | None,
) -> None:
    """Downsample all layers; see `Dataset.downsample`."""
    dataset._refuse_if_read_only()
    for layer in dataset.layers.values():
        if len(usable_mags(layer, "downsampled")) < len(layer.mags):
            continue
        coarsest = default_coarsest_mag(layer.bounding_box) if coarsest_mag is None else Mag(coarsest_mag)
        if layer.mags and list(layer.mags)[-1].max_dim < coarsest.max_dim:
            layer.downsample(
                coarsest_mag=coarsest,
                interpolation_mode=interpolation_mode,
                compress=compress,
                sampling_mode=sampling_mode,
                executor=executor,
                progress_desc=progress_desc,
            )


def source_and_mags(
    layer: Layer,
    from_mag: MagLike | None,
    from_mag_view: MagView | None,
    coarsest_mag: MagLike | None,
    sampling_mode: str | SamplingModes,
    align_with_other_layers: bool | Dataset,
    force_sampling_scheme: bool,
) -> tuple[MagView, list[Mag]]:
    """Return the mag that `Layer.downsample` begins with, and the mags that it makes."""
    if from_mag is None and from_mag_view is None:
        if not layer.mags:
            raise MagNotFoundError(f"Layer {layer.name!r} has no mags to downsample; add one with add_mag().")
        from_mag = list(layer.mags)[-1]
    source = source_mag(layer, from_mag, from_mag_view)
    box = layer.bounding_box
    mags = downsampling_mags(
        source.mag,
        default_coarsest_mag(box) if coarsest_mag is None else Mag(coarsest_mag),
        SamplingModes.parse(sampling_mode).of_layer(box),
        layer.dataset.voxel_size,
        _mags_to_align_with(layer, align_with_other_layers),
        force_sampling_scheme,
    )
    return source, mags


def source_mag(layer: Layer, from_mag: MagLike | None, from_mag_view: MagView | None) -> MagView:
    """Return the mag to begin with, checked that it fits the layer."""
    if from_mag_view is None:
        assert from_mag is not None
        return layer.get_mag(from_mag)
    if not isinstance(from_mag_view, MagView):
        raise ArgumentError(f"from_mag_view is {from_mag_view!r}; give a MagView, as Layer.get_mag() returns it.")
    if from_mag is not None and Mag(from_mag) != from_mag_view.mag:
        raise ArgumentError(f"from_mag_view has the mag {from_mag_view.mag}, not {Mag(from_mag)}; leave out from_mag.")
    found, wanted = [(one.dtype, one.num_channels) for one in (from_mag_view.layer, layer)]
    if found != wanted:
        raise MismatchError(
            f"from_mag_view holds {found[1]} channel(s) of {found[0]}, and layer {layer.name!r} {wanted[1]} of "
            f"{wanted[0]}; give a layer of the same type."
        )
    return from_mag_view


def _mags_to_align_with(layer: Layer, align: bool | Dataset) -> list[Mag]:
    if isinstance(align, bool):
        return [mag for other in layer.dataset.layers.values() for mag in other.mags] if align else []
    return [mag for other in align.layers.values() for mag in other.mags]


@dataclass(frozen=True)
class MagPyramid:
    """Coarser mags to make for a layer, with what is the same for all of them.

    Parameters
    ----------
    layer : Layer
        Gets the mags.
    source : MagView
        What the first of them is made of.
    spec : ArraySpec
        Of mags that it does not have yet.
    interpolation, buffer_shape, allow_overwrite, executor, progress_desc
        As for `Layer.downsample`.
    only_setup : bool
        Whether to leave the mags empty.
    """

    layer: Layer
    source: MagView
    interpolation: InterpolationMode
    spec: ArraySpec
    buffer_shape: Vec3Int | None
    allow_overwrite: bool
    only_setup: bool
    executor: Executor | None
    progress_desc: str | None

    @classmethod
    def of(
        cls,
        layer: Layer,
        source: MagView,
        interpolation_mode: str | InterpolationMode,
        compress: Compression,
        buffer_shape: Shape | None,
        chunk_shape: Shape | None,
        shard_shape: Shape | None,
        allow_overwrite: bool,
        only_setup: bool,
        executor: Executor | None,
        progress_desc: str | None,
    ) -> MagPyramid:
        """Check the arguments of `Layer.downsample`, before anything is made.

        Raises
        ------
        ReadOnlyError, InterpolationError, ShapeError, ArgumentError, MismatchError
            See there.
        """
        layer.dataset._refuse_if_read_only()
        check_ranges(source._array, further_axes(layer.bounding_box))
        check_headers(layer)
        # Averaging segment ids is meaningless.
        default = InterpolationMode.MODE if layer.category == SEGMENTATION_CATEGORY else InterpolationMode.MEDIAN
        interpolation = InterpolationMode.parse(interpolation_mode, default)
        if (difference := header_difference(source.layer, source._array)) is not None:
            raise MismatchError(difference)
        found = source._array.current()
        spec = recut_spec(
            found.spec, found.data_format, chunk_shape, shard_shape, None, compress, layer.data_format.value
        )
        buffer = None if buffer_shape is None else _checked_buffer_shape(buffer_shape)
        return cls(layer, source, interpolation, spec, buffer, allow_overwrite, only_setup, executor, progress_desc)

    def make(self, mags: Sequence[Mag]) -> None:
        """Make mags, the first of the source, and each other one of the one before it.

        Raises
        ------
        NameTakenError
            If one of them exists and must not be overwritten; then nothing is made.
        ReadOnlyError
            If one of them exists and its files lie outside of the dataset, or the folder of the layer does.
        PropertiesError, ReadOnlyError
            If the group that has to list new ones cannot be understood, or is a link.
        """
        settle_layer(self.layer)
        taken = [str(mag) for mag in mags if mag in self.layer.mags]
        if taken and not self.allow_overwrite:
            raise NameTakenError(
                f"Layer {self.layer.name!r} has the mag(s) {', '.join(taken)} already; delete them with delete_mag(), "
                "or give allow_overwrite=True."
            )
        for mag in mags:
            if mag in self.layer.mags:
                self.layer.mags[mag]._check_writable()
            else:
                check_layer_folder(self.layer)
                check_group(self.layer.path, self.layer.data_format)
        source = self.source
        for mag in mags:
            source = self._overwrite(source, mag) if mag in self.layer.mags else self._add(source, mag)

    def _overwrite(self, source: MagView, mag: Mag) -> MagView:
        target = self.layer.mags[mag]
        try:
            self._fill(source, target._array, mag)
        except BaseException as error:
            error.add_note(
                f"Mag {mag} of layer {self.layer.name!r} may hold old and new voxels now; downsample it again."
            )
            raise
        return target

    def _add(self, source: MagView, mag: Mag) -> MagView:
        """Add a mag to the layer when it is filled, so that no reader takes a part of it for the whole."""
        layer, name = self.layer, mag.to_layer_name()
        with NewFolder(layer.path / name, layer.dataset._file) as folder:
            extent = extent_of(layer.bounding_box, mag, self.spec.shard_shape)
            made = create_array(
                folder.building, self.spec, layer.data_format.value, extent, layer._properties.axes,
                layer._properties.extra_axes,
            )  # fmt: skip
            made.follows_links = layer.dataset._allow_foreign_writes
            self._fill(source, made, mag)
            with layer.dataset._changing() as properties:
                listed = properties.layer(layer.name)
                if listed.has_mag(mag):
                    raise NameTakenError(f"Mag {mag} of layer {layer.name!r} was added by another process.")
                listed.add_mag(mag, f"./{layer.name}/{name}", self.spec.shard_shape, made.axes)
                folder.place()
        list_mags(layer)
        make_room(layer)
        return layer.get_mag(mag)

    def _fill(self, source: MagView, target: StoredArray, mag: Mag) -> None:
        box = self.layer.bounding_box
        if self.only_setup or in_space(box).align_with_mag(mag, ceil=True).is_empty():
            return
        in_source = box.align_with_mag(source.mag, ceil=True).in_mag(source.mag)
        downsample(
            source._array,
            target,
            VoxelBox(triple(in_source.topleft_xyz), triple(in_source.size_xyz)),
            (source.mag, mag),
            self.interpolation,
            source._engine.name,
            buffer_shape=self.buffer_shape,
            executor=self.executor,
            progress_desc=self.progress_desc or f"Downsampling {self.layer.name} from mag {source.mag} to mag {mag}",
            ranges=further_axes(box),
        )


def _checked_buffer_shape(shape: Shape) -> Vec3Int:
    try:
        found = Vec3Int.from_vec_or_int(shape)
    except (TypeError, ValueError, AssertionError) as error:
        raise ShapeError(f"buffer_shape is {shape!r}; give one length or three, (x, y, z), in whole voxels.") from error
    if min(found) < 1:
        raise ShapeError(f"buffer_shape is {found.to_tuple()}; each length must be at least 1.")
    return found
