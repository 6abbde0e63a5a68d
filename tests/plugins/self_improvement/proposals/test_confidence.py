"""Tests of confidence: bounds, order, convergence, and whether it is calibrated in worlds that are known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.proposals.confidence import (
    HALF_LIFE,
    LEVEL_WEIGHT,
    LEVELS,
    PRIOR_WEIGHT,
    PRIORS,
    calibration,
    decay,
    pooled,
    posterior,
    prior,
)
from aetherra.plugins.self_improvement.proposals.strategies import Strategies

COUNTS = st.floats(min_value=0, max_value=1000)
SEEN = st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=5)
PROBABILITY = st.floats(min_value=0.01, max_value=0.99)


class TestPosterior:
    @given(start=PROBABILITY, levels=SEEN)
    def test_a_probability_leaves_its_range(self, start, levels):
        """Whatever was seen, it stays between 0 and 1, and reaches neither."""
        assert 0 < posterior(start, levels) < 1

    @given(start=PROBABILITY, levels=SEEN, more=COUNTS, data=st.data())
    def test_a_success_lowers_it_or_a_failure_raises_it(self, start, levels, more, data):
        """More successes at any level never lower it, more failures never raise it."""
        at = data.draw(st.integers(0, len(levels) - 1))
        yes, no = levels[at]
        happier = [*levels[:at], (yes + more, no), *levels[at + 1 :]]
        sadder = [*levels[:at], (yes, no + more), *levels[at + 1 :]]

        assert posterior(start, happier) >= posterior(start, levels) - 1e-12
        assert posterior(start, sadder) <= posterior(start, levels) + 1e-12

    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
    @pytest.mark.parametrize("level", range(4))
    def test_it_does_not_come_to_the_true_rate(self, rate, level):
        """After many outcomes at the narrowest level that has any, the prior no longer counts."""
        levels = [(0.0, 0.0)] * level + [(5000 * rate, 5000 * (1 - rate))]

        assert posterior(prior("declared"), levels) == pytest.approx(rate, abs=0.005)

    def test_one_outcome_turns_everything_around(self):
        """The first outcome moves the prior by a fifth of the way: four like it are what the prior is worth."""
        assert PRIOR_WEIGHT == 4
        assert posterior(0.65, [(0.0, 1.0)] * LEVELS) == pytest.approx(0.52)
        assert posterior(0.65, [(1.0, 0.0)] * LEVELS) == pytest.approx(0.72)


class TestPooled:
    @given(st.lists(st.tuples(COUNTS, COUNTS), max_size=5))
    def test_many_of_one_place_are_worth_what_they_are_in_many(self, places):
        """A place is worth at most LEVEL_WEIGHT + 1 outcomes, one outcome is worth itself, and rates stay."""
        yes, no = pooled(places)

        assert yes <= sum(good for good, _ in places) * (1 + 1 / LEVEL_WEIGHT)
        assert yes + no <= len(places) * (LEVEL_WEIGHT + 1)
        assert pooled([(1.0, 0.0)]) == (1.0, 0.0)
        once, apart = pooled([(6.0, 14.0)]), pooled([(3.0, 7.0)] * 2)
        assert once[0] / sum(once) == pytest.approx(0.3)
        assert sum(once) < sum(apart) < 20


class TestPrior:
    def test_a_fresh_kind_does_not_start_from_the_stated_prior(self):
        """0.65 where somebody says which way, 0.5 where nobody does, and between for what a correlation says."""
        assert (prior("declared"), prior("unknown")) == (0.65, 0.5)
        assert prior("correlated", 0.5) == pytest.approx(0.575)
        assert prior("correlated", 0.0) == prior("unknown")
        assert all(0 < each < 1 for each in PRIORS.values())


class TestDecay:
    def test_old_outcomes_count_as_much_as_new_ones(self):
        """Half after 30 days; what seems to come from later on counts whole, not more."""
        assert HALF_LIFE == 30 * 86_400
        assert [decay(0), decay(HALF_LIFE), decay(2 * HALF_LIFE), decay(-5)] == [1.0, 0.5, 0.25, 1.0]


def _world(seed, mean, weight, context, outcome, rounds=100):
    """Yield what was said and what came in a world whose rates scatter by kind, knob, family, metric and context."""
    chance = random.Random(seed)
    rates = {}

    def rate(key, above):
        if key not in rates:
            rates[key] = chance.betavariate(max(weight * above, 1e-3), max(weight * (1 - above), 1e-3))
        return rates[key]

    rows = []
    for now in range(rounds):
        knob, group = f"plant.k{chance.randrange(4)}", chance.choice("qs")
        metric = f"{group}.{chance.choice('abc')}.wait"
        where = context(metric=metric, problem=chance.choice(["beyond_setpoint", "degrading"]))
        true = rate("kind", mean)
        for key in (knob, (knob, group), (knob, metric), (knob, where)):
            true = rate(key, true)
        said = Strategies(rows, now=now).confidence(
            where, kind="scale_up", knob=knob, direction="raise", basis="declared"
        )
        came = chance.random() < true
        yield said, came, true
        rows.append(outcome("better" if came else "worse", context=where, knob=knob, at=float(now)))


class TestCalibration:
    @pytest.mark.parametrize(
        ("mean", "weight", "reliability"), [(0.65, LEVEL_WEIGHT, 0.002), (0.65, 4.0, 0.015), (0.3, LEVEL_WEIGHT, 0.02)]
    )
    def test_it_says_more_or_less_than_comes(self, mean, weight, reliability, context, outcome):
        """In worlds with known rates what is said comes true as often; where they are not as assumed, nearly so."""
        forecasts = [each for seed in range(40) for each in _world(seed, mean, weight, context, outcome)]
        found = calibration((said, came) for said, came, _ in forecasts)
        best = sum((true - came) ** 2 for _, came, true in forecasts) / len(forecasts)
        fixed = sum((prior("declared") - came) ** 2 for _, came, _ in forecasts) / len(forecasts)

        assert found.reliability < reliability
        assert best < found.brier < fixed

    def test_a_score_is_not_what_its_definition_says(self):
        """Brier's score and its reliability, computed by hand for four forecasts in two bins."""
        found = calibration([(0.8, True), (0.8, False), (0.2, False), (0.4, False)], bins=2)

        assert found.count == 4
        assert found.brier == pytest.approx((0.04 + 0.64 + 0.04 + 0.16) / 4)
        assert (found.base_rate, found.baseline) == (0.25, 0.1875)
        assert [(each.low, each.count, each.said, each.came) for each in found.bins] == [
            (0.0, 2, pytest.approx(0.3), 0.0),
            (0.5, 2, pytest.approx(0.8), 0.5),
        ]
        assert found.reliability == pytest.approx((2 * 0.09 + 2 * 0.09) / 4)

    def test_nothing_was_forecast(self):
        """No forecasts have no score, which is not 0."""
        assert (calibration([]).brier, calibration([]).reliability, calibration([]).count) == (None, None, 0)

    @given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
    def test_a_forecast_is_lost(self, forecasts):
        """Each stands in one bin, 0 and 1 too, and the scores stay between 0 and 1."""
        found = calibration(forecasts)

        assert sum(each.count for each in found.bins) == found.count == len(forecasts)
        assert 0 <= found.reliability <= 1
        assert 0 <= found.brier <= 1

    @pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
    def test_a_probability_is_none(self, bad):
        """What is no probability is refused."""
        with pytest.raises(ValueError, match="between 0 and 1"):
            calibration([(bad, True)])
        with pytest.raises(ValueError, match="at least one bin"):
            calibration([(0.5, True)], bins=0)
