"""Mags of a dataset that are written again in another layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wkgpu.dataset.readable import usable_mags
from wkgpu.operations.jobs import Executor

if TYPE_CHECKING:
    from wkgpu.dataset.dataset import Dataset


def compress_dataset(dataset: Dataset, executor: Executor | None) -> None:
    """Compress all raw mags in place; see `Dataset.compress`."""
    dataset._refuse_if_read_only()
    for layer in dataset.layers.values():
        for mag_view in usable_mags(layer, "compressed"):
            if not mag_view.read_only:
                mag_view.compress(executor=executor, progress_desc=f"Compressing {layer.name} {mag_view.name}")
