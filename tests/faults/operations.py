"""Operations on voxels that are interrupted, and what has to be right afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .world import CHUNK, SHAPE, SHARD, Attempt, Operation, World


def _returns(call: Callable[[], Any], expected: Any) -> Attempt:
    """Attempt a call that changes nothing and returns something."""
    found: list[Any] = []

    def check(has_ended: bool) -> Iterator[str]:
        if has_ended and not np.array_equal(found[0], expected):
            yield "returns something else"

    return Attempt(lambda: found.append(call()), check)


def _read(world: World, random: np.random.Generator) -> Attempt:
    box, where = world.box(random)
    return _returns(lambda: world.mag.read(absolute_bounding_box=box), world.voxels[where].copy())


def _read_out(world: World, random: np.random.Generator) -> Attempt:
    out = np.zeros(world.voxels.shape, np.uint8, order="F")
    return _filled(lambda: world.mag.read(out=out), out, world.voxels.copy())


def _read_many(world: World, random: np.random.Generator) -> Attempt:
    from wkgpu import BoundingBox

    corners = random.integers(0, np.subtract(SHAPE, 20), (6, 3)).tolist()
    expected = np.stack([world.voxels[:, x : x + 20, y : y + 20, z : z + 20] for x, y, z in corners])
    out = np.zeros_like(np.moveaxis(expected, 0, -1), order="F")
    out = np.moveaxis(out, -1, 0)
    boxes = [BoundingBox(corner, (20, 20, 20)) for corner in corners]
    return _filled(lambda: world.mag.read_many(boxes, out=out), out, expected)


def _filled(call: Callable[[], object], out: np.ndarray, expected: np.ndarray) -> Attempt:
    """Attempt a call that fills an array, and leaves it alone when it has ended."""

    def check(has_ended: bool) -> Iterator[str]:
        if has_ended and not np.array_equal(out, expected):
            yield "fills something else"
        out[...] = 0xEE

    def check_late() -> Iterator[str]:
        if not (out == 0xEE).all():
            yield "writes into the array after it has ended"

    return Attempt(call, check, check_late)


def _write(world: World, random: np.random.Generator) -> Attempt:
    return _written(world, *world.box(random, CHUNK if random.random() < 0.5 else 1), world.mag.write)


def _written(
    world: World, box: Any, where: tuple[slice, ...], write: Callable[..., object], is_whole: bool = True
) -> Attempt:
    """Attempt a call that writes other voxels to a box: each chunk is old or new; if not `is_whole`, each voxel."""
    before, after = world.voxels, world.voxels.copy(order="F")
    after[where] += 1
    data = after[where].copy(order="F")

    def check(has_ended: bool) -> Iterator[str]:
        found = world.mag.read()
        if has_ended and not np.array_equal(found, after):
            yield "wrote something else"
        is_old, is_new = found == before, found == after
        if is_whole:
            is_old, is_new = (_of_chunks(is_same).all((2, 4, 6)) for is_same in (is_old, is_new))
        if not (is_old | is_new).all():
            yield "a chunk is neither old nor new"
        world.voxels = found

    return Attempt(lambda: write(data, absolute_offset=box.topleft), check)


def _of_chunks(voxels: np.ndarray) -> np.ndarray:
    """Return voxels (1, x, y, z) as an array in which axes 2, 4 and 6 are those of a chunk."""
    return voxels.reshape([1, *(part for length in SHAPE for part in (length // CHUNK, CHUNK))])


def _slice_writer(world: World, random: np.random.Generator) -> Attempt:
    box, where = world.box(random)

    def write(data: np.ndarray, absolute_offset: Any) -> None:
        with world.mag.get_buffered_slice_writer(absolute_offset=absolute_offset, buffer_size=8) as writer:
            for z in range(data.shape[-1]):
                writer.send(data[..., z])

    return _written(world, box, where, write, is_whole=False)


def _slice_reader(world: World, random: np.random.Generator) -> Attempt:
    def read() -> np.ndarray:
        with world.mag.get_buffered_slice_reader(buffer_size=8) as reader:
            return np.stack(list(reader), axis=-1)

    return _returns(read, world.voxels.copy())


def _chunks(world: World, random: np.random.Generator) -> Attempt:
    def read() -> list[int]:
        return [int(chunk.read().sum()) for chunk in world.mag.chunk((SHARD,) * 3)]

    parts = [world.voxels[0, x : x + SHARD, y : y + SHARD] for x in (0, SHARD) for y in (0, SHARD)]
    return _returns(read, [int(part.sum()) for part in parts])


def _for_each_chunk(world: World, random: np.random.Generator) -> Attempt:
    def add_one(arguments: Any) -> None:
        chunk, _ = arguments
        chunk.write(chunk.read() + np.uint8(1))

    return _written(world, world.mag.bounding_box, (slice(None),), lambda *_, **__: world.mag.for_each_chunk(add_one))


def _compare(world: World, random: np.random.Generator) -> Attempt:
    return _returns(lambda: world.mag.content_is_equal(world.mag), True)


def _min_max(world: World, random: np.random.Generator) -> Attempt:
    return _returns(world.mag.min_max, (world.voxels.min(), world.voxels.max()))


def _histogram(world: World, random: np.random.Generator) -> Attempt:
    expected = np.bincount(world.voxels.ravel(order="K"), minlength=256)
    return _returns(lambda: world.mag.histogram(256, (0, 256))[0], expected)


def _map_voxels(world: World, random: np.random.Generator) -> Attempt:
    from wkgpu import maps

    before = world.mapped.read()
    at = int(random.integers(1, 99))
    after = np.where(world.small_voxels >= at, np.uint8(200), np.uint8(7))

    def check(has_ended: bool) -> Iterator[str]:
        found = world.mapped.read()
        if not np.array_equal(found, after) and (has_ended or not np.array_equal(found, before)):
            yield "mapped voxels are neither old nor new"  # all are in one shard

    return Attempt(lambda: world.small.map_voxels(maps.threshold(at, below=7, above=200), world.mapped), check)


def _merge(world: World, random: np.random.Generator) -> Attempt:
    before, after = world.voxels, world.voxels.copy(order="F")
    for box in world.annotation.get_bounding_boxes_on_disk():
        x, y, z = map(slice, box.topleft, box.bottomright)
        after[:, x, y, z] = world.annotation.read(absolute_bounding_box=box)

    def check(has_ended: bool) -> Iterator[str]:
        found = world.mag.read()
        if has_ended and not np.array_equal(found, after):
            yield "merged something else"
        if not ((found == before) | (found == after)).all():
            yield "merged voxels are neither old nor new"
        world.voxels = found

    return Attempt(lambda: world.mag.merge_with_view(world.annotation), check)


OPERATIONS = (
    Operation("read", 8, _read),
    Operation("read into an array", 8, _read_out),
    Operation("read_many", 8, _read_many),
    Operation("write", 12, _write),
    Operation("slice reader", 6, _slice_reader),
    Operation("slice writer", 4, _slice_writer),
    Operation("chunk by chunk", 6, _chunks),
    Operation("for_each_chunk", 4, _for_each_chunk),
    Operation("content_is_equal", 6, _compare),
    Operation("min_max", 6, _min_max),
    Operation("histogram", 6, _histogram),
    Operation("map_voxels", 4, _map_voxels),
    Operation("merge_with_view", 3, _merge),
)
