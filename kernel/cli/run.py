"""``aetherra run``: the host, as a command."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import click
import msgspec

from aetherra.kernel.cli import report
from aetherra.kernel.cli.display import log_level, logging_to, plain_handler, show_progress, show_status, terminal
from aetherra.kernel.cli.output import print_json
from aetherra.kernel.cli.project import PROJECT, config_option, json_option, load_config
from aetherra.kernel.cli.signals import StopSignals
from aetherra.kernel.config import Config, PluginConfig
from aetherra.kernel.kernel import Kernel
from aetherra.kernel.messages import Maintain
from aetherra.registry.messages import to_builtins

log = logging.getLogger("aetherra.run")
CYCLE_TIMEOUT = 3600.0
"""Seconds that one maintenance cycle may take."""


@click.command()
@click.argument("path", type=PROJECT, default=".")
@config_option
@click.option("--watch", is_flag=True, help="Swap in plugin files as they are saved.")
@click.option("--once", is_flag=True, help="Run one maintenance cycle over PATH, print its report and stop.")
@click.option("--for", "duration", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop after so long.")
@click.option("--backend", type=click.Choice(["asyncio", "trio"]), default="asyncio", show_default=True)
@json_option
def run(
    path: Path, config_file: Path | None, watch: bool, once: bool, duration: float | None, backend: str, as_json: bool
) -> int:
    """Host the plugins over the project at PATH (default: this folder), until Ctrl-C or SIGTERM.

    State lives under .aetherra/ in PATH. A second Ctrl-C ends the host without a clean stop.
    """
    if as_json and not once:
        raise click.UsageError("--json goes with --once: a host that stays has no report")
    config = load_config(path, config_file)
    if watch:
        config = _watching(config)
    level = log_level()
    session = _Session(config, once=once, as_json=as_json, duration=duration)
    with StopSignals(config.kernel.shutdown_timeout) as signals, ExitStack() as stack:
        live: Any = None
        handler = plain_handler()
        if sys.stdout.isatty() and sys.stderr.isatty() and not as_json:
            live, handler = stack.enter_context(terminal())
        stack.enter_context(logging_to(handler, max(level, logging.WARNING) if once else level))
        status = anyio.run(session.host, signals, live, backend=backend)
    if session.report is not None:
        (print_json if as_json else report.show)(session.report)
    return status


def _watching(config: Config) -> Config:
    hmr = config.plugins.get("hmr", PluginConfig())
    hmr = msgspec.structs.replace(hmr, enabled=True, settings={**hmr.settings, "watch": True})
    return msgspec.structs.replace(config, plugins={**config.plugins, "hmr": hmr})


class _Session:
    """One run of the host."""

    def __init__(self, config: Config, *, once: bool, as_json: bool, duration: float | None) -> None:
        self.report: dict[str, Any] | None = None
        self._config = config
        self._once = once
        self._as_json = as_json
        self._duration = duration

    async def host(self, signals: StopSignals, live: Any) -> int:
        """Run the host, to its end or until told to stop, and return the exit status."""
        with anyio.CancelScope() as scope:
            signals.bind(scope.cancel)
            async with Kernel(self._config) as kernel, self._shown(kernel, live):
                self._announce(kernel)
                if self._once:
                    await self._cycle(kernel)
                else:
                    with anyio.move_on_after(self._duration):
                        await anyio.sleep_forever()
                signals.arm()
        if self._once:
            if self.report is None:
                click.echo("aetherra: stopped before the cycle was done; there is no report", err=True)
            return int(self.report is None or bool(self.report["errors"]))
        log.info("stopped")
        return 0

    @asynccontextmanager
    async def _shown(self, kernel: Kernel, live: Any) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as group:
            if self._once:
                group.start_soon(show_progress, kernel, live)
            elif live is not None:
                group.start_soon(show_status, kernel, live)
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    def _announce(self, kernel: Kernel) -> None:
        failed = [info.name for info in kernel.plugins() if info.state == "failed"]
        serving = [info.name for info in kernel.plugins() if info.state == "serving"]
        log.info("hosting %s over %s", ", ".join(serving) or "no plugins", self._config.root)
        if failed:
            log.error("not brought up: %s", ", ".join(failed))

    async def _cycle(self, kernel: Kernel) -> None:
        cycle = await kernel.call(Maintain(step_timeout=CYCLE_TIMEOUT), timeout=CYCLE_TIMEOUT)
        services: list[dict[str, Any]] = [msgspec.to_builtins(info) for info in kernel.registry.list()]
        self.report = report.build(self._config.root, services, to_builtins(cycle))
