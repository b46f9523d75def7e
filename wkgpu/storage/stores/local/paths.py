"""Paths of local files, from all that a caller or a properties file may give: URLs are refused by name."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from wkgpu.errors import ArgumentError, UnsupportedError
from wkgpu.storage.stores.local.os_errors import wrap_os_errors

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+", re.ASCII)  # a Path has made one slash of two
_LOCAL = ("", "file", "local")  # what UPath calls the protocol of a local file


def local_path(path: Any) -> Path:
    """Return the absolute path of a local file or folder.

    Parameters
    ----------
    path : str, os.PathLike, or UPath
        A path, or a URL that begins with ``file://``.

    Raises
    ------
    UnsupportedError
        For what is not local, such as ``s3://`` and ``https://``.
    ArgumentError
        For what is no path.
    StorageAccessError
        For a path that the operating system refuses, such as one that is too long.

    Examples
    --------
    >>> local_path("file:///data/my%20cortex")
    PosixPath('/data/my cortex')
    """
    text = _text_of(path)
    refuse_remote(text)
    found = _without_scheme(text).absolute()
    with wrap_os_errors(f"Cannot open {found}"), suppress(FileNotFoundError, NotADirectoryError):
        found.stat()  # a name that is too long, a link to itself, no permission
    return found


def listed_path(dataset: Path, text: str) -> Path:
    """Return where a path of a properties file leads: relative to the dataset, absolute, or ``file://``.

    What is remote stays as it is: see `is_remote`.

    Examples
    --------
    >>> listed_path(Path("/data/cortex"), "./color/1"), listed_path(Path("/data/cortex"), "s3://bucket/color/1")
    (PosixPath('/data/cortex/color/1'), PosixPath('s3:/bucket/color/1'))
    """
    return Path(text) if is_remote(text) else dataset / _without_scheme(text)


def entry_path(dataset: Path, folder: Path, path: str) -> str:
    """Return how the properties file of a dataset names a file: relative to the dataset if it lies in it.

    Parameters
    ----------
    dataset : Path
        Folder of the dataset.
    folder : Path
        What a relative `path` counts from.
    path : str
        A path or a URL; a URL of what is not a local file stays as it is.

    Examples
    --------
    >>> entry_path(Path("/data/cortex"), Path("/data/cortex"), "color/1")
    './color/1'
    >>> entry_path(Path("/data/cortex"), Path("/data/other"), "./color/1")
    '/data/other/color/1'
    """
    if is_remote(path):
        return url_of(path)
    found = folder / _without_scheme(path)
    real = Path(os.path.realpath(found))
    if ".." in found.parts:
        found = real
    for place, root in ((found, dataset), (real, Path(os.path.realpath(dataset)))):
        if place.is_relative_to(root) and place != root:
            return f"./{place.relative_to(root).as_posix()}"
    return str(found)


def path_below(path: Path, folder: Path) -> Path | None:
    """Return a path relative to a folder that it is in, also if it leads there through links; None for other paths.

    What is below the folder is taken as it is written.

    Examples
    --------
    >>> path_below(Path("/data/cortex/color/1"), Path("/data/cortex"))
    PosixPath('color/1')
    """
    if path.is_relative_to(folder):
        return path.relative_to(folder)
    for parent in path.parents if path.is_absolute() else ():
        with suppress(OSError):
            if parent.samefile(folder):
                return path.relative_to(parent)
    return None


def is_remote(path: Path | str) -> bool:
    """Tell whether a path is a URL of what is not a local file.

    Examples
    --------
    >>> is_remote("s3://bucket/cortex"), is_remote(Path("s3://bucket/cortex")), is_remote("file:///data")
    (True, True, False)
    """
    found = _URL.match(str(path))
    return found is not None and found[1].lower() != "file"


def refuse_remote(path: Path | str) -> None:
    """Raise an `UnsupportedError` for a URL of what is not a local file."""
    if is_remote(path):
        url = url_of(path)
        raise UnsupportedError(
            f"{url} is not a local path: {url.partition('/')[0]}// is not supported, only local files are. Copy it to "
            "a local disk, or mount it."
        )


def url_of(path: Path | str) -> str:
    """Return a URL as it was before a `Path` was made of it.

    Examples
    --------
    >>> url_of(Path("s3://bucket/cortex"))
    's3://bucket/cortex'
    """
    return _URL.sub(r"\1://", str(path), count=1)


def has_scheme(path: Path | str) -> bool:
    """Tell whether a path is a URL, local or not."""
    return _URL.match(str(path)) is not None


def _text_of(path: Any) -> str:
    protocol = getattr(path, "protocol", None)  # of a UPath
    if isinstance(protocol, str) and isinstance(plain := getattr(path, "path", None), str):
        return plain if protocol in _LOCAL else str(path)
    try:
        text = os.fspath(path)
    except TypeError:
        raise ArgumentError(f"{path!r} is no path; give a string or a pathlib.Path.") from None
    try:
        if not isinstance(text, str) or b"\0" in os.fsencode(text):
            raise ArgumentError(f"{text!r} is no path; give a string without null characters, or a pathlib.Path.")
    except UnicodeError:
        raise ArgumentError(f"{text!r} is no path; it has characters that no file name has.") from None
    return text


def _without_scheme(text: str) -> Path:
    """Return the path that a text or a ``file://`` URL names; not all writers of such URLs quote what is in them."""
    found = _URL.match(text)
    if found is None:
        return Path(text)
    literal = "/" + text[found.end() :].removeprefix("localhost/")
    plain = Path(unquote(literal))
    return Path(literal) if "%" in literal and Path(literal).exists() and not plain.exists() else plain
