"""``aetherra quarantine``: what was set aside so that nothing loads it, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from aetherra.kernel.cli.incorporation import ask_incorporation, place_of
from aetherra.kernel.cli.moment import write_moment
from aetherra.kernel.cli.output import print_json, print_table
from aetherra.kernel.cli.project import host_options, json_option, person_option

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def kept_options(function: FunctionT) -> FunctionT:
    """Add what acting on something in quarantine takes: which, and why."""
    reason = click.option("--reason", default="", help="Why, for those who read it later.")
    return click.argument("quarantined", metavar="ID")(reason(function))


@click.group()
def quarantine() -> None:
    """Code that was set aside. The plugin 'self_incorporation' keeps it, byte for byte, where nothing can load it."""


@quarantine.command("list")
@click.option("--ended", is_flag=True, help="Also what was released or deleted.")
@host_options
@json_option
def list_quarantined(ended: bool, path: Path, config_file: Path | None, as_json: bool) -> None:
    """List what is in quarantine."""
    found = _all(path, config_file, ended=ended)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["id"],
            each["state"],
            write_moment(each["at"]),
            f"{each['size']:,}",
            each["path"],
            each["by"],
            each["review"],
            each["reason"],
        )
        for each in found["items"]
    ]
    print_table("Quarantine", ("id", "state", "since", "bytes", "path", "by", "review", "why"), rows)
    unreadable = found["statistics"]["unreadable"]
    if unreadable:
        click.echo(f"{unreadable} entries of the vault cannot be read")


@quarantine.command()
@click.argument("quarantined", metavar="ID")
@host_options
@json_option
def show(quarantined: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell all about one: where it was, why it was set aside, and what people said of it."""
    found = next((each for each in _all(path, config_file, ended=True)["items"] if each["id"] == quarantined), None)
    if found is None:
        raise click.ClickException(
            f"nothing in quarantine is called {quarantined!r}; 'aetherra quarantine list' lists what is there"
        )
    if as_json:
        print_json(found)
        return
    rows: list[tuple[str, object]] = [
        ("state", found["state"]),
        ("place", f"{found['path']} below {found['root']}"),
        ("is", f"{'a folder' if found['folder'] else 'a file'} of {found['size']:,} bytes"),
        ("digest", found["digest"]),
        ("set aside", f"{write_moment(found['at'])} by {found['by']}"),
        ("why", found["reason"]),
        *([("review", f"{found['reviewed_by']}: {found['review']}")] if found["reviewed_by"] else []),
        *([("ended", f"{write_moment(found['ended_at'])} by {found['ended_by']}")] if found["ended_at"] else []),
    ]
    print_table(found["id"], ("what", "is"), rows)
    for ground in found["rationale"]:
        click.echo(f"  {'against' if ground['against'] else 'for'}: {ground['text']}")


@quarantine.command()
@click.argument("item")
@click.option("--reason", required=True, help="Why, for those who read it later.")
@person_option
@host_options
@json_option
def add(item: str, reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> int:
    """Set an ITEM aside, by its name or path, and take out what came in from it.

    Exit status 1 if that could not be taken out.
    """
    body = {"item": place_of(item), "reason": reason}
    done = _act("selfinc.quarantine", body, name, path, config_file, as_json=as_json)
    return int(bool(done["serving"]))


@quarantine.command()
@click.argument("quarantined", metavar="ID")
@click.option("--says", required=True, help="What you found.")
@person_option
@host_options
@json_option
def review(quarantined: str, says: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Note what you say of it. It stays where it is."""
    _act("selfinc.review", {"id": quarantined, "says": says}, name, path, config_file, as_json=as_json)


@quarantine.command()
@kept_options
@person_option
@host_options
@json_option
def release(quarantined: str, reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Put it back where it was, byte for byte. What is there now is never overwritten."""
    _act("selfinc.release", {"id": quarantined, "reason": reason}, name, path, config_file, as_json=as_json)


@quarantine.command()
@kept_options
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@person_option
@host_options
@json_option
def delete(
    quarantined: str, reason: str, yes: bool, name: str, path: Path, config_file: Path | None, as_json: bool
) -> None:
    """Delete it for good; asks first, or wants --yes."""
    if not yes:
        click.confirm(f"delete {quarantined} for good?", abort=True, err=True)
    _act("selfinc.delete", {"id": quarantined, "reason": reason}, name, path, config_file, as_json=as_json)


def _all(path: Path, config_file: Path | None, *, ended: bool) -> Any:
    return ask_incorporation(path, config_file, "selfinc.quarantined", {"ended": ended})


def _act(tag: str, body: Mapping[str, Any], name: str, path: Path, config_file: Path | None, *, as_json: bool) -> Any:
    """Have something done with what is, or comes to be, in quarantine, and tell how it is now."""
    done = ask_incorporation(path, config_file, tag, body, name=name)
    found = done["quarantined"]
    if as_json:
        print_json({**found, "taken_out": done["taken_out"], "serving": done["serving"]})
        return done
    click.echo(f"{found['id']}: {found['state']}: {found['path']}")
    if done["taken_out"]:
        click.echo(f"taken out, as they came in from it: {', '.join(done['taken_out'])}")
    if done["serving"]:
        click.echo(f"came in from it, could not be taken out, and is tried again: {', '.join(done['serving'])}")
    return done
