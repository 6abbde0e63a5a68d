"""Seasons: taken in turn from two weeks, so that a day's analysis knows what its hours do."""

from __future__ import annotations

import math
import random

import pytest

from aetherra.plugins.self_improvement.analyst import Analyst
from aetherra.plugins.self_improvement.anomalies import Anomalies
from aetherra.plugins.self_improvement.history import MetricHistory, Point
from aetherra.plugins.self_improvement.seasons import AT_ONCE, FRESH, Seasons
from aetherra.plugins.self_improvement.settings import SelfImprovementSettings

DAY = 86_400.0
NOW = 20_000 * DAY + 8 * 3600.0
"""Eight in the morning, UTC."""


@pytest.fixture
def history():
    with MetricHistory(":memory:", lambda: NOW) as opened:
        yield opened


def wave(name, days, *, step=600.0):
    """Points of a metric that is highest at noon."""
    chance = random.Random(name)
    return [
        Point(name, "s", at, 10.0 - 5.0 * math.cos(2 * math.pi * at / DAY) + chance.gauss(0, 0.1))
        for at in (NOW - days * DAY + step * number for number in range(int(days * DAY / step)))
    ]


class TestSeasons:
    def test_a_season_of_days_is_unknown(self, history):
        """Some days of history make a season, which a later look knows."""
        history.record(wave("shop.latency", 5))
        seasons = Seasons(history)
        assert seasons.get("shop.latency") is None
        seasons.refresh(history.names(), NOW)

        found = seasons.get("shop.latency")
        assert found.verdict == "daily"
        assert found.hour_means[12] == pytest.approx(5.0, abs=0.3)

    def test_a_young_metric_is_looked_at(self, history):
        """Less than three days have no season, and cost no look."""
        history.record(wave("shop.latency", 2))
        seasons = Seasons(history)
        seasons.refresh(history.names(), NOW)

        assert seasons.get("shop.latency") is None

    def test_all_are_taken_at_once(self, history):
        """A few at a time are taken, the oldest first, until all are known; then none before they are stale."""
        names = [f"shop.m{number}" for number in range(2 * AT_ONCE)]
        for name in names:
            history.record(wave(name, 4, step=1800.0))
        seasons = Seasons(history)
        known = []
        for _ in range(3):
            seasons.refresh(history.names(), NOW)
            known.append(sum(seasons.get(name) is not None for name in names))
        assert known == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE]

        before = [seasons.get(name) for name in names]
        seasons.refresh(history.names(), NOW + FRESH)
        assert sum(seasons.get(name) is not old for name, old in zip(names, before, strict=True)) == AT_ONCE

    def test_a_forgotten_metric_is_remembered(self, history):
        """A metric without a history has no season."""
        history.record(wave("shop.latency", 5))
        seasons = Seasons(history)
        seasons.refresh(history.names(), NOW)
        history.forget("shop.latency")
        seasons.refresh(history.names(), NOW)

        assert seasons.get("shop.latency") is None


def test_the_hour_of_a_forecast_is_forgotten(history):
    """In the morning of a wave that is highest at noon, noon is forecast: a day's points alone do not know it."""
    history.record(wave("shop.latency", 14))
    analyst = Analyst(history, Anomalies(None), SelfImprovementSettings(horizon=4 * 3600.0))
    (info,) = history.names()
    before = analyst.analyse(info, NOW, DAY)
    (after,) = analyst.look(NOW, DAY).analyses

    assert (before.season.verdict, after.season.verdict) == ("unknown", "daily")
    assert after.forecast.value == pytest.approx(15.0, abs=0.5)
    assert abs(before.forecast.value - 15.0) > 2.0
