"""A layer that gets another name: its folder, and all entries of the properties file that name it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wkgpu.dataset.changes.folder_move import Hidden, move, prepare_move
from wkgpu.dataset.changes.groups import forget_copies
from wkgpu.dataset.changes.mag_entries import settle_layer
from wkgpu.dataset.folder_change import NewFolder
from wkgpu.dataset.metadata.layer_properties import checked_name
from wkgpu.errors import WkgpuError
from wkgpu.storage.stores.local.paths import path_below

if TYPE_CHECKING:
    from wkgpu.dataset.layer import Layer


class FolderMove(NewFolder):
    """Renames a folder in a ``with`` block, if the properties file lists it under the new name at the end."""

    def _prepare(self, hidden: Any) -> None:
        super()._prepare(hidden)
        prepare_move(hidden)
        self._hidden: Hidden = hidden

    def move(self, source: Path) -> None:
        """Move the folder, while the properties are locked; its old name leads to it until the end of the block."""
        move(self._hidden, source)


def rename_layer(layer: Layer, name: str) -> None:
    """Give a layer another name; see `Layer.name`."""
    dataset = layer.dataset
    dataset._check_writable()
    if checked_name(name) == layer.name:
        return
    settle_layer(layer)
    source, place = layer.path, layer.path.with_name(name)
    dataset._properties.check_name_is_free(name, "choose another name")
    with (
        FolderMove(place, dataset._file) as folder,
        _restored_if_it_fails(layer),
        dataset._changing() as properties,
    ):
        properties.rename_layer(layer.name, name)
        if os.path.lexists(source):  # a layer without mags of its own has no folder
            folder.move(source)
        _follow(layer, source, place)
    forget_copies(dataset)


def _follow(layer: Layer, source: Path, place: Path) -> None:
    """Let the objects of this process have the new name: the layer and its mags, which open their files again."""
    dataset = layer.dataset
    dataset._layers = {place.name if known is layer else name: known for name, known in dataset._layers.items()}
    for mag_view in layer.mags.values():
        path = path_below(mag_view.path, dataset.path)
        if path is not None and path.is_relative_to(source.name):
            mag_view._path = place / path.relative_to(source.name)
            mag_view._forget_files()


@contextmanager
def _restored_if_it_fails(layer: Layer) -> Iterator[None]:
    dataset, old = layer.dataset, layer.name
    with dataset._lock:
        layers, mags = dataset._layers, dict(layer.mags)
        paths = {mag: mag_view.path for mag, mag_view in mags.items()}
        try:
            yield
        except BaseException:
            if layer.name != old:  # an interrupt came after the change was saved
                raise
            dataset._layers = layers
            for mag, mag_view in mags.items():
                mag_view._path = paths[mag]
                mag_view._forget_files()
            with suppress(WkgpuError):
                dataset._refresh()
            raise
