"""``aetherra knobs``: what may be turned while the host runs, and turning it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from aetherra.kernel.cli.output import number, print_json, print_table
from aetherra.kernel.cli.project import ask, host_options, json_option


@click.group(invoke_without_command=True)
@host_options
@json_option
@click.pass_context
def knobs(ctx: click.Context, path: Path, config_file: Path | None, as_json: bool) -> None:
    """List what may be turned while the host runs, with what it is now; 'set' turns it until the next start.

    --json tells also which metrics a knob moves, and how to undo it.
    """
    if ctx.invoked_subcommand is not None:
        return
    found = ask(path, config_file, "kernel.list_knobs")["knobs"]
    if as_json:
        print_json(found)
        return
    columns = ("name", "value", "range", "step", "unit", "role", "impact", "cost")
    print_table("Knobs", columns, [_row(knob) for knob in found])


@knobs.command(name="set", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("value")
@click.option("--reason", default="", help="For those who hear of it.")
@host_options
@json_option
def set_knob(name: str, value: str, reason: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Set knob NAME to VALUE, a number or one of its choices, and tell what it reads then."""
    body = {"name": name, "value": _read_value(value), "reason": reason}
    done = ask(path, config_file, "kernel.set_knob", body)
    if as_json:
        print_json(done)
    elif done["before"] == done["after"]:
        click.echo(f"{name} is {done['after']} already")
    else:
        click.echo(f"{name}: {done['before']} -> {done['after']}")


def _read_value(text: str) -> int | float | str:
    """Return the number or text that a word stands for; a text that looks like a number is put in double quotes."""
    try:
        return msgspec.json.decode(os.fsencode(text), type=int | float | str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return text


def _row(knob: dict[str, Any]) -> tuple[object, ...]:
    shown = ("unit", "role", "impact", "cost")
    return (knob["name"], _value(knob), _range(knob), _step(knob), *(knob[name] for name in shown))


def _value(knob: dict[str, Any]) -> str:
    if knob["value"] is None:
        return f"unknown: {knob['problem']}"
    return _shown(knob["value"])


def _range(knob: dict[str, Any]) -> str:
    return " | ".join(knob["choices"]) or f"{_shown(knob['low'])} .. {_shown(knob['high'])}"


def _step(knob: dict[str, Any]) -> str:
    if knob["step"] is None:
        return ""
    return f"{'x' if knob['scale'] == 'log' else '+'} {_shown(knob['step'])}"


def _shown(value: float | str) -> str:
    return number(value) if isinstance(value, float) else str(value)
