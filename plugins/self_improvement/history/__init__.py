"""What was measured, and when: kept on disk, in one file with one writer."""

from aetherra.plugins.self_improvement.history.metric_history import (
    HistoryStatistics,
    MetricHistory,
    MetricInfo,
    Point,
    UnitMismatchError,
)

__all__ = ["HistoryStatistics", "MetricHistory", "MetricInfo", "Point", "UnitMismatchError"]
