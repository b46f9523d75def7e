"""Jobs on executors: order, how many at a time, and what happens when one fails."""

from __future__ import annotations

import builtins
import io
import itertools
import os
import sys
import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

import wkgpu as wk
from wkgpu.operations.executors import SequentialExecutor
from wkgpu.operations.jobs import finished_jobs, run_jobs

KINDS = ("none", "sequential", "threads", "processes", "dask", "cluster_tools")
BOXES = [wk.BoundingBox((0, 0, 8 * number), (8, 8, 8)) for number in range(100)]


@pytest.fixture(scope="module")
def executors():
    """One executor of each kind, started at its first use, for all tests: processes and clusters take seconds."""
    with ExitStack() as stack:
        started = {}

        def get(kind):
            if kind == "none":
                return None
            if kind == "dask":
                pytest.importorskip("distributed", reason="Dask is not installed")
            if kind == "cluster_tools" and kind not in started:
                cluster_tools = pytest.importorskip("cluster_tools", reason="webknossos is not installed")
                started[kind] = stack.enter_context(cluster_tools.get_executor("multiprocessing", max_workers=2))
            if kind not in started:
                options = {
                    "sequential": {},
                    "dask": {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None},
                }.get(kind, {"max_workers": 2})
                started[kind] = stack.enter_context(wk.get_executor(kind, **options))
            return started[kind]

        yield get


@pytest.fixture(params=KINDS)
def executor(request, executors):
    return executors(request.param)


def square(number):
    time.sleep(0.01 if number == 0 else 0)  # so that the first does not end first
    return number * number


def fails_at_five(number):
    if number == 5:
        raise KeyError("the fifth")
    return number


class OddError(Exception):
    """An exception that cannot be made from its message alone."""

    def __init__(self, first, second):
        super().__init__(first, second)


def fails_oddly(number):
    raise OddError(number, "odd")


def process_id(_):
    return os.getpid()


# ---- Results


def test_results_have_the_order_of_the_jobs(executor):
    assert run_jobs(square, range(50), executor=executor) == [number * number for number in range(50)]


def test_no_jobs(executor):
    assert run_jobs(square, [], executor=executor) == []


def test_equal_jobs_are_all_done(executor, tmp_path):
    """Dask takes equal calls for the same one, unless it is told."""
    path = str(tmp_path / "done")
    for _ in range(2):
        run_jobs(append_a_byte, [path] * 10, executor=executor)
    assert os.path.getsize(path) == 20


def append_a_byte(path):
    with open(path, "ab") as file:
        file.write(b".")


def test_jobs_are_taken_as_they_are_needed(executor):
    """A failure at the fifth of endless jobs ends them."""
    with pytest.raises(KeyError):
        run_jobs(fails_at_five, itertools.count(), executor=executor)


def test_outcomes_come_as_they_end(executors):
    first_may_end = threading.Event()

    def job(number):
        if number == 0:
            first_may_end.wait(10)
        return number

    outcomes = finished_jobs(job, range(3), executor=executors("threads"))
    assert sorted(itertools.islice(outcomes, 2)) == [(1, 1), (2, 2)]
    first_may_end.set()
    assert list(outcomes) == [(0, 0)]


class CountingExecutor:
    """An executor of threads that does not tell how many; it counts the jobs that have not ended."""

    def __init__(self):
        self.pool, self.outstanding, self.max_outstanding, self.lock = ThreadPoolExecutor(2), 0, 0, threading.Lock()

    def submit(self, fn, /, *args):
        with self.lock:
            self.outstanding += 1
            self.max_outstanding = max(self.max_outstanding, self.outstanding)
        future = self.pool.submit(fn, *args)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _):
        with self.lock:
            self.outstanding -= 1


def test_few_jobs_are_handed_out_at_a_time():
    executor = CountingExecutor()
    assert run_jobs(abs, range(5000), executor=executor) == list(range(5000))
    assert executor.max_outstanding <= 1024
    executor._max_workers, executor.max_outstanding = 2, 0
    assert run_jobs(abs, range(500), executor=executor) == list(range(500))
    assert executor.max_outstanding <= 8
    executor.pool.shutdown()


# ---- Executors that begin many jobs in one call


class BatchExecutor:
    """An executor with ``map_to_futures``, whose jobs end when it is told; it counts them in its batches."""

    def __init__(self):
        self.batches, self.begun = [], []

    def map_to_futures(self, fn, args):
        args = list(args)
        self.batches.append(len(args))
        futures = [Future() for _ in args]
        self.begun += [(fn, arg, future) for arg, future in zip(args, futures, strict=True)]
        return futures

    def end(self, number):
        for fn, arg, future in self.begun[:number]:
            future.set_result(fn(arg))
        del self.begun[:number]

    def end_the_first(self, begun):
        """End one job as soon as so many have begun."""
        while len(self.begun) < begun:
            time.sleep(0.001)
        self.end(1)


