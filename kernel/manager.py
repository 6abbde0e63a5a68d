"""The plugin manager: which plugins there are, in what order they start and stop, and who serves for each."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import anyio
import msgspec

from aetherra.kernel.config import LATER, PluginConfig, convert
from aetherra.kernel.errors import Phase, PluginDefinitionError, PluginLoadError, PluginNotFoundError
from aetherra.kernel.generation import Generation
from aetherra.kernel.host import Host
from aetherra.kernel.permission import ANYBODY, GOVERNOR
from aetherra.kernel.plugin import Settings
from aetherra.kernel.retired import RetiredGenerations
from aetherra.kernel.sources import FileSource, Loaded, Source, installed_plugins
from aetherra.kernel.spec import PluginSpec
from aetherra.kernel.threads import Errand, short_turns
from aetherra.registry import (
    AetherraError,
    Identity,
    Lease,
    ServiceFailedError,
    ServiceStartingError,
    ServiceStatus,
    ServiceStoppingError,
    ServiceUnavailableError,
)
from aetherra.registry.errors import is_signal

log = logging.getLogger("aetherra.kernel.manager")
IMPORT_PATIENCE = 0.1
"""Seconds that an import waits for the one before it; real ones, as the machine takes them."""
PluginState = Literal["loading", "serving", "failed", "quarantined", "stopped"]


class PluginInfo(msgspec.Struct, frozen=True):
    """A snapshot of one plugin.

    Attributes:
        name: Its name.
        state: ``loading``, ``serving``, ``failed``, ``quarantined`` or ``stopped``.
        generation: The one that serves, or was tried last; 0 before the first.
        source: Where its code comes from.
        version: The plugin's own.
        service: What its service is registered as.
        tags: The requests it answers.
        requires: The plugins it needs.
        faults: Faults of its tasks, events and repeated methods in this generation.
        reason: Why it failed, or is quarantined.
    """

    name: str
    state: PluginState
    generation: int
    source: str
    version: str
    service: str
    tags: tuple[str, ...]
    requires: tuple[str, ...]
    faults: int
    reason: str


class LifecycleStatistics(msgspec.Struct, frozen=True):
    """What became of plugins since the start.

    Attributes:
        loads: Generations that came to serve, however they did.
        load_failures: Attempts that brought none up; what served before may serve on.
        restarts: How often one was replaced by the same code, brought up afresh.
        disabled: How often one was quarantined.
    """

    loads: int = 0
    load_failures: int = 0
    restarts: int = 0
    disabled: int = 0


class Code(msgspec.Struct, frozen=True):
    """Loaded code, and what it declares."""

    loaded: Loaded
    spec: PluginSpec


class Entry:
    """A plugin over time: its source, and the generation that serves; ``turn`` is held by who changes that."""

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self.source = source
        self.state: PluginState = "loading"
        self.reason = ""
        self.last_number = 0
        self.spec: PluginSpec | None = None
        self.generation: Generation | None = None
        self.loaded: Loaded | None = None
        self.settings: Mapping[str, Any] | Settings | None = None
        self.lease: Lease | None = None
        self.read = anyio.Event()
        self.settled = anyio.Event()
        self.turn = anyio.Lock()

    @property
    def is_nowhere(self) -> bool:
        """Whether the configuration names it, and nobody has code for it."""
        return isinstance(self.source, _Missing)

    def next_number(self) -> int:
        """Count the generation up; a number is never used twice."""
        self.last_number += 1
        return self.last_number

    def fail(self, reason: str) -> None:
        """Record that nothing serves, and why; nobody need wait for it."""
        self.state, self.reason = "failed", reason
        self.generation = None
        self.unload()
        self.read.set()
        self.settled.set()

    def unload(self) -> None:
        """Forget its modules."""
        if self.loaded is not None:
            self.loaded.unload()
            self.loaded = None

    def code(self) -> Code | None:
        """Return the code that serves, ``None`` if none does."""
        if self.generation is None or self.loaded is None or self.spec is None:
            return None
        return Code(self.loaded, self.spec)

    def info(self) -> PluginInfo:
        """Return a snapshot."""
        spec = self.spec
        return PluginInfo(
            name=self.name,
            state=self.state,
            generation=self.last_number if self.generation is None else self.generation.identity.generation,
            source=str(self.source),
            version=spec.plugin_type.version if spec is not None else "",
            service=spec.service if spec is not None else "",
            tags=spec.tags if spec is not None else (),
            requires=spec.needs if spec is not None else (),
            faults=self.generation.faults if self.generation is not None else 0,
            reason=self.reason,
        )


class PluginManager:
    """Brings plugins up and down. One that fails harms no other and stays listed with the reason."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._entries: dict[str, Entry] = {}
        self._stopping = False
        self._importing = anyio.Event()
        self._importing.set()
        self._ending: dict[Generation, anyio.Event] = {}
        self.loads = self.load_failures = self.restarts = self.disabled = 0
        self.retired = RetiredGenerations(host.clock)

    # The configured plugins

    async def start_all(self) -> None:
        """Bring up what the configuration names and what is installed, each after what it requires and no other.

        Never raises for a plugin's sake: one that cannot be brought up is ``failed``, with the reason.
        """
        self._host.group.start_soon(self.retired.run)
        entries = [self._declare(name, source) for name, source in self._configured().items()]
        for entry in entries:
            if entry.is_nowhere:  # before any plugin that might bring it
                await self._bring_up_contained(entry)
        async with anyio.create_task_group() as group:
            for entry in entries:
                if not entry.is_nowhere:
                    group.start_soon(self._bring_up_contained, entry)

    def _configured(self) -> dict[str, Source]:
        config = self._host.config
        sources: dict[str, Source] = {}
        found_plugins = installed_plugins() if config.kernel.discover else ()
        for found in sorted(found_plugins, key=lambda source: not source.trusted):  # ours have their names
            if not self._of(found.name).enabled or self._of(found.name).source is not None:
                continue
            first = sources.setdefault(found.name, found)
            if first is not found:
                log.error("two installed plugins are named %r: %s is taken, %s is left out", found.name, first, found)
        for name, plugin in config.plugins.items():
            location = config.plugin_source(name)
            if plugin.enabled and location is not None:
                sources[name] = FileSource(name, location)
            elif plugin.enabled and name not in sources and plugin.source != LATER:
                sources[name] = _Missing(name)
        return sources

    def _of(self, name: str) -> PluginConfig:
        return self._host.config.plugins.get(name, PluginConfig())

    def is_enabled(self, name: str) -> bool:
        """Whether the configuration lets a plugin of this name be brought up."""
        return self._of(name).enabled

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
        entry.loaded = await self.load_code(entry, entry.source)
        entry.spec = self.read_spec(entry, entry.loaded)
        self.say_absent(entry, ServiceStartingError)
        entry.read.set()
        await self._wait_for_needs(entry, entry.spec)
        code = Code(entry.loaded, entry.spec)
        generation = await self.make_generation(entry, code.spec)
        try:
            self.promote(entry, code, generation)
        except BaseException as exc:
            with anyio.CancelScope(shield=True):
                await generation.stop()
            if is_signal(exc):
                raise
            raise self._failure(entry, "starting", exc) from exc

    def _failure(self, entry: Entry, phase: Phase, fault: BaseException, where: str = "") -> PluginLoadError:
        """Count an attempt that brought nothing up, and return the error that says why."""
        self.load_failures += 1
        return PluginLoadError(entry.name, phase, _describe(fault) + where)

    async def load_code(self, entry: Entry, source: Source) -> Loaded:
        """Load a plugin's code as its next generation, in a thread of its own; the plugin that serves is not touched.

        Raises:
            PluginLoadError: The code raised, ``SystemExit`` included, or took longer than ``import_timeout``; says
                where it was. What such code still brings is thrown away.
        """
        with self.retired.loading(entry.name):
            at_hand = source.at_hand()
            return at_hand or await self._run_code(entry, source, partial(source.load, entry.last_number + 1))

    async def load_again(self, entry: Entry) -> Code:
        """Bring the code of a plugin up afresh, from memory; from its source, if it has failed.

        Raises:
            PluginLoadError: As ``load_code`` and ``read_spec``.
        """
        old = entry.loaded
        if old is None:
            loaded = await self.load_code(entry, entry.source)
        elif old.code is None:
            loaded = old
        else:
            with self.retired.loading(entry.name):
                again = partial(entry.source.again, old, entry.last_number + 1)
                loaded = await self._run_code(entry, entry.source, again)
        try:
            return Code(loaded, self.read_spec(entry, loaded))
        except PluginLoadError:
            if loaded is not old:
                loaded.unload()
            raise

    async def _run_code(self, entry: Entry, source: Source, load: Callable[[], Loaded]) -> Loaded:
        limit = self._host.config.kernel.import_timeout
        errand = Errand(partial(_untangled, load), name=f"aetherra import {entry.name}", unwanted=Loaded.unload)
        async with self._import_turn():
            with short_turns(), self._host.clock.move_on_after(limit) as scope:
                await errand.wait()
        if scope.cancelled_caught:
            overran = TimeoutError(f"its code from {source} still ran after {limit:g} s, at\n{errand.stack()}")
            raise self._failure(entry, "importing", overran)
        try:
            return errand.result()
        except BaseException as exc:  # whatever its code raised in the thread is no signal to us
            where = "" if isinstance(exc, SyntaxError) else f" (from {source})"
            raise self._failure(entry, "importing", exc, where) from exc

    @asynccontextmanager
    async def _import_turn(self) -> AsyncGenerator[None]:
        """One import after the other, as two that need each other's modules can deadlock; a slow one is overtaken."""
        before, mine = self._importing, anyio.Event()
        self._importing = mine
        try:
            with anyio.move_on_after(IMPORT_PATIENCE):
                await before.wait()
            yield
        finally:
            mine.set()

    def read_spec(self, entry: Entry, loaded: Loaded) -> PluginSpec:
        """Read what a plugin class declares.

        Raises:
            PluginLoadError: It cannot be used as it is.
        """
        try:
            spec = PluginSpec.of(loaded.plugin_type)
            if spec.name != entry.name:
                raise PluginDefinitionError(
                    f"it is configured as {entry.name!r} and calls itself {spec.name!r}; use one name"
                )
        except BaseException as exc:
            if is_signal(exc):
                raise
            raise self._failure(entry, "configuring", exc) from exc
        return spec

    async def _wait_for_needs(self, entry: Entry, spec: PluginSpec) -> None:
        """Wait until what a plugin requires serves, and for nothing else."""
        circle = await self._circle(entry.name)
        if circle:
            problem = f"its requirements go in a circle: {' -> '.join(circle)}"
            raise PluginLoadError(entry.name, "finding", "it requires itself" if len(circle) == 2 else problem)
        for need in spec.needs:
            needed = self._entries.get(need)
            if needed is None:
                raise PluginLoadError(entry.name, "starting", f"it requires plugin {need!r}, which is not there")
            await needed.settled.wait()
            if needed.state != "serving":
                raise PluginLoadError(entry.name, "starting", f"it requires plugin {need!r}, which is {needed.state}")

    async def _circle(self, name: str) -> list[str]:
        """Return the names from ``name`` over its requirements back to itself, or nothing if there is no such way."""
        came_from: dict[str, str] = {}
        ahead = [name]
        while ahead:
            current = ahead.pop(0)
            entry = self._entries.get(current)
            if entry is None:
                continue
            await entry.read.wait()
            for need in entry.spec.needs if entry.spec is not None else ():
                if need == name:
                    way = [current]
                    while way[0] != name:
                        way.insert(0, came_from[way[0]])
                    return [*way, name]
                if need not in came_from:
                    came_from[need] = current
                    ahead.append(need)
        return []

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
                plugin = spec.plugin_type(self._settings(entry, spec))
                life.made(plugin)
                grants = frozenset(self._of(entry.name).grants)
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
            raise self._failure(entry, phase, exc) from exc
        return generation

    def _settings(self, entry: Entry, spec: PluginSpec) -> Settings:
        if entry.settings is None:
            return self._host.config.plugin_settings(entry.name, spec.settings_type)
        return convert_settings(entry.name, entry.settings, spec.settings_type)

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
        self.loads += 1
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
            if other.spec is not None and name in other.spec.needs and other.state == "serving":
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
                if user.spec is not None and entry.name in user.spec.needs:
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

    def statistics(self) -> LifecycleStatistics:
        """Return a snapshot of what became of plugins."""
        return LifecycleStatistics(self.loads, self.load_failures, self.restarts, self.disabled)

    def plugins(self) -> list[PluginInfo]:
        """Return a snapshot of each plugin, by name."""
        return [entry.info() for entry in self.entries()]


