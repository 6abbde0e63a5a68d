"""What proposals are made from: owns the shapes of those findings of an analysis that are read here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from aetherra.plugins.self_improvement.analysis.summary import Summary
from aetherra.plugins.self_improvement.analysis.trends import Trend

__all__ = ["Analysis", "Change", "Crossing", "Relation", "Season"]


class Change(Protocol):
    """A step from one level to another, as ``analysis.ChangePoint``."""

    @property
    def timestamp(self) -> float:
        """When the new level began, Unix seconds."""
        ...

    @property
    def after(self) -> float:
        """The new level, in the metric's unit."""
        ...


class Crossing(Protocol):
    """When a setpoint will be crossed, as ``analysis.Crossing``."""

    @property
    def setpoint(self) -> float:
        """The value that is crossed, in the metric's unit."""
        ...

    @property
    def expected(self) -> float | None:
        """When, Unix seconds; None where nobody can say."""
        ...

    @property
    def latest(self) -> float | None:
        """When it surely will have been; None where nobody can say."""
        ...


class Season(Protocol):
    """What hours of the day do to a metric, as ``analysis.Season``."""

    @property
    def verdict(self) -> Literal["daily", "none", "unknown"]:
        """Whether there is a daily season."""
        ...


class Analysis(Protocol):
    """What is known of one metric, as ``analysis.MetricAnalysis``."""

    @property
    def name(self) -> str:
        """The metric."""
        ...

    @property
    def unit(self) -> str:
        """Its unit."""
        ...

    @property
    def trend(self) -> Trend:
        """Where it is heading, and from how many points that is known."""
        ...

    @property
    def summary(self) -> Summary:
        """Its values in a few figures."""
        ...

    @property
    def change_points(self) -> Sequence[Change]:
        """Its steps."""
        ...

    @property
    def season(self) -> Season:
        """What hours of the day do to it; the trend is without that."""
        ...

    @property
    def crossing(self) -> Crossing | None:
        """Its forecast, where it has a setpoint that it will cross."""
        ...


class Relation(Protocol):
    """Two metrics that move together, as ``analysis.Correlation``."""

    @property
    def first(self) -> str:
        """The metric that moves first."""
        ...

    @property
    def second(self) -> str:
        """The metric that follows."""
        ...

    @property
    def lag(self) -> float:
        """Seconds by which the first one leads."""
        ...

    @property
    def r(self) -> float:
        """Correlation, -1 to 1."""
        ...

    @property
    def q(self) -> float:
        """Share of false findings to expect among this and all stronger ones."""
        ...
