"""``aetherra dlq``: actions that ended undone, in the running host or, where none runs, in the files it left."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
import msgspec

from aetherra.kernel.actions.dlq import FILE_NAME, DeadLetterQueue
from aetherra.kernel.actions.letter import Reason
from aetherra.kernel.cli.moment import read_moment, write_moment
from aetherra.kernel.cli.output import print_json, print_table
from aetherra.kernel.cli.project import ask, host_options, json_option, load_config
from aetherra.kernel.errors import DataFileError
from aetherra.registry import NoHostError

T = TypeVar("T")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
REWRITE_TIMEOUT = 300.0
"""Seconds that a host may take to send many letters again, or to rewrite its files."""


def filter_options(function: FunctionT) -> FunctionT:
    """Add the options that choose letters."""
    for option in (
        click.option("--before", metavar="TIME", callback=read_moment, help="Only letters older than TIME."),
        click.option(
            "--since",
            metavar="TIME",
            callback=read_moment,
            help="Only letters from TIME on: Unix seconds, ISO 8601, or an age as 2h.",
        ),
        click.option("--type", "action_type", metavar="TAG", help="Only actions of this tag."),
        click.option(
            "--reason",
            type=click.Choice(get_args(Reason)),
            help="Only letters with this reason, such as 'failed' or 'expired'.",
        ),
    ):
        function = option(function)
    return function


@click.group()
def dlq() -> None:
    """The dead letter queue: actions that were not done, and why.

    Where no host runs, all but 'redrive' work on the files that it left.
    """


@dlq.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--parked", is_flag=True, help="Those that are parked, and not the others.")
@filter_options
@host_options
@json_option
def list_letters(limit: int, parked: bool, path: Path, config_file: Path | None, as_json: bool, **wanted: Any) -> None:
    """List dead letters, newest first."""
    body: dict[str, Any] = {"limit": limit, "parked": parked, **_given(wanted)}

    def read(letters: DeadLetterQueue) -> dict[str, Any]:
        found = [msgspec.to_builtins(letter) for letter in letters.items(**body)]
        return {"letters": found, "unreadable": letters.statistics().unreadable, "aside": letters.aside}

    reply = _ask_or_read(path, config_file, "kernel.dlq", body, read)
    letters = reply["letters"]
    if as_json:
        print_json(letters)
    else:
        title = "Parked dead letters" if parked else "Dead letters"
        print_table(title, ("when", "trace id", "action", "reason", "attempts", "message"), _rows(letters))
    if reply.get("cut"):
        oldest = letters[-1]["ts"]
        _say(f"there are more, for which one reply has no room; go on with --before {oldest!r}, or ask for fewer")
    if reply["unreadable"]:
        where = f"; see {reply['aside']}" if reply["aside"] else ", as another version may have written them"
        _say(f"{reply['unreadable']} lines are no letters that can be read{where}")


def _rows(letters: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """Return a line of a table for each letter."""
    return [
        (
            write_moment(item["ts"]),
            item["trace_id"],
            item["action_type"],
            item["reason"],
            item["attempts"],
            item["message"].partition("\n")[0],
        )
        for item in letters
    ]


@dlq.command()
@click.argument("trace_id")
@click.option("--parked", is_flag=True, help="One that is parked.")
@host_options
@json_option
def show(trace_id: str, parked: bool, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Print one dead letter whole, as JSON."""
    del as_json  # it is JSON in any case

    def read(letters: DeadLetterQueue) -> dict[str, Any]:
        return {"letters": [msgspec.to_builtins(letters.find(trace_id, parked=parked))]}

    body = {"trace_id": trace_id, "parked": parked}
    print_json(_ask_or_read(path, config_file, "kernel.dlq", body, read)["letters"][0])


@dlq.command()
@click.argument("trace_ids", metavar="[TRACE_ID]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All letters, up to --limit.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="The newest so many of them."
)
@click.option("--dry-run", is_flag=True, help="Send nothing; tell who would be sent, and who refused.")
@host_options
@json_option
def redrive(
    trace_ids: tuple[str, ...],
    everything: bool,
    limit: int,
    dry_run: bool,
    path: Path,
    config_file: Path | None,
    as_json: bool,
    **wanted: Any,
) -> int:
    """Submit the actions of dead letters again, each under a new trace id; the letters leave.

    One whose action cannot be sent today stays, and the exit status is 1.
    """
    body = _chosen(trace_ids, wanted, everything=everything, to_do="send again")
    body |= {"limit": max(limit, len(trace_ids)), "dry_run": dry_run}
    try:
        report = ask(path, config_file, "kernel.dlq_redrive_where", body, timeout=REWRITE_TIMEOUT)
    except NoHostError as exc:
        raise click.ClickException(f"{exc}: it is the host's handlers that do what is sent again") from exc
    if as_json:
        print_json(report)
    else:
        for done in report["redriven"]:
            what = "would be submitted again" if dry_run else f"submitted again as {done['new_trace_id']}"
            click.echo(f"{done['trace_id']} {what}")
        for refused in report["refused"]:
            which = f"{refused['trace_id']} stays: " if refused["action_type"] else ""
            _say(f"{which}{refused['message']}")
        if not report["redriven"] and not report["refused"]:
            _say("no dead letter fits")
    return int(bool(report["refused"]))


