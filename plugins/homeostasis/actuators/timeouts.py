"""The actuator on time limits: how long a call or an attempt may take that says nothing itself."""

from __future__ import annotations

from aetherra.plugins import TuneCalls
from aetherra.plugins.homeostasis.actuators.tuner import Tuner


class WidenTimeout(Tuner):
    """Changes the default timeout."""

    name = "widen_timeout"
    description = "change the timeout of calls and attempts that name none; taken back by setting what it was"
    target = "none"
    what = "the default timeout"

    def component(self, target: str) -> str:
        """Return the knob that it is."""
        del target
        return "kernel.default_timeout"

    async def current(self, target: str) -> float:
        """Return the seconds that it is."""
        if target:
            raise self.error(f"expected no target, got {target!r}")
        return (await self.ctx.call(TuneCalls())).default_timeout

    async def set(self, target: str, value: float) -> None:
        """Set it."""
        del target
        await self.ctx.call(TuneCalls(default_timeout=value))

    def round(self, value: float) -> float:
        """Any part of a second will do."""
        return value

    def show(self, value: float) -> str:
        """Return it with its unit."""
        return f"{value:g} s"
