"""An entry: one plugin over time, the code and the generation that serve for it, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import anyio
import msgspec

from aetherra.kernel.config import Config, convert
from aetherra.kernel.generation import Generation
from aetherra.kernel.plugin import Settings
from aetherra.kernel.sources import Loaded, MissingSource, Source
from aetherra.kernel.spec import PluginSpec
from aetherra.registry import Lease

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
        return isinstance(self.source, MissingSource)

    @property
    def needs(self) -> tuple[str, ...]:
        """The plugins that it requires, as far as its code was read."""
        return self.spec.needs if self.spec is not None else ()

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

    def settings_for(self, wanted: type[Settings], config: Config) -> Settings:
        """Return the settings that the host gave in code, checked, else the configuration's.

        Those of an older generation's class are read anew.

        Raises:
            ConfigError: A key or a value is wrong.
        """
        given = self.settings
        if given is None:
            return config.plugin_settings(self.name, wanted)
        if isinstance(given, wanted):
            return given
        fields = msgspec.to_builtins(given) if isinstance(given, Settings) else given
        checked: Settings = convert(fields, wanted, f"settings of plugin {self.name!r}")
        return checked

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
            requires=self.needs,
            faults=self.generation.standing.faults if self.generation is not None else 0,
            reason=self.reason,
        )
