"""The ``aetherra`` command: finds each group's file, and turns errors into a line and an exit status."""

from __future__ import annotations

import importlib
from typing import Any

import click

from aetherra.kernel.errors import ConfigError
from aetherra.registry import AetherraError, RemoteError

COMMANDS = {
    "run": ("run", "Host the plugins over the project at PATH."),
    "status": ("inspect", "How the running host is."),
    "services": ("inspect", "The running host's services."),
    "plugins": ("inspect", "The running host's plugins."),
    "actions": ("inspect", "The running host's action queue."),
    "call": ("talk", "Call a service of the running host."),
    "listen": ("talk", "Print the running host's events as they pass."),
    "contract": ("contract", "Compare two versions of what plugins promise, or show one."),
    "plugin": ("plugin", "Make a plugin, or swap, restart, quarantine, remove or describe one."),
    "dlq": ("dlq", "The dead letter queue: list, show, redrive, park, purge."),
    "knobs": ("knobs", "What may be turned while the host runs: list, set."),
    "heal": ("heal", "What the host does for its own health: status, explain, freeze, metrics."),
    "metrics": ("metrics", "The history of the host's metrics, and what it says: list, show, plot."),
    "improve": ("improve", "What the host proposes to change of itself: proposals, explain, approve, undo."),
    "sign": ("sign", "Sign a file or folder; needs no running host."),
    "verify": ("sign", "Check the signature of a file or folder; needs no running host."),
    "keys": ("keys", "Keys that sign, and the ring of known ones: new, list, add, pin, unpin, revoke."),
    "scan": ("scan", "Scan a source tree once; needs no running host."),
    "incorporate": ("incorporate", "Bring code in and out: scan, items, show, plan, integrate, rollback, accept."),
    "quarantine": ("quarantine", "Code that was set aside: list, show, add, review, release, delete."),
    "night": ("night", "What is learnt while nobody needs the host: status, run, report, unlearn."),
    "config": ("config", "Check, show or describe the configuration."),
    "approvals": ("approvals", "What waits for a person: list, approve, deny."),
    "emergency": ("emergency", "Stop everything autonomous at once, with or without a running host; lift it."),
    "guards": ("guards", "How often things may be done without a person: list, reset."),
    "audit": ("audit", "Verify or read the audit ledger."),
}
"""Each command, the file that holds it, and a line of help, so that ``--help`` loads none of them."""


class _Lazy(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"aetherra.kernel.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aetherra")
def cli() -> None:
    """A plugin host that keeps itself healthy.

    Exit status: 0 done, 1 failed, 2 misused.
    """


def run_cli(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    try:
        result: Any = cli.main(arguments, prog_name="aetherra", standalone_mode=False)
    except click.exceptions.Abort:
        return _failed("stopped")
    except click.UsageError as exc:
        exc.show()
        return 2
    except click.ClickException as exc:
        return _failed(exc.format_message())
    except ConfigError as exc:
        return _failed(str(exc), status=2)
    except RemoteError as exc:
        return _failed(exc.message)
    except (AetherraError, OSError) as exc:
        return _failed(str(exc))
    return result if isinstance(result, int) else 0


def _failed(message: str, *, status: int = 1) -> int:
    click.echo(f"aetherra: {message}", err=True)
    return status
