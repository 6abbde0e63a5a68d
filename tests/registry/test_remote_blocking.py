"""A program without an event loop that calls a host in another thread, over a real socket."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from aetherra.registry import (
    HOST,
    Bus,
    CallTimeoutError,
    Message,
    NoHandlerError,
    NoHostError,
    Request,
    Route,
    connect_blocking,
    serve,
)


class Doubled(Message, tag="double.doubled"):
    number: int


class Double(Request[Doubled], tag="double.double"):
    number: int


async def double(request: Double) -> Doubled:
    return Doubled(request.number * 2)


class World:
    def __init__(self, path: Path, portal: BlockingPortal, bus: Bus) -> None:
        self.path, self.portal, self.bus = path, portal, bus


@pytest.fixture
def world(tmp_path: Path) -> Generator[World]:
    """A host on an event loop of its own."""
    path, bus = tmp_path / "control.sock", Bus()
    bus.add_routes([Route(Double, double, HOST)])

    @asynccontextmanager
    async def serving():
        async with serve(bus, path):
            yield

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving()):
        yield World(path, portal, bus)


class TestBlocking:
    def test_a_call_needs_an_event_loop(self, world: World) -> None:
        """By class and by name; errors are those that an async program gets."""
        with connect_blocking(world.path) as host:
            assert host.call(Double(21)) == Doubled(42)
            assert host.call_tag("double.double", {"number": 2}) == {"number": 4}
            with pytest.raises(NoHandlerError, match=r"nearest tags: 'double\.double'"):
                host.call_tag("double.doubl")

    def test_threads_get_each_others_replies(self, world: World) -> None:
        """One connection serves several at a time."""
        with connect_blocking(world.path) as host, ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(lambda n: host.call(Double(n)).number, range(200)))
        assert replies == [number * 2 for number in range(200)]

    def test_an_event_is_not_heard(self, world: World) -> None:
        """One after the other, by class and by pattern; one that does not come is waited for as long as asked."""
        with connect_blocking(world.path) as host, host.listen(Doubled) as events, host.listen("double.*") as raw:
            with pytest.raises(CallTimeoutError, match=r"no event 'double\.doubled' within 0\.01 s"):
                events.next(timeout=0.01)
            world.portal.call(world.bus.subscribe, Doubled)  # from when on the host knows the class
            assert host.publish(Doubled(1)) == 3
            world.portal.call(world.bus.publish, Doubled(2))
            assert [next(events), events.next(timeout=10)] == [Doubled(1), Doubled(2)]
            assert next(raw).body == {"number": 1}

    def test_no_host_is_waited_for(self, tmp_path: Path) -> None:
        """Where nobody listens, it says so."""
        with pytest.raises(NoHostError), connect_blocking(tmp_path / "control.sock"):
            pass
