"""Clients that misbehave against a host in another process, really run: crowds, silence, storms, sudden death."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from aetherra.registry import HandlerError, MessageValidationError, NoHandlerError, connect_blocking

CROWD = 10_000
PLUGIN = """
from aetherra.plugins import Message, Plugin, Request, handler

class Deep(Message, tag="odd.deep"):
    a: list[dict[str, list["Leaf"]]]

class Leaf(Message, tag="odd.leaf"):
    d: int

class Storm(Request[None], tag="odd.storm"):
    events: int

class Noise(Message, tag="odd.noise"):
    text: str

class AskDeep(Request[None], tag="odd.ask_deep"):
    deep: Deep

class Die(Request[None], tag="odd.die"):
    how: str

class Odd(Plugin):
    @handler
    async def storm(self, request: Storm) -> None:
        for _ in range(request.events):
            await self.ctx.publish(Noise("x" * 10_000))

    @handler
    async def ask(self, request: AskDeep) -> None:
        pass

    @handler
    async def die(self, request: Die) -> None:
        if request.how == "exit":
            raise SystemExit(3)
        raise BaseException("not even an Exception")
"""


class RunningHost:
    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process = folder, process
        self.path = folder / ".aetherra" / "control.sock"

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(self.path))  # without a timeout, as then a full queue is waited for
        except OSError:
            client.close()
            raise
        client.settimeout(20)
        return client

    def greeted(self) -> socket.socket:
        client = self.connect()
        client.sendall(b'{"op":"hello","version":2,"name":"odd"}\n')
        assert b'"op":"hello"' in client.recv(4096)
        return client

    def answers(self) -> None:
        """Make sure that others are still served."""
        with connect_blocking(self.path) as host:
            assert host.call_tag("kernel.status", timeout=20.0)["pid"] == self.process.pid


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningHost]:
    """A host of its own process, over a project with one odd plugin."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.py").write_text(PLUGIN)
    document = {"kernel": {"discover": False}, "plugins": {"odd": {"source": "odd.py"}}}
    (folder / "config.json").write_text(json.dumps(document))
    command = [str(Path(sys.executable).with_name("aetherra")), "run", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    running = RunningHost(folder, process)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                running.connect().close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "log").read_text()


class TestCrowds:
    @pytest.mark.slow
    @pytest.mark.timeout(240)
    def test_ten_thousand_connections_leave_something_behind(self, host: RunningHost) -> None:
        """Opened and dropped, with a greeting, half of one, or none: no descriptor stays, nor memory for each."""
        host.answers()
        descriptors, memory = host.descriptors(), host.memory()
        for number in range(CROWD):
            with host.connect() as client:
                if number % 3 == 1:
                    client.sendall(b'{"op":"hello","version":2,"name":"x"}\n')
                elif number % 3 == 2:
                    client.sendall(b'{"op":"hel')
        host.answers()
        deadline = time.monotonic() + 30
        while host.descriptors() > descriptors and time.monotonic() < deadline:
            time.sleep(0.05)
        assert host.descriptors() <= descriptors
        assert host.memory() - memory < 30_000_000

    def test_silent_connections_lock_others_out(self, host: RunningHost) -> None:
        """More connections than there may be clients, none of which says a word, keep no greeted one out."""
        silent = [host.connect() for _ in range(150)]
        try:
            host.answers()
        finally:
            for client in silent:
                client.close()

    def test_a_killed_client_harms_others(self, host: RunningHost) -> None:
        """Killed in the middle of a call and of a frame: its call is cancelled, the others go on."""
        code = (
            "import sys\nfrom aetherra.registry import connect_blocking\n"
            f"with connect_blocking({str(host.path)!r}) as host:\n"
            "    with host.listen('odd.*') as events:\n        print('listening', flush=True)\n        next(events)\n"
        )
        killed = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"listening\n"
        killed.kill()
        killed.wait()
        killed.stdout.close()
        host.answers()


class TestBytes:
    def test_half_of_any_frame_harms_others(self, host: RunningHost) -> None:
        """Cut at every byte, then closed."""
        frame = b'{"op":"call","id":1,"tag":"kernel.status","body":{}}\n'
        for end in range(len(frame)):
            with host.greeted() as client:
                client.sendall(frame[:end])
        host.answers()

    def test_a_client_that_never_reads_fills_the_host(self, host: RunningHost) -> None:
        """It asks for all events and for more replies than fit, and reads nothing, while 100 MB of events pass."""
        with host.greeted() as mute, connect_blocking(host.path) as other:
            mute.sendall(b'{"op":"listen","id":1,"pattern":"*"}\n')
            before = host.memory()
            for _ in range(10):
                other.call_tag("odd.storm", {"events": 1000}, timeout=20.0)
            assert host.memory() - before < 60_000_000
            status = other.call_tag("kernel.statistics")
            assert status["bus"]["dropped"] > 0
        host.answers()

    def test_a_hundred_megabytes_are_held(self, host: RunningHost) -> None:
        """A line without end is skipped while it comes."""
        with host.greeted() as client:
            before = host.memory()
            for _ in range(100):
                client.sendall(b"x" * 1_000_000)
            held = host.memory() - before
            client.sendall(b"\n")
            assert b"longer one was skipped" in client.recv(4096)
        assert held < 40_000_000
        host.answers()


class TestErrors:
    def test_a_fault_at_depth_five_has_no_path(self, host: RunningHost) -> None:
        """The text leads to the field."""
        body = {"deep": {"a": [{"b": [{"d": 1}, {"d": "x"}]}]}}
        with (
            connect_blocking(host.path) as client,
            pytest.raises(MessageValidationError, match=r"\$\.deep\.a\[0\]\[\.\.\.\]\[1\]\.d"),
        ):
            client.call_tag("odd.ask_deep", body)

    def test_an_unknown_tag_is_alone(self, host: RunningHost) -> None:
        """Its neighbours are named."""
        with connect_blocking(host.path) as client, pytest.raises(NoHandlerError, match=r"'odd\.storm'"):
            client.call_tag("odd.strom")

    @pytest.mark.parametrize("how", ["exit", "base"])
    def test_a_handler_ends_the_host(self, host: RunningHost, how: str) -> None:
        """Neither ``sys.exit()`` nor a bare ``BaseException`` of a handler does; the caller hears of it."""
        with connect_blocking(host.path) as client, pytest.raises(HandlerError, match=r"SystemExit|BaseException"):
            client.call_tag("odd.die", {"how": how})
        host.answers()
