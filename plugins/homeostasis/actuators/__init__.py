"""What homeostasis can do to the host: one class for each change, with its conditions and its way back."""

from aetherra.plugins.homeostasis.actuators.actuator import Actuator, ActuatorError, Applied
from aetherra.plugins.homeostasis.actuators.all import all_actuators
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

__all__ = [
    "Actuator",
    "ActuatorError",
    "Applied",
    "ParkLetters",
    "PluginQuarantine",
    "PluginReload",
    "PluginRestart",
    "PluginRollback",
    "RedriveLetters",
    "ReleaseMemory",
    "SetLaneCapacity",
    "SetLaneWeight",
    "SetWorkers",
    "ShedBackground",
    "WidenTimeout",
    "all_actuators",
]
