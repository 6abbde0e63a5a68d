"""Knobs: what the kernel and plugins let others turn while the host runs, offered by the hook ``knobs``."""

from __future__ import annotations

import inspect
import math
import re
import reprlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, cast

import msgspec

from aetherra.kernel.errors import KnobRangeError, PluginDefinitionError

KnobValue = int | float | str
"""A number, or one of a knob's choices."""
Scale = Literal["linear", "log"]
Role = Literal["capacity", "tuning", "quality", "strategy"]
Direction = Literal["up", "down", "unknown"]
Impact = Literal["low", "medium", "high"]
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_-]+)+")


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    """All of a knob but how it is read and written.

    Attributes:
        name: ``greeter.batch``: its plugin's name, a dot, and the rest.
        low: The least value it can be set to.
        high: The highest.
        step: The usual change; where the scale is ``log``, the usual factor.
        unit: What the value counts.
        scale: Whether changes are thought of as differences, or as factors.
        whole: Whether it takes whole numbers only; so it does, too, if ``low``, ``high`` and ``step`` are all ``int``.
        choices: In place of ``low``, ``high`` and ``step``: names, in an order; to raise it is to go to a later one.
        role: What turning it is: more or less of a capacity, tuning, quality for speed, or another strategy.
        moves: What raising it does to metrics. A name may be a shell pattern; the first that fits counts.
        impact: What a wrong value can do to the host; who turns knobs by itself should ask first where it is ``high``.
        cost: What raising it costs, in words.
        undo: The way back, in words; ``""`` if there is none, and then nobody turns it by itself.
    """

    name: str
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    unit: str = ""
    scale: Scale = "linear"
    whole: bool = False
    choices: tuple[str, ...] = ()
    role: Role = "tuning"
    moves: Mapping[str, Direction] = {}
    impact: Impact = "medium"
    cost: str = ""
    undo: str = "set the value that it had"


class KnobInfo(_Shape, frozen=True, kw_only=True):
    """A snapshot of one knob.

    Attributes:
        plugin: Who declares it; ``kernel`` for the host's own.
        generation: Of that plugin; 0 for the host. A later one may have begun with another value.
        value: What it reads now; ``None`` if that cannot be told.
        problem: Why not.
    """

    plugin: str
    generation: int = 0
    value: KnobValue | None = None
    problem: str = ""


