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

from aetherra.kernel.cli.output import seconds
from aetherra.kernel.errors import ConfigError
from aetherra.kernel.kernel import Kernel
from aetherra.registry import Message, tag_of
from aetherra.registry.messages import to_builtins

REFRESH = 1.0
"""Seconds between two updates of the live status."""
QUIET = ("watchfiles",)
"""Loggers of libraries that tell, as news, what our own lines say better."""


def log_level() -> int:
    """Return the level that ``AETHERRA_LOG_LEVEL`` names.

    Raises:
        ConfigError: It names none.
    """
    name = os.environ.get("AETHERRA_LOG_LEVEL", "INFO").upper()
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
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    return handler


@contextmanager
def terminal() -> Generator[tuple[Any, logging.Handler]]:
    """Lend a live area on the terminal, and a handler whose lines go above it."""
    from rich.live import Live  # noqa: PLC0415  # 40 ms, for terminals only
    from rich.logging import RichHandler  # noqa: PLC0415

    with Live(auto_refresh=False, transient=True) as live:
        handler = RichHandler(console=live.console, show_path=False, rich_tracebacks=False)
        yield live, handler


async def show_status(kernel: Kernel, live: Any) -> None:
    """Keep the live area up to date until cancelled."""
    from rich.panel import Panel  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    while True:
        numbers, health = kernel.statistics(), kernel.health()
        score = "?" if health.overall.score is None else f"{health.overall.score:.2f}"
        line = Table.grid(padding=(0, 2))
        line.add_row(
            f"health {health.overall.status} {score}",
            f"up {seconds(numbers.uptime)}",
            f"plugins {numbers.plugins.get('serving', 0)}",
            f"calls {numbers.bus.calls}",
            f"actions {numbers.actions.running}/{numbers.actions.accepted}",
            f"dead letters {numbers.actions.dlq.depth}",
            f"lag {seconds(numbers.loop.lag)}",
        )
        rows = Table.grid()
        rows.add_row(line)
        for reason in health.overall.reasons:
            rows.add_row(f"[yellow]{reason}[/yellow]")
        live.update(Panel(rows, title="aetherra", title_align="left", subtitle="Ctrl-C stops"), refresh=True)
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

        progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        task = progress.add_task("maintenance", total=None)
        async for event in events:
            tag, body = tag_of(type(event)), to_builtins(event)
            if tag == "kernel.maintenance_step":
                live.console.print(_step_line(event), highlight=False)
            elif tag.endswith(".progress") and "done" in body:
                progress.update(
                    task, description=body.get("what", tag), completed=body["done"], total=body.get("total")
                )
            live.update(progress, refresh=True)


def _step_line(event: Message) -> str:
    body = to_builtins(event)
    outcome = body["error"] or "done"
    return f"{body['phase']}: {body['plugin']} {outcome} in {seconds(body['seconds'])}"
