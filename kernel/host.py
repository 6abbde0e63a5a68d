"""What the kernel lends to the generations of its plugins."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Container, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import pluggy
from anyio.abc import TaskGroup

from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.config import Config
from aetherra.kernel.corrections import Correction
from aetherra.kernel.errors import PluginDefinitionError
from aetherra.kernel.hookspecs import PROJECT, CycleStep, Hooks, MetricSample
from aetherra.kernel.knobs import Knob
from aetherra.kernel.votes import Vote
from aetherra.kernel.watching import HookObserver
from aetherra.registry import Bus, Clock, HealthReport, ServiceRegistry
from aetherra.registry.errors import is_signal

log = logging.getLogger("aetherra.kernel.hooks")


_RESULTS: dict[str, tuple[type, bool]] = {
    "collect_metrics": (MetricSample, True),
    "cycle_steps": (CycleStep, True),
    "dead_letter": (type(None), False),
    "health": (HealthReport, False),
    "before_call": (type(None), False),
    "after_call": (type(None), False),
    "event_published": (type(None), False),
    "act_refused": (type(None), False),
    "release_memory": (int, False),
    "correction_categories": (Correction, True),
    "knobs": (Knob, True),
    "classify_file": (Vote, False),
}
"""What an implementation of each hook returns, and whether it returns many of them."""


MOST_RESULTS = 1000
"""Results that one implementation may return; one that returns more has a fault, and would hold the event loop."""
WATCHING = ("before_call", "after_call", "event_published", "act_refused")
"""Hooks that see all messages; while no plugin implements one, the bus has nobody to tell."""


_known: WeakKeyDictionary[type, dict[str, str]] = WeakKeyDictionary()


class Implementation(NamedTuple):
    """What one plugin does for a hook.

    Attributes:
        plugin: Its name.
        version: Of the plugin.
        call: Takes the hook's arguments by name; raises what it raises, and `TypeError` for what is not the hook's to
            return.
    """

    plugin: str
    version: str
    call: Callable[..., Any]


class _Registrations(pluggy.PluginManager):
    """pluggy's, which need not look at what every object has."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """Return what a hook implementation was marked with, ``None`` if it is not one."""
        return None if name.startswith("__") else super().parse_hookimpl_opts(plugin, name)


class HookCaller:
    """pluggy's registrations, called one by one, so that an implementation that raises stops no other.

    Args:
        bus: Whose messages some hooks see.
    """

    def __init__(self, bus: Bus | None = None) -> None:
        self._bus = bus
        self._pm = _Registrations(PROJECT)
        self._pm.add_hookspecs(Hooks)
        self._listeners: dict[int, _Listener] = {}

    def register(self, plugin: object, name: str) -> None:
        """Let a plugin's hook implementations be called.

        Raises:
            PluginDefinitionError: One is a wrapper or a coroutine, is of no hook there is, or its arguments are not
                the hook's.
        """
        self.check(plugin)
        listener = _Listener(plugin)
        if listener.is_deaf:
            return
        self._pm.register(listener, name)
        self._listeners[id(plugin)] = listener
        self._watch()

    def check(self, plugin: object) -> None:
        """Raise what ``register`` would, and leave nothing registered."""
        for name, hook in _implementations(type(plugin)).items():
            known = getattr(self._pm.hook, hook).spec.argnames
            strange = [
                argument for argument in inspect.signature(getattr(plugin, name)).parameters if argument not in known
            ]
            if strange:
                raise PluginDefinitionError(
                    f"its hook implementation {name!r} takes {', '.join(map(repr, strange))}, which hook {hook!r} does "
                    f"not have; it has {', '.join(known) or 'no arguments'}"
                )

    def unregister(self, plugin: object) -> None:
        """Call a plugin's implementations no more; one that is not registered does no harm."""
        listener = self._listeners.pop(id(plugin), None)
        if listener is not None:
            self._pm.unregister(listener)
            self._watch()

    def _watch(self) -> None:
        """Have the bus tell a watcher if any plugin watches."""
        watched = any(hasattr(listener, hook) for listener in self._listeners.values() for hook in WATCHING)
        if self._bus is not None and watched != (self._bus.observer is not None):
            self._bus.observe(HookObserver(self.call) if watched else None)

    def call(
        self,
        hook: str,
        *,
        without: Container[str] = (),
        failed: Callable[[str, BaseException], object] | None = None,
        **arguments: Any,
    ) -> Iterator[tuple[str, Any]]:
        """Call each implementation and yield its plugin's name and what it returned, unless that is ``None``.

        One that raises, or returns what is not the hook's to return, is left out, and logged or told to ``failed``.

        Args:
            hook: Its name.
            without: Plugins that are not asked.
            failed: Told of a plugin's fault, in place of the log.
            **arguments: The hook's.
        """
        for implementation in reversed(getattr(self._pm.hook, hook).get_hookimpls()):
            if implementation.plugin_name in without:
                continue
            try:
                result = implementation.function(*(arguments[name] for name in implementation.argnames))
                if result is not None:
                    result = _checked(hook, result)
            except BaseException as exc:
                if is_signal(exc):
                    raise
                if failed is not None:
                    failed(implementation.plugin_name, exc)
                    continue
                log.exception("plugin %r failed in hook %r, which goes on without it", implementation.plugin_name, hook)
                continue
            if result is not None:
                yield implementation.plugin_name, result

    def implementations(self, hook: str) -> list[Implementation]:
        """Return who implements a hook now, for a caller that asks each of them many times."""
        return [
            Implementation(each.plugin_name, _version(each.function), partial(_ask, each, hook))
            for each in reversed(getattr(self._pm.hook, hook).get_hookimpls())
        ]

    def ask(self, plugin: object, hook: str, **arguments: Any) -> Any:
        """Return what one plugin's implementation does, registered or not; ``None`` if it has none.

        Raises:
            BaseException: What it raised.
            TypeError: It returned what is not the hook's to return.
        """
        for name, implemented in _implementations(type(plugin)).items():
            if implemented == hook:
                function = getattr(plugin, name)
                result = function(*(arguments[argument] for argument in inspect.signature(function).parameters))
                return None if result is None else _checked(hook, result)
        return None


