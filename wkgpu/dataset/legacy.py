"""Arguments of earlier generations of the WEBKNOSSOS library, and their current names.

All of them are in the tables below and nowhere else. `accepts_legacy` finds by a function's own parameters which of
them concern it: an old name works if the function takes the new one. Each use warns with a `DeprecationWarning` that
names the current argument. Only where current scripts have two names for an argument, both are parameters, without
a warning.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Set
from typing import Any, NamedTuple, ParamSpec, TypeAlias, TypeVar

from wkgpu.dataset.metadata.element_class import dtype_of
from wkgpu.errors import ArgumentError

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
Keywords: TypeAlias = dict[str, Any]


def _dtype_per_channel(dtype_per_layer: Any, keywords: Keywords) -> Any:
    """Divide the type of a whole voxel by its channels: three channels of "uint24" are uint8."""
    name = dtype_per_layer if isinstance(dtype_per_layer, str) else getattr(dtype_per_layer, "__name__", None)
    return dtype_of(name or str(dtype_per_layer), keywords.get("num_channels") or 1)


def _compression(block_type: Any, keywords: Keywords) -> Any:
    """Translate the number by which scripts for older versions name a codec."""
    return {1: False, 2: True, 3: "lz4hc"}.get(block_type, block_type)


class Renamed(NamedTuple):
    """The argument that replaced an older one, and how to convert the old value."""

    name: str
    convert: Callable[[Any, Keywords], Any] | None = None


RENAMED: dict[str, Renamed] = {
    "block_len": Renamed("chunk_shape"),  # voxels along an edge
    "block_type": Renamed("compress", _compression),
    "buffer_edge_len": Renamed("buffer_shape"),  # voxels along an edge
    "chunk_size": Renamed("chunk_shape"),
    "dtype_per_layer": Renamed("dtype", _dtype_per_channel),
    "file_len": Renamed("chunks_per_shard"),  # chunks along an edge
    "max_mag": Renamed("coarsest_mag"),
    "name": Renamed("layer_name"),
    "scale": Renamed("voxel_size"),
    "source_chunk_size": Renamed("source_chunk_shape"),
    "target_chunk_size": Renamed("target_chunk_shape"),
    "work_on_chunk": Renamed("func_per_chunk"),
}
"""Old name of an argument: its current one."""

SYNONYMS: dict[str, str] = {
    "dtype_per_channel": "dtype",
    "json_update_allowed": "allow_resize",
    "path": "dataset_path",
}
"""Second name of an argument: its first. Where a function has both as parameters, its body sees the first one alone."""

DEPRECATED: dict[str, str] = {
    "chunks_per_shard": "use shard_shape, in voxels",
    "offset": "use relative_offset or absolute_offset, in Mag(1), and give size in Mag(1) as well",
}
"""Arguments that still exist, and what to use instead."""

IGNORED: dict[str, str | None] = {
    "allow_unaligned": None,  # every region can be written here, by several processes at once
    "args": "pass an executor",
}
"""Arguments that are accepted and ignored, and what to do instead, if there is anything to do."""


def accepts_legacy(
    *positional: str, current: tuple[str, ...] = ()
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Let a function take the arguments of earlier generations.

    Parameters
    ----------
    *positional
        What earlier generations called the positional arguments beyond the function's own.
    current
        What the current library calls them where that differs. This counts where it names all of them and repeats none
        that is given by name.

    Examples
    --------
    >>> @accepts_legacy("chunk_shape")
    ... def add(mag, *, chunk_shape=32):
    ...     return mag, chunk_shape
    >>> with warnings.catch_warnings(action="ignore"):
    ...     add(1, block_len=16), add(1, 16)
    ((1, 16), (1, 16))
    """

    def decorate(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        parameters = inspect.signature(function).parameters
        own = sum(parameter.kind is not parameter.KEYWORD_ONLY for parameter in parameters.values())
        renamed = {old for old, new in RENAMED.items() if new.name in parameters and old not in parameters}
        synonyms = {second for second, first in SYNONYMS.items() if {second, first} <= parameters.keys()}
        ignored = IGNORED.keys() - parameters.keys()
        legacy = renamed | synonyms | ignored | (DEPRECATED.keys() & parameters.keys())

        @functools.wraps(function)
        def accepting(*args: Any, **keywords: Any) -> _Result:
            if len(args) > own or not legacy.isdisjoint(keywords):
                keywords = _named(function.__qualname__, args[own:], keywords, current, positional)
                keywords = _translated(function.__qualname__, keywords, legacy)
            return function(*args[:own], **keywords)

        return accepting

    return decorate


def warn_deprecated(message: str) -> None:
    """Warn of the caller's use of something old, at the line outside of wkgpu that made it."""
    warn_caller(message, DeprecationWarning)


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of wkgpu that has called it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("wkgpu."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _named(
    function: str, values: tuple[Any, ...], keywords: Keywords, current: tuple[str, ...], earlier: tuple[str, ...]
) -> Keywords:
    """Give names to the positional arguments that the function itself does not take."""
    if not values:
        return keywords
    for generation in (current, earlier):
        names = generation[: len(values)]
        if len(names) == len(values) and keywords.keys().isdisjoint(names):
            if generation is earlier and DEPRECATED.keys().isdisjoint(names):
                warn_deprecated(f"{function}(): pass {', '.join(names)} by name.")
            return {name: value for name, value in zip(names, values, strict=True) if value is not None} | keywords
    raise ArgumentError(f"{function}() got {len(values)} positional argument(s) too many; pass arguments by name.")


def _translated(function: str, keywords: Keywords, legacy: Set[str]) -> Keywords:
    """Return named arguments under their current names."""
    translated: Keywords = {}
    for name, value in keywords.items():
        current = name
        if name in legacy and name in SYNONYMS:
            if value is None:  # its default
                continue
            current = SYNONYMS[name]
        elif name in legacy and name in RENAMED:
            current, convert = RENAMED[name]
            warn_deprecated(f"{function}(): {name} is deprecated; use {current}.")
            value = convert(value, keywords) if convert else value
        elif name in legacy and name in DEPRECATED:
            if value is not None:  # their default
                warn_deprecated(f"{function}(): {name} is deprecated; {DEPRECATED[name]}.")
        elif name in legacy:
            if instead := IGNORED[name]:
                warn_deprecated(f"{function}(): {name} is deprecated and changes nothing; {instead}.")
            continue
        if current in translated or (current != name and current in keywords):
            raise ArgumentError(f"{function}() got {name} and another argument for {current}; give {current} alone.")
        translated[current] = value
    return translated
