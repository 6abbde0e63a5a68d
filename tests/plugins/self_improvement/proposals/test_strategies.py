"""Tests of the strategy library: what worked where, how often, with what lift, and what is left alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.proposals.confidence import HALF_LIFE
from aetherra.plugins.self_improvement.proposals.proposal import MeasuredEffect
from aetherra.plugins.self_improvement.proposals.strategies import Outcome, Strategies, family, helped, opposite

DAY = 86_400.0
VERDICTS = ("better", "worse", "same", "unknown")


def confidence(library, where, **changes):
    asked = {"kind": "scale_up", "knob": "plant.workers", "direction": "raise", "basis": "declared"}
    return library.confidence(where, **(asked | changes))


class TestOutcome:
    def test_a_row_is_not_what_the_proposal_was(self, proposal):
        """The row holds the situation, the change and what it came to; without an outcome there is none."""
        one = proposal(size=2.0, basis="contrary").moved("applied", 5.0)
        with pytest.raises(ValueError, match="'applied' and has no outcome yet"):
            Outcome.of(one, 6.0)

        kept = one.moved("kept", 7.0, outcome=MeasuredEffect(verdict="better", lift=0.3))
        row = Outcome.of(kept, 7.0)
        assert (row.context, row.knob, row.direction, row.size) == (one.context, one.knob, "raise", 2.0)
        assert (row.basis, row.lift, row.verdict, row.at, row.proposal) == ("contrary", 0.3, "better", 7.0, one.id)
        assert row.helped is True

    def test_giving_back_must_make_it_better(self):
        """What takes back what is no longer needed helped if nothing got worse; others only if it got better."""
        assert [helped("beyond_setpoint", each) for each in VERDICTS] == [True, False, False, None]
        assert [helped("no_longer_needed", each) for each in VERDICTS] == [True, False, True, None]


class TestNames:
    def test_a_metric_has_the_wrong_family(self):
        """The middle of a name is who it is of; a name of two parts has none."""
        assert family("queue.normal.wait_p95") == family("queue.high.wait_p95") == "queue.*.wait_p95"
        assert family("loop.lag") == "loop.lag"
        assert (opposite("raise"), opposite("lower"), opposite("to fifo")) == ("lower", "raise", "")


class TestConfidence:
    def test_what_was_learnt_elsewhere_counts_as_much_as_here(self, context, outcome, now):
        """One failure weighs the more the closer it is: here, for another load, of the family, of any metric."""
        here = context(metric="queue.high.wait", load="high")
        places = [
            here,
            context(metric="queue.high.wait", load="low"),
            context(metric="queue.normal.wait", load="high"),
            context(metric="loop.lag", load="high"),
        ]
        found = [confidence(Strategies([outcome("worse", context=each)], now=now), here) for each in places]
        other_knob = Strategies([outcome("worse", context=here, knob="plant.other")], now=now)
        other_kind = Strategies([outcome("worse", context=here, knob="plant.other", kind="optimize")], now=now)

        assert found == pytest.approx([0.520, 0.544, 0.569, 0.595], abs=0.001)
        assert confidence(other_knob, here) == pytest.approx(0.622, abs=0.001)
        assert confidence(other_kind, here) == 0.65

    @settings(max_examples=50)
    @given(verdicts=st.lists(st.sampled_from(VERDICTS), max_size=30), data=st.data())
    def test_a_further_success_lowers_it(self, verdicts, data, context, outcome, now):
        """Whatever was seen, wherever: one success more, anywhere, never lowers the confidence."""
        metrics = st.sampled_from(["a.b.c", "a.x.c", "z.y"])
        rows = [outcome(each, context=context(metric=data.draw(metrics))) for each in verdicts]
        more = outcome("better", context=context(metric=data.draw(metrics)))
        where = context(metric="a.b.c")
        before, after = (confidence(Strategies(each, now=now), where) for each in (rows, [*rows, more]))

        assert 0 < before <= after + 1e-12 < 1 + 1e-12

    @pytest.mark.parametrize("rate", [0.1, 0.4, 0.8])
    def test_it_does_not_come_to_the_true_rate(self, rate, context, outcome, now):
        """Many outcomes of late say what the rate is, whatever the prior said."""
        chance = random.Random(3)
        rows = [outcome("better" if chance.random() < rate else "worse", at=now - n) for n in range(4000)]

        assert confidence(Strategies(rows, now=now), context()) == pytest.approx(rate, abs=0.03)

    def test_what_was_long_ago_is_not_forgotten(self, context, outcome, now):
        """After many half-lives the prior is back."""
        rows = [outcome("worse", at=now - 20 * HALF_LIFE)] * 5

        assert confidence(Strategies(rows, now=now), context()) == pytest.approx(0.65, abs=0.001)

    def test_the_future_is_known(self, context, outcome, now):
        """Rows from after the time of the library are not there."""
        library = Strategies([outcome("worse", at=now + 1)], now=now)

        assert confidence(library, context()) == 0.65
        assert library.outcomes == ()
        assert library.lookup(context()) == ()

    def test_what_nobody_could_judge_counts(self, context, outcome, now):
        """An outcome that is unknown moves nothing."""
        assert confidence(Strategies([outcome("unknown")] * 5, now=now), context()) == 0.65

    def test_a_step_too_small_to_be_seen_condemns_a_large_one(self, context, outcome, now):
        """No difference at one step says nothing of two; one that made it worse does."""
        same, worse = (Strategies([outcome(each, size=1.0)], now=now) for each in ("same", "worse"))

        assert confidence(same, context(), size=1.0) < 0.6
        assert confidence(same, context(), size=2.0) == 0.65
        assert confidence(worse, context(), size=2.0) < 0.6

    def test_taking_back_is_learnt_from_what_helped(self, context, outcome, now):
        """What is no longer needed is another question: neither answers the other."""
        back = context(problem="no_longer_needed")
        helpful = Strategies([outcome("better")] * 5, now=now)
        useless = Strategies([outcome("worse", context=back)] * 5, now=now)

        assert confidence(helpful, back) == 0.65
        assert confidence(helpful, context()) > 0.8
        assert confidence(useless, context()) == 0.65
        assert confidence(useless, back) < 0.5


class TestLookup:
    def test_what_worked_is_not_first(self, context, outcome, now):
        """Ranked by how likely and by how much it helps, with the figures it comes from."""
        rows = [
            *[outcome("better", knob="plant.workers", lift=0.4, size=2.0)] * 3,
            *[outcome("better", knob="plant.batch", lift=0.06)] * 3,
            *[outcome("worse", knob="plant.cache", lift=-0.3)] * 3,
        ]
        best, second, last = Strategies(rows, now=now).lookup(context())

        assert (best.knob, best.tried, best.worked, best.worse, best.size) == ("plant.workers", 3, 3, 0, 2.0)
        assert (best.effect.lift, best.effect.low, best.effect.high, best.effect.outcomes) == (0.4, 0.4, 0.4, 3)
        assert second.knob == "plant.batch"
        assert (last.knob, last.worked, last.worse, last.size) == ("plant.cache", 0, 3, None)
        assert last.confidence < 0.5
        assert best.text == (
            "raise plant.workers helped 3 of 3 times for plant.latency (beyond_setpoint, load unknown), "
            "typical lift +40%"
        )

    def test_what_helps_often_beats_what_helps_much(self, context, outcome, now):
        """What nearly always brings little stands behind what mostly brings much."""
        often = [outcome("better", knob="plant.a", lift=0.06)] * 6
        much = [*[outcome("better", knob="plant.b", lift=0.5)] * 4, *[outcome("same", knob="plant.b", lift=0.4)] * 2]
        first, second = Strategies(often + much, now=now).lookup(context())

        assert (first.knob, second.knob) == ("plant.b", "plant.a")
        assert first.confidence < second.confidence

    def test_a_wider_context_hides_a_narrow_one(self, context, outcome, now):
        """The narrowest breadth with a known outcome is told; only where there is none, a wider one."""
        here = context(metric="queue.high.wait", load="high")
        wider = [
            outcome("worse", context=context(metric="loop.lag")),
            outcome("worse", context=context(metric="queue.normal.wait")),
            outcome("worse", context=context(metric="queue.high.wait")),
            outcome("better", context=here),
        ]
        breadths = ["anything", "family", "metric", "context"]
        for count, breadth in enumerate(breadths, 1):
            (found,) = Strategies(wider[:count], now=now).lookup(here)
            assert (found.breadth, found.tried) == (breadth, 1)
        assert Strategies([outcome("unknown", context=here)], now=now).lookup(here) == ()

    def test_an_interval_is_made_of_two_outcomes(self, context, outcome, now):
        """Fewer than three outcomes have no interval."""
        assert Strategies([outcome()] * 2, now=now).find(context(), "plant.workers", "raise").effect is None
        assert Strategies([outcome()] * 3, now=now).find(context(), "plant.workers", "raise").effect is not None
        assert Strategies([], now=now).find(context(), "plant.workers", "raise") is None


class TestRest:
    def rest(self, rows, context, now, **changes):
        asked = {"knob": "plant.workers", "direction": "raise", "before": 4, "size": 1.0, "cool_down": DAY}
        return Strategies(rows, now=now).rest(context(), **(asked | changes))

    def test_what_did_not_help_is_tried_again_at_once(self, context, outcome, now):
        """One failure rests for a cool-down, further ones twice as long each, 30 days at the most."""
        for failures, days in ((1, 1), (2, 2), (3, 4), (9, 30)):
            rows = [outcome("worse", at=now - 10 * (failures - n)) for n in range(failures)]
            assert self.rest(rows, context, now).until == pytest.approx(rows[-1].at + days * DAY)
        assert self.rest([outcome("worse", at=now - 1.01 * DAY)], context, now) is None
        assert self.rest([outcome("unknown")] * 4, context, now).until == now - 3600 + DAY

    def test_another_change_rests_with_it(self, context, outcome, now):
        """Another value, direction, metric or load is another change, and so is a smaller one; a success ends it."""
        failed = outcome("worse", size=2.0, context=context(load="high"))
        assert self.rest([failed], context, now, size=2.0) is None
        rows = [outcome("worse", size=2.0)]

        assert self.rest(rows, context, now, size=2.0) is not None
        assert self.rest(rows, context, now, size=1.0) is None
        assert self.rest(rows, context, now, size=2.0, before=5) is None
        assert self.rest(rows, context, now, size=2.0, direction="lower") is None
        assert self.rest([*rows, outcome("better", at=now - 5)], context, now, size=2.0) is None

    def test_no_difference_rests_a_large_change(self, context, outcome, now):
        """After a step too small to be seen, one twice as large may be tried."""
        rows = [outcome("same", size=1.0)]

        assert "the outcome was 'same'" in self.rest(rows, context, now, size=1.0).reason
        assert self.rest(rows, context, now, size=1.9) is not None
        assert self.rest(rows, context, now, size=2.0) is None


class TestDirections:
    def test_the_other_way_is_tried_without_a_reason(self, context, outcome, now):
        """Only where the declared way made it worse from here, or the other made it better, is that worth a try."""
        asked = ("plant.latency", "plant.workers", "raise", 4)
        assert Strategies([outcome("same")], now=now).turned_out_worse(*asked) is None
        assert Strategies([outcome("worse", before=5)], now=now).turned_out_worse(*asked) is None
        assert (
            Strategies([outcome("worse", context=context(metric="loop.lag"))], now=now).turned_out_worse(*asked) is None
        )

        assert Strategies([outcome("worse")], now=now).turned_out_worse(*asked).verdict == "worse"
        harmful_elsewhere = outcome("worse", lift=None)
        assert Strategies([harmful_elsewhere], now=now).turned_out_worse(*asked) is None
        lowered = outcome("better", direction="lower", basis="contrary", before=6, after=4)
        assert Strategies([lowered], now=now).turned_out_worse(*asked) == lowered

    def test_what_made_it_better_is_taken_back(self, context, outcome, now):
        """A value that was reached by getting better is not left by the way it came, unless that got worse since."""
        up = outcome("better", before=4, after=6, at=now - 50)
        asked = ("plant.latency", "plant.workers", "lower", 6, 4)

        assert Strategies([up], now=now).came_from(*asked) == up
        assert Strategies([up], now=now).came_from("plant.latency", "plant.workers", "raise", 6, 8) is None
        assert Strategies([up], now=now).came_from("loop.lag", "plant.workers", "lower", 6, 4) is None
        again = outcome("same", before=4, after=6, at=now - 5)
        assert Strategies([up, again], now=now).came_from(*asked) is None
        chosen = outcome("better", direction="to lifo", before="fifo", after="lifo")
        assert Strategies([chosen], now=now).came_from("plant.latency", "plant.workers", "to fifo", "lifo", "fifo")
        assert not Strategies([chosen], now=now).came_from("plant.latency", "plant.workers", "to fair", "lifo", "fair")
