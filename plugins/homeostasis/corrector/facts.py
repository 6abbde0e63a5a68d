"""What is taken of a log record in the thread that logs it, and what becomes of that later.

``glean`` runs in anybody's thread: it formats nothing, asks no ``__str__``, and keeps no exception, frame or object
of a plugin: texts, numbers, and the names of types.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple, cast

from aetherra.plugins import AetherraError, LogFacts

LONGEST = 1000
"""Characters of a text that is kept; longer ones are no names."""
DEEPEST = 8
"""Exceptions that are looked at of one record: in its arguments, its own, their causes and members."""
PLUGIN_LOGGERS = "aetherra.plugins."

Value = str | int | float | None
Attributes = tuple[tuple[str, Value], ...]


class Fault(NamedTuple):
    """One exception, by the names of its type, and what it says of itself besides its text."""

    module: str
    name: str
    attributes: Attributes


class Gleaned(NamedTuple):
    """What is kept of a record."""

    logger: str
    level: str
    template: str
    faults: tuple[Fault, ...]
    plugin: str
    module: str
    function: str
    line: int
    ts: float


def kind_of(record: logging.LogRecord) -> tuple[str, str, str]:
    """Return logger, template and exception type: the fingerprint, cheap enough to be asked of every record."""
    template = record.msg
    error = record.exc_info[0] if record.exc_info else None
    return (
        record.name,
        template if type(template) is str else type(template).__qualname__,
        error.__qualname__ if error is not None else "",
    )


def glean(record: logging.LogRecord) -> Gleaned:
    """Take what is to be known of a record, and let go of it."""
    template = record.msg
    if type(template) is not str:
        template = type(template).__qualname__
    extra = record.__dict__.get("plugin", "")
    return Gleaned(
        record.name,
        record.levelname,
        template if len(template) <= LONGEST else template[:LONGEST],
        _faults(_raised_in(record)) if record.args or record.exc_info else (),
        extra if type(extra) is str else "",
        record.module,
        record.funcName or "",
        record.lineno,
        record.created,
    )


def glean_error(error: BaseException, logger: str, ts: float) -> Gleaned:
    """Take what is to be known of an exception that was raised to us, and let go of it."""
    return Gleaned(logger, "ERROR", "", _faults([error]), "", "", "", 0, ts)


def _raised_in(record: logging.LogRecord) -> list[BaseException]:
    """Return the exceptions in a record's arguments, behind its own."""
    found: list[BaseException] = []
    if record.exc_info and record.exc_info[1] is not None:
        found.append(record.exc_info[1])
    args: Any = record.args
    if args:
        values = cast("Iterable[Any]", args if type(args) is tuple else args.values() if type(args) is dict else ())
        found += [value for value in values if issubclass(type(value), BaseException)]
    return found


def _faults(ahead: list[BaseException]) -> tuple[Fault, ...]:
    """Return the exceptions, the last first, each with those inside it."""
    found: list[Fault] = []
    seen: set[int] = set()
    while ahead and len(found) < DEEPEST:
        fault = ahead.pop()
        if id(fault) in seen:
            continue
        seen.add(id(fault))
        kind = type(fault)
        found.append(Fault(kind.__module__, kind.__qualname__, _attributes(fault)))
        if isinstance(fault, BaseExceptionGroup):
            ahead += cast("BaseExceptionGroup[BaseException]", fault).exceptions[:DEEPEST]
        inner = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
        if inner is not None:
            ahead.append(inner)
    return tuple(found)


def _attributes(fault: BaseException) -> Attributes:
    if isinstance(fault, AetherraError):
        pairs: Any = fault.__dict__.items()
    elif isinstance(fault, ImportError):
        pairs = (("name", fault.name), ("path", fault.path), ("name_from", getattr(fault, "name_from", None)))
    elif isinstance(fault, OSError):
        pairs = (("filename", fault.filename), ("errno", fault.errno))
    elif isinstance(fault, AttributeError):
        owner = fault.obj
        module = owner.__dict__.get("__name__") if type(owner) is ModuleType else None
        pairs = (("name", fault.name), ("module", module))
    else:
        return ()
    return tuple([(key, kept) for key, value in pairs if (kept := _plain(value)) is not None])


def _plain(value: object) -> Value:
    """Return what is text or a number by its very type; a subclass might be anybody's."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= LONGEST else None  # type: ignore[arg-type,return-value]  # its type is str
    if kind is int or kind is float:
        return value  # type: ignore[return-value]  # its type is int or float
    if kind is bytes:  # a file's name
        return os.fsdecode(value)[:LONGEST]  # type: ignore[arg-type]  # its type is bytes
    return None


def facts_of(gleaned: Gleaned) -> list[LogFacts]:
    """Return one set of facts for each exception of a record, the innermost first, or one without any.

    What is known of the plugin, by an exception around another, by the logger or by the record's ``extra``, stands in
    each as ``plugin``.
    """
    return list(_facts(gleaned)) or [_facts_with(gleaned, "", {})]


def _facts(gleaned: Gleaned) -> Iterator[LogFacts]:
    plugin = gleaned.plugin or _plugin_of_logger(gleaned.logger)
    for fault in gleaned.faults:
        plugin = next((str(value) for key, value in fault.attributes if key == "plugin"), plugin)
    for fault in reversed(gleaned.faults):
        known = dict(fault.attributes)
        if plugin:
            known.setdefault("plugin", plugin)
        yield _facts_with(gleaned, f"{fault.module}.{fault.name}", known)


def _facts_with(gleaned: Gleaned, exception_type: str, exception: dict[str, Value]) -> LogFacts:
    return LogFacts(
        logger=gleaned.logger,
        level=gleaned.level,
        template=gleaned.template,
        exception_type=exception_type,
        exception=exception,
        module=gleaned.module,
        function=gleaned.function,
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


def text_in(facts: LogFacts, key: str) -> str:
    """Return an attribute of the exception that is a text; ``""`` if it has none."""
    value = facts.exception.get(key)
    return value if isinstance(value, str) else ""
