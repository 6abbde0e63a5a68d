"""Conversion: what a message costs that passes between two declarations of the same tag."""

from __future__ import annotations

from typing import Any

import msgspec

from aetherra.kernel import Kernel
from aetherra.plugins import Plugin, handler
from aetherra.registry import Message, Request
from aetherra.registry.messages import adapt
from measuring.figures import Case, Effort, Figure, Run, measure

BOUND = 2.0


class Reading(Message, tag="bench.reading"):
    celsius: float
    room: str
    number: int


class NewReading(Message, tag="bench.reading"):
    celsius: float
    room: str
    number: int
    unit: str = "C"


class Day(Message, tag="bench.day"):
    name: str
    readings: tuple[Reading, ...]
    highest: Reading


class NewDay(Message, tag="bench.day"):
    name: str
    readings: tuple[NewReading, ...]
    highest: NewReading
    lowest: NewReading | None = None


class Read(Request[Reading], tag="bench.read"):
    room: str
    number: int


class NewRead(Request[NewReading], tag="bench.read"):
    room: str
    number: int


class Reader(Plugin):
    """Answers by its own declaration; the caller has another."""

    @handler
    async def read(self, request: NewRead) -> NewReading:
        return NewReading(21.5, request.room, request.number)


def by_msgspec(message: Message, wanted: type[Message]) -> Run:
    """The floor: msgspec's own conversion by attributes."""

    async def run(count: int) -> None:
        convert = msgspec.convert
        for _ in range(count):
            convert(message, wanted, from_attributes=True)

    return run


def by_adapt(message: Message, wanted: type[Message]) -> Run:
    """The registry's conversion."""

    async def run(count: int) -> None:
        classes = (wanted,)
        for _ in range(count):
            adapt(message, classes)

    return run


def whole_call_by_hand(reader: Reader, request: Read) -> Run:
    """The floor of a whole call: the handler awaited bare, both messages converted by msgspec."""

    async def run(count: int) -> None:
        convert = msgspec.convert
        for _ in range(count):
            reply = await reader.read(convert(request, NewRead, from_attributes=True))
            convert(reply, Reading, from_attributes=True)

    return run


def whole_call(kernel: Kernel, request: Request[Any]) -> Run:
    """A call whose two ends have two declarations."""

    async def run(count: int) -> None:
        for _ in range(count):
            await kernel.call(request)

    return run


async def measured(effort: Effort) -> dict[str, list[Figure]]:
    """Measure conversion."""
    reading = Reading(21.5, "kitchen", 7)
    day = Day("Monday", tuple(Reading(20.0 + hour / 10, "kitchen", hour) for hour in range(24)), reading)
    flat, nested = "floor: msgspec.convert, flat", "floor: msgspec.convert, 25 nested"
    whole = "floor: bare await, request and reply by msgspec.convert"
    async with Kernel() as kernel:
        await kernel.add_plugin(Reader)
        cases = [
            Case(flat, by_msgspec(reading, NewReading), unit="message"),
            Case("adapt, flat", by_adapt(reading, NewReading), flat, BOUND, "message"),
            Case(nested, by_msgspec(day, NewDay), unit="message"),
            Case("adapt, 25 nested", by_adapt(day, NewDay), nested, BOUND, "message"),
            Case(whole, whole_call_by_hand(Reader(), Read("kitchen", 7))),
            Case("kernel.call between two declarations", whole_call(kernel, Read("kitchen", 7)), whole, BOUND),
        ]
        return {"Conversion between generations": await measure(cases, effort)}
