"""``aetherra contract``: compare two versions of what plugins promise, in a plugin's own checks, or show one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from aetherra.kernel.cli.output import print_file, print_json, stdout_kept_clean
from aetherra.kernel.cli.project import json_option
from aetherra.registry.contract import ContractError, breaking, check_document, compare

CONTRACT = click.Path(exists=True, path_type=Path)
"""A JSON document, a plugin's Python file, or the folder of its package."""


@click.group()
def contract() -> None:
    """Compare two versions of what plugins promise, or show one; needs no running host."""


@contract.command()
@click.argument("old", type=CONTRACT)
@click.argument("new", type=CONTRACT)
@json_option
@click.pass_context
def check(ctx: click.Context, old: Path, new: Path, as_json: bool) -> None:
    """Tell whether NEW keeps what OLD promised: exit status 0 if so, 1 if it breaks somebody.

    Each is a JSON document, as 'contract show' and 'services --schema' print it, a plugin's Python file, or the folder
    of its package, whose code is run.
    """
    changes = compare(_read(old), _read(new))
    broken = breaking(changes)
    if as_json:
        print_json({"compatible": not broken, "changes": msgspec.to_builtins(changes)})
    else:
        for change in changes:
            click.echo(f"{'breaks' if change.breaking else 'fine  '}  {change}")
        click.echo(f"{new} breaks {old}: {_count(len(broken))}" if broken else f"{new} keeps what {old} promised")
    ctx.exit(1 if broken else 0)


@contract.command()
@click.argument("path", type=CONTRACT)
def show(path: Path) -> None:
    """Print the contract of the plugin at PATH, to be kept beside its code and checked against later."""
    print_file(_read(path))


def _count(number: int) -> str:
    return "1 breaking change" if number == 1 else f"{number} breaking changes"


def _read(path: Path) -> dict[str, Any]:
    """Read a contract from wherever it is.

    Raises:
        click.UsageError: There is none in it.
    """
    try:
        if path.is_dir() or path.suffix == ".py":
            from aetherra.kernel.contracts import source_contract  # noqa: PLC0415  # documents need no plugin machinery

            with stdout_kept_clean():
                return source_contract(path)
        return check_document(json.loads(path.read_bytes()), str(path))
    except ContractError as exc:
        raise click.UsageError(str(exc)) from exc
    except (ValueError, RecursionError) as exc:
        raise click.UsageError(f"{path} is neither a Python file nor JSON: {exc}") from exc
