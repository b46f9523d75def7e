"""What datasets hold, compared before and after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

REGION = (96, 64, 32)  # holds all voxels
CHUNK = 8  # edge of all chunks
PROPERTIES = "datasource-properties.json"
NOTES = "notes.txt"  # of a user, in every folder
GROUP = "zarr.json"  # of a dataset, and of a layer of Zarr, which lists its mags


class StoredMag(NamedTuple):
    """A mag: all its voxels ``(channel, x, y, z)``, and how they are stored."""

    voxels: np.ndarray
    spec: object


class State(NamedTuple):
    """What the datasets in a folder hold.

    Attributes
    ----------
    layers : dict
        The mags of each layer, by the name of its dataset and its own.
    properties : dict
        What each dataset's properties file says, and what its groups say.
    """

    layers: dict[tuple[str, str], dict[str, StoredMag]]
    properties: dict[str, Any]


def state_of(root: Path) -> State:
    """Open and read all datasets in a folder. What is listed must be there."""
    from wkgpu import BoundingBox, Dataset

    layers, properties = {}, {}
    for file in sorted(root.glob(f"*/{PROPERTIES}")):
        dataset = Dataset.open(file.parent)
        groups = [dataset.path / GROUP, *(layer.path / GROUP for layer in dataset.layers.values())]
        for said in (file, *filter(Path.exists, groups)):
            properties[said.relative_to(root).as_posix()] = json.loads(said.read_text())
        for layer in dataset.layers.values():
            mags = layers[dataset.path.name, layer.name] = {}
            for mag in layer.mags.values():
                box = BoundingBox((0, 0, 0), np.multiply(REGION, mag.mag.to_tuple()).tolist())
                mags[mag.name] = StoredMag(mag.read(absolute_bounding_box=box), mag._array.spec)
    return State(layers, properties)


def unexpected(found: State, before: State, after: State) -> Iterator[str]:
    """Yield what is neither as before a change nor as after it."""
    yield from _unexpected_names("layers", found.layers, before.layers, after.layers)
    for name, mags in found.layers.items():
        old, new = before.layers.get(name, {}), after.layers.get(name, {})
        yield from _unexpected_names(f"mags of layer {name}", mags, old, new)
        for mag, stored in mags.items():
            chosen = [state[mag] for state in (old, new) if mag in state]
            if not any(stored.spec == state.spec for state in chosen):
                yield f"mag {mag} of layer {name} has the layout {stored.spec}"
            same = [_of_chunks(stored.voxels == state.voxels).all((2, 4, 6)) for state in chosen]
            if same and not np.logical_or.reduce(same).all():
                yield f"mag {mag} of layer {name} has chunks that are neither old nor new"


def _unexpected_names(kind: str, found: dict, before: dict, after: dict) -> Iterator[str]:
    if missing := before.keys() & after.keys() - found.keys():
        yield f"{kind} are missing: {sorted(missing)}"
    if strange := found.keys() - before.keys() - after.keys():
        yield f"{kind} are there that no operation made: {sorted(strange)}"


def _of_chunks(voxels: np.ndarray) -> np.ndarray:
    """Return voxels (channel, x, y, z) as an array in which axes 2, 4 and 6 are those of a chunk."""
    channels, *shape = voxels.shape
    return voxels.reshape([channels, *(part for length in shape for part in (length // CHUNK, CHUNK))])


def differences(found: State, expected: State) -> Iterator[str]:
    """Yield what is not as it should be."""
    for name in found.layers.keys() | expected.layers.keys():
        here, there = (state.layers.get(name) for state in (found, expected))
        if here is None or there is None or here.keys() != there.keys():
            yield f"layer {name} has mags {here and sorted(here)}, and not {there and sorted(there)}"
            continue
        for mag, stored in here.items():
            if not np.array_equal(stored.voxels, there[mag].voxels) or stored.spec != there[mag].spec:
                yield f"mag {mag} of layer {name} has other voxels, or another layout"
    for name, properties in expected.properties.items():
        if found.properties.get(name) != properties:
            yield f"the properties of {name} are {json.dumps(found.properties.get(name))}, not {json.dumps(properties)}"


def files_of(root: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder, by their paths in it."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def left_over(root: Path) -> Iterator[str]:
    """Yield names of what is no part of a dataset, nor a user's."""
    from wkgpu import Dataset

    for path in root.rglob(".*"):
        yield path.relative_to(root).as_posix()
    for file in root.glob(f"*/{PROPERTIES}"):
        dataset = Dataset.open(file.parent)
        listed = {dataset.path / name for name in dataset.layers}
        listed |= {mag.path for layer in dataset.layers.values() for mag in layer.mags.values()}
        for folder in (dataset.path, *(layer.path for layer in dataset.layers.values())):
            for path in folder.iterdir() if folder.exists() else ():
                if path not in listed and path.name not in (NOTES, PROPERTIES, GROUP) and path.name[0] != ".":
                    yield path.relative_to(root).as_posix()
