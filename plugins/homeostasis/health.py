"""How well the host is, in one figure: owns the setpoints and the folding of readings into a score."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

__all__ = ["DEFAULT_SETPOINTS", "HealthScore", "Reason", "Setpoint", "health_score"]

_WORST_SHARE = 0.7
"""How much of the loss is that of the worst metric; the rest is the weighted mean of all."""


class Setpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Between which two values a metric goes from well to bad.

    A value at ``good`` or beyond counts 1, at ``bad`` or beyond 0, and linearly between. Which of the two is higher
    says which way is better.

    Attributes:
        good: Value from which on all is well.
        bad: Value from which on nothing is.
        weight: How much the metric counts against the heaviest one.

    Raises:
        ValueError: A figure is not finite, ``good`` equals ``bad``, or ``weight`` is not above 0.
    """

    good: float
    bad: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.good - self.bad) or self.good == self.bad:
            raise ValueError(f"expected two different finite values, got good {self.good!r} and bad {self.bad!r}")
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise ValueError(f"expected a finite weight above 0, got {self.weight!r}")

    def score(self, value: float) -> float:
        """Return how well ``value`` is, from 0 to 1."""
        return min(max((value - self.bad) / (self.good - self.bad), 0.0), 1.0)


class Reason(msgspec.Struct, frozen=True):
    """How much one metric lowers the score.

    Attributes:
        metric: Its name.
        value: What was read.
        score: How well that is, from 0 to 1.
        loss: Its part of what the score lacks; all losses add up to 1 - score.
        sentence: The same in words.
    """

    metric: str
    value: float
    score: float
    loss: float
    sentence: str


class HealthScore(msgspec.Struct, frozen=True):
    """How well the host is, and why not better.

    Attributes:
        score: From 0 to 1; None when no metric is known, for then nobody knows.
        known: Metrics that were read.
        unknown: Metrics with a setpoint and no reading, by name.
        coverage: Share of the weight that was read, from 0 to 1: how far the score is to be trusted.
        reasons: The metrics that lower the score, the heaviest first.
    """

    score: float | None
    known: int
    unknown: list[str]
    coverage: float
    reasons: list[Reason]


def health_score(readings: Mapping[str, float | None], setpoints: Mapping[str, Setpoint]) -> HealthScore:
    """Fold readings into one score.

    Each metric loses ``1 - score of its setpoint``. The whole loses 0.7 of the worst weighted loss and 0.3 of the
    weighted mean loss::

        score = 1 - (0.7 * max(w_i / w_max * loss_i) + 0.3 * sum(w_i * loss_i) / sum(w_i))

    A mean alone would drown one terrible metric in twenty good ones (0.95), and so would a geometric mean with a floor
    (0.01 ** 0.05 = 0.79); the minimum alone would not tell one fault from ten. Here one metric of full weight that is
    as bad as can be leaves at most 0.3 in any company, each further fault still shows, and a metric of half the weight
    cannot condemn the host alone. The score never rises when a reading gets worse.

    A missing reading, None or NaN, is unknown: it is left out, listed, and lowers the coverage. So the score may rise
    when a bad metric falls silent: judge ``coverage`` beside it. Readings without a setpoint are passed over.

    Args:
        readings: Values by metric, in the units of the setpoints.
        setpoints: What is wanted, by metric.

    Returns:
        The score with its reasons.
    """
    known = {name: value for name in setpoints if (value := readings.get(name)) is not None and not math.isnan(value)}
    unknown = sorted(setpoints.keys() - known.keys())
    if not known:
        return HealthScore(score=None, known=0, unknown=unknown, coverage=0.0, reasons=[])
    scores = {name: setpoints[name].score(value) for name, value in known.items()}
    losses = {name: setpoints[name].weight * (1 - score) for name, score in scores.items()}
    weight = math.fsum(setpoints[name].weight for name in known)
    total = math.fsum(losses.values())
    heaviest = max(setpoint.weight for setpoint in setpoints.values())
    worst = max(losses.values()) / heaviest
    lack = min(_WORST_SHARE * worst + (1 - _WORST_SHARE) * total / weight, 1.0)
    reasons = [
        Reason(name, known[name], scores[name], lack * loss / total, _sentence(name, known[name], setpoints[name]))
        for name, loss in sorted(losses.items(), key=lambda item: (-item[1], item[0]))
        if loss > 0
    ]
    coverage = weight / math.fsum(setpoint.weight for setpoint in setpoints.values())
    return HealthScore(score=1 - lack, known=len(known), unknown=unknown, coverage=coverage, reasons=reasons)


def _sentence(name: str, value: float, setpoint: Setpoint) -> str:
    side, beyond = ("most", "above") if setpoint.good < setpoint.bad else ("least", "below")
    verdict = "as bad as counts" if setpoint.score(value) == 0 else f"bad {beyond} {setpoint.bad:g}"
    return f"{name} is {value:.4g}, wanted at {side} {setpoint.good:g} ({verdict})"


DEFAULT_SETPOINTS: Mapping[str, Setpoint] = MappingProxyType(
    {
        # The host's own work: what it promises.
        "loop.lag": Setpoint(0.02, 0.5),
        "queue.depth_ratio": Setpoint(0.1, 1.0),
        "queue.oldest_age": Setpoint(1.0, 60.0),
        "actions.failed_ratio": Setpoint(0.0, 0.2),
        "calls.error_ratio": Setpoint(0.0, 0.2),
        "calls.roundtrip": Setpoint(0.005, 0.5),
        "bus.dropped": Setpoint(0.0, 10.0),
        "services.available": Setpoint(1.0, 0.5),
        "plugins.failed": Setpoint(0.0, 2.0),
        "dlq.depth": Setpoint(0.0, 100.0),
        # What ends the process when it runs out.
        "process.open_files_used": Setpoint(0.5, 0.95),
        "host.memory_available": Setpoint(0.15, 0.03),
        "host.disk_free_bytes": Setpoint(2.0**30, 2.0**26),
        # Signs of strain, which others on the machine may cause: they cannot condemn the host alone.
        "host.disk_free": Setpoint(0.1, 0.01, weight=0.5),
        "process.cpu": Setpoint(0.8, 1.5, weight=0.5),
        "process.gc_pause": Setpoint(0.02, 0.2, weight=0.5),
        "process.page_faults_major": Setpoint(10.0, 500.0, weight=0.5),
        "host.load": Setpoint(1.0, 4.0, weight=0.5),
        "host.pressure_cpu": Setpoint(0.2, 0.8, weight=0.5),
        "host.pressure_memory": Setpoint(0.05, 0.4, weight=0.5),
        "host.pressure_io": Setpoint(0.1, 0.6, weight=0.5),
    }
)
"""Setpoints of the sensors and of the kernel's metrics, in their units. ``process.rss``, ``process.threads`` and
``process.open_files`` have none: what is much depends on the host."""
