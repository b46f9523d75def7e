"""Random damage to shards and headers: right voxels, or an error that names the file; never a crash, never a hang.

``PYTHONPATH=tests python -m faults.shards --count 20000 --seed 1`` prints how often each outcome came, and the faults;
the exit status is 1 if there were any. The reads run in a process of their own, so that a crash is seen as one.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from .processes import Outcomes, main, print_cases, run_cases

CODECS = ("raw", "lz4", "lz4hc")
KINDS = (("uint8", 1), ("uint16", 1), ("uint32", 1), ("uint8", 3))
SHAPE = (16, 8, 8)  # two shards of 2x2x2 chunks of 4x4x4 voxels; the first one is damaged
SHARD = "z0/y0/x0.wkw"
TABLE_END = 16 + 8 * 8
BATCH = 2000


def run(count: int, seed: int) -> Outcomes:
    """Damage shards and use them, and count the outcomes.

    Returns
    -------
    dict
        Counts of "right" (all voxels as they were written), "refused" (a WkgpuError that names the file or its
        mag), "other voxels" (damaged bytes that no check can see: those of raw chunks, or inside of an LZ4 chunk), and
        of faults, whose names begin with "FAULT".
    """
    return run_cases("shards", 0, count, seed, BATCH)


# ---- In the other process


def work(first: int, count: int, seed: int) -> None:
    """Run the cases from ``first`` on, and print a line of JSON for each: its outcomes."""
    from wkgpu.settings import config

    config.threads = 1
    with tempfile.TemporaryDirectory() as folder:
        mags = _Mags(Path(folder))
        print_cases(partial(_case, mags), first, count, seed)


class _Mags:
    """Undamaged mags, whose files are copied for each case."""

    def __init__(self, folder: Path) -> None:
        from wkgpu.engines import get_engine
        from wkgpu.operations.transfer import write_box
        from wkgpu.storage.codecs import pipeline_of
        from wkgpu.storage.formats import create_array
        from wkgpu.storage.spec import ArraySpec

        self.folder = folder
        self.engine = get_engine("cpu")
        self.voxels = {}
        self.intact: list[tuple[int, int, int]] = []  # of the case: first voxels of chunks whose bytes are as before
        for dtype, channels in KINDS:
            random = np.random.default_rng(3)
            data = random.integers(0, 9, (channels, *SHAPE)).astype(dtype, order="F")
            data[:, :4, :4, :4] = random.integers(0, 256, (channels, 4, 4, 4)).astype(dtype)  # cannot be compressed
            for codec in CODECS:
                spec = ArraySpec(np.dtype(dtype), channels, (4, 4, 4), (2, 2, 2), pipeline_of(codec))
                array = create_array(self.of(dtype, channels, codec), spec)
                write_box(array, self.engine, (0, 0, 0), data)
            self.voxels[dtype, channels] = data

    def of(self, dtype: str, channels: int, codec: str) -> Path:
        return self.folder / f"{dtype}-{channels}-{codec}"


def _case(mags: _Mags, random: np.random.Generator, number: int) -> dict[str, int]:
    dtype, channels = KINDS[random.integers(len(KINDS))]
    of_mag, of_first, of_second = (str(codec) for codec in random.choice(CODECS, 3))
    if random.random() < 0.5:
        of_first = of_second = of_mag
    path = mags.folder / f"case-{number}"
    try:
        for name, codec in (("header.wkw", of_mag), (SHARD, of_first), ("z0/y0/x1.wkw", of_second)):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(mags.of(dtype, channels, codec) / name, path / name)
        before = mags.voxels[dtype, channels]
        target = path / ("header.wkw" if random.random() < 0.1 else SHARD)
        content = bytearray(target.read_bytes())
        damaged = _damaged(bytearray(content), random, mags)
        mags.intact = _intact(content, damaged) if target.name != "header.wkw" else []
        target.write_bytes(damaged)
        outcomes = Counter(_outcome(path, mags, before, use) for use in (*_USES, _cover))
        return dict(outcomes)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _intact(content: bytearray, damaged: bytearray) -> list[tuple[int, int, int]]:
    """First voxels of the chunks of a shard that damage has left as they were, and can be found."""
    is_raw = content[5] == 1
    front = 16 if is_raw else TABLE_END
    if content[:front] != damaged[:front]:
        return []
    length = (len(content) - front) // 8
    ends = [front + length * (n + 1) for n in range(8)] if is_raw else np.frombuffer(content, "<u8", 8, 16).tolist()
    found = []
    for ordinal, (begin, end) in enumerate(zip([front, *ends[:-1]], ends, strict=True)):
        if content[begin:end] == damaged[begin:end]:
            found.append((4 * (ordinal & 1), 4 * (ordinal >> 1 & 1), 4 * (ordinal >> 2)))
    return found


def _damaged(content: bytearray, random: np.random.Generator, mags: _Mags) -> bytearray:
    """Return a file with one kind of damage, now and then two."""
    for _ in range(1 + (random.random() < 0.2)):
        damage = _DAMAGES[random.integers(len(_DAMAGES))]
        content = damage(content, random, mags)
    return content


def _flip(content: bytearray, random: np.random.Generator, _: _Mags) -> bytearray:
    for at in random.integers(0, max(len(content), 1), random.integers(1, 5)):
        if at < len(content):
            content[at] ^= 1 << random.integers(8)
    return content


def _change_header(content: bytearray, random: np.random.Generator, _: _Mags) -> bytearray:
    if len(content) >= 16:
        at = random.integers(16)
        content[at] = random.choice([0, 1, 2, 3, 255, content[at] ^ 1 << random.integers(8), random.integers(256)])
    return content


def _change_table(content: bytearray, random: np.random.Generator, _: _Mags) -> bytearray:
    if len(content) >= TABLE_END:
        at = 16 + 8 * random.integers(8)
        found = int.from_bytes(content[at : at + 8], "little")
        values = [
            0,
            1,
            found + 1,
            found - 1,
            found + 400,
            len(content),
            len(content) + 1,
            1 << 31,
            1 << 63,
            (1 << 64) - 1,
        ]
        content[at : at + 8] = (values[random.integers(len(values))] % (1 << 64)).to_bytes(8, "little")
    return content


def _truncate(content: bytearray, random: np.random.Generator, _: _Mags) -> bytearray:
    return content[: random.integers(0, len(content) + 1)]


def _grow(content: bytearray, random: np.random.Generator, _: _Mags) -> bytearray:
    return content + random.bytes(random.integers(1, 2000))


def _swap(content: bytearray, random: np.random.Generator, _: _Mags) -> bytearray:
    length = int(random.integers(1, 40))
    if len(content) < 2 * length:
        return content
    one, other = sorted(int(at) for at in random.integers(0, len(content) - length + 1, 2))
    first, second = content[one : one + length], content[other : other + length]
    content[one : one + length], content[other : other + length] = second, first
    return content


def _noise(content: bytearray, random: np.random.Generator, _: _Mags) -> bytearray:
    begin = int(random.integers(0, len(content) + 1))
    end = min(begin + int(random.integers(1, 200)), len(content))
    content[begin:end] = random.bytes(end - begin)
    return content


def _replace(content: bytearray, random: np.random.Generator, mags: _Mags) -> bytearray:
    """Return a file of another mag, or the body of one behind this header."""
    dtype, channels = KINDS[random.integers(len(KINDS))]
    other = bytearray((mags.of(dtype, channels, str(random.choice(CODECS))) / SHARD).read_bytes())
    return other if random.random() < 0.5 else content[:16] + other[16:]


_DAMAGES = (_flip, _flip, _change_header, _change_table, _truncate, _grow, _swap, _noise, _replace)


# ---- What is done with a damaged mag


def _outcome(path: Path, mags: _Mags, before: np.ndarray, use: object) -> str:
    from wkgpu.errors import WkgpuError

    name = use.__name__.strip("_")
    try:
        is_right = use(path, mags, before)
    except WkgpuError as error:
        names_it = re.search(rf"{re.escape(str(path))}(-copy)?/", str(error))
        return "refused" if names_it else f"FAULT {name} does not name the file: {error}"
    except Exception as error:
        return f"FAULT {name} raises {type(error).__name__}: {error}"
    return "right" if is_right else "other voxels"


def _read(path: Path, mags: _Mags, before: np.ndarray) -> bool:
    from wkgpu.operations.transfer import read_box

    return np.array_equal(read_box(_opened(path), mags.engine, (0, 0, 0), SHAPE), before)


def _read_intact_chunks(path: Path, mags: _Mags, before: np.ndarray) -> bool:
    """Damage to one chunk is none to another one."""
    from wkgpu.operations.transfer import read_box

    array = _opened(path)
    for x, y, z in mags.intact:
        found = read_box(array, mags.engine, (x, y, z), (4, 4, 4))
        _check(np.array_equal(found, before[:, x : x + 4, y : y + 4, z : z + 4]))
    return True


def _read_many(path: Path, mags: _Mags, before: np.ndarray) -> bool:
    """Boxes in both shards; the voxels of the one that is not damaged must be right."""
    from wkgpu.operations.transfer import read_boxes

    array = _opened(path)
    found = read_boxes(array, mags.engine, [(9, 1, 1), (2, 3, 1), (5, 0, 2)], (5, 5, 5))
    if _fits(array, before):  # a damaged header.wkw may send all boxes to files that do not exist
        _check(np.array_equal(found[0], before[:, 9:14, 1:6, 1:6]))
    return np.array_equal(found[1], before[:, 2:7, 3:8, 1:6])


def _content_is_equal(path: Path, mags: _Mags, before: np.ndarray) -> bool:
    from wkgpu.operations.transfer import boxes_are_equal
    from wkgpu.storage.codecs import word_of

    array = _opened(path)
    spec = array.spec
    other = mags.of(spec.dtype.name, spec.num_channels, word_of(spec.codecs))
    if not other.exists():
        return False
    corner = ((0, 0, 0), (0, 0, 0))
    return boxes_are_equal(array, _opened(other), mags.engine, corner, SHAPE)


def _min_max(path: Path, mags: _Mags, before: np.ndarray) -> bool:
    from wkgpu.dataset.view import View
    from wkgpu.geometry import BoundingBox, Mag

    view = View(path, BoundingBox((0, 0, 0), SHAPE), Mag(1), read_only=True)
    return view.min_max() == (before.min(), before.max())


def _write_in_part(path: Path, mags: _Mags, before: np.ndarray) -> bool:
    """On a copy, so that what comes after sees the damaged file."""
    from wkgpu.operations.transfer import read_box, write_box

    copy = path.with_name(f"{path.name}-copy")  # its name begins with that of the damaged one: an error names both
    shutil.copytree(path, copy)
    try:
        array = _opened(copy)
        if not _fits(array, before):
            return False
        new = before[:, 3:12, 2:7, 1:6] + np.array(1, before.dtype)
        write_box(array, mags.engine, (3, 2, 1), new)
        found = read_box(array, mags.engine, (0, 0, 0), SHAPE)
        _check(np.array_equal(found[:, 3:12, 2:7, 1:6], new))
        found[:, 3:12, 2:7, 1:6] = before[:, 3:12, 2:7, 1:6]
        return np.array_equal(found, before)
    finally:
        shutil.rmtree(copy)


def _cover(path: Path, mags: _Mags, before: np.ndarray) -> bool:
    """Writing a shard whole repairs it, whatever is wrong with it."""
    from wkgpu.operations.transfer import read_box, write_box

    array = _opened(path)
    if not _fits(array, before):
        return False
    try:
        write_box(array, mags.engine, (0, 0, 0), before[:, :8])
        _check(np.array_equal(read_box(array, mags.engine, (0, 0, 0), (8, 8, 8)), before[:, :8]))
    except Exception as error:
        raise AssertionError(f"a damaged shard cannot be covered: {error}") from error
    return True


def _opened(path: Path):
    from wkgpu.storage.formats import open_array

    return open_array(path)


def _fits(array, before: np.ndarray) -> bool:
    """Whether header.wkw says what it said when the voxels were written."""
    spec = array.spec
    return (spec.dtype, spec.num_channels, spec.shard_shape) == (before.dtype, len(before), (8, 8, 8))


def _check(is_right: bool) -> None:
    if not is_right:
        raise AssertionError("voxels of an undamaged chunk are wrong")


_USES = (_read, _read_intact_chunks, _read_many, _content_is_equal, _min_max, _write_in_part)


if __name__ == "__main__":
    sys.exit(main(__doc__, run, work, 2000))
