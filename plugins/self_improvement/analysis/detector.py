"""Whether a point is a surprise as it comes: owns what a metric has taught so far, and the score of the next point.

Nothing is looked at twice, and nothing ahead. Four steps:

1. **Two views.** The mean of the last few points is held against the long past (a level that moves, a burst), and the
   value against the same hour of earlier days (a night's value at noon). A distance counts by its usual size ``s``, and
   from where things have run of late if that is nearer: a new level is one surprise. The views' surprises
   ``log(1 + d*d / (s*s))`` are averaged, a geometric mean of two heavy tails: a point that only one view knows must be
   very far out, and both together count sooner.
2. **Its own past.** The share of earlier points that surprised as much says how rare that is *in this metric*, whatever
   the shape of its noise; half the negative logarithm of it is added.
3. **Peak hold.** For a while after a report only a clear new record is reported: an event is told once.
4. **Fatigue.** A report raises the bar for later ones, and that wears off: a metric that always has something to tell
   is held to some three reports in 1,000 points, one that rarely has keeps its low bar.

The constants stand in the middle of a wide plateau of the Numenta Anomaly Benchmark, none of them on a peak:
``benchmarks/README.md`` has the figures, also for series that had no part in choosing them.
"""

import math
import sys
from typing import Self

import msgspec

__all__ = ["Detector", "DetectorState"]

REPORTED = 0.5
"""The score from which on a point is reported."""

HOURS = 24
CELLS = 8
"""Cells of the record of surprises per unit; a surprise ends at ``LARGEST``."""

LARGEST = 7.0
"""Largest surprise: more than about 33 times the usual distance is no more surprising."""

_FEW = 3
"""Points of an hour from which nothing is concluded."""

_CAP = math.exp(LARGEST) - 1
_CELLS = int(CELLS * LARGEST) + 1
_HUGE = 1e150
"""Values are clipped here, and smaller differences than its inverse are none: squares neither overflow nor vanish."""

_ROUNDING = 1e-24
"""Square of the share of a level that its floating-point noise may take."""


