"""``aetherra call`` and ``aetherra listen``: the registry of the running host, from a shell."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import click
import msgspec

from aetherra.kernel.cli import project
from aetherra.kernel.cli.output import print_json
from aetherra.kernel.cli.project import host_options
from aetherra.registry import RemoteHost


@click.command()
@click.argument("tag")
@click.argument("body", metavar="[JSON]", default="{}")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.001),
    default=30.0,
    show_default=True,
    help="Seconds to wait for the reply.",
)
@host_options
def call(tag: str, body: str, timeout: float, path: Path, config_file: Path | None) -> None:
    """Call TAG with a JSON object ('-' reads it from standard input) and print the reply as JSON.

    For example: aetherra call selfimprovement.trends '{"name": "loop.lag"}'
    """
    text = sys.stdin.buffer.read() if body == "-" else os.fsencode(body)
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise click.UsageError(f"the body is not JSON: {exc}") from exc
    print_json(project.talk(path, config_file, lambda host: host.call_tag(tag, document, timeout=timeout)))


@click.command()
@click.argument("pattern", metavar="TAG-PATTERN")
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many events.")
@click.option("--for", "duration", type=click.FloatRange(min=0), help="Stop after so many seconds.")
@host_options
def listen(pattern: str, count: int | None, duration: float | None, path: Path, config_file: Path | None) -> None:
    """Print events whose tag matches TAG-PATTERN, such as 'homeostasis.*', one line of JSON each, until Ctrl-C."""

    async def hear(host: RemoteHost) -> None:
        heard = 0
        with anyio.move_on_after(duration):
            async with host.listen(pattern) as events:
                async for event in events:
                    line: dict[str, Any] = {"tag": event.tag, "body": event.body}
                    if event.dropped:
                        line["dropped"] = event.dropped
                    click.echo(json.dumps(line, ensure_ascii=False))
                    heard += 1
                    if heard == count:
                        return

    with suppress(KeyboardInterrupt):
        project.talk(path, config_file, hear)
