"""The latency limiter: fewer at a time when attempts take longer than usual, more again when they do not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.actions.limiter import GradientLimiter


def feed(limiter: GradientLimiter, seconds: float, times: int, *, busy: bool = True, failed: bool = False) -> list[int]:
    """Have attempts end one after the other, with all places in use or one; return the limit after each."""
    limits: list[int] = []
    for _ in range(times):
        limiter.sample(seconds, limiter.limit if busy else 1, failed=failed)
        limits.append(limiter.limit)
    return limits


class TestGradientLimiter:
    def test_it_grows_while_it_is_in_full_use_and_nothing_takes_longer(self) -> None:
        """Step by step, up to the most there may be."""
        limiter = GradientLimiter(start=4, most=50)
        limits = feed(limiter, 0.1, 300)

        assert limits == sorted(limits)
        assert limits[0] <= 6
        assert limits[-1] == 50

    def test_it_shrinks_when_attempts_take_much_longer_than_usual(self) -> None:
        """By no more than half of it at a step, and never below the least."""
        limiter = GradientLimiter(start=100, least=3, most=100)
        feed(limiter, 0.1, 100)
        assert limiter.limit == 100
        limits = feed(limiter, 1.0, 60)

        assert limits[0] < 100
        assert min(limits) < 20
        assert all(later >= 0.5 * sooner for sooner, later in pairwise(limits))
        assert min(limits) >= 3

    def test_it_recovers_soon_when_attempts_are_quick_again(self) -> None:
        """However long it was slow: what is usual goes back to what it was."""
        limiter = GradientLimiter(start=40, most=40)
        feed(limiter, 0.1, 100)
        feed(limiter, 5.0, 2000)
        for seconds in (5.0, 0.1):
            feed(limiter, seconds, 100)
        assert limiter.limit == 40
        shrunk = feed(limiter, 1.0, 40)

        assert min(shrunk) < 25

    def test_latency_within_its_tolerance_does_not_shrink_it(self) -> None:
        """Half as long again as usual is no sign of trouble; twice as long is."""
        limiter = GradientLimiter(start=50, most=50, tolerance=1.5)
        feed(limiter, 0.1, 200)
        assert set(feed(limiter, 0.14, 50)) == {50}
        assert min(feed(limiter, 0.3, 10)) < 50

    def test_attempts_that_time_out_shrink_it_to_the_least(self) -> None:
        """A time limit says nothing of how long it would have taken, but that it was too long."""
        limiter = GradientLimiter(start=100, least=2, most=100)
        limits = feed(limiter, 30.0, 100, failed=True)

        assert limits == sorted(limits, reverse=True)
        assert limits[-1] == 2
        feed(limiter, 0.1, 300)
        assert limiter.limit == 100  # and what is usual has not come to be a timeout

    def test_timeouts_do_not_count_as_what_is_usual(self) -> None:
        """Else the next slow attempts would look quick beside them."""
        limiter = GradientLimiter(start=50, most=50, window=1)
        feed(limiter, 0.1, 10)
        feed(limiter, 30.0, 1, failed=True)
        before = limiter.limit
        limiter.sample(0.3, before, failed=False)

        assert limiter.limit <= before + 1

    def test_idle_workers_prove_nothing(self) -> None:
        """It does not grow while less than half of it is in use, however quick or slow attempts are."""
        limiter = GradientLimiter(start=16, most=1000)
        assert set(feed(limiter, 0.1, 200, busy=False)) == {16}
        assert max(feed(limiter, 0.2, 200, busy=False)) <= 16

    def test_it_grows_from_half_of_it_on(self) -> None:
        """A pool that is half in use may need more soon."""
        limiter = GradientLimiter(start=10)
        limiter.sample(0.1, 4, failed=False)
        assert limiter._limit == 10
        limiter.sample(0.1, 5, failed=False)
        assert limiter._limit > 10

    def test_slow_attempts_shrink_it_also_while_it_is_not_in_full_use(self) -> None:
        """What is slow under little load is no less slow."""
        limiter = GradientLimiter(start=100, most=100)
        feed(limiter, 0.1, 100, busy=False)

        assert feed(limiter, 1.0, 10, busy=False)[-1] < 90

    def test_an_attempt_that_took_no_time_teaches_nothing(self) -> None:
        """A clock may be too coarse to tell, or stand still; a limit is not divided by it."""
        limiter = GradientLimiter(start=8)
        for seconds in (0.0, -1.0):
            feed(limiter, seconds, 5)
            feed(limiter, seconds, 5, failed=True)

        assert limiter.limit == 8

    @given(
        st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 2000), st.booleans()), max_size=200),
        st.integers(1, 50),
        st.integers(0, 50),
        st.integers(0, 50),
        st.floats(0.01, 1.0),
    )
    def test_the_limit_stays_within_its_bounds(
        self, samples: list[tuple[float, int, bool]], least: int, more: int, most: int, smoothing: float
    ) -> None:
        """Whatever it is told."""
        start = least + more
        limiter = GradientLimiter(least=least, start=start, most=start + most, smoothing=smoothing)
        for seconds, running, failed in samples:
            limiter.sample(seconds, running, failed=failed)
            assert least <= limiter.limit <= start + most

    def test_two_steps_follow_the_formula(self) -> None:
        """Gradient2, by hand: the mean first, then the gradient, then a share of the step."""
        limiter = GradientLimiter(start=16, most=100, smoothing=0.5, tolerance=1.0, window=3)
        limiter.sample(0.1, 16, failed=False)
        assert limiter._limit == pytest.approx(16 + 0.5 * 4)  # gradient 1, queue sqrt(16)
        limiter.sample(0.2, 18, failed=False)
        usual = 0.1 + 0.5 * 0.1

        assert limiter._limit == pytest.approx(18 + 0.5 * (18 * usual / 0.2 + 18**0.5 - 18))

    def test_a_step_is_never_to_less_than_half(self) -> None:
        """However long one attempt took."""
        limiter = GradientLimiter(start=100, smoothing=1.0)
        limiter.sample(0.001, 1, failed=False)
        limiter.sample(1000.0, 100, failed=False)

        assert limiter._limit == pytest.approx(100 * 0.5 + 10)

    @pytest.mark.parametrize(
        ("fields", "problem"),
        [
            ({"least": 0}, "expected 1 <= least"),
            ({"least": 9}, "expected 1 <= least"),
            ({"most": 7}, "expected 1 <= least"),
            ({"start": 1001}, "expected 1 <= least"),
            ({"smoothing": 0.0}, "expected 0 < smoothing"),
            ({"smoothing": 1.1}, "expected 0 < smoothing"),
            ({"smoothing": float("nan")}, "expected 0 < smoothing"),
            ({"tolerance": 0.9}, "tolerance >= 1"),
            ({"tolerance": float("nan")}, "tolerance >= 1"),
            ({"window": 0}, "window >= 1"),
        ],
    )
    def test_bounds_that_are_none_are_refused(self, fields: dict[str, Any], problem: str) -> None:
        """Where they are written, and with what was given."""
        with pytest.raises(ValueError, match=problem):
            GradientLimiter(**fields)
