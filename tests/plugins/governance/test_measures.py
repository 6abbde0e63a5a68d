"""Tests of measures: whom they hold, until when, and who goes free."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Intent
from aetherra.plugins.governance.guards import counted_by
from aetherra.plugins.governance.measures import LOST, Measure, Measures


def intent(kind: str = "actuator", component: str = "x", **fields: Any) -> Intent:
    return Intent(kind=kind, component=component, summary="", **fields)


def measure(breach: Any, guard: Any = "actions_per_component_per_minute", key: str = "x", **fields: Any) -> Measure:
    return Measure(guard=guard, key=key, breach=breach, since=0.0, reason="it was too much", **fields)


def holds(kept: Measure, wanted: Intent, asker: str = "homeostasis") -> bool:
    return kept.holds(asker, wanted, counted_by(wanted, asker))


PAUSE = measure("pause_self_incorporation", "integrations_per_hour", "self_incorporation", asker="self_incorporation")
RESTART = measure("disable_actuator", asker="homeostasis", actuator="restart")
NAMELESS = measure("disable_actuator", asker="homeostasis")
ROLLBACKS = measure("require_human_approval", "rollbacks_per_hour", "hmr")
SENDER = measure("require_human_approval", "proposals_per_sender_per_minute", "ada")
EVERYTHING = measure("require_human_approval", LOST, "")


class TestTime:
    def test_the_clock_was_set_back(self) -> None:
        """What an earlier run has imposed for a while lasts no longer than that from now."""
        imposed = measure("disable_actuator", "actions_per_component_per_minute", "x")
        imposed = msgspec.structs.replace(imposed, since=100_000.0, until=100_600.0)
        assert [each.until for each in Measures(lambda: 0.0, [imposed]).in_force()] == [600.0]

    def test_the_second_is_news(self) -> None:
        """What is in force already is none."""
        kept = Measures(lambda: 0.0)
        assert [kept.impose(PAUSE), kept.impose(PAUSE)] == [True, False]


class TestHolds:
    @pytest.mark.parametrize(
        ("kept", "wanted", "asker", "held"),
        [
            (PAUSE, intent("integration"), "self_incorporation", True),
            (PAUSE, intent("quarantine"), "self_incorporation", True),
            (PAUSE, intent("learning"), "self_incorporation", True),
            (PAUSE, intent("learning", undo=True), "self_incorporation", False),
            (PAUSE, intent("integration"), "somebody", False),
            (PAUSE, intent("rollback"), "self_incorporation", False),
            (PAUSE, intent("integration", undo=True), "self_incorporation", True),
            (PAUSE, intent("actuator"), "homeostasis", False),
            (RESTART, intent(actuator="restart"), "homeostasis", True),
            (RESTART, intent(component="y", actuator="restart"), "homeostasis", True),
            (RESTART, intent(actuator="restart", undo=True), "homeostasis", False),
            (RESTART, intent(actuator="shed"), "homeostasis", False),
            (RESTART, intent(actuator="restart"), "somebody", False),
            (NAMELESS, intent(), "homeostasis", True),
            (NAMELESS, intent(component="y"), "homeostasis", False),
            (NAMELESS, intent(), "somebody", False),
            (ROLLBACKS, intent("rollback"), "hmr", True),
            (ROLLBACKS, intent("rollback", undo=True), "hmr", True),
            (ROLLBACKS, intent("rollback", undo=True), "self_incorporation", False),
            (ROLLBACKS, intent("integration"), "hmr", False),
            (SENDER, intent("proposal", sender="ada"), "self_improvement", True),
            (SENDER, intent("proposal"), "self_improvement", False),
            (EVERYTHING, intent(), "homeostasis", True),
            (EVERYTHING, intent("proposal"), "self_improvement", True),
            (EVERYTHING, intent(undo=True), "homeostasis", False),
        ],
    )
    def test_it_holds_the_wrong_one(self, kept: Measure, wanted: Intent, asker: str, held: bool) -> None:
        """Each holds those it is about, and ways back only if it is about these."""
        assert holds(kept, wanted, asker) is held


class TestMeasures:
    async def test_it_outlasts_its_time(self) -> None:
        """It ends by itself when its time is over; one without an end does not."""
        clock = FakeClock(0.0)
        kept = Measures(clock.time, [measure("disable_actuator", until=600.0), PAUSE])
        assert len(kept.in_force()) == 2
        await clock.advance(599)
        assert len(kept.in_force()) == 2
        await clock.advance(1)
        assert kept.in_force() == (PAUSE,)

    def test_it_is_there_twice(self) -> None:
        """The same breach again prolongs it, and never shortens it."""
        kept = Measures(lambda: 0.0)
        for until in (600.0, 700.0, 650.0):
            kept.impose(measure("disable_actuator", until=until))
        assert [each.until for each in kept.in_force()] == [700.0]
        kept.impose(measure("disable_actuator"))
        kept.impose(measure("disable_actuator", until=900.0))
        assert [each.until for each in kept.in_force()] == [None]

    def test_a_person_lifts_too_much_or_too_little(self) -> None:
        """What is lifted is that of one guard, for one key or for all."""
        other = measure("disable_actuator", key="y")
        kept = Measures(lambda: 0.0, [NAMELESS, other, PAUSE])
        assert kept.lift("actions_per_component_per_minute", "x") == (NAMELESS,)
        assert kept.in_force() == (other, PAUSE)
        assert kept.lift("actions_per_component_per_minute") == (other,)
        assert kept.in_force() == (PAUSE,)

    def test_an_approval_opens_what_is_paused(self) -> None:
        """Of two measures, what refuses comes before what has a person agree."""
        kept = Measures(lambda: 0.0, [EVERYTHING, PAUSE])
        wanted = intent("integration")
        assert kept.holding("self_incorporation", wanted, counted_by(wanted, "self_incorporation")) == PAUSE
