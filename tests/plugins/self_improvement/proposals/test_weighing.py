"""Tests of weighing: confidence, size and priority of a proposal, and what speaks against one."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.self_improvement.proposals.proposal import MeasuredEffect
from aetherra.plugins.self_improvement.proposals.setpoints import Setpoint

SLOW = {"plant.latency": 1.1}
DAY = 86_400.0


def why(result):
    (passed,) = result.passed
    return passed.why


class TestWhatAProposalSays:
    def test_it_lacks_what_is_needed_to_judge_it(self, propose, knob, now):
        """Rationale, evidence, confidence and its source, priority, cost, way back, expiry; what is unknown is said."""
        (one,) = propose(SLOW, [knob()]).proposals

        assert one.rationale.startswith("plant.latency has a median of 1.1")
        (row,) = one.evidence
        assert (row.metric, row.points, row.until) == ("plant.latency", 60, now)
        assert (one.confidence, one.confidence_reason) == (0.65, "0.65 before anything was tried (declared)")
        assert (one.expected_effect, one.expectation) == (None, "unknown: this was never tried")
        assert (one.cost, one.way_back) == ("memory of one worker more", "set the value that it had (4)")
        assert (one.created, one.expires, one.unit) == (now, now + DAY, "workers")
        assert one.priority == pytest.approx(0.5 * 1.0 * 0.65 * 0.95 * 0.75, abs=0.02)

    def test_what_is_expected_is_not_what_was_measured(self, propose, knob, outcome):
        """With outcomes there is an interval, and the confidence says what it comes from."""
        rows = [outcome(lift=lift, before=n, after=n + 2) for n, lift in ((8, 0.1), (10, 0.2), (12, 0.3))]
        (one,) = propose(SLOW, [knob()], outcomes=rows).proposals
        effect = one.expected_effect

        assert (effect.lift, effect.low, effect.high, effect.outcomes) == (
            pytest.approx(0.2),
            pytest.approx(0.12),
            pytest.approx(0.28),
            3,
        )
        assert one.expectation.startswith("better by 20%, four times in five between 12% and 28%; raise plant.workers")
        assert one.confidence > 0.75
        assert "helped 3 of 3 times" in one.confidence_reason
        (two,) = propose(SLOW, [knob()], outcomes=rows[:2]).proposals
        assert two.expectation.startswith("unknown: outcomes are too few for an interval; raise plant.workers helped 2")


class TestPriority:
    def test_what_matters_less_comes_first(self, propose, knob):
        """Impact by severity and weight, feasibility by harm, cost and what was learnt."""
        two = [
            knob(name="plant.a", moves={"a.x": "down"}, cost=""),
            knob(name="plant.b", moves={"b.x": "down"}, cost=""),
        ]

        def order(levels, knobs=two, **more):
            return [each.knob for each in propose(levels, knobs, **more).proposals]

        assert order({"a.x": 0.5, "b.x": 1.5}) == ["plant.b", "plant.a"]
        light = {"a.x": Setpoint(0.2, 2.0), "b.x": Setpoint(0.2, 2.0, weight=0.2)}
        assert order({"a.x": 0.5, "b.x": 1.5}, settings={"setpoints": light}) == ["plant.a", "plant.b"]
        harmful = [two[0], knob(name="plant.b", moves={"b.x": "down"}, impact="medium", cost="")]
        assert order({"a.x": 1.1, "b.x": 1.1}, harmful) == ["plant.a", "plant.b"]
        dear = [knob(name="plant.a", moves={"a.x": "down"}), two[1]]
        assert order({"a.x": 1.1, "b.x": 1.1}, dear) == ["plant.b", "plant.a"]

    def test_a_change_that_helps_all_is_passed_over(self, propose, knob):
        """What eases several metrics in trouble comes before what eases one, for the worst of them, and holds all."""
        one = knob(name="plant.a", moves={"m.x": "down"})
        all_of_them = knob(name="plant.b", moves={"m.*": "down"}, impact="medium")
        result = propose({"m.x": 1.1, "m.y": 0.8, "m.z": 1.5}, [one, all_of_them])

        (found,) = result.proposals
        assert (found.knob, found.metric, found.eases) == ("plant.b", "m.z", ("m.x", "m.y"))
        severities = [(level - 0.2) / 1.8 for level in (1.1, 0.8, 1.5)]
        impact = 1 - (1 - severities[0]) * (1 - severities[1]) * (1 - severities[2])
        assert found.priority == pytest.approx(impact * 0.65 * 0.9 * 0.95 * 0.75, rel=0.02)
        again = propose({"m.x": 1.1, "m.y": 0.8, "m.z": 1.5}, [one, all_of_them], proposals=[found])
        assert again.proposals == ()
        assert ("plant.a", f"{found.id} is open for it") in {(each.knob, each.why) for each in again.passed}

    def test_what_is_measured_to_be_wrong_is_promised_to_others(self, propose, knob, outcome):
        """Where the owner's word was refuted for one metric, it is not taken for others, either."""
        both = knob(moves={"plant.latency": "down", "plant.memory": "up"})
        (one,) = propose({"plant.latency": 1.5, "plant.memory": 0.6}, [both], outcomes=[outcome("worse")]).proposals

        assert (one.metric, one.basis, one.eases) == ("plant.latency", "contrary", ())

    def test_what_worked_is_not_preferred(self, propose, knob, outcome):
        """Of two knobs for one metric that which helped more often, and by more, is proposed; the other is told of."""
        two = [knob(name="plant.a", cost=""), knob(name="plant.b", cost="")]
        often = [outcome(knob="plant.b", before=20 + n, after=22 + n, lift=0.3) for n in range(3)]
        result = propose(SLOW, two, outcomes=often)
        assert [each.knob for each in result.proposals] == ["plant.b"]
        assert why(result) == "to turn plant.b from 4 to 8 for plant.latency is proposed before it"

        much = [
            outcome(knob=name, before=20 + n, after=22 + n, lift=lift)
            for n in range(3)
            for name, lift in (("plant.a", 0.4), ("plant.b", 0.1))
        ]
        assert [each.knob for each in propose(SLOW, two, outcomes=much).proposals] == ["plant.a"]


