"""Real faults in running hosts, each with homeostasis and without: what it mends, how fast, what it leaves alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from . import healing_faults as faults
from .healing_world import Outcome, Scenario, live_through

FASTER = 5.0
"""How many times as fast as without it a host recovers."""
DISRUPTIVE = {"restart_plugin", "reload_plugin", "roll_back_plugin", "disable_plugin"}
_alone: dict[str, Outcome] = {}


@pytest.fixture(autouse=True)
def freed_memory() -> Iterator[None]:
    """Leave nothing of what leaked to the next test, which is measured, too."""
    yield
    gc.collect()


async def without(scenario: Scenario) -> Outcome:
    """Live through a scenario without homeostasis, once for all event loops: the fault is the same on each."""
    if scenario.name not in _alone:
        _alone[scenario.name] = await live_through(scenario, healing=False)
    return _alone[scenario.name]


def assert_it_hurts_for_good(outcome: Outcome) -> None:
    """The fault is real: many are served badly, and that does not end by itself."""
    assert outcome.bad_before == 0.0, outcome
    assert outcome.bad_share > 0.15, outcome
    assert outcome.bad_at_the_end > 0.15, outcome
    assert not outcome.deeds, outcome


class TestWithoutHomeostasis:
    @pytest.mark.parametrize("scenario", [*faults.SINGLE_FAULTS, faults.TWO_FAULTS], ids=lambda it: it.name)
    async def test_a_fault_hurts_for_good(self, scenario: Scenario) -> None:
        """Each of the faults below is one: it does not heal by itself."""
        assert_it_hurts_for_good(await without(scenario))
