"""``aetherra audit``: the ledger of what the host did by itself, kept by the governance plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aetherra.kernel.cli.output import print_json
from aetherra.kernel.cli.project import ask, host_options
from aetherra.registry import NoHandlerError


@click.group()
def audit() -> None:
    """The audit ledger. It is kept by a 'governance' plugin; without one there is none."""


@audit.command()
@host_options
def verify(path: Path, config_file: Path | None) -> None:
    """Check that no entry was changed, moved or cut off."""
    print_json(_ask(path, config_file, "governance.audit_verify", {}))


@audit.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@host_options
def tail(limit: int, path: Path, config_file: Path | None) -> None:
    """Print the last entries."""
    print_json(_ask(path, config_file, "governance.audit_tail", {"limit": limit}))


def _ask(path: Path, config_file: Path | None, tag: str, body: dict[str, Any]) -> Any:
    try:
        return ask(path, config_file, tag, body)
    except NoHandlerError as exc:
        raise click.ClickException(f"this host keeps no audit ledger: nothing answers {tag!r}") from exc
