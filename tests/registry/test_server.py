"""The control socket, both ends: a real socket, a real bus."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from anyio.abc import SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from aetherra.registry import (
    Bus,
    CallTimeoutError,
    HandlerError,
    Identity,
    Message,
    MessageValidationError,
    NoHandlerError,
    NoHostError,
    ProtocolError,
    RemoteError,
    Request,
    Route,
    connect,
    protocol,
    serve,
)
from aetherra.registry import (
    server as server_module,
)
from aetherra.registry import (
    session as session_module,
)
from aetherra.registry.faults import error_of, fault_of
from aetherra.registry.protocol import MIN_FRAME, Call, Cancel, Event, Hello, Listen, Reply
from aetherra.registry.wire import UnixWire

PROVIDER = Identity("plugin", "echo", 1)


class Echoed(Message, tag="echo.echoed"):
    text: str
    length: int


class Echo(Request[Echoed], tag="echo.echo"):
    text: str


class Repeat(Request[Echoed], tag="echo.repeat"):
    text: str
    times: int


class Hang(Request[None], tag="echo.hang"):
    pass


class Ticked(Message, tag="echo.ticked"):
    number: int


class Awkward(Message, tag="echo.awkward"):
    thing: Any


class ShortEchoed(Message, tag="echo.echoed"):
    text: str


class ShortEcho(Request[ShortEchoed], tag="echo.echo"):
    text: str


class Host:
    """A bus behind a socket, with one handler that echoes and one that hangs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bus = Bus()
        self.begun = self.cancelled = 0
        self.gates: dict[str, anyio.Event] = {}
        handlers: dict[type[Request[Any]], Any] = {Echo: self._echo, Hang: self._hang, Repeat: self._repeat}
        self.bus.add_routes(Route(request, answer, PROVIDER) for request, answer in handlers.items())

    async def _echo(self, request: Echo) -> Echoed:
        if request.text == "fail":
            raise ValueError("no echo here")
        if (gate := self.gates.get(request.text)) is not None:
            await gate.wait()
        return Echoed(request.text, len(request.text))

    async def _repeat(self, request: Repeat) -> Echoed:
        return Echoed(request.text * request.times, request.times)

    async def _hang(self, _: Hang) -> None:
        self.begun += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled += 1

    async def serve(self, *, task_status: TaskStatus[anyio.Event]) -> None:
        """Listen until the event that is returned is set."""
        async with serve(self.bus, self.path):
            stop = anyio.Event()
            task_status.started(stop)
            await stop.wait()

    @asynccontextmanager
    async def raw(self, *, greet: bool = True) -> AsyncGenerator[RawClient]:
        """Connect without the client, to misbehave."""
        stream = await anyio.connect_unix(str(self.path))
        async with stream:
            client = RawClient(stream)
            if greet:
                await client.say(Hello(protocol.PROTOCOL_VERSION, "raw"))
                assert isinstance(await client.hear(), Hello)
            yield client


class RawClient:
    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self.stream = stream
        self.lines = BufferedByteReceiveStream(stream)

    async def say(self, *frames: Any) -> None:
        await self.stream.send(b"".join(f if isinstance(f, bytes) else protocol.encode(f) for f in frames))

    async def hear(self) -> Any:
        return protocol.decode(await self.lines.receive_until(b"\n", protocol.MAX_FRAME))


async def until(condition: Callable[[], bool]) -> None:
    """Let tasks and sockets go on until something holds; the test's own timeout bounds it."""
    while not condition():
        await anyio.lowlevel.checkpoint()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncGenerator[Host]:
    """A host that listens."""
    host = Host(tmp_path / "control.sock")
    async with serve(host.bus, host.path):
        yield host