class TestSize:
    def sizes(self, propose, knob, rows, level=1.1, **changes):
        (one,) = propose({"plant.latency": level}, [knob(value=20, **changes)], outcomes=rows).proposals
        return one.size

    def test_a_step_is_not_as_large_as_is_needed(self, propose, knob, outcome):
        """As many steps as past lifts say, at most twice what helped before, and four."""

        def rows(lift, size):
            return [outcome(lift=lift, size=size, before=n, after=n + 2) for n in range(3)]

        assert self.sizes(propose, knob, []) == 1.0
        assert self.sizes(propose, knob, rows(0.2, 1.0)) == 2.0
        assert self.sizes(propose, knob, rows(0.1, 2.0)) == 4.0
        assert self.sizes(propose, knob, rows(0.1, 4.0)) == 4.0
        assert self.sizes(propose, knob, rows(0.5, 2.0), level=0.35) == 2.0

    def test_what_made_no_difference_is_repeated(self, propose, knob, outcome):
        """After a step too small to be seen a larger one is tried, after one that made it worse a smaller."""
        small = [outcome("same", before=20, size=1.0)]
        assert self.sizes(propose, knob, small) == 2.0
        assert self.sizes(propose, knob, [*small, outcome("same", before=20, size=2.0)]) == 4.0

        helped = [outcome(lift=0.1, size=2.0, before=n, after=n + 4) for n in range(4)]
        assert self.sizes(propose, knob, [*helped, outcome("worse", before=20, size=2.0)]) == 1.0


