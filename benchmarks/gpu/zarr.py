"""Zarr 3 on the GPU: whole reads and writes of each codec, and the kernels that compare checksums, alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd

from benchmarks import peers
from benchmarks.gpu.bench import KINDS, ORIGIN, Bench
from benchmarks.gpu.figures import GpuFigure, Skipped, Task, Work, in_turns
from benchmarks.peers import CHUNK
from wkgpu.engines.cuda.checked_decoding import CHUNKS_OF_XXH64, CRC32_POLYNOMIAL, CRC32C_POLYNOMIAL
from wkgpu.engines.cuda.slots import BatchTable, Slot
from wkgpu.storage.codecs import GZIP, Compression

_CODECS: dict[str, Compression] = {"zstd": True, "lz4": "lz4", "gzip": (GZIP,)}
_ABOVE = {"em": 30.0, "segmentation": 120.0}  # GB/s of zstd, verified
_MIN_RATIO = 20.0
_ROUNDS = 3
_BATCH_BYTES = 256 << 20


def zarr(bench: Bench) -> Iterator[Task]:
    """What WEBKNOSSOS writes first."""
    for codec in _CODECS:
        for kind, label in KINDS.items():
            work = f"Zarr 3 whole read, {codec}: {label}"
            yield Task(f"zarr-read-{codec}-{kind}", work, partial(_read, bench, kind, codec, work))
    for kind, label in KINDS.items():
        work = f"Zarr 3 aligned write, zstd: {label}"
        yield Task(f"zarr-write-{kind}", work, partial(_write, bench, kind, work))
    for name in _CHECKSUMS:
        yield Task(f"checksums-{name}", f"checksums of a batch alone: {name}", partial(_verify, bench, name))


# ---- Reads and writes


def _read(bench: Bench, kind: str, codec: str, work: str) -> Iterator[GpuFigure]:
    volume = bench.volume(kind)
    path = _dataset(bench, kind, codec)
    mag = peers.open_mag(peers.library("wkgpu"), path).to(bench.engine.name)
    bench.check(mag.read()[0], volume, work)
    store = _tensorstore(path, volume.shape)
    works = [
        Work("wkgpu", lambda number: mag.read(), amount=volume.nbytes),
        Work("tensorstore + copy", lambda number: bench.to_gpu(store.read().result()), amount=volume.nbytes,
             max_rounds=bench.sizes.peer_rounds),
    ]  # fmt: skip
    ours, theirs = in_turns(works, bench.sizes.rounds, "GB/s")
    with bench.profile() as profile:
        mag.read()
    above, at_least = (_ABOVE[kind], _MIN_RATIO) if codec == "zstd" else (None, None)
    yield GpuFigure(
        f"zarr-read-{codec}-{kind}", work, "GB/s", "tensorstore + copy", ours, theirs, above=above, at_least=at_least,
        bound=profile.bound(), details={"host_ms": profile.milliseconds(), "decoded_bytes": volume.nbytes},
    )  # fmt: skip


def _write(bench: Bench, kind: str, work: str) -> Iterator[GpuFigure]:
    voxels = bench.first_shard(kind)
    on_gpu, path = bench.to_gpu(voxels), bench.scratch / "written-zarr"
    found: list[Any] = []

    def prepare(number: int) -> None:
        bench.fresh_folder(path.name)
        found[:] = [_create(path, voxels, bench.sizes.shard, True).to(bench.engine.name)]

    def run(number: int) -> None:
        found[0].write(on_gpu, absolute_offset=ORIGIN)

    prepare(0)
    run(0)
    bench.check_on_host(_tensorstore(path, voxels.shape).read().result(), voxels, "what tensorstore reads of it")
    nbytes = sum(file.stat().st_size for file in peers.mag_folder(path).rglob("*") if file.is_file())
    (ours,) = in_turns([Work("wkgpu", run, prepare, voxels.nbytes)], min(_ROUNDS, bench.sizes.rounds), "GB/s")
    yield GpuFigure(
        f"zarr-write-{kind}", work, "GB/s", ours=ours, note="from the memory of the GPU",
        details={"decoded_bytes": voxels.nbytes, "encoded_per_decoded": nbytes / voxels.nbytes},
    )  # fmt: skip
    bench.fresh_folder(path.name)


def _dataset(bench: Bench, kind: str, codec: str) -> Path:
    """Store a volume on the CPU, once."""
    path, done = bench.scratch / f"zarr-{kind}-{codec}", bench.scratch / f"zarr-{kind}-{codec}.stored"
    wanted = f"{bench.shape(kind)} {bench.sizes.shard}"
    if not done.exists() or done.read_text() != wanted:
        bench.fresh_folder(path.name)
        volume = bench.volume(kind)
        _create(path, volume, bench.sizes.shard, _CODECS[codec]).to("cpu").write(volume, absolute_offset=ORIGIN)
        done.write_text(wanted)
    return path


def _create(path: Path, volume: Any, shard: int, compress: Compression) -> Any:
    module = peers.library("wkgpu")
    dataset = module.Dataset(path, voxel_size=peers.VOXEL_SIZE)
    box = module.BoundingBox(ORIGIN, volume.shape)
    layer = dataset.add_layer(peers.LAYER, "color", dtype=volume.dtype, data_format="zarr3", bounding_box=box)
    return layer.add_mag(1, chunk_shape=CHUNK, shard_shape=shard, compress=compress)


def _tensorstore(path: Path, shape: tuple[int, ...]) -> Any:
    try:
        import tensorstore
    except ImportError as error:
        raise Skipped(f"tensorstore is missing: {error}") from error
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(peers.mag_folder(path))}}
    opened = tensorstore.open(store, open=True, read=True).result()
    return opened[(0, *(slice(0, length) for length in shape))]


# ---- Checksums


def _xxh64(content: bytes) -> int:
    return int.from_bytes(Zstd(level=1, checksum=True).encode(content)[-4:], "little")


_CHECKSUMS: dict[str, tuple[str, tuple[int, ...], int, Callable[[bytes], int]]] = {
    "xxh64": ("xxh64_verify", (), CHUNKS_OF_XXH64, _xxh64),
    "crc32": ("crc32_verify", (CRC32_POLYNOMIAL,), 1, zlib.crc32),
    "crc32c": ("crc32_verify", (CRC32C_POLYNOMIAL,), 1, google_crc32c.value),
    "adler32": ("adler32_verify", (), 1, zlib.adler32),
}


def _verify(bench: Bench, name: str) -> Iterator[GpuFigure]:
    """Compare the checksums of a batch of chunks of 32³, all of which are right."""
    kernel, more, at_once, checksum = _CHECKSUMS[name]
    size = CHUNK**3
    content = bench.first_shard("em").ravel(order="F")[:size].tobytes()
    with bench.device.active():
        kernels = bench.device.chunk_kernels
        if kernels is None:
            raise Skipped(f"{bench.device.name} has no kernels for chunks of Zarr")
        count = min(_BATCH_BYTES, bench.nbytes("em")) // size
        slot = Slot(bench.device, bench.engine.release)
        chunks, statuses = slot.memory("decoded", count * size), slot.memory("verdicts", 4 * count)
        image, found = slot.host("staging", count * size), slot.host("verdicts", 4 * count)
        image[...] = np.tile(np.frombuffer(content, np.uint8), count)
        table = BatchTable(slot, 3 * count)
        at = [
            table.address(table.add(column))
            for column in (
                chunks.address + np.arange(count) * size,
                np.full(count, size, np.int64),
                np.full(count, checksum(content), np.int64),
            )
        ]
        table.upload()
        slot.stream.upload(image, chunks)
        slot.stream.clear(statuses, 4 * count)
        blocks = min(-(-count // at_once), bench.device.blocks)

        def run(number: int) -> None:
            kernels.launch(slot.stream, kernel, blocks, 1, *at, count, *more, statuses.address)
            slot.end()
            slot.finish()

        run(0)
        slot.stream.download(statuses, 0, found)
        slot.stream.record().wait()
        if found.any():
            raise AssertionError(f"{kernel} finds {np.count_nonzero(found.view(np.int32))} of {count} checksums wrong")
        (ours,) = in_turns([Work("wkgpu", run, amount=count * size)], bench.sizes.rounds, "GB/s")
    yield GpuFigure(
        f"checksums-{name}", f"checksums of a batch alone: {name}", "GB/s", ours=ours, details={"chunks": count},
    )  # fmt: skip
