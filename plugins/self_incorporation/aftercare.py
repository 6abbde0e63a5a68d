"""The aftercare: looks whether what was brought in serves and may, and has taken out again what does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from aetherra.plugins import AetherraError, ListPlugins, NotPermittedError, PluginContext
from aetherra.plugins.self_incorporation.incorporator import Incorporator
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator
from aetherra.plugins.self_incorporation.once import Once

__all__ = ["Aftercare"]


class Aftercare:
    """Takes out, within some time, what does not serve.

    Args:
        ctx: Of the plugin that it works in.
        incorporator: Takes out.
        integrator: Knows what was brought in.
        seconds: After its integration, in which something is taken out.
        why_out: Why what came of the item of a digest must go whenever it came, ``""`` if it need not; asked in a
            worker thread.

    Attributes:
        not_serving: Plugins that were brought in and do not serve, each with the reason.
    """

    def __init__(
        self,
        ctx: PluginContext,
        incorporator: Incorporator,
        integrator: CoreIntegrator,
        *,
        seconds: float,
        why_out: Callable[[str], str],
    ) -> None:
        self._ctx = ctx
        self._incorporator = incorporator
        self._integrator = integrator
        self._seconds = seconds
        self._why_out = why_out
        self.not_serving: dict[str, str] = {}
        self._once = Once(ctx.log)

    async def take_out_held(self) -> tuple[str, ...]:
        """Take out what must go whatever it does, the latest first, and return the names of what is out."""
        registered = self._integrator.registered
        why = {name: await self._ctx.run_sync(self._why_out, one.digest) for name, one in registered.items()}
        out: list[str] = []
        for integration in reversed(list(self._integrator.integrations())):
            names = [name for name, one in registered.items() if one.token == integration.token and why[name]]
            reason = "; ".join(f"{name} {why[name]}" for name in names)
            if names and await self._taken_out(integration.token, reason):
                out += names
        return tuple(out)

    async def look(self) -> None:
        """See which of the plugins that were brought in serve, and take out what does not and came in lately."""
        await self.take_out_held()
        self.not_serving = await self._found()
        now = self._ctx.clock.time()
        begun = {one.token: one.begun.at for one in self._integrator.integrations()}
        self._once.keep({one.token for one in self._integrator.registered.values()})
        for name, reason in list(self.not_serving.items()):
            token = self._integrator.token_of(name)
            if token and now - begun.get(token, -math.inf) < self._seconds:
                await self._taken_out(token, f"{name} does not serve: {reason}")

    async def _taken_out(self, token: str, reason: str) -> bool:
        try:
            taken = await self._incorporator.take_out(token, reason=reason, automatic=True)
        except AetherraError as exc:
            code = exc.code if isinstance(exc, NotPermittedError) else type(exc).__name__
            self._once.say(token, code, "%s, and it is not taken out: %s", reason, exc)
            return False
        self.forget(taken.names)
        return True

    async def _found(self) -> dict[str, str]:
        plugins = {info.name: info for info in (await self._ctx.call(ListPlugins())).plugins}
        found: dict[str, str] = {}
        for name, registered in self._integrator.registered.items():
            if registered.action != "load_plugin":
                continue
            info = plugins.get(name)
            if info is None:
                found[name] = "it was not brought up"
            elif info.state in ("failed", "quarantined"):
                found[name] = info.reason or info.state
        for name in await self._integrator.strayed():
            found[name] = "earlier code of it was brought back"
        return found

    def forget(self, names: Iterable[str]) -> None:
        """Tell no more of what was taken out."""
        for name in names:
            self.not_serving.pop(name, None)
