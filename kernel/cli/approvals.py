"""``aetherra approvals``: what the host would do and a person must agree to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aetherra.kernel.cli.moment import write_moment
from aetherra.kernel.cli.output import plain, print_json, print_table
from aetherra.kernel.cli.project import CLIENT, ask, host_options, json_option, person_option
from aetherra.registry import NoHandlerError

STATES = ("pending", "approved", "denied", "used", "expired", "void")
"""How far an approval may have got."""


@click.group()
def approvals() -> None:
    """What waits for a person. An approval is good once, for a while, and for exactly what was asked."""


@approvals.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(min=1, max=10_000), default=20, show_default=True)
@host_options
@json_option
def list_approvals(path: Path, config_file: Path | None, as_json: bool, state: str | None, limit: int) -> None:
    """List them, the newest first."""
    found = ask_governance(path, config_file, "governance.approvals", {"state": state, "limit": limit})["approvals"]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["id"],
            each["state"],
            f"{each['kind']} of {each['component']}",
            each["sender"] or each["asker"],
            write_moment(each["expires_at"]) if each["state"] in STATES[:3] else "",
            each["digest"][:12],
            f"{each['summary']}; asked for since as: {each['since']}" if each.get("since") else each["summary"],
            each["reason"] or each["why"],
        )
        for each in found
    ]
    print_table("Approvals", ("id", "state", "what", "for", "until", "digest", "in words", "why"), rows)


@approvals.command()
@click.argument("approval", metavar="ID")
@click.option("--reason", default="", help="Why, for those who read it later.")
@person_option
@host_options
@json_option
def approve(approval: str, reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Agree to it, once. Whoever asked for it cannot."""
    _decide("approve", approval, reason, name, path, config_file, as_json=as_json)


@approvals.command()
@click.argument("approval", metavar="ID")
@click.option("--reason", default="", help="Why, for those who read it later.")
@person_option
@host_options
@json_option
def deny(approval: str, reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Disagree with it, also after an approval that was not used yet."""
    _decide("deny", approval, reason, name, path, config_file, as_json=as_json)


def _decide(
    verb: str, approval: str, reason: str, name: str, path: Path, config_file: Path | None, *, as_json: bool
) -> None:
    body = {"approval": approval, "reason": reason}
    found = ask_governance(path, config_file, f"governance.{verb}", body, name=name)["approval"]
    if as_json:
        print_json(found)
    else:
        until = f", until {write_moment(found['expires_at'])}"
        click.echo(f"{found['id']}: {found['state']}{until}: {plain(found['kind'])} of {found['component']!r}")


def ask_governance(
    path: Path, config_file: Path | None, tag: str, body: Mapping[str, Any] | None = None, *, name: str = CLIENT
) -> Any:
    """Ask the running host's governance.

    Raises:
        click.ClickException: It said no, or there is none.
        AetherraError: As ``project.talk``.
    """
    try:
        return ask(path, config_file, tag, dict(body or {}), name=name)
    except NoHandlerError as exc:
        raise click.ClickException(f"nobody governs this host: nothing answers {tag!r}") from exc
