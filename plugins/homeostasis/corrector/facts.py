"""What is taken of a log record in the thread that logs it, and what becomes of that later.

``glean`` runs in anybody's thread: it formats nothing, asks no ``__str__``, and keeps no exception, frame or object
of a plugin: texts, numbers, and the names of types.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from aetherra.plugins import AetherraError, LogFacts

LONGEST = 1000
"""Characters of a text that is kept; longer ones are no names."""
DEEPEST = 8
"""Exceptions that are looked at of one record: in its arguments, its own, their causes and members."""
SHOWN = 80
"""Characters of a name that are shown to a person."""
PLUGIN_LOGGERS = "aetherra.plugins."

Value = str | int | float | None
Kind = tuple[str, str, str]
"""A logger, a template and an exception type."""
Faults = list[Any]
"""Exceptions, one after the other: module and name of its type, then each attribute's name and value, then ``None``.

Flat, as each container that is kept brings the next round of the garbage collector nearer.
"""
_PLAIN = frozenset({str, int, float, bytes})
"""Types whose values are kept; by the very type, as a subclass might be anybody's."""


class Gleaned(NamedTuple):
    """What is kept of a record."""

    logger: str
    level: str
    template: str
    faults: Faults
    plugin: str
    module: str
    function: str | None
    line: int
    ts: float


def kind_of(record: logging.LogRecord) -> Kind:
    """Return logger, template and exception type: the fingerprint, cheap enough to be asked of every record."""
    template = record.msg
    if type(template) is not str:
        template = type(template).__qualname__
    elif len(template) > LONGEST:
        template = template[:LONGEST]
    error = record.exc_info[0] if record.exc_info else None
    return record.name, template, error.__qualname__ if error is not None else ""


def glean(record: logging.LogRecord, kind: Kind) -> Gleaned:
    """Take what is to be known of a record, and let go of it."""
    logger, template, _ = kind
    known = record.__dict__
    return tuple.__new__(  # pyright: ignore[reportUnknownMemberType]  # as the class does, in a third of the time
        Gleaned,
        (
            logger,
            record.levelname,
            template,
            _faults(_raised_in(record)) if record.args or record.exc_info else [],
            known["plugin"] if "plugin" in known and type(known["plugin"]) is str else "",
            record.module,
            record.funcName,
            record.lineno,
            record.created,
        ),
    )


def glean_error(error: BaseException, logger: str, ts: float) -> Gleaned:
    """Take what is to be known of an exception that was raised to us, and let go of it."""
    return Gleaned(logger, "ERROR", "", _faults([error]), "", "", "", 0, ts)


def _raised_in(record: logging.LogRecord) -> list[BaseException]:
    """Return the exceptions in a record's arguments, behind its own."""
    found: list[BaseException] = []
    info = record.exc_info
    if info and info[1] is not None:
        found.append(info[1])
    args: Any = record.args
    if args:
        if type(args) is not tuple:
            args = tuple(args.values())
        for value in args:  # pyright: ignore[reportUnknownVariableType]  # anything
            if type(value) not in _PLAIN and issubclass(type(value), BaseException):  # pyright: ignore[reportUnknownArgumentType]
                found.append(value)  # noqa: PERF401  # there is seldom one  # pyright: ignore[reportUnknownArgumentType]
    return found


def _faults(ahead: list[BaseException]) -> Faults:
    """Return the exceptions, the last first, each with those inside it."""
    found: Faults = []
    seen: list[int] = []
    while ahead and len(seen) < DEEPEST:
        fault = ahead.pop()
        if seen and id(fault) in seen:
            continue
        seen.append(id(fault))
        kind = type(fault)
        found.append(kind.__module__)
        found.append(kind.__qualname__)
        _read(fault, found)
        found.append(None)
        inner = fault.__cause__
        if inner is None and not fault.__suppress_context__:
            inner = fault.__context__
        if inner is not None:
            ahead.append(inner)
        elif isinstance(fault, BaseExceptionGroup):
            ahead += fault.exceptions[:DEEPEST]  # pyright: ignore[reportUnknownMemberType]
    return found


