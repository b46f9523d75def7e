"""Threads that share the work of one call, while their kernels run without the GIL."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

from wkgpu.settings import config


class _Job:
    """Tasks 0 to ``tasks`` - 1, which any number of threads take one after another, in ascending order."""

    def __init__(self, work: Callable[[int], None], tasks: int) -> None:
        self._work = work
        self._tasks = tasks
        self._taken = itertools.count()  # next() is one step under the GIL: no two threads get the same number
        self._finished = itertools.count(1)
        self._unfinished = threading.Lock()  # held until the last task has ended: cheaper than an Event
        self._unfinished.acquire()
        self._error: BaseException | None = None

    def drain(self) -> None:
        """Work until no task is left to take."""
        while (task := next(self._taken)) < self._tasks:
            if self._error is None:  # after a failure the rest is only counted
                try:
                    self._work(task)
                except BaseException as error:
                    self._error = self._error or error
            if next(self._finished) == self._tasks:
                self._unfinished.release()

    def wait(self) -> None:
        """Wait for the tasks that other threads have taken, and raise the first error."""
        self._unfinished.acquire()
        if self._error is not None:
            raise self._error


class ThreadTeam:
    """A lazily started team of threads; the calling thread always works as well.

    Calls may come from many threads, and from a task: each caller can finish its job alone, so nobody waits for a
    thread that waits for him.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Job] = SimpleQueue()
        self._started = 0
        self._lock = threading.Lock()
        _teams.add(self)

    def run(self, work: Callable[[int], None], tasks: int) -> None:
        """Call ``work(0)`` to ``work(tasks - 1)``, and return or raise when all have ended.

        Tasks begin in ascending order; after a failure no further one begins, and the first error is raised.
        """
        if tasks <= 0:
            return
        helpers = min(config.threads, tasks) - 1
        if helpers <= 0:
            for task in range(tasks):
                work(task)
            return
        if self._started < helpers:
            self._start(helpers)
        job = _Job(work, tasks)
        for _ in range(helpers):
            self._queue.put(job)
        job.drain()
        job.wait()

    def _start(self, threads: int) -> None:
        with self._lock:
            while self._started < threads:
                threading.Thread(target=_serve, args=(self._queue,), name="wkgpu", daemon=True).start()
                self._started += 1

    def forget_threads(self) -> None:
        """Start anew in a forked child, where only the forking thread lives on."""
        self._queue = SimpleQueue()
        self._started = 0
        self._lock = threading.Lock()


def _serve(queue: SimpleQueue[_Job]) -> None:
    while True:
        queue.get().drain()


_teams: weakref.WeakSet[ThreadTeam] = weakref.WeakSet()


def _forget_all_threads() -> None:
    for team in list(_teams):
        team.forget_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_threads)
