"""The analyst: reads the history, and says what all its metrics tell together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from aetherra.plugins.self_improvement.analysis import (
    ChangePoint,
    Correlation,
    Direction,
    MetricAnalysis,
    Points,
    Series,
    analyse,
    correlations,
    good_direction,
    in_order,
)
from aetherra.plugins.self_improvement.anomalies import Anomalies
from aetherra.plugins.self_improvement.history import MetricHistory, MetricInfo
from aetherra.plugins.self_improvement.messages import (
    Anomaly,
    Finding,
    GetMetric,
    GetPoints,
    MetricReport,
    MetricTrend,
    StoredPoint,
    StoredPoints,
)
from aetherra.plugins.self_improvement.proposals import Judgement, find_setpoint
from aetherra.plugins.self_improvement.seasons import Seasons
from aetherra.plugins.self_improvement.settings import SelfImprovementSettings

__all__ = ["Analyst", "Look", "UnknownMetricError", "metric_trend"]

MOST_POINTS = 5_000
"""Of one metric that are looked at, the latest."""
STEPS_AHEAD = 24
"""Of a forecast that are told of one metric: enough for a day's season to be seen in."""
MOST_FOUND = 200
"""Findings that are told of one look."""
MOST_CORRELATED = 100
"""Metrics whose pairs are looked at: those that move first, then by name. The work grows with the square of them."""
MOST_CORRELATIONS = 50
"""The surest, that are told of one look."""
LATE = 3600.0
"""Seconds that a point may come late and still be told of."""
SHIFTING = 5.0
"""Points by which the place of a step may move as more come after it."""


