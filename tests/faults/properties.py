"""Random changes of properties files: layers that can be used, or an error or a warning that names the file.

``PYTHONPATH=tests python -m faults.properties --count 5000 --seed 1`` prints how often each outcome came, and the
faults; the exit status is 1 if there were any. The datasets are used in a process of their own, so that a crash is seen
as one.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from .processes import Outcomes, main, print_cases, run_cases

NAME = "datasource-properties.json"
BATCH = 1000


def run(count: int, seed: int) -> Outcomes:
    """Change properties files and use their datasets, and count the outcomes.

    Returns
    -------
    dict
        Counts of "used" (all layers), "left out" (layers, with a warning that names the file), "refused" (a WkgpuError,
        which names the file where that is the cause), and of faults, whose names begin with "FAULT".
    """
    return run_cases("properties", 0, count, seed, BATCH)


# ---- In the other process


def work(first: int, count: int, seed: int) -> None:
    """Run the cases from ``first`` on, and print a line of JSON for each: its outcomes."""
    from wkgpu.settings import config

    config.threads = 1
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        documents = _documents(dataset)

        def case(random: np.random.Generator, number: int) -> Outcomes:
            content = _changed(documents[number % len(documents)], random)
            return Counter(_outcome(dataset, content, use, f"case {number} of seed {seed}") for use in _USES)

        print_cases(case, first, count, seed)


def _documents(folder: Path) -> list[dict[str, Any]]:
    """Make a dataset, and return what its properties file says in the forms of several generations."""
    import wkgpu as wk

    dataset = wk.Dataset(folder, voxel_size=(11.24, 11.24, 25))
    voxels = np.arange(16**3, dtype="uint8").reshape((16,) * 3)
    for name in ("color", "cells"):
        is_color = name == "color"
        layer = dataset.add_layer(
            name,
            "color" if is_color else "segmentation",
            dtype="uint8" if is_color else "uint64",
            largest_segment_id=None if is_color else 2**64 - 1,
        )
        for mag in (1, "2-2-1"):
            mag_view = layer.add_mag(mag, chunk_shape=8, shard_shape=16)
            mag_view.write(voxels.astype(layer.dtype), absolute_offset=(0, 0, 0))
    today = json.loads((folder / NAME).read_text())
    today["dataLayers"][1]["attachments"] = {"meshes": [{"name": "a", "path": "./cells/a.hdf5", "dataFormat": "hdf5"}]}
    today["dataLayers"][0]["defaultViewConfiguration"] = {"color": [255, 0, 0]}
    axes = [{"name": "t", "bounds": [0, 3], "index": 1}]
    order = {"c": 0, "x": 2, "y": 3, "z": 4}
    mags = [{"mag": [1, 1, 1], "path": "./time/1", "axisOrder": order}]
    time = today["dataLayers"][0] | {"name": "time", "dataFormat": "zarr3", "additionalAxes": axes, "mags": mags}
    today["dataLayers"].append(time)
    older = deepcopy(today)
    older["scale"] = [11, 11, 24.5]
    for layer in older["dataLayers"][:2]:
        listed = [{"resolution": mag["mag"], "cubeLength": 16} for mag in layer.pop("mags")]
        layer["wkwResolutions"] = listed
        del layer["numChannels"]
    return [today, older]


# ---- What is changed

_DEEP = "deep {}"
_VALUES = (
    None, True, 0, 1, -1, 3, 1.5, float("nan"), float("inf"), -float("inf"), 1e308, 1 << 31, (1 << 53) + 1, 1 << 63,
    1 << 64, -(1 << 63) - 1, 1 << 200, "", "x", "1", "color", "\ud800", "\udcff", "\0", "\n", ".", "..", "../..", "a/b",
    "/", "s3://bucket/a", "file:///nowhere", "file:", "nm", "uint24", "float", "double", "uint0", "wkw", "zarr3", "n5",
    "segmentation", "2-2-1", "3-3-3", [], {}, [[]], [1, 1, 1], [1, 2], [0, 0, 0], [None] * 3, {"a": 1}, {"": None},
    {"customJsonEncoding": "bigint", "value": "12345678901234567890"}, {"customJsonEncoding": "bigint", "value": "x"},
    {"customJsonEncoding": "bigint"}, {"topLeft": [0, 0, 0], "width": 1, "height": 1, "depth": 1},
    _DEEP.format(40), _DEEP.format(200), _DEEP.format(20_000), "long" * 20_000, "\u00e4\u6f22\U0001f600",
)  # fmt: skip


def _changed(document: dict[str, Any], random: np.random.Generator) -> bytes:
    """Return a properties file with one to three changes, of what it says or of its bytes."""
    document = deepcopy(document)
    for _ in range(random.integers(0, 4)):
        _CHANGES[random.integers(len(_CHANGES))](document, random)
    text = json.dumps(document, indent=random.choice([None, 4]))
    for depth in (40, 200, 20_000):
        text = text.replace(f'"{_DEEP.format(depth)}"', "[" * depth + "]" * depth)
    content = text.encode()
    if random.random() < 0.25:
        content = _DAMAGES[random.integers(len(_DAMAGES))](content, random)
    return content


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each object or list in a document with each key or index."""
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def _place(document: Any, random: np.random.Generator) -> tuple[Any, Any]:
    places = list(_places(document)) or [({"none": None}, "none")]
    return places[random.integers(len(places))]


