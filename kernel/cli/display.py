"""What a host shows while it runs: a live status on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
import click

from aetherra.kernel.cli.output import STYLES, seconds
from aetherra.kernel.errors import ConfigError
from aetherra.kernel.kernel import Kernel
from aetherra.registry import Message, tag_of
from aetherra.registry.messages import to_builtins

REFRESH = 1.0
"""Seconds between two updates of the live status."""
ECHO_WIDTH = 2
"""Columns kept free for the terminal's own ``^C``, which would otherwise begin a line that nobody clears."""
LINES = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
QUIET = ("watchfiles",)
"""Loggers of libraries that tell, as news, what our own lines say better."""


def log_level(*, default: str = "INFO") -> int:
    """Return the level that ``AETHERRA_LOG_LEVEL`` names.

    Raises:
        ConfigError: It names none.
    """
    name = (os.environ.get("AETHERRA_LOG_LEVEL") or default).upper()
    level = logging.getLevelNamesMapping().get(name)
    if level is None:
        raise ConfigError("AETHERRA_LOG_LEVEL", f"expected a level such as 'INFO' or 'DEBUG', got {name!r}")
    return level


@contextmanager
def logging_to(handler: logging.Handler, level: int) -> Generator[None]:
    """Send all log lines to one handler while the body runs."""
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        root.removeHandler(handler)


def plain_handler() -> logging.Handler:
    """A handler for lines on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LINES)
    return handler


@contextmanager
def terminal() -> Generator[tuple[Any, logging.Handler]]:
    """Lend a live area on the terminal, and a handler whose lines go above it."""
    from rich.live import Live  # noqa: PLC0415  # 40 ms, for terminals only

    with Live(auto_refresh=False, transient=True) as live:
        yield live, _LinesAbove(live.console)


class _LinesAbove(logging.Handler):
    """Prints log lines above a live area, whole: the terminal wraps them."""

    def __init__(self, console: Any) -> None:
        super().__init__()
        self.setFormatter(LINES)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else None
        try:
            self._console.print(self.format(record), style=style, markup=False, highlight=False, soft_wrap=True)
        except Exception:  # noqa: BLE001  # as the library's own handlers do: logging harms nobody
            self.handleError(record)


async def show_status(kernel: Kernel, live: Any) -> None:
    """Keep the live area up to date until cancelled."""
    from rich.panel import Panel  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    while True:
        numbers, health = kernel.statistics(), kernel.health().overall
        score = "" if health.score is None else f" {health.score:.2f}"
        parts = (
            f"{numbers.plugins.get('serving', 0)} plugins",
            f"{numbers.bus.calls} calls",
            f"actions {numbers.actions.running}/{numbers.actions.accepted}",
            f"{numbers.actions.dlq.depth} dead letters",
            f"lag {seconds(numbers.loop.lag)}",
        )
        panel = Panel(
            Text.assemble(" \u00b7 ".join(parts), *((f"\n{reason}", "yellow") for reason in health.reasons)),
            title=Text.assemble("aetherra \u00b7 ", (f"{health.status}{score}", STYLES.get(health.status, ""))),
            title_align="left",
            subtitle=f"up {seconds(numbers.uptime)} \u00b7 Ctrl-C stops",
            width=live.console.width - ECHO_WIDTH,
        )
        live.update(panel, refresh=True)
        await anyio.sleep(REFRESH)


async def show_progress(kernel: Kernel, live: Any | None) -> None:
    """Tell the steps of a maintenance cycle as they are done: on a terminal with a bar, elsewhere a line each."""
    with kernel.subscribe("*") as events:
        if live is None:
            async for event in events:
                if tag_of(type(event)) == "kernel.maintenance_step":
                    click.echo(_step_line(event), err=True)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415

        progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
        )
        task = progress.add_task("maintenance", total=None)
        async for event in events:
            tag, body = tag_of(type(event)), to_builtins(event)
            if tag == "kernel.maintenance_step":
                live.console.print(_step_line(event), highlight=False, markup=False)
            elif tag.endswith(".progress") and "done" in body:
                progress.update(
                    task, description=body.get("what", tag), completed=body["done"], total=body.get("total")
                )
            live.update(progress, refresh=True)


def _step_line(event: Message) -> str:
    body = to_builtins(event)
    outcome = body["error"] or "done"
    return f"{body['phase']}: {body['plugin']} {outcome} in {seconds(body['seconds'])}"
