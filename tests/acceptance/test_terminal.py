"""What a person sees: the live status and the progress of a cycle, on a terminal of their own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.acceptance.conftest import Project

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
STUCK = """
class Stuck(Plugin):
    name = "stuck"

    async def stop(self):
        await anyio.sleep_forever()
"""


class Terminal:
    """A terminal of 80 columns with one command in it."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self.shown = ""
        self._screen = screen

    def read(self) -> bool:
        """Take in what came; ``False`` once the command has ended and all is read."""
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # Linux says so when the last process has closed its end
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def read_until(self, text: str) -> None:
        """Read until the command has shown something."""
        while text not in self.shown:
            assert self.read(), self.shown

    def read_to_the_end(self) -> int:
        """Read all that is left and return the exit status."""
        while self.read():
            pass
        return self.process.wait(20)


@contextmanager
def terminal(project: Project, *arguments: str, **environment: str) -> Generator[Terminal]:
    """Run a command on a terminal, which the block's end takes away."""
    screen, keyboard = pty.openpty()
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [project.command, *arguments],
        cwd=project.path,
        env=os.environ | {"TERM": "xterm"} | environment,
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
    )
    os.close(keyboard)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


class TestATerminal:
    def test_shows_a_live_status_and_is_as_it_was_afterwards(self, project: Project) -> None:
        """The panel is drawn while the host runs, wiped at its end, and the cursor is back."""
        project.configure(discover=True)
        with terminal(project, "run", "--backend", project.backend) as screen:
            screen.read_until("Ctrl-C stops")
            assert "5 plugins" in screen.shown
            assert "healthy" in screen.shown
            screen.process.send_signal(signal.SIGINT)
            assert screen.read_to_the_end() == 0
            assert "aetherra.run: stopped" in screen.shown
            assert screen.shown.rindex(SHOW_CURSOR) > screen.shown.rindex(HIDE_CURSOR)
            assert "Traceback" not in screen.shown

    def test_shows_the_progress_of_a_cycle_and_then_its_report(self, project: Project) -> None:
        """Each step is a line, and the report comes as tables."""
        (project.path / "one [bold] [red].py").write_text("x = 1\n", encoding="utf-8")
        project.configure(discover=True)
        with terminal(project, "run", "--once", "--backend", project.backend) as screen:
            assert screen.read_to_the_end() == 0
            for said in ("collect: homeostasis done in", "health score", "files found", "Services"):
                assert said in screen.shown, screen.shown
            assert screen.shown.rindex(SHOW_CURSOR) > screen.shown.rindex(HIDE_CURSOR)

    @pytest.mark.parametrize("reason", ["plain", "[/red] [bold", "\\[x"])
    def test_shows_what_is_wrong_whatever_it_looks_like(self, asyncio_project: Project, reason: str) -> None:
        """A text that looks like markup is a text."""
        asyncio_project.plugin("broken", f"raise OSError({reason!r})\n")
        with terminal(asyncio_project, "run") as screen:
            screen.read_until("Ctrl-C stops")
            assert repr(reason)[1:-1] in screen.shown
            assert "Logging error" not in screen.shown
            screen.process.send_signal(signal.SIGTERM)
            assert screen.read_to_the_end() == 0

    def test_gets_its_cursor_back_from_a_host_that_is_ended_by_force(self, asyncio_project: Project) -> None:
        """A second Ctrl-C leaves a terminal that can be used."""
        asyncio_project.plugin("stuck", STUCK)
        asyncio_project.configure(stop_timeout=60.0)
        with terminal(asyncio_project, "run") as screen:
            screen.read_until("Ctrl-C stops")
            screen.process.send_signal(signal.SIGINT)
            screen.read_until("a second signal ends it at once")
            screen.process.send_signal(signal.SIGINT)
            assert screen.read_to_the_end() == 1
            assert screen.shown.rindex(SHOW_CURSOR) > screen.shown.rindex(HIDE_CURSOR)
            assert "ended without a clean stop" in screen.shown

    def test_gets_tables_where_a_pipe_gets_columns(self, asyncio_project: Project) -> None:
        """People get drawn tables, programs plain columns."""
        asyncio_project.configure()
        with asyncio_project.host() as host:
            with terminal(asyncio_project, "services") as screen:
                assert screen.read_to_the_end() == 0
                assert re.search(r"kernel +healthy", re.sub("\x1b[^m]*m", "", screen.shown))
            assert asyncio_project.aetherra("services").out.startswith("SERVICE  STATUS   GEN")
            assert host.stop() == 0

    def test_without_the_library_that_draws_says_what_to_install(self, asyncio_project: Project) -> None:
        """Half of an extra is told from none."""
        (asyncio_project.path / "sitecustomize.py").write_text(
            "import sys\nsys.modules['rich'] = None\n", encoding="utf-8"
        )
        with terminal(asyncio_project, "run", PYTHONPATH=str(asyncio_project.path)) as screen:
            assert screen.read_to_the_end() == 1
            assert "the command line needs 'rich': pip install 'aetherra[cli]'" in screen.shown
            assert "Traceback" not in screen.shown
