"""The short form of the trial of kills."""

from . import kills
from .processes import is_fault


def test_kills():
    outcomes = kills.run(30, 0)
    assert not list(filter(is_fault, outcomes))
    assert sum(outcomes.values()) == 30
    assert sum(count for outcome, count in outcomes.items() if outcome.endswith(" killed")) > 10
