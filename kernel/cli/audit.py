"""``aetherra audit``: the ledger of what the host did by itself, read from its files, so that no host has to run."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import msgspec

from aetherra.kernel.cli.moment import read_moment, write_moment
from aetherra.kernel.cli.output import plain, print_json, print_table
from aetherra.kernel.cli.project import host_options, json_option, load_config, user
from aetherra.kernel.config import convert
from aetherra.kernel.errors import ConfigError
from aetherra.kernel.ledger import Entry, LedgerSettings, SignedHead, Verification, head_folder, ledger_folder
from aetherra.kernel.ledger import adopt as adopt_ledger
from aetherra.kernel.ledger import verify as verify_ledger
from aetherra.kernel.ledger.head import HeadError, HeadStore
from aetherra.kernel.ledger.reading import newest_first

PLUGIN = "governance"
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class LedgerPlace(NamedTuple):
    """Where the ledger of a project is, and its head."""

    data_dir: Path
    settings: LedgerSettings

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return ledger_folder(self.data_dir)

    @property
    def heads(self) -> Path:
        """Where its head is."""
        return head_folder(self.data_dir, self.settings)


def ledger_place(path: Path, config_file: Path | None) -> LedgerPlace:
    """Return where the ledger of a project is.

    Raises:
        ConfigError: The project keeps nothing on disk, or its configuration cannot be used.
    """
    config = load_config(path, config_file)
    if config.data_dir is None:
        raise ConfigError(
            str(config_file or path), "`$.kernel.data_dir` is null: such a host keeps its ledger in memory"
        )
    section = config.plugins.get(PLUGIN)
    body: object = section.settings.get("audit", {}) if section is not None else {}
    settings: LedgerSettings = convert(body, LedgerSettings, str(config.path or "config"), f"plugins.{PLUGIN}.audit")
    return LedgerPlace(config.data_dir, settings)


@click.group()
def audit() -> None:
    """The audit ledger: what was asked, allowed and done without a person. No host has to run."""


@audit.command()
@click.option(
    "--head",
    "copy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A copy of the head that 'aetherra audit head' printed earlier, to hold the ledger against as well.",
)
@host_options
@json_option
def verify(copy: Path | None, path: Path, config_file: Path | None, as_json: bool) -> int:
    """Check that no entry was changed, moved, added or cut off. Reads only.

    Exit status 1 if anything is not as it was written.
    """
    place = ledger_place(path, config_file)
    found = verify_ledger(place.folder, place.heads, witness=None if copy is None else _read_copy(copy))
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _tell(found, place)
    return int(not found.ok)


def _read_copy(copy: Path) -> SignedHead:
    try:
        return msgspec.json.decode(copy.read_bytes(), type=SignedHead)
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise click.ClickException(f"{copy} is no copy of a head, as 'aetherra audit head' prints it: {exc}") from exc


def _tell(found: Verification, place: LedgerPlace) -> None:
    if found.ok and not found.key:
        click.echo(f"there is no ledger yet: {place.folder}")
        return
    for problem in found.problems:
        where = f" ({problem.file}:{problem.line})" if problem.line else f" ({problem.file})" if problem.file else ""
        click.echo(f"{problem.kind}: {plain(problem.detail)}{where}")
    for remain in found.remains:
        click.echo(f"left by a kill, and harmless: {remain.detail} ({remain.file})")
    if found.ok:
        click.echo(f"ok: entries {found.first} to {found.last}, as they were written; head signed by {found.key}")
    else:
        click.echo(f"not ok: {place.folder}, held against {place.heads}", err=True)


@audit.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--kind", help="Only entries of this kind.")
@click.option("--component", help="Only entries about this component.")
@click.option("--since", metavar="TIME", callback=read_moment, help="Only entries from TIME on, as 2h or 2026-08-01.")
@host_options
@json_option
def tail(limit: int, path: Path, config_file: Path | None, as_json: bool, **only: Any) -> None:
    """Print the last entries, the newest at the end. Whether they are genuine, 'verify' tells."""
    entries: list[Entry] = []
    since = -math.inf if only["since"] is None else only["since"]
    for entry in newest_first(ledger_place(path, config_file).folder, since):
        if len(entries) == limit:
            break
        if only["kind"] in (None, entry.kind) and only["component"] in (None, entry.component):
            entries.append(entry)
    entries.reverse()
    if as_json:
        print_json([msgspec.to_builtins(entry) for entry in entries])
        return
    columns = ("entry", "when", "kind", "actor", "component", "code", "about", "summary")
    print_table("Audit ledger", columns, [_row(entry) for entry in entries])


def _row(entry: Entry) -> tuple[object, ...]:
    texts = (entry.kind, entry.actor, entry.component, entry.code, entry.refers_to or "", entry.summary)
    return (entry.sequence, write_moment(entry.at), *texts)


@audit.command()
@host_options
def head(path: Path, config_file: Path | None) -> None:
    """Print the signed head, to be kept on another machine: 'verify --head FILE' holds the ledger against it."""
    store = HeadStore(ledger_place(path, config_file).heads)
    try:
        print_json(msgspec.to_builtins(store.read()[1]))
    except HeadError as exc:
        raise click.ClickException(exc.detail) from exc
    finally:
        store.close()


@audit.command()
@click.option("--reason", required=True, help="Why the ledger is taken as it is; stands in it for good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@host_options
@json_option
def adopt(reason: str, yes: bool, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Go on from a ledger that was moved, lost or broken, once you know why it is.

    If only its head is lost, the chain is continued. Otherwise its files are put aside as they are, and a new chain
    begins. Either way an entry says who did it, why, and what was wrong.
    """
    place = ledger_place(path, config_file)
    found = verify_ledger(place.folder, place.heads)
    if found.ok:
        click.echo("nothing is wrong: there is nothing to adopt", err=True)
        return
    if not as_json:
        _tell(found, place)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this accepts what was done to the ledger; say --yes where nobody can be asked")
        click.confirm("Go on from there?", abort=True, err=True)
    done = adopt_ledger(place.data_dir, place.settings, actor=f"person:{user()}", reason=reason, clock=time.time)
    if done is None:
        click.echo("it is in order by now: there is nothing to adopt", err=True)
    elif as_json:
        aside = None if done.aside is None else str(done.aside)
        print_json({"entry": done.entry.sequence, "continued": done.continued, "aside": aside})
    elif done.continued:
        click.echo(f"the chain goes on with entry {done.entry.sequence}")
    else:
        where = "there was nothing left to put aside" if done.aside is None else f"what was there is in {done.aside}"
        click.echo(f"a new chain begins with entry {done.entry.sequence}; {where}")
