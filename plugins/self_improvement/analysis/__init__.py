"""What the points of a metric say: pure functions from a series to a finding, without a clock, a disk or a host."""

from aetherra.plugins.self_improvement.analysis.directions import Direction, good_direction
from aetherra.plugins.self_improvement.analysis.outliers import Outlier, outliers
from aetherra.plugins.self_improvement.analysis.series import Points, Series, in_order
from aetherra.plugins.self_improvement.analysis.summary import Summary, summary
from aetherra.plugins.self_improvement.analysis.trends import Trend, trend

__all__ = [
    "Direction",
    "Outlier",
    "Points",
    "Series",
    "Summary",
    "Trend",
    "good_direction",
    "in_order",
    "outliers",
    "summary",
    "trend",
]
