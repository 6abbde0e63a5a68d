"""Actuators on one plugin: load it anew, start it anew, keep it away, go back to its earlier code."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic

from aetherra.plugins import DisablePlugin, EnablePlugin, ListPlugins, PluginInfo, RestartPlugin
from aetherra.plugins.homeostasis.actuators.actuator import Actuator, Applied, ArgumentsT, NoArguments
from aetherra.plugins.homeostasis.actuators.heap import trim

OURSELVES = "homeostasis"
"""An actuator that stopped the plugin that it runs in would never tell."""


class PluginActuator(Actuator[ArgumentsT], Generic[ArgumentsT]):
    """One whose target is a plugin."""

    disruptive = True
    target = "needed"
    seconds = 60.0
    wanted_states: ClassVar[tuple[str, ...]] = ("serving",)

    async def find(self, target: str) -> PluginInfo:
        """Return the plugin that is meant.

        Raises:
            ActuatorError: There is none, it is not in a state for this, or it is ourselves.
        """
        if target == OURSELVES:
            raise self.error("homeostasis cannot do this to itself; a person can")
        plugins = {info.name: info for info in (await self.ctx.call(ListPlugins())).plugins}
        info = plugins.get(target)
        if info is None:
            raise self.error(f"there is no plugin {target!r}; there are {', '.join(sorted(plugins)) or 'none'}")
        if info.state not in self.wanted_states:
            wanted = " or ".join(self.wanted_states)
            raise self.error(f"plugin {target!r} is {info.state}; expected one that is {wanted}")
        return info

    async def plan(self, target: str, arguments: ArgumentsT) -> Applied:
        """Find the plugin, and see that it is in a state for this."""
        del arguments
        info = await self.find(target)
        return Applied(True, f"{self.verb} {target!r}, which is {info.state} in generation {info.generation}")

    async def apply(self, target: str, arguments: ArgumentsT) -> Applied:
        """Find the plugin and do it; the memory of what was stopped goes back to the system."""
        del arguments
        applied = await self.do(await self.find(target))
        await trim()
        return applied

    verb: ClassVar[str]

    @abstractmethod
    async def do(self, info: PluginInfo) -> Applied:
        """Do it to a plugin that was found fit for it."""


class PluginReload(PluginActuator[NoArguments]):
    """Has hot swap load the code that is on disk."""

    name = "reload_plugin"
    description = "load a plugin's code from disk and swap it in; taken back by going back to the code before"
    arguments_type = NoArguments
    wanted_states = ("serving", "failed", "quarantined")
    verb = "reload"

    async def do(self, info: PluginInfo) -> Applied:
        """Swap."""
        swapped = await self.ctx.call_tag("hmr.reload", {"plugin": info.name}, timeout=self.seconds)
        summary = f"reloaded {info.name!r}: generation {swapped['old_generation']} -> {swapped['generation']}"
        return Applied(True, summary, {"generation": swapped["generation"]})

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Go back to the code before."""
        del before
        return await _roll_back(self, target)


class PluginRestart(PluginActuator[NoArguments]):
    """Starts the same code anew, without the state."""

    name = "restart_plugin"
    description = "start a plugin's same code anew, without its state; nothing to take back"
    arguments_type = NoArguments
    wanted_states = ("serving", "failed")
    verb = "restart"

    async def do(self, info: PluginInfo) -> Applied:
        """Restart."""
        done = await self.ctx.call(RestartPlugin(info.name, "homeostasis"), timeout=self.seconds)
        return Applied(True, f"restarted {info.name!r}: generation {done.old_generation} -> {done.generation}")


class PluginQuarantine(PluginActuator[NoArguments]):
    """Stops a plugin and keeps it."""

    name = "disable_plugin"
    description = "stop a plugin and keep it away, its callers are told; taken back by bringing the same code up"
    arguments_type = NoArguments
    wanted_states = ("serving", "failed")
    verb = "stop and keep away"

    async def do(self, info: PluginInfo) -> Applied:
        """Stop it."""
        await self.ctx.call(DisablePlugin(info.name, "homeostasis keeps it away"), timeout=self.seconds)
        return Applied(True, f"stopped {info.name!r} and keep it away", {"plugin": info.name})

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Bring it up again."""
        del before
        done = await self.ctx.call(EnablePlugin(target), timeout=self.seconds)
        return Applied(True, f"brought {target!r} up again as generation {done.generation}")


class PluginRollback(PluginActuator[NoArguments]):
    """Has hot swap go back to the code before."""

    name = "roll_back_plugin"
    description = "go back to the code that a plugin had before its last swap; taken back by loading what is on disk"
    arguments_type = NoArguments
    verb = "roll back"

    async def do(self, info: PluginInfo) -> Applied:
        """Go back."""
        return await _roll_back(self, info.name)

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Load what is on disk."""
        del before
        swapped = await self.ctx.call_tag("hmr.reload", {"plugin": target}, timeout=self.seconds)
        return Applied(True, f"loaded {target!r} from disk again, as generation {swapped['generation']}")


async def _roll_back(actuator: PluginActuator[Any], plugin: str) -> Applied:
    body = {"plugin": plugin, "reason": "homeostasis"}
    swapped = await actuator.ctx.call_tag("hmr.rollback", body, timeout=actuator.seconds)
    summary = f"rolled {plugin!r} back: generation {swapped['old_generation']} -> {swapped['generation']}"
    return Applied(True, summary, {"generation": swapped["generation"]})