class TestAgainst:
    def test_what_did_not_help_is_proposed_again(self, propose, knob, outcome):
        """What failed is below the threshold; where it had worked before, it rests."""
        assert "confidence of 0.52, below 0.6" in why(propose(SLOW, [knob()], outcomes=[outcome("same", size=4.0)]))
        rows = [*[outcome(before=n, after=n + 2) for n in range(10, 16)], outcome("worse", size=1.0)]
        result = propose(SLOW, [knob()], outcomes=rows)
        assert any(
            "rests for 23.0 h: tried from 4 before, and the outcome was 'worse'" in one.why for one in result.passed
        )

    @pytest.mark.parametrize(
        ("state", "hours"),
        [("rejected", 7 * 24), ("expired", 24), ("failed", 24), ("inconclusive", 24), ("superseded", 0)],
    )
    def test_what_ended_otherwise_is_proposed_at_once(self, state, hours, propose, knob, proposal, now):
        """A change rests after it ended without an outcome, the longest where a person would not have it."""
        past = proposal()
        past = past.moved("applied", now - 20) if state == "inconclusive" else past
        past = past.moved(state, now, "so it was")

        def proposed(after, **changes):
            return bool(propose(SLOW, [knob(**changes)], proposals=[past], now=now + after * 3600).proposals)

        assert proposed(hours + 0.01)
        assert not hours or not proposed(hours - 0.01)
        assert proposed(1, value=10) == (state != "rejected")
        other = msgspec.structs.replace(past, metric="plant.backlog")
        assert propose(SLOW, [knob()], proposals=[other], now=now + 3600).proposals

    def test_what_a_person_took_back_is_proposed_again(self, propose, knob, proposal, now):
        """What had helped and was undone nevertheless was undone by somebody: it rests as if rejected."""
        better = MeasuredEffect(verdict="better", lift=0.3)
        past = proposal().moved("applied", now - 20).moved("kept", now - 10, outcome=better).moved("undone", now)

        assert propose(SLOW, [knob()], proposals=[past], now=now + 6 * DAY).proposals == ()
        assert propose(SLOW, [knob()], proposals=[past], now=now + 7.1 * DAY).proposals

    def test_what_a_person_took_back_during_its_trial_rests_for_less(self, propose, knob, proposal, now):
        """Who takes a change back before anything is known of it will not have it, either."""
        past = proposal().moved("applied", now - 20).moved("undone", now, "undone by somebody")

        assert propose(SLOW, [knob(value=10)], proposals=[past], now=now + 6.9 * DAY).proposals == ()
        assert propose(SLOW, [knob(value=10)], proposals=[past], now=now + 7.1 * DAY).proposals

    def test_a_knob_that_others_turn_is_proposed_for_ever(self, propose, knob, proposal, now):
        """What was superseded three times within a cool-down rests, whatever the knob stands at by then."""
        lost = [
            proposal(id=f"p-{n}").moved("superseded", now - n * 3600, f"plant.workers is {4 + n} by now")
            for n in range(3)
        ]
        result = propose(SLOW, [knob()], proposals=lost)

        assert result.proposals == ()
        assert "rests for 22.0 h: 3 proposals of it were superseded meanwhile, the last as plant.workers is 4" in why(
            result
        )
        assert propose(SLOW, [knob()], proposals=lost[:2]).proposals
        assert propose(SLOW, [knob()], proposals=lost, now=now + 22.1 * 3600).proposals
        others = [msgspec.structs.replace(one, metric="plant.backlog") for one in lost]
        assert propose(SLOW, [knob()], proposals=others).proposals

    def test_a_confidence_that_no_failure_lowered_is_not_explained(self, propose, knob, outcome):
        """What was too small to be seen does not count against more of it, and the reason says so."""
        (one,) = propose(SLOW, [knob()], outcomes=[outcome("same", size=1.0)]).proposals

        assert (one.size, one.confidence) == (2.0, 0.65)
        assert one.confidence_reason.endswith(
            "helped 0 of 1 times for plant.latency (beyond_setpoint, load unknown); "
            "1 of these made no difference at half of this change or less, which does not count against it"
        )

    def test_what_made_it_better_is_taken_back(self, propose, knob, outcome):
        """A value reached by getting better is not left the way it came, even if the next step made it worse."""
        reached = outcome("better", before=2, after=4)
        result = propose(SLOW, [knob()], outcomes=[reached, outcome("worse")])

        assert result.proposals == ()
        assert "turning it to 2 takes back what made it better: 2 to 4" in {each.why for each in result.passed}

    def test_another_metric_in_trouble_gets_worse(self, propose, knob):
        """What would make another metric worse that is in trouble itself is not proposed."""
        both = knob(moves={"plant.latency": "down", "plant.memory": "up"})

        assert propose({"plant.latency": 1.1, "plant.memory": 0.1}, [both]).proposals
        result = propose({"plant.latency": 1.1, "plant.memory": 1.1}, [both])
        assert result.proposals == ()
        assert {each.why for each in result.passed} == {
            "turning it to 6 would make plant.memory worse, which is in trouble itself",
            "turning it to 2 would make plant.latency worse, which is in trouble itself",
        }
