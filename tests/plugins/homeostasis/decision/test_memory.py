"""What outlives a controller."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.decision import Controller, Knob, Policy, StateError

ILL = {"svc.a.stalled": 9.0, "svc.a.oldest": 9.0, "wait": 3.0}


class TestMemory:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda state: b"", lambda state: b"{}", lambda state: state[:-1], lambda state: state + b"x",
            lambda state: state[:20] + bytes([state[20] ^ 1]) + state[21:],
            lambda state: state[:8] + b"\x00\x09" + state[10:], lambda state: state[:12],
        ],
    )  # fmt: skip
    def test_a_damaged_state_is_taken_for_one(self, drive, wedged, load, damage):
        """It is an error that says what is wrong; if asked, the controller begins anew."""
        one = drive({"wedged": wedged, "load": load})
        one.look(ILL, 30)
        state = damage(one.core.state())

        with pytest.raises(StateError, match="cannot be read"):
            Controller(one.policy, clock=lambda: 0.0, state=state)
        anew = Controller(one.policy, clock=lambda: 0.0, state=state, on_damage="anew")
        assert anew.status().decisions == {}

    def test_a_successor_does_again_what_was_just_done(self, drive, wedged, load):
        """Limits, ladders, changes in force and numbers of decisions go on, whatever the new clock says."""
        one = drive({"wedged": wedged, "load": load})
        one.look(ILL, 5)
        assert sorted(one.did()) == ["restart", "shed"]
        other = drive({"wedged": wedged, "load": load})
        other.now = 5.0
        other.core = Controller(one.policy, clock=lambda: other.now, state=one.core.state())
        assert other.core.state() == one.core.state()
        other.look(ILL, 12)

        assert other.did() == ["disable"]
        assert not {decision.id for decision in one.decisions} & {decision.id for decision in other.decisions}
        other.look({"svc.a.stalled": 0.0, "svc.a.oldest": 0.0, "wait": 0.0}, 200)
        assert other.did("undo") == ["shed"]

    def test_another_policy_chokes_on_a_state(self, drive, wedged, load):
        """What still has a place is kept; what has none is passed over."""
        one = drive({"wedged": wedged, "load": load})
        one.look(ILL, 30)
        other = Controller(Policy(rules={"load": load}), clock=lambda: 0.0, state=one.core.state())

        assert other.decide(ILL) == []

    def test_whole_numbers_come_back_as_others(self, drive):
        """Bounds written as whole numbers make the same state as any."""
        knob = Knob("set_workers", "wait", setpoint=1, low=4, high=32, whole=True)
        one = drive(knobs={"workers": knob})
        one.look({"wait": 9.0}, 20)
        one.look({"wait": 0.0}, 100)
        state = one.core.state()

        assert Controller(one.policy, clock=lambda: 0.0, state=state).state() == state
