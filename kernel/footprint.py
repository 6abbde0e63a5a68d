"""The footprint of a plugin: how much memory is reachable from its object and its modules, and from nobody else's."""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from types import FrameType, FunctionType, ModuleType, TracebackType
from typing import Any, cast

import msgspec
from anyio.lowlevel import checkpoint

from aetherra.kernel.entry import Entry
from aetherra.kernel.manager import PluginManager
from aetherra.kernel.plugin import Plugin
from aetherra.kernel.sources import ClassSource

MOST_OBJECTS = 250_000
"""Objects that are looked at."""
SLICE = 1500
"""Steps, of about a microsecond, before the event loop has its turn; an object takes two or three."""
PIECE = 16_000
"""References that are copied at a time."""
SHARDS = 64
"""Sets that remember what was seen, as a big one that grows holds the loop up."""
FOREIGN = frozenset({
    "aetherra", "anyio", "asyncio", "_asyncio", "trio", "sniffio", "outcome", "concurrent", "selectors", "pluggy",
    "contextvars", "_contextvars", "threading", "_thread", "logging",
    "importlib", "_frozen_importlib", "_frozen_importlib_external",
})  # fmt: skip
"""Packages whose objects lead to the whole process; data, as messages are, do not."""
_DICT: Any = dict
_SEQUENCES: tuple[type[Any], ...] = (list, tuple, set, frozenset, deque)
_ATOMS = frozenset({type(None), bool, type(Ellipsis), type(NotImplemented)})


class Weight(msgspec.Struct, frozen=True):
    """How many bytes in how many objects, and whether those are all."""

    bytes: int
    objects: int
    complete: bool


async def footprint_of(name: str, plugins: PluginManager, *, most: int = MOST_OBJECTS) -> Weight:
    """Weigh a plugin; what changes meanwhile is seen as it is when it is looked at.

    Raises:
        PluginNotFoundError: There is none of that name.
    """
    entry = plugins.entry(name)
    own = _own_modules(entry)
    walls: set[int] = set()
    turns = _Turns()
    for module_name, module in list(sys.modules.items()):
        if module_name not in own:
            inside: dict[str, object] = getattr(module, "__dict__", {})  # what stands there need be no module
            walls.update((id(module), id(inside)), map(id, list(inside.values())))
            if turns.spend(len(inside) // 8):
                await checkpoint()
    for other in plugins.entries():
        if other is not entry and other.generation is not None:
            walls.update(map(id, vars(other.generation.plugin).values()))
    if entry.loaded is not None and entry.loaded.code is not None:
        walls.add(id(entry.loaded.code.builtins))
    roots: list[object] = [vars(module) for module in own.values()]
    if entry.generation is not None:
        roots.append(entry.generation.plugin)
    return await _Scales(own.keys(), walls, most, turns).weigh(roots)


def _own_modules(entry: Entry) -> Mapping[str, ModuleType]:
    loaded, source = entry.loaded, entry.source
    root = ""
    if loaded is not None and loaded.code is not None:
        root = loaded.code.root_name
    elif loaded is not None and isinstance(source, ClassSource):
        root = source.home
    inside = (f"{root}.", f"{root}:")
    modules = list(sys.modules.items())
    return {name: module for name, module in modules if root and (name == root or name.startswith(inside))}


class _Turns:
    """Tells when the event loop is to have its turn."""

    def __init__(self) -> None:
        self._spent = 0

    def spend(self, effort: int) -> bool:
        """Count what was done, and tell whether it is the loop's turn."""
        self._spent += effort
        is_due = self._spent >= SLICE
        if is_due:
            self._spent = 0
        return is_due


class _Scales:
    """Follows references from some roots up to walls, and adds up what is there."""

    def __init__(self, own: Iterable[str], walls: set[int], most: int, turns: _Turns) -> None:
        self._own = frozenset(own)
        self._walls = walls
        self._seen: list[set[int]] = [set() for _ in range(SHARDS)]
        self._most = most
        self._turns = turns
        self._complete = True
        self._kinds: dict[type, bool] = {}

    async def weigh(self, roots: list[object]) -> Weight:
        total = objects = 0
        ahead = roots[:]
        known = set(map(id, roots))
        while ahead:
            thing = ahead.pop()
            key = id(thing)
            seen = self._seen[(key >> 8) % SHARDS]
            if key in seen or type(thing) in _ATOMS:
                continue
            if key not in known and (key in self._walls or self._is_wall(thing)):
                continue
            if objects >= self._most:
                return Weight(total, objects, complete=False)
            seen.add(key)
            objects += 1
            total += _size(thing)
            for inside in self._inside(thing):
                ahead += inside
                if self._turns.spend(1 + len(inside) // 16):
                    await checkpoint()
            if self._turns.spend(1):
                await checkpoint()
        return Weight(total, objects, self._complete)

    def _is_wall(self, thing: object) -> bool:
        kind = type(thing)
        if issubclass(kind, type):
            return cast("type", thing).__module__ not in self._own
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = self._is_wall_kind(kind)
        return known

    def _is_wall_kind(self, kind: type) -> bool:
        if issubclass(kind, (ModuleType, FrameType, TracebackType, Plugin)):
            return True
        if kind.__module__ in self._own or issubclass(kind, msgspec.Struct):
            return False
        return str(kind.__module__).partition(".")[0] in FOREIGN

    def _inside(self, thing: Any) -> Iterator[Collection[object]]:
        """What a thing refers to, part by part; of big ones no more than could be looked at."""
        kind: type = cast("Any", type(thing))
        if issubclass(kind, dict):
            self._complete &= _DICT.__len__(thing) <= self._most
            yield from self._pieces(lambda: _DICT.keys(thing))
            yield from self._pieces(lambda: _DICT.values(thing))
        elif issubclass(kind, _SEQUENCES):
            base: Any = next(base for base in _SEQUENCES if issubclass(kind, base))
            self._complete &= base.__len__(thing) <= self._most
            yield from self._pieces(lambda: base.__iter__(thing))
        elif issubclass(kind, FunctionType):
            yield (thing.__closure__, thing.__defaults__, thing.__kwdefaults__, thing.__dict__)
        elif issubclass(kind, type):
            yield list(cast("type", thing).__dict__.values())
        else:
            yield gc.get_referents(thing)
        if kind not in (dict, *_SEQUENCES) and issubclass(kind, (dict, *_SEQUENCES)):
            yield (getattr(thing, "__dict__", None),)

    def _pieces(self, begin: Callable[[], Iterable[object]]) -> Iterator[Collection[object]]:
        """Draw an iterable piece by piece; all at once, if it changes between two of them."""
        drawn = islice(begin(), self._most)
        try:
            while piece := list(islice(drawn, PIECE)):
                yield piece
        except RuntimeError:
            yield list(islice(begin(), self._most))


def _size(thing: object) -> int:
    try:
        return sys.getsizeof(thing)
    except Exception:  # noqa: BLE001  # it may have a size of its own making
        return object.__sizeof__(thing)
