"""The plugin manager: which plugins there are, in what order they start and stop, and who serves for each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import anyio
import msgspec

from aetherra.kernel.config import PluginConfig, convert
from aetherra.kernel.errors import ConfigError, Phase, PluginDefinitionError, PluginLoadError, PluginNotFoundError
from aetherra.kernel.generation import Generation
from aetherra.kernel.host import Host
from aetherra.kernel.plugin import Settings
from aetherra.kernel.sources import FileSource, Loaded, Source, installed_plugins
from aetherra.kernel.spec import PluginSpec
from aetherra.registry import Identity, Lease, ServiceStatus
from aetherra.registry.errors import is_signal

log = logging.getLogger("aetherra.kernel.manager")
PluginState = Literal["loading", "serving", "failed", "stopped"]


class PluginInfo(msgspec.Struct, frozen=True):
    """A snapshot of one plugin.

    Attributes:
        name: Its name.
        state: ``loading``, ``serving``, ``failed`` or ``stopped``.
        generation: The one that serves, or was tried last; 0 before the first.
        source: Where its code comes from.
        version: The plugin's own.
        service: What its service is registered as.
        tags: The requests it answers.
        requires: The plugins it needs.
        faults: Faults of its tasks, events and repeated methods in this generation.
        reason: Why it failed.
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


