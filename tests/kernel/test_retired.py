"""Retired generations: what they leave behind is named, and who is still in memory is known."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import types
import typing
import weakref
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from aetherra.kernel.retired import (
    CHANCES,
    LONGEST,
    PATIENCE,
    SETTLE,
    RetiredGenerations,
    forget_in_typing,
    forget_loggers,
)
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Identity

CODE = """
import logging, threading


class Meter:
    pass


class Handler(logging.Handler):
    def emit(self, record): ...


def wait(stop): stop.wait(10.0)
"""


class Code:
    """Loads modules as the kernel does, and unloads them."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.names: list[str] = []

    def load(self, number: int, text: str = CODE) -> Any:
        """Return the module of a generation."""
        name = f"meter@{number}"
        sys.modules[name] = module = types.ModuleType(name)
        self.names.append(name)
        exec(text, vars(module))  # our own
        return module

    def thread(self, module: Any) -> threading.Thread:
        """Start a thread behind everybody's back."""
        thread = threading.Thread(target=module.wait, args=(self.stop,), name="poller", daemon=True)
        thread.start()
        return thread


@pytest.fixture
def code() -> Generator[Code]:
    """Ends the threads that a test left, and forgets its modules and handlers."""
    made, before, handlers = Code(), set(threading.enumerate()), list(logging.getLogger("retired_test").handlers)
    yield made
    made.stop.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10.0)
    logging.getLogger("retired_test").handlers[:] = handlers
    for name in made.names:
        sys.modules.pop(name, None)


def who(number: int) -> Identity:
    """A generation of the plugin."""
    return Identity("plugin", "meter", number)


def bring_up(retired: RetiredGenerations, code: Code, number: int) -> tuple[Any, Any]:
    """Load and start a generation; return its object and what to call at its end."""
    with retired.loading("meter"):
        module = code.load(number)
    with retired.starting(who(number)) as life:
        meter = module.Meter()
        life.made(meter)
    return meter, life.end


