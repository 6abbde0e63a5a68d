"""One trial: what was learnt, beside what is done today, on evidence that nothing was learnt from."""

import hashlib
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

__all__ = ["TARGETS", "Target", "Trial", "chance_of", "digest_of", "try_out"]

Target: TypeAlias = Literal["classifier_weights", "rescan_order", "plan_order"]
TARGETS: tuple[Target, ...] = ("classifier_weights", "rescan_order", "plan_order")
"""What a night may change."""
EXACT = 12
"""Differences up to which all flips of signs are counted; for more their sum is taken as normal."""


class Trial(Struct, frozen=True, kw_only=True):
    """What came of one trial; lower figures are better.

    Attributes:
        target: What would be changed.
        insight: What would change it.
        metric: What was measured, with its unit.
        learnt_from: How many pieces of evidence were learnt from.
        held_back: How many others it was tried on.
        before: The mean on these of what is done today.
        after: The mean on these of what was learnt.
        chance: How likely so much better would be if it were no better at all.
        allowed: The chance at which it still counts.
        margin: How much better it had to be, as a share of ``before``.
        passed: Whether it may be kept.
        reason: Why, or why not.
        digest: `digest_of` what was learnt.
        at: Unix time.
    """

    target: Target
    insight: str
    metric: str
    learnt_from: int
    held_back: int
    before: float
    after: float
    chance: float
    allowed: float
    margin: float
    passed: bool
    reason: str
    digest: str
    at: float


def try_out(
    target: Target,
    insight: str,
    metric: str,
    before: Sequence[float],
    after: Sequence[float],
    *,
    value: Any,
    learnt_from: int,
    margin: float,
    allowed: float,
    at: float,
) -> Trial:
    """Compare two sequences of losses, one pair for each piece of evidence that was held back.

    Args:
        target: What would be changed.
        insight: What would change it.
        metric: What a loss is.
        before: What is done today lost.
        after: What was learnt lost.
        value: What was learnt.
        learnt_from: How many pieces of evidence it was learnt from.
        margin: How much better its mean must be, as a share of that of ``before``.
        allowed: How likely that may be by chance.
        at: Unix time.

    Raises:
        ValueError: There is not one pair for each.
    """
    if len(before) != len(after):
        raise ValueError(f"expected as many losses after as before, got {len(after)} and {len(before)}")
    count = len(before)
    mean_before, mean_after = _mean(before), _mean(after)
    chance = chance_of([old - new for old, new in zip(before, after, strict=True)])
    figures = f"{metric} {mean_before:.4g} before, {mean_after:.4g} after, on {count} held back"
    if not count:
        passed, reason = False, "nothing was held back to try it on"
    elif not mean_before - mean_after > margin * mean_before:
        passed, reason = False, f"not better by {margin:.0%}: {figures}"
    elif chance > allowed:
        passed, reason = False, f"better, but that may be chance ({chance:.2g}, at most {allowed:.2g}): {figures}"
    else:
        passed, reason = True, f"better, and not by chance ({chance:.2g}): {figures}"
    return Trial(
        target=target,
        insight=insight,
        metric=metric,
        learnt_from=learnt_from,
        held_back=count,
        before=mean_before,
        after=mean_after,
        chance=chance,
        allowed=allowed,
        margin=margin,
        passed=passed,
        reason=reason,
        digest=digest_of(value),
        at=at,
    )


def chance_of(gains: Sequence[float]) -> float:
    """Return how likely the sum of these gains is, or a larger one, if each might as well have been a loss.

    That is a test by flipping signs (Fisher 1935): it takes the gains to be symmetric about 0 if nothing was gained,
    and nothing else of them. With up to `EXACT` gains all flips are counted; beyond, their sum is taken as normal.
    """
    telling = [gain for gain in gains if gain]
    if not telling:
        return 1.0
    total = math.fsum(telling)
    if len(telling) > EXACT:
        spread = math.sqrt(math.fsum(gain * gain for gain in telling))
        return 0.5 * math.erfc(total / spread / math.sqrt(2))
    sums = [math.fsum(signs) for signs in itertools.product(*((gain, -gain) for gain in telling))]
    slack = 1e-12 * math.fsum(map(abs, telling))
    return sum(flipped >= total - slack for flipped in sums) / len(sums)


def digest_of(value: Any) -> str:
    """Return the SHA-256, in hex, of a value of structs and builtins: the same value has the same one."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