class DetectorState(msgspec.Struct, frozen=True, kw_only=True):
    """All that a detector knows: 141 plain numbers, whatever it has seen.

    Attributes:
        points: Points seen.
        last: The latest value.
        still: How many points before it were equal to it.
        recent: Mean of the last few points.
        past: Mean of the long past.
        spread: Usual square of the distance between these two.
        shift: How far they have been apart of late.
        hour_points: Points seen by hour of the day, UTC.
        hour_means: Their means.
        hour_spreads: Usual squares of the distance to these.
        hour_shift: How far values have been from these of late.
        surprises: How many points surprised so much, by cell, the far past fading.
        remembered: How many points those are.
        held: Points for which the latest report still holds.
        peak: Largest evidence since that report.
        fatigue: Reports of late, fading.
    """

    points: int = 0
    last: float = 0.0
    still: int = 0
    recent: float = 0.0
    past: float = 0.0
    spread: float = 0.0
    shift: float = 0.0
    hour_points: tuple[int, ...] = (0,) * HOURS
    hour_means: tuple[float, ...] = (0.0,) * HOURS
    hour_spreads: tuple[float, ...] = (0.0,) * HOURS
    hour_shift: float = 0.0
    surprises: tuple[float, ...] = (0.0,) * _CELLS
    remembered: float = 0.0
    held: int = 0
    peak: float = 0.0
    fatigue: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no detector can have left.

        Raises:
            ValueError: A table has the wrong length, or a number is not finite or below 0 where none can be.
        """
        hours, cells = {len(self.hour_points), len(self.hour_means), len(self.hour_spreads)}, len(self.surprises)
        if hours != {HOURS} or cells != _CELLS:
            raise ValueError(f"expected {HOURS} hours and {_CELLS} surprises, got {sorted(hours)} and {cells}")
        values = (self.last, self.recent, self.past, self.shift, self.hour_shift, *self.hour_means)
        sizes = (self.spread, self.remembered, self.peak, self.fatigue, *self.hour_spreads, *self.surprises)
        counts = (self.points, self.still, self.held, *self.hour_points)
        if not all(map(math.isfinite, values + sizes)) or min(sizes + counts) < 0:
            raise ValueError("expected the finite numbers of a detector, counts and sizes from 0 up")


class Detector:
    """The streaming anomaly detector of one metric: points in, scores out, in constant memory and little time.

    **The score**, 0 to 1, says how the evidence ``e`` against a point compares with the bar ``b`` for telling it:
    ``e**3 / (e**3 + b**3)``. A point with 0.5 or more is *reported*; that line is fixed and never tuned. Twice the
    evidence that it takes scores 0.89, and nine points of ten score below 0.15. Evidence is in nats, as logarithms of
    tail probabilities are. It tells surprise, not the probability of a fault.

    **False alarms** in 1,000 points, a minute or five apart, in the first 10,000: 0.8 on white noise, 0.7 on noise with
    autocorrelation 0.8 or 0.95, 0.6 on what is nearly a random walk; 1.5 with tails like Student's t of 3 degrees of
    freedom and 1.7 on log-normal values.

    **What to expect.** The first 50 points score 0, and so does a metric that has had the same value for more than 16.
    A level that moves is reported as it does so, not again, and then hides bursts of its own size for some hundreds of
    points; to return to where the metric was for long is no surprise. Slow drift is none either: a trend test sees it.

    Multiplying all values by a constant, or adding one, changes scores by rounding alone. Values beyond 1e150 count as
    1e150, distances below 1e-150 as none. Time tells the hour of the day (UTC) and no more. Points count in the order
    in which they come: a time that repeats or goes back is one more point, a gap is none, and neither loses anything.
    The constants are the class's; a subclass may have others.

    Args:
        state: What to go on from, as ``restore`` does; nothing to begin anew.
    """

    BAR = 4.5
    """Evidence that it takes to report, of a detector that is not tired."""

    RECENT = 8.0
    """Points that the mean of the last few looks back."""

    PAST = 2000.0
    """Points that the long past looks back."""

    HOUR = 200.0
    """Points that an hour of the day looks back: at one a minute, some three days."""

    SETTLES = 40.0
    """Points after which a new level is as good an expectation as the old one."""

    MEMORY = 4096.0
    """Surprises remembered before the record is halved."""

    RARITY = 0.5
    """What the rarity of a surprise weighs beside its size."""

    HOLD = 100
    """Points for which a report holds."""

    MARGIN = 2.0
    """Evidence beyond the peak that makes a new record: distances about e times as far."""

    TIRES = 0.5
    """What a report adds to the bar."""

    RECOVERS = 4000.0
    """Points after which a report counts for 1/e of that."""

    WARM_UP = 50
    """Points before anything is scored."""

    STILL = 16
    """Equal values after which a metric stands still."""

    __slots__ = (
        "_fatigue",
        "_held",
        "_hour_means",
        "_hour_points",
        "_hour_shift",
        "_hour_spreads",
        "_last",
        "_past",
        "_peak",
        "_points",
        "_recent",
        "_remembered",
        "_shift",
        "_spread",
        "_still",
        "_surprises",
    )

    def __init__(self, state: DetectorState | None = None) -> None:
        state = state or DetectorState()
        self._points = state.points
        self._last = state.last
        self._still = state.still
        self._recent = state.recent
        self._past = state.past
        self._spread = state.spread
        self._shift = state.shift
        self._hour_points = [*state.hour_points]
        self._hour_means = [*state.hour_means]
        self._hour_spreads = [*state.hour_spreads]
        self._hour_shift = state.hour_shift
        self._surprises = [*state.surprises]
        self._remembered = state.remembered
        self._held = state.held
        self._peak = state.peak
        self._fatigue = state.fatigue

    @classmethod
    def restore(cls, state: DetectorState) -> Self:
        """Return a detector that goes on from a state: every later score is what it would have been."""
        return cls(state)

    def state(self) -> DetectorState:
        """Return all it knows; it goes through JSON and back unchanged."""
        return DetectorState(
            points=self._points,
            last=self._last,
            still=self._still,
            recent=self._recent,
            past=self._past,
            spread=self._spread,
            shift=self._shift,
            hour_points=tuple(self._hour_points),
            hour_means=tuple(self._hour_means),
            hour_spreads=tuple(self._hour_spreads),
            hour_shift=self._hour_shift,
            surprises=tuple(self._surprises),
            remembered=self._remembered,
            held=self._held,
            peak=self._peak,
            fatigue=self._fatigue,
        )

    def update(self, timestamp: float, value: float) -> float:
        """Learn a point and return its score, 0 to 1; 0.5 or more is a report.

        Raises:
            ValueError: The time or the value is not finite. The detector is as it was.
        """
        try:
            finite = math.isfinite(timestamp) and math.isfinite(value)
        except OverflowError:  # an integer beyond floating point
            finite, timestamp, value = False, _floating(timestamp), _floating(value)
        if not finite:
            raise ValueError(f"expected finite times and values, got value {value!r} at time {timestamp!r}")
        value = float(value)
        if not -_HUGE < value < _HUGE:
            value = math.copysign(_HUGE, value)
        points = self._points
        if not points:
            self._recent = self._past = value
        self._points = points = points + 1
        still = self._still = self._still + 1 if value == self._last else 0
        self._last = value

        surprise = (self._beside_the_past(value, points) + self._beside_its_hour(timestamp, value)) / 2
        if still >= self.STILL:
            surprise = 0.0
        evidence = surprise + self.RARITY * self._rarity(surprise)
        return self._score(evidence) if points > self.WARM_UP and surprise > 0 else self._score(0.0)

    def _beside_the_past(self, value: float, points: int) -> float:
        """Hold the last few points against the long past."""
        past, spread, shift = self._past, self._spread, self._shift
        self._recent = recent = self._recent + (value - self._recent) / min(self.RECENT, points)
        distance = recent - past
        self._shift = shift + (distance - shift) / self.SETTLES
        nearest = min(abs(distance), abs(distance - shift))
        square = nearest * nearest
        share = 1 / min(self.PAST, points)
        self._past = past + share * (value - past)
        self._spread = spread + share * (square - spread)
        return _size(square, spread + _ROUNDING * past * past)

    def _beside_its_hour(self, timestamp: float, value: float) -> float:
        """Hold the value against the same hour of earlier days."""
        hour = int(timestamp % 86400.0 // 3600.0) % HOURS
        points = self._hour_points[hour] = self._hour_points[hour] + 1
        mean = self._hour_means[hour]
        distance = value - mean
        share = 1 / min(self.HOUR, points)
        self._hour_means[hour] = mean + share * distance
        if points == 1:
            return 0.0
        shift = self._hour_shift
        self._hour_shift = shift + (distance - shift) / self.SETTLES
        nearest = min(abs(distance), abs(distance - shift))
        square = nearest * nearest
        spread = self._hour_spreads[hour]
        self._hour_spreads[hour] = spread + share * (square - spread)
        return _size(square, spread + _ROUNDING * mean * mean) if points > _FEW else 0.0

    def _rarity(self, surprise: float) -> float:
        """Return the negative logarithm of the share of points that surprised as much, and remember this one."""
        surprises = self._surprises
        remembered = self._remembered
        place = surprise * CELLS
        cell = int(place)
        as_much = sum(surprises[cell:]) - surprises[cell] * (place - cell)
        surprises[cell] += 1.0
        self._remembered = remembered + 1.0
        if self._remembered >= self.MEMORY:
            self._remembered /= 2
            self._surprises = [count / 2 for count in surprises]
        return math.log((remembered + 2.0) / (as_much + 1.0))

    def _score(self, evidence: float) -> float:
        """Hold evidence against the bar; a report raises it."""
        fatigue = self._fatigue = self._fatigue * (1 - 1 / self.RECOVERS)
        if self._held:
            self._held -= 1
            bar = self._peak + self.MARGIN
        else:
            bar = self.BAR + self.TIRES * fatigue
        cube = (evidence / bar) ** 3
        score = cube / (cube + 1)
        if score >= REPORTED:
            self._held, self._peak, self._fatigue = self.HOLD, evidence, fatigue + 1
        elif evidence > self._peak:
            self._peak = evidence
        return score


def _size(square: float, usual: float) -> float:
    """Say how a squared distance compares with the usual one: 0 for none, at most ``LARGEST``."""
    if square < _CAP * usual:
        return math.log1p(square / usual)
    return LARGEST if square > 0 else 0.0


def _floating(number: float) -> float:
    """Return an integer beyond floating point as an infinity; it may be too long to be told."""
    if abs(number) > sys.float_info.max:
        return math.inf if number > 0 else -math.inf
    return number
