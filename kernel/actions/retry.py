"""When to try again: pure functions of attempts, policy and deadline."""

from __future__ import annotations

from collections.abc import Callable

from aetherra.kernel.actions.envelope import RetryPolicy


def backoff(policy: RetryPolicy, attempts: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait after ``attempts`` failed ones.

    Full jitter: uniform between 0 and the capped exponential bound, which spreads a crowd of failures
    best (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    try:
        bound = min(policy.max_backoff_sec, policy.backoff_sec * policy.multiplier ** (attempts - 1))
    except OverflowError:
        bound = policy.max_backoff_sec if policy.backoff_sec else 0.0
    return bound * random() if policy.jitter else bound


def next_attempt(
    policy: RetryPolicy, attempts: int, remaining: float | None, random: Callable[[], float], asked: float | None = None
) -> float | None:
    """Return how long to wait for the next attempt, or ``None`` if there is to be none.

    Args:
        policy: The action's own.
        attempts: How many there were.
        remaining: Seconds to the deadline; ``None`` if it has none.
        random: Uniform in 0..1.
        asked: What the handler asked for with ``RetryLater``, in place of the backoff.
    """
    if attempts >= policy.max_attempts:
        return None
    wait = backoff(policy, attempts, random) if asked is None else max(0.0, asked)
    return None if remaining is not None and wait >= remaining else wait