class _Missing:
    """The source of a plugin that is configured and nowhere to be found."""

    trusted = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return "nowhere"

    def again(self, loaded: Loaded, generation: int) -> Loaded:
        del generation
        return loaded

    def load(self, generation: int) -> Loaded:
        del generation
        raise PluginDefinitionError(
            f"no installed package offers a plugin {self.name!r}; install one, or name a file with "
            f'"{self.name}": {{"source": "path/to/{self.name}.py"}}'
        )

    def at_hand(self) -> None:
        return None

    def watched(self) -> None:
        return None


def convert_settings(name: str, settings: Mapping[str, Any] | Settings, wanted: type[Settings]) -> Settings:
    """Check settings that the host gave in code; those of an older generation's class are read anew."""
    if isinstance(settings, wanted):
        return settings
    given = msgspec.to_builtins(settings) if isinstance(settings, Settings) else settings
    checked: Settings = convert(given, wanted, f"settings of plugin {name!r}")
    return checked


def _untangled(load: Callable[[], Loaded]) -> Loaded:
    """Load code; once more, if it and what another thread imports wait for each other: that one goes on by then.

    The import system tells so by an error that has no public name (importlib._bootstrap, ``_DeadlockError``).
    """
    try:
        return load()
    except RuntimeError as exc:
        if type(exc).__name__ != "_DeadlockError":
            raise
    return load()


def _describe(fault: BaseException) -> str:
    if isinstance(fault, SyntaxError):
        line = f", line {fault.lineno}" if fault.lineno else ""
        return f"{fault.msg} ({fault.filename}{line}){_pointed_at(fault)}"
    text = str(fault)
    if isinstance(fault, (AetherraError, TimeoutError, FileNotFoundError)) and text:
        return text
    said = f"it called sys.exit({text})" if isinstance(fault, SystemExit) else repr(fault)
    frames = traceback.extract_tb(fault.__traceback__)
    return f"{said} at {frames[-1].filename}, line {frames[-1].lineno}" if frames else said


def _pointed_at(error: SyntaxError) -> str:
    """Return the faulty line with a mark below where the fault is, on lines of their own; ``""`` if it is not known."""
    text = (error.text or "").rstrip()
    if not text or not error.offset:
        return ""
    indent = len(text) - len(text.lstrip())
    return f"\n    {text.lstrip()}\n    {' ' * max(0, error.offset - 1 - indent)}^"
