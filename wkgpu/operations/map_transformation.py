"""Apply a function to the voxels of one or more regions and write the results to another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wkgpu.engines import Engine
from wkgpu.errors import RegionError, ShapeError
from wkgpu.forking import cached_property
from wkgpu.geometry.voxel_box import Triple, VoxelBox, triple
from wkgpu.operations.array_region import ArrayRegion
from wkgpu.operations.jobs import Executor
from wkgpu.operations.streaming import has_data, stream
from wkgpu.operations.voxel_map import PreparedMap, VoxelMap
from wkgpu.operations.voxels import Array


class MapTransformation:
    """See `wkgpu.operations.streaming.Transformation`.

    Parameters
    ----------
    sources, target : numpy.dtype
        Of the voxels that the map gets and makes.
    constants
        For this use of it.
    shifts : sequence of (x, y, z)
        From a voxel of the target to that of each source, in voxels.
    """

    ratio: Triple = (1, 1, 1)

    def __init__(
        self,
        voxel_map: VoxelMap,
        sources: Sequence[np.dtype[np.generic]],
        target: np.dtype[np.generic],
        constants: tuple[Any, ...],
        shifts: Sequence[Triple],
    ) -> None:
        self._voxel_map = voxel_map
        self._sources = tuple(sources)
        self._target = target
        self._constants = constants
        self._shifts = tuple(shifts)
        self._uploaded: dict[str, tuple[Any, ...]] = {}
        self.preserves_zero = self._makes_zero_of_zeros()

    def source_boxes(self, target: VoxelBox) -> tuple[VoxelBox, ...]:
        """Return the same box of each source."""
        return tuple(VoxelBox(triple(map(int.__add__, target.topleft, shift)), target.shape) for shift in self._shifts)

    def target_box(self, source: int, box: VoxelBox) -> VoxelBox | None:
        """Return the same box of the target."""
        return VoxelBox(triple(map(int.__sub__, box.topleft, self._shifts[source])), box.shape)

    def apply(self, engine: Engine, target: VoxelBox, arrays: Sequence[Array], out: Array, inside: VoxelBox) -> None:
        """Call the function with each voxel."""
        channels = out.shape[0]
        width, height, depth = target.shape
        strides = channels * inside.shape[0], channels * inside.shape[0] * inside.shape[1]
        x, y, z = map(int.__sub__, target.topleft, inside.topleft)
        begin = channels * x + strides[0] * y + strides[1] * z
        geometry = (channels * width, height, depth), begin, strides
        sources = tuple(_flat(engine, array, channels) for array in arrays)
        engine.launch(
            self._prepared.kernel, height * depth, channels * width, out.T.reshape(-1), geometry, sources,
            self._constants_on(engine),
        )  # fmt: skip

    @cached_property
    def _prepared(self) -> PreparedMap:
        return self._voxel_map.prepared(self._sources, self._target, self._constants)

    def _constants_on(self, engine: Engine) -> tuple[Any, ...]:
        """Return the constants with their arrays in memory of an engine, where they stay for the next boxes."""
        if engine.name not in self._uploaded:
            self._uploaded[engine.name] = tuple(
                engine.asarray(value) if isinstance(value, np.ndarray) else value for value in self._prepared.constants
            )
        return self._uploaded[engine.name]

    def _makes_zero_of_zeros(self) -> bool:
        """Try it on the CPU, whose kernel is compiled for the same arguments."""
        sources = tuple(np.zeros(1, dtype) for dtype in self._sources)
        target = np.ones(1, self._target)
        kernel = self._prepared.kernel.compiled_for("cpu")
        kernel(0, 1, target, ((1, 1, 1), 0, (1, 1)), sources, self._prepared.constants)
        return not has_data(target)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process makes for itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_prepared"} | {"_uploaded": {}}


def map_regions(
    voxel_map: VoxelMap,
    sources: Sequence[ArrayRegion],
    target: ArrayRegion,
    constants: tuple[Any, ...],
    executor: Executor | None,
    progress_desc: str | None,
) -> None:
    """Fill a region with what a map makes of others, on the engine of the first one; see `View.map_voxels`."""
    voxel_map.check_process(executor)
    for region in (*sources, target):
        _check_fit(region, sources[0])
    for region in sources:
        _check_apart(region, target)
    _check_channels(sources, target)
    dtypes = [region.array.spec.memory_dtype for region in (*sources, target)]
    shifts = [triple(map(int.__sub__, region.box.topleft, target.box.topleft)) for region in sources]
    transformation = MapTransformation(voxel_map, dtypes[:-1], dtypes[-1], constants, shifts)
    stream(
        [region.array for region in sources], target.array, target.box, transformation, target.mag, sources[0].device,
        executor, progress_desc,
    )  # fmt: skip


def _check_fit(region: ArrayRegion, first: ArrayRegion) -> None:
    if region.mag != first.mag or region.box.shape != first.box.shape:
        raise ShapeError(
            f"{region.name} has {region.box.shape} voxels of mag {region.mag.to_layer_name()}, and {first.name} has "
            f"{first.box.shape} of mag {first.mag.to_layer_name()}; give views of one mag and size."
        )


def _check_apart(source: ArrayRegion, target: ArrayRegion) -> None:
    """Check that no voxel is written before it is read: jobs run in any order."""
    overlaps = source.box != target.box and source.box.intersection(target.box)
    if overlaps and source.path.resolve() == target.path.resolve():
        raise RegionError(
            f"{target.name} would be written while {source.name}, which covers a part of it, is read; map in place, to "
            "a disjoint view, or to another mag."
        )


def _check_channels(sources: Sequence[ArrayRegion], target: ArrayRegion) -> None:
    channels = [region.array.spec.num_channels for region in (*sources, target)]
    if channels[0] != channels[-1] or not set(channels[1:-1]) <= {1, channels[0]}:
        raise ShapeError(
            f"The voxels to map have {channels[0]} channel(s), those of the other views {channels[1:-1]}, and those of "
            f"the target {channels[-1]}; a target has as many as the voxels, and others have as many or 1."
        )


def _flat(engine: Engine, array: Array, channels: int) -> Array:
    """Return an array in Fortran order as a flat one, with a value for each channel."""
    voxels = array.T
    return (voxels if len(array) == channels else engine.xp.repeat(voxels, channels, axis=-1)).reshape(-1)
