"""How likely something is by its features."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.night.learning.logistic import BIAS, fit_logistic, likelihood

ROW = st.tuples(st.dictionaries(st.sampled_from(["a:x", "a:y", "b:z"]), st.floats(0, 1), max_size=3), st.booleans())


def cost(examples, weights, strength):
    total = 0.5 * strength * sum(weight * weight for name, weight in weights.items() if name != BIAS)
    for features, happened in examples:
        share = likelihood(weights, features)
        total -= math.log(max(1e-12, share if happened else 1 - share))
    return total


class TestFit:
    def test_what_matters_is_not_found(self, run):
        """What comes about with a feature and not without has weight; what has nothing to do with it has little."""
        chance = random.Random(2)
        examples = []
        for _ in range(200):
            features = {"a:bad": float(chance.random() < 0.5), "a:any": float(chance.random() < 0.5)}
            examples.append((features, chance.random() < (0.9 if features["a:bad"] else 0.1)))
        weights = run(fit_logistic(examples, ["a:"], 1.0))

        assert weights["a:bad"] > 3 and abs(weights.get("a:any", 0.0)) < 1
        assert likelihood(weights, {"a:bad": 1.0}) > 0.8 and likelihood(weights, {}) < 0.2

    @given(st.lists(ROW, min_size=1, max_size=25), st.sampled_from([0.3, 1.0, 3.0]))
    def test_another_weight_would_fit_better(self, examples, strength):
        """The weights are the best: moved a little either way, each is worse, or no better than roughly the same."""
        work = fit_logistic(examples, ["a:", "b:"], strength)
        try:
            while True:
                next(work)
        except StopIteration as stop:
            weights = stop.value
        best = cost(examples, weights, strength)
        for name in (
            {*weights, BIAS} if any(h for _, h in examples) and not all(h for _, h in examples) else {*weights} - {BIAS}
        ):
            for move in (0.3, -0.3):
                assert cost(examples, {**weights, name: weights.get(name, 0.0) + move}, strength) > best - 0.01

    def test_what_may_not_be_looked_at_is(self, run):
        """Only features of the named groups have weights."""
        examples = [({"a:x": 1.0, "b:x": 1.0}, True), ({}, False)] * 10

        assert set(run(fit_logistic(examples, ["a:"], 1.0))) <= {BIAS, "a:x"}

    @pytest.mark.parametrize("happened", [True, False])
    def test_what_always_comes_about_has_no_end(self, run, happened):
        """It ends though no weight would be enough."""
        weights = run(fit_logistic([({"a:x": 1.0}, happened)] * 50, ["a:"], 1.0))

        assert (likelihood(weights, {"a:x": 1.0}) > 0.9) is happened
