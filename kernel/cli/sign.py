"""``aetherra sign`` and ``verify``: put one's name to a file or folder, and see whose is on it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click
import msgspec

from aetherra.kernel import signing
from aetherra.kernel.cli.moment import write_moment
from aetherra.kernel.cli.output import print_json
from aetherra.kernel.cli.project import json_option
from aetherra.kernel.cli.ring import private_key, ring_of, ring_options
from aetherra.registry import AetherraError

FILE = click.Path(path_type=Path)
"""A file or folder; what is wrong with it, its user says."""


@click.command()
@click.argument("item", metavar="PATH", type=FILE)
@click.option("--key", "key_file", type=FILE, required=True, help="A private key, as 'aetherra keys new' makes it.")
@click.option("--version", default="", help="Of what is signed.")
@click.option("--capability", "capabilities", multiple=True, help="What it needs, by your word; may be given often.")
@ring_options
@json_option
def sign(
    item: Path,
    key_file: Path,
    version: str,
    capabilities: tuple[str, ...],
    keyring: Path | None,
    path: Path,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Sign the file or folder at PATH: all of it, under its name.

    The signature of x.py is x.py.sig beside it, that of a folder is SIGNATURE.json in it, instead of one that is there.
    A key that is known here and not valid is warned of.
    """
    key = private_key(key_file)
    made = signing.sign(item, key, version=version, capabilities=tuple(sorted({*capabilities})))
    place = signing.signature_file(item)
    with suppress(AetherraError):  # one may sign where there is no ring, or none that is in order
        known = ring_of(keyring, path, config_file).get(made.key)
        if known is not None and (state := known.state(made.signed_at)) not in ("known", "pinned"):
            click.echo(f"warning: {made.key} is {state} here, so that this signature counts for nothing", err=True)
    if as_json:
        print_json({"path": str(place), "signature": msgspec.to_builtins(made)})
    else:
        click.echo(f"{place}: {_count(made.manifest)} signed with {made.key}")


@click.command()
@click.argument("item", metavar="PATH", type=FILE)
@ring_options
@json_option
def verify(item: Path, keyring: Path | None, path: Path, config_file: Path | None, as_json: bool) -> int:
    """Check that the file or folder at PATH is as somebody known here signed it; needs no running host.

    Exit status 0 if so, and 1 with the reason if not.
    """
    found = signing.verify(item, ring_of(keyring, path, config_file))
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif found.manifest is None:
        click.echo(f"{item}: {found.status.replace('_', ' ')}: {found.reason}")
    else:
        key = f"{found.key}, {'pinned' if found.pinned else 'not pinned'}"
        click.echo(f"{item}: valid: {_count(found.manifest)} {found.reason} ({key}) on {write_moment(found.signed_at)}")
    return int(not found.ok)


def _count(manifest: signing.Manifest) -> str:
    return f"{len(manifest.files):,} file{'s' if len(manifest.files) != 1 else ''}"
