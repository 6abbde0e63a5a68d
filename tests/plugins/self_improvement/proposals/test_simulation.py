"""Tests of the simulation: the past is replayed as it was known, without acting and with bounded work."""

from __future__ import annotations

import pytest

from aetherra.plugins.self_improvement.proposals.proposer import Proposer
from aetherra.plugins.self_improvement.proposals.setpoints import Setpoint
from aetherra.plugins.self_improvement.proposals.settings import ProposerSettings
from aetherra.plugins.self_improvement.proposals.simulation import simulate

HOUR = 3600.0
SETTINGS = ProposerSettings(setpoints={"plant.latency": Setpoint(0.2, 2.0)})


@pytest.fixture
def replay(analysed, points, knob, now):
    """Return a function that replays six hours, of which the metric is bad in the third and the fourth."""
    series = [
        (time, value * (11 if 2 * HOUR < time - now + 6 * HOUR <= 4 * HOUR else 1))
        for time, value in points(0.1, count=6 * 60 + 1)
    ]

    def analyse(known, _):
        return [analysed(name, each) for name, each in known.items()], []

    def replay(extra=(), *, history=None, **changes):
        known = [*series, *extra]
        asked = {"knobs": [knob()], "since": now - 5 * HOUR, "until": now, "step": 1800.0, "window": HOUR}
        history = history or (lambda since, until: {"plant.latency": known})
        return simulate(Proposer(SETTINGS), history, analyse, **(asked | changes))

    return replay


class TestSimulate:
    def test_what_would_have_been_proposed_is_not_told(self, replay, now):
        """One proposal for as long as the problem was there, the first time as it would have been made then."""
        found = replay()

        assert (found.looks, found.complete, found.since, found.until) == (11, True, now - 5 * HOUR, now)
        (one,) = found.proposals
        assert (one.proposal.knob, one.proposal.direction, one.proposal.after) == ("plant.workers", "raise", 6)
        assert now - 4 * HOUR <= one.first <= now - 3 * HOUR
        assert now - 2 * HOUR <= one.last <= now - 1.5 * HOUR
        assert one.proposal.created == one.first
        assert one.times == (one.last - one.first) / 1800 + 1
        assert found.problems == {"plant.latency": {"beyond_setpoint": one.times}}
        assert one.expected_lift is None

    def test_the_future_tells_of_itself(self, replay, now, outcome):
        """What comes after a look changes nothing of it: neither points nor outcomes."""
        end = now - 3 * HOUR
        plain = replay(until=end)
        later_points = [(end + n, 99.0) for n in range(1, 600)]
        later_rows = [outcome("worse", at=end + 1, before=n, after=n + 2) for n in range(5)]

        assert plain.proposals
        assert replay(later_points, until=end) == plain
        assert replay(until=end, outcomes=later_rows) == plain
        whole, cut = replay(outcomes=later_rows), replay(until=end, outcomes=later_rows)
        assert [one.first for one in whole.proposals[:1]] == [one.first for one in cut.proposals]
        assert whole.proposals[0].last <= end

    def test_what_was_known_then_is_not_used(self, replay, now, outcome):
        """Outcomes count from when they were known: bad ones end what would have been proposed, good ones raise it."""
        middle = now - 2.6 * HOUR
        bad = [outcome("worse", at=middle, size=4.0)]
        good = [outcome("better", at=middle, before=n, after=n + 2, lift=0.3) for n in (20, 22, 24)]

        assert replay(outcomes=bad).proposals[0].last <= middle
        (_, *later) = replay(outcomes=bad).proposals
        assert [one.proposal.basis for one in later] == ["contrary"]
        (one,) = replay(outcomes=good).proposals
        assert (one.proposal.confidence, one.expected_lift) == (0.65, 0.3)
        assert one.confidence > 0.75

    def test_history_is_asked_for_the_future(self, replay):
        """Each look asks for its own window, and gets on with what it is given of that."""
        asked = []

        def history(since, until):
            asked.append((since, until))
            return {}

        found = replay(history=history)
        assert found.proposals == ()
        assert [until - since for since, until in asked] == [HOUR] * 11
        assert [until for _, until in asked] == [found.since + 1800 * n for n in range(11)]

    def test_why_nothing_was_proposed_is_not_told(self, replay, knob):
        """The reasons stand with the number of looks."""
        found = replay(knobs=[knob(undo="")])

        assert found.proposals == ()
        ((passed, looks),) = found.passed
        assert (passed.why, looks) == ("it has no way back", found.problems["plant.latency"]["beyond_setpoint"])

    def test_the_work_has_no_bound(self, replay):
        """So many looks and no more, and what was left out is said."""
        found = replay(step=1.0, most_looks=4)

        assert (found.looks, found.complete, found.until) == (4, False, found.since + 3)

    @pytest.mark.parametrize("bad", [{"step": 0.0}, {"window": -1.0}, {"most_looks": 0}, {"until": 0.0}])
    def test_a_replay_that_cannot_be_is_begun(self, bad, replay):
        """What makes no sense is refused, and says what was expected."""
        with pytest.raises(ValueError, match="expected step, window and most_looks above 0"):
            replay(**bad)

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            ({"window": 1e300}, "expected window to be within 1e[+]12 s, got 1e[+]300"),
            ({"window": float("inf")}, "expected window to be within"),
            ({"step": float("inf")}, "expected step to be within"),
            ({"since": -1e300}, "expected since to be within"),
            ({"until": float("inf")}, "expected until to be within"),
            ({"step": 1e-300}, "expected a step that leads from .* to a later time, got 1e-300"),
            ({"step": float("nan")}, "expected step, window and most_looks above 0"),
            ({"window": float("nan")}, "expected step, window and most_looks above 0"),
            ({"since": float("nan")}, "until >= since"),
        ],
    )
    def test_absurd_figures_overflow(self, bad, why, replay):
        """What no clock can tell is refused by name, before anything is asked for."""
        with pytest.raises(ValueError, match=why):
            replay(history=lambda *_: pytest.fail("asked"), **bad)

    def test_a_step_far_too_short_overflows(self, replay, now):
        """However many looks were asked for, so many are done and no more."""
        found = replay(since=0.0, step=1e-300, most_looks=3, history=lambda *_: {}, until=1e12)

        assert (found.looks, found.complete, found.until) == (3, False, 2e-300)
