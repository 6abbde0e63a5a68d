"""Probation: whether new code does as well as the old beside it, or well by itself, and when that can be said.

Each look weighs two bets on the calls so far (Ramdas et al., Statistical Science 38, 2023): how much likelier they are
if the candidate fails calls as often as it seems to, than under any rates by which it is no worse than its control, or
by which it is worse by more than the margin. The second is the largest likelihood that such rates have (universal
inference: Wasserman, Ramdas and Balakrishnan, PNAS 117, 2020), so that if these hold, either bet ever reaches 20 with a
probability of at most 1 in 20, however often one looks, and however few failures there are.

Measured with a look after every 10 calls of the candidate at a share of 0.2, for up to 1,000 of its calls, margin 0.05,
500 to 2,000 trials each. Both fail 1 %: none called worse, all let through, at the median after 270 calls; both 10 %:
0.2 % and 43 %. It fails 6 % beside 1 %: none let through, all called worse, at the median after 220; 10 %: after 90;
50 %: after 10. It fails 15 % beside 10 %: none let through, 46 % called worse.
"""

import math
import sys
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

__all__ = ["Calls", "Terms", "Trial", "Verdict", "calls_needed", "fails_too_often"]

Verdict: TypeAlias = Literal["PASS", "FAIL", "INCONCLUSIVE"]
LEAST_CALLS = 40
"""Calls of each side before their times are compared."""
NOTICEABLE_SEC = 0.001
"""Differences in time below this are those of the canary itself, which converts the candidate's calls."""
MOST_CALLS = 1 << 20


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate has to show.

    Attributes:
        share: The part of the calls that it answers.
        seconds: How long it may take to show it; after that it is not let through.
        look: Seconds between two looks.
        margin: By how much more of its calls it may fail, of 1.
        alpha: The probability of a wrong verdict, of each kind.
        traffic: Seconds for which calls are counted to know whether there are enough for a canary; 0 for no canary.
        first_time: Seconds for which code is watched that has no control beside it.
        tolerated: The share of calls that such code may fail.
    """

    share: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    seconds: Annotated[float, Meta(gt=0)] = 120.0
    look: Annotated[float, Meta(gt=0)] = 1.0
    margin: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    traffic: Annotated[float, Meta(ge=0)] = 2.0
    first_time: Annotated[float, Meta(ge=0)] = 10.0
    tolerated: Annotated[float, Meta(ge=0, lt=1)] = 0.5


class Calls(NamedTuple):
    """How the calls of one side went.

    Attributes:
        ended: Calls that are over, and those that were refused.
        failed: How many of these brought no reply.
        in_hand: Calls that are not over.
        p50: Half of them took no longer than this, in seconds; ``None`` before the first.
        p95: Likewise of 95 %.
    """

    ended: int
    failed: int
    in_hand: int = 0
    p50: float | None = None
    p95: float | None = None


class Trial:
    """Judges a candidate beside its control; ``reason`` is why, in one sentence."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.reason = "there were no calls yet"

    def look(self, control: Calls, candidate: Calls) -> Verdict:
        """Say what all calls since the beginning show; ``INCONCLUSIVE`` is no reason to let the candidate through."""
        enough = -math.log(self._terms.alpha)
        told = (
            f"{candidate.failed} of its {candidate.ended} calls failed, {control.failed} of {control.ended} beside it"
        )
        if _for_worse(control, candidate) >= enough:
            self.reason = f"it fails more: {told}"
            return "FAIL"
        if _is_slow(control, candidate):
            self.reason = (
                f"it is slower: half of its calls took longer than {candidate.p50:.3g} s, "
                f"{control.p95:.3g} s were enough for 95 % of those beside it"
            )
            return "FAIL"
        hanging = candidate.in_hand  # what does not end has not been answered
        worst = candidate._replace(ended=candidate.ended + hanging, failed=candidate.failed + hanging)
        if _for_as_good(control, worst, self._terms.margin) >= enough:
            self.reason = f"it is as good within {self._terms.margin:.0%}: {told}"
            return "PASS"
        self.reason = f"too little is known: {told}"
        return "INCONCLUSIVE"


