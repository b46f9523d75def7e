"""The short form of the trial of interrupts."""

from . import interrupts
from .processes import is_fault


def test_interrupts():
    outcomes = interrupts.run(150, 0)
    assert not list(filter(is_fault, outcomes))
    assert sum(outcomes.values()) == 150
    assert sum(count for outcome, count in outcomes.items() if outcome.endswith(" interrupted")) > 75
