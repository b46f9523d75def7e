"""The text of the kernels in CUDA C, as NVRTC takes it, which knows no files."""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable

_INCLUDE = re.compile(r'^#include "(\w+\.cu)"$', re.MULTILINE)


def whole_text(folder: Traversable, name: str) -> str:
    """Return the text of a file, with that of the files it includes in place of their lines, each once."""
    known: set[str] = set()

    def text(name: str) -> str:
        if name in known:
            return ""
        known.add(name)
        own = (folder / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return _INCLUDE.sub(lambda match: text(match[1]), own)

    return text(name)