class TestCalls:
    async def test_a_call_by_name_is_answered(self, host: Host) -> None:
        """Builtins in, builtins out; the host says who it is."""
        async with connect(host.path) as remote:
            assert await remote.call_tag("echo.echo", {"text": "hi"}) == {"text": "hi", "length": 2}
            assert remote.name == "aetherra"

    async def test_a_typed_call_is_answered(self, host: Host) -> None:
        """The reply is of the request's own reply class."""
        async with connect(host.path) as remote:
            assert await remote.call(Echo("hi")) == Echoed("hi", 2)

    async def test_the_client_declares_what_it_reads(self, host: Host) -> None:
        """Fields of the reply that its declaration does not name are dropped."""
        async with connect(host.path) as remote:
            assert await remote.call(ShortEcho("hi")) == ShortEchoed("hi")

    async def test_many_calls_on_one_connection_are_answered_out_of_order(self, host: Host) -> None:
        """A slow call keeps no other from its reply."""
        texts = [str(i) for i in range(100)]
        host.gates = {text: anyio.Event() for text in texts}
        answers: list[str] = []
        async with connect(host.path) as remote, anyio.create_task_group() as group:

            async def call(text: str) -> None:
                answers.append((await remote.call(Echo(text))).text)

            for text in texts:
                group.start_soon(call, text)
            await until(lambda: host.bus.statistics().routes[0].in_hand == 100)
            for text in reversed(texts):
                host.gates[text].set()
                await until(lambda text=text: text in answers)  # type: ignore[misc]
        assert answers == texts[::-1]

    async def test_errors_come_with_their_class(self, host: Host) -> None:
        """What the same call raises in the host, with its text."""
        async with connect(host.path) as remote:
            with pytest.raises(NoHandlerError, match=r"nearest tags: 'echo\.echo'"):
                await remote.call_tag("echo.ech")
            with pytest.raises(MessageValidationError, match=r"\$\.text"):
                await remote.call_tag("echo.echo", {"text": 5})
            with pytest.raises(HandlerError, match="ValueError: no echo here") as caught:
                await remote.call(Echo("fail"))
            assert isinstance(caught.value.__cause__, RemoteError)
            with pytest.raises(CallTimeoutError, match="no time was left"):
                await remote.call_tag("echo.echo", {"text": "x"}, timeout=0)

    async def test_a_cancelled_call_cancels_the_handler_in_the_host(self, host: Host) -> None:
        """The connection serves on."""
        async with connect(host.path) as remote:
            async with anyio.create_task_group() as group:
                group.start_soon(remote.call, Hang())
                await until(lambda: host.begun == 1)
                group.cancel_scope.cancel()
            await until(lambda: host.cancelled == 1)
            assert (await remote.call(Echo("still"))).text == "still"

    async def test_a_leaving_client_cancels_its_calls(self, host: Host) -> None:
        """Work that nobody waits for is given up."""
        async with host.raw() as client:
            await client.say(Call(1, "echo.hang"), Call(2, "echo.hang"))
            await until(lambda: host.begun == 2)
        await until(lambda: host.cancelled == 2)

    async def test_what_is_too_long_for_a_frame_is_that_calls_own_error(self, tmp_path: Path) -> None:
        """The connection, and the other calls on it, go on, whichever end takes no more."""
        host = Host(tmp_path / "control.sock")
        async with serve(host.bus, host.path, max_frame=MIN_FRAME), connect(host.path) as remote:
            with pytest.raises(ProtocolError, match="at most 262,144 bytes"):
                await remote.call(Echo("x" * MIN_FRAME))
            assert (await remote.call(Echo("short"))).length == 5
        async with serve(host.bus, host.path), connect(host.path, max_frame=MIN_FRAME) as remote:
            with pytest.raises(ProtocolError, match="at most 262,144 bytes"):
                await remote.call(Repeat("x", MIN_FRAME))
            assert (await remote.call(Echo("short"))).length == 5

    async def test_a_host_that_goes_away_is_told_to_every_caller(self, tmp_path: Path) -> None:
        """Calls in flight and later ones raise; none waits for its timeout."""
        host = Host(tmp_path / "control.sock")
        errors: list[Exception] = []
        async with anyio.create_task_group() as group, contextlib.AsyncExitStack() as stack:
            stop = await group.start(host.serve)
            remote = await stack.enter_async_context(connect(host.path))

            async def call() -> None:
                try:
                    await remote.call(Hang())
                except ProtocolError as exc:
                    errors.append(exc)

            async with anyio.create_task_group() as callers:
                for _ in range(2):
                    callers.start_soon(call)
                await until(lambda: host.begun == 2)
                stop.set()
            with pytest.raises(ProtocolError, match="closed the connection") as caught:
                await remote.call(Echo("late"))
        assert len({id(error) for error in [*errors, caught.value]}) == 3


