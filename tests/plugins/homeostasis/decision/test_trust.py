"""Actuators that fail."""

from __future__ import annotations

from aetherra.plugins.homeostasis.decision.trust import Trust, TrustMemory


def after(*outcomes):
    trust = Trust(TrustMemory())
    for outcome in outcomes:
        trust.note("restart", outcome, 0.0)
    return trust


class TestTrust:
    def test_an_actuator_that_always_fails_is_used_on(self):
        """Five failures in a row rest it."""
        assert not after(*[False] * 4).why_not("restart", 0.0)
        assert "rested" in after(*[False] * 5).why_not("restart", 0.0)

    def test_a_rate_of_few_outcomes_counts(self):
        """Five of eight do, five of seven do not."""
        assert not after(False, False, True, False, False, True, False).why_not("restart", 0.0)
        assert after(False, False, True, False, False, True, False, True).why_not("restart", 0.0)

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
