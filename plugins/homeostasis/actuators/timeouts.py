"""The actuator on time limits: how long a call or an attempt may take that says nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aetherra.plugins import TuneCalls
from aetherra.plugins.homeostasis.actuators.actuator import Actuator, Applied
from aetherra.plugins.homeostasis.actuators.lanes import NewValue


class WidenTimeout(Actuator[NewValue]):
    """Changes the default timeout."""

    name = "widen_timeout"
    description = "change the timeout of calls and attempts that name none; taken back by setting what it was"
    arguments_type = NewValue
    target = "none"

    async def plan(self, target: str, arguments: NewValue) -> Applied:
        """Say from what to what."""
        if target:
            raise self.error(f"expected no target, got {target!r}")
        old = (await self.ctx.call(TuneCalls())).default_timeout
        new = arguments.of(old)
        if new == old:
            return Applied(False, f"the default timeout is {old:g} s")
        return Applied(True, f"the default timeout {old:g} s -> {new:g} s", {"value": old, "new": new})

    async def apply(self, target: str, arguments: NewValue) -> Applied:
        """Set it, unless it is so already."""
        planned = await self.plan(target, arguments)
        if planned.changed:
            await self.ctx.call(TuneCalls(default_timeout=planned.before["new"]))
        return planned

    async def undo(self, target: str, before: Mapping[str, Any]) -> Applied:
        """Set what it was, if it still is what was made of it."""
        del target
        old = (await self.ctx.call(TuneCalls())).default_timeout
        if old != before["new"]:
            return Applied(False, f"the default timeout is {old:g} s, which is not ours to take back")
        await self.ctx.call(TuneCalls(default_timeout=before["value"]))
        return Applied(True, f"the default timeout {old:g} s -> {before['value']:g} s")