@pytest.mark.parametrize("jobs", [0, 1, 12, 1000, 2000, 5003])
def test_batches_are_large_and_few_are_pending(jobs):
    executor, taken = BatchExecutor(), []

    def source():
        for number in range(jobs):
            taken.append(number)
            yield number

    def end_some():
        while not done.wait(0.001):
            assert len(executor.begun) <= 2000
            executor.end(500)

    done = threading.Event()
    thread = threading.Thread(target=end_some)
    thread.start()
    try:
        assert run_jobs(abs, source(), executor=executor) == list(range(jobs))
    finally:
        done.set()
        thread.join()
    assert executor.batches == [1000] * (jobs // 1000) + [jobs % 1000] * (jobs % 1000 > 0)


def test_jobs_are_taken_in_batches():
    executor = BatchExecutor()
    source = iter(range(10_000))
    outcomes = finished_jobs(abs, source, executor=executor)
    thread = threading.Thread(target=executor.end_the_first, args=(2000,), daemon=True)
    thread.start()
    assert next(outcomes) == (0, 0)
    thread.join()
    assert executor.batches == [1000, 1000]
    assert next(source) == 2000
    outcomes.close()
    assert all(future.cancelled() for _, _, future in executor.begun)


def test_a_source_that_fails_in_a_batch_cancels_what_it_holds():
    executor = BatchExecutor()

    def jobs():
        yield 1
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more") as caught:
        run_jobs(abs, jobs(), executor=executor)
    assert not hasattr(caught.value, "__notes__")
    assert [future.cancelled() for _, _, future in executor.begun] == [True]


@pytest.fixture
def one_by_one():
    """The executor of cluster_tools that does the jobs in the call, and raises there what they raise."""
    cluster_tools = pytest.importorskip("cluster_tools", reason="webknossos is not installed")
    with cluster_tools.get_executor("sequential") as executor:
        yield executor


def test_cluster_tools_in_the_calling_thread(one_by_one):
    taken = iter(range(10))
    outcomes = finished_jobs(lambda _: threading.get_ident(), taken, executor=one_by_one)
    assert next(outcomes) == (0, threading.get_ident())
    assert next(taken) == 1, "the others are taken when they are needed"
    outcomes.close()
    with pytest.raises(KeyError) as caught:
        run_jobs(fails_at_five, itertools.count(), executor=one_by_one, boxes=BOXES)
    assert caught.value.__notes__ == [f"While processing chunk 5, {BOXES[5]} (in Mag(1))."]


SLURM = {
    "sbatch": """#!/bin/bash
file="${@: -1}"; echo 7 >> "$FAKE/calls"; id=7$(wc -l < "$FAKE/calls"); cp "$file" "$FAKE/job.$id"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$file")
( for i in $(seq 0 ${last:-0}); do
    SLURM_JOB_ID=$id SLURM_ARRAY_JOB_ID=$id SLURM_ARRAY_TASK_ID=$i timeout 60 sh "$FAKE/job.$id"
  done ) > "$FAKE/log.$id" 2>&1 < /dev/null &
echo $id
""",
    "srun": '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n',
    "scontrol": '#!/bin/bash\n[ "$2" = config ] && echo "MaxArraySize = 1001" || echo "JobState=RUNNING"\n',
    "squeue": "#!/bin/bash\n",
    "sacctmgr": "#!/bin/bash\n",
    "sacct": "#!/bin/bash\nexit 1\n",
    "scancel": "#!/bin/bash\n",
}


def test_slurm_gets_one_array_job(tmp_path, monkeypatch, interruptible):
    """Stand-ins for Slurm's commands do the tasks here, and count the calls of sbatch."""
    cluster_tools = pytest.importorskip("cluster_tools", reason="webknossos is not installed")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in SLURM.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("USER", "nobody")
    monkeypatch.setattr(sys, "argv", [__file__])  # it looks for the script, whose path may be relative
    monkeypatch.chdir(tmp_path)
    resources = {"mem": "1M"}
    with cluster_tools.get_executor("slurm", job_resources=resources, cfut_dir=str(tmp_path / "cfut")) as executor:
        assert run_jobs(int, ["7", "8", "9"], executor=executor) == [7, 8, 9]
        assert (tmp_path / "calls").read_text() == "7\n"
        with pytest.raises(Exception, match="invalid literal") as caught:  # it is that of cluster_tools
            run_jobs(int, ["x", "8"], executor=executor)
    assert caught.value.__notes__ == ["While processing chunk 0."]


# ---- Failures


def test_the_first_exception_names_its_box(executor):
    with pytest.raises(KeyError, match="the fifth") as caught:
        run_jobs(fails_at_five, range(100), executor=executor, boxes=BOXES)
    assert type(caught.value) is KeyError
    assert caught.value.args == ("the fifth",)
    assert caught.value.__notes__ == [f"While processing chunk 5, {BOXES[5]} (in Mag(1))."]


def test_without_boxes_it_names_the_number(executor):
    with pytest.raises(KeyError) as caught:
        run_jobs(fails_at_five, range(100), executor=executor)
    assert caught.value.__notes__ == ["While processing chunk 5."]


def test_any_class_of_exception(executor):
    with pytest.raises(OddError) as caught:
        run_jobs(fails_oddly, [7], executor=executor, boxes=BOXES[:1])
    assert caught.value.args == (7, "odd")


def test_what_has_not_begun_is_cancelled_and_what_runs_ends():
    begun, ended, failed = [], [], threading.Event()

    def job(number):
        begun.append(number)
        if number == 0:
            failed.set()
            raise ValueError("no")
        failed.wait(10)
        time.sleep(0.2)
        ended.append(number)

    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(ValueError, match="no"):
            run_jobs(job, range(1000), executor=executor)
        assert sorted(begun[1:]) == sorted(ended)  # nothing runs any more
        time.sleep(0.1)
        assert len(begun) <= 4


def test_the_first_in_time_is_raised(executors):
    second_failed = threading.Event()

    def job(number):
        if number == 1:
            second_failed.set()
            raise ValueError("the second")
        second_failed.wait(10)
        time.sleep(0.1)
        raise ValueError("the first")

    with pytest.raises(ValueError, match="the second"):
        run_jobs(job, range(2), executor=executors("threads"))


def test_whoever_has_seen_enough_leaves(executors):
    begun = []

    def job(number):
        begun.append(number)
        time.sleep(0.02)

    outcomes = finished_jobs(job, itertools.count(), executor=executors("threads"))
    next(outcomes)
    outcomes.close()
    number = len(begun)
    time.sleep(0.1)
    assert len(begun) == number < 10


def test_a_failing_source_of_jobs():
    def jobs():
        yield 1
        raise RuntimeError("no more")

    for executor in (None, SequentialExecutor()):
        with pytest.raises(RuntimeError, match="no more") as caught:
            run_jobs(abs, jobs(), executor=executor)
        assert not hasattr(caught.value, "__notes__")  # it belongs to no chunk


def test_an_executor_that_is_shut_down():
    class Cancelling:
        def submit(self, fn, /, *args):
            future = Future()
            future.cancel()
            return future

    with pytest.raises(CancelledError):
        run_jobs(abs, [1], executor=Cancelling())
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        run_jobs(abs, [1], executor=executor)


def dies(_):
    os._exit(1)


def test_a_process_that_dies():
    with wk.get_executor("processes", max_workers=1) as executor, pytest.raises(RuntimeError, match="abruptly"):
        run_jobs(dies, range(3), executor=executor)


# ---- Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_in_voxels(executor, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    seen = []
    from rich.progress import Progress

    advance = Progress.advance
    monkeypatch.setattr(Progress, "advance", lambda *args: (seen.append(args[2]), advance(*args)))
    run_jobs(square, range(4), executor=executor, boxes=BOXES[:4], progress_desc="Squaring [all]")
    assert "Squaring [all]" in sys.stderr.getvalue()
    assert "100%" in sys.stderr.getvalue()
    assert seen == [512] * 4


def test_no_progress_without_a_terminal(capsys):
    run_jobs(square, range(4), boxes=BOXES[:4], progress_desc="Squaring")
    assert capsys.readouterr() == ("", "")


# ---- Executors


@pytest.mark.covers("get_executor")
def test_where_jobs_run(executors):
    here = os.getpid()
    for kind, elsewhere in {"none": 0, "sequential": 0, "threads": 0, "processes": 1, "dask": 1}.items():
        assert all((process != here) == elsewhere for process in run_jobs(process_id, [1], executor=executors(kind)))


def settings(_):
    return wk.config.device, wk.config.threads


def initialize(value):
    wk.config.device = value


def test_processes_have_the_settings_of_this_one(config):
    config.device, config.threads = "cuda:7", 5
    with wk.get_executor("processes", max_workers=2) as executor:
        assert run_jobs(settings, [0], executor=executor) == [("cuda:7", 2)]
    with wk.get_executor("processes", max_workers=8, initializer=initialize, initargs=("cuda:8",)) as executor:
        assert run_jobs(settings, [0], executor=executor) == [("cuda:8", 1)]


def test_an_unknown_executor():
    with pytest.raises(wk.errors.ArgumentError, match="'sequential', 'threads', 'processes', 'dask'"):
        wk.get_executor("slurm").__enter__()


def test_dask_that_is_not_installed(monkeypatch):
    real = builtins.__import__

    def without_dask(name, *args, **keywords):
        if name == "distributed":
            raise ImportError(name)
        return real(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_dask)
    with pytest.raises(wk.errors.UnsupportedError, match=r"run: pip install 'dask\[distributed\]>="):
        wk.get_executor("dask").__enter__()
