"""Taking back what lasts."""

from __future__ import annotations

import itertools

import msgspec

from aetherra.plugins.homeostasis.decision import Outcome, Rung

BAD, GOOD = {"wait": 3.0}, {"wait": 0.1}


class TestReversal:
    def test_a_change_stays_for_ever(self, drive, load):
        """It is undone once its symptom has been away for a while, with its own arguments, and what it undoes."""
        drive = drive({"load": load})
        act = drive.look(BAD, 3)[0]
        assert drive.look(GOOD, 60) == []
        undo = drive.look(GOOD, 20)[0]

        assert (undo.kind, undo.action, undo.arguments, undo.undoes) == ("undo", "shed", {"on": False}, act.id)
        assert "has been away" in undo.reason
        assert drive.look(GOOD, 500) == []
        assert drive.core.status().changes == ()

    def test_a_change_is_undone_while_nobody_knows(self, drive, load):
        """UNKNOWN is not well."""
        drive = drive({"load": load})
        drive.look(BAD, 3)
        drive.look(GOOD, 30)
        drive.look({"wait": None}, 1000)

        assert drive.did("undo") == []
        drive.look(GOOD, 3)
        assert drive.did("undo") == ["shed"]

    def test_a_change_that_never_came_about_is_undone(self, drive, load):
        """What failed, or was not tried, has changed nothing."""
        for outcome in ("failed", "unchanged", "skipped"):
            one = drive({"load": load})
            one.look(BAD, 3, outcome=outcome)
            one.look(GOOD, 500)

            assert one.did("undo") == []

    def test_a_failed_undoing_is_forgotten(self, drive, load):
        """It is due again, as often as its limit allows."""
        drive = drive({"load": load})
        drive.look(BAD, 3)
        undo = drive.look(GOOD, 100)[0]
        drive.core.report(undo.id, Outcome("failed"))
        drive.look(GOOD, 15)
        assert drive.did("undo") == ["shed"]
        drive.look(GOOD, 20, outcome="done")

        assert drive.did("undo") == ["shed", "shed"]
        assert drive.core.status().changes == ()

    def test_a_change_is_undone_under_another_symptom(self, drive, load):
        """One that two symptoms ask for is made once, and ends with the last of them."""
        drive = drive({"load": load, "storm": msgspec.structs.replace(load, metric="retries")})
        drive.look({"wait": 3.0, "retries": 3.0}, 5)
        drive.look({"wait": 0.1, "retries": 3.0}, 300)
        assert drive.did() == ["shed"]
        assert drive.did("undo") == []
        drive.look({"wait": 0.1, "retries": 0.1}, 100)

        assert drive.did("undo") == ["shed"]

    def test_to_and_fro_goes_on_at_the_same_pace(self, drive, load):
        """A change that is made and undone again and again is undone later and later."""
        drive = drive({"load": load})
        for _ in range(4000):
            shed = len(drive.did()) > len(drive.did("undo"))
            drive.look(GOOD if shed else BAD)
        times = [decision.at for decision in drive.decisions if decision.kind == "undo"]
        gaps = [late - early for early, late in itertools.pairwise(times)]

        assert gaps[0] < 140
        assert gaps[-1] > 1.5 * gaps[0]

    def test_a_change_outlives_a_target_that_was_gone(self, drive, wedged):
        """A target that is missing for long is forgotten; what was changed for it is undone when it is back, too."""
        isolate = Rung("isolate", lasting=True, settle=5.0)
        drive = drive({"wedged": msgspec.structs.replace(wedged, ladder=(isolate,))}, forget_after=100.0)
        drive.look({"svc.a.stalled": 9.0}, 5)
        drive.look({}, 50)
        drive.now += 100.0
        drive.look({"svc.b.stalled": 0.0}, 1)
        drive.look({"svc.a.stalled": 0.0}, 200)

        assert drive.did("undo") == ["isolate"]
        assert drive.core.status().changes == ()

    def test_a_target_that_was_taken_away_never_gets_a_try(self, drive, wedged):
        """What hides its target is undone for a try after a while; if that fails, the ladder does not begin anew."""
        isolate = Rung("isolate", disruptive=True, lasting=True, settle=5.0, retry_after=300.0)
        restart = Rung("restart", disruptive=True, settle=5.0)
        drive = drive({"wedged": msgspec.structs.replace(wedged, ladder=(restart, isolate))}, default_limit=6.0)
        ill, gone = {"svc.a.stalled": 9.0, "svc.a.oldest": 9.0}, {"svc.b.stalled": 0.0}
        for round_, wait in enumerate((300, 600), 1):
            while drive.did().count("isolate") < round_:
                drive.look(ill)
            drive.look(gone, wait - 10)
            assert drive.did("undo").count("isolate") == round_ - 1
            drive.look(gone, 20)
            assert drive.did("undo").count("isolate") == round_
        assert drive.did() == ["restart", "isolate", "isolate"]

        drive.look({"svc.a.stalled": 0.0, "svc.a.oldest": 0.1}, 200)
        assert drive.symptom("wedged", "a") is None
        assert drive.core.status().changes == ()

    def test_a_target_that_is_seen_is_given_a_try(self, drive, wedged):
        """While the symptom can be seen to hold, there is nothing to try."""
        isolate = Rung("isolate", disruptive=True, lasting=True, settle=5.0, retry_after=100.0)
        drive = drive({"wedged": msgspec.structs.replace(wedged, ladder=(isolate,))})
        drive.look({"svc.a.stalled": 9.0, "svc.a.oldest": 9.0}, 600)

        assert drive.did("undo") == []

    def test_an_undoing_that_was_put_off_is_forgotten(self, drive, load):
        """It is due again after the time that was said, and no sooner."""
        drive = drive({"load": load})
        drive.look(BAD, 3)
        while not drive.did("undo"):
            drive.look(GOOD, outcome=Outcome("skipped", "everything is stopped", again=90.0))
        drive.look(GOOD, 89)
        assert drive.did("undo") == ["shed"]
        drive.look(GOOD, 2, outcome="done")
        assert drive.did("undo") == ["shed", "shed"]
        assert drive.core.status().changes == ()