class TestLeftovers:
    def test_a_thread_is_not_named(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """Once, with where it is and what to use, and only when the generation has ended."""
        retired = RetiredGenerations(FakeClock())
        meter, end = bring_up(retired, code, 1)
        code.thread(sys.modules["meter@1"])
        retired.look()
        assert caplog.text == ""
        end()
        retired.look()
        retired.look()
        (record,) = caplog.records
        assert str(who(1)) in record.getMessage()
        assert "thread 'poller', which is at\n" in record.getMessage()
        assert "ctx.start_thread()" in record.getMessage()
        del meter

    def test_another_generations_things_are_named(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """What the generation that serves has taken is no leftover of the one before."""
        retired = RetiredGenerations(FakeClock())
        _, end = bring_up(retired, code, 1)
        bring_up(retired, code, 2)
        code.thread(sys.modules["meter@2"])
        logging.getLogger("retired_test").addHandler(sys.modules["meter@2"].Handler())
        end()
        retired.look()
        assert caplog.text == ""

    def test_code_that_serves_again_is_blamed(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """After a rollback, what is of that code may be of the generation that runs it now."""
        retired = RetiredGenerations(FakeClock())
        _, end = bring_up(retired, code, 1)
        code.thread(sys.modules["meter@1"])
        end()
        with retired.starting(who(2)) as life:
            life.made(sys.modules["meter@1"].Meter())
        retired.look()
        assert caplog.text == ""

    @pytest.mark.parametrize("when", ["loading", "starting"])
    def test_a_standard_handler_is_not_named(self, code: Code, when: str, caplog: pytest.LogCaptureFixture) -> None:
        """It does not say whose it is; but it appeared while the plugin was loaded or started."""
        retired = RetiredGenerations(FakeClock())
        logger = logging.getLogger("retired_test")
        logger.addHandler(logging.NullHandler())
        with retired.loading("meter"):
            module = code.load(1)
            if when == "loading":
                logger.addHandler(logging.NullHandler())
        logger.addHandler(logging.NullHandler())
        with retired.starting(who(1)) as life:
            life.made(module.Meter())
            if when == "starting":
                logger.addHandler(logging.NullHandler())
        logger.addHandler(logging.NullHandler())
        life.end()
        retired.look()
        (record,) = caplog.records
        assert record.getMessage().count("NullHandler") == 1
        assert "appeared while the plugin was loaded and started)" in record.getMessage()

    def test_another_plugins_handler_is_surely_ours(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """With two being loaded side by side the other is named, too."""
        retired = RetiredGenerations(FakeClock())
        with retired.loading("meter"):
            module = code.load(1)
            with retired.loading("scale"):
                logging.getLogger("retired_test").addHandler(logging.NullHandler())
        with retired.starting(who(1)) as life:
            life.made(module.Meter())
        life.end()
        retired.look()
        assert "as were 'scale', so it may be theirs" in caplog.text

    def test_what_was_taken_back_is_named(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """A handler that was taken off, and a thread that ended, are no leftovers."""
        retired = RetiredGenerations(FakeClock())
        with retired.loading("meter"):
            module = code.load(1)
            handler = logging.NullHandler()
            logging.getLogger("retired_test").addHandler(handler)
            thread = code.thread(module)
        with retired.starting(who(1)) as life:
            life.made(module.Meter())
        life.end()
        code.stop.set()
        thread.join(10.0)
        logging.getLogger("retired_test").removeHandler(handler)
        retired.look()
        assert caplog.text == ""

    def test_code_that_cannot_be_loaded_leaves_nothing(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """What an import left that raised half-way is named, with the plugin that it was for."""
        retired = RetiredGenerations(FakeClock())
        with suppress(ValueError), retired.loading("meter"):
            module = code.load(1)
            code.thread(module)
            logging.getLogger("retired_test").addHandler(logging.NullHandler())
            del sys.modules["meter@1"]
            raise ValueError
        retired.look()
        retired.look()
        assert "plugin 'meter', whose code could not be brought up, has ended" in caplog.text
        assert caplog.text.count("NullHandler") == 1
        assert "code that was loaded as 'meter@1' has ended" in caplog.text
        assert caplog.text.count("thread 'poller'") == 1

    def test_a_start_that_failed_leaves_nothing(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """A generation that raised while it started has ended."""
        retired = RetiredGenerations(FakeClock())
        with suppress(ValueError), retired.starting(who(1)) as life:
            module = code.load(1)
            life.made(module.Meter())
            code.thread(module)
            raise ValueError
        retired.look()
        assert "thread 'poller'" in caplog.text

    def test_code_of_ordinary_modules_is_accused(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """A class that the host gave shares its module with the host: what is of it may be the host's."""
        retired = RetiredGenerations(FakeClock())
        before = threading.Thread(target=wait_for, args=(code.stop,), name="earlier", daemon=True)
        before.start()
        with retired.starting(who(1)) as life:
            life.made(Ordinary())
        threading.Thread(target=wait_for, args=(code.stop,), name="later", daemon=True).start()
        life.end()
        retired.look()
        assert "'later'" in caplog.text
        assert "may be of the host's" in caplog.text
        assert "'earlier'" not in caplog.text
        assert retired.alive() == []

    def test_trouble_while_looking_ends_the_host(
        self, code: Code, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What others put into the process may raise when it is looked at; the log says so, once."""

        class Rude:
            def __getattribute__(self, name: str) -> object:
                raise RuntimeError(name)

        retired = RetiredGenerations(FakeClock())
        _, end = bring_up(retired, code, 1)
        end()
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Rude()])
        retired.look()
        retired.look()
        assert [record.getMessage() for record in caplog.records] == ["cannot tell what generations have left behind"]


class Ordinary:
    """A plugin in an ordinary module."""


def wait_for(stop: threading.Event) -> None:
    """Run in a thread until told to end."""
    stop.wait(10.0)


def collect() -> None:
    """Give what is free all the chances that it may need."""
    for _ in range(CHANCES + 1):
        gc.collect()


class TestMemory:
    def test_a_generation_that_is_gone_is_told_of(self, code: Code) -> None:
        """As soon as nothing of it is there; and one that has not ended is no retired one."""
        retired = RetiredGenerations(FakeClock())
        meter, end = bring_up(retired, code, 1)
        assert retired.alive() == []
        end()
        (snapshot,) = retired.alive()
        assert (snapshot.plugin, snapshot.generation, snapshot.alive) == ("meter", 1, ("object", "class", "module"))
        assert snapshot.kept
        del meter, sys.modules["meter@1"]
        gc.collect()
        assert retired.alive() == []

    async def test_one_that_is_kept_is_not_told_of(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """After a minute in which all garbage was collected, once; ``why`` says who keeps it."""
        clock = FakeClock()
        retired = RetiredGenerations(clock)
        async with anyio.create_task_group() as group:
            group.start_soon(retired.run)
            meter, end = bring_up(retired, code, 1)
            del sys.modules["meter@1"]
            end()
            await clock.advance(SETTLE)
            collect()
            await clock.advance(PATIENCE - 1.0)
            assert caplog.text == ""
            await clock.advance(1.0)
            await clock.advance(10 * LONGEST)
            (record,) = caplog.records
            assert str(who(1)) in record.getMessage()
            assert "still in memory (its object, its class)" in record.getMessage()
            assert "aetherra plugin info meter --why" in record.getMessage()
            (snapshot,) = retired.alive("meter", why=True)
            assert "variable 'meter'" in snapshot.holder
            assert snapshot.collections >= 1
            assert retired.alive("scale") == []
            group.cancel_scope.cancel()
        del meter

    async def test_garbage_is_told_of(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """With no full collection since its end, nobody can know; it is looked at again later."""
        clock = FakeClock()
        retired = RetiredGenerations(clock)
        gc.disable()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(retired.run)
                meter, end = bring_up(retired, code, 1)
                vars(meter)["self"] = meter
                del meter, sys.modules["meter@1"]
                end()
                await clock.advance(LONGEST)
                assert caplog.text == ""
                (snapshot,) = retired.alive(why=True)
                assert snapshot.collections == 0
                assert "goes with the next full garbage collection" in snapshot.holder
                collect()
                await clock.advance(LONGEST)
                assert caplog.text == ""
                assert retired.alive() == []
                group.cancel_scope.cancel()
        finally:
            gc.enable()

    async def test_the_way_back_is_told_of(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """Code that is still loaded is kept on purpose; its time runs from when it is unloaded."""
        clock = FakeClock()
        retired = RetiredGenerations(clock)
        async with anyio.create_task_group() as group:
            group.start_soon(retired.run)
            meter, end = bring_up(retired, code, 1)
            kind = type(meter)
            del meter
            end()
            collect()
            await clock.advance(LONGEST)
            (snapshot,) = retired.alive(why=True)
            assert (snapshot.alive, snapshot.kept, snapshot.holder) == (("class", "module"), True, "the way back to it")
            assert caplog.text == ""
            del sys.modules["meter@1"]
            collect()
            retired.look()
            assert caplog.text == "", "the host may be ending, and has let go of it just now"
            collect()
            await clock.advance(2 * LONGEST)
            assert "still in memory (its class)" in caplog.text
            group.cancel_scope.cancel()
        del kind

    async def test_what_the_ending_host_lets_go_is_told_of(self, code: Code, caplog: pytest.LogCaptureFixture) -> None:
        """Also where nobody has looked since its object went: what was kept until now may still be about to go."""
        clock = FakeClock()
        retired = RetiredGenerations(clock)
        meter, end = bring_up(retired, code, 1)
        kind = type(meter)
        end()
        retired.look()
        del meter, sys.modules["meter@1"]
        collect()
        await clock.advance(PATIENCE)
        retired.look()
        assert caplog.text == ""
        del kind

    def test_code_that_serves_again_is_a_retired_one(self, code: Code) -> None:
        """After a rollback the code is in use; only the object of its first life is one too many."""
        retired = RetiredGenerations(FakeClock())
        meter, end = bring_up(retired, code, 1)
        end()
        with retired.starting(who(2)) as life:
            again = sys.modules["meter@1"].Meter()
            life.made(again)
        assert [old.generation for old in retired.alive()] == [1]
        del meter
        gc.collect()
        assert retired.alive() == []
        life.end()
        assert [old.generation for old in retired.alive()] == [1, 2]

    def test_looking_after_them_keeps_them(self, code: Code) -> None:
        """The records hold nothing of a generation, its threads or its handlers."""
        retired = RetiredGenerations(FakeClock())
        with retired.loading("meter"):
            module = code.load(1)
            handler = module.Handler()
            logging.getLogger("retired_test").addHandler(handler)
        with retired.starting(who(1)) as life:
            meter = module.Meter()
            life.made(meter)
        del sys.modules["meter@1"]
        life.end()
        retired.look()
        assert retired.alive(why=True)
        logging.getLogger("retired_test").removeHandler(handler)
        ghosts = [weakref.ref(thing) for thing in (meter, type(meter), module, handler)]
        del meter, module, handler
        gc.collect()
        assert [ghost() for ghost in ghosts] == [None] * 4

    def test_they_are_remembered_without_bound(self, code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beyond the bound the first that ended is forgotten, and none that serves."""
        monkeypatch.setattr("aetherra.kernel.retired.REMEMBERED", 3)
        retired = RetiredGenerations(FakeClock())
        kept = [bring_up(retired, code, number) for number in range(1, 5)]
        for _, end in kept[1:]:
            end()
        kept.append(bring_up(retired, code, 5))
        assert [one.generation for one in retired.alive()] == [4]
        kept[0][1]()
        assert 1 in [one.generation for one in retired.alive()]


class TestCaches:
    def test_typing_keeps_a_class(self) -> None:
        """What stood in ``Optional[...]`` is kept by typing until its caches are emptied."""
        kind = type("Kind", (), {})
        assert typing.Optional[kind] is not None  # noqa: UP045  # the old way is what is remembered
        ghost = weakref.ref(kind)
        del kind
        forget_in_typing()
        gc.collect()
        assert ghost() is None

    def test_loggers_pile_up(self, code: Code) -> None:
        """A logger of each generation's module name is forgotten with its code, unless it has a handler."""
        loggers = logging.root.manager.loggerDict
        code.load(1)
        for name in ("meter@1", "meter@2", "meter@2.parts", "retired_acme.meter@2", "meter@3", "meter@4.deep.parts"):
            logging.getLogger(name)
        handler = logging.NullHandler()
        logging.getLogger("meter@3").addHandler(handler)
        old = logging.getLogger("retired_acme.meter@2")
        forget_loggers()
        assert sorted(name for name in loggers if "meter" in name) == ["meter@1", "meter@3"]
        assert old.parent is logging.root
        assert logging.getLogger("retired_acme").getChild("meter@2") is not old
        logging.getLogger("meter@3").removeHandler(handler)
        forget_loggers()
        for name in ("meter@1", "retired_acme", "retired_acme.meter@2"):
            loggers.pop(name, None)
        assert not [name for name in loggers if "meter" in name]