class Knob(_Shape, frozen=True, kw_only=True):
    """Something that may be turned while the host runs; a plugin returns its own from the hook ``knobs``.

    Attributes:
        read: Returns the value that holds now. A plain function, quick, as it runs on the event loop.
        write: Makes a value hold, from now on; may be a coroutine function. What it returns is not looked at: the
            value is read back.

    Raises:
        PluginDefinitionError: It cannot work as it is declared; names the knob, what was expected and what was given.
    """

    read: Callable[[], object]
    write: Callable[[Any], Awaitable[object] | object]

    def __post_init__(self) -> None:
        self._check_types()
        if _NAME.fullmatch(self.name) is None:
            raise self._wrong("expected its plugin's name, a dot and a name of letters, digits, '_', '-' and dots")
        if self.choices:
            self._check_choices()
        else:
            self._check_range()

    def _check_types(self) -> None:
        for field in msgspec.structs.fields(_Shape):
            value = getattr(self, field.name)
            try:
                value = _plain(msgspec.convert(value, field.type, strict=True))
            except msgspec.ValidationError as exc:
                raise self._wrong(f"{field.name} is {reprlib.repr(value)}: {exc}") from exc
            msgspec.structs.force_setattr(self, field.name, value)
        for name in ("read", "write"):
            if not callable(getattr(self, name)):
                raise self._wrong(f"expected {name} to be a function, got {reprlib.repr(getattr(self, name))}")

    def _check_choices(self) -> None:
        if not (self.low is self.high is self.step is None):
            raise self._wrong("expected either choices, or low, high and step; got both")
        if not all(self.choices) or len(set(self.choices)) < len(self.choices):
            raise self._wrong(
                f"expected choices that are distinct and not empty, got {', '.join(map(repr, self.choices))}"
            )

    def _check_range(self) -> None:
        low, high, step = self.low, self.high, self.step
        if low is None or high is None or step is None:
            raise self._wrong("expected low, high and step, or choices")
        if not all(map(_is_finite, (low, high, step))):
            raise self._wrong(f"expected finite low, high and step, got {low!r}, {high!r} and {step!r}")
        if not low < high:
            raise self._wrong(f"expected low < high, got {low!r} and {high!r}")
        if self.scale == "linear" and not 0 < step <= high - low:
            raise self._wrong(f"expected a step of more than 0, and of high - low at most, got {step!r}")
        if self.scale == "log" and not (low > 0 and step > 1):
            raise self._wrong(f"expected low > 0 and a step, a factor, of more than 1, got {low!r} and {step!r}")
        if type(low) is type(high) is type(step) is int:
            msgspec.structs.force_setattr(self, "whole", True)
        elif self.whole and (low % 1 or high % 1 or (self.scale == "linear" and step % 1)):
            raise self._wrong(f"expected whole numbers, as it is whole, got {low!r}, {high!r} and {step!r}")

    def _wrong(self, problem: str) -> PluginDefinitionError:
        return PluginDefinitionError(f"knob {reprlib.repr(self.name)}: {problem}")

    def accept(self, value: object) -> KnobValue:
        """Return a value as it is to be written.

        Raises:
            KnobRangeError: It is none that the knob takes.
        """
        found = self._kind(value)
        if found is None or not self._reaches(found):
            raise KnobRangeError(self.name, self.wanted, reprlib.repr(value))
        return found

    def value(self) -> KnobValue:
        """Return what holds now, which may be beyond the range, as others may have set it; raises what ``read`` raises.

        Raises:
            TypeError: ``read`` returned what is no value of this knob.
        """
        found = self.read()
        value = self._kind(found)
        if value is None:
            if inspect.iscoroutine(found):
                found.close()  # as nobody will await it
            raise TypeError(f"read() returned {reprlib.repr(found)}, expected {self._wanted_kind}")
        return value

    def info(self, plugin: str, generation: int, value: KnobValue | None, problem: str = "") -> KnobInfo:
        """Return a snapshot."""
        shape = {name: getattr(self, name) for name in _Shape.__struct_fields__}
        return KnobInfo(**shape, plugin=plugin, generation=generation, value=value, problem=problem)

    @property
    def wanted(self) -> str:
        """What it takes, in words."""
        if self.choices:
            return self._wanted_kind
        return f"{self._wanted_kind} from {self.low:g} to {self.high:g}{f' ({self.unit})' if self.unit else ''}"

    @property
    def _wanted_kind(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(repr, self.choices))}"
        return "a whole number" if self.whole else "a number"

    def _reaches(self, value: KnobValue) -> bool:
        return isinstance(value, str) or self.low is None or self.high is None or self.low <= value <= self.high

    def _kind(self, value: object) -> KnobValue | None:
        """Return a value of the knob's kind as plain ``int``, ``float`` or ``str``; ``None`` if it is none."""
        if self.choices:
            return _plain(value) if isinstance(value, str) and value in self.choices else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
            return None
        if not self.whole:
            return float(value)
        return int(value) if value % 1 == 0 else None


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _plain(value: object) -> Any:
    """Return a value without classes of a plugin, as of an enumeration: who keeps it would keep its generation."""
    match value:
        case str():
            return str.__str__(value)
        case tuple():
            return tuple(map(_plain, cast("tuple[object, ...]", value)))
        case dict():
            return {_plain(key): _plain(item) for key, item in cast("dict[object, object]", value).items()}
        case _:
            return value
