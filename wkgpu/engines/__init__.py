"""WHICH MACHINE: engines execute read and write plans; see `engine.Engine` for what one must promise."""

from wkgpu.engines.cuda.caller_stream import in_streams
from wkgpu.engines.device_selection import get_engine, side_streams
from wkgpu.engines.engine import Engine

__all__ = ["Engine", "get_engine", "in_streams", "side_streams"]
