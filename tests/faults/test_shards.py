"""The short form of the trial of damaged shards."""

from . import processes, shards


def test_damaged_shards():
    outcomes = shards.run(200, 0)
    assert not [outcome for outcome in outcomes if outcome.startswith("FAULT")]
    assert outcomes["right"] > 100
    assert outcomes["refused"] > 100
    assert sum(outcomes.values()) == 200 * 7


def test_a_crash_is_seen(monkeypatch):
    """A process that ends early is a fault of the case that it was at, and the others are run all the same."""
    monkeypatch.setattr(processes, "_in_process", crashing(processes._in_process))
    outcomes = shards.run(3, 5)
    (fault,) = (outcome for outcome in outcomes if outcome.startswith("FAULT"))
    assert fault == "FAULT process ended with -11:  in case 1 of seed 5"
    assert sum(outcomes.values()) == 2 * 7 + 1


def crashing(in_process):
    def run(trial, first, count, seed):
        if first > 1:
            return in_process(trial, first, count, seed)
        outcomes, done, _ = in_process(trial, first, 1, seed)
        return outcomes, done, "process ended with -11: "

    return run
