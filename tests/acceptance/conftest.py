"""A project on disk, commands run over it, and real hosts in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from aetherra.registry import connect

AETHERRA = str(Path(sys.executable).with_name("aetherra"))
DEADLINE = 20.0
"""Seconds after which what a test waits for has failed to happen."""


def wait_until(condition: Callable[[], Any], what: Callable[[], str], *, seconds: float = DEADLINE) -> Any:
    """Poll until a condition holds and return its value, or fail saying what did not come true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s: {what()}")
        time.sleep(0.01)
    return value


class Ended(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which must be exactly one JSON document."""
        return json.loads(self.out)


class RunningHost:
    """``aetherra run`` in a process of its own, its output in files."""

    def __init__(self, project: Project, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.project = project
        number = len(list(project.logs.iterdir()))
        self._out, self._err = project.logs / f"{number}.out", project.logs / f"{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [AETHERRA, "run", "--backend", project.backend, *arguments],
                cwd=project.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    @property
    def out(self) -> str:
        """What it wrote to standard output so far."""
        return self._out.read_text(encoding="utf-8")

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Wait until the log says something."""
        wait_until(
            lambda: self.log.count(text) >= times or self.process.poll() is not None, lambda: f"{text!r} in {self.log}"
        )
        assert self.log.count(text) >= times, self.log

    def wait_until_serving(self) -> None:
        """Wait until it says whom it hosts."""
        self.wait_for("aetherra.run: hosting")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process."""
        self.process.send_signal(number)

    def wait(self, *, seconds: float = DEADLINE) -> int:
        """Return its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the host was still there after {seconds:g} s: {self.log}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit status."""
        self.send(number)
        return self.wait()

    def kill(self) -> None:
        """End it as a power switch would, if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def call(self, tag: str, body: Any = None, *, timeout: float = 10.0) -> Any:
        """Call it over its control socket; raises what the call raises."""

        async def converse() -> Any:
            async with connect(self.project.socket) as host:
                return await host.call_tag(tag, body, timeout=timeout)

        return anyio.run(converse)


class Project:
    """A folder with plugins and a configuration."""

    def __init__(self, path: Path, logs: Path, backend: str) -> None:
        self.path = path
        self.logs = logs
        self.backend = backend
        self._document: dict[str, Any] = {"kernel": {"discover": False}, "plugins": {}}

    command = AETHERRA

    @property
    def data(self) -> Path:
        """Where a host keeps its state."""
        return self.path / ".aetherra"

    @property
    def socket(self) -> Path:
        """Where a host listens."""
        return self.data / "control.sock"

    def configure(self, *, plugins: dict[str, Any] | None = None, **kernel: Any) -> None:
        """Set kernel settings and plugin sections, and write ``config.json``."""
        self._document["kernel"].update(kernel)
        for name, section in (plugins or {}).items():
            self._document["plugins"].setdefault(name, {}).update(section)
        (self.path / "config.json").write_text(json.dumps(self._document), encoding="utf-8")

    def plugin(self, name: str, source: str, **section: Any) -> Path:
        """Write a plugin's file and have the configuration name it."""
        file = self.path / f"{name}.py"
        file.write_text(IMPORTS + textwrap.dedent(source), encoding="utf-8")
        self.configure(plugins={name: {"source": file.name, **section}})
        return file

    def aetherra(
        self, *arguments: str | Path, stdin: str | None = None, timeout: float = DEADLINE, **environment: str
    ) -> Ended:
        """Run a command in the project's folder, to its end."""
        done = subprocess.run(
            [AETHERRA, *map(str, arguments)],
            cwd=self.path,
            env=os.environ | environment,
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def module(self, *arguments: str) -> Ended:
        """Run a command by ``python -m``."""
        done = subprocess.run(
            [sys.executable, "-m", "aetherra.kernel.cli", *arguments],
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def begin(self, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
        """Run a command while the block lasts, which kills what is left of it."""
        pipe = subprocess.PIPE
        with subprocess.Popen([AETHERRA, *arguments], cwd=self.path, stdout=pipe, stderr=pipe) as process:
            try:
                yield process
            finally:
                process.kill()

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Poll until a condition holds, or fail saying what did not come true."""
        wait_until(condition, lambda: what)

    @contextmanager
    def host(self, *arguments: str, serving: bool = True, **environment: str) -> Generator[RunningHost]:
        """Run a host until the block ends, which kills what is left of it."""
        host = RunningHost(self, arguments, os.environ | environment)
        try:
            if serving:
                host.wait_until_serving()
            yield host
        finally:
            host.kill()

    def assert_left_clean(self) -> None:
        """No socket is left, and the next host can start and stop."""
        assert not self.socket.exists()
        with self.host() as host:
            assert host.stop() == 0, host.log


IMPORTS = """\
import anyio
import asyncio
import os
import sys
import threading
import time
from aetherra.plugins import Message, Plugin, Request, Settings, handler, every
"""


@pytest.fixture(scope="session", autouse=True)
def _hear_ctrl_c() -> None:
    """A shell that runs the tests in its background has SIGINT ignored, which hosts would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """An empty project, hosted on asyncio and on trio."""
    return make_project(tmp_path, str(request.param))


@pytest.fixture
def asyncio_project(tmp_path: Path) -> Project:
    """An empty project for what does not depend on the event loop."""
    return make_project(tmp_path, "asyncio")


def make_project(folder: Path, backend: str) -> Project:
    """Make the folders."""
    path, logs = folder / "project", folder / "logs"
    path.mkdir()
    logs.mkdir()
    return Project(path, logs, backend)
