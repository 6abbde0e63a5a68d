"""Whether a change is doing harm while it is on trial: owns the test that may be asked again after every point.

A test that is repeated until it speaks will speak. This one weighs a bet instead (Shafer, J. Royal Statistical Society
A 184, 2021): how many times likelier the points are if the metric has become worse than if nothing has changed. If
nothing has, this ever reaches 20 with a probability of at most 1 in 20, however often one looks (Ville, Etude critique
de la notion de collectif, 1939). Level, spread and drift of the metric are unknown; with flat priors on them that stays
true for Gaussian noise of each memory (Hendriksen, de Heide and Grunwald, Bayesian Analysis 16, 2021), and on average
over the memories, of which 14 are weighed (``autoregression``).

Measured with a look after every point, on noise around 100 with a standard deviation of 20, in percent at
autocorrelation 0, 0.5, 0.8, 0.95, the windows two steps apart. Nothing has changed, and it is called harmful at any of
20 looks after 10 points before: 0, 0, 0, 3; of 40 looks after 20: 1, 1, 1, 2; of 40 looks after 60: 0, 0, 2, 0. On
exponential and log-normal noise it is 0 to 5, on rare counters 0, on a wandering (0.95) beside a flicker of the same
size 7 after 20 points, 4 after 60. The values double, and it is called: 99, 79, 89, 100; 100, 96, 90, 100; 100, 100,
100, 100; at the median after 3 or 4 points, or 6 where pairs are averaged (after 60), which is as soon as may be.
"""

import math

import msgspec

from aetherra.plugins.self_improvement.analysis.autoregression import Fit, fits, log_mean
from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.series import Points, Series
from aetherra.plugins.self_improvement.analysis.student import upper_tail
from aetherra.plugins.self_improvement.analysis.windows import Windows, mean, windows

__all__ = ["MINIMUM_AFTER", "MINIMUM_BEFORE", "Harm", "harmful"]

MINIMUM_BEFORE = 5
"""Fewer points before the change say nothing of what is usual."""

MINIMUM_AFTER = 3
"""One or two points after the change may be a spike, of which Gaussian noise knows nothing."""

_HARM = 2.0
"""Harm that is looked for: a shift of about this many standard deviations of the metric."""


_RUNS = 30
"""Runs of neighbours that a window of so many points and more before is averaged to, and that after it in the same way.

So noise that wanders slowly beside a quick flicker shows its memory.
"""


class Harm(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of a change that is still on trial.

    Attributes:
        harmful: The metric has become worse, and chance would hardly ever say so.
        evidence: How many times likelier the points are with harm than without; None where nothing can be said.
        lift: By how much the mean differs, in parts of the level before; negative is worse.
        before_points: Points before at different times.
        after_points: Points after.
        reason: One sentence why.
    """

    harmful: bool
    evidence: float | None = None
    lift: float | None = None
    before_points: int
    after_points: int
    reason: str


def harmful(
    before: Points | Series,
    after: Points | Series,
    *,
    good: Direction,
    target: float | None = None,
    minimum_effect: float = 0.05,
    alpha: float = 0.05,
) -> Harm:
    """Say whether the points since a change show already that it makes the metric worse.

    This may be asked after each point, with all points since the change: the chance that a harmless change is ever
    called harmful stays below ``alpha``. It is never an answer to whether the change does good (``compare``).

    Args:
        before: Pairs of time (seconds since the epoch) and value, in any order. They must stay the same from question
            to question.
        after: All points since the change.
        good: Which way the metric should move. With ``near``, being closer to ``target`` is better.
        target: The wanted value, read only with ``near``.
        minimum_effect: Smallest relative difference worth a word, 0.05 for 5 %.
        alpha: Highest probability of ever calling a harmless change harmful.

    Returns:
        Whether it is harmful. With fewer than 5 points before or 3 after, with windows that overlap, and where nobody
        said which way is good, it is not.

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
        least=(MINIMUM_BEFORE, MINIMUM_AFTER),
        run=lambda before, _: before // _RUNS,
    )
    problem = both.problem or ("" if both.sense else "nobody said which way is good")
    if problem:
        return Harm(harmful=False, before_points=both.points[0], after_points=both.points[1], reason=problem)
    evidence, lift = _evidence(both), _lift(both)
    if lift > -minimum_effect or lift == 0:
        called, reason = False, f"it is not worse by the {minimum_effect:.1%} that count"
    else:
        called = evidence >= 1 / alpha
        reason = (
            f"{-lift:.0%} worse than {'its drift' if both.drift else 'before'}, which is {evidence:.3g} times likelier "
            f"with harm than without{'' if called else f', and {1 / alpha:.3g} times would be enough'}"
        )
    return Harm(
        harmful=called,
        evidence=evidence,
        lift=lift,
        before_points=both.points[0],
        after_points=both.points[1],
        reason=reason,
    )


def _lift(both: Windows) -> float:
    x, y = both.projected
    return both.lift(mean(y) - mean(x), both.level(mean))


def _evidence(both: Windows) -> float:
    """Return how many times likelier the points are with harm than without, whatever the memory of the noise."""
    x, y = ([-both.sense * value for value in values] for values in (both.before, both.after))
    if len({*x, *y}) == 1:
        return 1.0
    found = fits(x, y, (both.times,) if both.drift else (), gap=both.gap)
    ratio = log_mean([fit.evidence + _gain(fit) for fit in found]) - log_mean([fit.evidence for fit in found])
    return math.exp(min(ratio, 700.0))


def _gain(fit: Fit) -> float:
    """Return the logarithm of how much likelier an upward shift makes the points, of Gaussian prior around 0."""
    variance = _HARM**2 / (1 - fit.memory**2)  # in units of the noise that is new in each point
    share = variance * fit.precision / (1 + variance * fit.precision)
    strength = fit.precision * fit.shift**2
    freedom = fit.freedom + 1
    left = fit.residual + strength * (1 - share)
    spread = math.sqrt(left / freedom * share / fit.precision)
    upwards = upper_tail(-fit.shift * share / spread, freedom)
    return (math.log1p(-share) + freedom * math.log((fit.residual + strength) / left)) / 2 + math.log(
        max(2 * upwards, 1e-300)
    )
