"""Which factors go with bad ends."""

from __future__ import annotations

from aetherra.plugins.self_incorporation.night.evidence import PlanOutcome, StepOutcome
from aetherra.plugins.self_incorporation.night.insights.risks import risks_of


def step(end, *factors):
    return StepOutcome(item="a", after=(), risk=0.0, features={f"risk:{factor}": 1.0 for factor in factors}, end=end)


class TestRisks:
    def test_a_pattern_goes_unseen(self, run, make_decision):
        """What is blocked with a factor and not without is told; what has nothing to do with it is not."""
        decisions = [make_decision(f"{n}", "blocked", "network", "fs_read") for n in range(8)]
        decisions += [make_decision(f"u{n}", "approved", "fs_read") for n in range(20)]

        found = run(risks_of(decisions, ()))

        network = found.patterns[0]
        assert (network.factor, network.items, network.bad) == ("network", 8, 8) and network.log_odds > 3
        assert found.insights[0].text == ("8 of 8 items with network were blocked, set aside or failed, 8 of 28 of all")

    def test_failed_steps_are_forgotten(self, run):
        """Steps that failed count as well as decisions; those that nobody tried do not."""
        plan = PlanOutcome(at=1.0, steps=tuple(step("failed", "x") for _ in range(6)) + (step("untried", "y"),) * 9)

        found = run(risks_of((), [plan]))

        assert [(one.factor, one.items, one.bad) for one in found.patterns] == [("x", 6, 6)]

    def test_a_single_case_is_a_pattern(self, run, make_decision):
        """Of a few items nothing is said."""
        assert run(risks_of([make_decision("a", "quarantined", "network")] * 4, ())).patterns == ()
