"""Self-improvement: keeps the history of the host's metrics, and says where they are heading."""

from aetherra.plugins.self_improvement.plugin import SelfImprovementEngine

__all__ = ["SelfImprovementEngine"]
