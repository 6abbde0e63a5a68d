"""Learning the order of steps."""

from __future__ import annotations

from aetherra.plugins.self_incorporation.night.evidence import PlanOutcome, StepOutcome
from aetherra.plugins.self_incorporation.night.learning.candidate import mark_of
from aetherra.plugins.self_incorporation.night.learning.plan_learner import PlanLearner
from aetherra.plugins.self_incorporation.night.learning.plan_order import PlanOrder


def plans(count, bad="risk:x"):
    steps = (
        StepOutcome(item="a", after=(), risk=0.1, features={"item:risk": 0.1}, end="done"),
        StepOutcome(item="b", after=(), risk=0.2, features={"item:risk": 0.2, bad: 1.0}, end="failed"),
    )
    return [PlanOutcome(at=float(at + 1), steps=steps) for at in range(count)]


class TestPlanLearner:
    def test_it_learns_from_what_is_held_back(self, run):
        """How the latest plans ended changes nothing of what is learnt."""
        told = plans(20)
        lied = [*told[:14], *plans(6, bad="risk:other")]

        assert run(PlanLearner(told, 0.3).learn(None)) == run(PlanLearner(lied, 0.3).learn(None))

    def test_steps_in_vain_are_not_fewer(self, run):
        """In the plans that were held back, what fails comes first where it came last."""
        learner = PlanLearner(plans(20), 0.3)
        found = {(one.insight, one.builds_on): one for one in run(learner.learn(None))}
        bare = found["outcomes", ""].value
        risky = found["risk", mark_of(bare)].value

        assert run(learner.losses(None)) == [1.0] * 6 and run(learner.losses(risky)) == [0.0] * 6
        assert run(learner.losses(None, since=18.0)) == [1.0] * 2
        assert (learner.latest, learner.younger(10.0), learner.harm(None, bare)) == (20.0, 10, "")

    def test_an_insight_comes_without_those_that_were_kept(self, run):
        """Whatever is kept of those before, there is a candidate that builds on it, with its insights and one more."""
        in_use = PlanOrder({}, ("risk",))
        found = run(PlanLearner(plans(20), 0.3).learn(in_use))
        by_mark = {mark_of(in_use): in_use, **{mark_of(one.value): one.value for one in found}}

        for one in found[1:]:
            assert one.value.insights == (*by_mark[one.builds_on].insights, one.insight)
        assert {one.insight for one in found if one.builds_on == mark_of(in_use)} == {"outcomes", "quality", "conflict"}

    def test_it_learns_from_next_to_nothing(self, run):
        """A few plans that failed are not learnt from."""
        assert run(PlanLearner(plans(5), 0.3).learn(None)) == ()
