"""Errors on the command line speak of options: over all messages that the library has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import wkgpu as wk
from wkgpu.cli.wording import for_the_command_line

PACKAGE = Path(wk.__file__).parent
PYTHON = re.compile(r"\w\(\)|\w\.astype|(?<![-\w])\w+=\S|\b[A-Z]\w+\.[a-z]\w+\b|PosixPath|\b(exist_ok|read_only)\b")
OF_PROGRAMS_ALONE = {  # no command calls these with what a user typed
    *("legacy", "slice_writer", "slice_arguments", "maps", "voxel_map", "histogram", "reductions"),
    *("executors", "regions", "view"),
}


def messages():
    """Yield the messages of errors as they stand in the code, with X for the values."""
    packages = (PACKAGE / name for name in ("dataset", "operations", "storage"))
    for file in sorted(file for package in packages for file in package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error") and node.args:
                text = node.args[0]
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield file.stem, text.value
                elif isinstance(text, ast.JoinedStr):
                    values = (part.value if isinstance(part, ast.Constant) else "X" for part in text.values)
                    yield file.stem, "".join(values)


def test_no_message_speaks_python():
    found = [text for name, text in messages() if name not in OF_PROGRAMS_ALONE]
    assert len(found) > 100
    assert [said for said in map(for_the_command_line, found) if PYTHON.search(said)] == []
    assert all(for_the_command_line(text).strip() for _, text in messages())


def test_a_message_without_python_stays_as_it_is():
    for _, text in messages():
        if not PYTHON.search(text) and not re.search(r"_(mode|mag|shape|path)\b", text):
            assert for_the_command_line(text) == text


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("shard_shape=(4, 4, 4) and chunks_per_shard X", "--shard (4, 4, 4) and chunks_per_shard X"),
        ("/a/b exists; use Dataset.open(), or exist_ok=True.", "/a/b exists; choose another folder."),
        (
            "Dataset(PosixPath('/a b')) was opened with read_only=True; open it without to change it.",
            "/a b can only be read; it has to be writable to change it.",
        ),
        ("BoundingBox(topleft=(1, 2, 3), size=(4, 5, 6)) is odd.", "1,2,3,4,5,6 is odd."),
        (
            "MagView(name='1', bounding_box=NDBoundingBox(topleft=(1, 2), size=(3, 4), axes={'c': 0, 'x': 1})) is odd.",
            "mag 1 is odd.",
        ),
        (
            "WKW cannot store compress='zstd'; use True (lz4), 'lz4', 'lz4hc', or False (raw).",
            "WKW cannot store --codec 'zstd'; use 'lz4', 'lz4hc'.",
        ),
        ("/data/shard_shape=3/f() is missing.", "/data/shard_shape=3/f() is missing."),
        ("Layer 'target_path' is odd.", "Layer 'target_path' is odd."),
    ],
)
def test_what_becomes_of_a_message(message, said):
    assert for_the_command_line(message) == said


def test_commands_name_their_options(refused, dataset, tmp_path):
    small = wk.Dataset(tmp_path / "small", voxel_size=(1, 1, 1))
    small.add_layer("color", "color").add_mag(1, chunk_shape=8, shard_shape=8).write(np.ones((8, 8, 8), "uint8"))
    said = [
        refused("rechunk", dataset, "--chunk", 64, "--shard", 32, "--target", tmp_path / "out", exit_code=2),
        refused("downsample", small.path, "color", "--from", 2, "--to", 1),
        refused("compress", small.path, "--target", small.path),
    ]
    assert "--shard (32, 32, 32) must be a multiple of --chunk (64, 64, 64)" in said[0]
    assert not [text for text in said if PYTHON.search(text)]
