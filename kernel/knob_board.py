"""The board: all knobs there are now, read and set one at a time, whatever becomes of their plugins meanwhile."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from difflib import get_close_matches
from typing import NamedTuple

import anyio

from aetherra.kernel.errors import KnobChangedError, KnobError, PluginNotFoundError, UnknownKnobError
from aetherra.kernel.generation import Generation
from aetherra.kernel.host import HookCaller
from aetherra.kernel.knobs import Knob, KnobInfo, KnobValue
from aetherra.kernel.manager import PluginManager
from aetherra.kernel.messages import KnobSet, KnobTurned, SetKnob
from aetherra.registry import Bus, Call
from aetherra.registry.errors import is_signal

log = logging.getLogger("aetherra.kernel.knobs")
OWNER = "kernel"
"""Whom the host's own knobs belong to."""
WRITE_TIMEOUT = 10.0
"""Seconds that a plugin has to write a knob, or what is left of the call if that is less."""
PATIENCE = 5.0
"""Seconds that setting a knob waits for a swap of its plugin, or another change of it, to end."""


class _Declared(NamedTuple):
    """A knob, and the generation that declares it; ``None`` for the host."""

    knob: Knob
    generation: Generation | None

    def info(self) -> KnobInfo:
        value, problem = _read(self.knob)
        if self.generation is None:
            return self.knob.info(OWNER, 0, value, problem)
        identity = self.generation.identity
        return self.knob.info(identity.name, identity.generation, value, problem)


