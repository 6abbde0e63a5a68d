"""The order of a plan's steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.night.evidence import PlanOutcome, StepOutcome
from aetherra.plugins.self_incorporation.night.learning.plan_order import PlanOrder, arranged, fit, losses


def step(end, *after, risk=0.0, **features):
    named = {f"{name.replace('_', ':')}": value for name, value in features.items()}
    return StepOutcome(item="a.py", after=after, risk=risk, features=named, end=end)


def plan(*steps):
    return PlanOutcome(at=1.0, steps=steps)


@st.composite
def graphs(draw):
    count = draw(st.integers(0, 8))
    after = [draw(st.sets(st.integers(0, max(0, place - 1)), max_size=3)) if place else set() for place in range(count)]
    return after, [draw(st.sampled_from([0.0, 1.0, 2.0, 3.0])) for _ in range(count)]


class TestArranged:
    @given(graphs())
    def test_a_step_comes_before_one_that_it_needs(self, graph):
        """Each step is there once, after all that it needs; at each turn the least of those that could be next."""
        after, weights = graph
        order = arranged(after, weights)

        assert sorted(order) == list(range(len(after)))
        for turn, place in enumerate(order):
            done = set(order[:turn])
            ready = [other for other in order[turn:] if after[other] <= done]
            assert after[place] <= done
            assert (weights[place], place) == min((weights[other], other) for other in ready)

    def test_a_circle_is_for_ever(self):
        """Steps that need one another come last; one that is not there is not waited for."""
        assert arranged([{1}, {0}, {9}, {3}], [0.0] * 4) == [2, 3, 0, 1]


class TestLosses:
    def test_steps_in_vain_are_not_counted(self, run):
        """Those before the first that failed; a plan that did not fail counts for nothing."""
        plans = [
            plan(step("done", risk=0.1), step("done", risk=0.2), step("failed", risk=0.3, risk_x=1.0)),
            plan(step("done"), step("done")),
        ]

        assert run(losses(None, plans)) == [2.0]
        assert run(losses(PlanOrder({"risk:x": 2.0}), plans)) == [0.0]

    def test_what_was_never_tried_stops_a_plan(self, run):
        """A step that nobody tried is taken to go well."""
        plans = [plan(step("failed", risk=0.5), step("untried", risk=0.1))]

        assert run(losses(None, plans)) == [1.0]


class TestFit:
    def test_what_fails_comes_last(self, run):
        """What made steps fail is learnt, and has them come first."""
        plans = [plan(step("done", risk_y=1.0), step("failed", risk_x=1.0)) for _ in range(10)]

        order = run(fit(plans, ["risk"], 1.0))

        assert order.weigh({"risk:x": 1.0}) < order.weigh({"risk:y": 1.0})
        assert order.insights == ("risk",) and sum(run(losses(order, plans))) == 0.0

    def test_features_of_an_insight_count_without_it(self, run):
        """An order looks at its insights' features alone."""
        plans = [plan(step("done"), step("failed", risk_x=1.0)) for _ in range(10)]

        assert "risk:x" not in run(fit(plans, [], 1.0)).weights

    def test_what_was_never_tried_is_learnt_from(self, run):
        """Nobody knows how it would have ended."""
        plans = [plan(step("failed", risk_x=1.0), step("untried", risk_z=1.0)) for _ in range(10)]

        assert "risk:z" not in run(fit(plans, ["risk"], 1.0)).weights
