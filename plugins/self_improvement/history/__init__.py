"""What was measured, and when: kept on disk, in one file with one writer."""

from aetherra.plugins.self_improvement.history.metric_history import (
    Aggregate,
    HistoryStatistics,
    MetricHistory,
    MetricInfo,
)
from aetherra.plugins.self_improvement.history.point import MetricLimitError, Point, PointTimeError, UnitMismatchError
from aetherra.plugins.self_improvement.history.roll_up import RolledUp
from aetherra.plugins.self_improvement.history.tiers import Retention
from aetherra.plugins.self_improvement.history.writer import HistoryWriter, WriterStatistics
from aetherra.plugins.storage import DatabaseUnusableError

__all__ = [
    "Aggregate",
    "DatabaseUnusableError",
    "HistoryStatistics",
    "HistoryWriter",
    "MetricHistory",
    "MetricInfo",
    "MetricLimitError",
    "Point",
    "PointTimeError",
    "Retention",
    "RolledUp",
    "UnitMismatchError",
    "WriterStatistics",
]
