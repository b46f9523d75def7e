"""Operations on files and properties that are interrupted: the next call ends what an interrupted one began."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wkgpu.storage.codecs import pipeline_of

from .world import CHUNK, SHARD, Attempt, Operation, World


def _repeated(world: World, call: Callable[[], object], check: Callable[[], Iterator[str]]) -> Attempt:
    """Attempt a call that can be repeated, whatever became of it."""

    def check_all(has_ended: bool) -> Iterator[str]:
        if not has_ended:
            try:
                call()
            except Exception as error:
                yield f"the next call raises {type(error).__name__}: {error}"
        yield from check()
        if not np.array_equal(world.small.read(), world.small_voxels):
            yield "voxels are lost"
        yield from world.left_over()

    return Attempt(call, check_all)


def _compress(world: World, random: np.random.Generator) -> Attempt:
    codec = "lz4hc" if world.small.info.codec == "lz4" else "lz4"
    return _repeated(
        world, lambda: world.small.compress(codec=codec), lambda: _has_layout(world, codecs=pipeline_of(codec))
    )


def _rechunk(world: World, random: np.random.Generator) -> Attempt:
    shard = 16 if world.small.info.shard_shape.x == 32 else 32
    return _repeated(
        world,
        lambda: world.small.rechunk(chunk_shape=CHUNK, shard_shape=shard),
        lambda: _has_layout(world, shard_shape=(shard,) * 3),
    )


def _has_layout(world: World, **expected: object) -> Iterator[str]:
    layout = world.reopened().get_layer("small").get_mag(1)._array.spec
    for name, value in expected.items():
        if getattr(layout, name) != value:
            yield f"{name} is {getattr(layout, name)}, and not {value}"


def _compress_to(world: World, random: np.random.Generator) -> Attempt:
    return _copied(world, lambda path: world.small.compress(path, codec="lz4hc"), ["small"])


def _copy(world: World, random: np.random.Generator) -> Attempt:
    return _copied(
        world, lambda path: world.dataset.copy_dataset(path, layers_to_ignore=["mapped"]), ["small", "large"]
    )


def _copied(world: World, copy: Callable[[Path], object], layers: list[str]) -> Attempt:
    """Attempt to make another dataset: what is there of it is right, and what is missing can be added."""
    from wkgpu import Dataset
    from wkgpu.errors import AlreadyExistsError, NameTakenError

    path = world.folder / "copy"

    def check(has_ended: bool) -> Iterator[str]:
        listed = list(Dataset.open(path).layers.values()) if (path / "datasource-properties.json").exists() else []
        if has_ended and {layer.name for layer in listed} != set(layers):
            yield f"the copy has {listed}"
        for layer in listed:
            for mag in layer.mags.values():
                if not np.array_equal(mag.read(), world.dataset.get_layer(layer.name).get_mag(mag.mag).read()):
                    yield f"layer {layer.name} of the copy has other voxels"
        if not has_ended:
            try:
                copy(path)
            except (AlreadyExistsError, NameTakenError):
                pass  # what is there has been looked at
            except Exception as error:
                yield f"the next copy raises {type(error).__name__}: {error}"
        shutil.rmtree(path, ignore_errors=True)
        yield from world.left_over(world.folder)

    return Attempt(lambda: copy(path), check)


def _downsample(world: World, random: np.random.Generator) -> Attempt:
    layer = world.small.layer
    if any(mag.x == 2 for mag in layer.mags):
        layer.delete_mag(2)
    expected = world.small_voxels.reshape(1, 16, 2, 16, 2, 16, 2).max((2, 4, 6))

    def call() -> None:
        layer.downsample_mag(1, 2, chunk_shape=CHUNK, shard_shape=SHARD, interpolation_mode="max")

    def check(has_ended: bool) -> Iterator[str]:
        is_listed = any(mag.x == 2 for mag in world.reopened().get_layer("small").mags)
        if has_ended and not is_listed:
            yield "mag 2 is not listed"
        if not is_listed:
            try:
                call()
            except Exception as error:
                yield f"the next call raises {type(error).__name__}: {error}"
                return
        elif not has_ended:
            _change(layer)
        found = world.reopened().get_layer("small").get_mag(2).read()
        if not np.array_equal(found, expected):
            yield "mag 2 has other voxels"
        yield from world.left_over()

    return Attempt(call, check)


def _change(layer: Any) -> None:
    """Make the next change of a layer where an interrupted one was complete, and cannot be made once more."""
    layer.add_mag(8, chunk_shape=CHUNK, shard_shape=SHARD)
    layer.delete_mag(8)


def _add_and_delete(world: World, random: np.random.Generator) -> Attempt:
    layer = world.small.layer
    is_there = any(mag.x == 4 for mag in layer.mags)
    call = (
        (lambda: layer.delete_mag(4)) if is_there else (lambda: layer.add_mag(4, chunk_shape=CHUNK, shard_shape=SHARD))
    )

    def check(has_ended: bool) -> Iterator[str]:
        is_listed = any(mag.x == 4 for mag in world.reopened().get_layer("small").mags)
        if has_ended and is_listed == is_there:
            yield "nothing has changed"
        if is_listed == is_there:
            try:
                call()
            except Exception as error:
                yield f"the next call raises {type(error).__name__}: {error}"
        elif not has_ended:
            _change(layer)
        if (layer.path / "4").exists() == is_there:
            yield f"the folder of mag 4 is {'still there' if is_there else 'missing'}"
        yield from world.left_over()

    return Attempt(call, check)


def _rename(world: World, random: np.random.Generator) -> Attempt:
    def call() -> None:
        layer = world.small.layer
        layer.name = "tiny"
        layer.name = "small"

    return _repeated(world, call, lambda: _has_layout(world))


OPERATIONS = (
    Operation("downsample", 3, _downsample),
    Operation("compress", 3, _compress),
    Operation("rechunk", 3, _rechunk),
    Operation("compress to a copy", 2, _compress_to),
    Operation("copy_dataset", 2, _copy),
    Operation("add_mag, delete_mag", 3, _add_and_delete),
    Operation("rename a layer", 2, _rename),
)
