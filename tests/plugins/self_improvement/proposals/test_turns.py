"""Tests of turns: which ways a knob's owner declares, and where its range ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.proposals.turns import moves, turned, turns


class TestMoves:
    def test_a_later_pattern_counts_first(self, knob):
        """The first name or pattern that fits counts; a metric that none fits is not said to move."""
        one = knob(moves={"queue.high.*": "up", "queue.*": "down", "loop.lag": "unknown"})

        assert moves(one, "queue.high.wait_p95") == "up"
        assert moves(one, "queue.normal.wait_p95") == "down"
        assert moves(one, "loop.lag") == "unknown"
        assert moves(one, "dlq.depth") is None


class TestTurned:
    @given(
        value=st.integers(-10, 100),
        step=st.integers(1, 20),
        size=st.sampled_from([0.5, 1.0, 2.0, 4.0]),
        way=st.sampled_from(["raise", "lower"]),
        log=st.booleans(),
        whole=st.booleans(),
    )
    def test_a_turn_leaves_the_range_or_goes_the_wrong_way(self, value, step, size, way, log, whole, knob):
        """It ends within the range, on the wanted side, whole where it must be, and says how far it really went."""
        scale = {"scale": "log", "step": step + 0.5} if log else {"step": step}
        one = knob(value=value, low=1, high=64, whole=whole, **scale)
        found = turned(one, way, size)

        if found is None:
            assert value >= 64 if way == "raise" else value <= 1
            return
        after, real = found
        assert 1 <= after <= 64
        assert (after > value) == (way == "raise")
        assert real > 0
        assert not whole or isinstance(after, int)
        if whole and not log:
            assert abs(after - value) == pytest.approx(real * step)

    def test_a_factor_is_added(self, knob):
        """On a logarithmic scale a step is a factor, up and down."""
        one = knob(value=8, scale="log", step=2, whole=True)

        assert turned(one, "raise") == (16, pytest.approx(1.0))
        assert turned(one, "lower") == (4, pytest.approx(1.0))
        assert turned(one, "raise", 4) == (64, pytest.approx(3.0))

    def test_a_value_that_has_no_logarithm_is_lost(self, knob):
        """From 0 or below a logarithmic knob is raised to the least value that it may have."""
        assert turned(knob(value=0, low=2, scale="log", step=2), "raise") == (2, 1.0)
        assert turned(knob(value=-3, low=2, scale="log", step=2), "lower") is None

    def test_a_whole_knob_is_turned_by_nothing(self, knob):
        """A factor that rounds to the same whole number turns it by one."""
        assert turned(knob(value=2, scale="log", step=1.1), "raise") == (3, pytest.approx(4.25, abs=0.01))

    def test_a_knob_without_a_number_is_turned(self, knob):
        """A value that is unknown leads nowhere."""
        assert turned(knob(value=None), "raise") is None


class TestTurns:
    def test_the_way_that_helps_is_not_first(self, knob):
        """What is declared comes before its contrary."""
        lower_is_better = [(turn.direction, turn.basis, turn.after) for turn in turns(knob(), "down", "down")]
        higher_is_better = [(turn.direction, turn.basis) for turn in turns(knob(), "down", "up")]

        assert lower_is_better == [("raise", "declared", 6), ("lower", "contrary", 2)]
        assert higher_is_better == [("lower", "declared"), ("raise", "contrary")]

    def test_somebody_claims_to_know_which_way(self, knob):
        """What nobody declares may be tried both ways, and says so; where nobody says what is good, nothing is."""
        assert [(turn.direction, turn.basis) for turn in turns(knob(), "unknown", "down")] == [
            ("raise", "unknown"),
            ("lower", "unknown"),
        ]
        assert list(turns(knob(), "down", "unknown")) == []
        assert list(turns(knob(), "down", "near")) == []

    def test_a_choice_is_skipped(self, knob):
        """Choices stand in an order: the declared way leads to the next; of an unknown way all are worth a look."""
        one = knob(choices=("fifo", "fair", "lifo"), value="fair", low=None, high=None, step=None, whole=False)

        assert [(turn.direction, turn.way, turn.after) for turn in turns(one, "down", "down")] == [
            ("to lifo", "raise", "lifo"),
            ("to fifo", "lower", "fifo"),
        ]
        four = knob(
            choices=("fifo", "fair", "lifo", "random"), value="fifo", low=None, high=None, step=None, whole=False
        )
        assert [turn.after for turn in turns(four, "down", "down")] == ["fair"]
        first = knob(choices=("fifo", "fair", "lifo"), value="fifo", low=None, high=None, step=None, whole=False)
        assert [turn.after for turn in turns(first, "unknown", "down")] == ["fair", "lifo"]
        gone = knob(choices=("fifo", "fair"), value="lifo", low=None, high=None, step=None, whole=False)
        assert list(turns(gone, "down", "down")) == []
