"""What code has put into the process: found, and known by its modules."""

from __future__ import annotations

import atexit
import gc
import logging
import logging.handlers
import signal
import sys
import threading
import types
import warnings
from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from aetherra.kernel.background import PluginThread
from aetherra.kernel.leftovers import Taken, present, root_of, taken

NAME = "meter@7.parts"
CODE = """
import logging, threading


class Handler(logging.Handler):
    def emit(self, record): ...


class Formatter(logging.Formatter): ...


class Filter:
    def filter(self, record): return True

    def __eq__(self, other): raise RuntimeError("nobody may ask")

    __hash__ = None


class Thread(threading.Thread):
    def __init__(self, stop):
        super().__init__(daemon=True)
        self.stop = stop

    def run(self): self.stop.wait(10.0)


class Meter:
    def wait(self, stop): stop.wait(10.0)

    def hook(self, *args): ...


def wait(stop): stop.wait(10.0)


def hook(*args): ...


class Finder:
    def find_spec(self, *args): return None
"""


@pytest.fixture
def code() -> Any:
    """A module as a generation of a plugin has it, with things to leave behind."""
    module: Any = types.ModuleType(NAME)  # which is what its functions and classes say they are of
    exec(CODE, vars(module))  # our own
    return module


@pytest.fixture
def stop() -> Generator[threading.Event]:
    """Ends the threads of a test."""
    event, before = threading.Event(), set(threading.enumerate())
    yield event
    event.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10.0)


def of_the_meter() -> list[Taken]:
    """What is found of the module's."""
    return [one for one in taken() if "meter@7" in one.roots]


class TestRoots:
    @pytest.mark.parametrize(
        ("module", "root"),
        [
            ("meter@7", "meter@7"),
            ("meter@7.parts", "meter@7"),
            ("meter@7:helper.deep", "meter@7"),
            ("acme.meter@12~2.parts", "acme.meter@12~2"),
            ("acme.meter", ""),
            ("", ""),
        ],
    )
    def test_a_module_is_of_another_generation(self, module: str, root: str) -> None:
        """The generation's name goes up to its number; what has none is of no generation."""
        assert root_of(module) == root


class TestThreads:
    @pytest.mark.parametrize("how", ["class", "function", "method", "partial", "inside"])
    def test_a_thread_is_not_known(self, code: Any, stop: threading.Event, how: str) -> None:
        """By its class, by the function or method that it runs, and by the frames it is in."""

        def go_inside(event: threading.Event) -> None:
            code.wait(event)

        target: Any = {
            "class": None,
            "function": code.wait,
            "method": code.Meter().wait,
            "partial": partial(partial(code.wait), stop),
            "inside": go_inside,
        }[how]
        args = () if how == "partial" else (stop,)
        thread = code.Thread(stop) if how == "class" else threading.Thread(target=target, args=args, daemon=True)
        thread.name = "poller"
        thread.start()
        (found,) = of_the_meter()
        assert found.thing is thread
        assert str(found).startswith("thread 'poller', which is at\n")
        assert "ctx.start_thread()" in found.advice or how == "inside"
        assert id(thread) in present()

    def test_a_thread_of_a_context_is_told_to_use_the_context(self, code: Any, stop: threading.Event) -> None:
        """It has, and did not end when it was told to."""
        PluginThread(target=code.wait, args=(stop,), daemon=True).start()
        (found,) = of_the_meter()
        assert "it was told to end" in found.advice


class TestLogHandlers:
    @pytest.mark.parametrize("how", ["handler", "formatter", "filter", "target", "logger", "filter of a logger"])
    def test_a_handler_is_not_known(self, code: Any, how: str) -> None:
        """By its class, its formatter's, a filter's, its target's, its logger's name; filters of loggers as well."""
        handler = code.Handler() if how == "handler" else logging.NullHandler()
        logger = logging.getLogger("meter@7.parts" if how == "logger" else "leftovers_test")
        if how == "formatter":
            handler.setFormatter(code.Formatter())
        elif how == "filter":
            handler.addFilter(code.Filter())
        elif how == "target":
            handler = logging.handlers.MemoryHandler(1, target=code.Handler())
        if how == "filter of a logger":
            logger.filters.append(code.Filter())
        else:
            logger.addHandler(handler)
        try:
            (found,) = of_the_meter()
            assert logger.name in str(found)
            if how == "filter of a logger":
                assert "meter@7.parts" not in str(found) or "ctx.defer()" in found.advice
            else:
                assert "ctx.add_log_handler()" in found.advice
                assert id(handler) in present()
        finally:
            logger.filters.clear()
            logger.removeHandler(handler)
        assert of_the_meter() == []


class TestHooks:
    def test_a_hook_is_not_known(self, code: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those of the interpreter, of warnings and of imports."""
        for where, name in [
            (sys, "excepthook"),
            (sys, "unraisablehook"),
            (sys, "displayhook"),
            (warnings, "showwarning"),
        ]:
            monkeypatch.setattr(where, name, code.Meter().hook)
        monkeypatch.setattr(threading, "excepthook", code.hook)
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, code.Finder()])
        monkeypatch.setattr(sys, "path_hooks", [*sys.path_hooks, code.hook])
        gc.callbacks.append(code.hook)
        try:
            found = {str(one) for one in of_the_meter()}
        finally:
            gc.callbacks.remove(code.hook)
        assert {text.rpartition(" of ")[2] for text in found} == {
            "sys.excepthook",
            "sys.unraisablehook",
            "sys.displayhook",
            "warnings.showwarning",
            "threading.excepthook",
            "sys.meta_path",
            "sys.path_hooks",
            "gc.callbacks",
        }
        assert "meter@7.parts.hook of sys.path_hooks" in found

    def test_signals_and_exits_are_not_known(self, code: Any) -> None:
        """Signal handlers, and what is to be called at the interpreter's exit."""
        before = signal.signal(signal.SIGUSR2, code.hook)
        atexit.register(code.hook)
        try:
            found = sorted(str(one) for one in of_the_meter())
        finally:
            atexit.unregister(code.hook)
            signal.signal(signal.SIGUSR2, before)
        assert [text.partition(" of ")[2] for text in found] == ["atexit", "the signal SIGUSR2"]


class TestNothing:
    def test_an_ordinary_process_has_leftovers(self) -> None:
        """Nothing of this process is of a generation."""
        assert of_the_meter() == []
        assert [one for one in taken() if one.roots] == []
