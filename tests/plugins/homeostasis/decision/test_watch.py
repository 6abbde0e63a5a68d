"""The names that are seen, whatever they are."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.decision import Controller, Knob

ODD = ["\ud800", "b\udfff", 7, None, ("a",), b"a", 1.5, frozenset()]


class TestWatch:
    @pytest.mark.parametrize("odd", ODD, ids=ascii)
    def test_a_name_that_cannot_be_written_breaks_the_state(self, drive, wedged, odd):
        """It is passed over: its target is not watched, the others are, and the state is saved and comes back."""
        knob = Knob("turn", "svc.*.wait", setpoint=1.0, low=1.0, high=8.0)
        one = drive({"wedged": wedged}, knobs={"turn": knob})
        ill = {f"svc.{name}.{what}": 9.0 for name in (odd, "ä") for what in ("stalled", "oldest", "wait")}
        one.look({**ill, odd: 9.0}, 200)
        state = one.core.state()

        assert {decision.target for decision in one.decisions} <= {"ä", str(odd)}
        assert "restart" in one.did()
        assert Controller(one.policy, clock=lambda: 0.0, state=state).state() == state
        if isinstance(odd, str):
            assert not [decision for decision in one.decisions if decision.target != "ä"]
            assert one.core.status().watched == 1
