"""``aetherra keys``: make keys, and say whose are known here, since when, and how far."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from aetherra.kernel.cli.audit import ledger_place
from aetherra.kernel.cli.moment import read_moment, read_span, write_moment
from aetherra.kernel.cli.output import print_json, print_table
from aetherra.kernel.cli.project import json_option, user
from aetherra.kernel.cli.ring import ring_of, ring_options
from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger import AuditLedger
from aetherra.kernel.signing import PublicKey, RingKey, SigningKey

FILE = click.Path(path_type=Path)


@click.group()
def keys() -> None:
    """Keys that sign, and the ring of those that are known here; needs no running host.

    A project's ring is governance/keyring.json in its data directory, which --path or --config finds; --keyring names
    another.
    """


@keys.command()
@click.argument("file", type=FILE)
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase, and encrypt the key by it.")
@json_option
def new(file: Path, passphrase: bool, as_json: bool) -> None:
    """Make a key: FILE is its owner's alone, FILE.pub is for all."""
    secret = None
    if passphrase:
        secret = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    key = SigningKey.generate()
    shared = file.with_name(file.name + ".pub")
    key.public.save(shared)
    try:
        key.save(file, passphrase=secret)
    except BaseException:
        shared.unlink(missing_ok=True)
        raise
    if as_json:
        print_json({"key": key.public.id, "public": key.public.text, "file": str(file), "public_file": str(shared)})
    else:
        click.echo(f"{key.public.id}: keep {file} to yourself; whoever is to know it runs")
        click.echo(f"aetherra keys add {shared} --owner YOUR-NAME")


@keys.command(name="list")
@ring_options
@json_option
def list_keys(keyring: Path | None, path: Path, config_file: Path | None, as_json: bool) -> None:
    """List the keys that are known here."""
    found = ring_of(keyring, path, config_file).keys
    if as_json:
        print_json([_document(key) for key in found])
        return
    columns = ("key", "owner", "state", "from", "until", "why")
    rows = [
        (
            key.id,
            key.owner,
            key.state(time.time()),
            _moment(key.not_before),
            _moment(key.not_after),
            key.revoked_because,
        )
        for key in found
    ]
    print_table("Keys", columns, rows)


@keys.command()
@click.argument("public")
@click.option("--owner", required=True, help="Whose it is.")
@click.option("--pin", is_flag=True, help="Let what it signed have the highest tier.")
@click.option("--not-before", callback=read_moment, metavar="TIME", help="From when on it is valid.")
@click.option("--not-after", callback=read_moment, metavar="TIME", help="Until when it is.")
@click.option("--valid-for", callback=read_span, metavar="SPAN", help="Instead of --not-after: how long, as 365d.")
@ring_options
@json_option
def add(
    public: str,
    owner: str,
    pin: bool,
    not_before: float | None,
    not_after: float | None,
    valid_for: float | None,
    keyring: Path | None,
    path: Path,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Take a key in: PUBLIC is a file, or the key itself as 'ed25519:...'."""
    if valid_for is not None:
        if not_after is not None:
            raise click.UsageError("--valid-for and --not-after say the same; give one of them")
        not_after = (time.time() if not_before is None else not_before) + valid_for
    key = PublicKey.parse(public) if public.startswith("ed25519:") else PublicKey.load(Path(public))
    ring = ring_of(keyring, path, config_file)
    added = ring.add(key, owner, not_before=not_before, not_after=not_after, pinned=pin)
    _tell("add", added, keyring, path, config_file, as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="KEY")
@ring_options
@json_option
def pin(key_id: str, keyring: Path | None, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Let what KEY signed have the highest tier."""
    _tell("pin", ring_of(keyring, path, config_file).pin(key_id), keyring, path, config_file, as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="KEY")
@ring_options
@json_option
def unpin(key_id: str, keyring: Path | None, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Take that back; KEY stays known."""
    _tell("unpin", ring_of(keyring, path, config_file).unpin(key_id), keyring, path, config_file, as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="KEY")
@click.option("--reason", required=True, help="Why, for those who read it later.")
@ring_options
@json_option
def revoke(key_id: str, reason: str, keyring: Path | None, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Rely on KEY no more, nor on anything that it ever signed; this is not undone."""
    revoked = ring_of(keyring, path, config_file).revoke(key_id, reason)
    _tell("revoke", revoked, keyring, path, config_file, as_json=as_json)


def _tell(
    verb: str, key: RingKey, keyring: Path | None, path: Path, config_file: Path | None, *, as_json: bool
) -> None:
    """Say what came of a change, in the ledger of the project too where it is of the project's ring."""
    if keyring is None:
        try:
            _record(verb, key, path, config_file)
        except DataFileError as exc:
            click.echo(f"it is done, and is not in the audit ledger: {exc}", err=True)
    if as_json:
        print_json(_document(key))
    else:
        click.echo(f"{key.id} of {key.owner}: {key.state(time.time())}")


def _record(verb: str, key: RingKey, path: Path, config_file: Path | None) -> None:
    place = ledger_place(path, config_file)
    if not place.folder.is_dir():  # no host has run here yet
        return
    summary = f"the key of {key.owner} is {key.state(time.time())} from now on"
    facts = {"why": key.revoked_because} if key.revoked_because else {}
    with AuditLedger.open(place.data_dir, place.settings) as ledger:
        ledger.append(
            kind=f"keys.{verb}", actor=f"person:{user()}", component=key.id, summary=summary, code="done", facts=facts
        )


def _document(key: RingKey) -> dict[str, Any]:
    return {"key": key.id, "state": key.state(time.time()), **msgspec.to_builtins(key)}


def _moment(unix: float | None) -> str:
    return "" if unix is None else write_moment(unix)
