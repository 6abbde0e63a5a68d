"""Tests of candidates: which turns come into question, on what ground, and what is told of the others."""

from __future__ import annotations

import pytest

SLOW = {"plant.latency": 1.1}


def whys(result):
    return [(each.knob, each.metric, each.why) for each in result.passed]


class TestDeclared:
    @pytest.mark.parametrize(
        ("role", "kind"),
        [
            ("capacity", "scale_up"),
            ("tuning", "optimize"),
            ("quality", "degrade"),
            ("strategy", "change_strategy"),
        ],
    )
    def test_a_role_makes_another_kind(self, role, kind, propose, knob):
        """The knob's role is the kind of the proposal."""
        (one,) = propose(SLOW, [knob(role=role)]).proposals

        assert one.kind == kind

    def test_it_is_turned_the_harmful_way(self, propose, knob):
        """One step in the direction that the owner says is for the better."""
        (up,) = propose(SLOW, [knob(moves={"plant.latency": "down"})]).proposals
        (down,) = propose(SLOW, [knob(moves={"plant.*": "up"})]).proposals

        assert (up.direction, up.before, up.after, up.size) == ("raise", 4, 6, 1.0)
        assert (down.direction, down.before, down.after) == ("lower", 4, 2)
        assert up.rationale.endswith("; raising plant.workers moves it down, as plant declares")
        assert up.basis == "declared"

    def test_a_strategy_is_not_chosen(self, propose, knob):
        """Of named choices the next one in the helping direction is proposed."""
        named = knob(choices=("fifo", "fair", "lifo"), value="fair", low=None, high=None, step=None, whole=False)
        (one,) = propose(SLOW, [named]).proposals

        assert (one.direction, one.before, one.after, one.size) == ("to lifo", "fair", "lifo", 0.0)

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"value": 64}, "it is 64, and has no room that way"),
            ({"undo": ""}, "it has no way back"),
            ({"value": None, "problem": "it raised KeyError"}, "its value is unknown: it raised KeyError"),
        ],
    )
    def test_what_cannot_be_turned_is_proposed(self, changes, why, propose, knob):
        """At the end of its range, without a way back or without a value a knob is passed over, and that is told."""
        result = propose(SLOW, [knob(**changes)])

        assert result.proposals == ()
        assert whys(result) == [("plant.workers", "plant.latency", why)]
        assert [each.metric for each in result.problems] == ["plant.latency"]

    def test_a_problem_that_no_knob_helps_is_not_told(self, propose, knob):
        """Where no knob comes into question, that is said, too."""
        result = propose(SLOW, [knob(moves={"loop.lag": "down"})])

        assert whys(result) == [
            ("", "plant.latency", "no knob is said to move it, nor a metric that goes along with it")
        ]

    def test_a_metric_that_is_unknown_is_turned_for(self, propose, knob):
        """Of too few points nothing is concluded, and that is told of each knob that moves the metric."""
        result = propose(SLOW, [knob()], count=4)

        assert (result.proposals, result.problems) == ((), ())
        assert [each.metric for each in result.unknown] == ["plant.latency"]
        assert whys(result)[0][2].startswith("UNKNOWN: needs at least")


class TestUnknown:
    def test_a_guess_is_made_unasked(self, propose, knob):
        """What nobody knows is below the threshold, unless the settings say explore."""
        blind = knob(moves={"plant.latency": "unknown"})
        result = propose(SLOW, [blind])
        assert result.proposals == ()
        assert "a confidence of 0.50, below 0.6" in whys(result)[0][2]

        (one,) = propose(SLOW, [blind], settings={"explore": True}).proposals
        assert (one.basis, one.confidence) == ("unknown", 0.5)

    def test_what_was_learnt_of_an_unknown_way_is_not_used(self, propose, knob, outcome):
        """Once it worked, no exploring is needed; and where it did not, the other way is explored."""
        blind = knob(moves={"plant.latency": "unknown"})
        worked = [outcome(basis="unknown", direction="lower", before=8 + n, after=7 + n) for n in range(3)]
        failed = [outcome("worse", basis="unknown", direction="raise")]
        (learnt,) = propose(SLOW, [blind], outcomes=worked).proposals
        (other,) = propose(SLOW, [blind], outcomes=failed, settings={"explore": True}).proposals

        assert (learnt.direction, learnt.basis) == ("lower", "unknown")
        assert other.direction == "lower"


class TestContrary:
    def test_a_wrong_declaration_is_believed_for_ever(self, propose, knob, outcome):
        """Once the declared way made it worse from here, the other way is proposed, and says why."""
        assert propose(SLOW, [knob()], outcomes=[outcome("same", size=4.0)]).proposals == ()
        (one,) = propose(SLOW, [knob()], outcomes=[outcome("worse")]).proposals

        assert (one.direction, one.basis, one.after) == ("lower", "contrary", 2)
        assert "but from 4 to 6 it got worse" in one.rationale


class TestCorrelated:
    def test_a_metric_that_goes_along_is_not_used(self, propose, knob, related):
        """A knob of another metric comes into question by a strong correlation, in its direction, with its evidence."""
        other = knob(moves={"plant.backlog": "down"})
        along = related(first="plant.backlog", second="plant.latency", r=0.9, lag=60.0)
        against = related(first="plant.latency", second="plant.backlog", r=-0.9)
        (up,) = propose(SLOW, [other], relations=[along]).proposals
        (down,) = propose(SLOW, [other], relations=[against]).proposals

        assert (up.direction, up.basis, up.confidence) == ("raise", "correlated", pytest.approx(0.635))
        assert (up.evidence[-1].statistic, up.evidence[-1].value) == ("r", 0.9)
        assert "plant.latency goes along with plant.backlog (r = 0.90 at a lag of 60 s)" in up.rationale
        assert down.direction == "lower"

    def test_a_weak_correlation_is_enough(self, propose, knob, related):
        """A weak one is below the threshold, and one that may be chance is none."""
        other = knob(moves={"plant.backlog": "down"})
        weak = related(first="plant.backlog", second="plant.latency", r=0.5)
        chance = related(first="plant.backlog", second="plant.latency", r=0.9, q=0.2)

        assert "a confidence of 0.57, below 0.6" in whys(propose(SLOW, [other], relations=[weak]))[0][2]
        assert whys(propose(SLOW, [other], relations=[chance]))[0][0] == ""

    def test_what_is_declared_gives_way_to_a_correlation(self, propose, knob, related):
        """What the owner declares for the metric itself counts alone."""
        both = knob(moves={"plant.latency": "up", "plant.backlog": "down"})
        along = related(first="plant.backlog", second="plant.latency", r=0.99)
        (one,) = propose(SLOW, [both], relations=[along]).proposals

        assert (one.direction, one.basis) == ("lower", "declared")
