"""The bus against a simple model of one: whatever is done to it, in whatever order, both tell the same."""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel.testing import FakeClock
from aetherra.registry import Bus, Identity, Message, NoHandlerError, Request, Route, RouteConflictError, Subscription


class Told(Message, tag="model.told"):
    number: int


class TellA(Request[Told], tag="model.a"):
    number: int


class TellB(Request[Told], tag="model.b"):
    number: int


REQUESTS: dict[str, Any] = {"model.a": TellA, "model.b": TellB}
tags = st.sampled_from(sorted(REQUESTS))
policies = st.sampled_from(["drop_oldest", "drop_newest", "latest"])
steps = st.one_of(
    st.tuples(st.just("add"), tags, st.booleans()),
    st.tuples(st.just("remove"), tags, st.booleans()),
    st.tuples(st.just("call"), tags),
    st.tuples(st.just("subscribe"), policies, st.integers(1, 3), st.sampled_from(["model.told", "model.*", "other.*"])),
    st.tuples(st.just("unsubscribe"), st.integers(0, 5)),
    st.tuples(st.just("publish"), st.booleans()),
    st.tuples(st.just("read"), st.integers(0, 5)),
)


class Model:
    """A bus of dictionaries."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, bool], int] = {}
        self.mailboxes: list[tuple[deque[int], str, int, bool]] = []
        self.retained: int | None = None
        self.calls = self.errors = self.published = self.delivered = self.dropped = 0

    def put(self, mailbox: tuple[deque[int], str, int, bool], number: int) -> None:
        items, policy, capacity, hears = mailbox
        if not hears:
            return
        if len(items) >= (1 if policy == "latest" else capacity):
            self.dropped += 1
            if policy == "drop_newest":
                return
            items.popleft()
        items.append(number)
        self.delivered += 1


class World:
    def __init__(self) -> None:
        self.bus = Bus(clock=FakeClock())
        self.model = Model()
        self.routes: dict[tuple[str, bool], Route] = {}
        self.subscriptions: list[Subscription[Any]] = []
        self.number = 0

    async def step(self, step: tuple[Any, ...]) -> None:
        self.number += 1
        await getattr(self, f"_{step[0]}")(*step[1:])

    async def _add(self, tag: str, fallback: bool) -> None:
        mark, key = self.number, (tag, fallback)

        async def answer(request: Any) -> Told:
            if request.number % 2:
                await anyio.lowlevel.checkpoint()
            return Told(mark)

        route = Route(REQUESTS[tag], answer, Identity("plugin", "model", mark), fallback=fallback)
        if key in self.model.routes:
            with pytest.raises(RouteConflictError):
                self.bus.add_routes([route])
        else:
            self.bus.add_routes([route])
            self.model.routes[key], self.routes[key] = mark, route

    async def _remove(self, tag: str, fallback: bool) -> None:
        if (route := self.routes.pop((tag, fallback), None)) is not None:
            self.bus.remove_routes([route])
            del self.model.routes[tag, fallback]

    async def _call(self, tag: str) -> None:
        self.model.calls += 1
        wanted = self.model.routes.get((tag, False), self.model.routes.get((tag, True)))
        if wanted is None:
            self.model.errors += 1
            with pytest.raises(NoHandlerError):
                await self.bus.call(REQUESTS[tag](self.number))
        else:
            assert await self.bus.call(REQUESTS[tag](self.number)) == Told(wanted)

    async def _subscribe(self, policy: Any, capacity: int, pattern: str) -> None:
        if len(self.subscriptions) < 6:
            mailbox = (deque[int](), policy, capacity, pattern != "other.*")
            self.model.mailboxes.append(mailbox)
            if self.model.retained is not None:
                self.model.put(mailbox, self.model.retained)
            self.subscriptions.append(self.bus.subscribe(pattern, capacity=capacity, overflow=policy))

    async def _unsubscribe(self, index: int) -> None:
        if index < len(self.subscriptions):
            self.subscriptions.pop(index).close()
            self.model.mailboxes.pop(index)

    async def _publish(self, retain: bool) -> None:
        self.model.published += 1
        self.model.retained = self.number if retain else self.model.retained
        for mailbox in self.model.mailboxes:
            self.model.put(mailbox, self.number)
        await self.bus.publish(Told(self.number), retain=retain)

    async def _read(self, index: int) -> None:
        if index < len(self.subscriptions) and self.model.mailboxes[index][0]:
            event = await anext(self.subscriptions[index])
            assert event.number == self.model.mailboxes[index][0].popleft()

    def check(self) -> None:
        numbers, model = self.bus.statistics(), self.model
        assert [[letter.event.number for letter in sub.mailbox.items] for sub in self.subscriptions] == [  # type: ignore[attr-defined]
            list(items) for items, *_ in model.mailboxes
        ]
        assert {(route.tag, route.fallback): route.provider.generation for route in self.bus.routes()} == model.routes
        assert (numbers.calls, numbers.call_errors) == (model.calls, model.errors)
        assert (numbers.published, numbers.delivered, numbers.dropped) == (
            model.published,
            model.delivered,
            model.dropped,
        )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=60, deadline=None)
@given(todo=st.lists(steps, max_size=60))
def test_the_bus_and_its_model_differ(backend: str, todo: list[tuple[Any, ...]]) -> None:
    """Routes, fallbacks, calls, mailboxes by policy, what is retained, and all counts, after each step."""

    async def play() -> None:
        world = World()
        for step in todo:
            await world.step(step)
            world.check()

    anyio.run(play, backend=backend)
