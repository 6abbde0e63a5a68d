"""What the points of a metric say: pure functions from a series to a finding, without a clock, a disk or a host."""

from aetherra.plugins.self_improvement.analysis.directions import Direction, good_direction
from aetherra.plugins.self_improvement.analysis.trends import Trend, trend

__all__ = ["Direction", "Trend", "good_direction", "trend"]
