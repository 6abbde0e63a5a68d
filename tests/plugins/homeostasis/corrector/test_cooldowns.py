"""Cooldowns, on a clock and with dice of the test's own."""

from __future__ import annotations

import random

import pytest

from aetherra.plugins.homeostasis.corrector.cooldowns import MOST, PER_KIND, Cooldowns


class Clock:
    """Says what it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    """A clock at 0."""
    return Clock()


def test_a_cooldown_is_the_same_each_time(clock):
    """It lasts from ``seconds`` to ``seconds + jitter``, evenly."""
    lengths = []
    for seed in range(200):
        clock.now = 0.0
        cooldowns = Cooldowns(clock, random.Random(seed), 300.0, 300.0)
        assert cooldowns.admit("trouble", "kind")
        while not cooldowns.admit("trouble", "kind"):
            clock.now += 1.0
        lengths.append(clock.now)

    assert min(lengths) >= 300.0
    assert max(lengths) <= 601.0
    assert 430 < sum(lengths) / len(lengths) < 470


def test_another_trouble_is_held_up(clock):
    """Each trouble cools down alone."""
    cooldowns = Cooldowns(clock, random.Random(1), 300.0, 0.0)

    assert cooldowns.admit("one", "kind")
    assert cooldowns.admit("other", "kind")
    assert not cooldowns.admit("one", "kind")


def test_a_shorter_cooldown_is_made_longer(clock):
    """It can be ended sooner, never later."""
    cooldowns = Cooldowns(clock, random.Random(1), 300.0, 0.0)
    cooldowns.admit("one", "kind")
    cooldowns.shorten("one", 5.0)
    cooldowns.shorten("one", 100.0)
    cooldowns.shorten("never seen", 5.0)
    clock.now = 5.0

    assert cooldowns.admit("one", "kind")


def test_who_makes_up_names_takes_all_the_room(clock):
    """Of one kind only so many cool down, and others still pass; in all there is a bound, and room again."""
    cooldowns = Cooldowns(clock, random.Random(1), 300.0, 0.0)

    assert sum(cooldowns.admit(f"made up {number}", "kind") for number in range(1000)) == PER_KIND
    assert cooldowns.admit("real", "other kind")
    assert (
        sum(cooldowns.admit((kind, number), kind) for kind in range(100) for number in range(20)) == MOST - PER_KIND - 1
    )
    assert len(cooldowns) == MOST
    clock.now = 301.0
    assert cooldowns.admit("made up again", "kind")
    assert len(cooldowns) == 1
