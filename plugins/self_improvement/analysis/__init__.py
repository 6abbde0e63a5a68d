"""What the points of a metric say: pure functions from a series to a finding, without a clock, a disk or a host."""

from aetherra.plugins.self_improvement.analysis.change_points import ChangePoint, change_points
from aetherra.plugins.self_improvement.analysis.comparison import Comparison, compare
from aetherra.plugins.self_improvement.analysis.correlation import Correlation, correlations
from aetherra.plugins.self_improvement.analysis.detector import Detector, DetectorState
from aetherra.plugins.self_improvement.analysis.directions import Direction, good_direction
from aetherra.plugins.self_improvement.analysis.forecast import Crossing, Forecast, Outlook
from aetherra.plugins.self_improvement.analysis.harm import Harm, harmful
from aetherra.plugins.self_improvement.analysis.metric_analysis import MetricAnalysis, analyse
from aetherra.plugins.self_improvement.analysis.outliers import Outlier, outliers
from aetherra.plugins.self_improvement.analysis.seasonality import Season, seasonality
from aetherra.plugins.self_improvement.analysis.series import Points, Series, in_order
from aetherra.plugins.self_improvement.analysis.summary import Summary, summary
from aetherra.plugins.self_improvement.analysis.trends import Trend, trend

__all__ = [
    "ChangePoint",
    "Comparison",
    "Correlation",
    "Crossing",
    "Detector",
    "DetectorState",
    "Direction",
    "Forecast",
    "Harm",
    "MetricAnalysis",
    "Outlier",
    "Outlook",
    "Points",
    "Season",
    "Series",
    "Summary",
    "Trend",
    "analyse",
    "change_points",
    "compare",
    "correlations",
    "good_direction",
    "harmful",
    "in_order",
    "outliers",
    "seasonality",
    "summary",
    "trend",
]
