"""What a plugin class declares, read off it once and checked before anything of it runs."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from aetherra.kernel.config import RESERVED_KEYS
from aetherra.kernel.errors import PluginDefinitionError
from aetherra.kernel.plugin import (
    EVERY_ATTRIBUTE,
    HANDLER_ATTRIBUTE,
    EveryMark,
    HandlerMark,
    Plugin,
    Settings,
    settings_type,
)
from aetherra.registry import Message, Request, tag_of
from aetherra.registry.capabilities import check_grant
from aetherra.registry.messages import message_classes, reply_annotation

if TYPE_CHECKING:
    from typing_extensions import TypeIs

API_VERSION = "1.0"
"""The version of what plugins may rely on; the second number grows with additions, the first with breaks."""
API_NAME = "aetherra-api"
_ATTRIBUTES: dict[str, Any] = {
    "name": str,
    "service": str,
    "version": str,
    "requires": tuple[str, ...],
    "capabilities": tuple[str, ...],
    "heartbeat": float | None,
    "privileges": tuple[str, ...],
    "exclusive": bool,
    "data_files": tuple[str, ...],
}

_EXPECTED: dict[Any, str] = {str: "a text", tuple[str, ...]: "a tuple of texts", bool: "True or False"}


def _is_request(message_type: type[Message]) -> TypeIs[type[Request[Any]]]:
    return issubclass(message_type, Request)


class HandlerSpec(msgspec.Struct, frozen=True):
    """One handler: the method, the message it takes, and what it may return."""

    method: str
    message_type: type[Message]
    replies: tuple[type, ...]
    mark: HandlerMark

    @property
    def is_request(self) -> bool:
        """Whether it answers, rather than hears."""
        return _is_request(self.message_type)


class PluginSpec(msgspec.Struct, frozen=True):
    """All that a plugin class declares."""

    plugin_type: type[Plugin[Any]]
    name: str
    service: str
    settings_type: type[Settings]
    handlers: tuple[HandlerSpec, ...]
    everies: tuple[tuple[str, EveryMark], ...]
    needs: tuple[str, ...]
    state_type: Any

    @classmethod
    def of(cls, plugin_type: type[Plugin[Any]]) -> PluginSpec:
        """Read a class.

        Raises:
            PluginDefinitionError: It cannot be used as it is; says where and what to change.
        """
        _check_attributes(plugin_type)
        name = plugin_type.name
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise PluginDefinitionError(f"{plugin_type.__qualname__}.name is {name!r}; expected snake_case")
        for step in ("start", "stop", "self_test", "hand_over", "take_over"):
            if not inspect.iscoroutinefunction(getattr(plugin_type, step)):
                raise PluginDefinitionError(f"{plugin_type.__qualname__}.{step} is no coroutine; expected 'async def'")
        _check_start(plugin_type)
        settings = settings_type(plugin_type)
        taken = [field for field in settings.__struct_fields__ if field in RESERVED_KEYS]
        if taken:
            raise PluginDefinitionError(f"{settings.__qualname__}.{taken[0]} is a name that the configuration reserves")
        everies = tuple(_everies(plugin_type, settings))
        return cls(
            plugin_type=plugin_type,
            name=name,
            service=plugin_type.service or name,
            settings_type=settings,
            handlers=tuple(_handlers(plugin_type)),
            everies=everies,
            needs=_check_requirements(plugin_type),
            state_type=_state_type(plugin_type),
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """The requests it answers."""
        return tuple(tag_of(spec.message_type) for spec in self.handlers if spec.is_request)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it declares that it wants to say and hear: by its attribute, and by its handlers of events."""
        heard = (f"subscribe:{tag_of(spec.message_type)}" for spec in self.handlers if not spec.is_request)
        return (*self.plugin_type.capabilities, *heard)


def _check_attributes(plugin_type: type[Plugin[Any]]) -> None:
    for name, wanted in _ATTRIBUTES.items():
        value: Any = getattr(plugin_type, name)
        try:
            msgspec.convert(value, wanted)
        except msgspec.ValidationError:
            expected = _EXPECTED.get(wanted, "seconds, or None")
            raise PluginDefinitionError(
                f"{plugin_type.__qualname__}.{name} is {value!r}; expected {expected}"
            ) from None
    if plugin_type.heartbeat is not None and not plugin_type.heartbeat > 0:
        raise PluginDefinitionError(
            f"{plugin_type.__qualname__}.heartbeat is {plugin_type.heartbeat!r}; expected more than 0 seconds, or None"
        )
    for pattern in plugin_type.data_files:
        if not pattern or PurePath(pattern).is_absolute() or ".." in PurePath(pattern).parts:
            raise PluginDefinitionError(
                f"{plugin_type.__qualname__}.data_files has {pattern!r}; expected a pattern below its module's folder"
            )
    for grant in plugin_type.capabilities:
        try:
            check_grant(grant)
        except ValueError as exc:
            raise PluginDefinitionError(f"{plugin_type.__qualname__}.capabilities: {exc}") from exc


def _check_start(plugin_type: type[Plugin[Any]]) -> None:
    signature = inspect.signature(plugin_type.start)
    try:
        signature.bind(None, None)
    except TypeError:
        taken = ", ".join(signature.parameters)
        raise PluginDefinitionError(f"{plugin_type.__qualname__}.start takes ({taken}); expected (self, ctx)") from None


def _marked(plugin_type: type[Any], attribute: str) -> Iterator[tuple[str, Any, Any]]:
    seen: set[str] = set()
    for base in plugin_type.__mro__:
        for name, member in vars(base).items():
            if name not in seen and (mark := getattr(member, attribute, None)) is not None:
                yield name, member, mark
            seen.add(name)


