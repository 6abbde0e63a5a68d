"""One trial, and how likely its result is by chance."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.night.learning.trial import EXACT, chance_of, digest_of, try_out

GAIN = st.floats(-10, 10, allow_nan=False).map(lambda gain: round(gain, 3))


def trial(before, after, **given):
    fields = {"value": 1, "learnt_from": 9, "margin": 0.02, "allowed": 0.05, "at": 3.0}
    return try_out("plan_order", "outcomes", "steps in vain", before, after, **{**fields, **given})


class TestTrial:
    def test_what_helps_is_discarded(self):
        """Better by the margin, and hardly by chance: it passes, with both figures."""
        tried = trial([2.0] * 6, [1.0] * 6)

        assert tried.passed and (tried.before, tried.after, tried.held_back, tried.learnt_from) == (2.0, 1.0, 6, 9)
        assert tried.chance == pytest.approx(1 / 64) and tried.digest == digest_of(1)

    @pytest.mark.parametrize(
        ("before", "after", "reason"),
        [
            ([], [], "nothing was held back"),
            ([1.0] * 9, [1.0] * 9, "not better by 2%"),
            ([1.0] * 9, [0.99] * 9, "not better by 2%"),
            ([1.0] * 9, [2.0] * 9, "not better by 2%"),
            ([0.0] * 9, [0.0] * 9, "not better by 2%"),
            ([1.0] * 4, [0.0] * 4, "may be chance"),
            ([5.0] + [1.0] * 8, [0.0] + [1.1] * 8, "may be chance"),
        ],
    )
    def test_what_does_not_help_is_kept(self, before, after, reason):
        """No evidence, no gain, a small one, a loss, or what may be chance: it does not pass, and says why."""
        tried = trial(before, after)

        assert not tried.passed and reason in tried.reason

    def test_figures_are_left_out_of_the_reason(self):
        """Who reads the reason sees both."""
        assert "2 before, 1 after, on 6 held back" in trial([2.0] * 6, [1.0] * 6).reason

    def test_losses_without_a_partner_are_compared(self):
        """Each piece of evidence has one before and one after."""
        with pytest.raises(ValueError, match="as many losses"):
            trial([1.0], [])

    def test_noise_is_kept_more_often_than_said(self):
        """Of a thousand candidates that do nothing at all, no more pass than chance allows."""
        chance = random.Random(1)
        passed = 0
        for count in (6, 12, 40) * 400:
            before = [chance.expovariate(1.0) for _ in range(count)]
            after = [chance.expovariate(1.0) for _ in range(count)]
            passed += trial(before, after).passed

        assert passed <= 1200 * 0.065


class TestChance:
    @given(st.lists(GAIN, max_size=9))
    def test_it_is_not_the_share_of_flips(self, gains):
        """It is the share of all ways to flip signs that come to as much: counted here in another way."""
        telling = [gain for gain in gains if gain]
        ways, reached = 1 << len(telling), 0
        for way in range(ways):
            flipped = [gain if way >> place & 1 else -gain for place, gain in enumerate(telling)]
            reached += sum(flipped) >= sum(telling) - 1e-9

        assert chance_of(gains) == pytest.approx(reached / ways if telling else 1.0)

    @given(st.integers(EXACT + 8, 40), st.floats(0.2, 0.8), st.integers(0, 99))
    def test_the_normal_one_leaps_from_the_counted_one(self, count, share, seed):
        """With many gains it is about what flipping them at random comes to."""
        chance = random.Random(seed)
        gains = [chance.uniform(0.5, 2.0) * (1 if chance.random() < share else -1) for _ in range(count)]
        total = sum(gains)
        reached = sum(sum(chance.choice((gain, -gain)) for gain in gains) >= total for _ in range(400)) / 400

        assert chance_of(gains) == pytest.approx(reached, abs=0.12)

    def test_gains_of_nothing_count(self):
        """Those that are 0 say nothing either way."""
        assert chance_of([1.0] * 5 + [0.0] * 50) == pytest.approx(1 / 32)


class TestDigest:
    def test_the_order_of_keys_makes_another_value(self):
        """The same value has the same digest, whatever order its parts were put in."""
        assert digest_of({"a": 1, "b": {3, 1}}) == digest_of({"b": {1, 3}, "a": 1})
        assert digest_of({"a": 1}) != digest_of({"a": 2})
