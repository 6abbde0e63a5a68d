"""``aetherra dlq``: actions that ended undone."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from aetherra.kernel.cli.output import print_json, print_table
from aetherra.kernel.cli.project import ask, host_options, json_option


@click.group()
def dlq() -> None:
    """The dead letter queue of the running host."""


@dlq.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--reason", help="Only letters with this reason, such as 'failed' or 'expired'.")
@click.option("--type", "action_type", help="Only actions of this tag.")
@host_options
@json_option
def list_letters(
    limit: int, reason: str | None, action_type: str | None, path: Path, config_file: Path | None, as_json: bool
) -> None:
    """List dead letters, newest first."""
    body = {"limit": limit, "reason": reason, "action_type": action_type}
    letters = ask(path, config_file, "kernel.dlq", body)["letters"]
    if as_json:
        print_json(letters)
        return
    rows = [
        (_when(item["ts"]), item["trace_id"], item["action_type"], item["reason"], item["attempts"], item["message"])
        for item in letters
    ]
    print_table("Dead letters", ("when", "trace id", "action", "reason", "attempts", "message"), rows)


@dlq.command()
@click.argument("trace_id")
@host_options
def show(trace_id: str, path: Path, config_file: Path | None) -> None:
    """Print one dead letter whole, as JSON."""
    print_json(ask(path, config_file, "kernel.dlq", {"trace_id": trace_id})["letters"][0])


@dlq.command()
@click.argument("trace_ids", metavar="TRACE_ID...", nargs=-1, required=True)
@host_options
@json_option
def redrive(trace_ids: tuple[str, ...], path: Path, config_file: Path | None, as_json: bool) -> None:
    """Submit the actions of dead letters again, each under a new trace id."""
    for trace_id in trace_ids:
        reply = ask(path, config_file, "kernel.dlq_redrive", {"trace_id": trace_id})
        if as_json:
            print_json(reply)
        else:
            click.echo(f"{trace_id} submitted again as {reply['new_trace_id']}")


@dlq.command()
@click.argument("trace_ids", metavar="[TRACE_ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Delete all dead letters.")
@host_options
@json_option
def purge(trace_ids: tuple[str, ...], everything: bool, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Delete dead letters for good."""
    if everything == bool(trace_ids):
        raise click.UsageError("name the trace ids to delete, or say --all")
    body = {} if everything else {"trace_ids": trace_ids}
    reply = ask(path, config_file, "kernel.dlq_purge", body)
    if as_json:
        print_json(reply)
    else:
        click.echo(f"{reply['removed']} deleted")


def _when(ts: float) -> str:
    return dt.datetime.fromtimestamp(ts).astimezone().isoformat(sep=" ", timespec="seconds")
