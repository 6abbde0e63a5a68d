"""What code has put into the process for all to share: threads, log handlers, hooks; and whose modules each is of.

Finding them changes nothing, and calls none of their code.
"""

from __future__ import annotations

import atexit
import gc
import logging
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

from aetherra.kernel.background import PluginThread
from aetherra.kernel.stacks import thread_stack

_ROOT = re.compile(r"(.+?@\d+(?:~\d+)?)(?:[.:]|$)")
_BORROWED = ("anyio.", "trio.", "aetherra.kernel.", "aetherra.registry.")
"""Whose threads work for anybody."""


class Taken:
    """One thing that the process shares.

    Attributes:
        thing: Itself.
        modules: The modules that it is of, by name.
        roots: The generations whose code these are of, by the names of their entries.
        advice: What to do in place of taking it so.
    """

    def __init__(self, thing: object, modules: Iterable[str], advice: str, describe: Callable[[], str]) -> None:
        self.thing = thing
        self.modules = frozenset(modules)
        self.roots = frozenset(root for module in self.modules if "@" in module and (root := root_of(module)))
        self.advice = advice
        self._describe = describe

    def __str__(self) -> str:
        return self._describe()


def root_of(module: str) -> str:
    """Return the name of the generation's entry that a module belongs to, ``""`` if it is of no generation's code."""
    found = _ROOT.match(module)
    return found[1] if found is not None else ""


def taken() -> Iterator[Taken]:
    """Yield all threads that run, all log handlers, and what else of the process is some code's own."""
    yield from _threads()
    yield from _log_handlers()
    yield from _hooks()


def present() -> dict[int, object]:
    """Return the threads and log handlers that there are now, by their identity; quick, as it is asked at each load."""
    things: list[object] = [*logging.root.handlers, *threading.enumerate()]
    for logger in list(logging.root.manager.loggerDict.values()):
        if handlers := getattr(logger, "handlers", None):  # a place holder has none
            things += handlers
    return {id(thing): thing for thing in things}


def appeared_since(before: dict[int, object]) -> list[object]:
    """Return what is present and was not before, but for threads that work for anybody."""
    new = [thing for key, thing in present().items() if key not in before]
    return [thing for thing in new if not (isinstance(thing, threading.Thread) and _is_borrowed(thing))]


def _is_borrowed(thread: threading.Thread) -> bool:
    target: Any = getattr(thread, "_target", None)
    kinds = f"{type(thread).__module__}.", f"{getattr(target, '__module__', '')}."
    return any(kind.startswith(_BORROWED) for kind in kinds) or thread.name.startswith(("asyncio_", "Dummy-"))


# Threads


def _threads() -> Iterator[Taken]:
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # documented, for debuggers
    frames.pop(threading.get_ident(), None)  # which would hold itself, and what is found with it
    for thread in threading.enumerate():
        own = {type(thread).__module__, *_modules_of(getattr(thread, "_target", None))}
        inside = set(_modules_in(frames.get(thread.ident or 0)))
        if isinstance(thread, PluginThread):
            advice = "it was told to end: have its function look at the event that it is given"
        elif _is_borrowed(thread) or not any(root_of(module) for module in own):
            advice = "whoever handed it work should see that it ends, in stop() at the latest"
        else:
            advice = "start it by ctx.start_thread(), which has it end with the plugin"
        yield Taken(thread, own | inside, advice, partial(_thread_text, thread))


def _modules_in(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back


def _thread_text(thread: threading.Thread) -> str:
    _, stack = thread_stack(thread.ident or 0)
    return f"thread {thread.name!r}, which is at\n{stack}"


# Log handlers


def _loggers() -> list[tuple[str, logging.Logger]]:
    known = list(logging.root.manager.loggerDict.items())
    return [("root", logging.root), *((name, one) for name, one in known if isinstance(one, logging.Logger))]


def _log_handlers() -> Iterator[Taken]:
    advice = "add it by ctx.add_log_handler(), which takes it off with the plugin"
    for name, logger in _loggers():
        for handler in list(logger.handlers):
            inner: Any = getattr(handler, "target", None)
            parts = (handler, handler.formatter, *handler.filters, inner, logger if root_of(name) else None)
            modules = {module for part in parts for module in _modules_of(part)}
            text = f"log handler {_plain(handler)} of logger {name!r}"
            yield Taken(handler, {*modules, root_of(name)}, advice, partial(str, text))
        for each in list(logger.filters):
            text = f"filter {_plain(each)} of logger {name!r}"
            undo = "take it off in a ctx.defer()"
            yield Taken(each, _modules_of(each), undo, partial(str, text))


# Hooks


def _hooks() -> Iterator[Taken]:
    advice = "put back what was there before in a ctx.defer()"
    for what, thing in _hooked():
        if thing is not None and (modules := set(_modules_of(thing))):
            yield Taken(thing, modules, advice, partial("{} of {}".format, _plain(thing), what))


def _hooked() -> Iterator[tuple[str, Any]]:
    for name in ("excepthook", "unraisablehook", "displayhook", "breakpointhook"):
        yield f"sys.{name}", getattr(sys, name, None)
    yield "threading.excepthook", threading.excepthook
    yield "warnings.showwarning", warnings.showwarning
    yield "logging.setLogRecordFactory()", logging.getLogRecordFactory()
    yield "logging.setLoggerClass()", logging.getLoggerClass()
    for name, hooks in (("sys.meta_path", sys.meta_path), ("sys.path_hooks", sys.path_hooks)):
        yield from ((name, hook) for hook in list(hooks))
    yield from (("gc.callbacks", callback) for callback in list(gc.callbacks))
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, signal.Handlers):
            yield f"the signal {signal.Signals(number).name}", handler
    yield from (("atexit", function) for function in _at_exit())


class _Spy:
    """Is equal to nothing, and notes what it was compared with."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.seen: list[object] = []

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return False


def _at_exit() -> list[object]:
    """The functions to be called at the interpreter's exit, which it only ever compares."""
    spy: Any = _Spy()
    with suppress(Exception):
        atexit.unregister(spy)
    seen: list[object] = spy.seen
    return seen


# Whose it is


def _modules_of(thing: Any) -> Iterator[str]:
    """Yield the modules that a function, an object's class or a class is of, through methods and partials."""
    while isinstance(thing, partial):
        thing = thing.func
    if thing is None:
        return
    owner = getattr(thing, "__self__", None)
    if owner is not None and not isinstance(owner, type(sys)):
        yield from _modules_of(owner if isinstance(owner, type) else type(owner))
    module = getattr(thing, "__module__", None) if callable(thing) else None
    yield str(module or type(thing).__module__)
    if not isinstance(thing, type):
        yield type(thing).__module__


def _plain(thing: object) -> str:
    """Return what a thing is, without asking its own code."""
    name = getattr(thing, "__qualname__", None)
    return (
        f"{getattr(thing, '__module__', '?')}.{name}"
        if name
        else f"<{type(thing).__module__}.{type(thing).__qualname__}>"
    )
