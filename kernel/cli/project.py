"""Which project a command is about: its configuration, and the host that may be running over it."""

from __future__ import annotations

import difflib
import getpass
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import click

from aetherra.kernel.config import OUR_KEYS, Config
from aetherra.kernel.datadir import LOCK_NAME, SOCKET_NAME
from aetherra.kernel.errors import ConfigError
from aetherra.registry import HandlerError, NoHostError, RemoteHost, connect

T = TypeVar("T")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

CLIENT = "aetherra command line"
"""What commands call themselves where nobody gives a name."""
PROJECT = click.Path(exists=True, file_okay=False, path_type=Path)
"""A project's folder, as an argument or option."""


def config_option(function: FunctionT) -> FunctionT:
    """Add ``--config``."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="The configuration; default is config.json in the project, if it is one of ours.",
    )(function)


def host_options(function: FunctionT) -> FunctionT:
    """Add the options that find a running host."""
    path = click.option("--path", type=PROJECT, default=".", help="The project it runs over; default is this folder.")
    return path(config_option(function))


def person_option(function: FunctionT) -> FunctionT:
    """Add ``--as``, for what only persons may do."""
    return click.option(
        "--as", "name", default=CLIENT, show_default=True, help="Who you are, as kernel.clients may know you."
    )(function)


def user() -> str:
    """Return who the operating system says is at the keyboard; a number for a user whom nobody gave a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def json_option(function: FunctionT) -> FunctionT:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")(function)


def load_config(path: Path, config_file: Path | None) -> Config:
    """Read the configuration that goes with a project; without one, the defaults.

    A ``config.json`` that names none of our sections, nor anything that looks like a slip of the pen for one, belongs
    to somebody else and is left alone, which is said.

    Raises:
        ConfigError: It cannot be used.
    """
    profile = os.environ.get("AETHERRA_PROFILE") or None
    if config_file is not None:
        return Config.load(config_file, root=path, profile=profile)
    beside = path / "config.json"
    if not beside.is_file():
        return Config.parse({}, root=path, profile=profile)
    if _is_ours(beside):
        return Config.load(beside, root=path, profile=profile)
    click.echo(
        f"aetherra: {beside} has none of {', '.join(OUR_KEYS)} and is not read; name one with --config", err=True
    )
    return Config.parse({}, root=path, profile=profile)


def _is_ours(file: Path) -> bool:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return True  # loading it says what is wrong
    if not isinstance(document, dict):
        return False
    keys = set(cast("dict[str, Any]", document))
    return not keys or any(difflib.get_close_matches(key, OUR_KEYS, n=1, cutoff=0.75) for key in keys)


def holder(data_dir: Path) -> int | None:
    """Return the process that wrote itself into the lock of a data directory, if any did."""
    try:
        written = (data_dir / LOCK_NAME).read_bytes()
    except OSError:
        return None
    return int(written) if written.isdigit() else None


def talk(
    path: Path, config_file: Path | None, conversation: Callable[[RemoteHost], Awaitable[T]], *, name: str = CLIENT
) -> T:
    """Have a conversation with the host that runs over a project, by a name that it may know.

    Raises:
        NoHostError: None does.
        ConfigError: The host keeps nothing on disk, so there is no socket to find.
    """
    data_dir = load_config(path, config_file).data_dir
    if data_dir is None:
        raise ConfigError(str(config_file or path), "`$.kernel.data_dir` is null: such a host has no control socket")

    async def converse() -> T:
        async with connect(data_dir / SOCKET_NAME, name=name) as host:
            return await conversation(host)

    try:
        return anyio.run(converse)
    except NoHostError as exc:
        pid = holder(data_dir)
        if pid is not None and _lives(pid):
            raise click.ClickException(f"process {pid} is starting or stopping and does not answer yet") from exc
        raise NoHostError(f"{exc.path}; start one with 'aetherra run {path}'") from exc


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as exc:
        return isinstance(exc, PermissionError)  # it is there, and somebody else's
    return True


def ask(
    path: Path, config_file: Path | None, tag: str, body: Any = None, *, timeout: float = 30.0, name: str = CLIENT
) -> Any:
    """Call one tag of the running host on behalf of a command, which says in its own words what was asked.

    Raises:
        click.ClickException: The handler raised; the text is what it said.
        AetherraError: As ``talk``.
    """
    try:
        return talk(path, config_file, lambda host: host.call_tag(tag, body, timeout=timeout), name=name)
    except HandlerError as exc:
        raise click.ClickException(exc.cause.partition(": ")[2] or exc.cause) from exc
