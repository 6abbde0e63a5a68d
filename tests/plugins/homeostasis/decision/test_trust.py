"""Actuators that fail."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.decision.trust import QuarantineRule, Trust, TrustMemory


def after(*outcomes, rule=QuarantineRule()):  # noqa: B008  # it is frozen
    trust = Trust(TrustMemory(), rule)
    for outcome in outcomes:
        trust.note("restart", outcome, 0.0)
    return trust


class TestTrust:
    def test_an_actuator_that_always_fails_is_used_on(self):
        """Five failures in a row rest it."""
        assert not after(*[False] * 4).why_not("restart", 0.0)
        assert "quarantined" in after(*[False] * 5).why_not("restart", 0.0)

    def test_a_rate_of_few_outcomes_counts(self):
        """Five of eight do, five of seven do not."""
        assert not after(False, False, True, False, False, True, False).why_not("restart", 0.0)
        assert after(False, False, True, False, False, True, False, True).why_not("restart", 0.0)

    def test_the_rule_is_passed_over(self):
        """Counts and rest are the policy's."""
        rule = QuarantineRule(failures=1, minimum=2, in_a_row=9, rest=10.0)
        trust = after(True, False, rule=rule)
        assert trust.why_not("restart", 9.0)
        assert not trust.why_not("restart", 10.0)
        assert not after(False, rule=rule).why_not("restart", 0.0)

    @pytest.mark.parametrize("fields", [{"failures": 9}, {"failures": 0}, {"in_a_row": 0}, {"rest": 0.0}])
    def test_a_rule_that_cannot_be_is_taken(self, fields):
        """It says which figures do not go together."""
        with pytest.raises(ValueError, match="expected"):
            QuarantineRule(**fields)

    def test_a_rested_actuator_is_never_tried_again(self):
        """After the rest there is one try; if it works, all is forgotten, else it rests again."""
        trust = after(*[False] * 5)
        assert not trust.why_not("restart", 600.0)

        trust.begun("restart", 600.0)
        assert trust.why_not("restart", 601.0)
        trust.note("restart", False, 602.0)
        assert trust.why_not("restart", 1100.0)
        trust.note("restart", True, 1300.0)
        assert not trust.why_not("restart", 1300.0)