def _replace(document: Any, random: np.random.Generator) -> None:
    node, key = _place(document, random)
    node[key] = deepcopy(_VALUES[random.integers(len(_VALUES))])


def _remove(document: Any, random: np.random.Generator) -> None:
    node, key = _place(document, random)
    del node[key]


def _copy(document: Any, random: np.random.Generator) -> None:
    (node, key), (source, source_key) = _place(document, random), _place(document, random)
    node[key] = deepcopy(source[source_key])


def _repeat(document: Any, random: np.random.Generator) -> None:
    node, key = _place(document, random)
    if isinstance(node, list):
        node.insert(key, deepcopy(node[key]))
    else:
        node[str(random.choice(["name", "mags", "path", "mag", "scale", "", "x"]))] = deepcopy(node[key])


def _reform(document: Any, random: np.random.Generator) -> None:
    """Write the same in another type."""
    node, key = _place(document, random)
    value = node[key]
    forms: list[Any] = [[value], {"value": value}, str(value)]
    if isinstance(value, int | float):
        forms += [-value, value * 2.0**40, value + 0.5, float(value), {"customJsonEncoding": "bigint", "value": value}]
    if isinstance(value, str):
        forms += [value.upper(), value[:1], value + "\0", list(value), value + "/..", f"file://{value}"]
    node[key] = forms[random.integers(len(forms))]


_CHANGES: tuple[Callable[[Any, np.random.Generator], None], ...] = (
    _replace,
    _replace,
    _remove,
    _copy,
    _repeat,
    _reform,
)


def _flip(content: bytes, random: np.random.Generator) -> bytes:
    flipped = bytearray(content)
    for at in random.integers(0, len(content), random.integers(1, 5)):
        flipped[at] ^= 1 << random.integers(8)
    return bytes(flipped)


def _truncate(content: bytes, random: np.random.Generator) -> bytes:
    return content[: random.integers(0, len(content) + 1)]


def _insert(content: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(0, len(content) + 1))
    pieces = (
        b"\xff\xfe",
        b"\x00",
        b"[" * 100_000,
        b'{"a":' * 3000,
        b"9" * 6000,
        b"1e999",
        b",",
        b'"',
        b"NaN",
        b"\\ud800",
    )
    return content[:at] + pieces[random.integers(len(pieces))] + content[at:]


