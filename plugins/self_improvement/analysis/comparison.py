"""Whether a metric is better after a change than before: owns the comparison of two windows and its verdict.

The test is Mann and Whitney's (Annals of Mathematical Statistics 18, 1947) as a regression of ranks (Conover and Iman,
American Statistician 35, 1981), so that outliers and counters do no harm; its noise may remember, and how much is not
guessed but averaged over (``autoregression``). The shift is Hodges and Lehmann's (Annals of Mathematical Statistics 34,
1963), with an interval of levels: wider, as it takes the windows for independent of each other.

A metric that moved before would have moved on: when the points before have a trend (``trends``), all is compared with
its continuation, so that neither merit nor blame for it goes to the change, and the test pays for not knowing the slope
(it then sees only shifts that are about three times as large). Metrics that fall anyway, by 5 to 20 standard deviations
in either of two windows of 20 points, are called better in 0 to 8 % (200 points: 0 to 2 %). A drift that is too weak to
be seen in the points before is taken for the change's: at 2 standard deviations and 20 points, in about half.

Measured on noise around 100 with a standard deviation of 20, in percent at autocorrelation 0, 0.5, 0.8, 0.95; 400 to
600 comparisons each, the second window next to the first. Nothing has changed, and it is called better / worse: 10 + 10
points 1/0, 2/3, 5/4, 6/7; 20 + 20 points 1/1, 4/3, 5/5, 7/4; 200 + 200 points 1/2, 2/2, 2/3, 3/3. The values have
halved, and it is seen: 10 + 10 points 97, 96, 84, 80; 20 + 20 points 97, 99, 88, 81; 200 + 200 points 100, 100, 100,
90. With a standard deviation of 50 the halving is seen in 43, 42, 46, 64; 87, 64, 59, 72; 100, 99, 89, 56. With 5 steps
between the windows false verdicts reach 9/9 at 0.95, and 67 of 100 halvings are seen at 0.8 by 10 + 10 points. Noise
that is no autoregression, a wandering (0.95) beside a flicker of the same size, is called better or worse more often:
10 to 15 of 100 each by 20 + 20 and 60 + 60 points, 4 by 200 + 200.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple

import msgspec

from aetherra.plugins.self_improvement.analysis.autoregression import Fit, fits, weights
from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.ranks import centred_ranks
from aetherra.plugins.self_improvement.analysis.series import Points, Series
from aetherra.plugins.self_improvement.analysis.student import upper_tail
from aetherra.plugins.self_improvement.analysis.windows import Windows, mean, windows

__all__ = ["ENOUGH", "MINIMUM_POINTS", "Comparison", "Verdict", "compare"]

Verdict = Literal["better", "worse", "same", "unknown"]

MINIMUM_POINTS = 5
"""Fewer points than this in either window are no comparison."""

ENOUGH = 10.0
"""From so many independent points on, no evidence of a difference is taken for no difference."""


_RUNS = 20
"""Runs of neighbours that windows of so many points and more are averaged to.

That costs little, and brings out noise that is a slow wandering beside a quick flicker: its memory hides from one point
to the next.
"""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one metric, and how sure that is.

    Figures that are unknown are None. Where close to a target is good, shift, interval and medians are those of the
    distance from it.

    Attributes:
        verdict: ``same`` when the difference is below the minimum effect, or none is seen in enough points; ``unknown``
            when there are too few.
        shift: By how much the values after lie above those before, in the metric's unit.
        low: Lower end of the interval of the shift.
        high: Upper end; None, as ``low``, where the points bound nothing.
        lift: The shift in parts of the level before (of that after, where all before is 0); positive is better, or
            upwards where nobody said which way is good.
        p_value: Chance that no change at all looks like this or more so.
        effective_n: Independent points that both windows are worth together.
        drift: What the metric was already moving by before, in its unit over the span of both windows.
        before_points: Points before at different times.
        after_points: Points after.
        before_median: Their median.
        after_median: That of the points after.
        reason: One sentence why.
    """

    verdict: Verdict
    shift: float | None = None
    low: float | None = None
    high: float | None = None
    lift: float | None = None
    p_value: float | None = None
    effective_n: float | None = None
    drift: float = 0.0
    before_points: int
    after_points: int
    before_median: float | None = None
    after_median: float | None = None
    reason: str


def compare(
    before: Points | Series,
    after: Points | Series,
    *,
    good: Direction,
    target: float | None = None,
    minimum_effect: float = 0.05,
    alpha: float = 0.05,
) -> Comparison:
    """Say whether ``after`` is better than ``before``.

    Points may come in any order; those of one time count as one, with the mean of their values. Lags count points: both
    windows should be sampled about evenly, at the same rate. Where most values tie, as those of a counter of rare
    errors, the shift is that of the mean, since that of the median would be 0.

    Args:
        before: Pairs of time (seconds since the epoch) and value.
        after: The same, later.
        good: Which way the metric should move. With ``near``, being closer to ``target`` is better.
        target: The wanted value, read only with ``near``.
        minimum_effect: Smallest relative difference worth a word, 0.05 for 5 %.
        alpha: Highest probability of chance.

    Returns:
        The comparison. ``unknown`` when a window has fewer than 5 points, when they overlap, when fewer than 10
        independent points show no difference, and when there is one and nobody said which way is good.

    Raises:
        ValueError: A time or value is NaN or infinite, or an argument is out of its range.
    """
    if not 0 < alpha < 1 or not minimum_effect >= 0:
        raise ValueError(f"expected 0 < alpha < 1 and minimum_effect >= 0, got {alpha!r} and {minimum_effect!r}")
    both = windows(
        before,
        after,
        good=good,
        target=target,
        alpha=alpha,
        least=(MINIMUM_POINTS, MINIMUM_POINTS),
        run=lambda before, after: min(before, after) // _RUNS,
    )
    if both.problem:
        return Comparison(
            verdict="unknown", before_points=both.points[0], after_points=both.points[1], reason=both.problem
        )
    seen = _look(both, alpha)
    verdict, reason = _verdict(seen, both, minimum_effect, alpha)
    return Comparison(
        verdict=verdict,
        shift=both.real(seen.shift),
        low=None if seen.interval is None else both.real(seen.interval[0]),
        high=None if seen.interval is None else both.real(seen.interval[1]),
        lift=both.lift(seen.shift, seen.level),
        p_value=seen.p_value,
        effective_n=seen.effective_n,
        drift=both.real(both.drift),
        before_points=both.points[0],
        after_points=both.points[1],
        before_median=both.real(median(both.before)),
        after_median=both.real(median(both.after)),
        reason=reason,
    )


