"""What the commands say: tables and lines on stdout, errors as one line on stderr, numbers for people."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec

import typer
from rich import box
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from wkgpu import WkgpuError
from wkgpu.cli.compiling import shows_compiling
from wkgpu.cli.wording import for_the_command_line
from wkgpu.errors import ArgumentError, ShapeError

_Parameters = ParamSpec("_Parameters")
_ENDLESS = 1 << 16  # columns of what is no terminal: files and pipes have no edge at which a row would be folded


def output() -> Console:
    """Return the console of stdout: with colours in a terminal, plain and without folded lines elsewhere."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _ENDLESS)


def reports_errors(command: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Let a command print what goes wrong as one line on stderr, and exit with 1, or with 2 for wrong arguments.

    With the environment variable ``WKGPU_TRACEBACK=1`` errors pass, so that Python shows where they come from.
    """
    return _reporting(command, 1)


def exits_2_on_error(command: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Do the same as `reports_errors`, but exit with 2 in any case: 1 means a difference, as that of cmp and diff."""
    return _reporting(command, 2)


def _reporting(command: Callable[_Parameters, None], exit_code: int) -> Callable[_Parameters, None]:
    @wraps(command)
    def reporting(*args: _Parameters.args, **keywords: _Parameters.kwargs) -> None:
        try:
            with warnings.catch_warnings(), shows_compiling():
                warnings.showwarning = _show_warning
                command(*args, **keywords)
        except (WkgpuError, OSError, MemoryError) as error:
            if os.environ.get("WKGPU_TRACEBACK", "0") not in ("", "0"):
                raise
            print_error(_message(error))
            raise typer.Exit(2 if isinstance(error, ArgumentError | ShapeError) else exit_code) from error

    return reporting


def _show_warning(message: Warning | str, *_args: object, **_keywords: object) -> None:
    """Print a warning without the line of Python that gives it."""
    print_warning(str(message))


def print_warning(message: str) -> None:
    """Print a line in yellow on stderr, whatever its length."""
    console = Console(stderr=True, highlight=False)
    console.print(f"[bold]Warning:[/] {escape(message)}", style="yellow", soft_wrap=True)


def print_error(message: str) -> None:
    """Print a line in red on stderr, whatever its length: a terminal folds it, and `grep` finds all of it."""
    Console(stderr=True, highlight=False).print(f"[bold]Error:[/] {escape(message)}", style="red", soft_wrap=True)


def new_table(*columns: str, numbers: Iterable[str] = ()) -> Table:
    """Return an empty table; the columns of `numbers` are aligned to the right.

    Columns are few and narrow, so that tables of usual names fit 80 columns. A terminal that is too narrow nevertheless
    folds cells and cuts none; elsewhere a row is a line.
    """
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, header_style="bold", pad_edge=False)
    numeric = frozenset(numbers)
    is_line = not sys.stdout.isatty()
    for column in columns:
        side: JustifyMethod = "right" if column in numeric else "left"
        table.add_column(column, justify=side, overflow="fold", no_wrap=is_line)
    return table


def format_bytes(nbytes: int) -> str:
    """Return a number of bytes with its decimal unit.

    Examples
    --------
    >>> format_bytes(56_623_104)
    '56.6 MB'
    """
    value = float(nbytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.95:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} PB"


def format_ratio(ratio: float | None) -> str:
    """Return a ratio with two digits that matter.

    Examples
    --------
    >>> format_ratio(1.004), format_ratio(21.3), format_ratio(None)
    ('1.00x', '21x', '-')
    """
    if ratio is None:
        return "-"
    return f"{ratio:.2f}x" if ratio < 9.995 else f"{ratio:.0f}x"


def format_shape(shape: Iterable[int]) -> str:
    """Return a shape in voxels.

    Examples
    --------
    >>> format_shape((32, 32, 32)), format_shape((384, 320, 32))
    ('32³', '384 x 320 x 32')
    """
    lengths = [int(length) for length in shape]
    if len(lengths) == 3 and len(set(lengths)) == 1:
        return f"{lengths[0]}³"
    return " x ".join(map(str, lengths))


def _message(error: BaseException) -> str:
    if isinstance(error, MemoryError) and not isinstance(error, WkgpuError):
        return f"not enough memory for this box ({error}); choose a smaller one." if str(error) else "out of memory."
    message = for_the_command_line(str(error))
    if isinstance(error, OSError) and error.strerror:  # without Python's "[Errno 13]"
        message = f"{error.filename}: {error.strerror}." if error.filename else error.strerror
    return " ".join(message.split())
