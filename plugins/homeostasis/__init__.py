"""Homeostasis: measures the running host, and says how well it is."""

from aetherra.plugins.homeostasis.plugin import Homeostasis

__all__ = ["Homeostasis"]