class Entry:
    """A plugin over time: its source, and the generation that serves."""

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
        self.settled = anyio.Event()

    def next_number(self) -> int:
        """Count the generation up; a number is never used twice."""
        self.last_number += 1
        return self.last_number

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
        self._started: list[str] = []

    # The configured plugins

    async def start_all(self) -> None:
        """Bring up what the configuration names and what is installed, each after what it requires.

        Never raises for a plugin's sake: one that cannot be brought up is ``failed``, with the reason.
        """
        entries = [self._declare(name, source) for name, source in self._configured().items()]
        async with anyio.create_task_group() as group:
            for entry in entries:
                group.start_soon(self._contained, entry, self._import)
        self._refuse_cycles(entries)
        async with anyio.create_task_group() as group:
            for entry in entries:
                group.start_soon(self._contained, entry, self._start_after_needs)

    def _configured(self) -> dict[str, Source]:
        config = self._host.config
        sources: dict[str, Source] = {}
        if config.kernel.discover:
            for found in installed_plugins():
                if found.name in sources:
                    log.error("two installed plugins are named %r: %s is left out", found.name, found)
                elif self._of(found.name).enabled and self._of(found.name).source is None:
                    sources[found.name] = found
        for name, plugin in config.plugins.items():
            location = config.plugin_source(name)
            if plugin.enabled and location is not None:
                sources[name] = FileSource(name, location)
            elif plugin.enabled and name not in sources:
                sources[name] = _Missing(name)
        return sources

    def _of(self, name: str) -> PluginConfig:
        return self._host.config.plugins.get(name, PluginConfig())

    async def _contained(self, entry: Entry, step: Callable[[Entry], Any]) -> None:
        if entry.state == "failed":
            return
        try:
            await step(entry)
        except PluginLoadError as exc:
            self._fail(entry, exc)

    def _fail(self, entry: Entry, error: PluginLoadError) -> None:
        entry.state, entry.reason = "failed", str(error)
        entry.settled.set()
        expected = isinstance(error.__cause__, (PluginDefinitionError, ConfigError, FileNotFoundError, PluginLoadError))
        log.error("%s", error, exc_info=None if expected or error.__cause__ is None else error.__cause__)
        service = entry.spec.service if entry.spec is not None else entry.name
        if self._host.registry.get_service_info(service) is None:
            provider = Identity("plugin", entry.name, entry.last_number)
            entry.lease = self._host.registry.register(service, provider=provider, status=ServiceStatus.FAILED)
            entry.lease.set_status(ServiceStatus.FAILED, str(error))

    def _refuse_cycles(self, entries: Iterable[Entry]) -> None:
        needs = {entry.name: entry.spec.needs for entry in entries if entry.spec is not None}
        for entry in entries:
            path = _cycle_through(entry.name, needs)
            if path and entry.state != "failed":
                problem = f"its requirements go in a circle: {' -> '.join(path)}"
                self._fail(entry, PluginLoadError(entry.name, "finding", problem))

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
        entry = self._declare(name, source)
        entry.settings = settings
        try:
            await self._import(entry)
            await self._start_after_needs(entry)
        except BaseException:
            del self._entries[name]
            raise
        return entry.info()

    def _declare(self, name: str, source: Source) -> Entry:
        held = self._entries.get(name)
        if held is not None and held.state not in ("failed", "stopped"):
            raise PluginLoadError(name, "finding", f"the name is taken by {held.source}; {source} is left out")
        if held is not None and held.lease is not None:
            held.lease.release()
        entry = Entry(name, source)
        entry.last_number = held.last_number if held is not None else 0
        self._entries[name] = entry
        return entry

    async def _import(self, entry: Entry) -> None:
        entry.loaded = await self.load_code(entry, entry.source)
        entry.spec = self.read_spec(entry, entry.loaded)

    async def load_code(self, entry: Entry, source: Source) -> Loaded:
        """Load a plugin's code as its next generation, in a worker thread; the plugin that serves is not touched.

        Raises:
            PluginLoadError: The code raised, ``SystemExit`` included, or took longer than ``import_timeout``.
        """
        number = entry.last_number + 1
        outcome: list[Loaded | BaseException] = []

        def load() -> None:
            try:
                outcome.append(source.load(number))
            except BaseException as exc:  # noqa: BLE001  # a plugin's import may raise anything, and must not end a thread
                outcome.append(exc)

        with self._host.clock.move_on_after(self._host.config.kernel.import_timeout) as scope:
            await anyio.to_thread.run_sync(load, abandon_on_cancel=True)
        if scope.cancelled_caught:
            limit = self._host.config.kernel.import_timeout
            raise PluginLoadError(entry.name, "importing", f"its code from {source} still ran after {limit:g} s")
        (result,) = outcome
        if isinstance(result, BaseException):
            raise PluginLoadError(entry.name, "importing", f"{_describe(result)} (from {source})") from result
        return result

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
            loaded.unload()
            raise PluginLoadError(entry.name, "configuring", _describe(exc)) from exc
        return spec

    async def make_generation(self, entry: Entry, spec: PluginSpec) -> Generation:
        """Configure a plugin class and start it apart: nothing is routed to it yet.

        Raises:
            PluginLoadError: Its settings do not fit, or its ``__init__`` or ``start()`` raised or hung.
        """
        phase: Phase = "configuring"
        try:
            plugin = spec.plugin_type(self._settings(entry, spec))
            grants = frozenset(self._of(entry.name).grants)
            if entry.source.trusted:
                grants |= frozenset(spec.plugin_type.privileges)
            identity = Identity("plugin", entry.name, entry.next_number())
            generation = Generation(self._host, plugin, spec, identity, grants)
            phase = "starting"
            await generation.start()
        except BaseException as exc:
            if is_signal(exc):
                raise
            raise PluginLoadError(entry.name, phase, _describe(exc)) from exc
        return generation

    def _settings(self, entry: Entry, spec: PluginSpec) -> Settings:
        if entry.settings is None:
            return self._host.config.plugin_settings(entry.name, spec.settings_type)
        return convert_settings(entry.name, entry.settings, spec.settings_type)

    async def _start_after_needs(self, entry: Entry) -> None:
        assert entry.spec is not None
        for need in entry.spec.needs:
            needed = self._entries.get(need)
            if needed is None or needed is entry:
                problem = (
                    "it requires itself" if needed is entry else f"it requires plugin {need!r}, which is not there"
                )
                raise PluginLoadError(entry.name, "starting", problem)
            await needed.settled.wait()
            if needed.state != "serving":
                raise PluginLoadError(entry.name, "starting", f"it requires plugin {need!r}, which is {needed.state}")
        generation = await self.make_generation(entry, entry.spec)
        try:
            generation.serve()
        except BaseException as exc:
            with anyio.CancelScope(shield=True):
                await generation.stop()
            if is_signal(exc):
                raise
            raise PluginLoadError(entry.name, "starting", str(exc)) from exc
        self.settle(entry, generation)
        self._started.append(entry.name)

    def settle(self, entry: Entry, generation: Generation) -> None:
        """Record that a generation serves from now on."""
        entry.generation, entry.state, entry.reason = generation, "serving", ""
        generation.set_status(ServiceStatus.HEALTHY)
        entry.settled.set()

    async def remove(self, name: str) -> None:
        """Stop a plugin and forget it; plugins that require it are stopped first.

        Raises:
            PluginNotFoundError: There is none of that name.
        """
        entry = self.entry(name)
        for other in list(self._entries.values()):
            if other.spec is not None and name in other.spec.needs and other.state == "serving":
                await self.remove(other.name)
        await self._stop(entry)
        self._entries.pop(name, None)

    async def _stop(self, entry: Entry) -> None:
        entry.state = "stopped"
        if entry.lease is not None:
            entry.lease.release()
        if entry.generation is not None:
            await entry.generation.stop()
            entry.generation = None
        if entry.loaded is not None:
            entry.loaded.unload()
        if entry.name in self._started:
            self._started.remove(entry.name)

    async def stop_all(self) -> None:
        """Stop all plugins, each before what it requires. Never raises; bounded by each one's ``stop_timeout``."""
        stopped: dict[str, anyio.Event] = {name: anyio.Event() for name in self._started}
        users = {
            name: [u for u in self._started if (spec := self._entries[u].spec) is not None and name in spec.needs]
            for name in self._started
        }

        async def stop(name: str) -> None:
            try:
                for user in users[name]:
                    await stopped[user].wait()
                await self._stop(self._entries[name])
            finally:
                stopped[name].set()

        async with anyio.create_task_group() as group:
            for name in reversed(list(self._started)):
                group.start_soon(stop, name)

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


