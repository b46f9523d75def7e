"""Jobs of one kind, one after another or on an executor, until all have ended or the first has failed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from wkgpu.geometry.nd_bounding_box import NDBoundingBox

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

_JOBS_PER_WORKER = 4  # enough that no worker waits for this process, which hands out the next job
_JOBS_FOR_UNKNOWN_WORKERS = 1024  # as many as large clusters have


class Executor(Protocol):
    """What jobs need of an executor: that of `concurrent.futures.Executor`, of Dask, of cluster_tools, ..."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Begin ``fn(*args)``, here or elsewhere."""
        ...


def run_jobs(
    function: Callable[[_Job], _Result],
    jobs: Iterable[_Job],
    *,
    executor: Executor | None = None,
    boxes: Sequence[NDBoundingBox] | None = None,
    progress_desc: str | None = None,
) -> list[_Result]:
    """Call a function with each job, and return the results in the order of the jobs.

    Parameters
    ----------
    function : callable
        Is called as ``function(job)``. For an executor with processes it must be possible to pickle it.
    jobs : iterable
        Is consumed as workers become free: it may be a generator of more jobs than memory holds at once.
    executor : Executor, optional
        Anything with the interface of `concurrent.futures.Executor`. Without it the jobs run one after another in this
        process.
    boxes : sequence of NDBoundingBox, optional
        The box of each job, to name it where it fails, and to show progress in voxels.
    progress_desc : str, optional
        Shows a progress bar with this text on stderr, if that is a terminal.

    Returns
    -------
    list
        One result for each job.

    Raises
    ------
    BaseException
        What the first job raised that failed, as it is: its class and message are those of the job, and a note
        (`BaseException.add_note`), which a traceback shows below the message, names the job's number and box. Before
        it is raised, what has not begun is cancelled, and what runs has ended. (Dask does not know what runs: there,
        such a job may end later.)

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as executor:
    ...     run_jobs(abs, [-3, 2, -1], executor=executor)
    [3, 2, 1]
    """
    outcomes = finished_jobs(function, jobs, executor=executor, boxes=boxes, progress_desc=progress_desc)
    results = dict(outcomes)
    return [results[position] for position in range(len(results))]


def finished_jobs(
    function: Callable[[_Job], _Result],
    jobs: Iterable[_Job],
    *,
    executor: Executor | None = None,
    boxes: Sequence[NDBoundingBox] | None = None,
    progress_desc: str | None = None,
) -> Generator[tuple[int, _Result]]:
    """Yield the position and the result of each job as soon as it has ended; see `run_jobs`.

    Whoever has seen enough closes the generator: that cancels what has not begun, and waits for what runs.

    Examples
    --------
    >>> list(finished_jobs(abs, [-3, 2]))
    [(0, 3), (1, 2)]
    """
    outcomes = _one_by_one(function, jobs, boxes) if executor is None else _on(executor, function, jobs, boxes)
    with _progress(progress_desc, boxes) as advance, closing(outcomes):
        for position, result in outcomes:
            advance(position)
            yield position, result


def _one_by_one(
    function: Callable[[_Job], _Result], jobs: Iterable[_Job], boxes: Sequence[NDBoundingBox] | None
) -> Generator[tuple[int, _Result]]:
    for position, job in enumerate(jobs):
        try:
            result = function(job)
        except Exception as error:
            error.add_note(_name(position, boxes))
            raise
        yield position, result


def _on(
    executor: Executor,
    function: Callable[[_Job], _Result],
    jobs: Iterable[_Job],
    boxes: Sequence[NDBoundingBox] | None,
) -> Generator[tuple[int, _Result]]:
    most = _most_at_once(executor)
    waiting = enumerate(jobs)
    run = uuid4().hex
    begun: dict[Future[_Result], int] = {}
    ended: SimpleQueue[Future[_Result]] = SimpleQueue()  # in the order of time, so that the first failure is the first
    try:
        while True:
            for position, job in waiting:
                future = executor.submit(_call, function, job, (run, position))
                begun[future] = position
                future.add_done_callback(ended.put)
                if len(begun) >= most or future.done():  # done: it ran here at once, and may have failed
                    break
            if not begun:
                return
            future = ended.get()
            position = begun.pop(future)
            yield position, _result(future, position, boxes)
    finally:
        # A future that was cancelled in time is not waited for: some executors never touch it again.
        wait([future for future in begun if not future.cancel()])


def _call(function: Callable[[_Job], _Result], job: _Job, ticket: tuple[str, int]) -> _Result:
    """Do a job. No two tickets are equal: Dask takes equal calls for one, and does not repeat what it remembers."""
    return function(job)


def _most_at_once(executor: Executor) -> int:
    """Return how many jobs to hand out at a time: a million futures would be slow, and hold all of their jobs."""
    workers = getattr(executor, "_max_workers", None)  # the executors of the standard library tell it nowhere else
    return _JOBS_PER_WORKER * workers if isinstance(workers, int) else _JOBS_FOR_UNKNOWN_WORKERS


def _result(future: Future[_Result], position: int, boxes: Sequence[NDBoundingBox] | None) -> _Result:
    try:
        return future.result()
    except BaseException as error:
        error.add_note(_name(position, boxes))
        raise


def _name(position: int, boxes: Sequence[NDBoundingBox] | None) -> str:
    return f"This happened in chunk {position}" + (f", {boxes[position]} (in Mag(1))." if boxes else ".")


@contextmanager
def _progress(description: str | None, boxes: Sequence[NDBoundingBox] | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, and yield what tells it that the job at a position has ended."""
    if description is None or not sys.stderr.isatty():
        yield lambda position: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress  # slow to import, and seldom needed

    voxels = [box.volume() for box in boxes] if boxes else None
    with Progress(*Progress.get_default_columns(), console=Console(stderr=True)) as progress:
        task = progress.add_task(escape(description), total=sum(voxels) if voxels else None)
        yield lambda position: progress.advance(task, voxels[position] if voxels else 1)