class TestEvents:
    async def test_a_listener_hears_what_matches(self, host: Host) -> None:
        """From when the block is entered, in order."""
        async with connect(host.path) as remote, remote.listen("echo.*") as events:
            for number in range(3):
                await host.bus.publish(Ticked(number))
            heard = [await anext(events) for _ in range(3)]
        assert [(event.tag, event.body, event.dropped) for event in heard] == [
            ("echo.ticked", {"number": number}, 0) for number in range(3)
        ]

    @pytest.mark.parametrize("events_heard", [0, 1])
    async def test_leaving_the_block_ends_the_listening_in_the_host(self, host: Host, events_heard: int) -> None:
        """Also when no event ever came."""
        async with connect(host.path) as remote:
            async with remote.listen("echo.*") as events:
                for number in range(events_heard):
                    await host.bus.publish(Ticked(number))
                    await anext(events)
                assert host.bus.statistics().subscriptions == 1
            await until(lambda: host.bus.statistics().subscriptions == 0)
            assert (await remote.call(Echo("still"))).text == "still"

    async def test_an_event_that_is_no_json_is_counted_as_missed(self, host: Host) -> None:
        """The listener hears the next one."""
        async with connect(host.path) as remote, remote.listen("echo.*") as events:
            await host.bus.publish(Awkward(object()))
            await host.bus.publish(Ticked(1))
            event = await anext(events)
            assert (event.body, event.dropped) == ({"number": 1}, 1)

    async def test_a_listener_that_does_not_read_keeps_no_reply_back(self, host: Host) -> None:
        """Its own backlog is bounded and drops the oldest, counted; calls on the connection go on."""
        async with connect(host.path) as remote, remote.listen("echo.ticked", capacity=10) as events:
            for number in range(100):
                await host.bus.publish(Ticked(number))
            assert (await remote.call(Echo("hi"))).text == "hi"
            heard = [await anext(events) for _ in range(10)]
        assert [event.body["number"] for event in heard] == list(range(90, 100))
        assert heard[-1].dropped == 90

    async def test_a_client_that_never_reads_costs_bounded_memory(self, host: Host) -> None:
        """Its mailbox in the host drops and counts, and another client is unharmed."""
        big = "x" * 100_000
        async with host.raw() as client, connect(host.path) as other:
            await client.say(Listen(1, "echo.echoed"))
            assert await client.hear() == Reply(1)
            for number in range(1500):
                await host.bus.publish(Echoed(big, number))
                if number % 100 == 0:
                    await other.call(Echo("hi"))
            numbers = host.bus.statistics()
            assert numbers.dropped > 0
            assert numbers.delivered == 1500
            event = await client.hear()
            assert isinstance(event, Event)
        await until(lambda: host.bus.statistics().subscriptions == 0)

    async def test_a_host_that_goes_away_ends_the_listening(self, tmp_path: Path) -> None:
        """The reader hears what came before, then the error."""
        host = Host(tmp_path / "control.sock")
        async with anyio.create_task_group() as group, contextlib.AsyncExitStack() as stack:
            stop = await group.start(host.serve)
            remote = await stack.enter_async_context(connect(host.path))
            events = await stack.enter_async_context(remote.listen("*"))
            await host.bus.publish(Ticked(1))
            assert (await anext(events)).body == {"number": 1}
            stop.set()
            with pytest.raises(ProtocolError, match="closed the connection"):
                await anext(events)


