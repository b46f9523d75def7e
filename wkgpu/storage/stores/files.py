"""Files of a store: one that is open for reading, one that is written, and what tells their states from each other."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from types import TracebackType
from typing import Literal, NamedTuple, Self, TypeAlias

from wkgpu.errors import StorageAccessError, UnsupportedError

Buffer: TypeAlias = bytes | bytearray | memoryview
_COPIED_BYTES = 8 << 20  # of a file that is copied from store to store, at a time


class Version(NamedTuple):
    """What tells one state of a file from every other one. It can be compared, and be the key of a dictionary.

    Attributes
    ----------
    identity : hashable
        What the store knows files by: inode, size and times; an ETag; a number that counts changes.
    changed_ns : int
        When the file changed, in nanoseconds of `time.time_ns`, where the identity comes of a clock: a second change
        within one tick of that clock looks the same. 0 where no two states have one identity.
    """

    identity: Hashable
    changed_ns: int = 0


Replacing: TypeAlias = Version | Literal["anything", "nothing"]
"""What a new file may replace: whatever is there, no file at all, or a file only in the state that was read."""


class Entry(NamedTuple):
    """A file or a folder in a listing."""

    name: str
    is_folder: bool


class Source(ABC):
    """A file that is open for reading, and stays in the state in which it was opened when it is replaced or deleted.

    Attributes
    ----------
    key : str
    version : Version
        The state.
    nbytes : int
        Size of the file.
    descriptor : int or None
        File descriptor that compiled code reads from; None where the store has none.
    """

    __slots__ = ()

    key: str
    version: Version
    nbytes: int
    descriptor: int | None

    @abstractmethod
    def read_many_into(self, ranges: Iterable[tuple[int, memoryview]]) -> None:
        """Fill buffers of bytes, each from an offset of the file on. A remote store reads them concurrently.

        Raises
        ------
        StorageAccessError
            If the file cannot be read, or ends before a buffer is full.
        """

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return a range of the file; less only where the file ends."""
        data = bytearray(max(0, min(nbytes, self.nbytes - offset)))
        self.read_many_into([(offset, memoryview(data))])
        return bytes(data)

    @abstractmethod
    def close(self) -> None:
        """Close the file; a second time does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WritableFile(ABC):
    """A file to write in a ``with`` block: a new one that appears when the block ends, or one that is changed in place.

    If the block raises, a new file is thrown away, and what it would have replaced stays.

    Attributes
    ----------
    descriptor : int or None
        File descriptor for reading and writing; None where the store has none. A remote store may have one, of a
        temporary file that is uploaded at the end.
    """

    descriptor: int | None

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def write(self, data: Buffer, offset: int) -> None:
        """Write bytes at an offset."""

    @abstractmethod
    def truncate(self, nbytes: int) -> None:
        """Give the file a size; what was not written is zero."""

    def leave_out(self) -> None:
        """Let there be no file at the end of the block, instead of the new one."""
        raise UnsupportedError("A file that is changed in place stays; delete it.")

    def copy_range(self, source: Source, begin: int, offset: int, nbytes: int) -> None:
        """Copy bytes of another file; where the store can, without reading them, or by sharing them."""
        for done in range(0, nbytes, _COPIED_BYTES):
            data = source.read(begin + done, min(_COPIED_BYTES, nbytes - done))
            self.write(data, offset + done)


def too_large(url: str, nbytes: int, max_nbytes: int) -> StorageAccessError:
    """Return the error for a file that is read whole, and is larger than any of its kind."""
    return StorageAccessError(
        errno.EFBIG, f"{url} has {nbytes} bytes; no file of its kind has more than {max_nbytes}. Restore it"
    )
