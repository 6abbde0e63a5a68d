"""``aetherra run``: the host, as a command."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import click
import msgspec

from aetherra.kernel.cli import report
from aetherra.kernel.cli.display import log_level, logging_to, plain_handler, show_progress, show_status, terminal
from aetherra.kernel.cli.output import on_terminal, print_json, stdout_kept_clean
from aetherra.kernel.cli.project import PROJECT, config_option, json_option, load_config
from aetherra.kernel.cli.signals import StopSignals
from aetherra.kernel.config import Config, PluginConfig
from aetherra.kernel.kernel import Kernel
from aetherra.kernel.messages import Maintain
from aetherra.kernel.sources import installed_plugins
from aetherra.registry.messages import to_builtins

log = logging.getLogger("aetherra.run")
SCANNER = "self_incorporation"
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
    if once and duration is not None:
        raise click.UsageError("--for goes with a host that stays: --once stops by itself")
    if find_spec(backend) is None:
        raise click.UsageError(f"--backend {backend} needs {backend!r}: pip install 'aetherra[{backend}]'")
    config = load_config(path, config_file)
    if watch:
        config = _watching(config)
    if once and config.kernel.discover:
        config = _scanning_once(config)
    level = log_level(default="WARNING" if once else "INFO")
    session = _Session(config, once=once, duration=duration)
    with StopSignals(config.kernel.shutdown_timeout, config.data_dir) as signals, ExitStack() as stack:
        live: Any = None
        handler = plain_handler()
        if as_json:
            stack.enter_context(stdout_kept_clean())
        elif on_terminal() and sys.stderr.isatty():
            live, handler = stack.enter_context(terminal())
        stack.enter_context(logging_to(handler, level))
        status = anyio.run(session.host, signals, live, backend=backend)
    if session.report is not None:
        (print_json if as_json else report.show)(session.report)
    elif once:
        click.echo("aetherra: stopped before the cycle was done; there is no report", err=True)
    return status


def _watching(config: Config) -> Config:
    """Switch on the watching of files, whatever the configuration says."""
    hmr = config.section("hmr")
    return _with(config, "hmr", msgspec.structs.replace(hmr, enabled=True, settings={**hmr.settings, "watch": True}))


def _scanning_once(config: Config) -> Config:
    """Leave the scan to the cycle: after one at the start it would find nothing new."""
    scanner = config.section(SCANNER)
    if scanner.source is not None or SCANNER not in {source.name for source in installed_plugins()}:
        return config
    settings = {**scanner.settings, "scan_at_start": False}
    return _with(config, SCANNER, msgspec.structs.replace(scanner, settings=settings))


def _with(config: Config, name: str, plugin: PluginConfig) -> Config:
    return msgspec.structs.replace(config, plugins={**config.plugins, name: plugin})


class _Session:
    """One run of the host."""

    def __init__(self, config: Config, *, once: bool, duration: float | None) -> None:
        self.report: dict[str, Any] | None = None
        self._config = config
        self._once = once
        self._duration = duration

    async def host(self, signals: StopSignals, live: Any) -> int:
        """Run the host, to its end or until told to stop, and return the exit status."""
        with anyio.CancelScope() as scope:

            def stop() -> None:
                log.info("stopping; a second signal ends it at once")
                scope.cancel()

            signals.bind(stop)
            gc.disable()  # what a start makes stays; looking for garbage in it is a tenth of its time
            async with Kernel(self._config) as kernel, self._shown(kernel, live):
                gc.enable()
                self._announce(kernel)
                if self._once:
                    await self._cycle(kernel)
                else:
                    with anyio.move_on_after(self._duration):
                        await anyio.sleep_forever()
                signals.arm()
        log.info("stopped")
        return int(self._once and (self.report is None or bool(self.report["errors"])))

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
        failed = {info.name: info.reason for info in kernel.plugins() if info.state == "failed"}
        self.report = report.build(self._config.root, services, failed, to_builtins(cycle))
