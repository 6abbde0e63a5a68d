"""Self-incorporation: finds code in the project, classifies and judges it, and keeps an index of it."""

from aetherra.plugins.self_incorporation.plugin import SelfIncorporationService

__all__ = ["SelfIncorporationService"]
