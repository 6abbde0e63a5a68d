"""Promises over time."""

from __future__ import annotations

import random

from aetherra.plugins.homeostasis.decision import Slo
from aetherra.plugins.homeostasis.decision.burn import BurnRate

SLO = Slo("errors", target=0.99, events="rate", long=600.0, short=60.0, burn=10.0, minimum_events=20.0)


class Burning:
    def __init__(self, slo=SLO):
        self.rate = BurnRate(slo, (slo.metric,), (slo.events,) if slo.events else (), "")
        self.now = 0.0
        self.breaches = 0

    def show(self, times, **observation):
        for _ in range(times):
            self.now += 1.0
            was = self.rate.active
            self.rate.look(observation, self.now, lambda *_: False)
            self.breaches += self.rate.active and not was
        return self.rate


class TestBurnRate:
    def test_a_breach_goes_unseen(self):
        """Errors at twenty times the budget for minutes break the promise, and it is kept again once they end."""
        burning = Burning()
        burning.show(300, errors=0.0, rate=10.0)

        assert burning.show(400, errors=0.2, rate=10.0).active
        assert not burning.show(90, errors=0.0, rate=10.0).active

    def test_a_short_burst_breaks_a_promise(self):
        """It must matter in the long window as well."""
        burning = Burning()
        burning.show(600, errors=0.0, rate=10.0)

        assert not burning.show(10, errors=1.0, rate=10.0).suspect or not burning.rate.active
        assert not burning.rate.active

    def test_few_events_break_a_promise(self):
        """One failure of three calls in an hour is no share."""
        burning = Burning()
        burning.show(300, errors=0.0, rate=0.01)

        assert not burning.show(120, errors=1.0, rate=0.01).active

    def test_low_traffic_breaches_all_day(self):
        """At three calls a minute, one per cent of which fail, a day passes without a breach."""
        chance = random.Random(7)
        burning = Burning(Slo("errors", target=0.99, events="rate"))
        for _ in range(1440):
            burning.show(1, errors=float(sum(chance.random() < 0.01 for _ in range(3))) / 3, rate=3.0)

        assert burning.breaches == 0

    def test_silence_keeps_a_promise(self):
        """Without samples the state holds."""
        burning = Burning()
        burning.show(400, errors=0.5, rate=10.0)

        assert burning.show(1000, errors=None, rate=10.0).active
        assert not burning.rate.known

    def test_samples_are_not_judged_by_a_maximum(self):
        """With a maximum each sample is good or bad."""
        burning = Burning(Slo("latency", target=0.9, maximum=0.5, long=100.0, short=20.0, burn=5.0))
        burning.show(50, latency=0.4)

        assert not burning.rate.active
        assert burning.show(90, latency=0.6).active
