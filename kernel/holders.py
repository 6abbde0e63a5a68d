"""What keeps an object alive: a way to it from a module, a thread, a task or a cache, as text that people can follow.

Asked for, not run by itself: each step of the search looks through all objects of the process.
"""

from __future__ import annotations

import contextvars
import functools
import gc
import inspect
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import (
    AsyncGeneratorType,
    CellType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any, TypeGuard, TypeVar, cast

T = TypeVar("T")
_NOTHING = object()
OURS = 3
"""References to a frame's copy of its variables, if its own code did not ask for it: the frame's, and two of ours."""
CHUNK = 10
"""Objects whose holders are looked for at once; the interpreter stands still meanwhile."""
SEARCH_SECONDS = 5.0
"""Real seconds after which a search gives up."""
UNSEEN = "nothing that can be seen: it goes with the next full garbage collection, unless C code holds it"
_DRIVEN: dict[type, str] = {CoroutineType: "cr_frame", GeneratorType: "gi_frame", AsyncGeneratorType: "ag_frame"}
_CACHED: type = type(functools.lru_cache(len))
_TASKS = {("_asyncio", "Task"), ("asyncio.tasks", "Task"), ("trio.lowlevel", "Task")}


def holder_of(target: weakref.ref[Any], *, seconds: float = SEARCH_SECONDS) -> str:
    """Return a shortest way by which an object is held, from the outside in; ``""`` if it is gone.

    It reads ``module 'host.cache' attribute 'CALLBACKS' -> list[3] -> method Counter.tick -> counter.Counter object``.
    What is about to be freed is held by nothing. The search is bounded by ``seconds``, and then says so.
    """
    thing = target()
    return "" if thing is None else _Search(thing, seconds).run()


class _Search:
    """A walk from an object to who holds it, who holds that, and so on, breadth first, to something that stays."""

    def __init__(self, target: object, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._modules = {id(vars(module)): module for module in list(sys.modules.values()) if _is_module(module)}
        self._seen: dict[int, object] = {id(target): target}
        self._held: dict[int, int] = {}  # who holds -> what
        self._target = target
        self._mine = {id(self), id(vars(self)), id(self._seen)}

    def run(self) -> str:
        ahead: list[object] = [self._target]
        running = _running_frames()
        self._mine |= {id(frame) for _, frame in running} | {id(running)}
        try:
            while ahead:
                for frame_text in self._frames_holding(running, ahead):
                    return frame_text
                ahead = list(self._step(ahead))
                for holder in ahead:
                    if (root := _carefully(self._root, None, holder)) is not None:
                        return " -> ".join((root, *self._way(self._inner(holder))))
        except TimeoutError:
            return f"not found within the time for it, after {len(self._seen)} objects"
        finally:
            running.clear()
        return UNSEEN

    def _step(self, ahead: list[object]) -> Iterator[object]:
        """Yield who holds any of these and was not seen yet."""
        chunks = iter(ahead)
        self._mine |= {id(ahead), id(chunks)}
        while chunk := tuple(islice(chunks, CHUNK)):
            if time.monotonic() > self._until:
                raise TimeoutError
            holders = gc.get_referrers(*chunk)
            wanted = {id(thing) for thing in chunk}
            mine = {*self._mine, id(chunk), id(holders)}
            for holder in holders:
                if id(holder) in self._seen or id(holder) in mine or _is_ours(holder):
                    continue
                child = next((id(thing) for thing in gc.get_referents(holder) if id(thing) in wanted), None)
                if child is not None:
                    self._seen[id(holder)] = holder
                    self._held[id(holder)] = child
                    yield holder
            del holders

    def _frames_holding(
        self, running: list[tuple[threading.Thread | None, FrameType]], ahead: list[object]
    ) -> list[str]:
        """Frames that run now hide their variables from the garbage collector."""
        wanted = {id(thing): thing for thing in ahead}
        for thread, frame in running:
            if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
                continue
            variables: Any = frame.f_locals
            found = next(((name, id(value)) for name, value in variables.items() if id(value) in wanted), None)
            if isinstance(variables, dict) and sys.getrefcount(cast("object", variables)) <= OURS:
                cast("dict[str, Any]", variables).clear()  # before Python 3.13 a copy, which would itself keep all
            if found is not None:
                name, thing = found
                who = f"thread {thread.name!r}" if thread is not None else "a thread"
                where = f"{who} in {frame.f_code.co_qualname} ({frame.f_code.co_filename}, line {frame.f_lineno})"
                return [" -> ".join((f"{where} variable {name!r}", *self._way(wanted[thing])))]
        return []

    def _root(self, holder: object) -> str | None:
        """Return what a thing is called that stays by itself; ``None`` for one that something else must hold."""
        inner = self._inner(holder)
        if (module := self._modules.get(id(holder))) is not None:
            return f"module {module.__name__!r} attribute {_key_of(cast('dict[str, Any]', holder), inner)}"
        match holder:
            case ModuleType() if sys.modules.get(holder.__name__) is holder:
                return f"module {holder.__name__!r}"
            case threading.Thread() if holder.is_alive():
                return f"thread {holder.name!r}{_attribute(holder, inner)}"
            case contextvars.Context():
                while type(inner).__qualname__.startswith("hamt"):  # the tree inside a context
                    inner = self._inner(inner)
                names = [variable.name for variable, value in holder.items() if value is inner]
                return f"ContextVar {names[0]!r}" if names else "a context of ContextVars"
            case _ if isinstance(holder, _CACHED) and holder.__module__ in sys.modules:
                return f"cache of {_full_name(holder)}"
            case _:
                pass
        if (type(holder).__module__, type(holder).__qualname__) in _TASKS:
            return f"task {getattr(holder, 'name', None) or getattr(holder, 'get_name', str)()!r}"
        return None

    def _inner(self, holder: object) -> Any:
        return self._seen[self._held[id(holder)]]

    def _way(self, holder: object) -> Iterator[str]:
        """Describe a thing and what it holds, down to the target."""
        while holder is not self._target:
            inner = self._inner(holder)
            part, value = "", holder
            if inner is not self._target:
                part, value = _carefully(self._part_of, (part, value), holder, inner)
            if part:
                yield part
                holder = value
                continue
            if text := _carefully(_describe, f"{type(holder).__qualname__} object", holder, inner):
                yield text
            holder = inner
        yield _describe_target(holder)

    def _part_of(self, holder: object, inner: Any) -> tuple[str, object]:
        """Say in one what a thing has in a dict or tuple of its own, and return what that is; else ``""``."""
        if _is_dict(inner) and (part := _carefully(_part, "", holder, inner)):
            value = self._inner(inner)
            return f"{_describe(holder, _NOTHING)}{part} {_key_of(inner, value)}", value
        cells = holder.__closure__ if isinstance(holder, FunctionType) else None
        if cells is not None and cells is inner and isinstance(holder, FunctionType):
            cell = self._inner(inner)
            name = next(name for name, one in zip(holder.__code__.co_freevars, cells, strict=True) if one is cell)
            return f"{_describe(holder, _NOTHING)} variable {name!r}", cell
        return "", holder


def _carefully(ask: Callable[..., T], otherwise: T, *things: object) -> T:
    """Ask about things that may answer by code of their own, such as proxies, which may raise anything."""
    try:
        return ask(*things)
    except Exception:  # noqa: BLE001  # then it is told less well
        return otherwise


def _is_dict(thing: object) -> TypeGuard[dict[Any, Any]]:
    return isinstance(thing, dict)


def _is_module(thing: object) -> bool:
    return isinstance(thing, ModuleType)


def _is_ours(holder: object) -> bool:
    """What this search itself makes: its frames and generators."""
    frame = holder if type(holder) is FrameType else getattr(holder, "gi_frame", None) if _drives(holder) else None
    return frame is not None and frame.f_code.co_filename == __file__


def _drives(holder: object) -> bool:
    return type(holder) in _DRIVEN


def _running_frames() -> list[tuple[threading.Thread | None, FrameType]]:
    """The frames of all threads but ours, innermost first; a variable with one of ours would hold it, and itself."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    current = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # documented, for debuggers
    running: list[tuple[threading.Thread | None, FrameType]] = []
    frame: FrameType | None
    while current:
        ident, frame = current.popitem()
        while frame is not None:
            if frame.f_code.co_filename != __file__:
                running.append((threads.get(ident), frame))
            frame = frame.f_back
    return running


def _items(mapping: dict[Any, Any]) -> list[tuple[Any, Any]]:
    return list(dict[Any, Any].items(mapping))


def _key_of(mapping: dict[Any, Any], inner: object) -> str:
    return next((repr(key) for key, value in _items(mapping) if value is inner), "?")


def _part(holder: object, own: object) -> str:
    """Return what the values of a dict are to the thing whose dict it is; ``""`` if it is just any dict."""
    if isinstance(holder, FunctionType):
        return " global" if holder.__globals__ is own else ""
    return " attribute" if isinstance(holder, type) or getattr(holder, "__dict__", None) is own else ""


def _attribute(holder: object, inner: object) -> str:
    """Return `` attribute 'x'`` if that is what a thing has another as."""
    own: Any = getattr(holder, "__dict__", None) or {}
    for name, value in list(own.items()):
        if value is inner:
            return f" attribute {name!r}"
    for base in type(holder).__mro__:
        for name, member in list(vars(base).items()):
            if inspect.ismemberdescriptor(member) and getattr(holder, name, None) is inner:
                return f" attribute {name!r}"
    return ""


def _describe(holder: object, inner: object) -> str:
    """Return what a thing is, and where in it the next one is; ``""`` if it goes without saying."""
    if _is_dict(holder):
        return "dict key" if any(key is inner for key, _ in _items(holder)) else f"dict[{_key_of(holder, inner)}]"
    match holder:
        case list() | tuple():
            items = cast("Iterable[object]", holder)
            at = next((index for index, item in enumerate(items) if item is inner), "?")
            return f"{type(items).__qualname__}[{at}]"
        case CellType():
            return ""
        case _ if type(holder).__qualname__.startswith("hamt"):
            return ""
        case MethodType():
            return f"method {holder.__qualname__}"
        case FunctionType():
            return f"function {_full_name(holder)}{_function_part(holder, inner)}"
        case type():
            names = [name for name, member in list(vars(holder).items()) if member is inner]
            return f"class {_full_name(holder)}" + (f" attribute {names[0]!r}" if names else "")
        case BaseException():
            part = " traceback" if holder.__traceback__ is inner else _attribute(holder, inner)
            return f"exception {type(holder).__qualname__}{part}"
        case TracebackType():
            return "" if holder.tb_next is inner else "traceback"
        case FrameType():
            names = [name for name, value in holder.f_locals.items() if value is inner]
            return f"frame of {holder.f_code.co_qualname}" + (f" variable {names[0]!r}" if names else "")
        case ModuleType():
            return f"module {holder.__name__!r} (unloaded)"
        case _:
            return _describe_driven(holder) or f"{_full_name(type(holder))} object{_attribute(holder, inner)}"


def _describe_driven(holder: object) -> str:
    """Return which coroutine or generator a thing is, and where it is; ``""`` if it is none."""
    for kind, frame_name in _DRIVEN.items():
        if type(holder) is kind:
            frame = getattr(holder, frame_name)
            where = f" at line {frame.f_lineno}" if frame is not None else ""
            return f"{kind.__name__} {getattr(holder, '__qualname__', '?')}{where}"
    return ""


def _function_part(function: FunctionType, inner: object) -> str:
    if inner is function.__globals__:
        return " globals"
    return " annotations" if inner is function.__annotations__ else _attribute(function, inner)


def _describe_target(target: Any) -> str:
    if isinstance(target, type):
        return f"class {_full_name(target)}"
    if isinstance(target, ModuleType):
        return f"module {target.__name__!r}"
    return f"{_full_name(type(target))} object"


def _full_name(thing: Any) -> str:
    module, name = getattr(thing, "__module__", ""), str(getattr(thing, "__qualname__", "") or repr(thing))
    return name if module in ("builtins", "", None) else f"{module}.{name}"
