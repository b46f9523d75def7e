"""The registry of formats: which class reads and writes the mags of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from wkgpu.errors import AlreadyExistsError, FormatError, NotFoundError, UnsupportedError
from wkgpu.forking import loading
from wkgpu.geometry.voxel_box import Triple
from wkgpu.storage.codecs import Compression, Pipeline
from wkgpu.storage.spec import ArraySpec
from wkgpu.storage.stored_array import StoredArray
from wkgpu.storage.stores.local.local_store import LocalStore
from wkgpu.storage.stores.local.os_errors import wrap_os_errors
from wkgpu.storage.stores.local.paths import refuse_remote
from wkgpu.storage.stores.store import Location

DEFAULT_FORMAT = "wkw"
_NOT_READ = {".zarray": "Zarr 2", ".zgroup": "Zarr 2", "attributes.json": "N5"}


@dataclass(frozen=True)
class Format:
    """A format of mags.

    Parameters
    ----------
    name : str
        As ``dataFormat`` of the properties file names it.
    title : str
        As messages name it.
    marker : str
        The file in a mag's folder that tells its format.
    load : callable
        Returns the class; it is called once, when it is first needed.
    lists_shard_edge : bool
        Whether the properties file lists the edge of shards, as ``cubeLength``.
    has_other_markers : bool
        Whether folders that are no mags have a file of this name, too, so that its content has to be asked.
    has_groups : bool
        Whether the folders of datasets and layers have files of their own that say what is in them.
    has_ends : bool
        Whether arrays end somewhere, so that voxels beyond have to make them larger.
    has_own_axes : bool
        Whether arrays may have other axes than channel, x, y and z, and these in another order; the properties file
        then says which.
    """

    name: str
    title: str
    marker: str
    load: Callable[[], type[StoredArray]]
    lists_shard_edge: bool = False
    has_other_markers: bool = False
    has_groups: bool = False
    has_ends: bool = False
    has_own_axes: bool = False

    def is_format_of(self, folder: Path) -> bool:
        """Whether a folder is that of a mag of this format. What is damaged there, is said when it is read."""
        marker = folder / self.marker
        return os.path.lexists(marker) and not (self.has_other_markers and self.load().is_other_marker(marker))


def _class_in(module: str, name: str) -> type[StoredArray]:
    with loading:
        found: type[StoredArray] = getattr(import_module(module), name)
    return found


_FORMATS = {
    "wkw": Format("wkw", "WKW", "header.wkw", partial(_class_in, "wkgpu.storage.wkw.array", "WkwArray"), True),
    "zarr3": Format(
        "zarr3", "Zarr 3", "zarr.json", partial(_class_in, "wkgpu.storage.zarr3.array", "Zarr3Array"),
        has_other_markers=True, has_groups=True, has_ends=True, has_own_axes=True,
    ),
}  # fmt: skip


def register(found: Format) -> None:
    """Add a format, or replace the one of this name."""
    _FORMATS[found.name] = found


def unregister(name: str) -> None:
    """Remove a format."""
    del _FORMATS[name]


def titles() -> str:
    """Return the formats that are read, for messages.

    Examples
    --------
    >>> titles()
    'WKW, Zarr 3'
    """
    return ", ".join(found.title for found in _FORMATS.values())


def markers() -> str:
    """Return the files that tell a mag, for messages.

    Examples
    --------
    >>> markers()
    'header.wkw or zarr.json'
    """
    return " or ".join(found.marker for found in _FORMATS.values())


def is_supported(name: str) -> bool:
    """Whether mags of a format are read and written."""
    return name in _FORMATS


def known_format(name: str) -> Format | None:
    """Return a format, None if mags of it are not read."""
    return _FORMATS.get(name)


def format_named(name: str) -> Format:
    """Return a format.

    Raises
    ------
    UnsupportedError
        If wkgpu does not write it.
    """
    found = _FORMATS.get(name)
    if found is None:
        known = " or ".join(map(repr, _FORMATS))
        raise UnsupportedError(f"data_format {name!r} cannot be written; use {known}.")
    return found


def format_of(path: Path) -> Format | None:
    """Return the format of the mag in a folder, None if there is no mag."""
    for found in _FORMATS.values():
        if found.is_format_of(path):
            return found
    return None


def _marked(path: Path) -> Format | None:
    return next((found for found in _FORMATS.values() if os.path.lexists(path / found.marker)), None)


def is_mag_file(path: str) -> bool:
    """Whether a path relative to a mag's folder is that of a file that a mag of some format has.

    Examples
    --------
    >>> is_mag_file("header.wkw"), is_mag_file("z0/y0/x0.wkw"), is_mag_file("notes.txt")
    (True, True, False)
    """
    return any(path == found.marker or found.load().is_shard(path) for found in _FORMATS.values())


def open_array(place: Path | Location, *, follows_links: bool = False) -> StoredArray:
    """Open the mag in a folder, whatever its format.

    Parameters
    ----------
    place : Path or Location
        The folder, of the file system or of any store.
    follows_links : bool
        Whether shards of a path are written that are links, or lie in linked folders.

    Raises
    ------
    NotFoundError
        Where the folder or its header does not exist.
    StorageAccessError
        Where they cannot be read.
    FormatError
        Where the header is bad.
    UnsupportedError
        Where the path is a URL, or the mag has a format that is not read.
    """
    if isinstance(place, Location):
        stored = (found for found in _FORMATS.values() if place.store.exists((place / found.marker).key))
        found, location = next(stored, None), place
    else:
        refuse_remote(place)
        location = _in_its_store(place, follows_links)
        with wrap_os_errors(f"Cannot open {place}"):
            found = format_of(place) or _marked(place)  # what is marked and is no mag, its format explains
            if found is None:
                _check_folder(place)
    if found is None:
        raise NotFoundError(f"{place} has no {markers()}; it is not the folder of a mag that wkgpu can read.")
    return found.load().open(location)


def refuse_unread(path: Path) -> None:
    """Raise an `UnsupportedError` for the folder of an array or a group of a format that is not read."""
    for name, title in _NOT_READ.items():
        if (path / name).exists():
            raise UnsupportedError(
                f"{path} is {title}, which this version of wkgpu does not read; it reads {titles()}."
            )


def _in_its_store(path: Path, follows_links: bool = False) -> Location:
    return Location(LocalStore(path, follows_links=follows_links, noun="mag"))


def _check_folder(path: Path) -> None:
    """Raise an error if a path is not a folder, or that of a mag which is not read."""
    try:
        path.stat()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist; there is no mag to open.") from error
    if not path.is_dir():
        raise FormatError(f"{path} is a file; a mag is a folder with {markers()} and its shards.")
    refuse_unread(path)


def create_array(
    place: Path | Location, spec: ArraySpec, data_format: str = DEFAULT_FORMAT, extent: Triple | None = None,
    axes: Sequence[str] | None = None, extra_axes: Sequence[tuple[str, int]] = (),
) -> StoredArray:  # fmt: skip
    """Make the folder of a mag, which may exist if it is empty, and write its header.

    Parameters
    ----------
    place : Path or Location
        The folder, of the file system or of any store.
    extent : tuple of int, optional
        Voxels ``(x, y, z)``, where a format has to know; writes beyond them make it larger. By default one shard.
    axes : sequence of str, optional
        The order of "c", "x", "y", "z" and the extra axes in the files, where a format has a choice; by default
        channels, x, y and z in this order.
    extra_axes : sequence of (str, int), optional
        Names and lengths of axes besides channels, x, y and z.

    Raises
    ------
    UnsupportedError
        For a format that wkgpu does not write, for extra axes that the format lacks, and for a URL.
    AlreadyExistsError
        Where the folder holds something.
    ShapeError, DtypeError
        Where the format cannot store this spec.
    """
    if not isinstance(place, Location):
        refuse_remote(place)
        place = _in_its_store(place)
    found = format_named(data_format)
    if extra_axes and not found.has_own_axes:
        raise UnsupportedError(
            f"{place} would have the axes {dict(extra_axes)} besides channels, x, y and z, which {found.title} does "
            "not have."
        )
    kind = found.load()
    if place.store.exists(place.key) or any(True for _ in place.store.entries(place.key)):
        raise AlreadyExistsError(f"{place} exists and is not an empty folder; choose another path or remove it.")
    return kind.create(place, spec, extent, axes, extra_axes)


def adapted_spec(spec: ArraySpec, data_format: str = DEFAULT_FORMAT) -> ArraySpec:
    """Return how a format stores voxels of a spec that may be another format's; see `ShardFolder.adapted_spec`."""
    return format_named(data_format).load().adapted_spec(spec)


def check_spec(spec: ArraySpec, data_format: str = DEFAULT_FORMAT) -> None:
    """Raise the error of `create_array` for a spec that a format cannot store."""
    format_named(data_format).load().check_spec(spec)


def pipeline_of(compress: Compression, data_format: str, chunk_bytes: int) -> Pipeline:
    """Return the codecs that a ``compress`` argument asks for in a format; see `ShardFolder.pipeline_of`."""
    return format_named(data_format).load().pipeline_of(compress, chunk_bytes)
