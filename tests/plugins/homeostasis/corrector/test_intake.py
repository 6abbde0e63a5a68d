"""The handler that every warning of the process passes: bounded, harmless, and quick to let go."""

from __future__ import annotations

import gc
import logging
import threading
import weakref

import pytest

from aetherra.plugins import HandlerError
from aetherra.plugins.homeostasis.corrector.facts import facts_of, faults_of
from aetherra.plugins.homeostasis.corrector.intake import PER_KIND, Intake


@pytest.fixture
def log():
    """Return a logger of its own with an intake that holds 100 records."""
    logger = logging.Logger("acme.tests")  # noqa: LOG001  # alone: pytest keeps and formats what others log
    logger.addHandler(Intake(100, own=("acme.tests.own",)))
    return logger


def intake_of(log) -> Intake:
    """Return the intake of a logger."""
    return log.handlers[0]


class Loud:
    """Cannot be told of without harm."""

    def __str__(self) -> str:
        raise AssertionError("it was formatted")

    __repr__ = __str__


class TestIntake:
    def test_a_record_is_formatted_in_the_thread_that_logs_it(self, log):
        """No ``__str__`` of a message or of an argument is asked for."""
        log.warning("%s %r", Loud(), Loud())
        log.warning(Loud())

        assert [each.template for each in intake_of(log).take()] == ["%s %r", "Loud"]

    def test_a_lower_record_is_taken(self, log):
        """Only WARNING and above are looked at."""
        log.info("well")

        assert intake_of(log).seen == 0

    def test_the_correctors_own_words_come_back_to_it(self, log):
        """Records of its own logger, and those below, are left out and not counted; a name that begins alike is not."""
        for name in ("acme.tests.own", "acme.tests.own.part", "acme.tests.owner"):
            log.handle(logging.LogRecord(name, logging.ERROR, "f.py", 1, "x", (), None))

        assert [each.logger for each in intake_of(log).take()] == ["acme.tests.owner"]

    def test_what_waits_has_no_bound(self, log):
        """Beyond its capacity records are dropped and counted."""
        for number in range(150):
            log.warning(f"{number}")  # a template of its own each

        assert (intake_of(log).waiting, intake_of(log).dropped, intake_of(log).seen) == (100, 50, 150)
        intake_of(log).take()
        log.warning("again")
        assert intake_of(log).waiting == 1

    def test_a_storm_of_one_kind_takes_the_room_of_others(self, log):
        """Of one logger, template and exception type only so many wait, until they were taken."""
        for number in range(1000):
            log.warning("storm %d", number)
        log.warning("rare")

        assert [each.template for each in intake_of(log).take()] == ["storm %d"] * PER_KIND + ["rare"]
        assert intake_of(log).dropped == 1000 - PER_KIND

    def test_a_storm_from_many_threads_loses_count(self, log):
        """From 8 threads at once, each record is either taken or counted as dropped."""
        ready = threading.Barrier(8)

        def storm(number: int) -> None:
            ready.wait()
            for turn in range(2000):
                log.warning(f"{number} {turn % 50}", exc_info=ModuleNotFoundError("gone", name="x"))

        threads = [threading.Thread(target=storm, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        intake = intake_of(log)
        assert (intake.seen, intake.waiting, intake.dropped) == (16_000, 100, 15_900)
        assert len(intake.take()) == 100

    def test_an_exception_that_logs_while_it_is_read_ends_in_a_deadlock(self, log):
        """A record that is logged while another is taken, in the same thread, is taken; one that raises is not."""

        class ChattyError(ImportError):
            @property
            def name(self):
                log.warning("inside")
                return "chatty"

        class BrokenError(ImportError):
            @property
            def name(self):
                raise RuntimeError("broken")

        log.warning("outside", exc_info=ChattyError("x"))
        log.warning("broken", exc_info=BrokenError("x"))

        assert {each.template for each in intake_of(log).take()} == {"inside", "outside"}
        assert intake_of(log).dropped == 1

    def test_an_exception_is_held(self, log):
        """Nothing that is kept refers to the exception, its traceback, its class or an argument."""

        class OwnError(ImportError):
            pass

        class Thing:
            pass

        thing = Thing()
        try:
            raise OwnError("x", name="yaml")
        except OwnError as exc:
            log.error("%s", thing, exc_info=exc)
        gone = weakref.ref(OwnError), weakref.ref(thing)
        del OwnError, thing
        gc.collect()

        assert [ref() for ref in gone] == [None, None]
        assert intake_of(log).take()[0].faults[2:4] == ["name", "yaml"]


class TestGlean:
    def test_what_is_inside_an_exception_is_passed_over(self, log):
        """Exceptions in arguments, causes, contexts and groups are seen, each once, and a circle of them ends."""
        cause = FileNotFoundError(2, "no such file", "zones.json")
        outer = HandlerError("mill", 3, "mill.ask", "it failed")
        outer.__cause__ = ExceptionGroup("both", [cause, ModuleNotFoundError("gone", name="yaml")])
        cause.__context__ = outer
        log.error("%s", outer, exc_info=cause)

        (gleaned,) = intake_of(log).take()
        assert {name.rpartition(".")[2] for name, _ in faults_of(gleaned)} == {
            "HandlerError",
            "ExceptionGroup",
            "FileNotFoundError",
            "ModuleNotFoundError",
        }
        assert len(list(faults_of(gleaned))) == 4
        assert ("builtins.FileNotFoundError", {"filename": "zones.json", "errno": 2}) in faults_of(gleaned)

    def test_a_chain_has_no_end(self, log):
        """Only so many exceptions of a record are looked at."""
        fault = None
        for _ in range(1000):
            fault, before = ValueError("x"), fault
            fault.__cause__ = before
        log.error("long", exc_info=fault)

        assert len(list(faults_of(intake_of(log).take()[0]))) == 8

    def test_texts_are_kept_whatever_their_length(self, log):
        """Long texts, and things that only look like texts, are not kept."""

        class Text(str):
            __slots__ = ()

        log.error("x" * 10_000)
        log.error("y", exc_info=ModuleNotFoundError("gone", name="z" * 10_000))
        log.error("z", exc_info=ModuleNotFoundError("gone", name=Text("yaml")))
        first, *others = intake_of(log).take()

        assert len(first.template) == 1000
        assert [facts_of(each)[0].exception for each in others] == [{}, {}]


def test_exceptions_are_counted_with_what_has_none():
    """The rate of exceptions is a metric of its own."""
    intake = Intake(10, ())
    intake.handle(logging.makeLogRecord({"name": "acme", "levelno": logging.WARNING, "msg": "hm"}))
    fault = KeyError("x")
    record = {"name": "acme", "levelno": logging.ERROR, "msg": "oh", "exc_info": (KeyError, fault, None)}
    intake.handle(logging.makeLogRecord(record))
    assert (intake.seen, intake.exceptions) == (2, 1)