class UnknownMetricError(LookupError):
    """A metric has no history."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(name)
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        return f"no metric {self.name!r} has been recorded; there are {', '.join(self.known) or 'none'}"


class Look(msgspec.Struct, frozen=True):
    """What all metrics tell at one time.

    Attributes:
        at: When, Unix seconds.
        window: How far it looked back, seconds.
        points: How many were looked at.
        analyses: One a metric, by name.
        correlations: Metrics that move together.
    """

    at: float
    window: float
    points: int
    analyses: tuple[MetricAnalysis, ...]
    correlations: tuple[Correlation, ...]


class Analyst:
    """Synchronous and slow: for worker threads.

    Args:
        history: What is read.
        anomalies: What detectors reported.
        settings: What is wanted of metrics, and which way is good.
        since: From when on anomalies and steps are news, Unix seconds.
    """

    def __init__(
        self, history: MetricHistory, anomalies: Anomalies, settings: SelfImprovementSettings, since: float = 0.0
    ) -> None:
        self._history = history
        self._seasons = Seasons(history)
        self._anomalies = anomalies
        self._settings = settings
        self._moving: dict[tuple[str, str], float] = {}
        self._looked = since
        self._odd: frozenset[tuple[str, float]] = frozenset()
        self._steps: dict[str, list[float]] = {}

    def info(self, name: str) -> MetricInfo:
        """Return what is known of a metric.

        Raises:
            UnknownMetricError: It has no history.
        """
        known = {info.name: info for info in self._history.names()}
        if name not in known:
            raise UnknownMetricError(name, known)
        return known[name]

    def infos(self, name: str | None) -> list[MetricInfo]:
        """Return what is known of one metric, or of all by name; raises ``UnknownMetricError``."""
        return self._history.names() if name is None else [self.info(name)]

    def points(self, name: str, now: float, window: float, limit: int = MOST_POINTS) -> Points:
        """Return the points of a metric up to now: others' clocks may be ahead, and so may ours have been."""
        return self._history.points(name, now - window, math.nextafter(now, math.inf), limit)

    def between(self, name: str, since: float, until: float) -> list[tuple[float, float]]:
        """Return all points of a metric from a time until before another."""
        return self._history.points(name, since, until)

    def analyse(
        self, info: MetricInfo, now: float, window: float, points: Points | Series | None = None, ahead: int = 0
    ) -> MetricAnalysis:
        """Analyse one metric, over its points of the window or those given; ``ahead`` steps of its forecast as well."""
        if points is None:
            points = self.points(info.name, now, window)
        setpoint = find_setpoint(info.name, self._settings.setpoints)
        return analyse(
            points,
            name=info.name,
            unit=info.unit,
            good=self._good(info) if setpoint is None else setpoint.direction,
            target=self._settings.target(info.name),
            setpoint=None if setpoint is None else setpoint.limit,
            now=now,
            horizon=self._settings.horizon,
            minimum_effect=self._settings.minimum_effect,
            season=self._seasons.get(info.name),
            ahead=ahead,
        )

    def look(self, now: float, window: float) -> Look:
        """Analyse all metrics, and how they go together."""
        infos = self._history.names()
        self._seasons.refresh(infos, now)
        series = {info.name: in_order(self.points(info.name, now, window)) for info in infos}
        return self.look_at(infos, series, now, window)

    def look_at(
        self, infos: Iterable[MetricInfo], series: Mapping[str, Points | Series], now: float, window: float
    ) -> Look:
        """Analyse what is given in place of the history."""
        analyses = tuple(self.analyse(info, now, window, series.get(info.name, ())) for info in infos)
        chosen = sorted(analyses, key=lambda one: (not _moves(one), one.name))[:MOST_CORRELATED]
        together = correlations({one.name: series[one.name] for one in chosen if len(series.get(one.name, ()))})
        return Look(now, window, sum(map(len, series.values())), analyses, tuple(together[:MOST_CORRELATIONS]))

    def found(self, look: Look, problems: Iterable[Judgement]) -> tuple[Finding, ...]:
        """Return what is worth telling of a look, the worst first.

        A trend is told while it has held in all looks of a twenty-fourth of the window, an hour of a day: most that
        chance makes are gone by then. Anomalies and steps are told once, after they came.
        """
        found = [
            Finding(one.metric, "beyond_setpoint", one.text) for one in problems if one.problem == "beyond_setpoint"
        ]
        self._moving = {
            key: self._moving.get(key, look.at) for key in ((one.name, one.trend.direction) for one in look.analyses)
        }
        held = {key for key, since in self._moving.items() if look.at - since >= look.window / 24}
        odd = self._anomalies.since(self._looked - LATE)
        found += [
            Finding(one.metric, "anomaly", _odd(one)) for one in odd if (one.metric, one.timestamp) not in self._odd
        ]
        for one in look.analyses:
            if one.trend.direction in ("degrading", "improving") and (one.name, one.trend.direction) in held:
                found.append(Finding(one.name, one.trend.direction, one.trend.reason))
            if one.crossing is not None and one.crossing.expected is not None:
                found.append(Finding(one.name, "crossing", one.crossing.reason))
            found += [Finding(one.name, "change_point", step.reason) for step in self._new_steps(one)]
        found += [Finding(one.second, "correlation", _together(one)) for one in look.correlations]
        self._looked = look.at
        self._odd = frozenset((one.metric, one.timestamp) for one in odd)
        return tuple(found[:MOST_FOUND])

    def _new_steps(self, one: MetricAnalysis) -> list[ChangePoint]:
        """Return the steps that were not there at the look before; one is seen only when some points lie behind it."""
        first, last, points = one.trend.first_timestamp, one.trend.last_timestamp, one.trend.points
        near = 0.0 if first is None or last is None or points < 2 else SHIFTING * (last - first) / (points - 1)
        known = self._steps.get(one.name, ())
        self._steps[one.name] = [step.timestamp for step in one.change_points]
        return [step for step in one.change_points if all(abs(step.timestamp - at) > near for at in known)]

    def _good(self, info: MetricInfo) -> Direction:
        return good_direction(info.name, info.unit, self._settings.directions)

    # What it answers

    def trends(self, name: str | None, now: float, window: float) -> tuple[MetricTrend, ...]:
        """Say where one metric is heading, or all; raises ``UnknownMetricError``."""
        return tuple(metric_trend(self.analyse(info, now, window)) for info in self.infos(name))

    def report(self, request: GetMetric, now: float) -> MetricReport:
        """Say all that is known of a metric; raises ``UnknownMetricError``."""
        info = self.info(request.name)
        points = self.points(request.name, now, request.window, request.limit)
        return MetricReport(
            name=info.name,
            unit=info.unit,
            window=request.window,
            points=tuple(points),
            analysis=self.analyse(info, now, request.window, points, STEPS_AHEAD),
            anomalies=tuple(self._anomalies.since(now - request.window, request.name)),
            score=self._anomalies.score(request.name),
        )

    def stored(self, request: GetPoints, now: float) -> StoredPoints:
        """Say what is kept of a metric, with what was recorded beside its points; raises ``UnknownMetricError``."""
        info, since = self.info(request.name), now - request.window
        contexts = {
            point.timestamp: point.context
            for point in self._history.recorded(request.name, since, limit=request.limit)
            if point.context
        }
        rows = self._history.aggregates(request.name, since, limit=request.limit)
        points = tuple(
            StoredPoint(
                row.timestamp,
                row.mean,
                row.count,
                row.minimum,
                row.maximum,
                row.width,
                contexts.get(row.timestamp, {}) if row.width == 0 else {},
            )
            for row in rows
        )
        return StoredPoints(info.name, info.unit, points)


def metric_trend(found: MetricAnalysis) -> MetricTrend:
    """Return an analysis' trend as it is told."""
    trend = found.trend
    return MetricTrend(
        name=found.name,
        unit=found.unit,
        direction=trend.direction,
        movement=trend.movement,
        slope_per_hour=trend.slope_per_hour,
        p_value=trend.p_value,
        points=trend.points,
        mean=trend.mean,
        last=trend.last,
        reason=trend.reason,
    )


def _moves(one: MetricAnalysis) -> bool:
    return bool(one.change_points) or one.trend.movement in ("rising", "falling")


def _odd(one: Anomaly) -> str:
    return f"{one.value:g} is out of the ordinary (score {one.score:.2f})"


def _together(one: Correlation) -> str:
    how = f"follows {one.first} after {one.lag:g} s" if one.lag else f"moves with {one.first}"
    return f"{how} (r = {one.r:+.2f}, q = {one.q:.2g})"
