"""New files of a mag that replace the old ones, so that a crash leaves the old voxels or the new ones.

The new files are made in the content of a transaction inside the mag's folder. When they are whole and on the disk, its
journal commits the swap; from then on it can only be finished: each new file is renamed over the old one, old shards
without a successor are deleted, and the file with the spec comes last. Any process that meets a journal finishes the
swap, or waits for the process that does. Nothing else in the mag's folder is touched.

Readers look for a journal when they plan, and again where a shard is missing or contradicts the header. Writers hold a
lock of the file with the spec, and look for a journal when they have it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from wkgpu.errors import FormatError, NotFoundError, ReadOnlyError, WkgpuError
from wkgpu.settings import config
from wkgpu.storage.stores.local.deletion import discard
from wkgpu.storage.stores.local.folder_tree import check_unlinked, flush
from wkgpu.storage.stores.local.locks import LOCKS_BYTES, file_lock
from wkgpu.storage.stores.local.transaction import Transaction, earlier_replacement_of, replacement_of

REWRITING_LOCK = 1 << 61  # of the file with the spec; the locks of shards have smaller numbers
_PATIENCE_SECONDS = 30.0


def journal_of(lock_file: Path) -> Path:
    """Return what exists while the files of a mag are being swapped, and after a crash has interrupted that.

    Parameters
    ----------
    lock_file : Path
        The file with the spec.
    """
    return replacement_of(lock_file).journal


def holds_earlier_swap(lock_file: Path) -> bool:
    """Tell whether an earlier version of wkgpu has been interrupted while it swapped the files of a mag."""
    return earlier_replacement_of(lock_file).is_committed


def _transaction_of(lock_file: Path) -> Transaction:
    """Return the transaction that swaps files, or the one that an earlier version has committed and not finished."""
    earlier = earlier_replacement_of(lock_file)
    return earlier if earlier.is_committed else replacement_of(lock_file)


class FileSwap:
    """Makes new files for a mag in a ``with`` block, and replaces the old ones by them.

    Only one can be at work on a mag. What the block does not commit is deleted.

    Parameters
    ----------
    lock_file : Path
        The file in the mag's folder that has the spec, carries the locks, and is swapped last.
    is_shard : callable
        Tells of a path in the mag's folder whether it is that of a shard. Nothing else is replaced or deleted.
    save : callable, optional
        Lets other files know what the header says, if they do not; it is called at the end of the block. The hidden
        folder is there until then, so that what a crash keeps from being saved is saved by the next process.
    wait : bool
        Whether to wait for another process that is at work on the mag, or to raise a `BlockingIOError`.

    Attributes
    ----------
    building : Path
        Where to make the new files, in the tree that they will have in the mag's folder.

    Examples
    --------
    >>> with FileSwap(array.lock_file, array.is_shard) as swap:  # doctest: +SKIP
    ...     create_array(swap.building, spec)
    ...     with swap.exclusive():
    ...         swap.commit(old_shards)
    """

    def __init__(
        self,
        lock_file: Path,
        is_shard: Callable[[str], bool],
        save: Callable[[], None] = lambda: None,
        wait: bool = True,
    ) -> None:
        self._lock_file = lock_file
        self._is_shard = is_shard
        self._save = save
        self._wait = wait
        self._transaction = replacement_of(lock_file)
        self.building = self._transaction.content
        self._held = ExitStack()
        self._inode: int | None = None

    def __enter__(self) -> FileSwap:
        with ExitStack() as stack:
            stack.enter_context(file_lock(self._lock_file, REWRITING_LOCK, wait=self._wait))
            _finish(self._lock_file, self._is_shard)
            discard(self.building)  # and not all of the hidden folder, which tells that there is something to do
            self._inode = _inode_of(self._lock_file)
            self._held = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._held:
            if self._transaction.is_committed:  # a committed swap that failed is finished by the next process
                return
            with nullcontext() if kind is None else suppress(WkgpuError):
                self._save()
                with suppress(BlockingIOError, NotFoundError), self._locked_again():
                    discard(earlier_replacement_of(self._lock_file).path)
                    discard(self._transaction.path)

    def _locked_again(self) -> AbstractContextManager[None]:
        """Hold the lock of the file that is at the place now: after a swap it is another one.

        Another process may have that lock already, and be at work in the hidden folder: then it is a `BlockingIOError`.
        """
        if not config.locking or _inode_of(self._lock_file) == self._inode:
            return nullcontext()
        return file_lock(self._lock_file, REWRITING_LOCK, wait=False)

    def check_folders(self, shards: Iterable[str]) -> None:
        """Raise a `StorageAccessError` if a shard lies in a linked folder, where none is replaced or deleted.

        Parameters
        ----------
        shards : iterable of str
            Paths in the mag's folder.
        """
        check_unlinked(self._lock_file.parent, shards)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Flush the new files to the disk, and then keep all writers out for a ``with`` block."""
        flush(self.building)
        with _writers_excluded(self._transaction):
            yield

    def commit(self, old: list[str]) -> None:
        """Swap the files. Must be called in an `exclusive` block.

        Parameters
        ----------
        old : list of str
            Paths of the old shards in the mag's folder.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If files cannot be moved. If the journal was written before, the next access to the mag tries again.
        """
        self._transaction.replace_files(old, self._is_shard)


def finish_swap(lock_file: Path, is_shard: Callable[[str], bool]) -> None:
    """Finish a swap that a crash has interrupted, or wait for the process that is at it.

    Raises
    ------
    FormatError
        If the swap is not finished, and this process may not write there.
    """
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while _transaction_of(lock_file).is_committed:
        try:
            with suppress(NotFoundError), file_lock(lock_file, REWRITING_LOCK):
                _finish(lock_file, is_shard)
        except ReadOnlyError as error:
            if time.monotonic() > give_up:
                raise FormatError(
                    f"{lock_file.parent} was being rewritten by a process that has ended. Its voxels are all there: "
                    "open it once with write permission, so that its new files can be moved to their places."
                ) from error
            time.sleep(0.01)


def _inode_of(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _finish(lock_file: Path, is_shard: Callable[[str], bool]) -> None:
    """Finish what was committed, if it was. The lock of rewriting must be held."""
    transaction = _transaction_of(lock_file)
    if transaction.is_committed:
        with _writers_excluded(transaction):
            transaction.finish(is_shard)


@contextmanager
def _writers_excluded(transaction: Transaction) -> Iterator[None]:
    """Hold the locks of all shards, in the old header and in the new one, which writers see once it is in place."""
    old, new = transaction.place, transaction.content / transaction.place.name
    with ExitStack() as stack:
        for file in (old, new):
            if file.exists():
                stack.enter_context(all_locks(file) if file is new else _shard_locks(file))
        yield


@contextmanager
def all_locks(lock_file: Path) -> Iterator[None]:
    """Hold all locks of a file: neither is a shard written then, nor a file swapped.

    The lock of rewriting comes first, which others hold for long: those who write shards are not kept waiting for that.
    """
    with file_lock(lock_file, REWRITING_LOCK), _shard_locks(lock_file):
        yield


def _shard_locks(lock_file: Path) -> AbstractContextManager[None]:
    """Hold the locks of all shards. The lock of rewriting must be held, which may be the only one that there is."""
    return file_lock(lock_file, 0, REWRITING_LOCK) if LOCKS_BYTES else nullcontext()
