"""Threads that share the work of one call, while their kernels run without the GIL.

Ctrl+C raises `KeyboardInterrupt` in the main thread, between any two calls of Python code. So that thread holds no
lock and keeps no count. Each helper holds a mutex of its own while it works, and the caller ends the work by locking
all of them for good. That is one step for the interpreter: it cannot be interrupted, and no helper can begin after it.
"""

from __future__ import annotations

import ctypes
import itertools
import operator
import threading
import weakref
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, TypeAlias

from wkgpu.forking import call_in_child
from wkgpu.settings import config

_MUTEX_BYTES = 64  # at least those of a pthread_mutex_t on every system
_process = ctypes.PyDLL(None)  # calls that do not wait keep the GIL
_initialise = _process.pthread_mutex_init
_initialise.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
_try_lock, _unlock = _process.pthread_mutex_trylock, _process.pthread_mutex_unlock
_try_lock.argtypes = _unlock.argtypes = [ctypes.c_void_p]
_lock = ctypes.CDLL(None).pthread_mutex_lock  # waits without the GIL, and no signal ends that, other than a Python lock
_lock.argtypes = [ctypes.c_void_p]


class _TaskPool:
    """Tasks 0 to ``tasks`` - 1, which any number of threads take one after another, in ascending order.

    Attributes
    ----------
    close : iterator
        Its end is reached when no helper works any more, and none can begin.
    abort : iterator
        The same after a failure: calls ``on_error`` before it waits.
    """

    def __init__(
        self, work: Callable[[int], None], tasks: int, helpers: int, on_error: Callable[[], object] | None
    ) -> None:
        self._work = work
        self._tasks = tasks
        self._on_error = on_error
        self._taken = itertools.count()  # next() is one step under the GIL: no two threads get the same number
        self._memory = ctypes.create_string_buffer(helpers * _MUTEX_BYTES)
        begin = ctypes.addressof(self._memory)
        self.mutexes = range(begin, begin + helpers * _MUTEX_BYTES, _MUTEX_BYTES)
        for mutex in self.mutexes:
            _initialise(mutex, None)
        self.close: Iterator[Any] = map(_lock, self.mutexes)
        self.abort = self.close if on_error is None else itertools.chain(map(operator.call, (on_error,)), self.close)
        self.error: BaseException | None = None

    def drain(self) -> None:
        """Work until no task is left to take, or one has failed."""
        while self.error is None and (task := next(self._taken)) < self._tasks:
            self._work(task)

    def help(self, mutex: int) -> None:
        """Work as another thread than the one that waits for the tasks, unless it is over."""
        if _try_lock(mutex):
            return
        try:
            self.drain()
        except BaseException as error:
            self.error = self.error or error
            if self._on_error is not None:
                self._on_error()
        finally:
            _unlock(mutex)


_Offer: TypeAlias = tuple[_TaskPool, int]  # tasks, and the mutex of the thread that takes it


class ThreadTeam:
    """A lazily started team of threads; the calling thread always works as well.

    Calls may come from many threads, and from a task: each caller can finish its tasks alone, so that nested calls
    cannot wait for each other. For the same reason it does not matter if the system has no thread to give.
    """

    def __init__(self) -> None:
        self._restart()
        _teams.add(self)

    def run(self, work: Callable[[int], None], tasks: int, on_error: Callable[[], object] | None = None) -> None:
        """Call ``work(0)`` to ``work(tasks - 1)``, and return or raise when all have ended.

        Tasks begin in ascending order; after a failure no further one begins, and the first error is raised, or the
        interruption (Ctrl+C) of the caller. Memory that tasks use is free when this returns, however often the caller
        is interrupted.

        ``on_error`` is called after a failure, before waiting for the other tasks: it frees tasks that wait for each
        other. Several threads may call it. It must be built of built-in functions only (with `functools.partial`), so
        that an interrupt cannot end it half-way.
        """
        helpers = min(max(config.threads, 1), tasks) - 1
        if helpers > self._started:
            self._start(helpers)
            helpers = min(helpers, self._started)
        if helpers <= 0:
            for task in range(tasks):
                work(task)
            return
        pool = _TaskPool(work, tasks, helpers, on_error)
        interruption: BaseException | None = None
        # Where the pool is ended, no code of Python's runs between the exception and that step: CPython looks for
        # signals after calls. An interrupt that comes during it is raised at its end. The outer `try` is for errors
        # that come at other places, as those of debuggers and of memory.
        try:
            try:
                for mutex in pool.mutexes:
                    self._queue.put((pool, mutex))
                pool.drain()
                list(pool.close)
            except BaseException as error:
                interruption = error
                pool.error = pool.error or error
                list(pool.abort)
        except BaseException as error:
            interruption = error
            pool.error = pool.error or error
            list(pool.abort)
        failure, pool.error = pool.error, None
        if failure is not None:
            try:
                raise failure if interruption is None or isinstance(interruption, Exception) else interruption
            finally:
                del failure, interruption  # else this frame, and what the tasks use, lives until a garbage collection

    def _start(self, threads: int) -> None:
        """Start threads until there are so many, or the system gives no more."""
        while self._started < threads:
            self._started += 1  # at once: another caller may be here as well
            try:
                start_new_thread(_serve, (self._queue,))
            except BaseException as error:
                self._started -= 1
                if isinstance(error, RuntimeError):  # "can't start new thread": a later call tries again
                    return
                raise

    def _restart(self) -> None:
        """Start without threads: at first, and in a forked child, where only the forking thread lives on."""
        self._queue: SimpleQueue[_Offer] = SimpleQueue()
        self._started = 0


def _serve(queue: SimpleQueue[_Offer]) -> None:
    threading.current_thread().name = "wkgpu"
    while True:
        pool, mutex = queue.get()
        pool.help(mutex)
        del pool  # and what its tasks use, while this thread waits


_teams: weakref.WeakSet[ThreadTeam] = weakref.WeakSet()


def _forget_all_threads() -> None:
    for team in list(_teams):
        team._restart()


call_in_child(_forget_all_threads)
