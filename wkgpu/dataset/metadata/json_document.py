"""JSON objects as bytes, with a limit of their depth, so that no recursion over one fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from wkgpu.errors import PropertiesError

Document: TypeAlias = dict[str, Any]

MAX_DEPTH = 128  # of lists and objects in each other; the properties that WEBKNOSSOS writes have fewer than 16


def parse_document(data: bytes, file: Path) -> Document:
    """Read a JSON object.

    Raises
    ------
    PropertiesError
        If the bytes are none, or one that is too deep; `file` is named.

    Examples
    --------
    >>> parse_document(b'{"version": 1}', Path("datasource-properties.json"))
    {'version': 1}
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise PropertiesError(f"{file} is not JSON: {error}. Restore it from a backup.") from error
    except RecursionError:
        raise _too_deep(file) from None
    if not isinstance(document, dict):
        raise PropertiesError(f"{file} must hold a JSON object, not {type(document).__name__}.")
    _check_depth(document, file)
    return document


def document_to_bytes(document: Document) -> bytes:
    """Return a JSON object as it is written to a file.

    Half a surrogate pair, which UTF-8 does not have, stays the escape that it was in the file.
    """
    return json.dumps(document, indent=4, ensure_ascii=False).encode(errors="backslashreplace")


def strings_in(value: Any) -> Iterator[str]:
    """Yield all strings of a JSON value that are no keys."""
    if isinstance(value, str):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings_in(child)


def objects_with_path(value: Any) -> Iterator[Document]:
    """Yield all objects of a JSON value that have a string as their ``path``."""
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects_with_path(child)


def _check_depth(document: Document, file: Path) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep(file)


def _too_deep(file: Path) -> PropertiesError:
    return PropertiesError(
        f"{file} has more than {MAX_DEPTH} lists and objects in each other; restore it from a backup."
    )
