"""A plugin that greets, and remembers how often."""

from aetherra_greeter.plugin import Greeter

__all__ = ["Greeter"]
