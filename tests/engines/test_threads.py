import signal
import threading
import time

import pytest

from wkgpu.engines import threads as threads_module
from wkgpu.engines.threads import ThreadTeam


@pytest.fixture
def team():
    return ThreadTeam()


@pytest.mark.parametrize("threads", [0, 1, 2, 8])
@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 100])
def test_every_task_runs_once(team, config, threads, tasks):
    config.threads = threads
    done = []
    team.run(done.append, tasks)
    assert sorted(done) == list(range(tasks))


def test_tasks_run_at_the_same_time(team, config):
    config.threads = 3
    together = threading.Barrier(3)
    team.run(lambda _: together.wait(10), 3)


def test_tasks_begin_in_ascending_order(team, config):
    config.threads = 4
    begun = []
    team.run(lambda task: (begun.append(task), time.sleep(0.001)), 40)
    # Threads take a number, and then append it: neighbours may change places, but a task never overtakes by more.
    assert all(abs(task - place) < 4 for place, task in enumerate(begun))


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_error_is_raised_and_the_rest_is_not_begun(team, config, threads):
    config.threads = threads
    begun = []

    def work(task):
        begun.append(task)
        if task == 3:
            raise KeyError(task)
        time.sleep(0.001)

    with pytest.raises(KeyError, match="3"):
        team.run(work, 1000)
    assert len(begun) < 20


def test_the_team_works_on_after_an_error(team, config):
    config.threads = 4
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            team.run(lambda task: 1 // (task - 5), 20)
        done = []
        team.run(done.append, 20)
        assert len(done) == 20


def test_a_task_can_use_the_team(team, config):
    config.threads = 3
    done = []
    team.run(lambda outer: team.run(lambda middle: team.run(lambda _: done.append((outer, middle)), 3), 3), 3)
    assert len(done) == 27


def test_many_callers(team, config):
    config.threads = 3
    sums = []

    def call(number):
        done = []
        team.run(lambda task: done.append(task * number), 50)
        sums.append(sum(done) == 1225 * number)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(20)
    assert sums == [True] * 8


def test_more_threads_later(team, config):
    for threads in (2, 5, 3):
        config.threads = threads
        together = threading.Barrier(threads)
        team.run(lambda _, together=together: together.wait(10), threads)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_caller_waits_for_its_threads(team, config):
    """Its memory and files must not be given back while other threads work on them."""
    config.threads = 2
    running = []
    helper_runs = threading.Event()

    def work(task):
        running.append(task)
        if threading.current_thread() is threading.main_thread():
            helper_runs.wait(10)
        else:
            helper_runs.set()
            time.sleep(0.05)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # Ctrl+C, while the caller waits
            time.sleep(0.2)
        running.remove(task)

    with pytest.raises(KeyboardInterrupt):
        team.run(work, 2)
    left = list(running)
    time.sleep(0.3)
    assert left == []


def test_a_caller_works_alone_where_the_system_has_no_thread(team, config, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    config.threads = 8
    monkeypatch.setattr(threads_module, "start_new_thread", refuse)
    done = []
    team.run(done.append, 20)
    assert done == list(range(20))
    monkeypatch.undo()
    together = threading.Barrier(3)  # later there are some again
    config.threads = 3
    team.run(lambda _: together.wait(10), 3)
