"""``aetherra heal``: what the host does for its own health, kept by the homeostasis plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click

from aetherra.kernel.cli.output import print_json, print_table
from aetherra.kernel.cli.project import ask, host_options, json_option
from aetherra.registry import NoHandlerError


@click.group()
def heal() -> None:
    """What the host does for its own health. It is done by the plugin 'homeostasis'; without it, nothing is."""


@heal.command()
@host_options
@json_option
def status(path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell how the host is, and what each of the nine phases does."""
    found = _ask(path, config_file, "homeostasis.status")
    if as_json:
        print_json(found)
        return
    frozen = f"; {found['frozen']}" if found["frozen"] else ""
    score = "unknown" if found["health_score"] is None else f"{found['health_score']:.2f}"
    click.echo(f"{found['runlevel']}, health {score}, mode {found['mode']}{frozen}")
    rows = [(phase["number"], phase["name"], phase["state"], phase["summary"]) for phase in found["phases"]]
    print_table("Phases", ("phase", "name", "state", "summary"), rows)


@heal.command()
@click.argument("decision", default="")
@click.option("--symptom", default="", help="Only decisions for this symptom.")
@click.option("--target", default="", help="Only decisions on this target.")
@click.option("--limit", type=click.IntRange(min=1), default=5, show_default=True)
@host_options
@json_option
def explain(path: Path, config_file: Path | None, as_json: bool, **wanted: Any) -> None:
    """Tell why something was done, or was not: DECISION, or the newest ones."""
    found = _ask(path, config_file, "homeostasis.explain", wanted)["decisions"]
    if as_json:
        print_json(found)
        return
    if not found:
        if wanted["decision"]:
            raise click.ClickException(f"there is no decision {wanted['decision']!r}")
        click.echo("no decision fits" if wanted["symptom"] or wanted["target"] else "nothing was decided yet")
        return
    click.echo("\n\n".join(each["text"] for each in found))


@heal.command()
@host_options
@json_option
def actuators(path: Path, config_file: Path | None, as_json: bool) -> None:
    """List what can be done to the host, in which mode, and how it fares."""
    found = _ask(path, config_file, "homeostasis.actuators")["actuators"]
    if as_json:
        print_json(found)
        return
    columns = ("name", "mode", "acted", "failed", "undoable", "quarantined", "description")
    print_table("Actuators", columns, [[_cell(each[column]) for column in columns] for each in found])


@heal.command()
@click.argument("reason")
@click.option("--for", "seconds", type=click.FloatRange(min=0, min_open=True), help="Seconds after which it ends.")
@host_options
def freeze(reason: str, seconds: float | None, path: Path, config_file: Path | None) -> None:
    """Stop all that the host does by itself, at once and over restarts; REASON is for others to read."""
    print_json(_ask(path, config_file, "homeostasis.freeze", {"reason": reason, "seconds": seconds}))


@heal.command()
@click.argument("reason", default="")
@host_options
def unfreeze(reason: str, path: Path, config_file: Path | None) -> None:
    """Let the host act by itself again."""
    print_json(_ask(path, config_file, "homeostasis.unfreeze", {"reason": reason}))


@heal.command()
@host_options
def metrics(path: Path, config_file: Path | None) -> None:
    """Print the metrics in Prometheus' text form."""
    click.echo(_ask(path, config_file, "homeostasis.prometheus")["text"], nl=False)


def _cell(value: object) -> object:
    return ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else value


def _ask(path: Path, config_file: Path | None, tag: str, body: Mapping[str, Any] | None = None) -> Any:
    try:
        return ask(path, config_file, tag, dict(body or {}))
    except NoHandlerError as exc:
        raise click.ClickException(f"this host does nothing for its own health: nothing answers {tag!r}") from exc
