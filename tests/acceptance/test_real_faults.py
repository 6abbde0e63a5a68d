"""Real faults in running hosts, each with homeostasis and without: what it mends, how fast, what it leaves alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from . import healing_faults as faults
from .healing_world import Outcome, Scenario, live_through

FASTER = 5.0
"""How many times as fast as without it a host recovers."""
DISRUPTIVE = {"restart_plugin", "reload_plugin", "roll_back_plugin", "disable_plugin"}
Healed = Callable[[Scenario], Awaitable[Outcome]]
_outcomes: dict[tuple[str, str], Outcome] = {}


async def without(scenario: Scenario) -> Outcome:
    """Live through a scenario without homeostasis, once for all event loops: the fault is the same on each."""
    return await _lived("", scenario)


@pytest.fixture
def healed(anyio_backend_name: str) -> Healed:
    """Live through a scenario with homeostasis, once on each event loop."""
    return partial(_lived, anyio_backend_name)


async def _lived(healing_on: str, scenario: Scenario) -> Outcome:
    key = (healing_on, scenario.name)
    if key not in _outcomes:
        _outcomes[key] = await live_through(scenario, healing=bool(healing_on))
    return _outcomes[key]


def assert_it_hurts_for_good(outcome: Outcome) -> None:
    """The fault is real: many are served badly, and that does not end by itself."""
    assert outcome.bad_before == 0.0, outcome
    assert outcome.bad_share > 0.15, outcome
    assert outcome.bad_at_the_end > 0.15, outcome
    assert not outcome.deeds, outcome


@pytest.mark.slow
class TestWithoutHomeostasis:
    @pytest.mark.parametrize("scenario", [*faults.SINGLE_FAULTS, faults.TWO_FAULTS], ids=lambda it: it.name)
    async def test_a_fault_hurts_for_good(self, scenario: Scenario) -> None:
        """Each of the faults below is one: it does not heal by itself."""
        assert_it_hurts_for_good(await without(scenario))


def done(outcome: Outcome) -> list[tuple[str, str]]:
    """What was done, by what on what, in order."""
    return [(deed.actuator, deed.target) for deed in outcome.acts if not deed.failed]


class TestWithHomeostasis:
    @pytest.mark.slow
    @pytest.mark.parametrize("scenario", faults.SINGLE_FAULTS, ids=lambda it: it.name)
    async def test_a_host_recovers_many_times_as_fast(self, scenario: Scenario, healed: Healed) -> None:
        """From each single fault the host recovers in a fifth of the time at most, and by what can help."""
        alone, outcome = await without(scenario), await healed(scenario)
        assert outcome.bad_before == 0.0, outcome
        assert outcome.trouble * FASTER <= alone.trouble, outcome
        assert outcome.bad_at_the_end <= 0.02, outcome
        assert set(done(outcome)) & scenario.helps, outcome

    async def test_a_wedged_plugin_is_restarted_and_no_other(self, healed: Healed) -> None:
        """One act is enough, on the one plugin that is wedged."""
        outcome = await healed(faults.WEDGE)
        assert done(outcome) == [("restart_plugin", "desk")], outcome
        assert not outcome.useless, outcome

    async def test_bad_code_is_rolled_back(self, healed: Healed) -> None:
        """Code that began to fail when it was loaded is not restarted: the code before it comes back."""
        outcome = await healed(faults.BAD_RELOAD)
        assert done(outcome) == [("roll_back_plugin", "pages")], outcome
        assert not outcome.useless, outcome

    @pytest.mark.slow
    async def test_a_cleanup_that_brings_nothing_is_followed_by_the_next_rung(self, healed: Healed) -> None:
        """What a cleanup says it let go does not count, only the memory that is measured."""
        outcome = await healed(faults.IDLE_CLEANUP)
        acts = done(outcome)
        assert ("restart_plugin", "cache") in acts, outcome
        released = [deed for deed in outcome.acts if deed.actuator == "release_memory"]
        assert released, outcome
        assert acts.index(("restart_plugin", "cache")) > 0, outcome

    @pytest.mark.slow
    async def test_two_faults_at_once_are_both_mended(self, healed: Healed) -> None:
        """Neither hides the other."""
        alone, outcome = await without(faults.TWO_FAULTS), await healed(faults.TWO_FAULTS)
        assert {("restart_plugin", "desk"), ("restart_plugin", "cache")} <= set(done(outcome)), outcome
        assert outcome.trouble * FASTER <= alone.trouble, outcome
        assert outcome.bad_at_the_end <= 0.02, outcome


@pytest.mark.slow
class TestABrokenSensor:
    @pytest.mark.parametrize("scenario", faults.SENSORS, ids=lambda it: it.name)
    async def test_leads_to_nothing_disruptive(self, scenario: Scenario, healed: Healed) -> None:
        """A sensor that flaps, lies or goes silent costs nobody a call: no other one agrees with it."""
        outcome = await healed(scenario)
        assert not [deed for deed in outcome.deeds if deed.actuator in DISRUPTIVE], outcome
        assert outcome.bad_share == 0.0, outcome


@pytest.mark.slow
class TestAnActuatorThatAlwaysFails:
    async def test_is_quarantined_and_tried_once_more_later(self, healed: Healed) -> None:
        """After so many failures in a row it rests; then one trial is made, which fails, and it rests again."""
        outcome = await healed(faults.FAILING_ACTUATOR)
        *before, trial = [deed.at for deed in outcome.deeds]
        in_a_row, rest = faults.QUARANTINE["in_a_row"], faults.QUARANTINE["rest"]
        assert all(deed.failed and deed.actuator == "roll_back_plugin" for deed in outcome.deeds), outcome
        assert in_a_row <= len(before) < in_a_row + len(faults.PAGES), outcome
        assert trial - before[-1] >= rest - 1.0, outcome  # it rests from when that was heard
        assert "roll_back_plugin" in outcome.quarantined, outcome


class TestNoFault:
    @pytest.mark.slow
    async def test_leads_to_no_act(self) -> None:
        """An hour with single errors and single slow calls is no reason to do anything."""
        outcome = await live_through(faults.a_quiet_time(faults.HOUR, 5.0), healing=True)
        assert not outcome.deeds, outcome
        assert outcome.bad_share < 0.02, outcome
