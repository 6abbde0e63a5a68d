"""``aetherra call`` and ``aetherra listen``: the registry of the running host, from a shell."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import anyio
import click
import msgspec

from aetherra.kernel.cli import project
from aetherra.kernel.cli.output import on_terminal, print_json
from aetherra.kernel.cli.project import host_options
from aetherra.registry import RemoteEvent, RemoteHost


@click.command()
@click.argument("tag")
@click.argument("body", metavar="[JSON | FIELD=VALUE ...]", nargs=-1)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.001),
    default=30.0,
    show_default=True,
    help="Seconds to wait for the reply.",
)
@host_options
def call(tag: str, body: tuple[str, ...], timeout: float, path: Path, config_file: Path | None) -> None:
    """Call TAG and print the reply as JSON.

    The request's fields are one JSON object ('-' reads it from standard input), or FIELD=VALUE, where a VALUE that is
    no JSON is a text.

    For example: aetherra call selfimprovement.trends '{"name": "loop.lag"}', or name=loop.lag
    """
    document = _read_body(body)
    print_json(project.talk(path, config_file, lambda host: host.call_tag(tag, document, timeout=timeout)))


def _read_body(words: tuple[str, ...]) -> Any:
    """Return the body that the command line's words stand for."""
    if words and all(re.match(r"[A-Za-z_]\w*=", word) for word in words):
        fields = [word.partition("=") for word in words]
        return {name: _read_value(value) for name, _, value in fields}
    if len(words) > 1:
        raise click.UsageError(f"expected one JSON object, or only FIELD=VALUE, got {len(words)} words")
    text = sys.stdin.buffer.read() if words == ("-",) else os.fsencode(words[0] if words else "{}")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise click.UsageError(f"the body is not JSON: {exc}") from exc


def _read_value(text: str) -> Any:
    try:
        return msgspec.json.decode(os.fsencode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text


@click.command()
@click.argument("pattern", metavar="TAG-PATTERN")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many events.")
@click.option("--for", "duration", type=click.FloatRange(min=0), help="Stop after so many seconds.")
@host_options
def listen(pattern: str, count: int | None, duration: float | None, path: Path, config_file: Path | None) -> None:
    """Print events whose tag matches TAG-PATTERN, such as 'homeostasis.*', until Ctrl-C.

    One line of JSON each, or, on a terminal, one line for people.
    """

    async def hear(host: RemoteHost) -> None:
        heard = 0
        with anyio.move_on_after(duration):
            async with host.listen(pattern) as events:
                async for event in events:
                    click.echo(_shown(event) if on_terminal() else _as_json(event))
                    heard += 1
                    if heard == count:
                        return

    with suppress(KeyboardInterrupt):
        project.talk(path, config_file, hear)


def _as_json(event: RemoteEvent) -> str:
    line: dict[str, Any] = {"tag": event.tag, "body": event.body}
    if event.dropped:
        line["dropped"] = event.dropped
    return json.dumps(line, ensure_ascii=False)


def _shown(event: RemoteEvent) -> str:
    """Return an event as a person reads it: time, tag, fields."""
    body: Any = event.body
    fields = cast("dict[str, Any]", body) if isinstance(body, dict) else {"": body}
    shown = "  ".join(f"{click.style(name, dim=True)} {_brief(value)}" for name, value in fields.items())
    missed = f"  ({event.dropped} missed)" if event.dropped else ""
    return f"{time.strftime('%H:%M:%S')}  {click.style(event.tag, bold=True)}  {shown}{missed}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= BRIEF else f"{text[: BRIEF - 1]}…"


BRIEF = 100
"""Characters of a field's value that are shown to people."""
