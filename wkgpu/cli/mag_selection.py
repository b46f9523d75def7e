"""The mags that the arguments of a command name: all of a dataset, those of a layer, or a single one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wkgpu import Dataset, MagView, open_mag
from wkgpu.cli.path_content import loose_mag, mag_folders, parse_mag, single_mag
from wkgpu.dataset.metadata.image_properties import is_dataset
from wkgpu.dataset.metadata.properties import PROPERTIES_NAME
from wkgpu.errors import ArgumentError, NotFoundError, WkgpuError


@dataclass(frozen=True)
class MagSelection:
    """Mags to work on.

    Attributes
    ----------
    dataset : Dataset or None
        Theirs, where there is one.
    mags : list of MagView
        From the finest to the coarsest of each layer.
    names : list of str
        Layer and mag as far as they were named, also by a path that leads into a dataset: none, one or both.
    """

    dataset: Dataset | None
    mags: list[MagView]
    names: list[str]


def select_mags(path: Path, names: Sequence[str], device: str | None = None, read_only: bool = False) -> MagSelection:
    """Return the mags at a path.

    Parameters
    ----------
    path : Path
        A dataset, a folder of mags, or a mag's folder. One that lies in a dataset is a part of it: what changes there
        changes in the dataset's properties file, too.
    names : sequence of str
        Layer and mag, as far as the path does not say them, and one of them is wanted alone.
    device : str or None
        Where to read to.
    read_only : bool
        Whether they are only read.

    Raises
    ------
    NotFoundError, LayerNotFoundError, MagNotFoundError
        If there is no such layer or mag; the message names those that there are.
    ArgumentError
        If a name is no mag, or there are too many names.
    """
    path, names = _from_its_dataset(path, names)
    if not is_dataset(path):
        return MagSelection(None, _loose_mags(path, names, device, read_only), list(names))
    dataset = Dataset.open(path, read_only=read_only, device=device)
    if len(names) > 2:
        raise ArgumentError(
            f"{' '.join(names)!r} is more than a layer and a mag of {dataset.path}; leave out the rest."
        )
    layers = [dataset.get_layer(names[0])] if names else list(dataset.layers.values())
    if len(names) == 2:
        return MagSelection(dataset, [layers[0].get_mag(parse_mag(names[1]))], list(names))
    return MagSelection(dataset, [mag_view for layer in layers for mag_view in layer.mags.values()], list(names))


def layer_name(mag_view: MagView) -> str:
    """Return the name of a mag's layer; without a dataset, that of the folder around the mag's."""
    try:
        name: str = mag_view.layer.name
    except NotFoundError:
        return mag_view.path.parent.name
    return name


def _from_its_dataset(path: Path, names: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """Return the dataset around the folder of a listed layer or mag, and the names of these before the others."""
    path = Path(os.path.normpath(path.absolute()))
    if is_dataset(path):
        return path, names
    for place in (path, Path(os.path.realpath(path))):  # a link may lead into a dataset as well
        for folder in place.parents[:2]:
            if (folder / PROPERTIES_NAME).exists():
                layer, *mag = place.relative_to(folder).parts
                listed = Dataset.open(folder, read_only=True).layers.get(layer)
                if listed and (not mag or place in [mag_view.path for mag_view in listed.mags.values()]):
                    return folder, [layer, *mag, *names]
            elif found := _in_image(place, folder):
                return folder, [*found, *names]
    return path, names


def _in_image(place: Path, folder: Path) -> list[str]:
    """Return layer and mag of an array of the OME-Zarr image in a folder; nothing if there is none."""
    with suppress(WkgpuError):  # a folder around a mag may hold anything
        if is_dataset(folder):
            (layer,) = Dataset.open(folder).layers.values()
            return [name for mag in layer.mags.values() if mag.path == place for name in (layer.name, mag.name)]
    return []


def _loose_mags(path: Path, names: Sequence[str], device: str | None, read_only: bool) -> list[MagView]:
    """Return mags that belong to no dataset."""
    if folders := mag_folders(path.joinpath(*names)):
        return [open_mag(folder, mag, read_only=read_only, device=device) for mag, folder in folders.items()]
    if not names:
        return [single_mag(path, device, read_only)]
    return [loose_mag(path, names, device, read_only)]
