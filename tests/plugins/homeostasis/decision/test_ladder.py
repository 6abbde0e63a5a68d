"""Rung by rung."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.decision import Condition, Outcome, Rule, Rung

ILL = {"svc.a.stalled": 9.0, "svc.a.oldest": 9.0}
WELL = {"svc.a.stalled": 0.0, "svc.a.oldest": 0.0}


class TestLadder:
    def test_a_rung_is_taken_before_the_last_one_had_its_time(self, drive, wedged):
        """Act, wait for the effect, then the next rung; after the last, give up and say so."""
        drive = drive({"wedged": wedged})

        assert [drive.look(ILL) for _ in range(2)] == [[], []]
        assert [decision.action for decision in drive.look(ILL)] == ["restart"]
        assert drive.look(ILL, 9) == []
        assert [decision.action for decision in drive.look(ILL)] == ["disable"]
        assert [decision.kind for decision in drive.look(ILL, 12)] == ["give_up"]
        assert [effect.helped for effect in drive.effects] == [False, False]
        assert drive.symptom("wedged", "a").phase == "given_up"

    def test_giving_up_is_for_ever(self, drive, wedged):
        """After the cooldown the ladder starts over, and each cooldown in a row is longer."""
        drive = drive({"wedged": msgspec.structs.replace(wedged, cooldown=100.0)}, jitter=0.0)
        drive.look(ILL, 25)
        assert len(drive.did()) == 2

        drive.look(ILL, 105)
        assert len(drive.did()) == 3
        drive.look(ILL, 150)
        assert drive.did("give_up") == ["", ""]

    def test_a_decision_does_not_say_why(self, drive, wedged):
        """It says what was seen, by which rule with n of m, what else was considered, and what is expected."""
        drive = drive({"wedged": wedged})
        first, second, _ = drive.look(ILL, 25)

        assert first.evidence.metric == "svc.a.stalled"
        assert (first.evidence.votes, first.evidence.of, first.evidence.needed) == (3, 5, 3)
        assert first.evidence.agreeing == ("svc.a.oldest above 5",)
        assert first.expects == "svc.a.stalled is no longer above 5"
        assert [(other.action, other.why_not) for other in second.considered] == [("restart", "it had its turn")]
        assert "wedged of a: svc.a.stalled is 9, bad above 5" in first.reason

    def test_an_effect_is_not_told(self, drive, wedged):
        """After the settle time each act has one, with the value before and after."""
        drive = drive({"wedged": wedged})
        decision = drive.look(ILL, 3)[0]
        drive.look(WELL, 10)

        effect = drive.effects[0]
        assert (effect.decision_id, effect.before, effect.after, effect.helped) == (decision.id, 9.0, 0.0, True)
        assert "restart on a helped against wedged" in effect.sentence

    @pytest.mark.parametrize("oldest", [0.0, None, float("nan")])
    def test_one_lying_sensor_restarts_a_service(self, drive, wedged, oldest):
        """Nothing disruptive is done that no other metric confirms; it is said once that somebody should look."""
        drive = drive({"wedged": wedged})
        drive.look({"svc.a.stalled": 9.0, "svc.a.oldest": oldest}, 200)

        assert drive.did() == []
        assert drive.did("give_up") == [""]
        assert "not confirmed" in drive.decisions[0].considered[0].why_not
        assert [decision.action for decision in drive.look(ILL, 5)] == ["restart"]

    def test_a_silent_sensor_moves_a_ladder_on(self, drive, wedged):
        """Once a metric is UNKNOWN nothing is done to its target."""
        drive = drive({"wedged": wedged})
        drive.look(ILL, 3)
        drive.look({"svc.a.stalled": None, "svc.a.oldest": 9.0}, 50)
        drive.look({}, 50)

        assert drive.did() == ["restart"]
        assert drive.effects[0].helped is None
        assert not drive.symptom("wedged", "a").known

    def test_a_failed_act_is_waited_for(self, drive, wedged):
        """One that failed, or changed nothing, has no effect to wait for: the next rung is due on fresh evidence."""
        drive = drive({"wedged": wedged})
        drive.look(ILL, 3, outcome="failed")
        assert [decision.action for decision in drive.look(ILL, 3, outcome="unchanged")] == ["disable"]

        assert [effect.helped for effect in drive.effects] == [None, False]

    def test_what_worked_for_a_while_is_given_up(self, drive, wedged):
        """A restart that keeps a fault away for more than twice its settle time is taken again; else the next is."""
        long, short = drive({"wedged": wedged}), drive({"wedged": wedged})
        for one, seconds in ((long, 70), (short, 12)):
            one.look(ILL, 3)
            one.look(WELL, seconds)
            one.look(ILL, 5)

        assert long.did() == ["restart", "restart"]
        assert short.did() == ["restart", "disable"]

    def test_a_metric_on_its_way_is_given_no_time(self, drive, load):
        """A queue that drains gets its settle time again before the next rung."""
        rungs = (Rung("shed", settle=10.0), Rung("drop", settle=10.0))
        drive = drive({"load": msgspec.structs.replace(load, ladder=rungs)})
        drive.look({"wait": 10.0}, 3)
        drive.look({"wait": 4.0}, 15)

        assert drive.did() == ["shed"]

    def test_a_rung_is_taken_that_requires_something_else(self, drive):
        """It is passed over, with the reason, and looked at again."""
        rungs = (
            Rung("roll_back", requires=(Condition("age", below=60.0),)),
            Rung("trim", unless=(Condition("busy", above=0.5),)),
            Rung("clean"),
        )
        drive = drive({"ill": Rule("errors", bad_above=0.5, ladder=rungs)})
        decision = drive.look({"errors": 1.0, "age": 99.0, "busy": 1.0}, 3)[0]

        assert decision.action == "clean"
        assert [other.why_not for other in decision.considered] == ["age is 99, expected below 60", "busy above 0.5"]
        assert drive.look({"errors": 1.0, "age": 1.0, "busy": 1.0}, 40)[0].action == "roll_back"

    def test_grace_is_no_sample(self, drive, load):
        """A symptom that leaves within its grace is left alone, and counts as healed by itself."""
        drive = drive({"load": msgspec.structs.replace(load, grace=20.0)})
        for _ in range(6):
            drive.look({"wait": 3.0}, 10)
            drive.look({"wait": 0.1}, 200)

        assert drive.decisions == []
        assert drive.core._lifts.alone("load", drive.core._memory.time) > 0.8
        drive.look({"wait": 3.0}, 25)
        assert drive.did() == ["shed"]

    def test_a_useless_cleanup_goes_first_for_ever(self, drive):
        """One that reports ok and changes nothing is passed over once that is known."""
        rungs = (Rung("clean", settle=10.0), Rung("trim", settle=10.0))
        drive = drive({"full": Rule("disk", bad_above=0.9, ladder=rungs, relapse=20.0)}, flap_budget=1000)
        for _ in range(9):
            for _ in range(60):
                drive.look({"disk": 1.0 if drive.did()[-1:] != ["trim"] else 0.1})
            drive.decisions.clear()
        drive.look({"disk": 0.1}, 100)
        drive.look({"disk": 1.0}, 3)

        assert drive.did() == ["trim"]

    def test_a_held_out_symptom_is_acted_on_at_once(self, drive, load):
        """With a holdout it is left alone for the first settle time, to learn what heals by itself."""
        drive = drive({"load": load}, holdout=1.0)
        drive.look({"wait": 3.0}, 20)
        assert drive.did() == []
        drive.look({"wait": 3.0}, 20)
        assert drive.did() == ["shed"]


class TestPuttingOff:
    """What is not permitted now is decided anew, as if it had not been."""

    def test_an_act_that_was_put_off_had_its_turn(self, drive, wedged):
        """The ladder waits at that rung for as long as was said; nothing is learnt, and no limit spent."""
        drive = drive({"wedged": wedged}, flap_budget=1)
        drive.look(ILL, 2)
        assert [one.action for one in drive.look(ILL, outcome=Outcome("skipped", "a guard", again=40.0))] == ["restart"]
        assert drive.symptom("wedged", "a").tried == ()
        assert drive.look(ILL, 39) == []
        assert "restart is permitted in 1 s" in drive.symptom("wedged", "a").waits_for
        assert [one.action for one in drive.look(ILL, 2)] == ["restart"]
        assert drive.effects == []

    def test_all_stands_still_while_one_act_is_not_permitted(self, drive, wedged):
        """What is put off for longer than a minute is passed over by the next rung, which says why."""
        drive = drive({"wedged": wedged})
        drive.look(ILL, 2)
        drive.look(ILL, outcome=Outcome("skipped", "disabled by a guard", again=600.0))
        (decision,) = drive.look(ILL, 3)
        assert decision.action == "disable"
        assert [one.action for one in decision.considered] == ["restart"]
        assert "it is not permitted" in decision.considered[0].why_not

    def test_what_was_put_off_by_a_stop_waits_for_more(self, drive, load):
        """With no time to wait it is due as soon as there is evidence again; no change is in force."""
        drive = drive({"load": load})
        drive.look({"wait": 3.0}, 2)
        drive.look({"wait": 3.0}, outcome=Outcome("skipped", "stopped", again=0.0))
        assert drive.core.status().changes == ()
        assert [one.action for one in drive.look({"wait": 3.0}, 3)] == ["shed"]

    def test_what_was_put_off_goes_to_and_fro(self, drive, load):
        """Being put off over and over is no oscillation: what comes back later is acted on as soon as ever."""
        drive = drive({"load": load})
        for _ in range(8):
            drive.look({"wait": 3.0}, 4, outcome=Outcome("skipped", "stopped", again=0.0))
        drive.look({"wait": 3.0}, 4, outcome="done")
        drive.look({"wait": 0.1}, 130, outcome="done")
        assert drive.did("undo") == ["shed"]
        assert [one.action for one in drive.look({"wait": 3.0}, 6)] == ["shed"]

    def test_others_wait_for_what_was_put_off(self, drive, wedged):
        """Another symptom of the same target is dealt with at once: nothing settles there."""
        other = Rule("svc.*.errors", bad_above=0.5, ladder=(Rung("poke", settle=5.0),), enter=(6, 6))
        slow = msgspec.structs.replace(wedged, ladder=(Rung("restart", disruptive=True, settle=500.0),))
        drive = drive({"wedged": slow, "failing": other})
        ill = {**ILL, "svc.a.errors": 0.9}
        drive.look(ill, 2)
        drive.look(ill, outcome=Outcome("skipped", "disabled by a guard", again=600.0))
        assert [one.action for one in drive.look(ill, 10)] == ["poke"]
