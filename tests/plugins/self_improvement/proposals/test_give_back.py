"""Tests of giving back: what is no longer needed is taken back, and does not flap."""

from __future__ import annotations

import pytest

from aetherra.plugins.self_improvement.proposals.proposal import MeasuredEffect

DAY = 86_400.0
WELL = {"plant.latency": 0.05}


@pytest.fixture
def kept(proposal, now):
    def kept(days=15.0, *, lift=0.5, **changes):
        at = now - days * DAY
        effect = MeasuredEffect(verdict="better", before=1.0, after=1.0 - lift, lift=lift)
        return proposal(created=at - 60, **changes).moved("applied", at - 30).moved("kept", at, outcome=effect)

    return kept


class TestGiveBack:
    def test_a_cost_is_borne_for_nothing(self, propose, knob, kept):
        """What was raised against a problem that is long gone is taken back, at a low priority, and says why."""
        (one,) = propose(WELL, [knob(value=6)], proposals=[kept()]).proposals

        assert (one.direction, one.before, one.after, one.kind) == ("lower", 6, 4, "scale_up")
        assert one.context.problem == "no_longer_needed"
        assert (
            "as wanted, for 15 days since plant.workers-1; without that change it would be about 0.1" in one.rationale
        )
        assert one.rationale.endswith("still well, and it costs memory of one worker more")
        assert 0 < one.priority < 0.1

    def test_a_knob_kept_in_another_unit_is_never_given_back(self, propose, knob, kept):
        """What reads back with its last digit changed is what was kept."""
        turned = knob(value=0.1 + 0.2, low=0.0, whole=False, step=0.1)

        assert propose(WELL, [turned], proposals=[kept(before=0.1, after=0.3)]).proposals

    @pytest.mark.parametrize("level", [0.09, 0.15])
    def test_it_is_taken_back_while_it_is_needed(self, level, propose, knob, kept):
        """Where the metric would not be well without it, with a quarter to spare, it stays: the load is as it was."""
        assert propose({"plant.latency": level}, [knob(value=6)], proposals=[kept()]).proposals == ()

    @pytest.mark.parametrize(
        ("changes", "of_knob"),
        [
            ({"days": 13.0}, {}),
            ({"lift": 0.9}, {}),
            ({}, {"value": 7}),
            ({}, {"cost": "", "role": "tuning"}),
            ({}, {"undo": ""}),
            ({}, {"low": 5}),
        ],
        ids=["too early", "it did too much", "turned since", "costs nothing", "no way back", "out of range"],
    )
    def test_what_stays_is_taken_back(self, changes, of_knob, propose, knob, kept):
        """Only what costs, is old enough, still stands and can be taken back is."""
        assert propose(WELL, [knob(**({"value": 6} | of_knob))], proposals=[kept(**changes)]).proposals == ()

    def test_a_metric_without_a_setpoint_is_called_well(self, propose, knob, kept):
        """Where nobody said what is wanted, nobody can say that it is no longer needed."""
        settings = {"setpoints": {"plant.latency": None}}

        assert propose(WELL, [knob(value=6)], proposals=[kept()], settings=settings).proposals == ()
        assert propose(WELL, [knob(value=6)], proposals=[kept()], settings={"give_back_after": None}).proposals == ()

    def test_it_goes_back_and_forth(self, propose, knob, kept, outcome, context):
        """Each time that it was taken back before doubles the wait, whatever came of it."""
        before = [outcome("same", context=context(problem="no_longer_needed"), direction="lower", before=6, after=4)]

        def proposed(days, rows):
            return bool(propose(WELL, [knob(value=6)], proposals=[kept(days)], outcomes=rows).proposals)

        assert proposed(15, [])
        assert not proposed(15, before)
        assert proposed(29, before)
        assert not proposed(29, before * 2)

    def test_several_steps_are_taken_back_at_once(self, propose, knob, kept):
        """The last step first; the one before it only after a wait of its own."""
        steps = [kept(40, id="p1", before=2, after=4), kept(30, id="p2", before=4, after=6)]
        (one,) = propose(WELL, [knob(value=6)], proposals=steps).proposals
        assert (one.before, one.after) == (6, 4)

        back = kept(5, id="p3", before=6, after=4, direction="lower", context=one.context)
        assert propose(WELL, [knob(value=4)], proposals=[*steps, back]).proposals == ()
        back = kept(15, id="p3", before=6, after=4, direction="lower", context=one.context)
        (next_one,) = propose(WELL, [knob(value=4)], proposals=[*steps, back]).proposals
        assert (next_one.before, next_one.after) == (4, 2)

    def test_quality_is_never_restored(self, propose, knob, kept):
        """What was degraded is restored; a choice goes back to the choice before."""
        named = knob(
            choices=("fine", "coarse"),
            value="coarse",
            low=None,
            high=None,
            step=None,
            whole=False,
            role="quality",
            cost="",
        )
        (one,) = propose(
            WELL, [named], proposals=[kept(before="fine", after="coarse", direction="to coarse")]
        ).proposals

        assert (one.kind, one.direction, one.after) == ("degrade", "to fine", "fine")

    def test_a_quiet_hour_is_taken_for_a_quiet_time(self, propose, knob, kept, analysed, points, now):
        """While the load is low nothing is taken back: it will be needed when the load is back."""
        load = [(time, 0.1 if time > now - 900 else value) for time, value in points(1.0, noise=0.02)]
        levels = WELL | {"calls.rate": analysed("calls.rate", load)}

        assert propose(levels, [knob(value=6)], proposals=[kept()]).proposals == ()
        assert propose(WELL | {"calls.rate": 1.0}, [knob(value=6)], proposals=[kept()]).proposals

    def test_it_stays_open_when_the_problem_is_back(self, propose, knob, kept):
        """A proposal to give back is withdrawn as soon as the metric is in trouble."""
        (one,) = propose(WELL, [knob(value=6)], proposals=[kept()]).proposals
        result = propose({"plant.latency": 1.1}, [knob(value=6)], proposals=[kept(), one])

        assert [each.state for each in result.withdrawn] == ["superseded"]
        assert result.withdrawn[0].reason.startswith("it is needed after all")
        assert propose(WELL, [knob(value=6)], proposals=[kept(), one]).withdrawn == ()