class _Missing:
    """The source of a plugin that is configured and nowhere to be found."""

    trusted = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return "nowhere"

    def load(self, generation: int) -> Loaded:
        del generation
        raise PluginDefinitionError(
            f"no installed package offers a plugin {self.name!r}; install one, or name a file with "
            f'"{self.name}": {{"source": "path/to/{self.name}.py"}}'
        )

    def watched(self) -> None:
        return None


def convert_settings(name: str, settings: Mapping[str, Any] | Settings, wanted: type[Settings]) -> Settings:
    """Check settings that the host gave in code."""
    if isinstance(settings, wanted):
        return settings
    checked: Settings = convert(settings, wanted, f"settings of plugin {name!r}")
    return checked


def _cycle_through(name: str, needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the names from ``name`` back to itself, or nothing."""
    path: list[str] = []

    def walk(current: str, seen: set[str]) -> bool:
        path.append(current)
        for need in needs.get(current, ()):
            if need == name or (need not in seen and walk(need, seen | {need})):
                if need == name:
                    path.append(name)
                return True
        path.pop()
        return False

    return path if walk(name, {name}) else []


def _describe(fault: BaseException) -> str:
    if isinstance(fault, SyntaxError):
        return f"{fault.msg} ({fault.filename}, line {fault.lineno})"
    text = str(fault)
    if isinstance(fault, (PluginDefinitionError, ConfigError, TimeoutError, FileNotFoundError)) and text:
        return text
    return f"it called sys.exit({text})" if isinstance(fault, SystemExit) else repr(fault)
