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
    """Tasks 0 to ``tasks`` - 1, which any number of threads take one after another, in ascending order.

    Parameters
    ----------
    quiet : Condition
        Is notified when a thread has left the job.
    """

    def __init__(self, work: Callable[[int], None], tasks: int, quiet: threading.Condition) -> None:
        self._work = work
        self._tasks = tasks
        self._taken = itertools.count()  # next() is one step under the GIL: no two threads get the same number
        self._quiet = quiet
        self._helpers = 0
        self._closed = False
        self.error: BaseException | None = None

    def drain(self) -> None:
        """Work until no task is left to take, or one has failed."""
        while self.error is None and (task := next(self._taken)) < self._tasks:
            self._work(task)

    def help(self) -> None:
        """Work as another thread than the one that waits for the job, unless it is over."""
        with self._quiet:
            if self._closed:
                return
            self._helpers += 1
        try:
            self.drain()
        except BaseException as error:
            self.error = self.error or error
        finally:
            with self._quiet:
                self._helpers -= 1
                self._quiet.notify_all()

    def close(self) -> None:
        """Let nobody else begin, and wait until everybody who has begun has left."""
        with self._quiet:
            self._closed = True
            self._quiet.wait_for(lambda: self._helpers == 0)


class ThreadTeam:
    """A lazily started team of threads; the calling thread always works as well.

    Calls may come from many threads, and from a task: each caller can finish its job alone, so nobody waits for a
    thread that waits for him.
    """

    def __init__(self) -> None:
        self._begin_anew()
        _teams.add(self)

    def run(self, work: Callable[[int], None], tasks: int, on_error: Callable[[], None] | None = None) -> None:
        """Call ``work(0)`` to ``work(tasks - 1)``, and return or raise when all have ended.

        Tasks begin in ascending order; after a failure no further one begins, and the first error is raised. Memory
        that tasks use is free when this returns, even if the caller was interrupted while it waited. ``on_error`` is
        called after a failure, before anybody is waited for: it frees tasks that wait for each other.
        """
        helpers = min(max(config.threads, 1), tasks) - 1
        if helpers <= 0:
            for task in range(tasks):
                work(task)
            return
        if self._started < helpers:
            self._start(helpers)
        job = _Job(work, tasks, self._quiet)
        try:
            for _ in range(helpers):
                self._queue.put(job)
            job.drain()
        except BaseException as error:
            job.error = job.error or error
        _close_in_any_case(job, on_error)
        if job.error is not None:
            raise job.error

    def _start(self, threads: int) -> None:
        with self._lock:
            while self._started < threads:
                threading.Thread(target=_serve, args=(self._queue,), name="wkgpu", daemon=True).start()
                self._started += 1

    def _begin_anew(self) -> None:
        """Start without threads: at first, and in a forked child, where only the forking thread lives on."""
        self._queue: SimpleQueue[_Job] = SimpleQueue()
        self._started = 0
        self._lock = threading.Lock()
        self._quiet = threading.Condition(threading.Lock())


def _close_in_any_case(job: _Job, on_error: Callable[[], None] | None) -> None:
    """Wait for a job's helpers; an interruption (Ctrl+C) counts as the job's error, and waiting goes on."""
    while True:
        try:
            if job.error is not None and on_error is not None:
                on_error()
            job.close()
        except BaseException as error:
            job.error = job.error or error
        else:
            return


def _serve(queue: SimpleQueue[_Job]) -> None:
    while True:
        queue.get().help()


_teams: weakref.WeakSet[ThreadTeam] = weakref.WeakSet()


def _forget_all_threads() -> None:
    for team in list(_teams):
        team._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_threads)
