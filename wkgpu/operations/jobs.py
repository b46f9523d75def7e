"""Jobs of one kind, one after another or on an executor, until all have ended or the first has failed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager, nullcontext
from itertools import chain, islice
from queue import SimpleQueue
from threading import get_ident
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from uuid import uuid4

from wkgpu.engines import in_streams, side_streams
from wkgpu.geometry.nd_bounding_box import NDBoundingBox

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

_JOBS_PER_WORKER = 4  # enough that no worker waits for this process, which hands out the next job
_JOBS_FOR_UNKNOWN_WORKERS = 1024  # as many as large clusters have
_MAX_BATCH = 1000  # Slurm's MaxArraySize is 1001 where it is not set

_Numbered: TypeAlias = tuple[_Job, tuple[str, int]]
"""A job with the run that it belongs to and its position.

No two of them are equal: Dask takes equal calls for one, and does not repeat what it remembers.
"""


class Executor(Protocol):
    """What jobs need of an executor: that of `concurrent.futures.Executor`, of Dask, of cluster_tools, ..."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Begin ``fn(*args)``, here or elsewhere. With ``map_to_futures(fn, args)`` many jobs begin at once."""
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
        process. An executor with ``map_to_futures``, such as those of cluster_tools, gets batches of up to 1,000 jobs
        (on Slurm each is one array job), and up to 2,000 jobs are pending.
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
        it is raised, what has not begun is cancelled, and what runs has ended. (Dask and clusters do not know what
        runs: there, such a job may end later.)

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

    To close the generator cancels what has not begun, and waits for what runs.

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
    size, pending = _batch_size(executor), _max_pending(executor)
    run = uuid4().hex
    waiting: Iterator[_Numbered[_Job]] = ((job, (run, position)) for position, job in enumerate(jobs))
    begun: dict[Future[_Result], int] = {}
    ended: SimpleQueue[Future[_Result]] = SimpleQueue()  # in the order of time, so that the first failure is the first
    try:
        while True:
            while len(begun) + size <= pending and (first := next(waiting, None)) is not None:
                batch = _Batch(function, first, waiting, size)
                futures = batch.begin(executor, boxes)
                begun.update(zip(futures, batch.positions, strict=True))
                for future in futures:
                    future.add_done_callback(ended.put)
                if batch.failure is not None:
                    raise batch.failure
                if any(future.done() for future in futures):  # it ran here at once, and may have failed
                    break
            if not begun:
                return
            future = ended.get()
            position = begun.pop(future)
            yield position, _result(future, position, boxes)
    finally:
        # A future that was cancelled in time is not waited for: some executors never touch it again.
        wait([future for future in begun if not future.cancel()])


class _Batch(Generic[_Job, _Result]):
    """Jobs that an executor gets at once: more than one if it has ``map_to_futures``, as those of cluster_tools have.

    Attributes
    ----------
    positions
        Of the jobs that the executor has taken.
    failure
        What the source of the jobs raised. It ends the batch, and is for the caller to raise: an executor in which it
        is raised would lose the futures of the jobs that it has begun.
    """

    def __init__(
        self,
        function: Callable[[_Job], _Result],
        first: _Numbered[_Job],
        waiting: Iterator[_Numbered[_Job]],
        size: int,
    ) -> None:
        self._worker = _Worker(function)
        self._jobs = chain([first], islice(waiting, size - 1))
        self._size = size
        self.positions: list[int] = []
        self.failure: BaseException | None = None

    def begin(self, executor: Any, boxes: Sequence[NDBoundingBox] | None) -> list[Future[_Result]]:
        """Hand the jobs out, and return their futures."""
        try:
            if self._size == 1:
                return [executor.submit(self._worker, *self)]
            return list(executor.map_to_futures(self._worker, self))
        except Exception as error:
            if self._worker.has_failed_here:  # some executors do the jobs as they take them, and raise what these raise
                error.add_note(_name(self.positions[-1], boxes))
            raise

    def __iter__(self) -> Iterator[_Numbered[_Job]]:
        try:
            for numbered in self._jobs:
                self.positions.append(numbered[1][1])
                yield numbered
                # An executor that has done the job already gets one at a time: its result is not kept back until all
                # others of the batch are done as well.
                if self._worker.has_run_here:
                    return
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error


class _Worker(Generic[_Job, _Result]):
    """What an executor calls with each numbered job. Where it is called in this process, the caller can see that.

    Threads of this process work in the caller's streams of a GPU, so that what they return is used in the same order
    as if the caller had made it.
    """

    def __init__(self, function: Callable[[_Job], _Result]) -> None:
        self._function = function
        self._thread = get_ident()
        self._streams = side_streams()
        self.has_run_here = self.has_failed_here = False

    def __call__(self, numbered: _Numbered[_Job]) -> _Result:
        """Do a job."""
        is_here = get_ident() == self._thread
        self.has_run_here = self.has_run_here or is_here
        try:
            with nullcontext() if is_here else in_streams(self._streams):
                return self._function(numbered[0])
        except Exception:
            self.has_failed_here = is_here
            raise

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return _Worker, (self._function,)


def _batch_size(executor: Executor) -> int:
    """Return how many jobs an executor can begin in one call; on Slurm they are one array job."""
    if not callable(getattr(executor, "map_to_futures", None)):
        return 1
    return min(_JOBS_PER_WORKER * (_workers(executor) or _MAX_BATCH), _MAX_BATCH)


def _max_pending(executor: Executor) -> int:
    """Return how many jobs to hand out at a time: a million futures would be slow, and hold all of their jobs."""
    size = _batch_size(executor)
    if size > 1:
        return 2 * size  # so that a batch waits while the other one is worked on
    workers = _workers(executor)
    return _JOBS_FOR_UNKNOWN_WORKERS if workers is None else _JOBS_PER_WORKER * workers


def _workers(executor: Executor) -> int | None:
    workers = getattr(executor, "_max_workers", None)  # the executors of the standard library tell it nowhere else
    return workers if isinstance(workers, int) else None


def _result(future: Future[_Result], position: int, boxes: Sequence[NDBoundingBox] | None) -> _Result:
    try:
        return future.result()
    except BaseException as error:
        error.add_note(_name(position, boxes))
        raise


def _name(position: int, boxes: Sequence[NDBoundingBox] | None) -> str:
    return f"While processing chunk {position}" + (f", {boxes[position]} (in Mag(1))." if boxes else ".")


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
