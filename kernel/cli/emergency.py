"""``aetherra emergency``: stop everything autonomous, whether or not a host runs, or answers."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from aetherra.kernel.cli.output import print_json
from aetherra.kernel.cli.project import CLIENT, ask, host_options, json_option, load_config, person_option
from aetherra.kernel.datadir import AppendFile
from aetherra.kernel.errors import ConfigError, DataFileError
from aetherra.registry import AetherraError, NoHandlerError, NoHostError

PLACE = ("governance", "STOP")
"""Where the file is in the data directory. There is a stop while it is there and does not say that there is none."""
PATIENCE = 5.0
"""Seconds that a host has to say that it has noticed."""


class Said(msgspec.Struct, frozen=True):
    """What the file says; governance reads the same."""

    stopped: bool
    who: str = ""
    why: str = ""
    since: float = 0.0
    problem: str = ""


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
            _write(file, stopped=True, name=name, reason=reason)
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
    except (AetherraError, click.ClickException) as exc:
        host = f"the host did not answer ({exc}); one with governance stops at its next question"
    if as_json:
        print_json({"stopped": _told(_read(file)), "file": str(file), "host": host, "problem": problem})
    elif not problem:
        click.echo(f"everything autonomous is stopped by {file}: {host}")
    if problem and not as_json:
        raise click.ClickException(problem)
    return int(bool(problem))


@emergency.command()
@click.argument("reason", default="")
@person_option
@host_options
@json_option
def lift(reason: str, name: str, path: Path, config_file: Path | None, as_json: bool) -> None:
    """Let the host act by itself again."""
    file = _file(path, config_file)
    held = _read(file)
    try:
        ask(path, config_file, "governance.lift", {"reason": reason}, name=name)
    except (NoHostError, NoHandlerError):
        if held is not None:
            _write(file, stopped=False, name=name, reason=reason)
    if as_json:
        print_json({"stopped": _told(_read(file)), "held": _told(held), "file": str(file)})
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
        click.echo(found.problem or f"everything autonomous is stopped by {who}: {why}")


def _file(path: Path, config_file: Path | None) -> Path:
    data_dir = load_config(path, config_file).data_dir
    if data_dir is None:
        where = str(config_file or path)
        raise ConfigError(where, "`$.kernel.data_dir` is null: such a host is stopped by whoever embeds it")
    return data_dir.joinpath(*PLACE)


def _read(file: Path) -> Said | None:
    """Return what a file says of a stop, ``None`` if there is none; what cannot be understood stops, too."""
    try:
        text = file.read_bytes()
        if not text.strip():
            return Said(stopped=True, who="whoever made an empty file")
        said = msgspec.json.decode(text, type=Said)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        problem = f"everything autonomous is stopped, as {file} cannot be understood: {exc}"
        return Said(stopped=True, problem=problem)
    return said if said.stopped else None


def _write(file: Path, *, stopped: bool, name: str, reason: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    who = f"{getpass.getuser()} on the command line" if name == CLIENT else name
    said = Said(stopped=stopped, who=who, why=reason, since=time.time())
    AppendFile(file).replace([msgspec.json.encode(said)])


def _told(said: Said | None) -> Any:
    return None if said is None else msgspec.to_builtins(said)
