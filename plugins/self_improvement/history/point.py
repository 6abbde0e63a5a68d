"""One measurement, and what keeps it from being one."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from aetherra.plugins import AetherraError

__all__ = ["Batch", "MetricLimitError", "Point", "PointTimeError", "UnitMismatchError", "batch_of", "check_text"]

_CONTEXT_BYTES = 4096
_NAME_CHARACTERS = 200
_DAY = 86_400.0


class UnitMismatchError(AetherraError, ValueError):
    """A metric came in another unit than the one it is stored in."""

    def __init__(self, name: str, stored: str, given: str) -> None:
        super().__init__(name, stored, given)
        self.name, self.stored, self.given = name, stored, given

    def __str__(self) -> str:
        return (
            f"metric {self.name!r} is stored in {self.stored!r}, got {self.given!r}: convert it, name it otherwise,"
            f" or rename or forget what is stored"
        )


class MetricLimitError(AetherraError, ValueError):
    """There are as many metrics as the retention allows, and this one is new."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(name, limit)
        self.name, self.limit = name, limit

    def __str__(self) -> str:
        return f"metric {self.name!r} is one too many: {self.limit} are kept; forget some, or raise max_metrics"


class PointTimeError(AetherraError, ValueError):
    """A point is of a time that is not kept: older than the retention, or of a day that is still to come."""

    def __init__(self, name: str, timestamp: float, oldest: float, newest: float) -> None:
        super().__init__(name, timestamp, oldest, newest)
        self.name, self.timestamp, self.oldest, self.newest = name, timestamp, oldest, newest

    def __str__(self) -> str:
        if self.timestamp > self.newest:
            beyond = f"{(self.timestamp - self.newest) / _DAY + 1:.1f} days ahead of the clock"
        else:
            beyond = f"{(self.oldest - self.timestamp) / _DAY:.1f} days older than what is kept"
        return (
            f"metric {self.name!r}: expected a timestamp from {self.oldest:.0f} to {self.newest:.0f},"
            f" got {self.timestamp!r}, {beyond}"
        )


class Point(msgspec.Struct, frozen=True):
    """One measurement.

    Attributes:
        name: The metric, ``loop.lag``; at most 200 characters, all of which can be printed.
        unit: What the value counts, ``seconds``, in such characters; the same in all points of a metric.
        timestamp: Seconds since the epoch.
        value: A finite number.
        context: Whatever else JSON can say about it, in at most 4 KiB.
    """

    name: str
    unit: str
    timestamp: float
    value: float
    context: dict[str, Any] = {}


class Batch(msgspec.Struct):
    """Sound points that are stored together or not at all, by metric.

    Attributes:
        size: How many were given.
        units: The unit of each metric.
        rows: Value and encoded context of each metric by time, where the last of one time counts.
    """

    size: int = 0
    units: dict[str, str] = {}
    rows: dict[str, dict[float, tuple[float, bytes | None]]] = {}


def batch_of(points: Sequence[Point], oldest: float, newest: float) -> Batch:
    """Return ``points`` ready to be stored.

    Raises:
        ValueError: A value or time is NaN or infinite, a name is empty or long, a name or unit cannot be printed, or a
            context is nothing JSON can say in 4 KiB.
        PointTimeError: A time is not between ``oldest`` and ``newest``.
        UnitMismatchError: A metric comes in two units.
    """
    batch = Batch(len(points))
    try:
        _gather(points, batch, oldest, newest)
    except (AttributeError, OverflowError, TypeError) as error:
        raise ValueError(f"expected points of a name, a unit and two numbers: {error}") from error
    return batch


def _gather(points: Sequence[Point], batch: Batch, oldest: float, newest: float) -> None:
    for point in points:
        name = point.name
        if not math.isfinite(point.value) or not math.isfinite(point.timestamp):
            raise ValueError(
                f"metric {name!r}: expected a finite value and timestamp, got {point.value!r} at {point.timestamp!r}"
            )
        if not oldest <= point.timestamp <= newest:
            raise PointTimeError(name, point.timestamp, oldest, newest)
        rows = batch.rows.get(name)
        if rows is None:
            check_text("name", name)
            if point.unit:
                check_text("unit", point.unit)
            rows = batch.rows[name] = {}
            batch.units[name] = point.unit
        elif batch.units[name] != point.unit:
            raise UnitMismatchError(name, batch.units[name], point.unit)
        rows[float(point.timestamp)] = float(point.value), _encoded(point) if point.context else None


def check_text(what: Literal["name", "unit"], text: str) -> None:
    """Raise ``ValueError`` for what cannot name a metric or a unit: nothing, too much, what cannot be printed.

    Control characters, line ends, marks that turn the direction of writing, and half characters stand in no name: it is
    printed, logged and written into tables.
    """
    if not 0 < len(text) <= _NAME_CHARACTERS:
        raise ValueError(f"expected a metric {what} of 1 to {_NAME_CHARACTERS} characters, got {text!r}")
    if not text.isprintable():
        odd = next(each for each in text if not each.isprintable())
        raise ValueError(f"expected a metric {what} of characters that can be printed, got {text!r}, with {odd!r}")


def _encoded(point: Point) -> bytes:
    try:
        context = msgspec.json.encode(point.context)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metric {point.name!r}: JSON cannot say its context: {error}") from error
    if len(context) > _CONTEXT_BYTES:
        raise ValueError(
            f"metric {point.name!r}: expected a context of at most {_CONTEXT_BYTES} bytes, got {len(context)}"
        )
    return context
