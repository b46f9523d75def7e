"""What a terminal shows while kernels are compiled, which takes seconds, once on a machine; scripts see nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wkgpu.kernels.compile_listeners import listeners

_ABOUT = "Compiling for this machine, once"


@contextmanager
def shows_compiling(kernels: int | None = None) -> Iterator[None]:
    """Show on stderr, if that is a terminal, which kernel is being compiled and for how long.

    Parameters
    ----------
    kernels : int, optional
        How many there are at most, for a bar. Without it, a line stands for each, which fits between other displays.
    """
    if not _is_seen():
        yield
        return
    with _lines() if kernels is None else _bar(kernels):
        yield


def _is_seen() -> bool:
    return sys.stderr.isatty()


@contextmanager
def _listening(listener: Callable[[str, bool], None]) -> Iterator[None]:
    listeners.append(listener)
    try:
        yield
    finally:
        listeners.remove(listener)


@contextmanager
def _lines() -> Iterator[None]:
    def tell(name: str, begins: bool) -> None:
        if begins and listeners[-1] is tell:  # and no display inside of this one shows it
            sys.stderr.write(f"{_ABOUT}: {name} ...\n")  # a progress bar of rich lets it pass, above itself
            sys.stderr.flush()

    with _listening(tell):
        yield


@contextmanager
def _bar(kernels: int) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
    )  # slow to import

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    tasks: list[TaskID] = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def tell(name: str, begins: bool) -> None:
            if not tasks:  # nothing is shown before there is something to compile
                tasks.append(progress.add_task(_ABOUT, total=kernels))
            progress.update(tasks[0], description=f"{_ABOUT}: {name}", advance=0 if begins else 1)

        with _listening(tell):
            yield
