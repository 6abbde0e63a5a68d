"""``aetherra night``: what is done while nobody needs the host, and what was learnt by it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aetherra.kernel.cli.incorporation import LONG, ask_incorporation, words
from aetherra.kernel.cli.moment import write_moment
from aetherra.kernel.cli.output import number, print_json, print_table, seconds
from aetherra.kernel.cli.project import host_options, json_option, person_option

TARGETS = ("classifier_weights", "rescan_order", "plan_order")
"""What a night may change."""
SHOWN = 10
"""Insights of each kind, and unmeasured files, that people are shown."""


@click.group()
def night() -> None:
    """What is learnt while nobody needs the host. The plugin 'self_incorporation' does."""


@night.command()
@host_options
@json_option
def status(path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell where the night cycle stands, what it waits for, and what of what was learnt is in use."""
    found = ask_incorporation(path, config_file, "selfinc.night")["status"]
    if as_json:
        print_json(found)
        return
    idle, work = found["idle"], found["work"]
    quiet = f"for {seconds(idle['idle_for'])}{'' if idle['is_idle'] else ', not long enough'}"
    rows: list[tuple[str, object]] = [
        *([("problem", found["problem"])] if found["problem"] else []),
        ("phase", words(found["phase"]) + (f": {found['at']}" if found["at"] else "")),
        *([("goes on at", words(found["unfinished"]))] if found["unfinished"] else []),
        ("idle", quiet),
        *([("needed by", idle["last_activity"])] if idle["last_activity"] else []),
        *(("unknown", f"{words(name)}: {why}") for name, why in sorted(idle["unknown"].items())),
        ("nights", found["nights"]),
        *([("last", write_moment(found["last_ended_at"]))] if found["last_ended_at"] else []),
        ("in use", _kept(found["kept"])),
        ("work", f"{work['units']:,} units, the longest took {seconds(work['longest'])}"),
    ]
    print_table("Night", ("what", "is"), rows)


@night.command()
@person_option
@host_options
@json_option
def run(name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Have a night's work done now, whoever needs the host, and report. The host answers meanwhile, more slowly."""
    found = ask_incorporation(path, config_file, "selfinc.run_night", name=name, timeout=LONG)["report"]
    if as_json:
        print_json(found)
    else:
        _show(found)


@night.command()
@host_options
@json_option
def report(path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell what the last night found, tried, kept and discarded. Exit status 1 if there was none."""
    found = ask_incorporation(path, config_file, "selfinc.night")["last"]
    if found is None:
        raise click.ClickException("there was no night yet; 'aetherra night run' has one now")
    if as_json:
        print_json(found)
    else:
        _show(found)


@night.command()
@click.argument("target", type=click.Choice(TARGETS))
@person_option
@host_options
@json_option
def unlearn(target: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Go back to what was in use before what was learnt last for TARGET."""
    taken = ask_incorporation(path, config_file, "selfinc.unlearn", {"target": target}, name=name)["kept"]
    if as_json:
        print_json(taken)
    else:
        click.echo(f"{words(target)}: version {taken['version']} is no longer in use")


def _show(found: Mapping[str, Any]) -> None:
    """Print the report of a night."""
    took = seconds(found["ended_at"] - found["began_at"])
    broken = f", {found['interruptions']} interruptions" if found["interruptions"] else ""
    click.echo(
        f"night {found['number']}, ended {write_moment(found['ended_at'])}, took {took}{broken}: {found['root']}"
    )
    for why in found["interrupted_by"]:
        click.echo(f"  interrupted: {why}")
    click.echo(f"{found['files']:,} files, of which the code of {found['measured']:,} was measured")
    for file, why in list(found["unmeasured"].items())[:SHOWN]:
        click.echo(f"  not measured: {file}: {why}")
    for kind, count in sorted(found["found"].items()):
        if count:
            click.echo(f"{words(kind)}: {count:,}")
        for insight in [each for each in found["insights"] if each["kind"] == kind][:SHOWN]:
            click.echo(f"  {insight['path']}: {insight['text']}" if insight["path"] else f"  {insight['text']}")
    for tried in found["tried"]:
        trial = tried["trial"]
        figures = f"{trial['metric']} {number(trial['before'])} -> {number(trial['after'])} on {trial['held_back']}"
        click.echo(f"{words(trial['target'])}: {words(tried['outcome'])}: {figures} held back: {tried['reason']}")
    if not found["tried"]:
        click.echo("nothing was tried: there is too little to learn from yet, or nothing new")


def _kept(kept: Mapping[str, int]) -> str:
    learnt = ", ".join(f"{words(target)} in version {version}" for target, version in sorted(kept.items()))
    return learnt or "nothing learnt"
