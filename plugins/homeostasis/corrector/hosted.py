"""The plugins of the host: how they are, and bringing one up that should serve and does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aetherra.plugins import Advise, AetherraError, Request, RestartPlugin, ServiceStatus
from aetherra.plugins.homeostasis.corrector.hands import Hands
from aetherra.plugins.homeostasis.corrector.messages import (
    HostedPlugin,
    ListHostedPlugins,
    ReloadPlugin,
)
from aetherra.plugins.homeostasis.corrector.port import Port, Service

DEAD = (ServiceStatus.FAILED, ServiceStatus.QUARANTINED)


def unmet(plugin: HostedPlugin, plugins: Mapping[str, HostedPlugin]) -> list[str]:
    """Return what a plugin requires and is not there, or does not serve."""
    return [need for need in plugin.requires if need not in plugins or plugins[need].state != "serving"]


class HostedPlugins:
    """What the host says of its plugins, asked anew each time.

    Args:
        port: The host.
        hands: Bring plugins up.
        report: Told why one did not come up, which may be the next trouble.
        treated: Says what else brings a failed plugin up, by name; ``""`` if nothing does.

    Attributes:
        treated: As it was given. Two that try the same within seconds would only fail twice.
    """

    def __init__(
        self,
        port: Port,
        hands: Hands,
        report: Callable[[BaseException], None],
        treated: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.treated = treated
        self._port = port
        self._hands = hands
        self._report = report

    async def all(self) -> dict[str, HostedPlugin]:
        """Return each plugin, by name."""
        return {plugin.name: plugin for plugin in (await self._port.call(ListHostedPlugins())).plugins}

    async def get(self, name: str) -> HostedPlugin | None:
        """Return a plugin, if there is one of that name."""
        return (await self.all()).get(name)

    def services(self) -> list[Service]:
        """Return each service."""
        return self._port.registry.list()

    def answered(self, tag: str) -> bool:
        """Whether a request is answered now."""
        return any(tag in service.tags and service.status not in DEAD for service in self.services())

    def is_served(self, service: str) -> bool:
        """Whether there is a service of that name that is not dead."""
        return any(each.name == service and each.status not in DEAD for each in self.services())

    async def serves(self, name: str) -> bool:
        """Whether a plugin serves, by its state and by its service's."""
        plugin = await self.get(name)
        return plugin is not None and plugin.state == "serving" and self.is_served(plugin.service)

    def way_up(self, plugin: HostedPlugin, *, anew: bool = False) -> Request[Any] | None:
        """Return the request that brings a plugin up; ``None`` if nobody here could.

        Args:
            plugin: Which.
            anew: Whether it must be by its code on disk; what serves is else restarted from memory.
        """
        if self.answered("hmr.reload"):
            return ReloadPlugin(plugin=plugin.name)
        return (
            None if anew and plugin.state == "serving" else RestartPlugin(plugin.name, "it should serve, and does not")
        )

    async def see_up(self, name: str) -> str:
        """Bring a plugin up that does not serve, and return that as an addition to what was done before.

        Raises:
            Advise: As by ``bring_up``.
            AetherraError: It did not come up.
        """
        if not name or await self.serves(name):
            return ""
        await self.bring_up(name)
        return f" and plugin {name!r} brought up"

    async def is_up(self, name: str) -> bool:
        """Whether a plugin serves; also if there is none of that name, or no name: then nothing is wrong with it."""
        return not name or await self.get(name) is None or await self.serves(name)

    async def bring_up(self, name: str, *, anew: bool = False) -> None:
        """Have a plugin serve; see ``way_up``.

        Raises:
            Advise: There is nobody here who could, or nothing may be changed.
            AetherraError: It did not come up.
        """
        plugin = await self.get(name)
        request = self.way_up(plugin, anew=anew) if plugin is not None else None
        if request is None:
            raise Advise(f"load plugin {name!r} anew by a restart of the host, or run the hmr plugin, which reloads it")
        try:
            await self._hands.act(request)
        except AetherraError as exc:
            self._report(exc)
            raise