class TestMisbehaviour:
    @pytest.mark.parametrize(
        ("line", "why"),
        [
            (b"garbage\n", "expected one frame"),
            (b"\xff\xfe\n", "expected one frame"),
            (protocol.encode(Hello(2, "again")), "'hello' comes once, first"),
            (protocol.encode(Reply(1)), "a client may send call, listen, publish, cancel and ping, not 'reply'"),
            (b"x" * (17 << 20) + b"\n", "a longer one was skipped"),
        ],
    )
    async def test_garbage_is_told_and_harms_nobody(self, host: Host, line: bytes, why: str) -> None:
        """The client hears why, and its calls go on, as those of a second client do."""
        async with connect(host.path) as other, host.raw() as client:
            await client.say(Call(1, "echo.hang"))
            await until(lambda: host.begun == 1)
            await client.say(line)
            fault = await client.hear()
            assert (fault.id, fault.error) == (0, "ProtocolError")
            assert why in fault.message
            await client.say(Call(2, "echo.echo", msgspec.Raw(b'{"text":"on"}')))
            assert (await client.hear()).id == 2
            assert (host.begun, host.cancelled) == (1, 0)
            assert (await other.call(Echo("unharmed"))).text == "unharmed"

    @pytest.mark.parametrize(
        ("first", "why"),
        [
            (Hello(99, "future"), "99"),
            (Call(1, "echo.echo"), "expected 'hello' first, got 'call'"),
            (b"GET / HTTP/1.1\r\n", "expected one frame"),
        ],
    )
    async def test_a_wrong_greeting_is_refused_with_the_reason(self, host: Host, first: Any, why: str) -> None:
        """Another version, no hello at all, another protocol."""
        async with host.raw(greet=False) as client:
            await client.say(first)
            fault = await client.hear()
            assert fault.error == "ProtocolError"
            assert why in fault.message

    async def test_silence_is_not_waited_for(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that says nothing is told so and closed."""
        monkeypatch.setattr(server_module, "GREETING_TIMEOUT", 0.01)
        async with host.raw(greet=False) as client:
            assert "no 'hello' came within" in (await client.hear()).message

    async def test_a_hundred_megabytes_are_gathered(self, host: Host) -> None:
        """A line without end is skipped as it comes; the host holds none of it, and its sender hears so at the end."""
        async with connect(host.path) as other, host.raw() as client:
            for _ in range(100):
                await client.say(b"x" * 1_000_000)
            assert (await other.call(Echo("unharmed"))).text == "unharmed"
            await client.say(b"\n")
            assert "at most 16,777,216 bytes" in (await client.hear()).message

    async def test_a_client_that_leaves_in_the_middle_of_a_frame_harms_nobody(self, host: Host) -> None:
        """Half a line is no frame."""
        async with host.raw() as client:
            await client.say(b'{"op":"call","id":1,"tag":"echo.')
        async with connect(host.path) as other:
            assert (await other.call(Echo("unharmed"))).text == "unharmed"
        assert host.begun == 0

    async def test_an_id_in_use_is_refused_and_the_first_call_goes_on(self, host: Host) -> None:
        """Once it is finished, the id may be used again."""
        host.gates["slow"] = anyio.Event()
        async with host.raw() as client:
            await client.say(Call(7, "echo.echo", msgspec.Raw(b'{"text":"slow"}')), Listen(7, "*"))
            fault = await client.hear()
            assert (fault.id, fault.error, fault.message) == (7, "ProtocolError", "id 7 is in use")
            assert isinstance(error_of(fault), ProtocolError)
            host.gates["slow"].set()
            assert msgspec.json.decode((await client.hear()).body) == {"text": "slow", "length": 4}
            await client.say(Call(7, "echo.echo", msgspec.Raw(b'{"text":"x"}')))
            assert (await client.hear()).id == 7

    async def test_too_many_calls_in_flight_are_refused(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cancelling one makes room."""
        monkeypatch.setattr(session_module, "MAX_IN_FLIGHT", 2)
        async with host.raw() as client:
            await client.say(*(Call(i, "echo.hang") for i in range(1, 4)))
            fault = await client.hear()
            assert (fault.id, fault.error) == (3, "ProtocolError")
            await client.say(Cancel(1), Cancel(99))
            await until(lambda: host.cancelled == 1)
            await client.say(Call(4, "echo.echo", msgspec.Raw(b'{"text":"x"}')))
            assert isinstance(await client.hear(), Reply)

    async def test_too_many_clients_are_refused(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next one is told, and a place that becomes free can be taken."""
        monkeypatch.setattr(server_module, "MAX_CLIENTS", 1)
        async with connect(host.path):
            with pytest.raises(ProtocolError, match="1 clients are connected already"):
                async with connect(host.path):
                    pass
        while True:
            with contextlib.suppress(ProtocolError):
                async with connect(host.path) as remote:
                    assert (await remote.call(Echo("x"))).length == 1
                break

    async def test_a_body_that_is_no_object_is_the_calls_own_error(self, host: Host) -> None:
        """The connection goes on."""
        async with connect(host.path) as remote:
            with pytest.raises(MessageValidationError, match="Expected `object`"):
                await remote.call_tag("echo.echo", [1])
            assert (await remote.call(Echo("x"))).length == 1

    async def test_a_cancelled_sender_leaves_no_half_frame(self, host: Host) -> None:
        """A reply that the client gave up on while it was written does not spoil the next one."""
        big = "x" * 4_000_000
        async with host.raw() as client:
            await client.say(Call(1, "echo.echo", msgspec.Raw(json.dumps({"text": big}).encode())))
            await until(lambda: host.bus.statistics().routes[0].calls == 1)
            await anyio.wait_all_tasks_blocked()
            await client.say(Cancel(1), Call(2, "echo.echo", msgspec.Raw(b'{"text":"small"}')))
            frame = await client.hear()
            while frame.id != 2:
                assert isinstance(frame, Reply)
                frame = await client.hear()
            assert msgspec.json.decode(frame.body)["text"] == "small"


class TestServe:
    async def test_only_the_owner_may_connect(self, host: Host) -> None:
        """The socket's mode is 0600."""
        assert stat.S_IMODE(host.path.stat().st_mode) == 0o600

    async def test_the_socket_is_gone_afterwards(self, tmp_path: Path) -> None:
        """Nothing is left where nobody listens, and a client is told that no host runs."""
        path = tmp_path / "control.sock"
        async with serve(Bus(), path):
            assert path.exists()
        assert not path.exists()
        with pytest.raises(NoHostError, match=r"no host is running here: .*control\.sock"):
            async with connect(path):
                pass

    async def test_a_stale_socket_of_a_killed_host_is_replaced(self, tmp_path: Path) -> None:
        """Before that it answers nobody, which is no host."""
        path = tmp_path / "control.sock"
        code = f"import os, signal, socket; s = socket.socket(socket.AF_UNIX); s.bind({str(path)!r}); s.listen();"
        killed = await anyio.run_process(
            [sys.executable, "-c", code + "os.kill(os.getpid(), signal.SIGKILL)"], check=False
        )
        assert killed.returncode == -signal.SIGKILL
        assert path.exists()
        with pytest.raises(NoHostError):
            async with connect(path):
                pass
        host = Host(path)
        async with serve(host.bus, path), connect(path) as remote:
            assert (await remote.call(Echo("hi"))).text == "hi"

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no way round the limit")
    async def test_a_path_longer_than_a_socket_address_works(self, tmp_path: Path) -> None:
        """However deep the project is."""
        folder = tmp_path / ("deep" * 20) / ("er" * 30)
        folder.mkdir(parents=True)
        host = Host(folder / "control.sock")
        assert len(str(host.path)) > 108
        async with serve(host.bus, host.path), connect(host.path) as remote:
            assert (await remote.call(Echo("hi"))).text == "hi"
            assert stat.S_IMODE(host.path.stat().st_mode) == 0o600
        assert not host.path.exists()

    async def test_a_missing_folder_is_no_host(self, tmp_path: Path) -> None:
        """With a short path and with a long one."""
        for path in (tmp_path / "none" / "x.sock", tmp_path / ("none" * 30) / "x.sock"):
            with pytest.raises(NoHostError):
                async with connect(path):
                    pass

    async def test_the_body_raises_what_it_raises(self, host: Host, tmp_path: Path) -> None:
        """Neither end wraps it in a group, and a group stays the group that it was."""
        fault, group = ValueError("mine"), ExceptionGroup("", [ValueError("mine")])
        for error in (fault, group):
            with pytest.raises(type(error)) as caught:
                async with connect(host.path):
                    raise error
            assert caught.value is error
            with pytest.raises(type(error)) as caught:
                async with serve(Bus(), tmp_path / "other.sock"):
                    raise error
            assert caught.value is error

    async def test_what_listens_and_says_nothing_is_no_host(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The client gives up with a reason."""
        monkeypatch.setattr("aetherra.registry.client.GREETING_TIMEOUT", 0.01)
        path = tmp_path / "mute.sock"
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(str(path))
            mute.listen()
            with pytest.raises(ProtocolError, match="did not say 'hello' within"):
                async with connect(path):
                    pass

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            (b"garbage\n", "expected one frame"),
            (protocol.encode(fault_of(0, ProtocolError("go away"), closing=True)), "go away"),
        ],
    )
    async def test_a_host_that_talks_garbage_is_told_to_the_caller(self, tmp_path: Path, line: bytes, why: str) -> None:
        """The call in flight ends at once with the reason, be it the client's finding or the host's own word."""
        path = tmp_path / "odd.sock"

        async def misbehave(stream: SocketStream) -> None:
            async with stream:
                await stream.send(protocol.encode(Hello(protocol.PROTOCOL_VERSION, "odd")))
                client = RawClient(stream)
                while not isinstance(await client.hear(), Call):
                    pass
                await stream.send(line)

        async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, misbehave)
            async with connect(path) as remote:
                with pytest.raises(ProtocolError, match=why):
                    await remote.call_tag("echo.echo")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

    async def test_stopping_does_not_wait_for_a_client_that_never_reads(self, tmp_path: Path) -> None:
        """A reply in the middle of being written is given up."""
        host = Host(tmp_path / "control.sock")
        async with contextlib.AsyncExitStack() as stack, serve(host.bus, host.path):
            client = await stack.enter_async_context(host.raw())
            body = msgspec.Raw(json.dumps({"text": "x" * 4_000_000}).encode())
            await client.say(Call(1, "echo.echo", body))
            await until(lambda: host.bus.statistics().routes[0].calls == 1)
            await anyio.wait_all_tasks_blocked()


OTHER_PROCESS = """
import json, sys
import anyio
from aetherra.registry import HandlerError, Message, Request, connect

class Echoed(Message, tag="echo.echoed"):
    text: str

class Echo(Request["Echoed"], tag="echo.echo"):
    text: str

async def main(path):
    async with connect(path, name="other") as remote:
        async with remote.listen("echo.ticked") as events:
            reply = await remote.call(Echo("from afar"))
            print(json.dumps(reply.text), flush=True)
            numbers = [(await anext(events)).body["number"] for _ in range(3)]
            print(json.dumps(numbers), flush=True)
        try:
            await remote.call(Echo("fail"))
        except HandlerError as exc:
            print(json.dumps(str(exc.__cause__)), flush=True)

anyio.run(main, sys.argv[1], backend=sys.argv[2])
"""


class TestAnotherProcess:
    async def test_it_calls_and_listens(self, host: Host, anyio_backend_name: str) -> None:
        """A separate Python process hears events, gets its reply, and a handler's error with its cause."""
        command = [sys.executable, "-c", OTHER_PROCESS, str(host.path), anyio_backend_name]
        async with anyio.create_task_group() as group:

            async def tick() -> None:
                await until(lambda: host.bus.statistics().subscriptions == 1)
                for number in range(3):
                    await host.bus.publish(Ticked(number))

            group.start_soon(tick)
            done = await anyio.run_process(command, stderr=None)
        reply, numbers, cause = (json.loads(line) for line in done.stdout.splitlines())
        assert (reply, numbers) == ("from afar", [0, 1, 2])
        assert "ValueError: no echo here" in cause


class TestWire:
    async def test_a_cancelled_receive_loses_what_came(self, tmp_path: Path) -> None:
        """Bytes that arrive just as the reader gives up are there for the next; then the end is told, each time."""
        near, far = socket.socketpair(socket.AF_UNIX)
        wire = UnixWire(near)
        with far:
            for number in range(50):
                with anyio.CancelScope() as scope:
                    far.sendall(b"%d\n" % number)
                    if number % 2:
                        scope.cancel()
                    assert await wire.receive() == b"%d\n" % number
                if scope.cancelled_caught:
                    assert await wire.receive() == b"%d\n" % number
            far.sendall(b"end")
            assert await wire.receive() == b"end"
        for _ in range(2):
            with pytest.raises(anyio.EndOfStream):
                await wire.receive()
        wire.close()
        with pytest.raises(anyio.ClosedResourceError):
            await wire.receive()

    async def test_closing_leaves_the_reader_waiting(self) -> None:
        """It is told that its own end was closed."""
        near, far = socket.socketpair(socket.AF_UNIX)
        wire = UnixWire(near)
        errors: list[Exception] = []

        async def read() -> None:
            with pytest.raises(anyio.ClosedResourceError) as raised:
                await wire.receive()
            errors.append(raised.value)

        with far:
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                wire.close()
        assert len(errors) == 1

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_native_cancellation_loses_what_was_read(self) -> None:
        """``Task.cancel()`` between the loop's read and the reader's turn leaves the bytes for the next."""
        near, far = socket.socketpair(socket.AF_UNIX)
        wire = UnixWire(near)
        with far:
            reading = asyncio.create_task(wire.receive())
            await anyio.wait_all_tasks_blocked()
            far.sendall(b"kept")
            wire._on_readable()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await wire.receive() == b"kept"
        wire.close()