class _Look(NamedTuple):
    shift: float
    level: float
    interval: tuple[float, float] | None
    p_value: float
    effective_n: float


def _look(both: Windows, alpha: float) -> _Look:
    x, y = both.projected
    n, m = len(x), len(y)
    if len({*x, *y}) == 1:
        return _Look(0.0, both.level(median), (0.0, 0.0), 1.0, float(sum(both.points)))
    ranks = centred_ranks([*x, *y])
    fitted = _fits(ranks[:n], ranks[n:], both, gap=both.gap, step=2.0)
    paid = fitted[0][0].precision * (n + m) / (n * m)  # what a continued drift leaves of them
    effective_n = paid * sum(share * (_worth(n, fit.memory) + _worth(m, fit.memory)) for fit, share in fitted)
    shift, level, interval = _shift(x, y, both, alpha)
    sign = math.copysign(1, shift)
    p_value = min(1.0, 2 * sum(share * upper_tail(sign * fit.t, fit.freedom) for fit, share in fitted))
    return _Look(shift, level, interval, p_value if shift else 1.0, effective_n)


def _shift(
    x: Sequence[float], y: Sequence[float], both: Windows, alpha: float
) -> tuple[float, float, tuple[float, float] | None]:
    """Return how far ``y`` lies above ``x``, the level to measure that by, and the interval.

    The interval is of levels, which a quiet transition says nothing of: here the windows are independent.
    """
    differences = sorted([b - a for a in x for b in y])
    tied = 2 * differences.count(0.0) >= len(differences)
    middle = mean if tied else median
    shift = mean(y) - mean(x) if tied else median(differences)
    if tied or both.drift:  # the order of the differences says too little
        margin = _margin(_fits(x, y, both), alpha)
        return shift, both.level(middle), (shift - margin, shift + margin)
    aligned = centred_ranks([*x, *(value - shift for value in y)])
    part = _margin(_fits(aligned[: len(x)], aligned[len(x) :], both, step=2.0), alpha) / (2 * len(aligned))
    if part >= 0.5:
        return shift, both.level(middle), None
    place = int((0.5 - part) * len(differences))
    return shift, both.level(middle), (differences[place], differences[-1 - place])


def _worth(count: int, memory: float) -> float:
    """Return how many independent points so many are worth for their mean."""
    return 1 + (count - 1) * (1 - memory) / (1 + memory)


def _fits(
    x: Sequence[float], y: Sequence[float], both: Windows, *, gap: float = math.inf, step: float = 0.0
) -> list[tuple[Fit, float]]:
    """Return the fits with how likely each is."""
    found = fits(x, y, both.lines, gap=gap, step=step)
    return list(zip(found, weights([fit.evidence_of_shift for fit in found]), strict=True))


def _margin(fitted: list[tuple[Fit, float]], alpha: float) -> float:
    """Return the shift that is as far from 0 as chance brings one with probability ``alpha``."""

    def chance(shift: float) -> float:
        return sum(share * 2 * upper_tail(shift / fit.scale, fit.freedom) for fit, share in fitted)

    low, high = 0.0, max(fit.scale for fit, _ in fitted)
    while chance(high) > alpha:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) > alpha else (low, middle)
    return high


def _verdict(seen: _Look, both: Windows, minimum_effect: float, alpha: float) -> tuple[Verdict, str]:
    chance = f"p = {seen.p_value:.2g}" if seen.p_value >= 0.001 else "p < 0.001"
    lift = both.lift(seen.shift, seen.level)
    than = "than the drift before it would have led to" if both.drift else "than before"
    if seen.interval and max(map(abs, seen.interval)) <= minimum_effect * seen.level:
        return "same", f"any difference is less than the {minimum_effect:.1%} that count"
    if seen.p_value >= alpha:
        if seen.effective_n < ENOUGH:
            return "unknown", (
                f"no difference that chance does not explain ({chance}), "
                f"but these points are worth only {seen.effective_n:.1f} independent ones"
            )
        return "same", f"no difference that chance does not explain ({chance})"
    if abs(lift) < minimum_effect or lift == 0:
        return "same", f"it differs by {abs(lift):.1%}, less than the {minimum_effect:.1%} that count ({chance})"
    finding = f"{abs(lift):.0%} {'higher' if seen.shift > 0 else 'lower'} {than} ({chance})"
    if both.sense == 0:
        return "unknown", f"{finding}, and nobody said what is good"
    return ("better", f"{finding}, which is better") if lift > 0 else ("worse", f"{finding}, which is worse")