@dlq.command()
@click.argument("trace_ids", metavar="[TRACE_ID]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All dead letters; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@host_options
@json_option
def purge(
    trace_ids: tuple[str, ...],
    everything: bool,
    yes: bool,
    path: Path,
    config_file: Path | None,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Delete dead letters for good."""
    body = _chosen(trace_ids, wanted, everything=everything, to_do="delete")
    if everything and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("deleting all dead letters cannot be undone; say --yes where nobody can be asked")
        click.confirm(f"Delete all dead letters of {path.absolute()} for good?", abort=True, err=True)

    def remove(letters: DeadLetterQueue) -> dict[str, Any]:
        return {"removed": letters.remove(**body)}

    reply = _ask_or_read(path, config_file, "kernel.dlq_purge", body, remove, timeout=REWRITE_TIMEOUT)
    if as_json:
        print_json(reply)
    else:
        click.echo(f"{reply['removed']} deleted")


@dlq.command()
@click.argument("trace_ids", metavar="[TRACE_ID]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@host_options
@json_option
def park(
    trace_ids: tuple[str, ...], everything: bool, path: Path, config_file: Path | None, as_json: bool, **wanted: Any
) -> None:
    """Put dead letters aside: kept, and not counted, listed, sent again or deleted with the others."""
    body = _chosen(trace_ids, wanted, everything=everything, to_do="park")
    reply = _ask_or_read(
        path, config_file, "kernel.dlq_park", body, lambda letters: {"parked": letters.park(**body)},
        timeout=REWRITE_TIMEOUT,
    )  # fmt: skip
    _tell_moved(reply, "parked", as_json=as_json)


@dlq.command()
@click.argument("trace_ids", metavar="[TRACE_ID]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All parked dead letters.")
@host_options
@json_option
def unpark(
    trace_ids: tuple[str, ...], everything: bool, path: Path, config_file: Path | None, as_json: bool, **wanted: Any
) -> None:
    """Put parked dead letters back among the others, as they were."""
    body = _chosen(trace_ids, wanted, everything=everything, to_do="put back")
    reply = _ask_or_read(
        path, config_file, "kernel.dlq_unpark", body, lambda letters: {"unparked": letters.unpark(**body)},
        timeout=REWRITE_TIMEOUT,
    )  # fmt: skip
    _tell_moved(reply, "unparked", as_json=as_json)


def _tell_moved(reply: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(reply)
    else:
        click.echo(f"{reply[what]} {what}")


def _given(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}


def _chosen(trace_ids: tuple[str, ...], wanted: dict[str, Any], *, everything: bool, to_do: str) -> dict[str, Any]:
    """Return the fields that choose letters; which ones are meant has to be said."""
    chosen: dict[str, Any] = _given(wanted)
    if trace_ids:
        chosen["trace_ids"] = trace_ids
    if everything == bool(chosen):
        raise click.UsageError(f"name the trace ids to {to_do}, or say --reason, --type, --since or --before, or --all")
    return chosen


def _ask_or_read(
    path: Path,
    config_file: Path | None,
    tag: str,
    body: dict[str, Any],
    read: Callable[[DeadLetterQueue], T],
    *,
    timeout: float = 30.0,
) -> Any:
    """Ask the running host, or do it with the files that are there if none runs, which is said."""
    try:
        return ask(path, config_file, tag, body, timeout=timeout)
    except NoHostError:
        config = load_config(path, config_file)
        if config.data_dir is None:
            raise
        file = config.data_dir / FILE_NAME
        _say(f"no host is running here; these are the files: {file}")
        letters = DeadLetterQueue(file, config.kernel.dlq, tidy=False)
        try:
            return read(letters)
        except DataFileError as exc:
            raise click.ClickException(str(exc)) from exc
        finally:
            letters.close()


def _say(text: str) -> None:
    click.echo(f"aetherra: {text}", err=True)
