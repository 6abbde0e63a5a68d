"""What the kernel lends to the generations of its plugins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pluggy
from anyio.abc import TaskGroup

from aetherra.kernel.actions import ActionQueue
from aetherra.kernel.config import Config
from aetherra.kernel.errors import PluginDefinitionError
from aetherra.kernel.hookspecs import PROJECT, Hooks
from aetherra.registry import Clock, ServiceRegistry
from aetherra.registry.errors import is_signal

log = logging.getLogger("aetherra.kernel.hooks")


class HookCaller:
    """pluggy's registrations, called one by one, so that an implementation that raises stops no other."""

    def __init__(self) -> None:
        self._pm = pluggy.PluginManager(PROJECT)
        self._pm.add_hookspecs(Hooks)

    def register(self, plugin: object, name: str) -> None:
        """Let a plugin's hook implementations be called.

        Raises:
            PluginDefinitionError: One is a wrapper or a coroutine, or its arguments are not the hook's.
        """
        try:
            self._pm.register(plugin, name)
        except (pluggy.PluginValidationError, ValueError) as exc:
            if self._pm.is_registered(plugin):
                self._pm.unregister(plugin)
            raise PluginDefinitionError(f"its hook implementations cannot be used: {exc}") from exc
        for hook in self._pm.get_hookcallers(plugin) or ():
            for implementation in hook.get_hookimpls():
                if implementation.plugin is plugin and (implementation.wrapper or implementation.hookwrapper):
                    self._pm.unregister(plugin)
                    raise PluginDefinitionError(f"hook implementation {hook.name!r} is a wrapper; expected a plain one")

    def check(self, plugin: object) -> None:
        """Raise what ``register`` would, and leave nothing registered."""
        self.register(plugin, f"candidate {id(plugin)}")
        self.unregister(plugin)

    def unregister(self, plugin: object) -> None:
        """Call a plugin's implementations no more; one that is not registered does no harm."""
        if self._pm.is_registered(plugin):
            self._pm.unregister(plugin)

    def call(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Call each implementation and yield its plugin's name and what it returned, unless that is ``None``."""
        for implementation in reversed(getattr(self._pm.hook, hook).get_hookimpls()):
            try:
                result = implementation.function(*(arguments[name] for name in implementation.argnames))
            except BaseException as exc:
                if is_signal(exc):
                    raise
                log.exception("plugin %r raised in hook %r, which goes on without it", implementation.plugin_name, hook)
                continue
            if result is not None:
                yield implementation.plugin_name, result


class Host:
    """The parts of a running kernel that generations and their contexts use."""

    def __init__(
        self,
        *,
        config: Config,
        registry: ServiceRegistry,
        actions: ActionQueue,
        hooks: HookCaller,
        group: TaskGroup,
        privileges: dict[str, Callable[[], object]],
    ) -> None:
        self.config = config
        self.registry = registry
        self.bus = registry.bus
        self.clock: Clock = registry.bus.clock
        self.actions = actions
        self.hooks = hooks
        self.group = group
        self.privileges = privileges
