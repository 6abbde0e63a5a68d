"""Several at once."""

from __future__ import annotations

import msgspec

ILL = {"svc.a.stalled": 9.0, "svc.a.oldest": 9.0}


class TestScene:
    def test_what_a_wedge_causes_is_treated_first(self, drive, wedged, load):
        """While a symptom holds that masks another, the other waits."""
        drive = drive({"load": load, "wedged": msgspec.structs.replace(wedged, masks=("load",))})
        drive.look({**ILL, "wait": 9.0}, 10)

        assert drive.did() == ["restart"]
        assert "would cause it" in drive.symptom("load").waits_for

    def test_a_lying_sensor_masks_a_real_fault(self, drive, wedged, load):
        """What cannot be acted on masks nothing: unconfirmed, given up, or no longer known."""
        masking = msgspec.structs.replace(wedged, masks=("load",))
        lying, silent = drive({"load": load, "wedged": masking}), drive({"load": load, "wedged": masking})
        lying.look({"svc.a.stalled": 9.0, "svc.a.oldest": 0.0, "wait": 9.0}, 20)
        silent.look({**ILL, "wait": 0.0}, 3)
        silent.look({"wait": 9.0}, 60)

        assert lying.did() == ["shed"]
        assert silent.did() == ["restart", "shed"]

    def test_a_common_cause_restarts_everything(self, drive, wedged):
        """When most targets show a symptom at once, no target is the cause."""
        drive = drive({"wedged": wedged})
        drive.look({f"svc.{n}.{what}": 9.0 for n in range(8) for what in ("stalled", "oldest")}, 100)

        assert drive.did() == []
        assert any("in common" in other.why_not for decision in drive.decisions for other in decision.considered)

    def test_two_symptoms_treat_one_target_at_once(self, drive, wedged):
        """While an act on a target settles, others of it wait."""
        failing = msgspec.structs.replace(wedged, metric="svc.*.errors", bad_above=0.5, clear=0.1)
        drive = drive({"wedged": wedged, "failing": failing})
        drive.look({**ILL, "svc.a.errors": 1.0}, 11)

        assert [(decision.symptom, decision.action) for decision in drive.decisions] == [("wedged", "restart")]
