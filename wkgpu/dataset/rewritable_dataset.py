"""A dataset whose layers can be rewritten all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wkgpu.dataset.jobs import Executor
from wkgpu.errors import ReadOnlyError

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


class RewritableDataset(ABC):
    """What a `Dataset` can do to the files of all its layers."""

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """The layers by name."""

    @property
    @abstractmethod
    def read_only(self) -> bool:
        """Whether all changes are refused."""

    def compress(self, executor: Executor | None = None) -> None:
        """Compress all raw mags of all layers in place, with LZ4; see `MagView.compress`.

        Mags whose files lie outside of the dataset's folder belong to another dataset, and are left alone.

        Parameters
        ----------
        executor : Executor, optional
            Runs jobs of one or more shards; without it they run one after another in this process.

        Raises
        ------
        ReadOnlyError
            If the dataset is read-only.
        MismatchError
            If somebody has written to a mag meanwhile; that mag stays as it was.

        Examples
        --------
        >>> Dataset.open("cortex").compress()  # doctest: +SKIP
        """
        if self.read_only:
            raise ReadOnlyError(f"{self!r} was opened with read_only=True; open it without to compress it.")
        for layer in self.layers.values():
            for mag_view in layer.mags.values():
                if not mag_view.is_remote_to_dataset:
                    mag_view.compress(executor=executor, progress_desc=f"Compressing {layer.name} {mag_view.name}")
