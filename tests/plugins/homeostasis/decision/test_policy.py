"""Policies that cannot work are refused when they are written."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.decision import Condition, Knob, Policy, Rule, Rung, Slo

RESTART = Rung("restart", disruptive=True)


def confirmed(metric, by, *, unknown=False):
    """Return a rule with something disruptive that another metric confirms."""
    return Rule(metric, bad_above=1.0, ladder=(RESTART,), confirm=(Condition(by, above=1.0, unknown=unknown),))


class TestPolicy:
    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda: Rule("m"), "bad_above or bad_below"),
            (lambda: Rule("m", bad_above=1.0, bad_below=0.0), "not both"),
            (lambda: Rule("m", bad_above=1.0, clear=2.0), "good side"),
            (lambda: Rule("m", bad_above=1.0, enter=(6, 5)), "n of m"),
            (lambda: Rule("m", bad_above=float("nan")), "finite"),
            (lambda: Rule("m", bad_above=1.0, plausible=(2.0, 1.0)), "plausible"),
            (lambda: Rule("m", bad_above=9.0, plausible=(0.0, 5.0)), "it can be bad, above 9, and good again, at 9"),
            (lambda: Rule("m", bad_above=9.0, plausible=(0.0, 9.0)), "it can be bad"),
            (lambda: Rule("m", bad_below=1.0, plausible=(1.0, 5.0)), "it can be bad"),
            (lambda: Rule("m", bad_above=9.0, clear=1.0, plausible=(2.0, 20.0)), "good again"),
            (lambda: Rule("m", bad_above=1.0, stuck_after=1), "at least 2 samples"),
            (lambda: Rule("a - b", bad_above=1.0), "joined by"),
            (lambda: Rule("", bad_above=1.0), "expected names as in"),
            (lambda: Slo("a +", target=0.9), "joined by"),
            (lambda: Slo("m", target=0.9, events="a..b"), "joined by"),
            (lambda: Slo("m", target=0.9, burn=5.0, plausible=(0.0, 0.4)), "bad and good"),
            (lambda: Slo("m", target=0.9, burn=5.0, plausible=(0.5, 1.0)), "bad and good"),
            (lambda: Slo("m", target=0.9, burn=5.0, plausible=(1.0, 0.0)), "as .low, high."),
            (lambda: Slo("m", target=0.9, burn=5.0, maximum=9.0, plausible=(0.0, 5.0)), "bad and good"),
            (lambda: Slo("m", target=0.9, burn=5.0, minimum=9.0, plausible=(0.0, 5.0)), "bad and good"),
            (lambda: Knob("a", "m + ", 1.0, low=1.0, high=2.0), "joined by"),
            (lambda: Knob("a", "m", 1.0, low=1.0, high=2.0, actual="x.*"), "no target"),
            (lambda: Knob("a", "m", 1.0, low=1.0, high=2.0, enter=(61, 61)), "m <= 60"),
            (lambda: Knob("a", "m", 1.0, low=1.0, high=2.0, plausible=(1.0, 5.0)), "around the setpoint"),
            (lambda: Knob("a", "m", 1.0, low=1.5, high=2.0, whole=True), "whole numbers"),
            (lambda: Knob("a", "m", 1.0, low=1.0, high=2.0, kp=0.0, ki=0.0), "one of kp, ki and kd"),
            (lambda: Rule("m", bad_above=1.0, ladder=(RESTART,)), "may lie"),
            (lambda: Rule("m", bad_above=1.0, ladder=(RESTART,), confirm=(Condition("m", above=1.0),)), "itself"),
            (lambda: confirmed("m", " m "), "itself"),
            (lambda: confirmed("m + n", "m"), "itself"),
            (lambda: confirmed("m", "n + m"), "itself"),
            (lambda: confirmed("svc.*.x", "svc.a.x"), "itself"),
            (lambda: confirmed("m", "n", unknown=True), "without unknown"),
            (lambda: Slo("m", target=0.9, burn=5.0, confirm=(Condition(" m", above=1.0),)), "itself"),
            (lambda: Condition("m"), "above or below"),
            (lambda: Condition("m", above=1.0, symptom="s"), "metric or a symptom"),
            (lambda: Rung(""), "actuator"),
            (lambda: Rung("a", settle=0.0), "settle"),
            (lambda: Rung("a", retry_after=60.0), "lasting"),
            (lambda: Slo("m", target=1.0), "target"),
            (lambda: Slo("m", target=0.5), "never be reached"),
            (lambda: Knob("a", "m", 1.0, low=0.0, high=1.0), "above 0, or log false"),
            (lambda: Knob("a", "m", 1.0, low=2.0, high=1.0), "low <= rest <= high"),
            (lambda: Policy(limits={"a": -1.0}), "limit"),
            (lambda: Policy(rules={"s": Rule("m", bad_above=1.0, masks=("t",))}), "no rule or SLO"),
            (lambda: Policy(rules={"s": Rule("m", bad_above=1.0, masks=("s",))}), "masks itself"),
            (lambda: Policy(rules={"s": Rule("m", bad_above=1.0, given=(Condition("a.*", above=1.0),))}), "no target"),
            (lambda: Policy(rules={"s": Rule("m.*.*", bad_above=1.0)}), "at most one"),
            (lambda: Policy(rules={"s": Rule("m", bad_above=1.0)}, slos={"s": Slo("m", target=0.99)}), "one symptom"),
        ],
    )
    def test_what_cannot_work_is_taken(self, make, says):
        """It raises, and says what was expected."""
        with pytest.raises(ValueError, match=says):
            make()

    def test_a_policy_is_not_what_its_file_says(self):
        """It comes from JSON, where a typo is an error that says where."""
        written = b'{"rules": {"slow": {"metric": "m", "bad_above": 1, "ladder": [{"action": "a", "requires": []}]}}}'

        assert msgspec.json.decode(written, type=Policy).rules["slow"] == Rule("m", 1.0, ladder=(Rung("a"),))
        with pytest.raises(msgspec.ValidationError, match=r"\$\.rules"):
            msgspec.json.decode(written.replace(b"bad_above", b"bad_over"), type=Policy)
