"""WHICH MACHINE: engines execute read and write plans; see `engine.Engine` for what one must promise."""

from wkgpu.engines.engine import Engine
from wkgpu.engines.selection import get_engine

__all__ = ["Engine", "get_engine"]
