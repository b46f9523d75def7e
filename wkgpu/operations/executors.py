"""Where chunks are worked on: here, in threads, in processes, or on a cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ParamSpec, TypeVar

from wkgpu.errors import ArgumentError, UnsupportedError
from wkgpu.extras import install_command
from wkgpu.settings import config

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


@contextmanager
def get_executor(kind: str, **options: Any) -> Iterator[Executor]:
    """Return an executor, as a context manager that ends its threads or processes.

    Any `concurrent.futures` executor works: whatever has the interface of `concurrent.futures.Executor` can be given
    to `View.for_each_chunk` and its like. Those of cluster_tools get many jobs at once: on Slurm, array jobs of up to
    1,000 tasks.

    Parameters
    ----------
    kind : str
        - ``"sequential"``: one job after another, in this process and thread.
        - ``"threads"``: a `ThreadPoolExecutor`. Reads, writes and most of NumPy run side by side.
        - ``"processes"``: a `ProcessPoolExecutor`, for functions that are busy with Python itself. Processes are
          spawned, because neither CUDA nor threads survive a fork: a script needs ``if __name__ == "__main__":``, and
          functions must be importable by name. The processes have the settings of `wkgpu.config`, and share its
          threads.
        - ``"dask"``: on a Dask cluster, by default one of processes on this machine. It needs the extra ``dask``.
    **options
        For the executor: ``max_workers=4``, and for Dask those of `distributed.Client`: ``n_workers=4``,
        ``address="tcp://scheduler:8786"``. One process for each GPU is what dask-cuda starts:
        ``address=LocalCUDACluster()``. Each of its workers sees its own GPU first, so that the device is ``"cuda"``
        without a number, as in ``Dataset.open(path, device="cuda")``. Dask's workers take their settings from their
        environment (``WKGPU_DEVICE``, ...).

    Yields
    ------
    Executor
        When the block is left, what is running ends first.

    Raises
    ------
    ArgumentError
        For another kind.
    UnsupportedError
        If Dask is not installed.

    Examples
    --------
    >>> with get_executor("threads", max_workers=2) as executor:
    ...     list(executor.map(abs, [-1, 2]))
    [1, 2]
    """
    makers: dict[str, Callable[..., AbstractContextManager[Executor]]] = {
        "sequential": SequentialExecutor,
        "threads": ThreadPoolExecutor,
        "processes": _processes,
        "dask": _dask,
    }
    if kind not in makers:
        raise ArgumentError(f"There is no executor {kind!r}; give one of {', '.join(map(repr, makers))}.")
    with makers[kind](**options) as executor:
        yield executor


class SequentialExecutor(Executor):
    """Does each job when it is submitted, in the thread that submits it.

    Examples
    --------
    >>> SequentialExecutor().submit(abs, -1).result()
    1
    """

    def submit(
        self, fn: Callable[_Parameters, _Result], /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> Future[_Result]:
        """Return a future that is done already."""
        future: Future[_Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _processes(
    max_workers: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    **options: Any,
) -> Executor:
    workers = config.threads if max_workers is None else max_workers
    settings = vars(config) | {"threads": max(config.threads // max(workers, 1), 1)}
    return ProcessPoolExecutor(
        workers,
        initializer=_prepare_process,
        initargs=(settings, initializer, initargs),
        **{"mp_context": multiprocessing.get_context("spawn")} | options,
    )


def _prepare_process(
    settings: dict[str, Any], initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    """Give a new process the settings of the one that starts it, which may not be those of the environment."""
    for name, value in settings.items():
        setattr(config, name, value)
    if initializer is not None:
        initializer(*initargs)


@contextmanager
def _dask(**options: Any) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UnsupportedError(
            f'The executor "dask" needs Dask, which is not installed; run: {install_command("dask")}'
        ) from error
    with Client(**options) as client, client.get_executor() as executor:
        yield executor