def _handlers(plugin_type: type[Plugin[Any]]) -> Iterator[HandlerSpec]:
    heard: dict[str, str] = {}
    for name, function, mark in _marked(plugin_type, HANDLER_ATTRIBUTE):
        where = f"{plugin_type.__qualname__}.{name}"
        parameters = list(inspect.signature(function).parameters.values())[1:]
        if len(parameters) != 1:
            raise PluginDefinitionError(f"handler {where} takes {len(parameters)} parameters; expected one message")
        if mark.blocking and inspect.iscoroutinefunction(function):
            raise PluginDefinitionError(f"handler {where} is async and blocking; blocking is for plain functions")
        hints = _hints(function, plugin_type, where)
        message_type = hints.get(parameters[0].name)
        if not (isinstance(message_type, type) and issubclass(message_type, Message)):
            raise PluginDefinitionError(
                f"handler {where} takes {parameters[0].name!r} of {message_type!r}; annotate it with the message "
                f"class, imported for real and not under TYPE_CHECKING"
            )
        tag = tag_of(message_type)
        if tag in heard:
            raise PluginDefinitionError(f"handlers {heard[tag]!r} and {name!r} of {where} both take {tag!r}")
        heard[tag] = name
        replies = message_classes(hints["return"]) if "return" in hints else ()
        if _is_request(message_type):
            replies = message_classes(reply_annotation(message_type)) or replies
        yield HandlerSpec(name, message_type, replies, mark)


def _hints(function: Any, plugin_type: type[Any], where: str) -> dict[str, Any]:
    scope = vars(sys.modules[plugin_type.__module__]) if plugin_type.__module__ in sys.modules else {}
    try:
        return _named(function, scope) or get_type_hints(function, localns=dict(scope))
    except NameError as exc:
        raise PluginDefinitionError(
            f"the annotations of {where} cannot be resolved: {exc}; define the class at the top of the module, "
            f"imported for real and not under TYPE_CHECKING"
        ) from exc


def _named(function: Any, scope: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what ``get_type_hints`` does, if each annotation is the name of a class or ``None``; else ``None``.

    Nearly all are, and compiling each, as that does, takes most of the time in which a class is read.
    """
    if hasattr(function, "__wrapped__") or hasattr(function, "__no_type_check__"):
        return None
    hints: dict[str, Any] = {}
    for parameter, annotation in function.__annotations__.items():
        name, *inner = annotation.split(".") if isinstance(annotation, str) else [""]
        hint = type(None) if name == "None" else scope.get(name, function.__globals__.get(name))
        for each in inner:
            hint = getattr(hint, each, None)
        if not isinstance(hint, type):
            return None
        hints[parameter] = hint
    return hints


def _everies(plugin_type: type[Plugin[Any]], settings: type[Settings]) -> Iterator[tuple[str, EveryMark]]:
    for name, function, mark in _marked(plugin_type, EVERY_ATTRIBUTE):
        where = f"{plugin_type.__qualname__}.{name}"
        if not inspect.iscoroutinefunction(function):
            raise PluginDefinitionError(f"{where} is marked with @every; expected 'async def'")
        if isinstance(mark.interval, str) and mark.interval not in settings.__struct_fields__:
            raise PluginDefinitionError(f"{where} runs every {mark.interval!r}, which is no field of its settings")
        yield name, mark


def _state_type(plugin_type: type[Plugin[Any]]) -> Any:
    """What ``take_over`` takes: the annotation of its parameter."""
    function = plugin_type.take_over
    if function is Plugin.take_over:
        return None
    where = f"{plugin_type.__qualname__}.take_over"
    parameters = list(inspect.signature(function).parameters)[1:]
    if len(parameters) != 1:
        raise PluginDefinitionError(f"{where} takes {len(parameters)} parameters; expected the state")
    return _hints(function, plugin_type, where).get(parameters[0], Any)


def _check_requirements(plugin_type: type[Plugin[Any]]) -> tuple[str, ...]:
    """Check the API requirement and return the names of the plugins that are required."""
    needs: list[str] = []
    for requirement in plugin_type.requires:
        found = re.fullmatch(r"([A-Za-z][\w-]*)\s*((?:(?:==|!=|>=|<=|>|<)\s*[\d.]+\s*,?\s*)*)", requirement.strip())
        if found is None:
            raise PluginDefinitionError(
                f"{plugin_type.__qualname__}.requires has {requirement!r}; expected a plugin's name, or as in "
                f"'{API_NAME}>=1,<2'"
            )
        name, bounds = found.groups()
        if name != API_NAME:
            if bounds:
                raise PluginDefinitionError(
                    f"{plugin_type.__qualname__}.requires has {requirement!r}; only {API_NAME} takes a version"
                )
            needs.append(name)
        elif not all(_holds(operator, bound) for operator, bound in re.findall(r"(\D+?)\s*([\d.]+)", bounds)):
            raise PluginDefinitionError(
                f"it was made for another plugin API: it requires {requirement!r}, "
                f"this host has {API_NAME} {API_VERSION}"
            )
    return tuple(needs)


def _holds(operator: str, bound: str) -> bool:
    have, want = ([int(part) for part in text.strip(".").split(".")] for text in (API_VERSION, bound))
    width = max(len(have), len(want))
    left, right = (numbers + [0] * (width - len(numbers)) for numbers in (have, want))
    return {
        "==": left == right,
        "!=": left != right,
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
    }[operator.strip(" ,")]
