"""New files of a mag that take the places of the old ones, so that a crash leaves the old voxels or the new ones.

The new files are made in a hidden folder inside the mag's. When they are whole and on the disk, a *journal* beside them
commits the swap; from then on it can only be finished: each new file is renamed over the old one, old shards without a
successor are deleted, the header comes last, and the journal is removed. Any process that meets a journal finishes the
swap, or waits for the process that does. Nothing else in the mag's folder is touched.

Readers look for a journal when they plan, and again where a shard is missing or contradicts the header. Writers hold a
lock of the mag's header, and look for a journal when they have it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from wkgpu.errors import FormatError, NotFoundError, ReadOnlyError, StorageAccessError, WkgpuError
from wkgpu.storage.stores.local.atomic_file import atomic_write_bytes
from wkgpu.storage.stores.local.deletion import discard
from wkgpu.storage.stores.local.links import first_link
from wkgpu.storage.stores.local.locks import LOCKS_BYTES, file_lock
from wkgpu.storage.stores.local.os_errors import os_error_to_wkgpu
from wkgpu.storage.stores.local.regular_file import read_regular

REWRITING_LOCK = 1 << 61  # of a mag's header; the locks of shards have smaller numbers
_WORKSPACE = ".rewriting"
_JOURNAL = "swap.json"
_SHARD = re.compile(r"z[0-9]+/y[0-9]+/x[0-9]+\.wkw")  # all that is moved and deleted, besides the header
_MAX_JOURNAL_BYTES = 1 << 30
_PATIENCE_SECONDS = 30.0


def workspace_of(mag: Path) -> Path:
    """Where the new files of a mag are made, and the journal is."""
    return mag / _WORKSPACE


def journal_of(mag: Path) -> Path:
    """What exists while the files of a mag are being swapped, and after a crash has interrupted that."""
    return workspace_of(mag) / _JOURNAL


class FileSwap:
    """Makes new files for a mag in a ``with`` block, and puts them in the places of the old ones.

    Only one can be at work on a mag. What the block does not commit is deleted.

    Parameters
    ----------
    mag : Path
        The mag's folder.
    anchor : str
        Name of the file in it that carries the locks, and is swapped last.
    save : callable, optional
        Lets other files know what the header says, if they do not; it is called at the end of the block. The workspace
        is there until then, so that what a crash keeps from being saved is saved by the next process.
    wait : bool
        Whether to wait for another process that is at work on the mag, or to raise a `BlockingIOError`.

    Attributes
    ----------
    building : Path
        Where to make the new files, in the tree that they will have in the mag's folder.

    Examples
    --------
    >>> with FileSwap(mag, "header.wkw") as swap:  # doctest: +SKIP
    ...     create_array(swap.building, layout)
    ...     with swap.exclusive():
    ...         swap.commit(old_shards)
    """

    def __init__(self, mag: Path, anchor: str, save: Callable[[], None] = lambda: None, wait: bool = True) -> None:
        self._mag = mag
        self._anchor = anchor
        self._save = save
        self._wait = wait
        self._workspace = workspace_of(mag)
        self.building = self._workspace / "new"
        self._held = ExitStack()

    def __enter__(self) -> FileSwap:
        with ExitStack() as stack:
            stack.enter_context(file_lock(self._mag / self._anchor, REWRITING_LOCK, wait=self._wait))
            if journal_of(self._mag).exists():
                with _writers_excluded(self._mag, self._anchor):
                    _finish(self._mag, self._anchor)
            discard(self.building)  # and not all of the workspace, which tells that there is something to do
            self._held = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._held:
            if journal_of(self._mag).exists():  # a committed swap that failed is finished by the next process
                return
            with nullcontext() if kind is None else suppress(WkgpuError):
                self._save()
                discard(self._workspace)

    def check_folders(self, shards: Iterable[str]) -> None:
        """Raise a `StorageAccessError` if a shard lies in a linked folder, where none is replaced or deleted."""
        for folder in {os.path.dirname(shard) for shard in shards}:  # noqa: PTH120
            if (link := first_link(folder, str(self._mag))) is not None:
                raise _linked(link)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Flush the new files to the disk, and then keep all writers out for a ``with`` block."""
        _flush(self.building)
        with _writers_excluded(self._mag, self._anchor):
            yield

    def commit(self, old: list[str]) -> None:
        """Swap the files. Must be called in an `exclusive` block.

        Parameters
        ----------
        old : list of str
            Paths of the old shards, relative to the mag's folder.

        Raises
        ------
        ReadOnlyError, StorageAccessError
            If files cannot be moved. If the journal was written before, the next access to the mag tries again.
        """
        made = {path.relative_to(self.building).as_posix() for path in _files(self.building)}
        for folder in sorted({os.path.dirname(path) for path in made}):  # noqa: PTH120
            _make_folder(self._mag, folder)  # what can fail does so before the swap is committed
        journal = {"remove": sorted(set(old) - made)}
        atomic_write_bytes(journal_of(self._mag), json.dumps(journal).encode())
        try:
            _finish(self._mag, self._anchor)
        except BaseException:  # an interrupt, mostly: the second attempt ends what the first began
            _finish(self._mag, self._anchor)
            raise


