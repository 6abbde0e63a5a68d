"""A service registration mismatch: somebody asks for a tag or a service that nobody has under this name."""

from __future__ import annotations

import difflib

from aetherra.plugins import Advise, Correction, LogFacts
from aetherra.plugins.homeostasis.corrector.facts import is_ours, shown, text_in
from aetherra.plugins.homeostasis.corrector.hosted import HostedPlugins, unmet
from aetherra.plugins.homeostasis.corrector.messages import HostedPlugin

ABSENT = (
    "NoHandlerError", "ServiceUnavailableError", "ServiceFailedError", "ServiceStoppingError", "ServiceStartingError",
    "ServiceQuarantinedError",
)  # fmt: skip


class ServiceRegistration(Correction):
    """Brings up the plugin that should answer: one that has failed, or whose service is gone though it serves.

    Where no plugin here offers the name, a person is told of the nearest one.
    """

    name = "service_registration"

    def __init__(self, plugins: HostedPlugins) -> None:
        self._plugins = plugins

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        """Return the tag or the service that was asked for."""
        if is_ours(facts, *ABSENT) and (tag := text_in(facts, "tag")):
            return {"tag": tag}
        if is_ours(facts, "ServiceNotFoundError") and (name := text_in(facts, "name")):
            return {"service": name}
        return None

    async def fix(self, subject: dict[str, str]) -> str:
        """Bring up who should answer."""
        plugins = await self._plugins.all()
        wanted = subject.get("tag") or subject["service"]
        owner = _owner(subject, plugins)
        if owner is None:
            raise Advise(self._nearest(subject, plugins))
        if owner.state == "loading":
            raise Advise(f"plugin {owner.name!r}, which has {wanted!r}, is still starting: ask again shortly")
        if owner.state not in ("failed", "serving"):
            raise Advise(
                f"plugin {owner.name!r}, which has {wanted!r}, is {owner.state} on purpose; if that is over, "
                f'aetherra call kernel.enable_plugin \'{{"plugin": "{owner.name}"}}\''
            )
        if owner.state == "failed" and (treated := self._plugins.treated(owner.name)):
            raise Advise(f"plugin {owner.name!r}, which has {wanted!r}, has failed and is left to {treated}")
        needs = unmet(owner, plugins)
        if needs:
            raise Advise(
                f"plugin {owner.name!r}, which has {wanted!r}, needs {', '.join(map(repr, needs))}, which "
                f"{'does' if len(needs) == 1 else 'do'} not serve; it is brought up once they do"
            )
        await self._plugins.bring_up(owner.name)
        return f"plugin {owner.name!r}, which has {wanted!r}, was brought up"

    async def check(self, subject: dict[str, str]) -> bool:
        """Whether the tag is answered, or the service is there."""
        if tag := subject.get("tag"):
            return self._plugins.answered(tag)
        return self._plugins.is_served(subject["service"])

    def _nearest(self, subject: dict[str, str], plugins: dict[str, HostedPlugin]) -> str:
        services = self._plugins.services()
        if tag := subject.get("tag"):
            offered = {each: service.plugin for service in services for each in service.tags}
            offered |= {each: plugin.name for plugin in plugins.values() for each in plugin.tags}
            found = difflib.get_close_matches(tag, offered, n=1)
            near = f"the nearest is {found[0]!r}, of {offered[found[0]]!r}" if found else "there is none like it"
            return f"no plugin here answers {shown(tag)}: {near}; correct the tag, or add the plugin that has it"
        named = {service.name: service.plugin for service in services}
        found = difflib.get_close_matches(subject["service"], named, n=1)
        near = f"the nearest is {found[0]!r}, of {named[found[0]]!r}" if found else "there is none like it"
        name = shown(subject["service"])
        return f"no plugin here provides service {name}: {near}; correct the name, or add the plugin"


def _owner(subject: dict[str, str], plugins: dict[str, HostedPlugin]) -> HostedPlugin | None:
    """Return the plugin that offers a tag or a service; of one whose code was never read, its name must do."""
    tag, service = subject.get("tag"), subject.get("service")
    for plugin in plugins.values():
        if (tag and tag in plugin.tags) or (service and service == plugin.service):
            return plugin
    unread = plugins.get(tag.partition(".")[0] if tag else str(service))
    return unread if unread is not None and unread.state == "failed" and not unread.service else None
