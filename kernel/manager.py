"""The plugin manager: brings plugins up and down, and has one generation of each serve."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio

from aetherra.kernel.configured import configured_plugins
from aetherra.kernel.entry import Code, Entry, PluginInfo
from aetherra.kernel.errors import Phase, PluginDefinitionError, PluginLoadError, PluginNotFoundError
from aetherra.kernel.generation import Generation
from aetherra.kernel.host import Host
from aetherra.kernel.loader import Loader
from aetherra.kernel.needs import wait_for_needs
from aetherra.kernel.outcomes import Outcomes
from aetherra.kernel.permission import ANYBODY, GOVERNOR
from aetherra.kernel.plugin import Settings
from aetherra.kernel.retired import RetiredGenerations
from aetherra.kernel.sources import Loaded, Source
from aetherra.kernel.spec import PluginSpec
from aetherra.registry import (
    AetherraError,
    Identity,
    ServiceFailedError,
    ServiceStartingError,
    ServiceStatus,
    ServiceStoppingError,
    ServiceUnavailableError,
)
from aetherra.registry.errors import is_signal

log = logging.getLogger("aetherra.kernel.manager")


class PluginManager:
    """Brings plugins up and down. One that fails harms no other and stays listed with the reason."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._entries: dict[str, Entry] = {}
        self._stopping = False
        self._ending: dict[Generation, anyio.Event] = {}
        self.outcomes = Outcomes()
        self.retired = RetiredGenerations(host.clock)
        self.loader = Loader(host.clock, host.config.kernel.import_timeout, self.retired, self.outcomes)

    # The configured plugins

    async def start_all(self) -> None:
        """Bring up what the configuration names and what is installed, each after what it requires and no other.

        Never raises for a plugin's sake: one that cannot be brought up is ``failed``, with the reason.
        """
        self._host.group.start_soon(self.retired.run)
        entries = [self._declare(name, source) for name, source in configured_plugins(self._host.config).items()]
        for entry in entries:
            if entry.is_nowhere:  # before any plugin that might bring it
                await self._bring_up_contained(entry)
        async with anyio.create_task_group() as group:
            for entry in entries:
                if not entry.is_nowhere:
                    group.start_soon(self._bring_up_contained, entry)

    async def _bring_up_contained(self, entry: Entry) -> None:
        try:
            await self._bring_up(entry)
        except PluginLoadError as exc:
            self.fail(entry, exc)

    def fail(self, entry: Entry, error: PluginLoadError) -> None:
        """Record that nothing serves for a plugin, and why; tell its callers, the log, and who asks for its service."""
        entry.fail(str(error))
        self.say_absent(entry, ServiceFailedError)
        self._announce_failure(entry, error)

    def say_absent(self, entry: Entry, error: type[ServiceUnavailableError] | None) -> None:
        """Have callers of a plugin's tags told what it does instead of serving; with ``None``, that nobody answers."""
        provider = str(Identity("plugin", entry.name, entry.last_number))
        unread = ANYBODY if entry.name == GOVERNOR else ()
        absence = None if error is None else partial(error, provider=provider, reason=entry.reason)
        self._host.bus.say_absent(entry.spec.tags if entry.spec is not None else unread, absence)

    def _announce_failure(self, entry: Entry, error: PluginLoadError) -> None:
        """Log it, with the traceback where the text does not say it all, and show it as the service's status."""
        cause = error.__cause__
        expected = isinstance(cause, (AetherraError, FileNotFoundError))
        log.error("%s", error, exc_info=None if expected else cause)
        service = entry.spec.service if entry.spec is not None else entry.name
        if self._host.registry.get_service_info(service) is None:
            provider = Identity("plugin", entry.name, entry.last_number)
            entry.lease = self._host.registry.register(service, provider=provider, status=ServiceStatus.FAILED)
            entry.lease.set_status(ServiceStatus.FAILED, str(error))

    # One plugin

    async def add(self, source: Source, name: str, settings: Mapping[str, Any] | Settings | None = None) -> PluginInfo:
        """Bring up one more plugin.

        Args:
            source: Its code.
            name: What it is to be called; the class must agree.
            settings: Its settings, in place of the configuration's.

        Raises:
            PluginLoadError: It could not be brought up, or the name is taken; ``__cause__`` is what it raised.
        """
        held = self._entries.get(name)
        entry = self._declare(name, source)
        entry.settings = settings
        try:
            await self._bring_up(entry)
        except BaseException as exc:
            entry.fail(str(exc))
            self.say_absent(entry, None)
            if self._entries.get(name) is entry:
                del self._entries[name]
                if held is not None and held.state == "failed":
                    self._entries[name] = held
            raise
        return entry.info()

    def _declare(self, name: str, source: Source) -> Entry:
        held = self._entries.get(name)
        if held is not None and held.state not in ("failed", "stopped"):
            raise PluginLoadError(name, "finding", f"the name is taken by {held.source}; {source} is left out")
        entry = Entry(name, source)
        if held is not None:
            entry.last_number, entry.lease = held.last_number, held.lease
        self._entries[name] = entry
        self.say_absent(entry, ServiceStartingError)
        return entry

    async def _bring_up(self, entry: Entry) -> None:
        entry.loaded = await self.loader.load(entry)
        entry.spec = self.loader.read(entry, entry.loaded).spec
        self.say_absent(entry, ServiceStartingError)
        entry.read.set()
        await wait_for_needs(entry, self._entries)
        code = Code(entry.loaded, entry.spec)
        generation = await self.make_generation(entry, code.spec)
        try:
            self.promote(entry, code, generation)
        except BaseException as exc:
            with anyio.CancelScope(shield=True):
                await generation.stop()
            if is_signal(exc):
                raise
            raise self.outcomes.failure(entry.name, "starting", exc) from exc

    async def make_generation(self, entry: Entry, spec: PluginSpec) -> Generation:
        """Configure a plugin class and start it apart: nothing is routed to it yet.

        An exclusive one waits until no earlier generation of it is being stopped.

        Raises:
            PluginLoadError: Its settings do not fit, or its ``__init__`` or ``start()`` raised or hung.
        """
        if spec.plugin_type.exclusive:
            await self.wait_ended(entry.name)
        phase: Phase = "configuring"
        identity = Identity("plugin", entry.name, entry.next_number())
        try:
            with self.retired.starting(identity) as life:
                plugin = spec.plugin_type(entry.settings_for(spec.settings_type, self._host.config))
                life.made(plugin)
                grants = frozenset(self._host.config.section(entry.name).grants)
                if entry.source.trusted:
                    grants |= frozenset((*spec.plugin_type.privileges, *spec.capabilities))
                self._host.bus.capabilities.grant(identity, grants)
                generation = Generation(self._host, plugin, spec, identity, grants)
                generation.on_end = life.end
                phase = "starting"
                await generation.start()
        except BaseException as exc:
            if is_signal(exc):
                raise
            raise self.outcomes.failure(entry.name, phase, exc) from exc
        return generation

    def promote(self, entry: Entry, code: Code, generation: Generation) -> Generation | None:
        """Let a generation take over, in one step without a wait, and return the one to stop.

        Raises:
            RouteConflictError: Another plugin answers one of its tags.
            ServiceConflictError: Another plugin provides its service.
            PluginDefinitionError: The host is stopping, or the plugin is. In all cases nothing has changed.
        """
        if self._stopping or entry.state == "stopped":
            raise PluginDefinitionError(f"the {'host' if self._stopping else 'plugin'} is being stopped")
        old = entry.generation
        generation.serve(replaces=old, placeholder=entry.lease)
        entry.spec, entry.loaded = code.spec, code.loaded
        entry.generation, entry.state, entry.reason = generation, "serving", ""
        entry.lease = None
        entry.settled.set()
        self.outcomes.loads += 1
        return old

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncGenerator[Entry]:
        """Be the only one who changes what serves for a plugin; others wait for their turn.

        Raises:
            PluginNotFoundError: There is none of that name, or none any more when it is our turn.
        """
        while True:
            entry = self.entry(name)
            async with entry.turn:
                if self._entries.get(name) is entry:
                    yield entry
                    return

    def retire(self, generation: Generation, unused: Loaded | None = None) -> anyio.Event:
        """Have a generation that serves no more stopped in a task of the host's; its end sets the event.

        Args:
            generation: Whoever calls this may be inside one of its calls.
            unused: Code to forget then.
        """
        ended = self._ending[generation] = anyio.Event()
        self._host.group.start_soon(self._retire, generation, unused)
        return ended

    async def _retire(self, generation: Generation, unused: Loaded | None) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await generation.stop()
        finally:
            if unused is not None:
                unused.unload()
            self._ending.pop(generation).set()

    async def wait_ended(self, name: str) -> None:
        """Return when no generation of a plugin is being stopped, which its ``stop_timeout`` bounds."""
        for generation, ended in list(self._ending.items()):
            if generation.identity.name == name:
                await ended.wait()

    async def remove(self, name: str) -> None:
        """Stop a plugin and forget it; plugins that require it are stopped first.

        It waits for no swap or restart that is under way, which then fails.

        Raises:
            PluginNotFoundError: There is none of that name.
        """
        entry = self.entry(name)
        await entry.settled.wait()
        for other in list(self._entries.values()):
            if name in other.needs and other.state == "serving":
                await self.remove(other.name)
        with anyio.CancelScope(shield=True):
            await self._end(entry, self._put_down(entry))
        if self._entries.get(name) is entry:
            del self._entries[name]

    def _put_down(self, entry: Entry) -> Generation | None:
        """Have nothing serve for a plugin from now on, and return the generation to stop."""
        if entry.state == "quarantined":
            self.say_absent(entry, ServiceStoppingError)
        entry.state = "stopped"
        if entry.lease is not None:
            entry.lease.release()
        generation, entry.generation = entry.generation, None
        return generation

    async def _end(self, entry: Entry, generation: Generation | None) -> None:
        try:
            if generation is not None:
                await generation.stop()
            await self.wait_ended(entry.name)
        finally:
            entry.unload()

    async def stop_all(self, timeout: float) -> None:
        """Stop all plugins, each before what it requires. Never raises; each is bounded by its ``stop_timeout``.

        Those that are not stopped after ``timeout`` seconds are left as they are, named with where they wait.
        """
        self._stopping = True
        entries = [entry for entry in self.entries() if entry.generation is not None or entry.state == "quarantined"]
        generations = {entry.name: entry.generation for entry in entries}
        stopped = {entry.name: anyio.Event() for entry in entries}

        async def stop(entry: Entry) -> None:
            for user in entries:
                if entry.name in user.needs:
                    await stopped[user.name].wait()
            await self._end(entry, self._put_down(entry))
            stopped[entry.name].set()

        async with anyio.create_task_group() as group:
            for entry in entries:
                group.start_soon(stop, entry)
            with self._host.clock.move_on_after(timeout):
                for event in [*stopped.values(), *self._ending.values()]:
                    await event.wait()
                return
            late = [generations[name] for name, event in stopped.items() if not event.is_set()]
            for generation in dict.fromkeys([*late, *self._ending]):
                if generation is not None:
                    log.error("%s was not stopped in time; it waits at\n%s", generation, generation.stack())
            group.cancel_scope.cancel()

    # Insight

    def entry(self, name: str) -> Entry:
        """Return a plugin.

        Raises:
            PluginNotFoundError: There is none of that name.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise PluginNotFoundError(name, sorted(self._entries)) from None

    def entries(self) -> list[Entry]:
        """Return all plugins, by name."""
        return [self._entries[name] for name in sorted(self._entries)]

    def plugins(self) -> list[PluginInfo]:
        """Return a snapshot of each plugin, by name."""
        return [entry.info() for entry in self.entries()]