def settle(mag: Path, anchor: str) -> None:
    """Finish a swap that a crash has interrupted, or wait for the process that is at it.

    Raises
    ------
    FormatError
        If the swap is not finished, and this process may not write there.
    """
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while journal_of(mag).exists():
        try:
            with suppress(NotFoundError), file_lock(mag / anchor, REWRITING_LOCK):
                if journal_of(mag).exists():
                    with _writers_excluded(mag, anchor):
                        _finish(mag, anchor)
        except ReadOnlyError as error:
            if time.monotonic() > give_up:
                raise FormatError(
                    f"{mag} was being rewritten by a process that has ended. Its voxels are all there: open it once "
                    "with write permission, so that its new files can be moved to their places."
                ) from error
            time.sleep(0.01)


@contextmanager
def _writers_excluded(mag: Path, anchor: str) -> Iterator[None]:
    """Hold the locks of all shards, in the old header and in the new one, which writers see once it is in place."""
    with ExitStack() as stack:
        for file in (mag / anchor, workspace_of(mag) / "new" / anchor):
            if file.exists():
                if file.parent != mag:
                    stack.enter_context(file_lock(file, REWRITING_LOCK))
                stack.enter_context(file_lock(file, 0, REWRITING_LOCK) if LOCKS_BYTES else nullcontext())
        yield


def _finish(mag: Path, anchor: str) -> None:
    """Do what the journal says, from wherever another attempt has stopped."""
    building = workspace_of(mag) / "new"
    journal = journal_of(mag)
    for folder in (workspace_of(mag), building):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise FormatError(f"{folder} is no folder of its mag; it was not written by wkgpu. Delete it.")
    try:
        removed = _removed(journal)
        for path in _files(building):
            relative = path.relative_to(building).as_posix()
            if _SHARD.fullmatch(relative):
                _make_folder(mag, os.path.dirname(relative))  # noqa: PTH120
                path.replace(mag / relative)
        for relative in removed:
            _make_folder(mag, os.path.dirname(relative))  # noqa: PTH120
            (mag / relative).unlink(missing_ok=True)
        _remove_empty_folders(mag, removed)
        with suppress(FileNotFoundError):
            (building / anchor).replace(mag / anchor)
        journal.unlink(missing_ok=True)
    except OSError as error:
        raise os_error_to_wkgpu(f"Cannot finish the swap of the files of {mag}", error) from error


def _removed(journal: Path) -> list[str]:
    """Return the shards that a journal says to delete. It may be part of a dataset that is not to be trusted."""
    try:
        data = read_regular(journal, _MAX_JOURNAL_BYTES, os.O_NOFOLLOW)
    except FileNotFoundError:  # another process has just finished
        return []
    try:
        removed = json.loads(data)["remove"]
        if all(isinstance(path, str) and _SHARD.fullmatch(path) for path in removed):
            return list(removed)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{journal} cannot be read: {error!r}. Restore it from a backup.") from error
    raise FormatError(f"{journal} names other files than shards of its mag; it was not written by wkgpu.")


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files of a tree, through no link."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink() and path.is_file():
                yield path


def _make_folder(mag: Path, relative: str) -> None:
    """Make a folder in a mag's; a link on the way is an error, because it could lead out of it."""
    path = mag
    for part in Path(relative).parts:
        path = path / part
        if path.is_symlink():
            raise _linked(path)
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise os_error_to_wkgpu(f"Cannot make the folder {path}", error) from error


def _linked(path: Path | str) -> StorageAccessError:
    return StorageAccessError(
        errno.ELOOP, f"{path} is a link; files are only swapped in folders of the mag itself. Replace it by a folder"
    )


def _remove_empty_folders(mag: Path, removed: list[str]) -> None:
    folders = {parent for path in removed for parent in Path(path).parents if parent.parts}
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        with suppress(OSError):  # it holds something
            (mag / folder).rmdir()


def _flush(folder: Path) -> None:
    """Wait until the disk has a folder, and all that is in it."""
    try:
        for parent, _, files in os.walk(folder):
            for path in (*(Path(parent, file) for file in files), Path(parent)):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
    except OSError as error:
        raise os_error_to_wkgpu(f"Cannot flush {folder} to the disk", error) from error
