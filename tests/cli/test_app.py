"""The command itself: help, errors, and how quickly it answers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from wkgpu.cli.app import OUTPUT_TYPES
from wkgpu.cli.export import WRITERS

MAIN = "from wkgpu.cli.app import main; main()"


def test_help_names_the_commands(command):
    result = command("--help")
    assert result.exit_code == 0
    for name in ("info", "read", "compress", "rechunk", "downsample", "merge", "equal", "demo", "doctor"):
        assert name in result.output


def test_version(command):
    from importlib.metadata import version

    assert command("--version").output == f"wkgpu {version('wkgpu')}\n"


def test_help_imports_no_numpy_and_info_no_numba(run_python, dataset):
    script = """
import sys
from typer.testing import CliRunner
from wkgpu.cli.app import app
slow = ("numpy", "numba", "PIL", "tifffile")
for command in ("read", "compress", "equal"):
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
print([name for name in slow if name in sys.modules])
assert CliRunner().invoke(app, ["info", sys.argv[1]]).exit_code == 0
print([name for name in slow if name in sys.modules])
"""
    assert run_python(script, dataset).splitlines() == ["[]", "['numpy']"]


def test_output_types_are_those_with_a_writer():
    assert set(OUTPUT_TYPES) == set(WRITERS)


def test_errors_are_one_line_on_stderr(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "info", str(tmp_path / ("long-" * 40))], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"Error: {tmp_path / ('long-' * 40)} does not exist.\n"


def test_a_traceback_if_it_is_wanted(command, monkeypatch, tmp_path):
    monkeypatch.setenv("WKGPU_TRACEBACK", "1")
    result = command("info", tmp_path / "missing")
    assert result.exit_code == 1
    assert isinstance(result.exception, FileNotFoundError)


def test_a_bad_setting_is_an_error_too(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "info", str(tmp_path)],
        env={**os.environ, "WKGPU_THREADS": "many"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The environment variable WKGPU_THREADS is 'many'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_every_terminal_can_show_it(dataset, encoding):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "info", str(dataset)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 0
    assert ("16³" if encoding == "utf-8" else "16?") in done.stdout.decode(encoding)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("wkgpu downs", "downsample"),
        ("wkgpu compress cortex --cod", "--codec"),
        ("wkgpu downsample x --mode med", "median"),
    ],
)
def test_tab_completes(words, completed):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'wkgpu'; {MAIN}"],
        env={
            **os.environ,
            "_WKGPU_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [completed]
    assert done.stderr == ""


def test_tables_fit_80_columns_and_are_folded_in_fewer(dataset, tmp_path):
    """In a pipe a row is a line; a terminal of 80 columns folds no usual names, and a narrow one cuts nothing."""
    target = tmp_path / "copy"
    commands = (
        ["info", str(dataset)],
        ["rechunk", str(dataset), "--chunk", "8", "--shard", "64", "--target", str(target)],
    )
    for command in commands:
        printed = subprocess.run([sys.executable, "-c", MAIN, *command], capture_output=True, text=True).stdout
        assert max(map(len, printed.splitlines())) <= 80, printed
    for columns in (80, 40):
        script = f"""
import sys, re
from rich.console import Console
sys.stdout.isatty = lambda: True
from wkgpu.cli.info import show_info
from pathlib import Path
show_info(Path(sys.argv[1]), False, Console(width={columns}, force_terminal=True, color_system=None))
"""
        printed = subprocess.run([sys.executable, "-c", script, str(dataset)], capture_output=True, text=True).stdout
        assert max(map(len, printed.splitlines())) <= columns
        assert "…" not in printed
        assert (columns == 40) or "cells   1" in printed
