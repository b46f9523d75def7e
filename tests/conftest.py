"""What the tests of all rooms share: settings that are put back, fresh mags."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import strategies  # noqa: F401  it loads the profile of hypothesis, for all tests


@pytest.fixture
def config(monkeypatch):
    """The settings in force; what a test sets is put back."""
    from wkgpu.settings import config

    for name, value in vars(config).copy().items():
        monkeypatch.setattr(config, name, value)
    return config


@pytest.fixture
def make_array(tmp_path):
    """Makes an empty mag with a layout, in a folder of its own."""
    from wkgpu.storage.stored_array import create_array

    numbers = itertools.count()
    return lambda layout: create_array(tmp_path / f"mag-{next(numbers)}", layout)


@pytest.fixture(scope="session")
def cpu():
    """The CPU engine."""
    from wkgpu.engines import get_engine

    return get_engine("cpu")


@pytest.fixture
def naive():
    """The engine of plain Python loops."""
    from reference import NaiveEngine

    return NaiveEngine()


@pytest.fixture
def run_python(tmp_path):
    """Runs a script in a process of its own and returns what it prints; fails if it fails."""

    def run(script, *arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def random():
    return np.random.default_rng(0)
