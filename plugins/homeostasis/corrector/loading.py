"""A plugin that could not be loaded: tried again once its file has changed, or what it needs is there."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from aetherra.plugins import Advise, Correction, LogFacts
from aetherra.plugins.homeostasis.corrector.facts import is_ours, shown, text_in
from aetherra.plugins.homeostasis.corrector.hosted import HostedPlugins, unmet
from aetherra.plugins.homeostasis.corrector.messages import HostedPlugin
from aetherra.plugins.homeostasis.corrector.moved_imports import files_of
from aetherra.plugins.homeostasis.corrector.port import Port
from aetherra.plugins.homeostasis.corrector.put_off import NotNow

Signature = tuple[tuple[str, int, int], ...]
"""Each file of a plugin, with when it was written and its size."""
FAILURE = "aetherra.kernel.errors.PluginLoadError"
MOST = 200
"""Failed plugins that are watched."""


class _Failed(msgspec.Struct):
    """A plugin that has failed: when, what its files were, and whether it lacked another or nobody heard why."""

    facts: LogFacts
    since: float
    files: Signature
    lacked: bool
    unheard: bool


class FailedPlugins:
    """Remembers how things stood when plugins failed, to tell whether another try has a chance."""

    def __init__(self, port: Port, plugins: HostedPlugins) -> None:
        self._port = port
        self._plugins = plugins
        self._failed: dict[str, _Failed] = {}

    def __len__(self) -> int:
        return len(self._failed)

    async def find(self) -> list[LogFacts]:
        """Remember and return the plugins that have failed before anybody listened: of these nobody knows why."""
        found: list[LogFacts] = []
        for name, plugin in (await self._plugins.all()).items():
            if plugin.state == "failed" and name not in self._failed:
                facts = LogFacts(self._port.log.name, "ERROR", "", FAILURE, {"plugin": name}, ts=time.time())
                await self.note(facts, unheard=True)
                found.append(facts)
        return found

    async def note(self, facts: LogFacts, *, unheard: bool = False) -> None:
        """Remember a plugin's failure."""
        name = text_in(facts, "plugin")
        plugin = (await self._plugins.all()).get(name)
        if plugin is None or plugin.state != "failed" or (name not in self._failed and len(self._failed) >= MOST):
            return
        known = self._failed.get(name)
        if known is not None and known.since >= facts.ts:  # it was told of before the last try
            return
        files = await self._port.run_sync(_signature, plugin)
        lacked = bool(unmet(plugin, await self._plugins.all()))
        self._failed[name] = _Failed(facts, facts.ts, files, lacked=lacked, unheard=unheard)

    async def chances(self) -> list[tuple[LogFacts, str]]:
        """Return the failed plugins for which something has changed, each with what; forget those that are up."""
        found: list[tuple[LogFacts, str]] = []
        plugins = await self._plugins.all() if self._failed else {}
        for name, failed in list(self._failed.items()):
            plugin = plugins.get(name)
            if plugin is None or plugin.state == "serving":
                del self._failed[name]
            elif chance := await self.chance(name):
                found.append((failed.facts, chance))
        return found

    async def chance(self, name: str) -> str:
        """Return what has changed for a failed plugin since it was tried last; ``""`` if nothing has."""
        failed, plugin = self._failed.get(name), await self._plugins.get(name)
        if failed is None or plugin is None or plugin.state != "failed":
            return ""
        if unmet(plugin, await self._plugins.all()):
            failed.lacked = True
            return ""
        if failed.lacked or self._came_since(plugin, failed.since):
            return "what it requires serves now"
        if failed.unheard:
            return "it had failed before the log was listened to"
        files = await self._port.run_sync(_signature, plugin)
        if files and (files != failed.files or any(written > failed.since * 1e9 for _, written, _ in files)):
            return f"its code was written since ({max(written for _, written, _ in files)})"
        return ""

    async def tried(self, name: str) -> Callable[[], None]:
        """Note that a plugin is tried now: what is so by now is no news later; return what takes that back."""
        failed, plugin = self._failed.get(name), await self._plugins.get(name)
        before = copy.copy(failed)
        if failed is not None and plugin is not None:
            failed.files = await self._port.run_sync(_signature, plugin)
            failed.lacked = failed.unheard = False
            failed.since = time.time()

        def put_back() -> None:
            if before is not None and self._failed.get(name) is failed:
                self._failed[name] = before

        return put_back

    def _came_since(self, plugin: HostedPlugin, moment: float) -> bool:
        return any(each.plugin in plugin.requires and each.since > moment for each in self._plugins.services())


def _signature(plugin: HostedPlugin) -> Signature:
    return tuple(each for path in files_of(plugin) if (each := _entry(path)) is not None)


def _entry(path: Path) -> tuple[str, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_size


class PluginLoadFailure(Correction):
    """Has a failed plugin tried again when there is a chance; one that would fail in the same way is let be."""

    name = "plugin_load_failure"

    def __init__(self, plugins: HostedPlugins, failed: FailedPlugins) -> None:
        self._plugins = plugins
        self._failed = failed

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        """Return the plugin."""
        plugin = text_in(facts, "plugin") if is_ours(facts, "PluginLoadError") else ""
        return {"plugin": plugin} if plugin else None

    async def fix(self, subject: dict[str, str]) -> str:
        """Have it tried again."""
        name = subject["plugin"]
        plugin = await self._plugins.get(name)
        if plugin is None:
            raise Advise(f"there is no plugin {shown(name)} here any more")
        if plugin.state != "failed":
            raise Advise(f"plugin {name!r} is {plugin.state}, and was not failed when it was looked at")
        if treated := self._plugins.treated(name):
            raise Advise(f"plugin {name!r} is left to {treated}; it says: {plugin.reason}")
        chance = await self._failed.chance(name)
        if not chance:
            lacks = unmet(plugin, await self._plugins.all())
            needs = f"{', '.join(map(repr, lacks))} to serve" if lacks else "its code to be mended"
            raise Advise(f"plugin {name!r} needs {needs}, and is tried again then; it says: {plugin.reason}")
        put_back = await self._failed.tried(name)
        try:
            await self._plugins.bring_up(name)
        except NotNow:
            put_back()
            raise
        return f"plugin {name!r} was brought up, as {chance}"

    async def check(self, subject: dict[str, str]) -> bool:
        """Whether it serves."""
        return await self._plugins.serves(subject["plugin"])
