"""What installs the packages that wkgpu can do without: commands that pip accepts, of what pyproject.toml says."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from wkgpu.extras import install_command, own_version

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", ["cuda12", "cuda13", "dask", "image", "torch", "torch-cuda12"])
def test_the_command_names_the_packages_of_the_extra(extra):
    assert sorted(re.findall(r"'(.*?)'", install_command(extra))) == sorted(EXTRAS[extra])


def test_a_source_tree_that_is_not_installed(monkeypatch):
    def not_found(name):
        raise metadata.PackageNotFoundError(name)

    for function in ("requires", "version"):
        monkeypatch.setattr(metadata, function, not_found)
    assert install_command("cuda13") == "pip install '.[cuda13]' in the clone of wkgpu"
    assert own_version() == "(not installed)"


def test_no_text_says_that_an_index_has_wkgpu():
    """There is no such package: pip finds nothing, or a stranger's."""
    texts = [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "wkgpu").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]
    wrong = re.compile(r"""(install|add) ["']?wkgpu\b|["']wkgpu\[""")
    assert [path.name for path in texts if wrong.search(path.read_text(encoding="utf-8"))] == []