def _read(fault: BaseException, found: Faults) -> None:
    """Add an exception's own attributes, if it is of a kind that has any that matter."""
    if isinstance(fault, AetherraError):
        for key, value in fault.__dict__.items():
            if type(value) in _PLAIN:
                found += (key, value)
    elif isinstance(fault, ImportError):
        name = fault.name
        if type(name) in _PLAIN:
            found += ("name", name)
    elif isinstance(fault, OSError):
        path = fault.filename
        if type(path) in _PLAIN:
            found += ("filename", path, "errno", fault.errno)
    elif isinstance(fault, AttributeError):
        owner, name = fault.obj, fault.name
        module = owner.__dict__.get("__name__") if type(owner) is ModuleType else None
        if type(module) in _PLAIN and type(name) in _PLAIN:
            found += ("name", name, "module", module)


def faults_of(gleaned: Gleaned) -> Iterator[tuple[str, dict[str, Value]]]:
    """Yield the exceptions of a record, the outermost first, each by its type and its attributes."""
    flat = iter(gleaned.faults)
    for module in flat:
        name = next(flat)
        attributes = [(key, next(flat)) for key in iter(flat.__next__, None)]
        yield f"{module}.{name}", _kept(attributes)


def _kept(attributes: list[tuple[str, Any]]) -> dict[str, Value]:
    """Return attributes as facts: file names as texts, and without texts that are too long for a name."""
    texts = ((key, os.fsdecode(value) if type(value) is bytes else value) for key, value in attributes)
    return {key: value for key, value in texts if type(value) is not str or len(value) <= LONGEST}


def facts_of(gleaned: Gleaned) -> list[LogFacts]:
    """Return one set of facts for each exception of a record, the innermost first, or one without any.

    What is known of the plugin, by an exception around another, by the logger or by the record's ``extra``, stands in
    each as ``plugin``.
    """
    return list(_facts(gleaned)) or [_facts_with(gleaned, "", {})]


def _facts(gleaned: Gleaned) -> Iterator[LogFacts]:
    plugin = gleaned.plugin or _plugin_of_logger(gleaned.logger)
    faults = list(faults_of(gleaned))
    for _, known in faults:
        plugin = str(known.get("plugin", plugin))
    for name, known in reversed(faults):
        if plugin:
            known.setdefault("plugin", plugin)
        yield _facts_with(gleaned, name, known)


def _facts_with(gleaned: Gleaned, exception_type: str, exception: dict[str, Value]) -> LogFacts:
    return LogFacts(
        logger=gleaned.logger,
        level=gleaned.level,
        template=gleaned.template,
        exception_type=exception_type,
        exception=exception,
        module=gleaned.module,
        function=gleaned.function or "",
        line=gleaned.line,
        ts=gleaned.ts,
    )


def _plugin_of_logger(logger: str) -> str:
    return logger.removeprefix(PLUGIN_LOGGERS).partition(".")[0] if logger.startswith(PLUGIN_LOGGERS) else ""


def is_builtin(facts: LogFacts, *names: str) -> bool:
    """Whether the exception is one of Python's own, of one of these names."""
    module, _, name = facts.exception_type.rpartition(".")
    return module == "builtins" and name in names


def is_ours(facts: LogFacts, *names: str) -> bool:
    """Whether the exception is one of Aetherra's own, of one of these names."""
    module, _, name = facts.exception_type.rpartition(".")
    return module.startswith("aetherra.") and name in names


def shown(name: str) -> str:
    """Return a name as a sentence has it that a person reads: quoted, escaped, and cut if no name is that long."""
    return repr(name if len(name) <= SHOWN else f"{name[: SHOWN - 3]}...")


def text_in(facts: LogFacts, key: str) -> str:
    """Return an attribute of the exception that is a text; ``""`` if it has none."""
    value = facts.exception.get(key)
    return value if isinstance(value, str) else ""
