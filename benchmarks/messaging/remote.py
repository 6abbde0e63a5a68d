"""The control socket: calls and events from another process, beside a bare echo of the very bytes they take."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.abc import ByteStream, SocketStream

from aetherra.registry import RemoteHost, connect
from measuring.figures import Case, Effort, Figure, Run, measure
from messaging.calls import CALLERS, concurrently
from messaging.served import Script
from messaging.vocabulary import Add

BOUND = 2.0
BURST = 500
"""Events at a time; less than any mailbox on their way holds, so that none is dropped."""
START_DEADLINE = 30.0


@contextmanager
def process(what: str, path: Path, socket: Path) -> Generator[None]:
    """Run ``served.py`` until the body is left; its socket is there when the body begins."""
    command = [sys.executable, str(Path(__file__).with_name("served.py")), what, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
        try:
            begun = time.monotonic()
            while not socket.exists():
                if other.poll() is not None or time.monotonic() - begun > START_DEADLINE:
                    raise SystemExit(f"the other process did not start: {' '.join(command)}")
                time.sleep(0.01)
            yield
        finally:
            if other.stdin is not None:
                other.stdin.close()
            other.wait(START_DEADLINE)


class Wire:
    """Passes bytes between a client and a host, and keeps them: what a frame is, without asking its codec."""

    def __init__(self, host: Path) -> None:
        self._host = host
        self.sent, self.received = bytearray(), bytearray()

    async def carry(self, client: SocketStream) -> None:
        async with client, await anyio.connect_unix(self._host) as host, anyio.create_task_group() as group:
            group.start_soon(self._pass, client, host, self.sent)
            await self._pass(host, client, self.received)
            group.cancel_scope.cancel()

    async def _pass(self, source: ByteStream, target: ByteStream, kept: bytearray) -> None:
        try:
            async for data in source:
                kept += data
                await target.send(data)
            await target.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    def clear(self) -> None:
        self.sent.clear()
        self.received.clear()


async def frames(host: Path, relay: Path) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the bytes of a call and its reply, of a burst's call, and of one of its events, as a client meets them."""
    wire = Wire(host)
    async with await anyio.create_unix_listener(relay) as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, wire.carry)
        async with connect(relay) as client:
            await client.call_tag("bench.add", {"left": 2, "right": 3})
            wire.clear()
            await client.call_tag("bench.add", {"left": 2, "right": 3})
            call, reply = bytes(wire.sent), bytes(wire.received)
            async with client.listen("bench.tick") as events:
                await client.call_tag("bench.burst", {"count": 1})
                await anext(aiter(events))
                wire.clear()
                await client.call_tag("bench.burst", {"count": 0})
                burst, no_event = bytes(wire.sent), len(wire.received)
                wire.clear()
                await client.call_tag("bench.burst", {"count": 1})
                await anext(aiter(events))
                both = bytes(wire.received)
                event = both[: len(both) - no_event]  # an echo asks for no more than their number
        group.cancel_scope.cancel()
    return call, reply, burst, event


@asynccontextmanager
async def echo(path: Path, script: Script) -> AsyncGenerator[SocketStream]:
    """Connect to the echo, and tell it what to answer."""
    async with await anyio.connect_unix(path) as stream:
        await stream.send(msgspec.json.encode(script) + b"\n")
        await stream.receive()
        yield stream


def exchanged(stream: SocketStream, request: bytes, expected: int, in_flight: int = 1) -> Run:
    """The floor: so many requests sent one by one, then all their answers read."""

    async def run(count: int) -> None:
        for _ in range(count // in_flight):
            for _ in range(in_flight):
                await stream.send(request)
            missing = expected * in_flight
            while missing > 0:
                missing -= len(await stream.receive())

    return run


def called_by_tag(host: RemoteHost) -> Run:
    """Calls by name, builtins in and out."""

    async def run(count: int) -> None:
        body = {"left": 2, "right": 3}
        for _ in range(count):
            await host.call_tag("bench.add", body)

    return run


def called_typed(host: RemoteHost) -> Run:
    """Typed calls."""

    async def run(count: int) -> None:
        request = Add(2, 3)
        for _ in range(count):
            await host.call(request)

    return run


def heard(host: RemoteHost, events: Any) -> Run:
    """Bursts that the host publishes on demand, read to the last."""

    async def run(count: int) -> None:
        for _ in range(count // BURST):
            await host.call_tag("bench.burst", {"count": BURST})
            async for event in events:
                if event.dropped:
                    raise SystemExit(f"{event.dropped} events were dropped; the figure would not be one")
                if event.body["number"] == BURST - 1:
                    break

    return run


def in_bursts(run: Run) -> Run:
    """The same, where one operation of ``run`` brings a whole burst."""

    async def run_bursts(count: int) -> None:
        await run(count // BURST)

    return run_bursts


async def measured(effort: Effort) -> dict[str, list[Figure]]:
    """Measure the socket, with a process on its other end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        socket, path = folder / "control.sock", folder / "echo.sock"
        with process("host", folder, socket), process("echo", path, path):
            call, reply, burst, event = await frames(socket, folder / "relay.sock")
            one = f"floor: bare anyio echo, {len(call)} bytes out, {len(reply)} back"
            many = f"{one}, {CALLERS} in flight"
            stream_floor = f"floor: bare anyio stream of {len(event)} bytes an event"
            async with (
                echo(path, Script(len(call), reply, 1)) as calls,
                echo(path, Script(len(burst), event, BURST)) as bursts,
                connect(socket) as host,
                connect(socket) as ear,
                ear.listen("bench.tick") as events,
            ):
                by_tag, typed = called_by_tag(host), called_typed(host)
                cases = [
                    Case(one, exchanged(calls, call, len(reply))),
                    Case("RemoteHost.call_tag", by_tag, one, BOUND),
                    Case("RemoteHost.call", typed, one, BOUND),
                    Case(many, exchanged(calls, call, len(reply), CALLERS), step=CALLERS),
                    Case(f"RemoteHost.call_tag, {CALLERS} in flight", concurrently(by_tag), many, BOUND, step=CALLERS),
                    Case(f"RemoteHost.call, {CALLERS} in flight", concurrently(typed), many, BOUND, step=CALLERS),
                    Case(
                        stream_floor, in_bursts(exchanged(bursts, burst, len(event) * BURST)), unit="event", step=BURST
                    ),
                    Case(
                        f"RemoteHost.listen, bursts of {BURST}", heard(ear, events), stream_floor, BOUND, "event", BURST
                    ),
                ]
                return {"The control socket, another process answers": await measure(cases, effort)}
