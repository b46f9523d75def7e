"""What is shown while kernels are compiled: on a terminal which ones, and to a script nothing."""

from __future__ import annotations

import pytest
from numba import njit

from wkgpu.cli import compiling
from wkgpu.cli.compiling import shows_compiling
from wkgpu.kernels import compilation  # passes on what Numba compiles
from wkgpu.kernels.compile_listeners import listeners


def compile_something():
    @njit
    def inner(value):
        return value + 1

    @njit
    def outer(value):
        return inner(value)

    assert outer(1) == 2
    assert outer(2) == 3


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(compiling, "_is_seen", lambda: True)


def test_listeners_hear_of_each_kernel_once():
    heard = []

    def broken(name, begins):
        raise ValueError(name)

    own = [broken, lambda *what: heard.append(what)]
    listeners.extend(own)
    try:
        compile_something()
    finally:
        for listener in own:
            listeners.remove(listener)
    assert heard == [("outer", True), ("outer", False)]
    assert compilation.announce


def test_a_terminal_sees_a_line_for_each(capsys, terminal):
    with shows_compiling():
        compile_something()
    assert capsys.readouterr().err == "Compiling for this machine, once: outer ...\n"


def test_a_bar_inside_stands_for_the_lines(capsys, terminal):
    with shows_compiling(), shows_compiling(1):
        compile_something()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "outer ..." not in captured.err
    assert not listeners


def test_a_script_sees_nothing(capsys):
    with shows_compiling(), shows_compiling(3):
        compile_something()
    assert capsys.readouterr() == ("", "")
