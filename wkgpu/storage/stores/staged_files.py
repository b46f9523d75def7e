"""Files of stores without descriptors, staged in memory that has one: compiled code and CUDA's libraries need it.

A range of a file lies there at its own offset; what was not read takes no memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType

from wkgpu.storage.stores.files import Buffer, Source, WritableFile
from wkgpu.storage.stores.local.file_bytes import write_all
from wkgpu.storage.stores.local.os_errors import wrap_os_errors

_UPLOADED_BYTES = 8 << 20  # at a time


def staged(source: Source, ranges: Iterable[tuple[int, int]], url: str) -> int:
    """Return the descriptor of memory with some ranges of a file, which the caller closes.

    Parameters
    ----------
    ranges : iterable of (offset, nbytes)
        All are read in one request to the store.

    Raises
    ------
    StorageAccessError
        If the file cannot be read, or the process has too many files open.
    """
    with wrap_os_errors(f"Cannot read {url}"):
        descriptor = _memory_file()
        try:
            if source.nbytes:
                os.ftruncate(descriptor, source.nbytes)
                _fill(descriptor, source, ranges)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _fill(descriptor: int, source: Source, ranges: Iterable[tuple[int, int]]) -> None:
    mapping = mmap.mmap(descriptor, source.nbytes)
    with memoryview(mapping) as whole:
        views = [(offset, whole[offset : offset + nbytes]) for offset, nbytes in ranges]
    try:
        source.read_many_into(views)
    finally:
        for _, view in views:
            view.release()
        with suppress(BufferError):  # an error's traceback may hold a part of a view, and so the mapping
            mapping.close()


class StagedFile(WritableFile):
    """A new file that is made in memory, and is written to its store whole when the ``with`` block ends.

    Parameters
    ----------
    file : WritableFile
        The file of the store.
    url : str
        As messages name it.
    """

    descriptor: int

    def __init__(self, file: WritableFile, url: str) -> None:
        self._file = file
        self._url = url
        self._is_left_out = False
        self.descriptor = -1

    def __enter__(self) -> StagedFile:
        with wrap_os_errors(f"Cannot write {self._url}"):
            self.descriptor = _memory_file()
        try:
            self._file.__enter__()
        except BaseException:
            os.close(self.descriptor)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._is_left_out:
                self._upload()
        except BaseException as failure:
            self._file.__exit__(type(failure), failure, failure.__traceback__)
            raise
        finally:
            os.close(self.descriptor)
        self._file.__exit__(kind, error, traceback)

    def _upload(self) -> None:
        nbytes = os.fstat(self.descriptor).st_size
        for offset in range(0, nbytes, _UPLOADED_BYTES):
            self._file.write(os.pread(self.descriptor, _UPLOADED_BYTES, offset), offset)

    def write(self, data: Buffer, offset: int) -> None:
        """See `WritableFile.write`."""
        with wrap_os_errors(f"Cannot write {self._url}"):
            write_all(self.descriptor, data, offset)

    def truncate(self, nbytes: int) -> None:
        """See `WritableFile.truncate`."""
        with wrap_os_errors(f"Cannot write {self._url}"):
            os.ftruncate(self.descriptor, nbytes)

    def leave_out(self) -> None:
        """See `WritableFile.leave_out`."""
        self._is_left_out = True
        self._file.leave_out()


def _memory_file() -> int:
    """Return the descriptor of an empty file in memory, or where the system has none, of one without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("wkgpu", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
