"""Governance: the one gate through which everything passes that the host would do by itself."""

from aetherra.plugins.governance.plugin import Governance

__all__ = ["Governance"]
