"""Asks the running host's self-incorporation, and says its words as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import click

from aetherra.kernel.cli.project import CLIENT, ask
from aetherra.registry import NoHandlerError

LONG = 3600.0
"""Seconds that a look at large trees, or a trial of new code, may take."""


def ask_incorporation(
    path: Path,
    config_file: Path | None,
    tag: str,
    body: Mapping[str, Any] | None = None,
    *,
    name: str = CLIENT,
    timeout: float = 30.0,
) -> Any:
    """Ask the running host's self-incorporation.

    Raises:
        click.ClickException: It said no, or there is none.
        AetherraError: As ``project.talk``.
    """
    try:
        return ask(path, config_file, tag, dict(body or {}), name=name, timeout=timeout)
    except NoHandlerError as exc:
        raise click.ClickException(f"nothing can be brought into this host: nothing answers {tag!r}") from exc


def place_of(item: str) -> str:
    """Return a name or path as items are called: ``./incoming/x.py`` is ``incoming/x.py``."""
    return PurePosixPath(item).as_posix()


def words(state: str) -> str:
    """Return a name of programs as words: ``needs_approval`` is ``needs approval``."""
    return state.replace("_", " ")
