"""All actuators that there are, for one context."""

from __future__ import annotations

from typing import Any

from aetherra.plugins import PluginContext
from aetherra.plugins.homeostasis.actuators.actuator import Actuator
from aetherra.plugins.homeostasis.actuators.dead_letters import ParkLetters, RedriveLetters
from aetherra.plugins.homeostasis.actuators.lanes import SetLaneCapacity, SetLaneWeight, SetWorkers, ShedBackground
from aetherra.plugins.homeostasis.actuators.memory import ReleaseMemory
from aetherra.plugins.homeostasis.actuators.plugin_life import (
    PluginQuarantine,
    PluginReload,
    PluginRestart,
    PluginRollback,
)
from aetherra.plugins.homeostasis.actuators.timeouts import WidenTimeout

ACTUATOR_TYPES: tuple[type[Actuator[Any]], ...] = (
    PluginReload,
    PluginRestart,
    PluginQuarantine,
    PluginRollback,
    SetWorkers,
    SetLaneWeight,
    SetLaneCapacity,
    ShedBackground,
    ReleaseMemory,
    RedriveLetters,
    ParkLetters,
    WidenTimeout,
)


def all_actuators(ctx: PluginContext) -> list[Actuator[Any]]:
    """Return one of each kind."""
    return [kind(ctx) for kind in ACTUATOR_TYPES]