@lru_cache(64)
def calls_needed(terms: Terms) -> int:
    """Return how many calls, of both sides together, it takes to let a candidate through of which none fail."""
    beside = (1 - terms.share) / terms.share
    low, high = 1, MOST_CALLS
    while low < high:
        middle = (low + high) // 2
        if _for_as_good(Calls(math.ceil(middle * beside), 0), Calls(middle, 0), terms.margin) >= -math.log(terms.alpha):
            high = middle
        else:
            low = middle + 1
    return math.ceil(low / terms.share)


def fails_too_often(ended: int, failed: int, terms: Terms) -> bool:
    """Whether so many failures are more than chance would have of code that fails the tolerated share (binomial)."""
    p = terms.tolerated
    if p <= 0 or failed <= ended * p:
        return bool(failed) and p <= 0
    tail, count, term = 0.0, failed, math.exp(_log_choose(ended, failed) + _log_binomial(ended, failed, p))
    while count <= ended and term > tail * sys.float_info.epsilon:  # beyond its mean each is less than the one before
        tail += term
        term *= (ended - count) / (count + 1) * p / (1 - p)
        count += 1
    return tail < terms.alpha


def _for_worse(control: Calls, candidate: Calls) -> float:
    """Return the logarithm of the bet that the candidate fails more calls than its control."""
    rate, other = _rate(candidate), _rate(control)
    if rate <= other:
        null = _log_binomial(control.ended, control.failed, other)
        null += _log_binomial(candidate.ended, candidate.failed, rate)
    else:
        ended, failed = control.ended + candidate.ended, control.failed + candidate.failed
        null = _log_binomial(ended, failed, failed / ended)
    return _log_mixture(control) + _log_mixture(candidate) - null


def _for_as_good(control: Calls, candidate: Calls, margin: float) -> float:
    """Return the logarithm of the bet that the candidate is not worse by the margin or more."""

    def likelihood(rate: float) -> float:
        return _log_binomial(control.ended, control.failed, rate) + _log_binomial(
            candidate.ended, candidate.failed, rate + margin
        )

    if control.ended and candidate.ended and _rate(candidate) >= _rate(control) + margin:
        null = _log_binomial(control.ended, control.failed, _rate(control))
        null += _log_binomial(candidate.ended, candidate.failed, _rate(candidate))
    else:
        low, high = 0.0, 1.0 - margin  # it is concave there
        for _ in range(60):
            left, right = low + (high - low) / 3, high - (high - low) / 3
            if likelihood(left) < likelihood(right):
                low = left
            else:
                high = right
        null = likelihood((low + high) / 2)
    return _log_mixture(control) + _log_mixture(candidate) - null


def _is_slow(control: Calls, candidate: Calls) -> bool:
    """Whether half of the candidate's calls are among what would be the slowest twentieth of its control's.

    With 40 calls on each side chance does that once in 600,000 looks, and hardly ever with more. Ties do not count.
    """
    if min(control.ended, candidate.ended) < LEAST_CALLS or candidate.p50 is None or control.p95 is None:
        return False
    return candidate.p50 > control.p95 + NOTICEABLE_SEC


def _rate(calls: Calls) -> float:
    return calls.failed / calls.ended if calls.ended else 0.0


def _log_mixture(calls: Calls) -> float:
    """Return the logarithm of how likely a sequence of calls is, averaged over all rates (Jeffreys' prior)."""
    fine = calls.ended - calls.failed
    return math.lgamma(calls.failed + 0.5) + math.lgamma(fine + 0.5) - math.lgamma(calls.ended + 1) - math.log(math.pi)


def _log_binomial(ended: int, failed: int, rate: float) -> float:
    """Return the logarithm of how likely a sequence of calls is at one rate."""
    found = 0.0
    for count, chance in ((failed, rate), (ended - failed, 1 - rate)):
        if count:
            if chance <= 0:
                return -math.inf
            found += count * math.log(chance)
    return found


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
