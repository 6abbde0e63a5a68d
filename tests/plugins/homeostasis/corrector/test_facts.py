"""Facts: what correctors, ours and others', are given of a record."""

from __future__ import annotations

import collections
import logging

import pytest

from aetherra.plugins import CapabilityError, HandlerError, LogFacts
from aetherra.plugins.homeostasis.corrector.facts import facts_of, glean, is_builtin, is_ours, kind_of


def record(name="acme", error=None, **extra):
    """Return a record as ``logging`` makes it."""
    made = logging.LogRecord(name, logging.ERROR, "mill.py", 7, "failed: %s", ("x",), None, "grind")
    made.exc_info = (type(error), error, None) if error is not None else None
    made.__dict__.update(extra)
    return made


def gleaned(made):
    """Take what is known of a record."""
    return glean(made, kind_of(made))


class TestFactsOf:
    def test_a_plain_record_has_no_facts(self):
        """Without an exception there is one set of facts, with where it was logged."""
        (facts,) = facts_of(gleaned(record()))

        assert facts.logger == "acme"
        assert (facts.level, facts.template, facts.exception_type) == ("ERROR", "failed: %s", "")
        assert (facts.module, facts.function, facts.line) == ("mill", "grind", 7)

    def test_the_innermost_is_not_the_first(self):
        """Each exception has facts of its own, the innermost first, which is the one that says what is wrong."""
        outer = HandlerError("mill", 2, "mill.ask", "it failed")
        outer.__cause__ = ModuleNotFoundError("gone", name="yaml")
        inner, around = facts_of(gleaned(record(error=outer)))

        assert (inner.exception_type, inner.exception) == (
            "builtins.ModuleNotFoundError",
            {"name": "yaml", "plugin": "mill"},
        )
        assert around.exception_type.endswith(".HandlerError")
        assert around.exception["tag"] == "mill.ask"

    @pytest.mark.parametrize(
        ("made", "plugin"),
        [
            (record("aetherra.plugins.mill", OSError()), "mill"),
            (record("aetherra.plugins.mill.stone", OSError()), "mill"),
            (record(error=OSError(), plugin="mill"), "mill"),
            (record("aetherra.plugins.baker", HandlerError("mill", 1, "mill.ask", "")), "mill"),
            (record("aetherra.plugins", OSError()), None),
            (record(error=OSError(), plugin=7), None),
        ],
    )
    def test_nobody_knows_whose_trouble_it_is(self, made, plugin):
        """The plugin is known by the logger, the record's ``extra``, or the innermost exception that names one."""
        assert facts_of(gleaned(made))[0].exception.get("plugin") == plugin

    def test_an_attribute_that_is_missing_is_not_told_of_by_module(self):
        """Of an ``AttributeError`` of a module, the module is known by its name."""
        try:
            collections.Nothing  # noqa: B018
        except AttributeError as exc:
            made = record(error=exc)

        assert facts_of(gleaned(made))[0].exception == {"name": "Nothing", "module": "collections"}

    def test_an_error_of_ours_has_lost_its_fields(self):
        """Errors of Aetherra are known by their fields."""
        error = CapabilityError("plugin 'mill'", "call:x.y", "plugins.mill.grants in the configuration")

        assert facts_of(gleaned(record(error=error)))[0].exception["grant"] == "call:x.y"


class TestKinds:
    def test_a_plugins_own_class_passes_for_another(self):
        """An exception is known by its module and name, not by its name alone."""
        assert is_builtin(LogFacts("a", "ERROR", "", "builtins.OSError"), "OSError")
        assert not is_builtin(LogFacts("a", "ERROR", "", "mill.OSError"), "OSError")
        assert is_ours(LogFacts("a", "ERROR", "", "aetherra.registry.errors.NoHandlerError"), "NoHandlerError")
        assert not is_ours(LogFacts("a", "ERROR", "", "mill.NoHandlerError"), "NoHandlerError")
