"""Files of compiled kernels: a cache on disk, of which whatever is wrong is the same as absent.

Numba trusts its own files: one that is damaged, or that is no file, raises in the middle of a read, and stays. These
are checked before anything in them is used, and are replaced.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import secrets
import stat
from pathlib import Path

_logger = logging.getLogger("wkgpu")
_reported = set()

_SUFFIX = ".wkc"
_MAGIC = b"wkgpu kernel 1\n\0"
_DIGEST_BYTES = hashlib.sha256().digest_size
_MAX_KERNEL_BYTES = 1 << 28  # kernels have some hundred KiB

_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def use_kernel_files(kernel, stamp):
    """Let a kernel that Numba caches use these files instead of Numba's, and never fail because of them.

    Parameters
    ----------
    kernel
        A dispatcher of Numba's, or of numba-cuda's, whose ``_cache`` stays what it is: numba-cuda asks for its class.
    stamp
        What the compiled kernel depends on besides its own code. Entries with another stamp are replaced.
    """
    cache = getattr(kernel, "_cache", None)
    numba_file = getattr(cache, "_cache_file", None)
    if not all(hasattr(numba_file, name) for name in ("_dump", "_source_stamp", "_version", "load", "save")):
        return  # the simulator of CUDA compiles nothing
    stamp = (numba_file._version, numba_file._source_stamp, stamp)
    cache._cache_file = KernelFiles(cache.cache_path, cache._impl.filename_base, stamp, numba_file._dump)
    cache.load_overload = _guarded(cache.load_overload, Path(cache.cache_path))
    cache.save_overload = _guarded(cache.save_overload, Path(cache.cache_path))


class KernelFiles:
    """The compiled versions of one kernel, with one file for each; has the methods that Numba's caches call.

    A file holds a magic number, the digest of what the version is for (stamp and key), the digest of both that and
    the rest, and the rest: pickled key and version.

    Parameters
    ----------
    folder : str
        Where the files are.
    name : str
        With which the names of the files begin.
    stamp
        See `use_kernel_files`.
    dump : callable
        Pickles a version.
    """

    def __init__(self, folder, name, stamp, dump):
        self._folder = Path(folder)
        self._name = name
        self._source_stamp = stamp
        self._dump = dump

    def load(self, key):
        """Return the version for a key, or None if there is none that can be used."""
        path = self._path(key)
        try:
            content = _read(path)
            identity = self._identity(key)
            if content is None or content[: len(identity)] != identity:
                return None
            payload = content[len(identity) + _DIGEST_BYTES :]
            if content[len(identity) :][:_DIGEST_BYTES] != hashlib.sha256(identity + payload).digest():
                raise OSError("it is damaged")
            found, version = pickle.loads(payload)
        except Exception as error:  # an unknown class in a pickle can raise anything
            _report(path, error)
            return None
        return version if found == key else None

    def save(self, key, version):
        """Write the version for a key, replacing what is there."""
        identity, payload = self._identity(key), self._dump((key, version))
        self._folder.mkdir(parents=True, exist_ok=True)
        _replace(self._path(key), identity + hashlib.sha256(identity + payload).digest() + payload)

    def flush(self):
        """Delete all versions."""
        for path in self._folder.glob(f"{self._name}.*{_SUFFIX}"):
            path.unlink(missing_ok=True)

    def _identity(self, key):
        return _MAGIC + hashlib.sha256(repr((self._source_stamp, key)).encode()).digest()

    def _path(self, key):
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return self._folder / f"{self._name}.{digest[:20]}{_SUFFIX}"


def _read(path):
    """Return what a file holds, or None without a file; raises for what is no regular file, or another user's."""
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no regular file")
        # The owner of the code can run any code anyway.
        if hasattr(os, "geteuid") and found.st_uid not in {os.geteuid(), 0, Path(__file__).stat().st_uid}:
            raise OSError(f"it belongs to another user, {found.st_uid}")
        if found.st_size > _MAX_KERNEL_BYTES:
            raise OSError(f"it has {found.st_size} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_MAX_KERNEL_BYTES)
    finally:
        os.close(descriptor)


def _replace(path, content):
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, _CREATE_FLAGS, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        try:
            temporary.replace(path)
        except IsADirectoryError:
            path.rmdir()  # nothing but an empty folder is deleted
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _guarded(function, folder):
    """Return a method of a cache that reports errors and returns None: then the kernel is compiled, or not kept."""

    def call(*arguments, **keywords):
        try:
            return function(*arguments, **keywords)
        except Exception as error:
            _report(folder, error)
            return None

    return call


def report_no_folder(error):
    """Warn once in a process that there is no folder for compiled kernels."""
    _warn("", "compiled kernels cannot be kept, and are compiled in each process", error)


def _report(path, error):
    folder = path.parent if path.suffix == _SUFFIX else path
    _warn(folder, f"compiled kernels cannot be read from or written to {path}, and are compiled again", error)


def _warn(folder, trouble, error):
    """Warn once in a process for each folder."""
    if folder not in _reported:
        _reported.add(folder)
        _logger.warning(
            "%s (%s: %s). If this comes back, give the folder room and write permission, or choose another one with "
            "NUMBA_CACHE_DIR.",
            trouble,
            type(error).__name__,
            error,
        )
