"""How to install what wkgpu can do without: the packages of its extras, by the names that an index has for them.

wkgpu itself is installed from a clone and is on no index, so that an extra of it cannot be named to pip elsewhere. The
requirements of the installed metadata are those of ``pyproject.toml``, and pip takes them as they are.
"""

from __future__ import annotations

import re
from importlib import metadata

_OF_AN_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


def install_command(extra: str) -> str:
    """Return the command that installs what an extra of wkgpu names; it works in any folder.

    Examples
    --------
    >>> install_command("image").startswith("pip install 'pillow")
    True
    """
    requirements = _requirements(extra)
    if not requirements:  # a source tree that is not installed, or metadata that is older than the extra
        return f"pip install '.[{extra}]' in the clone of wkgpu"
    return f"pip install {' '.join(map(repr, requirements))}"


def _requirements(extra: str) -> list[str]:
    try:
        declared = metadata.requires("wkgpu") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in declared:
        requirement, _, marker = line.partition(";")
        if extra in _OF_AN_EXTRA.findall(marker):
            found.append(requirement.strip().replace(" ", ""))
    return found


def own_version() -> str:
    """Return the version of wkgpu, and what it says where wkgpu runs from a source tree that is not installed."""
    try:
        return metadata.version("wkgpu")
    except metadata.PackageNotFoundError:
        return "(not installed)"
