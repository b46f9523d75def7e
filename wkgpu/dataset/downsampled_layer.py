"""A layer whose coarser mags are made of finer ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.mag_pyramid import MagPyramid
from wkgpu.dataset.mag_view import MagView
from wkgpu.dataset.shapes import Compression, Shape
from wkgpu.errors import ArgumentError, MagNotFoundError, MismatchError
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.operations.downsampling.interpolation import InterpolationMode
from wkgpu.operations.downsampling.sampling_modes import (
    SamplingModes,
    ascending,
    check_step,
    default_coarsest_mag,
    downsampling_mags,
)
from wkgpu.operations.jobs import Executor

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset
    from wkgpu.dataset.layer import Layer


class DownsampledLayer:
    """What a `Layer` can do to make coarser mags of finer ones.

    A voxel of the coarser mag is made of the voxels that lie in it, channel by channel. Where the layer's bounding box
    begins or ends within it, what is missing are the voxels inside, mirrored at the border.
    """

    @accepts_legacy(
        "from_mag", "coarsest_mag", "interpolation_mode", "compress", "sampling_mode", "align_with_other_layers",
        "buffer_shape", "force_sampling_scheme", "args", "allow_overwrite", "only_setup_mags", "executor",
    )  # fmt: skip
    def downsample(
        self,
        *,
        from_mag: MagLike | None = None,
        coarsest_mag: MagLike | None = None,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        sampling_mode: str | SamplingModes = SamplingModes.ANISOTROPIC,
        align_with_other_layers: bool | Dataset = True,
        buffer_shape: Shape | None = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        force_sampling_scheme: bool = False,
        allow_overwrite: bool = False,
        only_setup_mags: bool = False,
        from_mag_view: MagView | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Make mags that get coarser and coarser, each of the one before it.

        A mag becomes part of the layer when it is whole: if one fails, the finished ones stay, and of that one nothing.

        Parameters
        ----------
        from_mag : Mag, int, str or (x, y, z), optional
            The mag to begin with; by default that of `from_mag_view`, or else the layer's coarsest.
        coarsest_mag : Mag, int, str or (x, y, z), optional
            The mag to end with: no factor gets larger than in it, and its largest one is reached. By default the layer
            has at most 100 voxels along x and y in it, and it is at least 4.
        interpolation_mode : str
            ``"median"``, ``"mode"`` (the most frequent value), ``"nearest"`` (one of the voxels), ``"bilinear"`` (the
            mean), ``"max"`` or ``"min"``; ``"default"`` is the median for images and the mode for segmentations.
        compress : bool or str
            True or ``"lz4"`` for LZ4, ``"lz4hc"`` for LZ4HC, False for raw voxels.
        sampling_mode : str or SamplingModes
            Which axes get coarser. A layer with one slice keeps its z.
        align_with_other_layers : bool or Dataset
            Whether to take the mags that layers of this dataset, or of that one, have, rather than others with the same
            largest factor.
        buffer_shape : int or (x, y, z), optional
            Voxels of the coarser mag that stand on their own: ``"nearest"`` spreads the voxels that it takes among
            them, and mirror images end at their border. By default they are made of at most
            1024 voxels along each axis, and are not more than a shard. How much memory is used does not depend on it.
        chunk_shape, shard_shape : int or (x, y, z), optional
            Voxels of a new mag that are encoded at once, and in one file; by default 32³ and 1024³.
        force_sampling_scheme : bool
            Whether several mags may have the same largest factor, which WEBKNOSSOS cannot show.
        allow_overwrite : bool
            Whether mags that exist get new voxels. They keep their layout, and if this fails they hold old and new
            voxels.
        only_setup_mags : bool
            Whether to make mags without voxels.
        from_mag_view : MagView, optional
            The mag to begin with, if it is one of another layer or dataset. This layer's bounding box counts: what the
            mag holds beyond it is left out, and where it holds nothing there are zeros.
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process, on all cores.
        progress_desc : str, optional
            Text of the progress bars; by default they name the layer and the mags.

        Raises
        ------
        MagNotFoundError
            If there is no mag to begin with.
        NameTakenError
            If one of the mags exists and must not be overwritten; then nothing is made.
        SamplingError
            If mags do not follow from each other; see `wkgpu.operations.downsampling.sampling_modes.downsampling_mags`.
        InterpolationError, ArgumentError, ShapeError, MismatchError
            For other arguments that mean nothing or do not fit each other.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.downsample(coarsest_mag=16, sampling_mode="isotropic")  # doctest: +SKIP
        >>> list(layer.mags)  # doctest: +SKIP
        [Mag(1), Mag(2), Mag(4), Mag(8), Mag(16)]
        """
        layer = cast("Layer", self)
        if from_mag is None and from_mag_view is None:
            if not layer.mags:
                raise MagNotFoundError(f"Layer {layer.name!r} has no mags to downsample; add one with add_mag().")
            from_mag = list(layer.mags)[-1]
        source = _source(layer, from_mag, from_mag_view)
        box = layer.bounding_box
        mags = downsampling_mags(
            source.mag,
            default_coarsest_mag(box) if coarsest_mag is None else Mag(coarsest_mag),
            SamplingModes.parse(sampling_mode).of_layer(box),
            layer.dataset.voxel_size,
            _mags_to_align_with(layer, align_with_other_layers),
            force_sampling_scheme,
        )
        MagPyramid.of(
            layer, interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape, allow_overwrite,
            only_setup_mags, executor, progress_desc,
        ).make(source, mags)  # fmt: skip

    @accepts_legacy(
        "interpolation_mode", "compress", "buffer_shape", "args", "allow_overwrite", "only_setup_mag", "executor"
    )
    def downsample_mag(
        self,
        from_mag: MagLike,
        target_mag: MagLike,
        *,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        buffer_shape: Shape | None = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        allow_overwrite: bool = False,
        only_setup_mag: bool = False,
        from_mag_view: MagView | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Make one mag of another one; see `downsample`.

        Parameters
        ----------
        from_mag, target_mag : Mag, int, str or (x, y, z)
            The finer mag, and the coarser one to make.
        only_setup_mag : bool
            Whether to make the mag without voxels.
        interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape
            As for `downsample`.
        allow_overwrite, from_mag_view, executor, progress_desc
            As for `downsample`.

        Raises
        ------
        MagNotFoundError, NameTakenError, SamplingError, InterpolationError, ArgumentError, ShapeError, MismatchError
            As for `downsample`.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.downsample_mag(1, "4-4-2", interpolation_mode="max")  # doctest: +SKIP
        """
        layer = cast("Layer", self)
        source, target = _source(layer, from_mag, from_mag_view), Mag(target_mag)
        check_step(source.mag, target)
        MagPyramid.of(
            layer, interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape, allow_overwrite,
            only_setup_mag, executor, progress_desc,
        ).make(source, [target])  # fmt: skip

    @accepts_legacy(
        "interpolation_mode", "compress", "buffer_shape", "args", "allow_overwrite", "only_setup_mags", "executor"
    )
    def downsample_mag_list(
        self,
        from_mag: MagLike,
        target_mags: Iterable[MagLike],
        *,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        buffer_shape: Shape | None = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        allow_overwrite: bool = False,
        only_setup_mags: bool = False,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Make several mags, each of the next finer one; see `downsample`.

        Parameters
        ----------
        from_mag : Mag, int, str or (x, y, z)
            The mag to begin with.
        target_mags : iterable of Mag, int, str or (x, y, z)
            The mags to make, in any order.
        interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape
            As for `downsample`.
        allow_overwrite, only_setup_mags, executor, progress_desc
            As for `downsample`.

        Raises
        ------
        MagNotFoundError, NameTakenError, SamplingError, InterpolationError, ArgumentError, ShapeError
            As for `downsample`.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.downsample_mag_list(1, ["2-2-1", "4-4-2", 8])  # doctest: +SKIP
        """
        layer = cast("Layer", self)
        source = layer.get_mag(from_mag)
        mags = ascending(source.mag, map(Mag, target_mags))
        MagPyramid.of(
            layer, interpolation_mode, compress, buffer_shape, chunk_shape, shard_shape, allow_overwrite,
            only_setup_mags, executor, progress_desc,
        ).make(source, mags)  # fmt: skip

    @accepts_legacy("interpolation_mode", "compress", "buffer_shape", "args", "executor")
    def redownsample(
        self,
        *,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        buffer_shape: Shape | None = None,
        chunk_shape: Shape | None = None,
        shard_shape: Shape | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Make all mags but the finest anew, after that was changed; each of the next finer one.

        Parameters
        ----------
        compress, chunk_shape, shard_shape
            Are taken and change nothing: the mags keep their layout. `MagView.rechunk` gives them another one.
        interpolation_mode, buffer_shape, executor, progress_desc
            As for `downsample`.

        Raises
        ------
        SamplingError
            If a mag is finer along an axis than the one before it.
        InterpolationError, ShapeError
            As for `downsample`.
        ReadOnlyError
            If the dataset is read-only.

        Examples
        --------
        >>> layer.get_mag(1).write(voxels, absolute_offset=(0, 0, 0))  # doctest: +SKIP
        >>> layer.redownsample()  # doctest: +SKIP
        """
        mags = list(cast("Layer", self).mags)
        if mags:
            self.downsample_mag_list(
                mags[0],
                mags[1:],
                interpolation_mode=interpolation_mode,
                compress=compress,
                buffer_shape=buffer_shape,
                chunk_shape=chunk_shape,
                shard_shape=shard_shape,
                allow_overwrite=True,
                executor=executor,
                progress_desc=progress_desc,
            )


def _source(layer: Layer, from_mag: MagLike | None, from_mag_view: MagView | None) -> MagView:
    """Return the mag to begin with, which fits the layer."""
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