class KnobBoard:
    """Asks the plugins for their knobs each time, as they come and go.

    Args:
        bus: Where it is told that a knob was turned.
        hooks: Asks the plugins.
        plugins: Who serves.
        own: The host's own knobs.
    """

    def __init__(self, bus: Bus, hooks: HookCaller, plugins: PluginManager, own: Iterable[Knob]) -> None:
        self._bus = bus
        self._hooks = hooks
        self._plugins = plugins
        self._own = tuple(own)
        self._told: dict[str, tuple[int, list[str]]] = {}

    def snapshot(self) -> tuple[KnobInfo, ...]:
        """Return a snapshot of all knobs, by name; one that cannot be read says why."""
        return tuple(declared.info() for _, declared in sorted(self._declared().items()))

    async def set(self, request: SetKnob, call: Call) -> KnobSet:
        """Set a knob for a call; see ``SetKnob``."""
        plugin = request.name.partition(".")[0]
        if plugin == OWNER:
            return await self._turn(self._find(request.name), request, call)
        async with self._alone(request.name, plugin):
            return await self._turn(self._find(request.name), request, call)

    @contextmanager
    def turned_by_hand(self, call: Call, how: str) -> Generator[None]:
        """Tell of those of the host's own knobs that the body turns by another way than ``set``."""
        before = {knob.name: _read(knob)[0] for knob in self._own}
        yield
        for knob in self._own:
            after, _ = _read(knob)
            if after != before[knob.name]:
                self._bus.publish_nowait(KnobTurned(knob.name, before[knob.name], after, str(call.caller), how))

    # What there is

    def _declared(self) -> dict[str, _Declared]:
        found = {knob.name: _Declared(knob, None) for knob in self._own}
        serving = {entry.name: entry.generation for entry in self._plugins.entries()}
        faults: dict[str, BaseException] = {}
        offers = list(self._hooks.call("knobs", failed=faults.__setitem__))
        for plugin, fault in faults.items():
            self._tell(plugin, serving.get(plugin), [f"its hook 'knobs' failed: {_text(fault)}"], fault)
        for plugin, knobs in offers:
            generation = serving.get(plugin)
            problems: list[str] = []
            for knob in knobs if generation is not None else ():
                owner = knob.name.partition(".")[0]
                if plugin == OWNER or owner != plugin:
                    problems.append(f"it declares knob {knob.name!r}, which is not its own: expected {plugin}.NAME")
                elif knob.name in found:
                    problems.append(f"it declares knob {knob.name!r} twice; the first is taken")
                else:
                    found[knob.name] = _Declared(knob, generation)
            self._tell(plugin, generation, problems)
        return found

    def _tell(
        self, plugin: str, generation: Generation | None, problems: list[str], fault: BaseException | None = None
    ) -> None:
        """Log what is wrong with a plugin's knobs, once a generation as long as it stays the same."""
        number = 0 if generation is None else generation.identity.generation
        if problems and self._told.get(plugin) != (number, problems):
            log.error("plugin %r (generation %d): %s", plugin, number, "; ".join(problems), exc_info=fault)
        self._told[plugin] = (number, problems)

    def _find(self, name: str) -> _Declared:
        declared = self._declared()
        if name in declared:
            return declared[name]
        raise UnknownKnobError(name, get_close_matches(name, declared, n=3), self._why_not(name.partition(".")[0]))

    def _why_not(self, plugin: str) -> str:
        entry = next((entry for entry in self._plugins.entries() if entry.name == plugin), None)
        if entry is None or entry.state == "serving":
            return ""
        return f"plugin {plugin!r} is {entry.state}{f' ({entry.reason})' if entry.reason else ''}"

    # Setting

    @asynccontextmanager
    async def _alone(self, name: str, plugin: str) -> AsyncGenerator[None]:
        """Be the only one who changes something about a plugin: a swap would leave what is written behind."""
        async with AsyncExitStack() as stack:
            with self._bus.clock.move_on_after(PATIENCE) as scope:
                try:
                    await self._plugins.entry(plugin).settled.wait()
                    await stack.enter_async_context(self._plugins.turn(plugin))
                except PluginNotFoundError:
                    self._find(name)  # which says what there is
                    raise
            if scope.cancelled_caught:
                raise KnobError(
                    name,
                    f"another change of plugin {plugin!r} (a start, a swap, another knob) took longer than "
                    f"{PATIENCE:g} s; it was not set, try again",
                )
            yield

    async def _turn(self, declared: _Declared, request: SetKnob, call: Call) -> KnobSet:
        knob, name = declared.knob, request.name
        value = knob.accept(request.value)
        before, problem = _read(knob)
        if before is None:
            raise KnobError(name, f"it cannot be read, so it was not set: {problem}")
        if request.expected is not None and not _is_same(request.expected, before):
            raise KnobChangedError(name, request.expected, before)
        if value == before:
            return KnobSet(name, before, before)
        who = call.caller
        fault: BaseException | None = None
        with anyio.CancelScope(shield=True):  # bounded; half written, nobody would know what it is
            fault = await self._write(declared, value, min(WRITE_TIMEOUT, call.deadline - self._bus.clock.monotonic()))
        after, problem = _read(knob)
        if after != before:
            number = 0 if declared.generation is None else declared.generation.identity.generation
            self._bus.publish_nowait(KnobTurned(name, before, after, str(who), request.reason, number))
        if not self._serves(declared.generation):
            raise KnobError(name, "its plugin was stopped while it was set", before)
        if fault is not None:
            raise KnobError(name, f"its write failed: {_text(fault)}", before, after) from fault
        if after is None:
            raise KnobError(name, f"it cannot be read after its write: {problem}", before)
        if not _is_same(value, after):
            raise KnobError(name, f"its write of {value!r} raised nothing, and did not make it so", before, after)
        return KnobSet(name, before, after)

    async def _write(self, declared: _Declared, value: KnobValue, timeout: float) -> BaseException | None:
        """Write a value, in the plugin's own task, and return what that raised."""
        knob, generation = declared

        async def write() -> None:
            answer = knob.write(value)
            if inspect.isawaitable(answer):
                await answer

        try:
            if generation is None:
                await write()
            else:
                await generation.write_knob(knob.name, write, timeout)
        except BaseException as exc:
            if is_signal(exc):
                raise
            return exc
        return None

    def _serves(self, generation: Generation | None) -> bool:
        return generation is None or any(entry.generation is generation for entry in self._plugins.entries())


def _read(knob: Knob) -> tuple[KnobValue | None, str]:
    """Return what a knob reads, or why that cannot be told."""
    try:
        return knob.value(), ""
    except BaseException as exc:
        if is_signal(exc):
            raise
        return None, _text(exc)


def _is_same(wanted: KnobValue, actual: KnobValue) -> bool:
    """Whether a knob reads what was meant; one that a plugin keeps in another unit comes back with a digit changed."""
    if isinstance(wanted, str) or not isinstance(actual, float):
        return wanted == actual
    return math.isclose(wanted, actual, rel_tol=1e-9)


def _text(fault: BaseException) -> str:
    try:
        return f"{type(fault).__name__}: {fault}"
    except Exception:  # noqa: BLE001  # a fault that cannot even be told is still told of
        return type(fault).__name__
