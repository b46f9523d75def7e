"""Locks and forks: a child that is forked while other threads work must not wait for locks that these threads held.

Only the forking thread lives on in the child. A lock that another thread held stays locked there for good, and so does
a module that it was importing, or a kernel that it was compiling. Two things help:

- Long work is done under `loading`, and a fork waits until it can hold that lock, and those of Numba and of LLVM.
- Locks that are held for moments are made with `child_safe`, and are free in the child, whichever thread held them.

`cached_property` is that of functools without its lock.
"""

from __future__ import annotations

import _thread
import logging  # its own lock is taken before a fork as well: after ours, because it is registered before ours
import operator
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property as cached_property
else:
    from functools import cached_property as _locked_cached_property

    class cached_property(_locked_cached_property):  # noqa: N801 - its name in functools
        """Compute an attribute once; before Python 3.12, that of functools holds a lock of its class at that time.

        Two threads may compute it at the same time.
        """

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            value = instance.__dict__[self.attrname] = self.func(instance)
            return value


_MAX_WAIT_SECONDS = (
    120.0  # compiling takes up to a minute on a busy machine; a fork that waits longer would wait forever
)

_logger = logging.getLogger("wkgpu")

loading = threading.RLock()
"""Is held while modules are imported late, or an engine starts. It is taken before any lock of Numba's."""


class _Lock(Protocol):
    """What a fork does with a lock."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...

    def release(self) -> None: ...


_AnyLock = TypeVar("_AnyLock")


def child_safe(lock: _AnyLock) -> _AnyLock:
    """Return a lock of `threading` as it is; a forked child finds it free, even if another thread held it.

    What it protects must be usable in the state in which any statement leaves it.

    Examples
    --------
    >>> with child_safe(threading.Lock()):
    ...     print("alone")
    alone
    """
    _child_safe.add(lock)
    return lock


def call_in_child(function: Callable[[], None]) -> None:
    """Call a function in each child that this process forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


_child_safe: weakref.WeakSet[Any] = weakref.WeakSet()


def _free_locks() -> None:
    for lock in list(_child_safe):
        lock._at_fork_reinit()  # what `threading` and `logging` do with their own


# ---- What a fork waits for


class _Held(threading.local):
    """The locks that this thread holds while it forks."""

    def __init__(self) -> None:
        self.locks: list[_Lock] = []
        self.taken: list[bool] = []  # of the first of the locks: False where waiting took too long
        self.interrupted = False


_held = _Held()


def _locks_of_compilers() -> Iterator[_Lock]:
    """Yield the locks of Numba and of LLVM, which are not loaded before the first kernel is."""
    numba = sys.modules.get("numba.core.compiler_lock")
    llvm = getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None)
    for wrapper in (getattr(numba, "global_compiler_lock", None), getattr(llvm, "_lock", None)):
        lock = getattr(wrapper, "_lock", None)  # without what the wrapper adds, in Python
        if isinstance(lock, type(loading)):
            yield lock


def _hold_locks() -> None:
    _hold(loading)
    for lock in _locks_of_compilers():
        _hold(lock)
    if not all(_held.taken):
        _logger.warning(
            "this process forks while another thread has been loading or compiling for more than %.0f s; "
            "the child may wait for that forever",
            _MAX_WAIT_SECONDS,
        )


def _hold(lock: _Lock) -> None:
    """Take a lock; Ctrl+C, which a fork cannot raise, is remembered."""
    acquire = partial(lock.acquire, timeout=_MAX_WAIT_SECONDS)
    _held.locks.append(lock)
    while len(_held.taken) < len(_held.locks):
        try:
            # Taken and noted in one step: no code of Python's runs between, where an interrupt could come.
            _held.taken.extend(map(operator.call, (acquire,)))
        except KeyboardInterrupt:
            _held.interrupted = True


def _give_locks_back() -> None:
    while _held.locks:
        try:
            taken = [lock for lock, is_taken in zip(_held.locks, _held.taken, strict=False) if is_taken]
            steps = [lock.release for lock in reversed(taken)] + [_held.taken.clear, _held.locks.clear]
            list(map(operator.call, steps))  # all in one step, as above
        except KeyboardInterrupt:
            _held.interrupted = True


def _go_on_in_parent() -> None:
    _give_locks_back()
    interrupted, _held.interrupted = _held.interrupted, False
    if interrupted:
        _thread.interrupt_main()


def _go_on_in_child() -> None:
    _free_locks()
    _give_locks_back()
    _held.interrupted = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_locks, after_in_parent=_go_on_in_parent, after_in_child=_go_on_in_child)
