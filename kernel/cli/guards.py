"""``aetherra guards``: how often things may be done without a person, and what is in force because it was more."""

from __future__ import annotations

from pathlib import Path

import click

from aetherra.kernel.cli.approvals import ask_governance
from aetherra.kernel.cli.moment import write_moment
from aetherra.kernel.cli.output import plain, print_json, print_table, seconds
from aetherra.kernel.cli.project import host_options, json_option, person_option


@click.group()
def guards() -> None:
    """Limits on what is done without a person. The plugin 'governance' keeps them."""


@guards.command("list")
@host_options
@json_option
def list_guards(path: Path, config_file: Path | None, as_json: bool) -> None:
    """List the guards, and what is in force because one was breached."""
    found = ask_governance(path, config_file, "governance.guards")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["name"],
            each["key"],
            f"{each['used']} of {each['limit']} in {seconds(each['seconds'])}",
            seconds(each["retry_after"]) if each["retry_after"] else "",
            each["breach"].replace("_", " "),
            seconds(each["lasts"]) if each["lasts"] is not None else "until reset",
        )
        for each in found["guards"]
    ]
    print_table("Guards", ("guard", "for", "used", "next in", "breach", "lasts"), rows)
    for each in found["measures"]:
        until = "until it is reset" if each["until"] is None else f"until {write_moment(each['until'])}"
        whom = " ".join(filter(None, (each["asker"], each["actuator"])))
        what = each["breach"].replace("_", " ")
        click.echo(plain(f"in force {until}: {what}{f' ({whom})' if whom else ''}: {each['reason']}"))


@guards.command()
@click.argument("guard")
@click.option("--key", help="For this component or sender alone.")
@click.option("--reason", default="", help="Why, for those who read it later.")
@person_option
@host_options
@json_option
def reset(
    guard: str, key: str | None, reason: str, name: str, path: Path, config_file: Path | None, as_json: bool
) -> None:
    """Have GUARD begin anew, and end what is in force because of it."""
    body = {"guard": guard, "key": key, "reason": reason}
    found = ask_governance(path, config_file, "governance.reset_guard", body, name=name)
    if as_json:
        print_json(found)
        return
    lifted = f"; no longer in force: {len(found['lifted'])}" if found["lifted"] else ""
    click.echo(f"{guard} begins anew, {found['forgotten']} forgotten{lifted}")
