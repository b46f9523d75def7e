"""A dataset whose layers can be downsampled all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wkgpu.dataset.legacy import accepts_legacy
from wkgpu.dataset.shapes import Compression
from wkgpu.dataset.usable import usable_mags
from wkgpu.errors import ReadOnlyError
from wkgpu.geometry.mag import Mag, MagLike
from wkgpu.operations.downsampling.interpolation import InterpolationMode
from wkgpu.operations.downsampling.sampling_modes import SamplingModes, default_coarsest_mag
from wkgpu.operations.jobs import Executor

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


class DownsampledDataset(ABC):
    """What a `Dataset` can do to add coarser mags to all its layers."""

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """The layers by name."""

    @property
    @abstractmethod
    def read_only(self) -> bool:
        """Whether all changes are refused."""

    @accepts_legacy("sampling_mode", "coarsest_mag", "executor")
    def downsample(
        self,
        *,
        sampling_mode: str | SamplingModes = SamplingModes.ANISOTROPIC,
        coarsest_mag: MagLike | None = None,
        interpolation_mode: str | InterpolationMode = "default",
        compress: Compression = True,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Add to each layer the mags that are coarser than those it has; see `Layer.downsample`.

        A layer goes on from its coarsest mag, and mags that exist stay as they are. Layers without mags, and those that
        have one as coarse as asked for, are left alone. So are layers of another format than WKW, and those with a mag
        at a URL, which a warning names.

        Parameters
        ----------
        sampling_mode : str or SamplingModes
            Which axes get coarser.
        coarsest_mag : Mag, int, str or (x, y, z), optional
            The mag to end with; by default each layer has its own, with at most 100 voxels along x and y.
        interpolation_mode : str
            By default the median for images and the mode for segmentations.
        compress : bool or str
            True or ``"lz4"`` for LZ4, ``"lz4hc"`` for LZ4HC, False for raw voxels.
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process, on all cores.
        progress_desc : str, optional
            Text of the progress bars; by default they name the layer and the mags.

        Raises
        ------
        ReadOnlyError
            If the dataset is read-only.
        SamplingError, InterpolationError, ArgumentError
            As for `Layer.downsample`.

        Examples
        --------
        >>> Dataset.open("cortex").downsample(coarsest_mag=16)  # doctest: +SKIP
        """
        if self.read_only:
            raise ReadOnlyError(f"{self!r} was opened with read_only=True; open it without to downsample it.")
        for layer in self.layers.values():
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