class _Listener:
    """What pluggy sees of a plugin: its hook implementations, and nothing else that it is or does."""

    def __init__(self, plugin: object) -> None:
        for name in _implementations(type(plugin)):
            setattr(self, name, getattr(plugin, name))

    @property
    def is_deaf(self) -> bool:
        """Whether it has none."""
        return not vars(self)


def _implementations(plugin_type: type) -> dict[str, str]:
    """Return the names of the methods that implement hooks, with the hook of each.

    Raises:
        PluginDefinitionError: One cannot be one.
    """
    known = _known.get(plugin_type)
    if known is None:
        known = _known[plugin_type] = _look_for_implementations(plugin_type)
    return known


def _look_for_implementations(plugin_type: type) -> dict[str, str]:
    members: dict[str, Any] = {}
    for base in reversed(plugin_type.__mro__):
        members.update(vars(base))
    found: dict[str, str] = {}
    for name, member in members.items():
        function = getattr(member, "__func__", member)
        options = getattr(function, f"{PROJECT}_impl", None) if inspect.isroutine(function) else None
        if options is None:
            continue
        hook = options["specname"] or name
        if options["wrapper"] or options["hookwrapper"]:
            raise PluginDefinitionError(f"hook implementation {name!r} is a wrapper; expected a plain one")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise PluginDefinitionError(f"hook implementation {name!r} is async; expected a plain function")
        if hook not in _RESULTS:
            raise PluginDefinitionError(f"there is no hook {hook!r}; expected one of {', '.join(_RESULTS)}")
        found[name] = hook
    return found


def _ask(implementation: pluggy.HookImpl, hook: str, **arguments: Any) -> Any:
    result = implementation.function(*(arguments[name] for name in implementation.argnames))
    return None if result is None else _checked(hook, result)


def _version(method: object) -> str:
    """Return the version of the plugin that a method is bound to."""
    return str(getattr(getattr(method, "__self__", None), "version", ""))


def _checked(hook: str, result: Any) -> Any:
    """Draw a hook's result, which may be a generator, and check it, while its plugin is still known to be at fault."""
    wanted, many = _RESULTS[hook]
    results: tuple[Any, ...] = tuple(islice(result, MOST_RESULTS + 1)) if many else (result,)
    if len(results) > MOST_RESULTS:
        raise TypeError(f"expected {MOST_RESULTS} results at most, got more")
    for each in results:
        if not isinstance(each, wanted):
            raise TypeError(f"expected {wanted.__name__}, got {type(each).__name__}")
    return results if many else result


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
