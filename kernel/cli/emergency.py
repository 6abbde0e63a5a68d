"""``aetherra emergency``: stop everything autonomous, whether or not a host runs, or answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from aetherra.kernel.cli.output import plain, print_json
from aetherra.kernel.cli.project import CLIENT, ask, host_options, json_option, load_config, person_option, user
from aetherra.kernel.errors import ConfigError, DataFileError
from aetherra.kernel.stopped import GOVERNANCE, STOP_NAME, Stopped, stop_file
from aetherra.registry import AetherraError, NoHandlerError, NoHostError

PATIENCE = 5.0
"""Seconds that a host has to say that it has noticed."""


@click.group()
def emergency() -> None:
    """Stop everything that the host does without a person, also what was approved, until a person lifts it."""


@emergency.command()
@click.argument("reason", default="")
@person_option
@host_options
@json_option
def stop(reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> int:
    """Stop it now. It holds from when the file is written, whatever the host does, and over restarts.

    Exit status 1 if it cannot be written, or if a host runs here that heeds no such file.
    """
    file = _file(path, config_file)
    problem = ""
    try:
        if (found := _read(file)) is None or found.problem:
            _make_folder(file)
            word = stop_file(file)
            word.say(Stopped(stopped=True, who=_who(name), why=reason, since=time.time()), instead=True)
            word.write()
    except (DataFileError, OSError) as exc:
        problem = str(exc)
    try:
        ask(path, config_file, "governance.stop", {"reason": reason}, timeout=PATIENCE, name=name)
        host = "the host has stopped"
    except NoHostError:
        host = "no host is running here; one that starts does nothing by itself"
    except NoHandlerError:
        problem = problem or "the host that runs here has no governance, and heeds no such file"
        host = problem
    except click.ClickException as exc:
        host = f"the host has not confirmed it ({exc.format_message()})"
    except AetherraError as exc:
        host = f"the host did not answer ({exc}); one with governance stops at its next question"
    if as_json:
        print_json({"stopped": _told(_read(file)), "file": str(file), "host": host, "problem": problem})
    elif not problem:
        click.echo(f"everything autonomous is stopped by {file}: {host}")
    if problem and not as_json:
        raise click.ClickException(problem if host == problem else f"{problem}; {host}")
    return int(bool(problem))


@emergency.command()
@click.argument("reason", default="")
@person_option
@host_options
@json_option
def lift(reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Let the host act by itself again."""
    file = _file(path, config_file)
    held = _told(_read(file))
    try:
        found = ask(path, config_file, "governance.lift", {"reason": reason}, name=name)
        held = found.get("held") or held
    except (NoHostError, NoHandlerError):
        if held is not None:
            stop_file(file).unsay(Stopped(stopped=False, who=_who(name), why=reason, since=time.time()))
    if as_json:
        print_json({"stopped": _told(_read(file)), "held": held, "file": str(file)})
    else:
        click.echo("the emergency stop is lifted" if held is not None else "there was no emergency stop")


@emergency.command()
@host_options
@json_option
def status(path: Path, config_file: Path | None, as_json: bool) -> None:
    """Tell whether there is a stop, by the file alone."""
    file = _file(path, config_file)
    found = _read(file)
    if as_json:
        print_json({"stopped": _told(found), "file": str(file)})
    elif found is None:
        click.echo("there is no emergency stop")
    else:
        who, why = found.who or "somebody", found.why or "no reason was given"
        click.echo(plain(found.problem or f"everything autonomous is stopped by {who}: {why}"))


def _file(path: Path, config_file: Path | None) -> Path:
    data_dir = load_config(path, config_file).data_dir
    if data_dir is None:
        where = str(config_file or path)
        raise ConfigError(where, "`$.kernel.data_dir` is null: such a host is stopped by whoever embeds it")
    return data_dir / GOVERNANCE / STOP_NAME


def _read(file: Path) -> Stopped | None:
    """Return the stop that a file says, ``None`` if there is none; what cannot be understood stops, too."""
    said = stop_file(file).last()
    return said if said.stopped else None


def _make_folder(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _who(name: str) -> str:
    return f"{user()} on the command line" if name == CLIENT else name


def _told(said: Stopped | None) -> Any:
    return None if said is None else msgspec.to_builtins(said)