def _encode(content: bytes, random: np.random.Generator) -> bytes:
    return content.decode().encode(str(random.choice(["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])))


def _cut(content: bytes, random: np.random.Generator) -> bytes:
    begin = int(random.integers(0, len(content) + 1))
    return content[:begin] + content[begin + int(random.integers(1, 50)) :]


_DAMAGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (_flip, _flip, _truncate, _insert, _encode, _cut)


# ---- What is done with a dataset


def _outcome(folder: Path, content: bytes, use: Callable[[Path], None], case: str) -> str:
    from wkgpu.errors import FormatError, WkgpuError

    file = folder / NAME
    file.write_bytes(content)
    name = use.__name__.strip("_")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            use(folder)
        except WkgpuError as error:
            is_named = str(folder) in str(error) or not isinstance(error, FormatError)  # other errors name arguments
            return "refused" if is_named else f"FAULT {name} does not name the file: {error} ({case})"
        except Exception as error:
            return f"FAULT {name} raises {type(error).__name__}: {error} ({case})"
    messages = [str(warning.message) for warning in warned]
    if not all(str(file) in message for message in messages):
        return f"FAULT {name} warns without naming the file: {messages} ({case})"
    return "left out" if messages else "used"


def _look(folder: Path) -> None:
    """Everything that is said about a dataset, and a few voxels of each mag."""
    import wkgpu as wk
    from wkgpu.errors import WkgpuError

    dataset = wk.Dataset.open(folder)
    _ = (
        dataset.name,
        repr(dataset),
        dataset.calculate_bounding_box(),
        dataset.get_color_layers(),
        dataset.get_segmentation_layers(),
    )
    for name, layer in dataset.layers.items():
        _ = repr(layer), layer._repr_html_(), layer.dtype, layer.num_channels, layer.bounding_box, layer.data_format
        if isinstance(layer, wk.SegmentationLayer):
            _ = layer.largest_segment_id
        for mag, mag_view in dataset.get_layer(name).mags.items():
            _ = repr(mag_view), mag_view.path, mag_view.is_remote_to_dataset, mag_view.bounding_box
            try:
                _ = mag_view.info, mag_view.read(absolute_offset=(0, 0, 0), size=mag.to_vec3_int() * 4)
            except WkgpuError:  # a path that leads nowhere, and so on
                mag_view._repr_html_()
    _ = dataset.voxel_size, dataset._repr_html_()  # at last: without a voxel size, all else works


def _info(folder: Path) -> None:
    """The command of the same name."""
    from rich.console import Console

    from wkgpu.cli import info

    info.print_error = lambda _: None
    info.show_info(folder, True, Console(file=io.StringIO()))


def _change(folder: Path) -> None:
    """Changes that are undone: then the file says again all that it did, also what cannot be understood."""
    import wkgpu as wk

    dataset = wk.Dataset.open(folder)
    before = _said(folder)
    try:
        added = dataset.add_layer("added", "segmentation", dtype="uint32", largest_segment_id=5)
        added.add_mag(1, chunk_shape=8, shard_shape=8)
        added.largest_segment_id = 1 << 60
        dataset.delete_layer("added")
        assert _said(folder) == before, "a change has lost what it did not concern"
        for layer in dataset.layers.values():
            layer.bounding_box = layer.bounding_box.with_size(layer.bounding_box.size)
            if layer.data_format == "wkw" and wk.Mag(8) not in layer.mags:
                layer.add_mag(8, chunk_shape=8, shard_shape=8)
                layer.delete_mag(8)
        dataset.name = "renamed"
        wk.Dataset.open(folder)
    finally:
        _tidy(folder)


def _said(folder: Path) -> str:
    return json.dumps(json.loads((folder / NAME).read_bytes()))  # as text, because NaN is not NaN


def _tidy(folder: Path) -> None:
    """Remove what a refused change may have left, so that cases do not depend on each other."""
    import shutil

    for path in folder.iterdir():
        if path.is_dir() and path.name not in ("color", "cells"):
            shutil.rmtree(path)
        for mag in path.glob("8"):
            shutil.rmtree(mag)


_USES = (_look, _info, _change)


if __name__ == "__main__":
    sys.exit(main(__doc__, run, work, 1000))
