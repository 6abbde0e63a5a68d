"""The explanation: all of a proposal's story, for people."""

from __future__ import annotations

from aetherra.plugins.self_improvement.explanation import explain
from aetherra.plugins.self_improvement.proposals import (
    Context,
    MeasuredEffect,
    Outcome,
    Proposal,
    Strategies,
)
from aetherra.plugins.self_improvement.proposals.proposal import Evidence

CREATED = 1_700_000_000.0
ROW = Evidence(
    metric="plant.latency",
    since=CREATED - 600.0,
    until=CREATED,
    points=40,
    statistic="p50",
    value=1.98765,
    text="plant.latency has a median of 1.99 s",
)
SPAN = "40 points of plant.latency, 2023-11-14 22:03:20 to 2023-11-14 22:13:20"
EFFECT = MeasuredEffect(verdict="better", before=2.0, after=1.0, lift=0.5, text="50% lower than before")


def proposal(**changes):
    fields = {
        "id": "plant.pool-20231114-221320",
        "kind": "scale_up",
        "knob": "plant.pool",
        "direction": "raise",
        "before": 1,
        "after": 2,
        "unit": "workers",
        "metric": "plant.latency",
        "good": "down",
        "context": Context(metric="plant.latency", problem="beyond_setpoint"),
        "rationale": "it is slow",
        "evidence": (ROW,),
        "expectation": "20 % better, by 4 outcomes",
        "confidence": 0.651,
        "confidence_reason": "it helped 4 of 5 times",
        "priority": 0.3,
        "impact": "low",
        "cost": "memory",
        "way_back": "set the value that it had (1)",
        "created": CREATED,
        "expires": CREATED + 3600.0,
    }
    return Proposal(**(fields | changes))


class TestExplain:
    def test_a_part_of_the_story_is_missing(self):
        """What, for what, on what evidence, how sure, at what cost, what was done when and why, and what came of it."""
        story = (
            proposal()
            .moved("applied", CREATED + 60.0, "plant.pool is 2")
            .moved("kept", CREATED + 720.0, "50% lower than before", outcome=EFFECT)
        )
        known = Strategies([Outcome.of(story, CREATED + 720.0)], now=CREATED + 720.0).lookup(story.context)

        assert explain(story, known).splitlines() == [
            "plant.pool-20231114-221320: scale_up plant.pool 1 -> 2 workers",
            "for plant.latency, which should go down; it is slow",
            f"evidence: {ROW.text} (p50 1.98765; {SPAN})",
            "expected: 20 % better, by 4 outcomes",
            "confidence 0.65: it helped 4 of 5 times",
            "priority 0.30, impact low, cost: memory",
            "way back: set the value that it had (1)",
            "2023-11-14 22:13:20 proposed",
            "2023-11-14 22:14:20 applied: plant.pool is 2",
            "2023-11-14 22:25:20 kept: 50% lower than before",
            "outcome: better, lift +50%; 50% lower than before",
            f"known by now: {known[0].text}",
        ]

    def test_what_is_unknown_is_left_blank(self):
        """What nobody knows is said to be unknown."""
        bare = proposal(unit="", cost="", way_back="", expectation="", evidence=())
        lines = explain(bare).splitlines()

        assert lines[0].endswith("1 -> 2")
        assert "expected: nothing is known" in lines
        assert "priority 0.30, impact low, cost: none that is known" in lines
        assert "way back: none" in lines
        assert not any(line.startswith(("outcome", "evidence", "known")) for line in lines)

    def test_a_rejection_has_no_reason(self):
        """One that was not carried out says why."""
        text = explain(proposal().moved("rejected", CREATED + 5.0, "rejected by somebody: not before Monday"))

        assert text.endswith("2023-11-14 22:13:25 rejected: rejected by somebody: not before Monday")

    def test_an_outcome_without_a_lift_is_a_fault(self):
        """A verdict of which there is no figure is told without one."""
        harm = MeasuredEffect(verdict="worse", text="it made calls.errors worse")
        story = proposal().moved("applied", CREATED).moved("undone", CREATED, "harm", outcome=harm)

        assert explain(story).endswith("outcome: worse; it made calls.errors worse")
