"""Tests of explanations: all of a decision's story in one text, and what is left of it where the rest is gone."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.kernel.testing import FakeClock
from aetherra.plugins.homeostasis.decision import (
    Condition,
    Considered,
    Controller,
    Decision,
    Effect,
    Evidence,
    Outcome,
    Policy,
    Rule,
    Rung,
)
from aetherra.plugins.homeostasis.explanation import explain, explanations
from aetherra.plugins.homeostasis.ledger import Ledger

ACT = Decision(
    id="d1",
    kind="act",
    action="restart_plugin",
    target="greeter",
    arguments={"patience": 2.0},
    value=None,
    symptom="errors",
    disruptive=True,
    settle=30.0,
    at=1.0,
    evidence=Evidence(
        "plugin.greeter.error_ratio", 0.4, "above 0.2", 3, 5, 3, agreeing=("calls.error_ratio above 0.1",), since=12.0
    ),
    considered=(Considered("roll_back", "there is nothing to go back to"),),
    expects="fewer errors",
    undoes="",
    reason="greeter fails 40 % of its calls",
)
UNDO = Decision(
    "d2",
    "undo",
    "restart_plugin",
    "greeter",
    {},
    None,
    "errors",
    False,
    0.0,
    60.0,
    ACT.evidence,
    (),
    "",
    "d1",
    "all is well",
)
EFFECT = Effect(
    decision_id="d1",
    symptom="errors",
    target="greeter",
    action="restart_plugin",
    metric="plugin.greeter.error_ratio",
    before=0.4,
    after=0.0,
    helped=True,
    seconds=30.0,
    sentence="restart_plugin on greeter helped against errors: it went from 0.4 to 0",
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def ledger(clock: FakeClock) -> Ledger:
    ledger = Ledger(None, clock.time)
    ledger.decided(ACT)
    await clock.advance(2.0)
    ledger.concluded(ACT, Outcome("done", "generation 3 took over"))
    await clock.advance(30.0)
    ledger.settled(EFFECT)
    await clock.advance(30.0)
    ledger.decided(UNDO)
    return ledger


async def test_a_part_of_the_story_is_missing(ledger: Ledger) -> None:
    """What was seen, by which rule, what else was considered, what was done, what it changed and what undid it."""
    found = explain(ledger, "d1")
    assert found is not None
    assert found.text == (
        "decision d1, 2023-11-14 22:13:20 UTC: 'restart_plugin' of 'greeter' with patience=2.0\n"
        "  why       greeter fails 40 % of its calls\n"
        "  seen      plugin.greeter.error_ratio 0.4, above 0.2: 3 of 5 samples, 3 were needed, for 12 s; "
        "calls.error_ratio above 0.1 agreed\n"
        "  rule      errors\n"
        "  not       roll_back: there is nothing to go back to\n"
        "  expected  fewer errors, within 30 s; disruptive\n"
        "  outcome   done: generation 3 took over (2.0 s later)\n"
        "  effect    restart_plugin on greeter helped against errors: it went from 0.4 to 0 (32.0 s later)\n"
        "  undone    by decision d2 (62.0 s later)"
    )


async def test_the_facts_are_others_than_the_text(ledger: Ledger) -> None:
    """The same stands there to work with."""
    found = explain(ledger, "d1")
    assert found is not None
    assert (found.decision, found.ts) == ("d1", 1_700_000_000.0)
    assert found.facts["decision"]["evidence"]["votes"] == 3
    assert [outcome["status"] for outcome in found.facts["outcomes"]] == ["done"]
    assert [effect["helped"] for effect in found.facts["effects"]] == [True]
    assert found.facts["undone_by"] == ["d2"]


async def test_an_undoing_is_told_as_its_act(ledger: Ledger) -> None:
    """An undoing has a story of its own."""
    found = explain(ledger, "d2")
    assert found is not None
    assert "take back 'restart_plugin' of 'greeter', done by decision d1" in found.text
    assert found.text.endswith("outcome   nothing has been heard of it yet")


async def test_the_newest_decision_is_not_the_first(ledger: Ledger) -> None:
    """Of many the newest come first, no more than are asked for, each with its own story."""
    assert [found.decision for found in explanations(ledger.entries())] == ["d2", "d1"]
    assert [found.decision for found in explanations(ledger.entries(), limit=1)] == ["d2"]
    assert "undone" not in explanations(ledger.entries())[0].text


def test_a_decision_nobody_knows_is_explained(clock: FakeClock) -> None:
    """There is no explanation of nothing."""
    ledger = Ledger(None, clock.time)
    ledger.decided(UNDO)
    assert explain(ledger, "d9") is None
    assert explain(ledger, "d1") is None


def test_what_is_left_of_a_decision_is_lost(clock: FakeClock) -> None:
    """Where the decision itself has left the ledger, the rest is told."""
    ledger = Ledger(None, clock.time)
    ledger.concluded(ACT, Outcome("failed", "boom"))
    ledger.settled(EFFECT)
    found = explain(ledger, "d1")
    assert found is not None
    assert found.text.splitlines()[:2] == [
        "decision d1: it is no longer kept itself",
        "  outcome   failed: boom (0.0 s later)",
    ]
    assert found.facts["decision"] is None


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("set", "set 'workers' to 12.0"),
        ("give_up", "give up on 'errors'"),
    ],
)
def test_a_kind_of_decision_has_no_words(clock: FakeClock, kind: str, said: str) -> None:
    """Each kind says what it is."""
    evidence = Evidence("queue.depth", None, "above 5", 0, 0, 0)
    decision = Decision(
        "d1", kind, "workers", "", {}, 12.0, "errors", False, 5.0, 0.0, evidence, (), "", "", "why"  # type: ignore[arg-type]
    )  # fmt: skip
    ledger = Ledger(None, clock.time)
    ledger.decided(decision)
    found = explain(ledger, "d1")
    assert found is not None
    assert found.text.splitlines()[0].endswith(f"UTC: {said}")
    assert "queue.depth unknown" in found.text


@pytest.mark.parametrize("afterwards", [9.0, 0.0, None])
async def test_something_is_said_twice(clock: FakeClock, afterwards: float | None) -> None:
    """How long it takes, what came of it and that nobody can tell stand there once, as the core has put it."""
    rule = Rule("m.*.x", 1.0, confirm=(Condition("calls", above=0.5),), ladder=(Rung("restart", disruptive=True),))
    core = Controller(Policy(rules={"ill": rule}), clock=clock.monotonic)
    ledger = Ledger(None, clock.time)
    for second in range(40):
        for decision in core.decide({"m.a.x": 9.0 if second < 10 else afterwards, "calls": 1.0}):
            ledger.decided(decision)
        for effect in core.take_effects():
            ledger.settled(effect)
        await clock.advance(1.0)
    found = explain(ledger, "d1")
    assert found is not None
    (expected,) = [line for line in found.text.splitlines() if line.startswith("  expected")]
    (effect_line,) = [line for line in found.text.splitlines() if line.startswith("  effect")]
    (why,) = [line for line in found.text.splitlines() if line.startswith("  why")]
    assert expected.count("within 30 s") == why.count("within 30 s") == 1
    assert effect_line.count("help") == 1
    assert effect_line.count("nobody can tell") == (afterwards is None)


async def test_an_older_decision_says_its_time_twice(clock: FakeClock) -> None:
    """What a ledger holds that says the time in what it expects says it once, too."""
    ledger = Ledger(None, clock.time)
    ledger.decided(msgspec.structs.replace(ACT, expects="fewer errors within 30 s"))
    found = explain(ledger, "d1")
    assert found is not None
    assert "  expected  fewer errors, within 30 s; disruptive" in found.text.splitlines()
