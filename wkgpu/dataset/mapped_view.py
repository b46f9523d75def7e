"""Functions of voxels, and numbers about all voxels of a view, by kernels on the view's device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wkgpu.errors import DtypeError
from wkgpu.geometry.bounding_box import BoundingBox
from wkgpu.operations.histogram import histogram_of
from wkgpu.operations.jobs import Executor
from wkgpu.operations.mapping import map_views
from wkgpu.operations.reductions import Labels, MinMax, merged, reduce_view
from wkgpu.operations.voxel_map import VoxelMap, voxel_map

if TYPE_CHECKING:
    from wkgpu.dataset.view import View


class MappedView(ABC):
    """What a view does voxel by voxel.

    Work goes block by block, where a block is one or more shards, and within a block voxels are read while those before
    are computed. What is not stored takes no time where that is possible. Voxels are those of all channels.
    """

    _pads: ClassVar[bool]

    @abstractmethod
    def get_dtype(self) -> np.dtype[np.generic]:
        """Return the dtype of one channel."""

    def map_voxels(
        self,
        function: VoxelMap | Callable[..., Any],
        target: View,
        *others: View,
        constants: tuple[Any, ...] = (),
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> None:
        """Fill another view with what a function makes of each voxel of this one.

        The function is compiled for this view's device. Its results are converted as C does it: floats lose what is
        behind the point, and whatever the target's dtype cannot hold becomes any value; nothing is clipped.

        Parameters
        ----------
        function : VoxelMap or callable
            One of `wkgpu.maps`, or what `wkgpu.voxel_map` takes. It is called with a value of this view, one of each
            other view, and the constants.
        target : View
            Of the same mag, size and channels, in any place of any dataset, with any dtype. It may be this view: then
            voxels are changed in place. A `MagView` means where this view lies, and its layer's bounding box grows as
            in `MagView.write`.
        *others : View
            Up to three more, of the same mag and size, with as many channels or 1, which then goes with all channels. A
            `MagView` means where this view lies.
        constants : tuple
            Numbers, and arrays of which the function gets the whole.
        executor, progress_desc
            As for `for_each_chunk`; jobs are one or more of the target's shards.

        Raises
        ------
        ShapeError
            If mags, sizes or channels do not fit.
        RegionError
            If the target overlaps what is read elsewhere than in place, or a view is empty.
        ReadOnlyError
            If the target is read-only.
        CompilationError
            If the function cannot be compiled; `map_chunk` calls any Python.
        ArgumentError, DtypeError
            If the function takes other arguments, cannot be sent to the executor's processes, or is made for other
            voxels.

        Examples
        --------
        >>> view.map_voxels(wk.maps.threshold(128), mask)  # doctest: +SKIP
        >>> view.map_voxels(lambda value, other: value if other == 3 else 0, target, segments)  # doctest: +SKIP
        """
        chosen = function if isinstance(function, VoxelMap) else voxel_map(function)
        map_views(chosen, [cast("View", self), *others], target, tuple(constants), executor, progress_desc)

    def min_max(
        self, executor: Executor | None = None, progress_desc: str | None = None
    ) -> tuple[int, int] | tuple[float, float]:
        """Return the least and the greatest value of all voxels; what is not stored is 0.

        Parameters
        ----------
        executor, progress_desc
            As for `for_each_chunk`.

        Returns
        -------
        tuple of two numbers
            Both NaN if there is a NaN.

        Raises
        ------
        RegionError
            If the view is empty.

        Examples
        --------
        >>> view.min_max()  # doctest: +SKIP
        (3, 251)
        """
        results, missing = reduce_view(cast("View", self), MinMax(), executor, progress_desc)
        values = np.concatenate([*results, np.zeros(int(missing > 0), self.get_dtype())])
        least, most = values.min().item(), values.max().item()
        return least + 0, most + 0  # without the sign of -0.0, which depends on the order of the work

    def histogram(
        self,
        bins: int | ArrayLike = 256,
        value_range: tuple[float, float] | None = None,
        executor: Executor | None = None,
        progress_desc: str | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Count how many voxels lie in each of some bins: what `numpy.histogram` returns for all voxels.

        Parameters
        ----------
        bins : int or array
            How many bins of equal width there are, or the ascending edges of bins. A bin begins at its edge and ends
            before the next one; the last one holds its end as well.
        value_range : (first, last), optional
            From where to where bins of equal width lie; by default from the least to the greatest value, which takes
            another look at voxels of more than 16 bits. For uint8, ``(0, 256)`` has a bin for each value.
        executor, progress_desc
            As for `for_each_chunk`.

        Returns
        -------
        int64 (bins,), array (bins + 1,)
            Counts, and edges.

        Raises
        ------
        ArgumentError
            If bins and range are none, or if there is a NaN and no range.
        RegionError
            If the view is empty.

        Examples
        --------
        >>> counts, edges = view.histogram(256, (0, 256))  # doctest: +SKIP
        """
        return histogram_of(cast("View", self), bins, value_range, executor, progress_desc)

    def count_labels(
        self, executor: Executor | None = None, progress_desc: str | None = None
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return which integers the voxels have, and how many voxels have each of them; what is not stored is 0.

        Parameters
        ----------
        executor, progress_desc
            As for `for_each_chunk`.

        Returns
        -------
        array (n,), int64 (n,)
            The integers, ascending and of the mag's dtype, and their counts.

        Raises
        ------
        DtypeError
            If the voxels are floats.
        RegionError
            If the view is empty.

        Examples
        --------
        >>> ids, voxels = view.count_labels()  # doctest: +SKIP
        >>> dict(zip(ids.tolist(), voxels.tolist()))  # doctest: +SKIP
        {0: 95213, 17: 4187, 18: 600}
        """
        dtype = self.get_dtype()
        _check_integers(dtype, "count_labels")
        results, missing = reduce_view(cast("View", self), Labels(), executor, progress_desc)
        zeros = np.zeros(int(missing > 0), dtype), np.full(int(missing > 0), missing, np.int64)
        return merged(np, [*results, zeros])

    def largest_id(self, executor: Executor | None = None, progress_desc: str | None = None) -> int:
        """Return the greatest of all ids, and 0 where there is none.

        Parameters
        ----------
        executor, progress_desc
            As for `for_each_chunk`.

        Raises
        ------
        DtypeError
            If the voxels are floats.
        RegionError
            If the view is empty.

        Examples
        --------
        >>> view.largest_id()  # doctest: +SKIP
        2504697
        """
        _check_integers(self.get_dtype(), "largest_id")
        return max(int(self.min_max(executor, progress_desc)[1]), 0)

    def _grow(self, box: BoundingBox) -> None:
        """Let the view hold a box as well. Only a `MagView` can be written beyond its box."""
        raise AssertionError(f"{self!r} cannot grow to {box}")


def _check_integers(dtype: np.dtype[np.generic], method: str) -> None:
    if dtype.kind not in "iu":
        raise DtypeError(f"{method}() of {dtype} voxels; ids are integers. Use histogram() or min_max() for floats.")
