"""When to try again: properties of pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import RetryPolicy
from aetherra.kernel.actions.retry import backoff, next_attempt

seconds = st.floats(0, 1e6)
chance = st.floats(0, 1)
policies = st.builds(
    lambda attempts, first, more, *shape: RetryPolicy(attempts, first, first + more, *shape),
    st.integers(1, 10),
    seconds,
    seconds,
    st.floats(1, 1e6),
    st.booleans(),
)


class TestBackoff:
    @given(policies, st.integers(1, 10**9), chance)
    def test_the_wait_stays_within_the_bounds_of_its_policy(
        self, policy: RetryPolicy, attempts: int, random: float
    ) -> None:
        """Between 0 and the capped exponential, however many attempts there were."""
        wait = backoff(policy, attempts, lambda: random)

        assert 0 <= wait <= policy.max_backoff_sec
        try:
            assert wait <= policy.backoff_sec * policy.multiplier ** (attempts - 1)
        except OverflowError:
            assert policy.jitter or wait == (policy.max_backoff_sec if policy.backoff_sec else 0)

    def test_the_bound_doubles_until_its_cap(self) -> None:
        """With the jitter at its highest the waits are the exponential itself."""
        policy = RetryPolicy(9, backoff_sec=0.5, max_backoff_sec=3.0)

        assert [backoff(policy, attempts, lambda: 1.0) for attempts in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]

    def test_the_bound_grows_by_the_policys_own_multiplier(self) -> None:
        """1 keeps it as it is."""
        tripled, kept = RetryPolicy(9, 0.5, 30.0, multiplier=3.0), RetryPolicy(9, 0.5, 30.0, multiplier=1.0)

        assert [backoff(tripled, attempts, lambda: 1.0) for attempts in range(1, 6)] == [0.5, 1.5, 4.5, 13.5, 30.0]
        assert [backoff(kept, attempts, lambda: 1.0) for attempts in (1, 2, 10**9)] == [0.5] * 3

    def test_a_policy_without_jitter_waits_the_bound_itself(self) -> None:
        """For who has to know when; nothing is drawn."""
        policy = RetryPolicy(9, 0.5, 3.0, jitter=False)

        assert [backoff(policy, attempts, lambda: 0.0) for attempts in range(1, 5)] == [0.5, 1.0, 2.0, 3.0]

    def test_no_backoff_stays_none_however_many_attempts_there_were(self) -> None:
        """Nothing grows to nothing, also beyond what a float can hold."""
        assert backoff(RetryPolicy(9, 0.0, 30.0), 10**9, lambda: 1.0) == 0.0
        assert backoff(RetryPolicy(9, 0.5, 30.0), 10**9, lambda: 1.0) == 30.0

    def test_the_wait_is_spread_from_nothing_to_the_bound(self) -> None:
        """Full jitter: a random number of one half is half the bound."""
        assert backoff(RetryPolicy(3, 4.0, 30.0), 1, lambda: 0.5) == 2.0
        assert backoff(RetryPolicy(3, 4.0, 30.0), 1, lambda: 0.0) == 0.0


class TestNextAttempt:
    @given(policies, st.integers(1, 20), st.none() | seconds, chance, st.none() | seconds)
    def test_no_attempt_comes_after_the_deadline_or_after_the_last_one(
        self, policy: RetryPolicy, attempts: int, remaining: float | None, random: float, asked: float | None
    ) -> None:
        """Never past the deadline, never more than ``max_attempts``; else always."""
        wait = next_attempt(policy, attempts, remaining, lambda: random, asked)

        if attempts >= policy.max_attempts:
            assert wait is None
        elif wait is None:
            assert remaining is not None
            assert remaining <= (policy.max_backoff_sec if asked is None else asked)
        else:
            assert wait >= 0
            assert remaining is None or wait < remaining
            assert asked is None or wait == asked

    def test_what_a_handler_asks_for_replaces_the_backoff(self) -> None:
        """``RetryLater(7)`` waits 7 seconds, also where the policy's cap is lower."""
        assert next_attempt(RetryPolicy(3, 0.5, 1.0), 1, None, lambda: 1.0, asked=7.0) == 7.0

    def test_a_wait_that_reaches_the_deadline_is_too_long(self) -> None:
        """An attempt at the deadline is none; one a moment before it is."""
        policy = RetryPolicy(3, 8.0, 8.0)

        assert next_attempt(policy, 1, 8.0, lambda: 1.0) is None
        assert next_attempt(policy, 1, 8.001, lambda: 1.0) == 8.0
        assert next_attempt(policy, 1, 5.0, lambda: 0.5) == 4.0
        assert next_attempt(policy, 1, 0.0, lambda: 0.0) is None


class TestRetryPolicy:
    @pytest.mark.parametrize(
        ("attempts", "first", "cap"),
        [
            (0, 1, 1),
            (1.5, 1, 1),
            (True, 1, 1),
            (1, -1, 1),
            (1, 2, 1),
            (1, 0, float("inf")),
            (1, float("nan"), 1),
            (1, 0, float("nan")),
        ],
    )
    def test_a_policy_without_bounds_is_refused(self, attempts: int, first: float, cap: float) -> None:
        """Out of range, infinite or not a number: refused where it is written."""
        with pytest.raises(ValueError, match=r"expected .*(max_attempts|backoff_sec)"):
            RetryPolicy(attempts, first, cap)

    @pytest.mark.parametrize("multiplier", [0.9, -1.0, float("inf"), float("nan")])
    def test_a_multiplier_that_shrinks_or_bursts_is_refused(self, multiplier: float) -> None:
        """Waits do not get shorter while things go wrong."""
        with pytest.raises(ValueError, match="expected a finite multiplier"):
            RetryPolicy(multiplier=multiplier)
