"""Coarser mags that are added to a layer, or made anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.mag_view import MagView
from wkgpu.dataset.shapes import Compression, Shape, new_spec
from wkgpu.errors import NameTakenError, ReadOnlyError, ShapeError
from wkgpu.geometry.mag import Mag
from wkgpu.geometry.vec3_int import Vec3Int
from wkgpu.operations.downsampling.interpolation import InterpolationMode
from wkgpu.operations.downsampling.tiles import downsample_files
from wkgpu.operations.jobs import Executor
from wkgpu.storage.spec import ArraySpec

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


@dataclass(frozen=True)
class MagPyramid:
    """Coarser mags to make for a layer, with what is the same for all of them.

    Parameters
    ----------
    layer : Layer
        Gets the mags.
    layout : ArraySpec
        Of mags that it does not have yet.
    interpolation, buffer_shape, allow_overwrite, executor, progress_desc
        As for `Layer.downsample`.
    only_setup : bool
        Whether to leave the mags empty.
    """

    layer: Layer
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
        if layer.read_only:
            raise ReadOnlyError(f"{layer.dataset!r} was opened with read_only=True; open it without to downsample it.")
        layer._check_headers()
        interpolation = InterpolationMode.parse(interpolation_mode, layer.category)
        spec = new_spec(layer.dtype, layer.num_channels, chunk_shape, shard_shape, None, compress)
        buffer = None if buffer_shape is None else _checked_buffer_shape(buffer_shape)
        return cls(layer, interpolation, spec, buffer, allow_overwrite, only_setup, executor, progress_desc)

    def make(self, source: MagView, mags: Sequence[Mag]) -> None:
        """Make mags, the first of the source, and each other one of the one before it.

        Raises
        ------
        NameTakenError
            If one of them exists and must not be overwritten; then nothing is made.
        ReadOnlyError
            If one of them exists and its files lie outside of the dataset, or the folder of the layer does.
        """
        self.layer._settle()
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
                self.layer._check_folder()
        for mag in mags:
            source = self._overwrite(source, mag) if mag in self.layer.mags else self._add(source, mag)

    def _overwrite(self, source: MagView, mag: Mag) -> MagView:
        target = self.layer.mags[mag]
        try:
            self._fill(source, target)
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
            spec = self.spec
            made = MagView(
                layer, mag, spec.chunk_shape, spec.chunks_per_shard, spec.codecs, create=True, path=folder.building
            )
            self._fill(source, made)
            with layer.dataset._changing() as properties:
                listed = properties.layer(layer.name)
                if listed.has_mag(mag):
                    raise NameTakenError(f"Another process has added a mag {mag} to layer {layer.name!r} meanwhile.")
                listed.add_mag(mag, f"./{layer.name}/{name}", spec.shard_shape)
                folder.place()
        return layer.get_mag(mag)

    def _fill(self, source: MagView, target: MagView) -> None:
        if not self.only_setup and not target.bounding_box.is_empty():
            text = self.progress_desc or f"Downsampling {self.layer.name} from mag {source.mag} to mag {target.mag}"
            downsample_files(
                source,
                target,
                self.interpolation,
                buffer_shape=self.buffer_shape,
                executor=self.executor,
                progress_desc=text,
            )


def _checked_buffer_shape(shape: Shape) -> Vec3Int:
    try:
        found = Vec3Int.from_vec_or_int(shape)
    except (TypeError, ValueError, AssertionError) as error:
        raise ShapeError(f"buffer_shape is {shape!r}; give one length or three, (x, y, z), in whole voxels.") from error
    if min(found) < 1:
        raise ShapeError(f"buffer_shape is {found.to_tuple()}; each length must be at least 1.")
    return found
