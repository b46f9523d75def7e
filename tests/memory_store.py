"""A store in the memory of this process, which plays one that is far away: no descriptors, no changes in place."""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from contextlib import contextmanager
from unittest import mock

from wkgpu.errors import AlreadyExistsError, NotFoundError, OutdatedFileError, StorageAccessError
from wkgpu.storage.stores.files import Entry, Source, Version, WritableFile
from wkgpu.storage.stores.local.thread_locks import hold_range
from wkgpu.storage.stores.store import Store

_numbers = itertools.count(1)
_files = {}  # by the names of stores
_requests = {}


class MemorySource(Source):
    """Bytes that stay as they were. What came with the opening is read without another request."""

    descriptor = None

    def __init__(self, store, key, fetched):
        self._store, self.key, self._fetched = store, key, fetched
        self._data, self.version = store.files[key]
        self.nbytes = len(self._data)
        self._is_open = True

    def read_many_into(self, ranges):
        assert self._is_open
        ranges = list(ranges)
        first, last = self._fetched
        if not all(
            offset + len(buffer) <= first or (offset >= self.nbytes - last and last) for offset, buffer in ranges
        ):
            self._store.requests["ranges"] += 1
        for offset, buffer in ranges:
            data = self._data[offset : offset + len(buffer)]
            if len(data) < len(buffer):
                raise StorageAccessError(61, f"{self._store.url_of(self.key)} ends at byte {self.nbytes}, too early")
            buffer[:] = data

    def close(self):
        self._is_open = False


class MemoryFile(WritableFile):
    """A new file, which is put into the store at the end."""

    descriptor = None

    def __init__(self, store, key, replacing):
        self._store, self._key, self._replacing = store, key, replacing
        self._data = bytearray()
        self._is_left_out = False

    def __enter__(self):
        self._check()
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            with self._store.committing():
                self._check()
                if self._is_left_out:
                    self._store.files.pop(self._key, None)
                    return
                self._store.files[self._key] = bytes(self._data), Version(next(_numbers))
                self._store.requests["put"] += 1

    def _check(self):
        url, found = self._store.url_of(self._key), self._store.version(self._key)
        if any(key.startswith(f"{self._key}/") for key in self._store.files):
            raise StorageAccessError(21, f"{url} is a folder where a regular file belongs. Move it away")
        if self._replacing == "nothing" and found is not None:
            raise AlreadyExistsError(f"{url} exists; choose another place or remove it.")
        if isinstance(self._replacing, Version) and found != self._replacing:
            raise OutdatedFileError(f"{url} was changed by another process since it was read. Read it again.")

    def leave_out(self):
        self._is_left_out = True

    def write(self, data, offset):
        data = memoryview(data).cast("B")
        self.truncate(max(len(self._data), offset + len(data)))
        self._data[offset : offset + len(data)] = data

    def truncate(self, nbytes):
        del self._data[nbytes:]
        self._data.extend(bytes(nbytes - len(self._data)))


class MemoryStore(Store):
    """Files of a dictionary, which all stores of one name share, also those that were pickled.

    Attributes
    ----------
    requests : Counter
        How often what kind of request was made: "open", "ranges", "put", "list".
    """

    has_locks = True
    can_write = True
    can_list = True
    coalesce_bytes = 1 << 20

    def __init__(self, name):
        self.name = name

    @property
    def files(self):
        """Bytes and version of each file, by its key."""
        return _files.setdefault(self.name, {})

    @property
    def requests(self):
        return _requests.setdefault(self.name, Counter())

    @contextmanager
    def committing(self):
        held = hold_range(f"memory://{self.name}", 0, 1)
        try:
            yield
        finally:
            held.release()

    def url_of(self, key):
        return f"memory://{self.name}/{key}".rstrip("/")

    def version(self, key):
        return self.files[key][1] if key in self.files else None

    def open(self, key, *, wait=True):
        return self.open_many([key], wait=wait)[0]

    def open_many(self, keys, *, first_nbytes=0, last_nbytes=0, wait=True):
        self.requests["open"] += 1
        found = []
        for key in keys:
            if any(other.startswith(f"{key}/") for other in self.files):
                raise StorageAccessError(21, f"{self.url_of(key)} is a folder where a regular file belongs.")
            found.append(MemorySource(self, key, (first_nbytes, last_nbytes)) if key in self.files else None)
        return found

    def entries(self, key):
        self.requests["list"] += 1
        before = f"{key}/" if key else ""
        inside = [other.removeprefix(before).partition("/") for other in self.files if other.startswith(before)]
        return sorted({Entry(name, bool(rest)) for name, rest, _ in inside})

    def new_file(self, key, *, replacing="anything", is_locked=False, durable=None):
        return MemoryFile(self, key, replacing)

    def delete(self, key):
        for other in list(self.files):
            if other == key or other.startswith(f"{key}/"):
                del self.files[other]

    @contextmanager
    def lock(self, key, number=0, count=1, wait=True):
        if key not in self.files:
            raise NotFoundError(f"{self.url_of(key)} does not exist.")
        held = hold_range(self.url_of(key), number, number + count, wait)
        try:
            yield
        finally:
            held.release()

    def __eq__(self, other):
        return isinstance(other, MemoryStore) and self.name == other.name

    def __hash__(self):
        return hash(self.name)


# ---- What proves that nothing touches the file system

EVENTS = {
    "open", "os.chmod", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir",
    "os.symlink", "os.truncate", "os.utime", "shutil.copyfile", "shutil.rmtree",
}  # fmt: skip
_seen = None


def _hook(event, arguments):
    if _seen is not None and event in EVENTS and not str(arguments[0]).startswith((sys.prefix, sys.base_prefix)):
        _seen.append((event, str(arguments[0])))


sys.addaudithook(_hook)


@contextmanager
def file_system_calls():
    """Yield a list, to which each look at or change of the file system in the ``with`` block is added.

    Imports, and files of Python itself, are left out. Statuses are not told to audit hooks, and so are replaced.
    """
    global _seen
    _seen = calls = []

    def noted(function):
        def call(*args, **kwargs):
            calls.append((function.__name__, str(args[0])))
            return function(*args, **kwargs)

        return call

    try:
        looks = {name: noted(getattr(os, name)) for name in ("access", "lstat", "readlink", "stat")}
        with mock.patch.multiple(os, **looks):
            yield calls
    finally:
        _seen = None
