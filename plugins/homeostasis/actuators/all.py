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


def all_actuators(ctx: PluginContext) -> list[Actuator[Any]]:
    """Return one of each kind."""
    return [
        PluginReload(ctx),
        PluginRestart(ctx),
        PluginQuarantine(ctx),
        PluginRollback(ctx),
        SetWorkers(ctx),
        SetLaneWeight(ctx),
        SetLaneCapacity(ctx),
        ShedBackground(ctx),
        ReleaseMemory(ctx),
        RedriveLetters(ctx),
        ParkLetters(ctx),
        WidenTimeout(ctx),
    ]
